"""Records against hypothesis and sed: they come back, and a bad line is named."""

from __future__ import annotations

import subprocess
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitstate.core.entry import CAPABILITY, FORMAT, IN_GIT, Entry, Kind, Meta
from gitstate.core.names import octal
from gitstate.tree.manifest import (
    MAX_ID,
    Records,
    UnreadableError,
    format_directory,
    format_links,
    format_time,
    parse_directory,
    parse_links,
)
from tests.strategies import FILES, NAMES, OWNS, SECOND, TIMES

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
