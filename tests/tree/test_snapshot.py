"""Snapshots out of objects and back, hostile trees, and what plain git's edits in a clone come out as."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitstate.core.entry import ACL_ACCESS, CAPABILITY, IN_GIT, Directory, Entry, Kind, Meta
from gitstate.core.errors import ConfigError, DamagedError, GitstateError
from gitstate.core.names import LINKS, RECORDS, join, stored_name
from gitstate.core.signature import Signature
from gitstate.store.objects import FILE, GITLINK, SYMLINK, TREE, Commit, TreeItem, Type, format_tree, object_id
from gitstate.store.repository import MAIN, Repository
from gitstate.tree.manifest import UnreadableError, format_links
from gitstate.tree.snapshot import (
    PLAIN_DIRECTORY,
    Lookup,
    effective_links,
    make_directory,
    read_directory,
    read_links,
    split_tree,
    walk,
)
from tests.strategies import FILES, NAMES, OWNS
from tests.support import needs
from tests.testing.git import EMPTY_TREE, Git

Layout = Mapping[bytes, "Node"]
Node = Meta | tuple[Meta, bytes] | tuple[Meta, Layout]
"""A device or fifo, a file or symlink with its content, a directory with what is in it."""


class Objects(dict[bytes, bytes]):
    """Objects in memory, by their ids."""

    def put(self, kind: Type, data: bytes) -> bytes:
        oid = object_id(kind, data)
        self[oid] = data
        return oid

    def look(self, oid: bytes) -> bytes:
        if oid not in self:
            raise DamagedError(f"object {oid.hex()} is missing", "fetch it")
        return self[oid]


Put = Callable[[Type, bytes], bytes]


def plant(put: Put, own: Meta, layout: Layout, groups: Iterable[Iterable[bytes]] = (), *, root: bool = True) -> bytes:
    """The tree of a snapshot made from a layout."""
    files, subdirectories = [], []
    for name, node in sorted(layout.items()):
        if isinstance(node, Meta):
            files.append(Entry(name, node))
        elif isinstance(node[1], bytes):
            files.append(Entry(name, node[0], put(Type.BLOB, node[1])))
        else:
            subdirectories.append((name, plant(put, node[0], node[1], root=False)))
    records, items = make_directory(own, files, subdirectories, root=root)
    items.append(TreeItem(FILE, RECORDS, put(Type.BLOB, records)))
    if links := format_links(groups):
        items.append(TreeItem(FILE, LINKS, put(Type.BLOB, links)))
    return put(Type.TREE, format_tree(items))


# --- out of objects and back ----------------------------------------------------------------------------------------

SUBDIRECTORIES: Final = st.dictionaries(NAMES, st.binary(min_size=20, max_size=20), max_size=3)


@given(own=OWNS, files=FILES, subdirectories=SUBDIRECTORIES, where=st.sampled_from([b"", b"etc", b"a/\xff"]))
def test_a_directory_comes_back(
    own: Meta, files: list[Entry], subdirectories: dict[bytes, bytes], where: bytes
) -> None:
    files = [entry for entry in files if entry.name not in subdirectories]
    objects = Objects()
    records, items = make_directory(own, files, subdirectories.items(), root=not where)
    items.append(TreeItem(FILE, RECORDS, objects.put(Type.BLOB, records)))
    tree = objects.put(Type.TREE, format_tree(items))
    found = read_directory(objects.look, tree, where)
    assert found == Directory(own, {entry.name: entry for entry in files}, subdirectories)
    assert list(found.files) == [entry.name for entry in files]
    assert list(found.subdirectories) == sorted(subdirectories)
    again = make_directory(found.own, list(found.files.values()), found.subdirectories.items(), root=not where)
    assert again[0] == records
    assert format_tree([*again[1], items[-1]]) == objects[tree]


@needs("git")
@settings(max_examples=30)
@given(own=OWNS, files=FILES, directories=st.sets(NAMES, max_size=3))
def test_git_finds_no_fault_with_a_directory(
    tmp_path_factory: pytest.TempPathFactory, own: Meta, files: list[Entry], directories: set[bytes]
) -> None:
    git = Git.create(tmp_path_factory.mktemp("fsck") / "r.git", ["core.protectHFS=true", "core.protectNTFS=true"])
    git.put(Type.TREE, b"")
    blob = git.put(Type.BLOB, b"content")
    files = [entry._replace(oid=entry.oid and blob) for entry in files if entry.name not in directories]
    records, items = make_directory(own, files, [(name, EMPTY_TREE) for name in directories], root=True)
    items.append(TreeItem(FILE, RECORDS, git.put(Type.BLOB, records)))
    tree = git.put(Type.TREE, format_tree(items))
    git("update-ref", MAIN, git.commit(tree).hex())
    assert git.fsck() == ""
    assert git("ls-tree", "-z", "--name-only", "main").count(b"\0") == len(items)
    assert sum(bool(entry.oid) for entry in files) + len(directories) + 1 == len(items)


def test_a_whole_snapshot_is_walked_in_order() -> None:
    objects = Objects()
    text = (Meta(Kind.FILE, 0o600, time=1), b"x")
    layout: Layout = {
        b"b": (Meta(Kind.DIRECTORY, 0o711, time=2), {b"x": text, b"\xff": (PLAIN_DIRECTORY, {})}),
        b"b.c": (Meta(Kind.DIRECTORY, 0o1777), {b".git": (PLAIN_DIRECTORY, {b"HEAD": text})}),
        b"a": text,
        b"empty": (Meta(Kind.DIRECTORY, 0, 1, 2, 3), {}),
    }
    tree = plant(objects.put, PLAIN_DIRECTORY, layout)
    found = dict(walk(partial(read_directory, objects.look), tree))
    assert list(found) == [b"", b"b", b"b/\xff", b"b.c", b"b.c/.git", b"empty"]
    assert found[b"b"].own == Meta(Kind.DIRECTORY, 0o711, time=2)
    assert found[b"b.c"].own.time is None
    assert found[b"empty"] == Directory(Meta(Kind.DIRECTORY, 0, 1, 2, 3), {}, {})
    assert found[b"b.c/.git"].files[b"HEAD"].meta == text[0]
    look_up = Lookup(objects.look, tree)
    assert look_up(b"b.c/.git/HEAD") == found[b"b.c/.git"].files[b"HEAD"]
    assert look_up.directory(b"b/\xff") == found[b"b/\xff"]
    for nothing in (b"b", b"nothing", b"a/x", b"b/nothing/x", b"b/../a", b"", b".gitstate", b"b/.gitstate"):
        assert look_up(nothing) is None
    for nothing in (b"a", b"nothing", b"a/x", b"b/nothing/x", b".."):
        assert look_up.directory(nothing) is None


def test_a_tree_id_says_all_but_hard_links() -> None:
    """Equal id, nothing to do: any metadata below changes the ids of all directories above."""
    own = Meta(Kind.DIRECTORY, 0o755, time=1)
    base = Meta(Kind.FILE, 0o644, 1, 1, 1, None, ((b"user.x", b""),))
    metas = [
        base,
        *(base._replace(mode=0o645), base._replace(uid=2), base._replace(gid=2), base._replace(time=2)),
        *(base._replace(xattrs=()), base._replace(xattrs=((b"user.x", b"1"),))),
    ]
    trees = [plant(Objects().put, own, {b"d": (own, {b"f": (meta, b"x")})}) for meta in metas]
    trees += [
        plant(Objects().put, own, {b"d": (meta, {b"f": (base, b"x")})})
        for meta in (own._replace(mode=0), own._replace(time=None))
    ]
    assert len(set(trees)) == len(metas) + 2
    linked = [b"a", b"b"]
    objects = Objects()
    layout: Layout = {b"d": (own, {b"a": (base, b"x"), b"b": (base, b"x")})}
    apart = plant(objects.put, own, layout)
    together = plant(objects.put, own, layout, [[join(b"d", name) for name in linked]])
    assert apart != together
    assert split_tree(objects[apart], b"").items == split_tree(objects[together], b"").items


# --- hard links -----------------------------------------------------------------------------------------------------

TEXT: Final = (Meta(Kind.FILE, 0o644, time=1), b"text")
OTHER: Final = (Meta(Kind.FILE, 0o644, time=1), b"other")
CLOSED: Final = (Meta(Kind.FILE, 0o600, time=1), b"text")
DEVICE: Final = Meta(Kind.CHARACTER, 0o600, 0, 0, 1, (1, 3))
LINK: Final = (Meta(Kind.SYMLINK, 0o777, time=1), b"text")
DIR: Final = PLAIN_DIRECTORY

Groups = list[tuple[bytes, ...]]


@pytest.mark.parametrize(
    ("layout", "recorded", "effective"),
    [
        ({b"a": TEXT, b"b": TEXT}, [(b"a", b"b")], [(b"a", b"b")]),
        ({b"a": TEXT, b"d": (DIR, {b"b": TEXT})}, [(b"a", b"d/b")], [(b"a", b"d/b")]),
        ({b"a": TEXT, b"b": OTHER}, [(b"a", b"b")], []),
        ({b"a": TEXT, b"b": CLOSED}, [(b"a", b"b")], []),
        ({b"a": TEXT, b"b": TEXT, b"c": OTHER}, [(b"a", b"b", b"c")], [(b"a", b"b")]),
        ({b"a": TEXT, b"b": OTHER, b"c": TEXT, b"d": OTHER}, [(b"a", b"b", b"c", b"d")], [(b"a", b"c"), (b"b", b"d")]),
        ({b"a": TEXT}, [(b"a", b"b")], []),
        ({b"a": TEXT, b"c": TEXT}, [(b"a", b"b", b"c")], [(b"a", b"c")]),
        ({}, [(b"a", b"b")], []),
        ({b"a": TEXT, b"d": (DIR, {})}, [(b"a", b"d")], []),
        ({b"a": TEXT, b"b": TEXT}, [(b"a", b"b/x")], []),
        ({b"a": TEXT, b"b": TEXT}, [(b"a", b"nowhere/b")], []),
        ({b"a": DEVICE, b"b": DEVICE}, [(b"a", b"b")], [(b"a", b"b")]),
        ({b"a": DEVICE, b"b": DEVICE._replace(device=(1, 5))}, [(b"a", b"b")], []),
        ({b"a": LINK, b"b": LINK}, [(b"a", b"b")], [(b"a", b"b")]),
        ({b"a": LINK, b"b": TEXT}, [(b"a", b"b")], []),
        ({b"a": TEXT, b"d": (DIR, {b"b": TEXT}), b"l": (LINK[0], b"d")}, [(b"a", b"l/b")], []),
        ({b"a": TEXT, b"b": TEXT, b"c": TEXT, b"d": TEXT}, [(b"a", b"b"), (b"c", b"d")], [(b"a", b"b"), (b"c", b"d")]),
        ({b".git": TEXT, b".gitstate": TEXT}, [(b".git", b".gitstate")], [(b".git", b".gitstate")]),
    ],
)
def test_members_stay_joined_while_they_are_alike(layout: Layout, recorded: Groups, effective: Groups) -> None:
    objects = Objects()
    tree = plant(objects.put, DIR, layout, recorded)
    assert read_links(objects.look, tree) == recorded
    assert effective_links(objects.look, tree) == effective


def test_links_may_lie_deeper_than_python_recurses() -> None:
    objects = Objects()
    layout: Layout = {b"f": TEXT}
    for _ in range(3000):
        layout = {b"d": (DIR, layout)}
    deep = b"d/" * 3000 + b"f"
    tree = b""
    for level in range(3001):  # bottom up: `plant` itself recurses
        files = [Entry(b"f", TEXT[0], objects.put(Type.BLOB, TEXT[1]))] if level in (0, 3000) else []
        records, items = make_directory(DIR, files, [(b"d", tree)] if level else [], root=level == 3000)
        items.append(TreeItem(FILE, RECORDS, objects.put(Type.BLOB, records)))
        if level == 3000:
            items.append(TreeItem(FILE, LINKS, objects.put(Type.BLOB, format_links([[b"f", deep]]))))
        tree = objects.put(Type.TREE, format_tree(items))
    assert effective_links(objects.look, tree) == [tuple(sorted([b"f", deep]))]
    assert sum(1 for _ in walk(partial(read_directory, objects.look), tree)) == 3001


def test_groups_come_in_order_whatever_an_editor_wrote() -> None:
    objects = Objects()
    tree = plant(objects.put, DIR, {b"a": TEXT, b"b": TEXT, b"c": TEXT})
    item = TreeItem(FILE, LINKS, objects.put(Type.BLOB, b"# mine\n\nc b a"))
    assert effective_links(objects.look, objects.put(Type.TREE, objects[tree] + raw(item))) == [(b"a", b"b", b"c")]


def test_a_bad_group_is_damage() -> None:
    objects = Objects()
    links = objects.put(Type.BLOB, b"a ../../etc/shadow\n")
    with pytest.raises(UnreadableError) as caught:
        effective_links(objects.look, objects.put(Type.TREE, format_tree([TreeItem(FILE, LINKS, links)])))
    assert caught.value.line == 1


def test_links_elsewhere_than_in_the_root_are_a_file() -> None:
    objects = Objects()
    item = TreeItem(FILE, LINKS, objects.put(Type.BLOB, b"anything\n"))
    below = objects.put(Type.TREE, format_tree([item]))
    assert list(read_directory(objects.look, below, b"etc").files) == [LINKS]
    assert list(read_directory(objects.look, below, b"").files) == []


# --- hostile trees --------------------------------------------------------------------------------------------------

X: Final = object_id(Type.BLOB, b"x")
BOGUS: Final = object_id(Type.BLOB, b"nowhere")
LISTED: Final = object_id(Type.BLOB, b"#mtree\n. type=dir\nchar type=char device=native,1,3\n")


def raw(*items: tuple[int, bytes, bytes]) -> bytes:
    """A tree as it stands, in this order."""
    return b"".join(b"%o %s\0%s" % item for item in items)


HOSTILE: Final[dict[str, bytes]] = {
    "twice": raw((FILE, b"a", X), (FILE, b"a", X)),
    "file and directory": raw((FILE, b"a", X), (TREE, b"a", EMPTY_TREE)),
    "escaped and plain": raw((FILE, b".gitstate=a", X), (FILE, b"a", X)),
    "escaped twice": raw((FILE, b".gitstate=%61", X), (FILE, b".gitstate=a", X)),
    "records twice": raw((FILE, RECORDS, LISTED), (FILE, RECORDS, LISTED)),
    "records and a directory": raw((FILE, RECORDS, LISTED), (TREE, RECORDS, EMPTY_TREE)),
    "records a directory": raw((TREE, RECORDS, EMPTY_TREE)),
    "records a symlink": raw((SYMLINK, RECORDS, LISTED)),
    "records a submodule": raw((GITLINK, RECORDS, LISTED)),
    "records missing": raw((FILE, RECORDS, BOGUS)),
    "records unreadable": raw((FILE, RECORDS, X)),
    "links a directory": raw((TREE, LINKS, EMPTY_TREE)),
    "links a symlink": raw((SYMLINK, LINKS, X)),
    "submodule": raw((GITLINK, b"a", X)),
    "mode": raw((0o100600, b"a", X)),
    "setuid mode": raw((0o104755, b"a", X)),
    "device mode": raw((0o020644, b"a", X)),
    "mode 0": raw((0, b"a", X)),
    "slash": raw((FILE, b"a/b", X)),
    "absolute": raw((FILE, b"/etc/passwd", X)),
    "dot": raw((FILE, b".", X)),
    "dotdot": raw((TREE, b"..", EMPTY_TREE)),
    "empty name": raw((FILE, b"", X)),
    "escaped slash": raw((FILE, b".gitstate=a%2Fb", X)),
    "escaped climb": raw((FILE, b".gitstate=%2E%2E%2Fetc%2Fpasswd", X)),
    "escaped dotdot": raw((TREE, b".gitstate=..", EMPTY_TREE)),
    "escaped NUL": raw((FILE, b".gitstate=a%00", X)),
    "escaped nothing": raw((FILE, b".gitstate=", X)),
    "bad escape": raw((FILE, b".gitstate=%zz", X)),
    "truncated id": raw((FILE, b"a", X))[:-1],
    "truncated name": b"100644 a",
    "truncated mode": b"100644",
    "no octal": b"10o644 a\0" + X,
    "negative": b"-100644 a\0" + X,
    "no mode": b" a\0" + X,
    "noise": b"\xff" * 100,
    "a blob": b"#mtree\n. type=dir\n",
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_tree_is_damage_in_one_line(what: str) -> None:
    objects = Objects()
    objects.put(Type.BLOB, b"x")
    objects.put(Type.BLOB, b"#mtree\n. type=dir\nchar type=char device=native,1,3\n")
    objects.put(Type.TREE, b"")
    tree = objects.put(Type.TREE, HOSTILE[what])
    with pytest.raises(DamagedError) as caught:
        read_directory(objects.look, tree, b"")
    assert caught.value.message.isprintable()
    assert caught.value.hint


TREES: Final = st.one_of(
    st.binary(max_size=100),
    st.lists(st.tuples(st.sampled_from([FILE, TREE, SYMLINK, GITLINK, 0]), NAMES, st.just(X))).map(
        lambda them: raw(*them)
    ),
)


@given(TREES)
def test_any_bytes_are_a_directory_or_damage(tree: bytes) -> None:
    objects = Objects()
    objects.put(Type.BLOB, b"x")
    try:
        found = read_directory(objects.look, objects.put(Type.TREE, tree), b"etc")
    except DamagedError as error:
        message = error.message
    else:
        assert not [
            name for name in [*found.files, *found.subdirectories] if name in (b"", b".", b"..") or b"/" in name
        ]
        return
    assert message.isprintable()


def test_a_newer_format_is_no_damage() -> None:
    objects = Objects()
    records = objects.put(Type.BLOB, b"#mtree\n#gitstate 2\n/set colour=blue\n")
    with pytest.raises(ConfigError, match="format 2") as caught:
        read_directory(objects.look, objects.put(Type.TREE, raw((FILE, RECORDS, records))), b"")
    assert "newer" in caught.value.hint


def test_only_the_root_has_a_version() -> None:
    objects = Objects()
    tree = objects.put(Type.TREE, raw((FILE, RECORDS, objects.put(Type.BLOB, b"#mtree\n#gitstate 1\n"))))
    assert read_directory(objects.look, tree, b"").own == Meta(Kind.DIRECTORY, 0o755, 0, 0, 0)
    with pytest.raises(UnreadableError, match=r"^/etc/\.gitstate, line 2: "):
        read_directory(objects.look, tree, b"etc")


def test_a_device_under_a_name_that_git_has_is_not_there_twice() -> None:
    objects = Objects()
    objects.put(Type.BLOB, b"x")
    objects.put(Type.TREE, b"")
    records = objects.put(Type.BLOB, b"#mtree\n. type=dir\nd type=char device=native,1,3\nf type=fifo\ng type=fifo\n")
    tree = objects.put(Type.TREE, raw((FILE, RECORDS, records), (TREE, b"d", EMPTY_TREE), (FILE, b"f", X)))
    found = read_directory(objects.look, tree, b"")
    assert found.subdirectories == {b"d": EMPTY_TREE}
    assert {name: entry.meta.kind for name, entry in found.files.items()} == {b"f": Kind.FILE, b"g": Kind.FIFO}


# --- plain git edits a clone: docs/format.md, section 5 -------------------------------------------------------------

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
