"""cpio: other programs read what we write, we list what they do, and hostile archives end in one line."""

from __future__ import annotations

import os
import random
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitstate.core import cpio
from gitstate.core.cpio import Limits, Member, OpaqueArchiveError
from gitstate.core.entry import FORMAT_BY_KIND, IN_GIT, KIND_BY_FORMAT, Kind, Meta
from gitstate.core.errors import DamagedError, GitstateError
from tests.strategies import NAMES, NUMBERS
from tests.support import PROJECT, needs, root_only

SECOND = 10**9
PLAIN = Meta(Kind.FILE, 0o644, time=0)
FOLDER = Meta(Kind.DIRECTORY, 0o755, time=0)

EVERYTHING = [
    Member(b"etc", Meta(Kind.DIRECTORY, 0o1751, 3, 4, 1_600_000_000 * SECOND)),
    Member(b"etc/shadow", Meta(Kind.FILE, 0o640, 0, 42, 1_700_000_000 * SECOND), b"root:*:\n"),
    Member(b"etc/empty", Meta(Kind.FILE, 0o4755, 1000, 1000, 0)),
    Member(b"etc/link", Meta(Kind.SYMLINK, 0o777, 5, 6, 1_700_000_001 * SECOND), b"../no where"),
    Member(b"etc/big", Meta(Kind.FILE, 0o600, 0, 0, 0), random.Random(1).randbytes(300_001)),
    Member(b"etc/a b\\\xff", Meta(Kind.FILE, 0o600, 0, 0, 0), b"x"),
    Member(b"fifo", Meta(Kind.FIFO, 0o600, 0, 0, 0)),
    Member(b"null", Meta(Kind.CHARACTER, 0o666, 0, 0, 0, (1, 3))),
    Member(b"sda", Meta(Kind.BLOCK, 0o660, 0, 6, 0, (259, 1048575))),
]
SMALL = [Member(b"a", FOLDER), Member(b"a/b", PLAIN, b"content"), Member(b"c", Meta(Kind.SYMLINK, 0o777, time=0), b"a")]


def written(members: Sequence[Member]) -> bytes:
    return b"".join(cpio.write(members))


def listed(*pieces: bytes, limits: Limits = cpio.LIMITS) -> list[bytes]:
    return [member.path for member in cpio.members(pieces, limits=limits)]


def packed(data: bytes, *argv: str) -> bytes:
    return subprocess.run(argv, input=data, stdout=subprocess.PIPE, check=True).stdout


def looks(root: Path) -> dict[bytes, tuple[object, ...]]:
    """What stands below ``root``, with everything that an archive can hold of it."""
    found: dict[bytes, tuple[object, ...]] = {}
    for directory, names, files in os.walk(os.fsencode(root)):
        for name in [*names, *files]:
            path = os.path.join(directory, name)
            status = os.lstat(path)
            content = b""
            if stat.S_ISREG(status.st_mode):
                content = Path(os.fsdecode(path)).read_bytes()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            numbers = (status.st_mode, status.st_uid, status.st_gid, status.st_rdev, int(status.st_mtime))
            found[os.path.relpath(path, os.fsencode(root))] = (*numbers, content)
    return found


def expected(members: Sequence[Member]) -> dict[bytes, tuple[object, ...]]:
    return {
        path: (
            FORMAT_BY_KIND[meta.kind] | meta.mode,
            *(meta.uid, meta.gid),
            os.makedev(*meta.device) if meta.device else 0,
            (meta.time or 0) // SECOND,
            content,
        )
        for path, meta, content, _ in members
    }


def _without_times_and_link_owners(look: tuple[object, ...]) -> tuple[object, ...]:
    mode, *owners, device, _, content = look
    return (mode, device, content) if stat.S_ISLNK(int(str(mode))) else (mode, *owners, device, content)


# --- others read what we write ----------------------------------------------------------------------------------------


@root_only
@pytest.mark.parametrize(
    "argv",
    [
        pytest.param(("bsdtar", "-xpf", "-", "--numeric-owner"), marks=needs("bsdtar")),
        pytest.param(("busybox", "cpio", "-idmu"), marks=needs("busybox")),
        pytest.param(("cpio", "-idmu", "--quiet"), marks=needs("cpio")),
    ],
    ids=["bsdtar", "busybox", "cpio"],
)
def test_another_program_unpacks_it(argv: tuple[str, ...], tmp_path: Path) -> None:
    subprocess.run(argv, input=written(EVERYTHING), cwd=tmp_path, check=True, capture_output=True)
    found, wanted = looks(tmp_path), expected(EVERYTHING)
    if "bsdtar" not in argv:  # times of directories, times and owners of links are as they come
        found = {path: _without_times_and_link_owners(look) for path, look in found.items()}
        wanted = {path: _without_times_and_link_owners(look) for path, look in wanted.items()}
    assert found == wanted


@needs("bsdtar")
def test_another_program_lists_a_large_archive() -> None:
    members = [Member(b"d", FOLDER), *(Member(b"d/%05d" % n, PLAIN, b"x" * (n % 9)) for n in range(5000))]
    said = packed(written(members), "bsdtar", "-tf", "-").split()
    assert said == [member.path for member in members]


def test_what_is_written_is_padded_and_sorted() -> None:
    data = written(SMALL)
    assert data == written(SMALL[::-1])
    assert len(data) % 512 == 0
    assert listed(data) == [b"a", b"a/b", b"c"]


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ([Member(b"/a", PLAIN)], "path"),
        ([Member(b"", FOLDER)], "path"),
        ([Member(b".", FOLDER)], "path"),
        ([Member(b"a", FOLDER), Member(b"a/../b", PLAIN)], "path"),
        ([Member(b"a\0b", PLAIN)], "path"),
        ([Member(b"TRAILER!!!", PLAIN)], "path"),
        ([Member(b"a" * 4096, PLAIN)], "path"),
        ([Member(b"a", PLAIN), Member(b"a", FOLDER)], "twice"),
        ([Member(b"a/b", PLAIN)], "no directory"),
        ([Member(b"a", PLAIN), Member(b"a/b", PLAIN)], "no directory"),
        ([Member(b"a", Meta(Kind.FILE, 0o755, xattrs=((b"user.a", b"b"),)))], "attributes"),
        ([Member(b"a", FOLDER, b"x")], "with content"),
        ([Member(b"a", Meta(Kind.SYMLINK, 0o777))], "target"),
        ([Member(b"a", Meta(Kind.SYMLINK, 0o777), b"x" * 4096)], "target"),
    ],
)
def test_what_cannot_be_written(members: list[Member], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        written(members)


@st.composite
def trees(draw: st.DrawFn) -> list[Member]:
    """Members in any order whose directories are among them."""
    members: list[Member] = []
    folders = [b""]
    for name in draw(st.lists(NAMES, max_size=12)):
        folder = draw(st.sampled_from(folders))
        path = folder + b"/" + name if folder else name
        if path in {member.path for member in members} or path == b"TRAILER!!!":
            continue
        kind = draw(st.sampled_from(list(Kind)))
        device = (draw(NUMBERS), draw(NUMBERS)) if kind in (Kind.CHARACTER, Kind.BLOCK) else None
        ids = (draw(NUMBERS), draw(NUMBERS))
        meta = Meta(kind, draw(st.integers(0, 0o7777)), *ids, draw(NUMBERS) * SECOND, device)
        content = draw(st.binary(min_size=kind is Kind.SYMLINK, max_size=40)) if kind in IN_GIT else b""
        members.append(Member(path, meta, content, len(content)))
        if kind is Kind.DIRECTORY:
            folders.append(path)
    return draw(st.permutations(members))


@given(trees(), st.integers(1, 700))
def test_what_is_written_is_read_back(tree: list[Member], step: int) -> None:
    data = written(tree)
    pieces = [data[start : start + step] for start in range(0, len(data), step)]
    assert list(cpio.members(pieces, lambda path: True)) == sorted(tree, key=lambda member: member.path)


@pytest.mark.parametrize(("time", "kept"), [(-5 * SECOND, 0), (2**32 * SECOND, 2**32 - 1), (SECOND - 1, 0), (None, 0)])
def test_times_that_do_not_fit(time: int | None, kept: int) -> None:
    (member,) = cpio.members([written([Member(b"a", Meta(Kind.FILE, 0o644, time=time))])])
    assert member.meta.time == kept * SECOND


# --- we list what others write ----------------------------------------------------------------------------------------

COMPRESSORS = [
    pytest.param(("gzip", "-9n"), marks=needs("gzip")),
    pytest.param(("xz", "--check=crc32"), marks=needs("xz")),
    pytest.param(("xz", "--format=lzma"), marks=needs("xz")),
    pytest.param(("zstd", "-q", "-19"), marks=needs("zstd")),
    pytest.param(("bzip2",), marks=needs("bzip2")),
]


@pytest.mark.parametrize("argv", COMPRESSORS, ids=" ".join)
def test_a_row_of_archives(argv: tuple[str, ...]) -> None:
    """Microcode in front, two archives in one compressed part, another one behind, as distributions do."""
    early = written([Member(b"kernel", FOLDER), Member(b"kernel/x86", FOLDER)])
    main, extra = written(SMALL), written([Member(b"extra", PLAIN, b"x")])
    compressed = packed(main + bytes(100) + extra, *argv)
    data = early + bytes(1024) + compressed + bytes(-len(compressed) % 4) + extra
    wanted = [b"kernel", b"kernel/x86", b"a", b"a/b", b"c", b"extra", b"extra"]
    assert listed(data) == wanted
    assert listed(*(data[at : at + 1] for at in range(len(data)))) == wanted
    found = {one.path: one.content for one in cpio.members([data], lambda path: path == b"a/b")}
    assert found == {b"kernel": b"", b"kernel/x86": b"", b"a": b"", b"a/b": b"content", b"c": b"a", b"extra": b""}


@root_only
@needs("busybox", "find")
def test_what_busybox_writes(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    subprocess.run(["bsdtar", "-xpf", "-"], input=written(EVERYTHING), cwd=root, check=True, capture_output=True)
    names = packed(b"", "find", str(root), "-mindepth", "1", "-printf", "./%P\\n")
    made = subprocess.run(
        ["busybox", "cpio", "-o", "-H", "newc"], input=names, cwd=root, stdout=subprocess.PIPE, check=True
    )
    found = {
        one.path: (
            FORMAT_BY_KIND[one.meta.kind] | one.meta.mode,
            *(one.meta.uid, one.meta.gid, os.makedev(*one.meta.device) if one.meta.device else 0),
            *((one.meta.time or 0) // SECOND, one.content),
        )
        for one in cpio.members([made.stdout], lambda path: True)
    }
    assert found == looks(root)


@root_only
def test_sockets_are_left_out() -> None:
    data = bytearray(written([Member(b"a", PLAIN), Member(b"b", PLAIN)]))
    data[14:22] = b"%08x" % (stat.S_IFSOCK | 0o600)
    assert stat.S_IFSOCK not in KIND_BY_FORMAT
    assert listed(bytes(data)) == [b"b"]


@pytest.mark.parametrize(("given_path", "path"), [(b"./a//b/", b"a/b"), (b"/a", b"a"), (b".", b"."), (b"./", b".")])
def test_paths_are_made_plain(given_path: bytes, path: bytes) -> None:
    assert cpio.plain(given_path) == path


# --- hostile ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("argv", [None, *COMPRESSORS], ids=str)
def test_truncated_anywhere(argv: tuple[str, ...] | None) -> None:
    data = written(SMALL)
    ends = range(1, data.index(b"TRAILER!!!") + 11)
    if argv:
        data = packed(data, *argv)
        ends = range(1, len(data) - 1)
    for end in ends:
        with pytest.raises(DamagedError):
            listed(data[:end])


@pytest.mark.parametrize("argv", [None, *COMPRESSORS], ids=str)
def test_flipped_bits(argv: tuple[str, ...] | None) -> None:
    """Whatever becomes of it: members or an error of ours."""
    whole = packed(written(SMALL), *argv) if argv else written(SMALL)
    chance, errors = random.Random(7), []
    for _ in range(400):
        data = bytearray(whole)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        try:
            listed(bytes(data))
        except GitstateError as error:
            errors.append(error)
    assert errors
    assert all(error.message and error.hint for error in errors)


@given(st.binary(max_size=300))
def test_noise(noise: bytes) -> None:
    for data in (noise, cpio.member.MAGIC + noise, b"\x1f\x8b\x08" + noise, b"\x28\xb5\x2f\xfd" + noise):
        with suppress(GitstateError):
            listed(data)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda data: data.replace(b"070701", b"070707", 1), "no archive"),
        (lambda data: data.replace(b"00000000", b"0x000000", 1), "no member"),
        (lambda data: data.replace(b"00000000", b"  +00000", 1), "no member"),
        (lambda data: data[:94] + b"00000000" + data[102:], "name of 0"),
        (lambda data: data[:94] + b"ffffffff" + data[102:], "name of 4294967295"),
        (lambda data: data[:94] + b"00000001" + data[102:], "doesn't end"),
        (lambda data: data[:54] + b"ffffffff" + data[62:], "truncated"),
        (lambda data: b"\0\0" + data, "multiple of four"),
        (lambda data: data + b"junk", "no archive"),
    ],
)
def test_bad_headers(change: object, why: str) -> None:
    assert callable(change)
    with pytest.raises(DamagedError, match=why):
        listed(change(written(SMALL)))


def test_nothing_at_all_is_an_empty_initrd() -> None:
    assert listed() == []
    assert listed(b"", bytes(5000)) == []


@needs("lz4")
@pytest.mark.parametrize("option", ["-l", "-9"])
def test_what_cannot_be_looked_into(option: str) -> None:
    with pytest.raises(OpaqueArchiveError, match="lz4, and gitstate can't look inside") as raised:
        listed(packed(written(SMALL), "lz4", option))
    assert "prepare" in raised.value.hint


def test_limits() -> None:
    data = written(SMALL)
    assert listed(data, limits=Limits(unpacked=len(data), members=4)) == [b"a", b"a/b", b"c"]
    with pytest.raises(DamagedError, match="unpacks to more than 400 bytes"):
        listed(data, limits=Limits(unpacked=400))
    with pytest.raises(DamagedError, match="more than 2 members"):
        listed(data, limits=Limits(members=2))
    with pytest.raises(DamagedError, match="too much to read"):
        list(cpio.members([data], lambda path: True, Limits(content=6)))


def test_a_compressed_part_in_a_compressed_part_is_refused() -> None:
    inner = packed(written(SMALL), "gzip")
    with pytest.raises(DamagedError, match="something else than an archive"):
        listed(packed(inner, "gzip"))


def rle(blocks: int) -> bytes:
    """A zstd frame of so many blocks of 128 KiB of one byte, four bytes each (RFC 8878)."""
    block = (1 << 1 | (128 << 10) << 3).to_bytes(3, "little") + b"\0"
    last = (1 | 1 << 1 | (128 << 10) << 3).to_bytes(3, "little") + b"\0"
    return b"\x28\xb5\x2f\xfd\x00\x40" + block * (blocks - 1) + last


def bombs() -> Iterator[tuple[str, bytes]]:
    zeros = bytes(64 << 20)
    yield "gzip", packed(zeros, "gzip")
    yield "xz", packed(zeros, "xz", "-1")
    yield "bzip2", packed(zeros, "bzip2")
    yield "zstd", rle(4096)


@pytest.mark.parametrize("name", ["gzip", "xz", "bzip2", "zstd"])
@needs("gzip", "xz", "bzip2")
def test_a_bomb_takes_little_memory(name: str, tmp_path: Path) -> None:
    file = tmp_path / "bomb"
    file.write_bytes(dict(bombs())[name])
    script = (
        "import re, sys; from pathlib import Path\n"
        "from gitstate.core import cpio; from gitstate.core.errors import DamagedError\n"
        "try: list(cpio.members([Path(sys.argv[1]).read_bytes()], limits=cpio.Limits(unpacked=60 << 20)))\n"
        "except DamagedError as error: print(error.message)\n"
        "print(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])"
    )
    argv = [sys.executable, "-c", script, str(file)]
    done = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, check=True)
    message, peak = done.stdout.splitlines()
    assert "unpacks to more than" in message
    assert int(peak) < 110 << 10, "kilobytes"


@needs("xz")
def test_a_dictionary_larger_than_memory_allows() -> None:
    with pytest.raises(DamagedError, match=r"[Mm]emory"):
        listed(packed(bytes(1 << 20), "xz", "--lzma2=dict=1GiB"))
