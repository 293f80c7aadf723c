"""What no file system can hold: the kernel's tmpfs, which takes whatever Linux allows, is the judge."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest

from gitstate.core.entry import ACL_ACCESS, ACL_DEFAULT, CAPABILITY, FORMAT_BY_KIND, Directory, Entry, Kind, Meta
from gitstate.core.errors import DamagedError, RefusedError
from gitstate.tree import limits
from gitstate.tree.limits import RepeatedEntries, impossible_entries, require_possible_target
from tests.support import root_only, unavailable

_NO_ID: Final = 2**32 - 1
_SHARED_MEMORY: Final = Path("/dev/shm")
_OWN: Final = Meta(Kind.DIRECTORY, 0o755, time=0)


@pytest.fixture(scope="module")
def place() -> Iterator[int]:
    """A directory on a tmpfs."""
    if not os.path.ismount(_SHARED_MEMORY):
        unavailable("a tmpfs on /dev/shm")
    with TemporaryDirectory(dir=_SHARED_MEMORY) as path:
        descriptor = os.open(path, os.O_RDONLY)
        yield descriptor
        os.close(descriptor)


def acl(*entries: tuple[int, int, int]) -> bytes:
    """An ACL in the kernel's form: tags, permissions, ids."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


USER, GROUP, OTHERS, MASK = (1, 6, _NO_ID), (4, 4, _NO_ID), (32, 4, _NO_ID), (16, 6, _NO_ID)
FULL: Final = acl(USER, (2, 6, 1000), GROUP, (8, 4, 50), MASK, OTHERS)
V2: Final = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)
V3: Final = struct.pack("<6I", 0x03000001, 1 << 13, 0, 0, 0, 1000)

VALUES: Final = [
    *((CAPABILITY, value) for value in (V2, V3, V2[:12], V2 + bytes(4), V3[:20], b"garbage", bytes(20))),
    (CAPABILITY, struct.pack("<5I", 0x02000003, 1, 0, 0, 0)),
    (CAPABILITY, V3[:20] + struct.pack("<I", _NO_ID)),
    (CAPABILITY, struct.pack("<3I", 0x01000001, 1, 0)),
    *(
        (name, value)
        for name in (ACL_ACCESS, ACL_DEFAULT)
        for value in (
            *(FULL, FULL[:-8], FULL[:-1], FULL + FULL[4:], b"\x01" + FULL[1:], b"garbage"),
            *(acl(USER, (2, 6, 5), (2, 4, 5), GROUP, MASK, OTHERS), acl(USER, GROUP, MASK, OTHERS)),
            *(acl(USER, (2, 6, 5), GROUP, OTHERS), acl(GROUP, USER, OTHERS), acl(USER, GROUP, MASK, MASK, OTHERS)),
            *(acl(USER, (2, 6, _NO_ID), GROUP, MASK, OTHERS), acl(USER, (2, 8, 5), GROUP, MASK, OTHERS)),
            *(acl(USER, (3, 6, 5), GROUP, MASK, OTHERS), acl(USER, USER, GROUP, OTHERS), acl(USER, OTHERS)),
        )
    ),
    *((b"user.a", value) for value in (b"", b"\0", bytes(65536), bytes(65537))),
    *((b"user." + b"n" * length, b"") for length in (1, 250, 251)),
    (b"security.selinux", b"system_u:object_r:etc_t:s0\0"),
]


@root_only
@pytest.mark.parametrize("kind", Kind)
def test_the_kernel_agrees_about_attributes(place: int, kind: Kind) -> None:
    for name, value in VALUES:
        meta = Meta(
            kind, 0o600, device=(1, 3) if kind in (Kind.CHARACTER, Kind.BLOCK) else None, xattrs=((name, value),)
        )
        possible = not list(impossible_entries(b"", holding(meta)))
        assert possible is kernel_takes(place, meta, name, value), (name, value)


def holding(meta: Meta, name: bytes = b"x") -> Directory:
    """A directory that has the metadata, or an entry that has it."""
    is_own = meta.kind is Kind.DIRECTORY and name == b"x"
    return Directory(meta if is_own else _OWN, {} if is_own else {name: Entry(name, meta)}, {})


def kernel_takes(place: int, meta: Meta, name: bytes, value: bytes) -> bool:
    """Whether an entry with an attribute can be made in an open directory, which is empty again afterwards."""
    if meta.kind is Kind.DIRECTORY:
        os.mkdir(b"x", dir_fd=place)
    elif meta.kind is Kind.SYMLINK:
        os.symlink(b"target", b"x", dir_fd=place)
    else:
        os.mknod(b"x", FORMAT_BY_KIND[meta.kind] | meta.mode, os.makedev(*meta.device or (0, 0)), dir_fd=place)
    try:
        os.setxattr(f"/proc/self/fd/{place}/x", name, value, follow_symlinks=False)
    except OSError:
        return False
    finally:
        (os.rmdir if meta.kind is Kind.DIRECTORY else os.unlink)(b"x", dir_fd=place)
    return True


@root_only
@pytest.mark.parametrize("device", [(4095, 0), (4096, 0), (0, 2**20 - 1), (0, 2**20), (2**32 - 1, 2**32 - 1)])
def test_the_kernel_agrees_about_devices(place: int, device: tuple[int, int]) -> None:
    possible = not list(impossible_entries(b"", holding(Meta(Kind.CHARACTER, 0o600, device=device))))
    try:
        os.mknod(b"x", FORMAT_BY_KIND[Kind.CHARACTER], os.makedev(*device), dir_fd=place)
    except (OSError, OverflowError):
        assert not possible
    else:
        os.unlink(b"x", dir_fd=place)
        assert possible


@pytest.mark.parametrize("target", [b"", b"a\0b", b"/", b"a" * 4095, b"a" * 4096, b"\xff\n"])
def test_the_kernel_agrees_about_targets(place: int, target: bytes) -> None:
    try:
        os.symlink(target, b"x", dir_fd=place)
    except (OSError, ValueError):
        with pytest.raises(DamagedError):
            require_possible_target(b"x", target)
    else:
        os.unlink(b"x", dir_fd=place)
        require_possible_target(b"x", target)


@pytest.mark.parametrize("length", [1, 255, 256, 4000])
def test_the_kernel_agrees_about_names(place: int, length: int) -> None:
    name = b"n" * length
    file, below = holding(Meta(Kind.FILE, 0o600), name), Directory(_OWN, {}, {name: bytes(20)})
    try:
        os.mkdir(name, dir_fd=place)
        os.rmdir(name, dir_fd=place)
    except OSError:
        expected = 1
    else:
        expected = 0
    assert [len(list(impossible_entries(b"d", one))) for one in (file, below)] == [expected, expected]


def test_each_impossible_entry_is_told_by_its_path() -> None:
    bad = Meta(Kind.FIFO, 0o600, xattrs=((b"user.a", b""),))
    files = {name: Entry(name, bad) for name in (b"one", b"two")}
    assert [error.message.split()[0] for error in impossible_entries(b"d", Directory(_OWN, files, {}))] == [
        "/d/one",
        "/d/two",
    ]


# --- counts -----------------------------------------------------------------------------------------------------------


def test_a_tree_that_repeats_itself_is_bounded() -> None:
    counted = RepeatedEntries()
    counted.count(b"one", limits.MOST_REPEATED)
    for _ in range(10):
        counted.count(b"one", limits.MOST_REPEATED)
    with pytest.raises(DamagedError, match=f"{limits.MOST_REPEATED:,}"):
        counted.count(b"one", 1)


def test_a_tree_of_different_directories_is_not() -> None:
    counted = RepeatedEntries()
    for number in range(30):
        counted.count(bytes([number]), limits.MOST_REPEATED)


def test_a_file_of_records_has_a_limit() -> None:
    assert not limits.why_unreadable(b"#mtree\n" * limits.MOST_RECORDS)
    assert f"{limits.MOST_RECORDS:,}" in limits.why_unreadable(b"#mtree\n" * (limits.MOST_RECORDS + 1))
    with pytest.raises(RefusedError, match="/a/b"):
        limits.require_readable(b"a/b", bytes(limits.LARGEST_RECORDS + 1))
