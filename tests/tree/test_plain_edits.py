"""What plain git's edits in a clone come out as: docs/format.md, section 5."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from gitstate.core.entry import ACL_ACCESS, CAPABILITY, IN_GIT, Kind, Meta
from gitstate.core.errors import GitstateError
from gitstate.core.names import RECORDS, join, stored_name
from gitstate.core.signature import Signature
from gitstate.store.objects import Commit, Type
from gitstate.store.repository import MAIN, Repository
from gitstate.tree.snapshot import PLAIN_DIRECTORY, effective_links, read_directory, walk
from tests.support import needs
from tests.tree.layouts import Layout, plant

T_ROOT, T_ETC, T_FILE = 1_700_000_000 * 10**9 + 1, 1_600_000_000 * 10**9 + 2, 1_500_000_000 * 10**9 + 3
NOBODY: Final = 2**32 - 1
ACL_ENTRIES: Final = ((1, 6, NOBODY), (2, 4, 1000), (4, 4, NOBODY), (16, 4, NOBODY), (32, 0, NOBODY))
ACL: Final = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in ACL_ENTRIES)
ACL_X: Final = ACL[:6] + b"\7" + ACL[7:30] + b"\5" + ACL[31:38] + b"\1" + ACL[39:]
"""The same after chmod +x: owner, mask and others may execute."""

SHADOW: Final = Meta(Kind.FILE, 0o640, 0, 42, T_FILE, None, ((ACL_ACCESS, ACL), (b"user.note", b"\0\xff")))
SU: Final = Meta(Kind.FILE, 0o4755, 0, 0, T_FILE)
PING: Final = Meta(Kind.FILE, 0o755, 0, 0, T_FILE, None, ((CAPABILITY, b"capability"), (b"user.note", b"n")))
MAIL: Final = Meta(Kind.FILE, 0o6751, 8, 8, T_FILE)
ETC: Final = Meta(Kind.DIRECTORY, 0o751, 1, 2, T_ETC)
ROOT: Final = Meta(Kind.DIRECTORY, 0o755, 0, 0, T_ROOT)
NULL: Final = Meta(Kind.CHARACTER, 0o666, 0, 0, T_FILE, (1, 3))
FIFO: Final = Meta(Kind.FIFO, 0o600, 0, 5, T_FILE)
MTAB: Final = Meta(Kind.SYMLINK, 0o777, 3, 4, T_FILE)

NULL_RECORD: Final = "type=char mode=0666 time=1500000000.000000003 device=native,1,3"

BEFORE: Final[Layout] = {
    b"etc": (
        ETC,
        {
            b"mtab": (MTAB, b"../proc/self/mounts"),
            b"passwd": (Meta(Kind.FILE, 0o644, 0, 0, T_FILE), b"root:x:0:0::/root:/bin/sh\n"),
            b"shadow": (SHADOW, b"root:*:\n"),
            b"skel": (Meta(Kind.DIRECTORY, 0o755, 0, 0, T_FILE), {}),
        },
    ),
    b"bin": (
        Meta(Kind.DIRECTORY, 0o755, 0, 0, None),
        {b"su": (SU, b"ELF su"), b"ping": (PING, b"ELF ping"), b"mail": (MAIL, b"ELF mail")},
    ),
    b"dev": (Meta(Kind.DIRECTORY, 0o755, 0, 0, T_FILE), {b"null": NULL, b"initctl": FIFO}),
}


def flat(layout: Layout, where: bytes = b"") -> dict[bytes, tuple[Meta, bytes]]:
    found: dict[bytes, tuple[Meta, bytes]] = {}
    for name, node in layout.items():
        path = join(where, name)
        if isinstance(node, Meta):
            found[path] = (node, b"")
        elif isinstance(node[1], bytes):
            found[path] = (node[0], node[1])
        else:
            found |= {path: (node[0], b"")} | flat(node[1], path)
    return found


def recorded(repository: Repository, tree: bytes) -> dict[bytes, tuple[Meta, bytes]]:
    """All that a snapshot holds, contents included."""
    found = {}
    for path, directory in walk(partial(read_directory, repository.read), tree):
        found[path] = (directory.own, b"")
        for entry in directory.files.values():
            found[join(path, entry.name)] = (entry.meta, repository.read(entry.oid) if entry.oid else b"")
    return found


class Clone:
    """A working copy that knows nothing of gitstate, with plain git."""

    def __init__(self, path: Path, origin: Path) -> None:
        self.path = path
        subprocess.run(["git", "clone", "-q", origin, path], check=True, capture_output=True)
        self("config", "user.name", "A")
        self("config", "user.email", "a@example.com")

    def __call__(self, *arguments: str) -> None:
        subprocess.run(["git", "-C", self.path, *arguments], check=True, capture_output=True)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        place = self.path / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(mode)

    def edit_records(self, path: str, old: str, new: str) -> None:
        text = (self.path / path).read_text()
        assert text.count(old) == 1
        (self.path / path).write_text(text.replace(old, new))


Change = Mapping[bytes, tuple[Meta, bytes] | None]


def new(mode: int, time: int = T_ETC) -> Meta:
    return Meta(Kind.FILE, mode, 0, 0, time)


# what plain git does -> what the snapshot then has there, None for nothing
EDITS: Final[dict[str, tuple[Callable[[Clone], object], Change]]] = {
    "nothing": (lambda c: c("commit", "--allow-empty", "-qm", "x"), {}),
    "a file added": (lambda c: c.write("etc/new", "n"), {b"etc/new": (new(0o644), b"n")}),
    "a program added": (lambda c: c.write("etc/new", "n", 0o755), {b"etc/new": (new(0o755), b"n")}),
    "a secret file added": (lambda c: c.write("etc/new", "n", 0o600), {b"etc/new": (new(0o644), b"n")}),
    "a file added in the root": (lambda c: c.write("new", "n"), {b"new": (new(0o644, T_ROOT), b"n")}),
    "a file added where no time is": (lambda c: c.write("bin/new", "n"), {b"bin/new": (new(0o644, 0), b"n")}),
    "a link added": (
        lambda c: os.symlink("/etc/shadow", c.path / "etc/new"),
        {b"etc/new": (Meta(Kind.SYMLINK, 0o777, 0, 0, T_ETC), b"/etc/shadow")},
    ),
    "a .gitignore added": (lambda c: c.write("etc/.gitignore", "*.o\n"), {b"etc/.gitignore": (new(0o644), b"*.o\n")}),
    "a .gitattributes added": (
        lambda c: c.write("etc/.gitattributes", "* ident\n"),
        {b"etc/.gitattributes": (new(0o644), b"* ident\n")},
    ),
    "a file named like the links": (
        lambda c: c.write("etc/.gitstate-links", "x\n"),
        {b"etc/.gitstate-links": (new(0o644), b"x\n")},
    ),
    "a file named like an escape": (lambda c: c.write("etc/.gitstate=%41", "x"), {b"etc/A": (new(0o644), b"x")}),
    "shadow edited": (
        lambda c: c.write("etc/shadow", "root:!:\n"),
        {b"etc/shadow": (SHADOW._replace(time=T_ETC), b"root:!:\n")},
    ),
    "shadow made executable": (
        lambda c: (c.path / "etc/shadow").chmod(0o755),
        {b"etc/shadow": (SHADOW._replace(mode=0o751, xattrs=((ACL_ACCESS, ACL_X), SHADOW.xattrs[1])), b"root:*:\n")},
    ),
    "su edited": (lambda c: c.write("bin/su", "evil", 0o755), {b"bin/su": (SU._replace(mode=0o755, time=0), b"evil")}),
    "su made a text": (lambda c: c.write("bin/su", "evil"), {b"bin/su": (SU._replace(mode=0o644, time=0), b"evil")}),
    "su's x taken": (lambda c: (c.path / "bin/su").chmod(0o644), {b"bin/su": (SU._replace(mode=0o4644), b"ELF su")}),
    "mail edited": (
        lambda c: c.write("bin/mail", "evil", 0o755),
        {b"bin/mail": (MAIL._replace(mode=0o751, time=0), b"evil")},
    ),
    "ping edited": (
        lambda c: c.write("bin/ping", "evil", 0o755),
        {b"bin/ping": (PING._replace(time=0, xattrs=PING.xattrs[1:]), b"evil")},
    ),
    "ping swapped for su's content": (
        lambda c: c.write("bin/ping", "ELF su", 0o755),
        {b"bin/ping": (PING._replace(time=0, xattrs=PING.xattrs[1:]), b"ELF su")},
    ),
    "a file made a link": (
        lambda c: ((c.path / "bin/su").unlink(), os.symlink("ping", c.path / "bin/su")),
        {b"bin/su": (Meta(Kind.SYMLINK, 0o777, 0, 0, 0), b"ping")},
    ),
    "a link made a file": (
        lambda c: ((c.path / "etc/mtab").unlink(), c.write("etc/mtab", "m")),
        {b"etc/mtab": (new(0o644), b"m")},
    ),
    "a link pointed elsewhere": (
        lambda c: ((c.path / "etc/mtab").unlink(), os.symlink("/x", c.path / "etc/mtab")),
        {b"etc/mtab": (MTAB._replace(time=T_ETC), b"/x")},
    ),
    "a file made a directory": (
        lambda c: ((c.path / "bin/su").unlink(), c.write("bin/su/x", "x")),
        {b"bin/su": (PLAIN_DIRECTORY, b""), b"bin/su/x": (new(0o644, 0), b"x")},
    ),
    "a file removed": (lambda c: (c.path / "etc/shadow").unlink(), {b"etc/shadow": None}),
    "a link removed": (lambda c: (c.path / "etc/mtab").unlink(), {b"etc/mtab": None}),
    "a file moved": (
        lambda c: c("mv", "bin/su", "etc/su"),
        {b"bin/su": None, b"etc/su": (new(0o755), b"ELF su")},
    ),
    "a file in a device's place": (lambda c: c.write("dev/null", "x"), {b"dev/null": (new(0o644, T_FILE), b"x")}),
    "a directory in a fifo's place": (
        lambda c: c.write("dev/initctl/x", "x"),
        {b"dev/initctl": (PLAIN_DIRECTORY, b""), b"dev/initctl/x": (new(0o644, 0), b"x")},
    ),
    "a device's record removed": (
        lambda c: c.edit_records("dev/.gitstate", f"null {NULL_RECORD}\n", ""),
        {b"dev/null": None},
    ),
    "a device recorded": (
        lambda c: c.edit_records("etc/.gitstate", "passwd ", "kmsg type=char mode=0600 device=native,1,11\npasswd "),
        {b"etc/kmsg": (Meta(Kind.CHARACTER, 0o600, 0, 0, None, (1, 11)), b"")},
    ),
    "a directory added": (
        lambda c: c.write("opt/a/x", "x", 0o755),
        {
            b"opt": (PLAIN_DIRECTORY, b""),
            b"opt/a": (PLAIN_DIRECTORY, b""),
            b"opt/a/x": (new(0o755, 0), b"x"),
        },
    ),
    "an empty directory removed": (lambda c: c("rm", "-rq", "etc/skel"), {b"etc/skel": None}),
    "an empty directory moved": (
        lambda c: c("mv", "etc/skel", "etc/skeleton"),
        {b"etc/skel": None, b"etc/skeleton": (Meta(Kind.DIRECTORY, 0o755, 0, 0, T_FILE), b"")},
    ),
    "records removed": (
        lambda c: (c.path / "bin/.gitstate").unlink(),
        {
            b"bin": (PLAIN_DIRECTORY, b""),
            b"bin/su": (new(0o755, 0), b"ELF su"),
            b"bin/ping": (new(0o755, 0), b"ELF ping"),
            b"bin/mail": (new(0o755, 0), b"ELF mail"),
        },
    ),
    "the device's records removed": (
        lambda c: (c.path / "dev/.gitstate").unlink(),
        {b"dev": None, b"dev/null": None, b"dev/initctl": None},
    ),
    "a mode recorded": (
        lambda c: c.edit_records("etc/.gitstate", "passwd ", "passwd mode=0600 "),
        {b"etc/passwd": (new(0o600, T_FILE), b"root:x:0:0::/root:/bin/sh\n")},
    ),
    "an x recorded that git lacks": (
        lambda c: c.edit_records("etc/.gitstate", "passwd ", "passwd mode=0777 "),
        {b"etc/passwd": (new(0o666, T_FILE), b"root:x:0:0::/root:/bin/sh\n")},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    repository = Repository.create(tmp_path_factory.mktemp("origin") / "desktop.git")
    with repository.staging() as staging:
        tree = plant(staging.add, ROOT, BEFORE)
        who = Signature("A <a@example.com>", 1)
        commit = staging.add(Type.COMMIT, Commit(tree, [], who, who, "before").encode())
        staging.publish([(MAIN, commit, None)], "test")
    return repository


def pushed(origin: Repository, tmp_path: Path, edit: Callable[[Clone], object]) -> tuple[Repository, bytes]:
    """The repository and the root tree after a clone was edited and pushed back."""
    path = tmp_path / "desktop.git"
    subprocess.run(["cp", "-a", origin.path, path], check=True)
    clone = Clone(tmp_path / "clone", path)
    edit(clone)
    clone("add", "-fA")
    clone("commit", "--allow-empty", "-qm", "edited")
    clone("push", "-q", "origin", "HEAD:main")
    repository = Repository.open(path, "desktop")
    return repository, repository.snapshot(repository.resolve("main")).tree


@needs("git")
@pytest.mark.parametrize("what", EDITS)
def test_plain_gits_edit_comes_out_as_the_format_says(what: str, origin: Repository, tmp_path: Path) -> None:
    edit, change = EDITS[what]
    repository, tree = pushed(origin, tmp_path, edit)
    expected = {b"": (ROOT, b"")} | flat(BEFORE) | change
    assert recorded(repository, tree) == {path: node for path, node in expected.items() if node is not None}
    assert repository.fsck() == []


def conflict(clone: Clone) -> None:
    clone.edit_records("etc/.gitstate", "passwd ", "<<<<<<< ours\npasswd ")


def submodule(clone: Clone) -> None:
    (clone.path / "etc/module").mkdir()
    clone("-C", "etc/module", "init", "-q")
    clone("-C", "etc/module", "-c", "user.name=A", "-c", "user.email=a@b", "commit", "--allow-empty", "-qm", "x")


def linked(clone: Clone) -> None:
    (clone.path / "etc/.gitstate").unlink()
    os.symlink("x", clone.path / "etc/.gitstate")


@needs("git")
@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (conflict, "/etc/.gitstate, line 5: "),
        (lambda c: c.edit_records("etc/.gitstate", "passwd ", "passwd mode=888 "), "/etc/.gitstate, line 5: mode=888"),
        (lambda c: c.edit_records("etc/.gitstate", "#mtree\n", ""), "/etc/.gitstate, line 1: "),
        (lambda c: c.edit_records("etc/.gitstate", "passwd ", "passwd\r\nx "), "/etc/.gitstate, line 5: "),
        (lambda c: c.edit_records(".gitstate", "#gitstate 1", "#gitstate 2"), "format 2"),
        (lambda c: c.edit_records(".gitstate", "#gitstate 1", "#gitstate one"), "/.gitstate, line 2: "),
        (lambda c: c.write(".gitstate-links", "etc/passwd\n"), ".gitstate-links, line 1: "),
        (submodule, "/etc/module is a submodule"),
        (linked, "/etc/.gitstate is no regular file"),
        (lambda c: c.write("etc/.gitstate=%2e", "x"), "bad escape"),
        (lambda c: c.write("etc/.gitstate=..", "x"), "no file can be named '..'"),
        (lambda c: c.write("etc/.gitstate=passwd", "x"), "/etc/passwd is twice"),
    ],
)  # fmt: skip
def test_what_plain_git_broke_is_named(
    edit: Callable[[Clone], object], said: str, origin: Repository, tmp_path: Path
) -> None:
    repository, tree = pushed(origin, tmp_path, edit)
    with pytest.raises(GitstateError) as caught:
        list(walk(partial(read_directory, repository.read), tree)) and effective_links(repository.read, tree)
    assert said in caught.value.message
    assert caught.value.message.isprintable()
    assert caught.value.hint


def test_the_layout_is_what_the_other_tests_think(origin: Repository) -> None:
    tree = origin.snapshot(origin.resolve("main")).tree
    assert recorded(origin, tree) == {b"": (ROOT, b"")} | flat(BEFORE)
    assert all(bool(meta.kind in IN_GIT) == bool(content) for meta, content in flat(BEFORE).values())
    assert stored_name(RECORDS) != RECORDS
