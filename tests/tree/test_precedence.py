"""What git has wins over the record: docs/format.md, section 5; ACLs as the kernel has them."""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitstate.core.entry import ACL_ACCESS, CAPABILITY, Entry, Kind, Meta
from gitstate.tree.manifest import NO_RECORDS, Records, format_directory, parse_directory, resolve
from tests.strategies import NOT_DIRECTORIES, metas

HEAD: Final = b"#mtree\n/set type=file mode=0644 uid=0 gid=0\n"
OWN: Final = Meta(Kind.DIRECTORY, 0o755, time=0)
OID: Final = bytes(range(20))


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("manifest")


CAP: Final = (CAPABILITY, b"cap")
USER: Final = (b"user.x", b"y")
ACL_HEAD: Final = struct.pack("<I", 2)


def acl(*items: tuple[int, int, int]) -> bytes:
    return ACL_HEAD + b"".join(struct.pack("<HHI", *item) for item in items)


NOBODY: Final = 2**32 - 1
RECORDED: Final = Meta(Kind.FILE, 0o6640, 5, 42, 77, None, (CAP, USER))
LINK: Final = Meta(Kind.SYMLINK, 0o777, 5, 42, 77)
CONTROL: Final = Meta(Kind.FIFO, 0o600, 5, 42, 77)
EDITED: Final = RECORDED._replace(mode=0o640, time=9, xattrs=(USER,))

# record, does its oid match, git's kind, git's x bit -> what the export has
PRECEDENCE: Final[list[tuple[Meta | None, bool, Kind, bool, Meta]]] = [
    (RECORDED, True, Kind.FILE, False, RECORDED),
    (RECORDED._replace(mode=0o4750), True, Kind.FILE, True, RECORDED._replace(mode=0o4750)),
    (RECORDED._replace(mode=0), True, Kind.FILE, False, RECORDED._replace(mode=0)),
    (RECORDED._replace(mode=0o100), True, Kind.FILE, True, RECORDED._replace(mode=0o100)),
    (RECORDED._replace(mode=0o654), True, Kind.FILE, False, RECORDED._replace(mode=0o654)),
    (LINK, True, Kind.SYMLINK, False, LINK),
    (LINK, False, Kind.SYMLINK, False, LINK._replace(time=9)),
    (RECORDED, False, Kind.FILE, False, EDITED),
    (RECORDED._replace(mode=0o7750), False, Kind.FILE, True, EDITED._replace(mode=0o1750)),
    (RECORDED._replace(mode=0), False, Kind.FILE, False, EDITED._replace(mode=0)),
    (RECORDED, True, Kind.FILE, True, RECORDED._replace(mode=0o6751)),
    (RECORDED._replace(mode=0o4755), True, Kind.FILE, False, RECORDED._replace(mode=0o4644)),
    (RECORDED._replace(mode=0o6755), False, Kind.FILE, False, EDITED._replace(mode=0o644)),
    (RECORDED, False, Kind.FILE, True, EDITED._replace(mode=0o751)),
    (None, False, Kind.FILE, False, Meta(Kind.FILE, 0o644, time=9)),
    (None, False, Kind.FILE, True, Meta(Kind.FILE, 0o755, time=9)),
    (None, False, Kind.SYMLINK, False, Meta(Kind.SYMLINK, 0o777, time=9)),
    (LINK, True, Kind.FILE, False, Meta(Kind.FILE, 0o644, time=9)),
    (LINK, True, Kind.FILE, True, Meta(Kind.FILE, 0o755, time=9)),
    (RECORDED, True, Kind.SYMLINK, False, Meta(Kind.SYMLINK, 0o777, time=9)),
    (CONTROL, True, Kind.FILE, True, Meta(Kind.FILE, 0o755, time=9)),
    (CONTROL, False, Kind.SYMLINK, False, Meta(Kind.SYMLINK, 0o777, time=9)),
]


@pytest.mark.parametrize(("record", "match", "kind", "executable", "expected"), PRECEDENCE)
def test_gits_entry_wins(record: Meta | None, match: bool, kind: Kind, executable: bool, expected: Meta) -> None:
    oid = OID if match else OID[::-1]
    found = {} if record is None else {b"x": Entry(b"x", record, OID[:4])}
    own = Meta(Kind.DIRECTORY, 0o700, 1, 2, 9, None, (USER,))
    assert resolve(b"x", kind, executable, oid, Records(own, found)) == Entry(b"x", expected, oid)


@pytest.mark.parametrize("own", [None, OWN._replace(time=None)], ids=["no record", "no time"])
def test_without_the_directorys_time_it_is_the_epoch(own: Meta | None) -> None:
    assert resolve(b"x", Kind.FILE, False, OID, Records(own)).meta == Meta(Kind.FILE, 0o644, time=0)
    edited_one = Records(own, {b"x": Entry(b"x", RECORDED, b"")})
    assert resolve(b"x", Kind.FILE, False, OID, edited_one).meta == EDITED._replace(time=0)


def test_a_record_without_oid_matches_no_blob() -> None:
    records = parse_directory(HEAD + b"x mode=6755 time=5.000000000\n", "x", root=False)
    assert resolve(b"x", Kind.FILE, True, OID, records).meta == Meta(Kind.FILE, 0o755, time=0)


@given(
    record=metas(NOT_DIRECTORIES),
    kind=st.sampled_from([Kind.FILE, Kind.SYMLINK]),
    executable=st.booleans(),
    match=st.booleans(),
)
def test_only_the_recorded_content_is_privileged(record: Meta, kind: Kind, executable: bool, match: bool) -> None:
    executable = executable and kind is Kind.FILE
    oid = OID if match else OID[::-1]
    meta = resolve(b"x", kind, executable, oid, Records(OWN, {b"x": Entry(b"x", record, OID[:4])})).meta
    assert meta.kind is kind
    if kind is Kind.FILE:
        assert bool(meta.mode & 0o100) == executable
    if not (match and record.kind is kind):
        assert not meta.mode & 0o6000
        assert CAPABILITY not in dict(meta.xattrs)
        assert meta.time == OWN.time
    elif kind is Kind.SYMLINK or executable == bool(record.mode & 0o100):
        assert meta == record


PERMISSIONS: Final = st.integers(0, 7)


@st.composite
def acls(draw: st.DrawFn) -> bytes:
    """An ACL with named users or groups, in the kernel's order."""
    users = sorted(draw(st.sets(st.integers(0, 2**31), max_size=3)))
    groups = sorted(draw(st.sets(st.integers(0, 2**31), min_size=0 if users else 1, max_size=3)))
    return acl(
        (0x01, draw(PERMISSIONS), NOBODY),
        *((0x02, draw(PERMISSIONS), who) for who in users),
        (0x04, draw(PERMISSIONS), NOBODY),
        *((0x08, draw(PERMISSIONS), who) for who in groups),
        (0x10, draw(PERMISSIONS), NOBODY),
        (0x20, draw(PERMISSIONS), NOBODY),
    )


@given(value=acls(), mode=st.integers(0, 0o777), kind=st.sampled_from([Kind.FILE, Kind.DIRECTORY, Kind.FIFO]))
def test_an_acl_follows_an_edited_mode_as_the_kernel_has_it(
    workshop: Path, value: bytes, mode: int, kind: Kind
) -> None:
    path = workshop / "acl"
    path.write_bytes(b"")
    os.setxattr(path, ACL_ACCESS, value)
    os.chmod(path, mode)
    meta = Meta(kind, mode, 0, 0, 1, None, ((ACL_ACCESS, value), USER))
    own, entries = (
        (meta, []) if kind is Kind.DIRECTORY else (OWN, [Entry(b"x", meta, OID if kind is Kind.FILE else b"")])
    )
    records = parse_directory(format_directory(own, entries, root=False), "x", root=False)
    found = records.own if kind is Kind.DIRECTORY else records.entries[b"x"].meta
    assert found == meta._replace(xattrs=((ACL_ACCESS, os.getxattr(path, ACL_ACCESS)), USER))


@given(value=acls())
def test_an_acl_follows_gits_x_bit_as_the_kernel_has_it(workshop: Path, value: bytes) -> None:
    path = workshop / "acl"
    path.write_bytes(b"")
    os.setxattr(path, ACL_ACCESS, value)
    before = stat.S_IMODE(path.stat().st_mode)
    executable = not before & 0o100
    os.chmod(path, before | 0o111 if executable else before & ~0o111)
    recorded = Meta(Kind.FILE, before, 0, 0, 1, None, ((ACL_ACCESS, value), USER))
    meta = resolve(b"x", Kind.FILE, executable, OID, Records(OWN, {b"x": Entry(b"x", recorded, OID[:4])})).meta
    assert meta.mode == stat.S_IMODE(path.stat().st_mode)
    assert dict(meta.xattrs) == {ACL_ACCESS: os.getxattr(path, ACL_ACCESS), b"user.x": b"y"}


@pytest.mark.parametrize("broken", [b"", b"\2", ACL_HEAD, ACL_HEAD + b"1234567", acl((0x20, 7, NOBODY)) * 2])
def test_a_broken_acl_breaks_nothing(broken: bytes) -> None:
    recorded = RECORDED._replace(xattrs=((ACL_ACCESS, broken),))
    meta = resolve(b"x", Kind.FILE, True, OID, Records(OWN, {b"x": Entry(b"x", recorded, OID[:4])})).meta
    assert meta.mode == 0o6751


def test_nothing_recorded_is_nothing_in_the_way() -> None:
    assert resolve(b"x", Kind.FILE, True, OID, NO_RECORDS) == Entry(b"x", Meta(Kind.FILE, 0o755, time=0), OID)
