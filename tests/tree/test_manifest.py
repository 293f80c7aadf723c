"""Records against hypothesis, sed and bsdtar, full manifests against NetBSD mtree, ACLs against the kernel."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gitstate.core.entry import ACL_ACCESS, CAPABILITY, FORMAT, IN_GIT, KIND_BY_FORMAT, Entry, Kind, Meta
from gitstate.core.names import octal
from gitstate.tree.manifest import (
    MAX_ID,
    NO_RECORDS,
    Content,
    Records,
    UnreadableError,
    format_directory,
    format_full,
    format_links,
    format_time,
    parse_directory,
    parse_links,
    resolve,
)
from tests.strategies import FILES, NAMES, NOT_DIRECTORIES, OWNS, SECOND, TIMES, metas
from tests.support import needs, root_only

HEAD: Final = b"#mtree\n/set type=file mode=0644 uid=0 gid=0\n"
OWN: Final = Meta(Kind.DIRECTORY, 0o755, time=0)
OID: Final = bytes(range(20))
TEXTCONV: Final = r"sed -E 's/ time=-?[0-9.]+| oid=[0-9a-f]+//g'"
"""As docs/format.md has it."""

# --- records come back ----------------------------------------------------------------------------------------------


@given(own=OWNS, files=FILES, root=st.booleans())
def test_records_come_back(own: Meta, files: list[Entry], root: bool) -> None:
    text = format_directory(own, files, root=root)
    records = parse_directory(text, "x", root=root)
    assert records.own == own
    assert records.version == (FORMAT if root else None)
    assert list(records.entries.values()) == [entry._replace(oid=entry.oid[:4]) for entry in files]
    assert format_directory(own, records.entries.values(), root=root) == text


@given(own=OWNS, files=FILES)
def test_records_are_lines_of_plain_text_in_bytewise_order(own: Meta, files: list[Entry]) -> None:
    lines = format_directory(own, files, root=True).decode("ascii").split("\n")
    assert lines[:3] == ["#mtree", "#gitstate 1", "/set type=file mode=0644 uid=0 gid=0"]
    assert lines[-1] == ""
    assert [line.split(" ")[0] for line in lines[3:-1]] == [".", *(octal(entry.name) for entry in files)]
    assert all(line.isprintable() for line in lines)


def test_a_directory_reads_as_the_format_says() -> None:
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    files = [
        Entry(b"adduser.conf", Meta(Kind.FILE, 0o644, time=1730000000 * SECOND), bytes.fromhex("5f2a1c09") + OID),
        Entry(b"console", Meta(Kind.CHARACTER, 0o600, 0, 5, 0, (5, 1))),
        Entry(b"empty time", Meta(Kind.FIFO, 0o7777, MAX_ID, 1, None)),
        Entry(b"mtab", Meta(Kind.SYMLINK, 0o777, time=-SECOND // 2), bytes.fromhex("7a21b4d0") + OID),
        Entry(b"ping", Meta(Kind.FILE, 0, time=1, xattrs=((CAPABILITY, capability), (b"user.=", b""))), OID),
    ]
    own = Meta(Kind.DIRECTORY, 0o1777, time=1747699200 * SECOND + 5)
    assert format_directory(own, files, root=False).decode() == (
        "#mtree\n"
        "/set type=file mode=0644 uid=0 gid=0\n"
        ". type=dir mode=1777 time=1747699200.000000005\n"
        "adduser.conf time=1730000000.000000000 oid=5f2a1c09\n"
        "console type=char mode=0600 gid=5 time=0.000000000 device=native,5,1\n"
        "empty\\040time type=fifo mode=7777 uid=4294967294 gid=1\n"
        "mtab type=link mode=0777 time=-1.500000000 oid=7a21b4d0\n"
        "ping mode=0000 time=0.000000001"
        " xattr.security.capability=AQAAAgAgAAAAAAAAAAAAAAAAAAA= xattr.user.\\075= oid=00010203\n"
    )


@given(TIMES)
def test_time_is_floor_seconds_and_nine_digits(time: int) -> None:
    seconds, _, nanoseconds = format_time(time).partition(".")
    assert int(seconds) * SECOND + int(nanoseconds) == time
    assert len(nanoseconds) == 9


@given(own=OWNS, files=FILES)
def test_what_git_diff_leaves_out_is_time_and_oid_alone(own: Meta, files: list[Entry]) -> None:
    text = format_directory(own, files, root=False)
    command = ["sh", "-c", TEXTCONV]
    shown = subprocess.run(command, input=text, capture_output=True, check=True).stdout
    timeless = [entry._replace(meta=entry.meta._replace(time=None), oid=b"") for entry in files]
    assert shown == format_directory(own._replace(time=None), timeless, root=False)


def test_set_may_say_anything_about_its_four_keywords() -> None:
    text = (
        b"#mtree\na\n/set mode=0600 uid=7\nb\n/set type=link gid=8\nc\n. type=dir\n"
        b"/set type=char mode=1\nd device=native,1,2\n# comment\n\ne type=file uid=0"
    )
    assert parse_directory(text, "x", root=False) == Records(
        Meta(Kind.DIRECTORY, 0o600, 7, 8),
        {
            b"a": Entry(b"a", Meta(Kind.FILE, 0o644)),
            b"b": Entry(b"b", Meta(Kind.FILE, 0o600, 7)),
            b"c": Entry(b"c", Meta(Kind.SYMLINK, 0o600, 7, 8)),
            b"d": Entry(b"d", Meta(Kind.CHARACTER, 1, 7, 8, None, (1, 2))),
            b"e": Entry(b"e", Meta(Kind.FILE, 1, 0, 8)),
        },
    )


def test_attributes_are_read_in_one_order() -> None:
    text = HEAD + b"a xattr.user.b=Yg== xattr.security.capability=YQ== xattr.user.a=\n"
    read_back = parse_directory(text, "x", root=False).entries[b"a"].meta.xattrs
    assert read_back == ((CAPABILITY, b"a"), (b"user.a", b""), (b"user.b", b"b"))


def test_of_a_newer_format_nothing_but_its_number_is_read() -> None:
    text = b"#mtree\n#gitstate 2\n/set colour=red\n. kind=unheard-of\n"
    assert parse_directory(text, "x", root=True) == Records(version=2)


# --- bad records ----------------------------------------------------------------------------------------------------

# What stands after HEAD, two lines; the bad line is the last one of each.
BAD_LINES: Final = [
    *(b"a\nb\na", b". type=dir\n. type=dir", b"a\n\\141"),
    *(b"a mode=", b"a mode=8", b"a mode=0x1", b"a mode=07777777", b"a mode=-1", b"a mode=u+x", b"a mode"),
    *(b"a uname=", b"a uname=a:b", b"a gname=a\\040b", b"a gname=-x", b"a uname=" + b"x" * 101, b"/set uname=x"),
    *(b"a uid=-1", b"a uid=4294967295", b"a uid=root", b"a uid=01", b"a uid=", b"a gid=99999999999", b"a gid=1.0"),
    *(b"a time=1", b"a time=1.5", b"a time=1.0000000000", b"a time=-0.500000000", b"a time=.000000000"),
    *(b"a time=01.000000000",),
    *(b"a time=9223372036854775808.000000000", b"a time=-9223372036854775809.000000000", b"a time=1e9"),
    *(b"a time=+1.000000000",),
    *(b"a type=", b"a type=socket", b"a type=DIR", b"a type=file,dir"),
    *(b"a type=char", b"a type=block device=", b"a type=char device=linux,1,2", b"a type=char device=native,1"),
    *(b"a type=char device=native,1,4294967296", b"a type=char device=native,-1,2", b"a type=char device=1,2"),
    *(b"a device=native,1,2", b"a type=fifo device=native,1,2", b". type=dir device=native,1,2"),
    *(b"a oid=", b"a oid=1234567", b"a oid=123456789", b"a oid=1234567G", b"a oid=ABCDEF12"),
    *(b"a xattr.user.x=A", b"a xattr.user.x=AB=", b"a xattr.user.x=A B=", b"a xattr.user.x=AB==AB=="),
    *(b"a xattr.user.x=AB==\t",),
    *(b"a xattr.user.x=Q\xc3", b"a xattr.=", b"a xattr.user.=", b"a xattr.user.x", b"a xattr.user.\\000="),
    *(b"a xattr.user.\\9=QQ==",),
    *(b"a xattr.user.x= xattr.user.x=", b"a xattr.trusted.overlay.opaque=eQ==", b"a xattr.security.ima="),
    *(b"a xattr.x=",),
    *(b"a colour=red", b"a mode=0644 ", b"a  mode=0644", b"a\tmode=0644", b"a mode=0644\r", b"a nochange"),
    *(b"a size=1",),
    *(b"a type=dir", b".", b". type=file", b". type=link", b"a/b", b"a\\057b", b"/a", b"a\\000", b".. type=file"),
    *(b"\\056\\056",),
    *(b" a", b" ", b"\\056 type=file", b"a\\", b"a\\8", b"a\\400", b"\xff", b"a=b", b"a\0b", b"\t", b"\r"),
    *(b"/set colour=red", b"/set time=1.000000000", b"/set oid=12345678", b"/set mode=9", b"/set uid", b"/set "),
    *(b"/unset uid",),
    *(b"/set xattr.user.x=", b"/set device=native,1,2", b"/set type=socket", b"/setx mode=0644"),
]  # fmt: skip


@pytest.mark.parametrize("lines", BAD_LINES, ids=repr)
def test_a_bad_line_is_named(lines: bytes) -> None:
    with pytest.raises(UnreadableError) as caught:
        parse_directory(HEAD + lines + b"\nz mode=9\n", "/etc/.gitstate", root=False)
    number = (HEAD + lines).count(b"\n") + 1
    assert caught.value.line == number
    assert caught.value.message.startswith(f"/etc/.gitstate, line {number}: ")
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    ("text", "root", "line"),
    [
        (b"", False, 1),
        (b"\n", False, 1),
        (b"\n#mtree\n", False, 1),
        (b"#mtree \n", False, 1),
        (b"#MTREE\n", False, 1),
        (b"\xef\xbb\xbf#mtree\n", False, 1),
        (b"#mtree\r\n", False, 1),
        (b". type=dir\n", False, 1),
        (b"/set type=file\n", False, 1),
        (b"<<<<<<< ours\n#mtree\n", False, 1),
        (b"#mtree\n#gitstate 1\n", False, 2),
        (b"#mtree\n#gitstate x\n", True, 2),
        (b"#mtree\n#gitstate \n", True, 2),
        (b"#mtree\n#gitstate 1 \n", True, 2),
        (b"#mtree\n#gitstate -1\n", True, 2),
        (b"#mtree\n#gitstate 1\n<<<<<<< ours\n", True, 3),
        (b"#mtree\n#gitstate 1\na\n=======\n", True, 4),
    ],
)
def test_a_bad_head_is_named(text: bytes, root: bool, line: int) -> None:
    with pytest.raises(UnreadableError) as caught:
        parse_directory(text, "x", root=root)
    assert caught.value.line == line
    assert caught.value.message.isprintable()


def test_an_error_stays_short_whatever_it_shows() -> None:
    for line in (b"a xattr.user.x=" + b"!" * 10**6, b"a " + b"x" * 10**6, b"\xff" * 10**6):
        with pytest.raises(UnreadableError) as caught:
            parse_directory(HEAD + line, "x", root=False)
        assert len(str(caught.value)) < 1000


def holds(text: bytes, root: bool) -> None:
    """Anything reads, or is Unreadable in one line; what reads is written so that it reads the same."""
    try:
        records = parse_directory(text, "x", root=root)
    except UnreadableError as error:
        line, message = error.line, error.message
    else:
        if records.version in (None, FORMAT):
            again = format_directory(records.own or OWN, sorted(records.entries.values()), root=root)
            assert parse_directory(again, "x", root=root).entries == {
                name: entry if entry.meta.kind in IN_GIT else entry._replace(oid=b"")
                for name, entry in records.entries.items()
            }
        return
    assert 1 <= line <= text.count(b"\n") + 1
    assert message.isprintable()


WORDS: Final = [
    *(b" ", b"\n", b"=", b"\\", b"\0", b"#", b"#mtree\n", b"#gitstate 1\n", b"#gitstate 2\n", b"/set ", b"/unset "),
    *(b". type=dir",),
    *(b" mode=", b" type=", b" time=", b" uid=", b" device=native,", b" oid=", b" xattr.user.x=", b"9" * 30, b"-"),
    *(b".", b"\xff", b"QQ=="),
]  # fmt: skip
EDITS: Final = st.lists(
    st.tuples(st.floats(0, 1), st.floats(0, 0.1), st.one_of(st.sampled_from(WORDS), st.binary(max_size=3))), max_size=4
)


def edited(text: bytes, edits: list[tuple[float, float, bytes]]) -> bytes:
    for where, length, put in edits:
        start = int(where * len(text))
        text = text[:start] + put + text[start + int(length * len(text)) :]
    return text


@given(
    text=st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(WORDS), max_size=20).map(b"".join)),
    root=st.booleans(),
)
def test_any_bytes_read_or_are_unreadable(text: bytes, root: bool) -> None:
    holds(text, root)
    holds(HEAD + text, root)


@given(own=OWNS, files=FILES, root=st.booleans(), edits=EDITS)
def test_edited_records_read_or_are_unreadable(
    own: Meta, files: list[Entry], root: bool, edits: list[tuple[float, float, bytes]]
) -> None:
    holds(edited(format_directory(own, files, root=root), edits), root)


@pytest.mark.slow
@settings(max_examples=2000)
@given(own=OWNS, files=FILES, root=st.booleans(), edits=EDITS)
def test_much_edited_records_read_or_are_unreadable(
    own: Meta, files: list[Entry], root: bool, edits: list[tuple[float, float, bytes]]
) -> None:
    holds(edited(format_directory(own, files, root=root), edits), root)


# --- hard links -----------------------------------------------------------------------------------------------------

PATHS: Final = st.lists(NAMES, min_size=1, max_size=3).map(b"/".join)


@st.composite
def link_groups(draw: st.DrawFn) -> list[list[bytes]]:
    paths = draw(st.lists(PATHS, max_size=12, unique=True))
    sizes = draw(st.lists(st.integers(2, 4), max_size=4))
    groups = []
    for size in sizes:
        group, paths = paths[:size], paths[size:]
        if len(group) > 1:
            groups.append(group)
    return groups


@given(link_groups())
def test_links_come_back_in_one_order(groups: list[list[bytes]]) -> None:
    text = format_links(groups)
    assert parse_links(text) == sorted(tuple(sorted(group)) for group in groups)
    assert format_links(reversed([group[::-1] for group in groups])) == text
    assert text.isascii()
    assert text.count(b"\n") == len(groups)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"a\n", 1),
        (b"a b\nc\n", 2),
        (b"a a\n", 1),
        (b"a \\141\n", 1),
        (b"a b\nc b\n", 2),
        (b"a  b\n", 1),
        (b"a b \n", 1),
        (b" a b\n", 1),
        (b"a\tb\n", 1),
        (b"a b\r\n", 1),
        (b"a /b\n", 1),
        (b"a b/\n", 1),
        (b"a b//c\n", 1),
        (b"a ../b\n", 1),
        (b"a b/../c\n", 1),
        (b"a ./b\n", 1),
        (b"a b\\057..\n", 1),
        (b"a b\\000\n", 1),
        (b"a b\n\xff c\n", 2),
        (b"#gitstate\n\na b\n<<<<<<< ours\n", 4),
    ],
)
def test_a_bad_group_is_named(text: bytes, line: int) -> None:
    with pytest.raises(UnreadableError) as caught:
        parse_links(text)
    assert caught.value.line == line
    assert caught.value.message.isprintable()


@given(
    st.one_of(
        st.binary(max_size=100),
        st.lists(st.sampled_from([b"a", b"b/c", b" ", b"\n", b"..", b"\\", b"#"])).map(b"".join),
    )
)
def test_any_bytes_are_groups_or_unreadable(text: bytes) -> None:
    try:
        groups = parse_links(text)
    except UnreadableError as error:
        message = error.message
    else:
        assert sorted(map(sorted, groups)) == list(map(list, parse_links(format_links(groups))))
        return
    assert message.isprintable()


# --- precedence: docs/format.md, section 5 --------------------------------------------------------------------------

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


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("manifest")


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


# --- outside programs -----------------------------------------------------------------------------------------------

ODD_NAMES: Final = [
    *(b"a", b"d", b"*", b"?", b"[", b"[ad]", b"[!a]", b"a*", b"a?", b"ab", b"\\*b", b"back\\slash", b"back\\101"),
    *(b"%41", b"]", b"#x", b" x", b"x ", b"a\nb", b"\n", b"x=y", b"\xff\xfe", b"type=dir", b"...", b"..x", b"-rf"),
    *(b"\x01", b"~", b"$HOME", b"{a,d}", b"a:b", b"n" * 255, b"\n" * 60, "é".encode(), b"optional", b"\\"),
    *(b"\\134",),
]  # fmt: skip


def read(directory: Path) -> Iterator[tuple[bytes, Meta, Content]]:
    """A directory as `format_full` wants it, by plain system calls."""
    top = os.fsencode(directory)
    for base, subdirectories, files in os.walk(top):
        subdirectories.sort()
        links = [name for name in subdirectories if os.path.islink(os.path.join(base, name))]
        for path in [base, *(os.path.join(base, name) for name in sorted(files + links))]:
            status = os.lstat(path)
            kind = KIND_BY_FORMAT[stat.S_IFMT(status.st_mode)]
            device = (os.major(status.st_rdev), os.minor(status.st_rdev)) if status.st_rdev else None
            meta = Meta(kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns, device)
            if kind is Kind.FILE:
                data = Path(os.fsdecode(path)).read_bytes()
                content = Content(len(data), hashlib.sha256(data).hexdigest())
                meta = meta._replace(xattrs=(USER,))
            else:
                content = Content(target=os.readlink(path) if kind is Kind.SYMLINK else b"")
            yield os.path.relpath(path, top) if path != top else b"", meta, content


def mtree(manifest: str, directory: Path) -> str:
    """What NetBSD mtree says of the directory, and its exit code unless that is 0."""
    done = subprocess.run(["mtree", "-p", directory], input=manifest.encode(), capture_output=True, check=False)
    said = (done.stdout + done.stderr).decode(errors="backslashreplace")
    return said + (f"exit code {done.returncode}" if done.returncode else "")


def fill(top: Path) -> None:
    """Odd names, every type, times and owners at their limits, and a long target."""
    top.mkdir()
    for directory in (b"", b"odd *dir\n", b"odd *dir\n/[ad]"):
        place = os.path.join(os.fsencode(top), directory)
        os.makedirs(place, exist_ok=True)
        for name in ODD_NAMES:
            path = os.path.join(place, b"in-" + name if len(name) < 250 and directory else name)
            if not os.path.lexists(path):
                with open(path, "wb") as file:
                    file.write(name)
    os.symlink(b"tar get\n#*=\\\xff", top / "link")
    os.symlink(b"x" * 4000, top / "long-link")
    os.mkfifo(top / "fifo")
    os.mknod(top / "character", stat.S_IFCHR | 0o600, os.makedev(4, 64))
    os.mknod(top / "block", stat.S_IFBLK | 0o600, os.makedev(259, 2**20 - 1))
    os.mkdir(top / "sub")
    (top / "sub" / "file").write_bytes(b"content")
    os.chown(top / "fifo", MAX_ID, MAX_ID)
    for mode, name in ((0o7777, "*"), (0, "?"), (0o4755, "[")):
        os.chmod(top / name, mode)
    for seconds, name in ((-1, "a"), (-(2**31), "link"), (2**33, "fifo"), (0, "sub")):
        os.utime(top / name, ns=(seconds * SECOND + 1, seconds * SECOND + 1), follow_symlinks=False)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    fill(tmp_path / "tree")
    return tmp_path / "tree"


@needs("mtree")
@root_only
def test_mtree_finds_no_difference_to_a_full_manifest(tree: Path) -> None:
    manifest = "".join(format_full(read(tree), [[b"sub/file", b"a"]]))
    assert mtree(manifest, tree) == ""
    assert f" size=7 sha256={hashlib.sha256(b'content').hexdigest()}\n" in manifest
    assert manifest.splitlines()[:2] == ["#mtree", "#gitstate 1"]
    assert manifest.endswith("#gitstate-links ./a ./sub/file\n")
    assert "#gitstate ./\\052 xattr.user.x=eQ==\n" in manifest


SPOILERS: Final[dict[str, Callable[[Path], object]]] = {
    "content": lambda top: (top / "sub/file").write_bytes(b"CONTENT"),
    "size": lambda top: (top / "sub/file").write_bytes(b"content\n"),
    "mode": lambda top: os.chmod(top / "[ad]", 0o600),
    "setuid": lambda top: os.chmod(top / "[", 0o755),
    "uid": lambda top: os.chown(top / "sub/file", 1, -1),
    "gid": lambda top: os.chown(top / "fifo", -1, 1),
    "directory's mode": lambda top: os.chmod(top / "sub", 0o700),
    "directory's time": lambda top: os.utime(top / "sub", ns=(SECOND, SECOND)),
    "time": lambda top: os.utime(top / "a", ns=(0, 0)),
    "link's time": lambda top: os.utime(top / "link", ns=(0, 0), follow_symlinks=False),
    "target": lambda top: (os.unlink(top / "link"), os.symlink(b"tar get\n#*=\\\xfe", top / "link")),
    "long target": lambda top: (os.unlink(top / "long-link"), os.symlink(b"x" * 3999 + b"y", top / "long-link")),
    "device": lambda top: (os.unlink(top / "block"), os.mknod(top / "block", stat.S_IFBLK | 0o600, os.makedev(259, 1))),
    "type": lambda top: (os.unlink(top / "fifo"), os.mkdir(top / "fifo")),
    "missing": lambda top: os.unlink(top / "?"),
    "extra": lambda top: (top / "sub/extra").write_bytes(b""),
    "missing directory": lambda top: (os.unlink(top / "sub/file"), os.rmdir(top / "sub")),
}


@needs("mtree")
@root_only
@pytest.mark.parametrize("what", SPOILERS)
def test_mtree_finds_a_spoilt_tree(tree: Path, what: str) -> None:
    manifest = "".join(format_full(read(tree), []))
    times = {path: path.lstat().st_mtime_ns for path in [tree, *tree.rglob("*")]}
    SPOILERS[what](tree)
    for path, time in times.items() if "time" not in what else ():
        if os.path.lexists(path):
            os.utime(path, ns=(time, time), follow_symlinks=False)
    assert mtree(manifest, tree) != ""  # what is missing or extra is printed, but ends with exit code 0


@needs("mtree")
@settings(max_examples=40)
@given(
    names=st.lists(
        st.one_of(NAMES, st.text("ab*?[]\\!-", min_size=1, max_size=4).map(str.encode)),
        min_size=1,
        max_size=8,
        unique=True,
    )
)
@example(names=[b"*", b"?", b"a", b"[a]", b"[!a]", b"\\*", b"[", b"]"])
def test_mtree_tells_any_names_apart(workshop: Path, names: list[bytes]) -> None:
    top = workshop / "names"
    subprocess.run(["rm", "-rf", top], check=True)
    top.mkdir()
    for number, name in enumerate(names):
        with open(os.path.join(os.fsencode(top), name), "wb") as file:
            file.write(b"%d" % number)
    assert mtree("".join(format_full(read(top), [])), top) == ""


def bsdtar(*arguments: str, stdin: bytes) -> subprocess.CompletedProcess[bytes]:
    # Its output is the locale's: in C every byte of a name comes out by itself.
    command = ["env", "LC_ALL=C", "bsdtar", "--numeric-owner", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, check=False)


@needs("bsdtar")
@settings(max_examples=40)
@given(own=OWNS, files=FILES, root=st.booleans())
def test_bsdtar_lists_every_record(own: Meta, files: list[Entry], root: bool) -> None:
    """It knows neither oid nor xattr: it says so, lists all the same, and ends with 1."""
    done = bsdtar("-tvf", "-", stdin=format_directory(own, files, root=root))
    foreign = re.compile(rb"bsdtar: (Unrecognized key (oid|xattr\.\S*)=\S*|Error exit delayed from previous errors\.)")
    assert [line for line in done.stderr.splitlines() if not foreign.fullmatch(line)] == []
    assert done.returncode == int(any(entry.oid or entry.meta.xattrs for entry in files) or bool(own.xattrs))
    letters = {"file": "-", "dir": "d", "link": "l", "char": "c", "block": "b", "fifo": "p"}
    expected = [
        (
            stat.filemode({"file": stat.S_IFREG}.get(meta.kind.value, 0) | meta.mode)[1:],
            letters[meta.kind.value],
            str(meta.uid),
            str(meta.gid),
            f"{meta.device[0]},{meta.device[1]}" if meta.device else "0",
        )
        for meta in [own, *(entry.meta for entry in files)]
    ]
    listed = [line.decode("ascii").split() for line in done.stdout.splitlines()]
    assert [(words[0][1:], words[0][0], words[2], words[3], words[4]) for words in listed] == expected


@needs("bsdtar")
def test_bsdtar_reads_names_and_times() -> None:
    files = [
        Entry(b"#x=\\ y", Meta(Kind.FILE, 0o4711, 1, 2, -SECOND // 2)),
        Entry(b"far", Meta(Kind.FILE, 0o644, 0, 0, 2**34 * SECOND + 123456789)),
        Entry(b"long ago", Meta(Kind.FIFO, 0o644, 0, 0, -(2**34) * SECOND)),
    ]
    done = bsdtar("-tvf", "-", stdin=format_directory(OWN, files, root=True))
    assert done.stderr == b""
    words = [line.decode("ascii").split(maxsplit=8) for line in done.stdout.splitlines()]
    assert [(line[5:8], line[8]) for line in words] == [
        (["Jan", "1", "1970"], "."),
        (["Dec", "31", "1969"], "#x=\\\\ y"),
        (["May", "30", "2514"], "far"),
        (["Aug", "4", "1425"], "long ago"),
    ]


@needs("bsdtar")
@root_only
def test_bsdtar_makes_an_archive_of_a_full_manifest(tree: Path) -> None:
    manifest = "".join(format_full(read(tree), [])).encode()
    listed = bsdtar("-tf", "-", stdin=manifest)
    assert (listed.returncode, listed.stderr) == (0, b"")
    assert len(listed.stdout.splitlines()) == sum(1 for _ in read(tree))
