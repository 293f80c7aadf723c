"""The machine archive: other programs unpack what is written, its lists say what is in it, and no name leaves it."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitstate.core import cpio
from gitstate.core.entry import ACL_ACCESS, CAPABILITY, IN_GIT, Kind, Meta
from gitstate.core.errors import ConfigError
from gitstate.core.names import from_octal
from gitstate.machine.archives import content as archive
from gitstate.machine.render.models import LONGEST_PATH, Archive, ArchiveEntry, Layout, Reload, Variant
from tests.strategies import NAMES, NOT_DIRECTORIES, metas
from tests.support import needs, root_only

FILE = Meta(Kind.FILE, 0o644, time=0)
FOLDER = Meta(Kind.DIRECTORY, 0o755, time=0)
PLACE = b"gitstate/machine/"


def written(*laid: ArchiveEntry, **others: object) -> bytes:
    return b"".join(archive.write(Archive({}, Layout(laid, **others))))  # type: ignore[arg-type]


def members(data: bytes) -> dict[bytes, cpio.Member]:
    return {one.path: one for one in cpio.members([data], lambda path: True)}


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    """Entries anywhere, none in another that is no directory."""
    found: dict[bytes, ArchiveEntry] = {}
    for parts in draw(st.lists(st.lists(NAMES, min_size=1, max_size=4), max_size=8)):
        path = b"/".join(parts)
        above = [b"/".join(parts[:count]) for count in range(1, len(parts))]
        is_above = any(other.startswith(path + b"/") for other in found)
        if any(one in found and found[one].meta.kind is not Kind.DIRECTORY for one in above):
            continue
        meta = draw(metas([Kind.DIRECTORY] if is_above else [Kind.DIRECTORY, *NOT_DIRECTORIES]))
        if meta.device is not None:
            meta = meta._replace(device=(meta.device[0] % 4096, meta.device[1] % (1 << 20)))
        content = b""
        if meta.kind in IN_GIT:
            content = draw(st.binary(min_size=1, max_size=40).filter(lambda text: b"\0" not in text))
        found[path] = ArchiveEntry(path, meta, content)
    return Layout(tuple(found.values()))


@given(layouts())
def test_the_lists_say_what_is_in_it(layout: Layout) -> None:
    data = b"".join(archive.write(Archive({}, layout)))
    assert data == b"".join(archive.write(Archive({}, Layout(layout.entries[::-1]))))
    found = members(data)
    lines = found[PLACE + b"list"].content.decode("ascii").splitlines()
    listed = [line.split(" ") for line in lines]
    paths = [from_octal(fields[5].encode()) for fields in listed]
    assert paths == sorted(one.path for one in layout.entries)
    by_path = {one.path: one for one in layout.entries}
    for (kind, mode, uid, gid, what, _), path in zip(listed, paths, strict=True):
        one, member = by_path[path], found[PLACE + b"files/" + path]
        assert (int(mode, 8), int(uid), int(gid)) == (one.meta.mode, one.meta.uid, one.meta.gid)
        assert member.meta[:4] == one.meta[:4]
        if kind == "f":
            assert what == hashlib.sha256(one.content).hexdigest() == hashlib.sha256(member.content).hexdigest()
        elif kind == "l":
            assert from_octal(what.encode()) == one.content == member.content
    for path in found:
        assert path == b"gitstate" or path == PLACE[:-1] or path.startswith(PLACE)
        assert b".." not in path.split(b"/")


@given(layouts())
def test_the_attributes_are_those_that_travel(layout: Layout) -> None:
    text = members(b"".join(archive.write(Archive({}, layout))))[PLACE + b"xattrs"].content.decode("ascii")
    named = set(re.findall(r"^# file: (.*)$", text, re.MULTILINE))
    carried = {b"security.capability", b"system.posix_acl_access", b"system.posix_acl_default"}
    wanted = {one.path for one in layout.entries if {name for name, _ in one.meta.xattrs} & carried}
    assert {from_octal(path.encode()) for path in named} == wanted
    assert set(re.findall(r"^([a-z_.]+)=0s", text, re.MULTILINE)) <= {name.decode() for name in carried}
    assert "user." not in re.sub(r"(?m)^#.*$", "", text)


@root_only
@needs("cpio", "busybox")
@settings(max_examples=25)
@given(layouts())
@pytest.mark.parametrize("program", ["cpio", "busybox"])
def test_other_programs_unpack_it(program: str, layout: Layout) -> None:
    data = b"".join(archive.write(Archive({"HOST": "it's"}, layout)))
    words = ["cpio", "-idm", "--quiet"] if program == "cpio" else ["busybox", "cpio", "-idm"]
    with tempfile.TemporaryDirectory() as place:
        subprocess.run(words, input=data, cwd=place, check=True, capture_output=True)
        machine = os.path.join(os.fsencode(place), PLACE)
        subprocess.run(["sha256sum", "--quiet", "-c", "checksums"], cwd=machine, check=True)
        for one in layout.entries:
            path = os.path.join(machine, b"files", one.path)
            status = os.lstat(path)
            if one.meta.kind is Kind.FILE:
                assert Path(os.fsdecode(path)).read_bytes() == one.content
            elif one.meta.kind is Kind.SYMLINK:
                assert os.fsencode(os.readlink(path)) == one.content
            if one.meta.kind is not Kind.SYMLINK:
                assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == one.meta[1:4]


HOSTILE = [b"..", b"../x", b"a/../../x", b"/etc/x", b"a//b", b"a/", b"./a", b"a/.", b"a\0b", b"x" * 256]


@pytest.mark.parametrize("path", [*HOSTILE, b"/".join([b"x" * 99] * 40)], ids=lambda path: repr(path[:12]))
def test_no_name_leaves_the_directory(path: bytes) -> None:
    for layout in (Layout((ArchiveEntry(path, FILE),)), Layout(removed=(path,)), Layout(opaque=(path,))):
        with pytest.raises(ConfigError, match="can't be laid down"):
            b"".join(archive.write(Archive({}, layout)))


def test_long_paths_stay_within_what_the_kernel_unpacks() -> None:
    path = (b"/".join([b"x" * 255] * 16))[:LONGEST_PATH]
    variant = Variant("n" * 100, ("*",), Layout((ArchiveEntry(path, FILE),)))
    data = b"".join(archive.write(Archive({}, Layout((ArchiveEntry(path, FILE),)), (variant,))))
    assert max(map(len, members(data))) < 4096


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (Archive({}, Layout((ArchiveEntry(b"a", FILE), ArchiveEntry(b"a", FILE)))), "twice"),
        (Archive({}, Layout((ArchiveEntry(b"a", FILE), ArchiveEntry(b"a/b", FILE)))), "is no directory"),
        (Archive({}, Layout((ArchiveEntry(b"", FILE),))), "the root is no directory"),
        (Archive({}, Layout((ArchiveEntry(b"a", Meta(Kind.BLOCK, 0o600, device=(4096, 0))),))), "device"),
        (Archive({}, Layout((ArchiveEntry(b"a", Meta(Kind.BLOCK, 0o600, device=(0, 1 << 20))),))), "device"),
        (Archive({}, Layout(removed=(b"",))), "the root"),
        (Archive({}, Layout(opaque=(b"",))), "the root"),
        (Archive({}, Layout(reload=(Reload("etc/a b", ("x.service",)),))), "pattern"),
        (Archive({}, Layout(reload=(Reload("etc/$(reboot)", ("x.service",)),))), "pattern"),
        (Archive({}, Layout(reload=(Reload("etc/*", ("x;reboot",)),))), "unit"),
        (Archive({}, Layout(reload=(Reload("etc/*", ("-x",)),))), "unit"),
        (Archive({"host": "x"}, Layout()), "about"),
        (Archive({"HOST": "x\ny"}, Layout()), "about"),
        (Archive({}, Layout(), (Variant("../x", ("*",), Layout()),)), "class"),
        (Archive({}, Layout(), (Variant("a", ("*",), Layout()), Variant("a", ("*",), Layout()))), "class"),
        (Archive({}, Layout(), (Variant("a", ("$(reboot)",), Layout()),)), "pattern"),
    ],
)
def test_what_a_machine_cannot_be_given(broken: Archive, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        b"".join(archive.write(broken))


def test_every_text_of_it() -> None:
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    common = Layout(
        (
            ArchiveEntry(b"", FOLDER._replace(mode=0o711)),
            ArchiveEntry(
                b"usr/bin/ping", FILE._replace(mode=0o755, xattrs=((b"user.x", b"y"), (CAPABILITY, capability))), b"x"
            ),
            ArchiveEntry(b"etc/a b", FILE._replace(xattrs=((ACL_ACCESS, b"acl"),)), b"x"),
            ArchiveEntry(b"dev/x", Meta(Kind.BLOCK, 0o660, 0, 6, 0, (259, 7))),
            ArchiveEntry(b"etc/link", Meta(Kind.SYMLINK, 0o777, time=0), b"a b"),
        ),
        removed=(b"etc/z", b"etc/b"),
        opaque=(b"etc/c",),
        reload=(Reload("/etc/cups/*", ("cups.service", "a@b\\x2d.service")),),
    )
    about = archive.about("lab3-12", {"base": "34", "lab/lab3": "56"}) | {"SAID": "it's"}
    variants = (Variant("nvidia", ("pci:v000010DEd*", "x"), Layout()), Variant("intel", (), Layout()))
    found = members(b"".join(archive.write(Archive(about, common, variants, True, 1_700_000_000))))
    texts = {path.removeprefix(PLACE): one.content.decode() for path, one in found.items() if b"/files" not in path}
    x = hashlib.sha256(b"x").hexdigest()
    assert texts[b"about"] == ("HOST='lab3-12'\nLAYER_1='base 34'\nLAYER_2='lab/lab3 56'\nSAID='it'\\''s'\n")
    assert texts[b"list"] == (
        "d 0711 0 0 - .\nb 0660 0 6 259:7 dev/x\n"
        f"f 0644 0 0 {x} etc/a\\040b\nl 0777 0 0 a\\040b etc/link\nf 0755 0 0 {x} usr/bin/ping\n"
    )
    assert texts[b"removed"] == "w etc/b\no etc/c\nw etc/z\n"
    assert texts[b"reload"] == "etc/cups/* cups.service a@b\\x2d.service\n"
    assert texts[b"classes"] == "all\nnvidia pci:v000010DEd* x\nintel\n"
    assert texts[b"xattrs"] == (
        "# file: etc/a\\040b\nsystem.posix_acl_access=0sYWNs\n\n"
        "# file: usr/bin/ping\nsecurity.capability=0sAQAAAgAgAAAAAAAAAAAAAAAAAAA=\n\n"
    )
    assert {b"class/nvidia/list", b"class/intel/xattrs"} <= texts.keys()
    assert found[PLACE + b"list"].meta[:5] == (Kind.FILE, 0o600, 0, 0, 1_700_000_000 * 10**9)
    assert found[PLACE + b"files/etc"].meta[:2] == (Kind.DIRECTORY, 0o755)
    assert found[b"gitstate"].meta.mode == 0o700


def test_equal_data_makes_equal_bytes() -> None:
    one, two = ArchiveEntry(b"etc/a", FILE, b"x"), ArchiveEntry(b"b", Meta(Kind.FILE, 0o600), b"y")
    assert written(one, two, removed=(b"x", b"y")) == written(two, one, removed=(b"y", b"x"))
    assert len(written(one)) % 512 == 0
