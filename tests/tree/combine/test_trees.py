"""Merges of trees: what one side changed is taken, nothing is lost without a conflict, git agrees on plain files."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gitstate.core.entry import CAPABILITY, Entry, Kind, Meta
from gitstate.store import Type
from gitstate.store.objects import FILE, TREE, TreeItem, format_tree
from gitstate.tree.combine import Reason, TextMerge, merge_text, merge_trees
from gitstate.tree.combine.links import merge_groups
from tests.support import needs
from tests.testing.git import Git
from tests.tree.combine.harness import FOLDER, PLAIN, Model, Store, Thing, join_lines

LINK: Final = Meta(Kind.SYMLINK, 0o777, time=0)
FIFO: Final = Meta(Kind.FIFO, 0o600, time=0)

contents = st.sampled_from([b"a\nb", b"a\nB", b"A\nb", b"A\nB", b"one line"])
file_metas = st.builds(
    PLAIN._replace,
    mode=st.sampled_from([0o644, 0o600, 0o4755]),
    uid=st.sampled_from([0, 7]),
    time=st.integers(0, 2),
    xattrs=st.sampled_from([(), ((b"user.a", b"1"),)]),
)
leaves = st.one_of(
    st.builds(Thing, file_metas, contents),
    st.builds(Thing, st.just(LINK), st.sampled_from([b"x", b"y"])),
    st.just(Thing(FIFO)),
)
folder_metas = st.builds(FOLDER._replace, mode=st.sampled_from([0o755, 0o700]), time=st.integers(0, 2))


@st.composite
def models(draw: st.DrawFn) -> Model:
    """A tree of two levels with few names, so that sides meet."""
    found: dict[bytes, Thing] = {}
    for name in draw(st.sets(st.sampled_from([b"d", b"e", b"f"]))):
        if draw(st.booleans()):
            found[name] = Thing(draw(folder_metas))
            for below in draw(st.sets(st.sampled_from([b"x", b"y"]))):
                found[name + b"/" + below] = draw(leaves)
        else:
            found[name] = draw(leaves)
    return found


@given(models(), models(), models())
def test_both_ways_round_agree(base: Model, ours: Model, theirs: Model) -> None:
    store = Store()
    trees = [store.tree(model) for model in (base, ours, theirs)]
    one, other = store.merge(*trees), store.merge(trees[0], trees[2], trees[1])
    assert one.conflicts == other.conflicts
    assert one.conflicts or one.tree == other.tree
    for merged in (one, other):
        assert store.model(merged.tree) is not None  # and every object of it is there


@given(models(), models())
def test_one_side_alone_is_taken_whole(base: Model, side: Model) -> None:
    store = Store()
    old, new = store.tree(base), store.tree(side)
    for ours, theirs in ((new, old), (old, new), (new, new)):
        merged = store.merge(old, ours, theirs)
        assert (merged.tree, merged.conflicts) == (new, ())


@given(models(), models(), models())
def test_without_a_conflict_no_edit_is_lost(base: Model, ours: Model, theirs: Model) -> None:
    """Each path is as a side made it; where one side alone changed it, as that one did."""
    store = Store()
    merged = store.merge(*(store.tree(model) for model in (base, ours, theirs)))
    found, troubled = store.model(merged.tree), {conflict.path for conflict in merged.conflicts}
    for path in base.keys() | ours.keys() | theirs.keys():
        if path in troubled or path.rpartition(b"/")[0] in troubled or path in {one[:1] for one in troubled}:
            continue
        was, mine, yours, now = (model.get(path) for model in (base, ours, theirs, found))
        if is_folder(mine) or is_folder(yours):
            continue  # it may be there only for what is in it
        if mine == yours or yours == was:
            assert now == mine, path
        elif mine == was:
            assert now == yours, path
        elif mine is None or yours is None:
            assert now is None or is_folder(was), path  # of which only the time had changed, or what replaced it
        else:
            assert now is not None, path
            assert_joined(was, mine, yours, now)


def is_folder(thing: Thing | None) -> bool:
    return thing is not None and thing.meta.kind is Kind.DIRECTORY


def assert_joined(was: Thing | None, mine: Thing, yours: Thing, now: Thing) -> None:
    for keyword in ("uid", "xattrs"):
        before = getattr(was.meta, keyword) if was and was.meta.kind is now.meta.kind else None
        a, b, c = (getattr(one.meta, keyword) for one in (mine, yours, now))
        assert c == (b if a == before else a), keyword
    if now.content not in (mine.content, yours.content):
        assert was is not None
        assert join_lines(was.content, mine.content, yours.content) == TextMerge(now.content, True)
        assert not now.meta.mode & 0o6000


@given(models(), models(), models())
def test_what_is_merged_again_changes_nothing(base: Model, ours: Model, theirs: Model) -> None:
    store = Store()
    trees = [store.tree(model) for model in (base, ours, theirs)]
    merged = store.merge(*trees)
    if not merged.conflicts:
        again = store.merge(trees[2], merged.tree, trees[2])
        assert again.tree == merged.tree


def test_equal_trees_are_not_read() -> None:
    """A merge reads what differs: three directories of a thousand."""
    store = Store()
    base = {b"%03d" % number: Thing(FOLDER) for number in range(1000)}
    base |= {name + b"/f": Thing(PLAIN, b"a\nb") for name in list(base)}
    trees = [store.tree(base), store.tree(base | {b"007/f": Thing(PLAIN, b"A\nb")})]
    trees.append(store.tree(base | {b"007/f": Thing(PLAIN, b"a\nB")}))
    reads: list[bytes] = []

    def read(oid: bytes) -> bytes:
        reads.append(oid)
        return store.read(oid)

    merged = merge_trees(read, *trees, merge_text=join_lines)
    assert merged.conflicts == ()
    assert len(merged.objects) == 5  # the file, and tree and records of two directories
    assert len(reads) <= 30


CASES: Final = [
    pytest.param({b"f": Thing(PLAIN, b"a\nb")}, {}, {b"f": Thing(PLAIN, b"A\nb")}, (b"f", Reason.REMOVED), id="rm"),
    pytest.param(
        {b"f": Thing(PLAIN, b"a\nb")},
        {b"f": Thing(PLAIN, b"A\nb")},
        {b"f": Thing(PLAIN, b"C\nb")},
        (b"f", Reason.CONTENT),
        id="same line",
    ),
    pytest.param({}, {b"f": Thing(PLAIN, b"1")}, {b"f": Thing(PLAIN, b"2")}, (b"f", Reason.ADDED), id="added"),
    pytest.param(
        {b"f": Thing(PLAIN, b"1")}, {b"f": Thing(LINK, b"1")}, {b"f": Thing(FIFO)}, (b"f", Reason.TYPE), id="type"
    ),
    pytest.param(
        {b"d": Thing(FOLDER), b"d/x": Thing(PLAIN, b"1")},
        {b"d": Thing(PLAIN, b"1")},
        {b"d": Thing(FOLDER), b"d/x": Thing(PLAIN, b"2")},
        (b"d", Reason.TYPE),
        id="a file in a directory's place",
    ),
    pytest.param(
        {b"d": Thing(FOLDER)}, {}, {b"d": Thing(FOLDER._replace(mode=0o700))}, (b"d", Reason.REMOVED), id="own mode"
    ),
    pytest.param(
        {b"f": Thing(PLAIN)},
        {b"f": Thing(PLAIN._replace(mode=0o600))},
        {b"f": Thing(PLAIN._replace(mode=0o640))},
        (b"f", Reason.METADATA),
        id="mode",
    ),
]


@pytest.mark.parametrize(("base", "ours", "theirs", "conflict"), CASES)
def test_conflicts(base: Model, ours: Model, theirs: Model, conflict: tuple[bytes, Reason]) -> None:
    store = Store()
    merged = store.merge(*(store.tree(model) for model in (base, ours, theirs)))
    assert merged.conflicts == (conflict,)


def test_a_removed_directory_takes_what_was_only_touched_along() -> None:
    store = Store()
    folder = {b"d": Thing(FOLDER), b"d/x": Thing(PLAIN, b"1")}
    touched = {b"d": Thing(FOLDER._replace(time=9)), b"d/x": Thing(PLAIN._replace(time=9), b"1")}
    merged = store.merge(store.tree(folder), store.tree({}), store.tree(touched))
    assert (store.model(merged.tree), merged.conflicts) == ({}, ())
    grown = touched | {b"d/new": Thing(PLAIN, b"2")}
    merged = store.merge(store.tree(folder), store.tree({}), store.tree(grown))
    assert (store.model(merged.tree).keys(), merged.conflicts) == ({b"d", b"d/new"}, ())


def test_merged_content_has_no_privileges_and_is_newer_than_both() -> None:
    store = Store()
    meta = PLAIN._replace(
        mode=0o4755, time=5 * 10**9 + 7, xattrs=((CAPABILITY, b"\1\0\0\2" + bytes(16)), (b"user.a", b"1"))
    )
    trees = [store.tree({b"f": Thing(meta, content)}) for content in (b"a\nb", b"A\nb", b"a\nB")]
    merged = store.merge(*trees)
    expected = meta._replace(mode=0o755, time=6 * 10**9, xattrs=((b"user.a", b"1"),))
    assert store.model(merged.tree)[b"f"] == Thing(expected, b"A\nB")


# --- hard links -------------------------------------------------------------------------------------------------------

PATHS: Final = [b"a", b"b", b"c", b"d"]
partitions = st.lists(st.integers(0, 3), min_size=4, max_size=4).map(
    lambda homes: sorted(
        group
        for number in set(homes)
        if len(group := tuple(path for path, home in zip(PATHS, homes, strict=True) if home == number)) > 1
    )
)


@given(partitions, partitions, partitions)
def test_links_of_either_side_count(
    base: list[tuple[bytes, ...]], ours: list[tuple[bytes, ...]], theirs: list[tuple[bytes, ...]]
) -> None:
    merged = merge_groups(base, ours, theirs)
    assert merged == merge_groups(base, theirs, ours)
    for one, other in combinations(PATHS, 2):
        was, mine, yours = (linked(side, one, other) for side in (base, ours, theirs))
        if mine and (yours or not was):
            assert linked(merged, one, other)
    assert merge_groups(base, ours, base) == ours


def linked(groups: list[tuple[bytes, ...]], one: bytes, other: bytes) -> bool:
    return any(one in group and other in group for group in groups)


def test_links_merge_with_their_files() -> None:
    store = Store()
    thing, edited = Thing(PLAIN, b"1"), Thing(PLAIN, b"2")
    base = store.tree({b"a": thing, b"b": thing, b"c": thing}, [[b"a", b"b"]])
    ours = store.tree({b"a": edited, b"b": edited, b"c": thing}, [[b"a", b"b"]])
    theirs = store.tree({b"a": thing, b"b": thing, b"c": thing, b"n": thing}, [[b"a", b"b"], [b"c", b"n"]])
    merged = store.merge(base, ours, theirs)
    assert merged.conflicts == ()
    assert store.links(merged.tree) == [(b"a", b"b"), (b"c", b"n")]
    assert store.model(merged.tree)[b"b"] == edited


def test_a_new_name_of_a_file_that_the_other_side_edited_is_a_conflict() -> None:
    store = Store()
    thing, edited = Thing(PLAIN, b"1"), Thing(PLAIN, b"2")
    base = store.tree({b"a": thing, b"b": thing}, [[b"a", b"b"]])
    ours = store.tree({b"a": edited, b"b": edited}, [[b"a", b"b"]])
    theirs = store.tree({b"a": thing, b"b": thing, b"c": thing}, [[b"a", b"b", b"c"]])
    merged = store.merge(base, ours, theirs)
    assert {conflict.path for conflict in merged.conflicts} == {b"a", b"b", b"c"}
    assert {conflict.reason for conflict in merged.conflicts} == {Reason.LINKS}


# --- git as judge -----------------------------------------------------------------------------------------------------


@needs("git")
def test_texts_merge_by_line() -> None:
    base = b"".join(b"%d\n" % number for number in range(20))
    ours, theirs = base.replace(b"3\n", b"three\n", 1), base.replace(b"17\n", b"seventeen\n")
    assert merge_text(base, ours, theirs) == TextMerge(ours.replace(b"17\n", b"seventeen\n"), True)
    clash = merge_text(base, ours, base.replace(b"3\n", b"drei\n", 1))
    assert clash is not None
    assert not clash.is_clean
    assert b"<<<<<<< ours\nthree\n||||||| base\n3\n=======\ndrei\n>>>>>>> theirs\n" in clash.text
    assert merge_text(b"\0", b"\1", b"\2") is None


plain = st.dictionaries(
    st.sampled_from([b"f", b"g", b"d/x", b"d/y"]), st.sampled_from([b"a%sb\n", b"A%sb\n", b"a%sB\n"])
).map(lambda files: {path: data % (b"\n%s\n" % path * 9) for path, data in files.items()})
"""Contents that differ from path to path: git's merge-tree can't be kept from guessing renames."""


@needs("git")
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(base=plain, ours=plain, theirs=plain)
def test_git_merges_plain_files_alike(
    tmp_path: Path, base: dict[bytes, bytes], ours: dict[bytes, bytes], theirs: dict[bytes, bytes]
) -> None:
    """Where git finds no conflict in names and contents, neither do we, and the result is the same."""
    path = tmp_path / "judge.git"
    judge = Git(path) if path.exists() else Git.create(path)
    parent = put(judge, base)
    clean, files = merge_by_git(judge, put(judge, ours, parent), put(judge, theirs, parent))
    store = Store()
    merged = merge_trees(store.read, *(store.tree(with_folders(side)) for side in (base, ours, theirs)))
    assert (not merged.conflicts) == clean
    if clean:
        store.objects |= {oid: data for oid, (_, data) in merged.objects.items()}
        found = {path: one.content for path, one in store.model(merged.tree).items() if one.meta.kind is Kind.FILE}
        assert found == files


def with_folders(files: dict[bytes, bytes]) -> Model:
    found = {path: Thing(PLAIN, content) for path, content in files.items()}
    return found | ({b"d": Thing(FOLDER)} if any(path.startswith(b"d/") for path in files) else {})


def put(git: Git, files: dict[bytes, bytes], *parents: bytes) -> bytes:
    """A commit of plain files, without records."""
    folder = [TreeItem(FILE, path[2:], git.put(3, data)) for path, data in files.items() if path.startswith(b"d/")]
    items = [TreeItem(FILE, path, git.put(3, data)) for path, data in files.items() if b"/" not in path]
    if folder:
        items.append(TreeItem(TREE, b"d", git.put(2, format_tree(folder))))
    return git.commit(git.put(2, format_tree(items)), *parents)


def merge_by_git(git: Git, ours: bytes, theirs: bytes) -> tuple[bool, dict[bytes, bytes]]:
    """Whether git finds no conflict, and the files of its merge."""
    done = git.ask("merge-tree", "--write-tree", "-z", ours.hex(), theirs.hex())
    assert done.returncode in (0, 1), done.stderr
    listed = git("ls-tree", "-r", "-z", done.stdout.split(b"\0")[0].decode()).split(b"\0")[:-1]
    names = {line.split(b"\t", 1)[1]: line.split()[2].decode() for line in listed}
    return done.returncode == 0, {name: git("cat-file", "blob", oid) for name, oid in names.items()}


def test_a_tree_deeper_than_recursion_merges() -> None:
    store = Store()

    def deep(content: bytes) -> bytes:
        oid = store.add(Type.BLOB, content)
        tree = store.directory([Entry(b"f", PLAIN, oid)], [])
        for _ in range(1500):
            tree = store.directory([], [(b"d", tree)])
        return store.directory([], [(b"d", tree)], root=True)

    merged = store.merge(deep(b"a\nb"), deep(b"A\nb"), deep(b"a\nB"))
    assert merged.conflicts == ()
    assert len(merged.objects) == 1502 + 4  # trees; records of three kinds, and the file
