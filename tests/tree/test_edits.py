"""Entries of a snapshot replaced: the result is the snapshot that has the new ones, to the id."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gitstate.core.entry import Entry, Kind, Meta
from gitstate.store import Type, object_id
from gitstate.store.edit import NewObjects
from gitstate.tree.edits import Edit, Group, edit_entries
from tests.tree.combine.harness import FOLDER, PLAIN, Model, Store, Thing

NAMES = st.sampled_from([b"a", b"b", b"c", b".gitignore"])
LEAVES = st.one_of(
    st.builds(Thing, st.builds(PLAIN._replace, mode=st.sampled_from([0o644, 0o755, 0o4755])), st.binary(max_size=2)),
    st.just(Thing(Meta(Kind.SYMLINK, 0o777, time=0), b"x")),
    st.just(Thing(Meta(Kind.FIFO, 0o600, time=0))),
)
NESTED = st.recursive(LEAVES, lambda below: st.dictionaries(NAMES, below, max_size=3), max_leaves=12)


def flat(nested: object, path: bytes = b"") -> dict[bytes, Thing]:
    """Entries by path; of the root none."""
    if isinstance(nested, Thing):
        return {path: nested}
    assert isinstance(nested, dict)
    found = {path: Thing(FOLDER)} if path else {}
    for name, below in nested.items():
        found |= flat(below, path + b"/" + name if path else name)
    return found


MODELS = st.dictionaries(NAMES, NESTED, max_size=4).map(flat)


def is_directory(thing: Thing | None) -> bool:
    return thing is not None and thing.meta.kind is Kind.DIRECTORY


def edits_between(old: Model, new: Model) -> dict[bytes, Edit]:
    """What makes ``new`` of ``old``."""
    found: dict[bytes, Edit] = {}
    for path in sorted(old.keys() | new.keys()):
        thing, above = new.get(path), path.rpartition(b"/")[0]
        if old.get(path) == thing or (thing is None and above and not is_directory(new.get(above))):
            continue
        if thing is None or is_directory(thing):
            found[path] = thing.meta if thing else None
        else:
            oid = object_id(Type.BLOB, thing.content) if thing.meta.kind in (Kind.FILE, Kind.SYMLINK) else b""
            found[path] = Entry(path.rpartition(b"/")[2], thing.meta, oid)
    return found


def edited(store: Store, root: bytes | None, edits: dict[bytes, Edit], links: tuple[Group, ...] = ()) -> bytes:
    objects = NewObjects()
    tree = edit_entries(store.read, root, edits, objects, links)
    store.objects |= {oid: data for oid, (_, data) in objects.items()}
    return tree


@given(MODELS, MODELS)
def test_edits_make_the_tree_that_has_them(old: Model, new: Model) -> None:
    store = Store()
    before, after = store.tree(old), store.tree(new)
    assert edited(store, before, edits_between(old, new)) == after


def test_groups_lose_what_is_edited_and_gain_what_is_new() -> None:
    store = Store()
    old = {b"a": Thing(), b"b": Thing(), b"c": Thing(), b"d": Thing(FOLDER), b"d/e": Thing(), b"d/f": Thing()}
    tree = store.tree(old, [(b"a", b"b", b"c"), (b"d/e", b"d/f")])
    new = Entry(b"c", PLAIN, object_id(Type.BLOB, b"new"))
    store.add(Type.BLOB, b"new")
    edits: dict[bytes, Edit] = {b"c": new, b"x": new._replace(name=b"x"), b"d": None}
    assert store.links(edited(store, tree, edits, ((b"c", b"x"),))) == [(b"a", b"b"), (b"c", b"x")]


def test_without_a_tree_directories_are_made() -> None:
    store = Store()
    entry = Entry(b"c", PLAIN, store.add(Type.BLOB, b""))
    tree = edited(store, None, {b"a/b/c": entry})
    assert store.model(tree) == {b"a": Thing(FOLDER), b"a/b": Thing(FOLDER), b"a/b/c": Thing()}
