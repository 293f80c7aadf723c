"""Deltas put together as git does it, and never wrongly where they are damaged."""

from __future__ import annotations

import random
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitstate.core.errors import DamagedError
from gitstate.store.deltas import Bases, apply, read_delta
from gitstate.store.objects import Type, object_id
from gitstate.store.packs import deflate, entry_header, format_index
from gitstate.store.reader import Pack
from gitstate.store.repository import Repository
from tests.support import PROJECT, needs
from tests.testing.git import Git

pytestmark = needs("git")

_rng = random.Random(3)
_TEXT: Final = b"".join(b"line %d of a file\n" % number for number in range(3000))
_NOISE: Final = _rng.randbytes(300_000)


def edited(data: bytes, seed: int) -> bytes:
    """``data`` with some pieces cut, moved and put in."""
    chance = random.Random(seed)
    for _ in range(chance.randrange(1, 12)):
        start, end = sorted((chance.randrange(len(data)), chance.randrange(len(data))))
        data = data[:start] + data[end : end + 5000] + chance.randbytes(chance.randrange(40)) + data[start:]
    return data


CONTENTS: Final = [
    *(edited(_TEXT, seed) for seed in range(40)),
    *(edited(_NOISE, seed) for seed in range(20)),  # offsets and lengths of three bytes
    _TEXT + _TEXT,
    _NOISE[:70_000] + b"x" + _NOISE[:70_000],  # a copy longer than 64 KiB
]


@pytest.fixture(scope="module")
def loose(tmp_path_factory: pytest.TempPathFactory) -> Git:
    """A repository with a blob of each content, reachable by a tag."""
    git = Git.create(tmp_path_factory.mktemp("deltas") / "r.git")
    for number, data in enumerate(CONTENTS):
        git("tag", f"v{number}", git("hash-object", "-w", "--stdin", stdin=data).decode().strip())
    return git


@pytest.mark.parametrize("by_offset", ["true", "false"])
@pytest.mark.parametrize("depth", ["1", "50", "4095"])
def test_gits_deltas_are_read(loose: Git, by_offset: str, depth: str) -> None:
    Git(loose.path, [f"repack.useDeltaBaseOffset={by_offset}"])("repack", "-adFq", f"--depth={depth}", "--window=70")
    repository = Repository(loose.path)
    ids = [object_id(Type.BLOB, data) for data in CONTENTS]
    assert sum(repository.whole(oid) is None for oid in ids) > 20
    assert [repository.read(oid) for oid in ids] == CONTENTS
    assert [Repository(loose.path).read(oid) for oid in reversed(ids)] == CONTENTS[::-1]


def test_nobody_loads_libgit2_for_them(loose: Git) -> None:
    loose("repack", "-adFq")
    script = """
import sys
from pathlib import Path
from gitstate.store import Repository
repository = Repository(Path(sys.argv[1]))
print(sum(len(repository.read(bytes.fromhex(oid))) for oid in sys.argv[2:]), "pygit2" in sys.modules)
"""
    ids = [object_id(Type.BLOB, data).hex() for data in CONTENTS]
    done = subprocess.run(
        [sys.executable, "-c", script, loose.path, *ids], capture_output=True, check=True, cwd=PROJECT
    )
    assert done.stdout.decode().split() == [str(sum(map(len, CONTENTS))), "False"]


def test_little_is_kept() -> None:
    bases = Bases(most=1000)
    packs = [Pack.__new__(Pack) for _ in range(2)]
    for offset in range(100):
        for pack in packs:
            bases.keep(pack, offset, Type.BLOB, bytes([offset]) * 200)
    kept = [(pack, offset) for pack in packs for offset in range(100) if bases.get(pack, offset)]
    assert kept == [(packs[0], 98), (packs[0], 99), (packs[1], 97), (packs[1], 98), (packs[1], 99)]
    assert bases.get(packs[0], 99) == (Type.BLOB, bytes([99]) * 200)
    bases.keep(packs[0], 500, Type.BLOB, bytes(251))
    assert bases.get(packs[0], 500) is None, "too large beside the others"
    assert bases.get(packs[1], 97), "and it displaced none"


# --- what is none -------------------------------------------------------------------------------------------


@given(st.binary(max_size=40), st.binary(max_size=60))
def test_noise_is_no_delta_of_the_wrong_size(base: bytes, delta: bytes) -> None:
    try:
        made = apply(base, delta)
    except (ValueError, IndexError):
        return
    assert delta[0] == len(base)
    assert len(made) == delta[1]


@given(st.integers(0, 60), st.integers(0, 7))
def test_a_flipped_bit_makes_no_longer_or_shorter_object(place: int, bit: int) -> None:
    base = b"0123456789" * 10
    delta = b"\x64\x18" + b"\x90\x0a" + b"\x02ab" + b"\x91\x32\x0c"
    assert apply(base, delta) == base[:10] + b"ab" + base[50:62]
    flipped = bytearray(delta)
    flipped[place % len(delta)] ^= 1 << bit
    try:
        made = apply(base, bytes(flipped))
    except (ValueError, IndexError):
        return
    assert len(made) == 24


@pytest.mark.parametrize(
    "delta",
    [
        b"",
        b"\x0a",
        b"\x0a\x05",
        b"\x0b\x01\x01x",
        b"\x0a\x01\x00",
        b"\x0a\x02\x01x",
        b"\x0a\x01\x02x",
        b"\x0a\x01\x91\x0a\x01",
    ],
    ids=["nothing", "no size", "too little", "another base", "reserved", "short", "cut", "beyond the base"],
)
def test_what_is_no_delta(delta: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        apply(b"0123456789", delta)


def test_a_delta_that_would_fill_all_memory() -> None:
    base = bytes(1 << 20)
    bomb = b"\x80\x80\x40" + b"\x05" + b"\xf0\xff\xff\x0f" * 100_000
    with pytest.raises(ValueError, match="bounds"):
        apply(base, bomb)


def packed(path: Path, entries: list[tuple[bytes, bytes]]) -> Pack:
    """A pack of raw entries, under whatever ids."""
    data, slots, offsets = b"PACK\0\0\0\2" + len(entries).to_bytes(4, "big"), {}, []
    for oid, raw in entries:
        slots[oid] = len(slots)
        offsets.append(len(data))
        data += raw
    (path / "pack-x.pack").write_bytes(data + bytes(20))
    sums = [zlib.crc32(raw) for _, raw in entries]
    (path / "pack-x.idx").write_bytes(b"".join(format_index(slots, offsets, sums, bytes(20))))
    return Pack(path / "pack-x.idx")


def by_name(base: bytes, delta: bytes) -> bytes:
    return entry_header(7, len(delta)) + base + deflate(delta)


ONE, TWO = b"\1" * 20, b"\2" * 20
KEEP: Final = b"\x03\x03\x90\x03"
"""A delta that makes three bytes of the same three."""
WHOLE: Final = entry_header(Type.BLOB, 3) + deflate(b"abc")


@pytest.mark.parametrize(
    "entries",
    [
        [(ONE, by_name(TWO, KEEP)), (TWO, by_name(ONE, KEEP))],
        [(ONE, by_name(ONE, KEEP))],
        [(ONE, by_name(b"\3" * 20, KEEP))],
        [(ONE, entry_header(6, 4) + b"\x00" + deflate(KEEP))],
        [(ONE, entry_header(6, 4) + b"\x0c" + deflate(KEEP))],
        [(ONE, entry_header(6, 4) + b"\xff" * 12 + deflate(KEEP))],
        [(TWO, WHOLE), (ONE, by_name(TWO, KEEP))],
        [(TWO, WHOLE), (ONE, by_name(TWO, b"\x04\x03\x90\x03"))],
        [(TWO, WHOLE), (ONE, entry_header(7, 9) + TWO + deflate(KEEP))],
        [(TWO, entry_header(5, 3) + deflate(b"abc")), (ONE, by_name(TWO, KEEP))],
        [(ONE, entry_header(7, 1 << 50) + TWO + deflate(KEEP)), (TWO, WHOLE)],
    ],
    ids=[
        *("a circle", "its own base", "no base", "no distance", "before the pack", "a distance without end"),
        *("another object", "another base", "another size", "of no type", "huge"),
    ],
)  # fmt: skip
def test_damage_is_named(tmp_path: Path, entries: list[tuple[bytes, bytes]]) -> None:
    pack = packed(tmp_path, entries)
    place = pack.find(ONE)
    assert place is not None
    with pytest.raises(DamagedError) as caught:
        read_delta(pack, place, ONE, Bases())
    assert "pack-x.pack" in caught.value.message
    assert caught.value.hint


def test_a_good_one_beside_them(tmp_path: Path) -> None:
    oid = object_id(Type.BLOB, b"abc")
    pack = packed(tmp_path, [(TWO, WHOLE), (oid, by_name(TWO, KEEP))])
    place = pack.find(oid)
    assert place is not None
    assert read_delta(pack, place, oid, Bases()) == (Type.BLOB, b"abc")
