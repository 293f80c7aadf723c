"""Hard-link groups under an upper directory: only the lines that it has to do with change."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gitstate.tree.manifest import format_links, parse_links
from gitstate.tree.overlay.shape import Shape, merged_links

PATHS = st.lists(st.sampled_from([b"a", b"b", b"c d", b"\xff"]), min_size=1, max_size=3).map(b"/".join)

FILES = PATHS.map(lambda path: path + b"/file")


@st.composite
def groups(draw: st.DrawFn) -> list[tuple[bytes, ...]]:
    """Disjoint groups of paths."""
    paths = draw(st.lists(FILES, unique=True, max_size=20))
    sizes = draw(st.lists(st.integers(2, 4), max_size=8))
    found = []
    for size in sizes:
        group, paths = paths[:size], paths[size:]
        if len(group) > 1:
            found.append(tuple(group))
    return found


def upper(hidden: list[bytes]) -> Shape:
    """An upper directory that has whiteouts at these paths."""
    root = Shape()
    for path in hidden:
        here, lower = root, b""
        *above, last = path.split(b"/")
        for name in above:
            lower = lower + b"/" + name if lower else name
            below = here.names.setdefault(name, Shape(lower, lower))
            if below is None:
                break
            here = below
        else:
            here.names[last] = None
    return root


def shows(path: bytes, hidden: list[bytes]) -> bool:
    return not any(path == one or path.startswith(one + b"/") for one in hidden)


@given(old=groups(), hidden=st.lists(PATHS | FILES, max_size=4), fresh=st.booleans())
def test_groups_keep_the_members_that_show(old: list[tuple[bytes, ...]], hidden: list[bytes], fresh: bool) -> None:
    new = [[b"z/new", b"z/newer"]] if fresh else []
    text = merged_links(format_links(old), upper(hidden), new)
    left = [[path for path in group if shows(path, hidden)] for group in old]
    assert text == format_links([*(group for group in left if len(group) > 1), *new])


def test_a_moved_directory_takes_its_links_along() -> None:
    root = Shape(names={b"a": None, b"moved": Shape(b"moved", b"a", {b"gone": None})})
    text = format_links([(b"a/one", b"a/gone", b"b/one"), (b"c", b"d")])
    assert parse_links(merged_links(text, root, [])) == [(b"b/one", b"moved/one"), (b"c", b"d")]


def test_lines_written_by_others_are_read_as_they_are_meant() -> None:
    text = b"# by hand\nb a\n\nd c"
    assert merged_links(text, Shape(names={b"x": None}), []) == b"a b\nc d\n"
