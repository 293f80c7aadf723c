"""Snapshots out of objects and back, hard links, hostile trees."""

from __future__ import annotations

from functools import partial
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitstate.core.entry import Directory, Entry, Kind, Meta
from gitstate.core.errors import ConfigError, DamagedError
from gitstate.core.names import LINKS, RECORDS, join
from gitstate.store.objects import FILE, GITLINK, SYMLINK, TREE, TreeItem, Type, format_tree, object_id
from gitstate.store.repository import MAIN
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
from tests.tree.layouts import Layout, plant


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
