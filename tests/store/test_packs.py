"""Packs and indexes as written, held by git's index-pack, verify-pack, show-index, fsck and cat-file."""

from __future__ import annotations

import os
import random
import resource
import struct
import subprocess
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitstate.core.errors import StorageError
from gitstate.store.objects import FILE, TreeItem, Type, format_tree, object_id
from gitstate.store.packs import StagedPack, deflate, entry_header, format_index
from tests.support import needs
from tests.testing.git import Git

pytestmark = needs("git")

Object = tuple[Type, bytes]
SIZES: Final = [0, 1, 15, 16, 17, 2047, 2048, 65535, 65536, 65537, 2**18 - 1, 2**18, 2**18 + 1]
COMMIT: Final = b"tree %s\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\n%s\n"


@pytest.fixture(scope="module")
def git(tmp_path_factory: pytest.TempPathFactory) -> Git:
    """An empty repository; index-pack --strict wants one."""
    return Git.create(tmp_path_factory.mktemp("packs") / "r.git")


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workshop")


def nothing(name: str) -> None:
    """A step that nobody waits for."""


def staged(directory: Path, objects: list[Object]) -> Path:
    """The published pack of these objects; duplicates are offered, too."""
    (directory / "pack").mkdir(parents=True)
    pack = StagedPack(directory, "main")
    for kind, data in objects:
        pack.add(kind, object_id(kind, data), len(data), deflate(data))
    return published(pack, directory)


def published(pack: StagedPack, directory: Path) -> Path:
    kept: list[Path] = []
    pack.publish(directory, b"gitstate 1\n", kept, nothing)
    (keep,) = kept
    return keep.with_suffix(".pack")


def check(git: Git, pack: Path, objects: list[Object]) -> None:
    """git takes the pack, makes the same index byte for byte, and finds in it these objects and no others."""
    index = pack.with_suffix(".idx")
    own = pack.with_name(f"git-{pack.stem}.idx")
    said = git("index-pack", "--strict", "-o", str(own), str(pack)).decode().split()
    assert said == [pack.stem.removeprefix("pack-")]
    assert index.read_bytes() == own.read_bytes()
    listed = [line.split() for line in git("verify-pack", "-v", str(index)).splitlines()]
    found = sorted((words[0].decode(), words[1], int(words[2])) for words in listed if len(words) == 5)
    assert found == sorted({(object_id(kind, data).hex(), kind.word, len(data)) for kind, data in objects})


def history(blobs: list[bytes]) -> list[Object]:
    """Blobs, a tree that names them and a commit of it."""
    items = [TreeItem(FILE, b"%d" % number, object_id(Type.BLOB, data)) for number, data in enumerate(blobs)]
    tree = format_tree(items)
    commit = COMMIT % (object_id(Type.TREE, tree).hex().encode(), b"message")
    return [*((Type.BLOB, data) for data in blobs), (Type.TREE, tree), (Type.COMMIT, commit)]


# --- git takes them -------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(
    blobs=st.lists(st.one_of(st.binary(max_size=100), st.sampled_from(SIZES).map(bytes)), max_size=20),
    seed=st.integers(),
)
def test_git_takes_any_pack(git: Git, workshop: Path, blobs: list[bytes], seed: int) -> None:
    directory = workshop / os.urandom(8).hex()
    objects = history(blobs)
    random.Random(seed).shuffle(objects)
    check(git, staged(directory, objects), objects)


def test_git_takes_thousands_of_objects(git: Git, tmp_path: Path) -> None:
    objects = history([b"%d" % (number * number) for number in range(6000)])
    pack = staged(tmp_path, objects)
    check(git, pack, objects)
    assert len(git("show-index", stdin=pack.with_suffix(".idx").read_bytes()).splitlines()) == 6002


def test_git_takes_an_empty_pack(git: Git, tmp_path: Path) -> None:
    check(git, staged(tmp_path, []), [])


def test_fsck_is_silent_and_cat_file_reads_it_all(tmp_path: Path) -> None:
    git = Git.create(tmp_path / "r.git")
    rng = random.Random(1)
    objects = history([*(rng.randbytes(size) for size in SIZES), *(b"a" * size for size in SIZES[1:])])
    pack = StagedPack(tmp_path, "main")
    for kind, data in objects:
        pack.add(kind, object_id(kind, data), len(data), deflate(data))
    pack.publish(git.path / "objects", b"", [], nothing)
    git("update-ref", "refs/heads/main", object_id(*objects[-1]).hex())
    assert git.fsck() == ""
    for kind, data in objects:
        assert git("cat-file", kind.word.decode(), object_id(kind, data).hex()) == data


def test_nothing_stands_in_a_pack_twice(git: Git, tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    pack = StagedPack(tmp_path, "main")
    oid = object_id(Type.BLOB, b"x")
    assert oid not in pack
    assert pack.add(Type.BLOB, oid, 1, deflate(b"x"))
    assert not pack.add(Type.BLOB, oid, 1, deflate(b"x"))
    assert oid in pack
    assert len(pack) == 1
    check(git, published(pack, tmp_path), [(Type.BLOB, b"x")])


def test_threads_write_one_pack(git: Git, tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    pack = StagedPack(tmp_path, "main")
    blobs = [b"%d" % number * (number % 50) for number in range(2000)]

    def write(seed: int) -> int:
        mine = random.Random(seed).sample(blobs, 1500)
        return sum(pack.add(Type.BLOB, object_id(Type.BLOB, data), len(data), deflate(data)) for data in mine)

    with ThreadPoolExecutor(8) as pool:
        added = sum(pool.map(write, range(8)))
    objects = [(Type.BLOB, data) for data in set(blobs)]
    assert added == len(pack) == len(objects)
    check(git, published(pack, tmp_path), objects)


# --- headers and streams --------------------------------------------------------------------------------------------


@given(kind=st.sampled_from(list(Type)), size=st.one_of(st.integers(0, 2**12), st.integers(0, 2**64 - 1)))
def test_headers_are_gits(kind: Type, size: int) -> None:
    """Read as gitformat-pack(5) describes it."""
    header = entry_header(kind, size)
    assert header[0] >> 4 & 7 == kind
    assert [bool(byte & 0x80) for byte in header] == [True] * (len(header) - 1) + [False]
    assert sum((byte & 0x7F) << 4 + 7 * place for place, byte in enumerate(header[1:])) + (header[0] & 15) == size
    assert len(header) == 1 or header[-1]


@given(
    st.one_of(
        st.binary(max_size=300),
        st.binary(min_size=1, max_size=20).map(lambda piece: piece * 9000),
        st.integers(0).map(lambda seed: random.Random(seed).randbytes(70000)),
    )
)
def test_deflate_is_zlib(data: bytes) -> None:
    packed = deflate(data)
    assert zlib.decompress(packed) == data
    assert len(packed) <= len(data) + len(data) // 1000 + 64


def test_what_does_not_shrink_is_stored() -> None:
    data = random.Random(1).randbytes(1 << 20)
    assert data[1000:2000] in deflate(data)


def in_pieces(data: bytes, size: int) -> Callable[[], bytes]:
    pieces = iter([*(data[start : start + size] for start in range(0, len(data), size)), b""])
    return lambda: next(pieces)


@pytest.mark.parametrize("piece", [1 << 20, 4097])
@pytest.mark.parametrize("size", [0, 1, 4097, 3 << 20, (3 << 20) + 1])
def test_a_stream_is_an_object_like_any(git: Git, tmp_path: Path, size: int, piece: int) -> None:
    (tmp_path / "pack").mkdir()
    data = (random.Random(size).randbytes(1 << 16) + bytes(1 << 18)) * 12
    data = data[:size]
    pack = StagedPack(tmp_path, "large-1")
    assert pack.stream(Type.BLOB, size, in_pieces(data, piece)) == object_id(Type.BLOB, data)
    check(git, published(pack, tmp_path), [(Type.BLOB, data)])


def test_a_stream_that_begins_incompressible_is_stored(git: Git, tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    data = random.Random(1).randbytes(1 << 20) + bytes(1 << 20)
    pack = StagedPack(tmp_path, "large-1")
    pack.stream(Type.BLOB, len(data), in_pieces(data, 1 << 18))
    stored = published(pack, tmp_path)
    check(git, stored, [(Type.BLOB, data)])
    assert stored.stat().st_size > len(data)


@pytest.mark.parametrize("claimed", [0, 9, 11, 1000])
def test_a_stream_of_another_size_is_refused(tmp_path: Path, claimed: int) -> None:
    pack = StagedPack(tmp_path, "large-1")
    with pytest.raises(ValueError, match=f"10 bytes instead of {claimed}"):
        pack.stream(Type.BLOB, claimed, in_pieces(b"0123456789", 4))
    pack.drop()
    assert list(tmp_path.iterdir()) == []


# --- indexes of huge packs ------------------------------------------------------------------------------------------

OFFSETS: Final = st.one_of(
    st.sampled_from([12, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 1, 2**32, 2**40]), st.integers(12, 2**45)
)


@settings(max_examples=40)
@given(
    entries=st.dictionaries(
        st.binary(min_size=20, max_size=20), st.tuples(OFFSETS, st.integers(0, 2**32 - 1)), max_size=20
    ),
    seed=st.integers(),
)
def test_large_offsets_are_gits(git: Git, entries: dict[bytes, tuple[int, int]], seed: int) -> None:
    """Written in any order; show-index reads 64-bit offsets where there are any."""
    order = sorted(entries)
    random.Random(seed).shuffle(order)
    slots = {oid: slot for slot, oid in enumerate(order)}
    offsets, checksums = [entries[oid][0] for oid in order], [entries[oid][1] for oid in order]
    data = b"".join(format_index(slots, offsets, checksums, bytes(20)))
    shown = git("show-index", stdin=data).decode().splitlines()
    assert shown == [f"{entries[oid][0]} {oid.hex()} ({entries[oid][1]:08x})" for oid in sorted(entries)]
    large = sum(offset >= 2**31 for offset, _ in entries.values())
    assert len(data) == 8 + 1024 + 28 * len(entries) + 8 * large + 40
    assert data[-40:-20] == bytes(20)


def test_the_first_large_offset_is_the_one_of_git() -> None:
    parts = b"".join(format_index({b"a" * 20: 0, b"b" * 20: 1}, [2**31 - 1, 2**31], [1, 2], bytes(20)))
    small = struct.unpack(">2I", parts[8 + 1024 + 48 : 8 + 1024 + 56])
    assert small == (2**31 - 1, 2**31)
    assert struct.unpack(">Q", parts[8 + 1024 + 56 : -40]) == (2**31,)


# --- publishing -----------------------------------------------------------------------------------------------------


def test_a_pack_enters_in_an_order_that_survives(tmp_path: Path) -> None:
    """Kept before it is visible, visible only when it is whole; read-only like git's own."""
    git = Git.create(tmp_path / "r.git")
    (tmp_path / "staging").mkdir()
    packs = git.path / "objects" / "pack"
    pack = StagedPack(tmp_path / "staging", "main")
    pack.add(Type.BLOB, object_id(Type.BLOB, b"x"), 1, deflate(b"x"))
    seen: dict[str, list[str]] = {}

    def step(name: str) -> None:
        seen[name] = sorted(path.suffix for path in packs.iterdir())

    assert list(packs.iterdir()) == []
    kept: list[Path] = []
    pack.publish(git.path / "objects", b"gitstate 7\n", kept, step)
    (keep,) = kept
    assert seen == {"pack": [], "idx": [".idx", ".keep", ".pack"]}
    assert keep.read_bytes() == b"gitstate 7\n"
    assert {path.suffix: path.stat().st_mode & 0o777 for path in packs.iterdir()} == {
        ".idx": 0o444,
        ".keep": 0o600,
        ".pack": 0o444,
    }
    assert list((tmp_path / "staging").iterdir()) == []
    assert git("cat-file", "blob", object_id(Type.BLOB, b"x").hex()) == b"x"
    assert b"garbage: 0" in git("count-objects", "-v")


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """No file may grow beyond ``size``, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


BIG: Final = random.Random(1).randbytes(100_000)


@pytest.mark.parametrize(
    "write",
    [
        lambda pack: pack.stream(Type.BLOB, len(BIG), in_pieces(BIG, 1000)),
        lambda pack: pack.add(Type.BLOB, object_id(Type.BLOB, BIG), len(BIG), deflate(BIG)) and pack.finish(),
        lambda pack: [pack.add(Type.BLOB, bytes([n] * 20), len(BIG), deflate(BIG)) for n in range(20)],
    ],
    ids=["streamed", "at the end", "on the way"],
)
def test_no_room_is_a_clear_error(tmp_path: Path, write: Callable[[StagedPack], object]) -> None:
    pack = StagedPack(tmp_path, "main")
    with files_up_to(50_000), pytest.raises(StorageError) as caught:
        write(pack)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    pack.drop()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_writers_pack_is_no_pack(git: Git, tmp_path: Path) -> None:
    """Until it is finished git doesn't take it for one."""
    pack = StagedPack(tmp_path, "main")
    pack.add(Type.BLOB, object_id(Type.BLOB, b"x"), 1, deflate(b"x"))
    done = subprocess.run(
        ["git", "index-pack", "-o", tmp_path / "x.idx", tmp_path / "main.pack"], capture_output=True, check=False
    )
    assert done.returncode != 0
    pack.close()
