"""Layers laid over each other and over an image."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitstate.core.entry import Kind
from gitstate.core.errors import ConflictError, GitstateError, RefusedError
from gitstate.machine.render.directories import directory_changes
from gitstate.machine.render.models import LayerError
from tests.machine.render.harness import PLAIN, Bench, Node, link

SHARED = PLAIN._replace(mode=0o2775)


@pytest.fixture
def bench() -> Bench:
    return Bench()


# --- what wins --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("specs", "expected"),
    [
        ([], {}),
        ([{}], {}),
        ([{"etc": {"motd": b"a"}}], {"etc/motd": "a"}),
        ([{"etc": {"motd": b"a", "x": b"x"}}, {"etc": {"motd": b"b"}}], {"etc/motd": "b", "etc/x": "x"}),
        ([{"etc": {"fstab": b"a"}}], {"etc/fstab": "a"}),
        ([{"new": {"deep": {"x": b"x"}}}], {"new": "/", "new/deep": "/", "new/deep/x": "x"}),
        ([{"etc": {"mtab": link(b"x")}}], {"etc/mtab": "->x"}),
        ([{"etc": {"mtab": b"file"}}], {"etc/mtab": "file"}),
        ([{"lib": link(b"lib64")}], {"lib": "->lib64"}),
        # whiteouts
        ([{"etc": {".wh.fstab": b""}}], {"etc/fstab": "-"}),
        ([{"etc": {".wh.nothing": b""}}], {}),
        ([{"etc": {".wh.skel": b""}}], {"etc/skel": "-"}),
        ([{"etc": {"motd": b"a"}}, {"etc": {".wh.motd": b""}}], {}),
        ([{"etc": {"fstab": b"a"}}, {"etc": {".wh.fstab": b""}}], {"etc/fstab": "-"}),
        ([{"etc": {".wh.fstab": b""}}, {"etc": {"fstab": b"b"}}], {"etc/fstab": "b"}),
        ([{"etc": {".wh.motd": b"", "motd": b"mine"}}], {"etc/motd": "mine"}),
        ([{"d": {"a": b"a", "b": b"b"}}, {".wh.d": b""}], {}),
        ([{"d": {"a": b"a"}}, {".wh.d": b"", "d": {"b": b"b"}}], {"d": "/", "d/b": "b"}),
        ([{"etc": {".wh.skel": b"", "skel": {"z": b"z"}}}], {"etc/skel": "!/", "etc/skel/z": "z"}),
        ([{"etc": {".wh.skel": b"", "skel": b"file"}}], {"etc/skel": "!file"}),
        ([{"etc": {"skel": {".wh..wh..opq": b"", "z": b"z"}}}], {"etc/skel": "!/", "etc/skel/z": "z"}),
        ([{"etc": {"skel": {"y": b"y"}}}, {"etc": {"skel": {".wh..wh..opq": b""}}}], {"etc/skel": "!/"}),
        ([{"d": {".wh..wh..opq": b"", "x": b"x"}}], {"d": "/", "d/x": "x"}),
        (
            [{"etc": {"skel": {".wh..wh..opq": b""}}}, {"etc": {"skel": {"deep": {"c": b"c"}}}}],
            {"etc/skel": "!/", "etc/skel/deep": "/", "etc/skel/deep/c": "c"},
        ),
        # symlinks of the image
        ([{"lib": {"y": b"y"}}], {"usr/lib/y": "y"}),
        ([{"lib": {"y": b"1"}}, {"usr": {"lib": {"y": b"2"}}}], {"usr/lib/y": "2"}),
        ([{"usr": {"lib": {"y": b"2"}}}, {"lib": {".wh.y": b"", ".wh.x": b""}}], {"usr/lib/x": "-"}),
        ([{".wh.lib": b"", "lib": {"y": b"y"}}], {"lib": "!/", "lib/y": "y"}),
        ([{"var": {"up": {"bin": {"z": b"z"}}}}], {"usr/bin/z": "z"}),
        # symlinks of layers
        (
            [{"opt": link(b"usr/local")}, {"opt": {"x": b"x"}}],
            {"opt": "->usr/local", "usr/local": "/", "usr/local/x": "x"},
        ),
        # what is never laid down
        ([{"policy.toml": b"", "layer.toml": b"", "vars.toml": b"", ".include": {"x": b""}}], {}),
        (
            [{"etc": {"policy.toml": b"p", ".include": {"x": b"x"}}}],
            {"etc/.include": "/", "etc/.include/x": "x", "etc/policy.toml": "p"},
        ),
    ],
)
def test_what_layers_make(bench: Bench, specs: list[dict[str, Any]], expected: dict[str, str]) -> None:
    assert bench.files(*specs) == expected


def test_metadata_of_directories(bench: Bench) -> None:
    def mode(*specs: dict[str, Any]) -> int | None:
        found = {item.path: item.meta for item in bench.items(*specs)}
        meta = found.get(b"root") or found.get(b"new")
        return meta.mode if meta else None

    assert mode({"root": {".": None, "x": b"x"}}) is None
    assert mode({"root": {"x": b"x"}}) is None, "mkdir -p is no wish to open a directory"
    assert mode({"root": {".": SHARED, "x": b"x"}}) == 0o2775
    assert mode({"root": {".": SHARED}}, {"root": {"x": b"x"}}) == 0o2775
    assert mode({"root": {".": SHARED}}, {"root": {".": PLAIN._replace(mode=0o1777)}}) == 0o1777
    assert mode({"root": {".wh..wh..opq": b"", "x": b"x"}}) == 0o700
    assert mode({"new": {".": None, "x": b"x"}}) == 0o755
    assert mode({"new": {".": SHARED, "x": b"x"}}) == 0o2775


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o027, 0o077, 0o777])
def test_an_umask_changes_no_directory_that_is_there(bench: Bench, umask: int) -> None:
    made = PLAIN._replace(mode=0o777 & ~umask)
    own = {".": made, "x": b"x"}
    assert bench.files({"root": own}) == {"root/x": "x"}
    assert bench.files({"lib": own}) == {"usr/lib/x": "x"}, "nor where a symlink leads"
    items = bench.items({"new": {"y": b"y"}}, {"new": own})
    assert {item.path: item.meta and item.meta.mode for item in items}[b"new"] == 0o755, "nor a lower layer's"
    items = bench.items({"new": own})
    assert {item.path: item.meta and item.meta.mode for item in items}[b"new"] == made.mode, "it is its own"


@pytest.mark.parametrize("mode", [0o700, 0o750, 0o755])
def test_a_layer_names_the_directories_that_it_means(bench: Bench, mode: int) -> None:
    layer = {"layer.toml": b'directories = ["/root", "lib"]', "root": {".": PLAIN._replace(mode=mode)}, "lib": {}}
    items = bench.items(layer)
    assert {item.path: item.meta and item.meta.mode for item in items} == {b"root": mode, b"usr/lib": 0o755}


def test_what_is_said_of_directories_of_the_image(bench: Bench) -> None:
    layer = bench.layer(
        "base",
        {
            "layer.toml": b'directories = ["etc/skel"]',
            "etc": {".": PLAIN._replace(mode=0o750), "skel": {".": PLAIN._replace(mode=0o700)}},
            "lib": {".": PLAIN._replace(gid=7)},
            "root": {},
            "new": {".": PLAIN._replace(mode=0o700)},
        },
    )
    said = [(one.path, one.words, one.is_applied) for one in directory_changes(bench.image, [layer])]
    assert said == [
        (b"etc", ["mode 0755 -> 0750"], False),
        (b"etc/skel", ["mode 0755 -> 0700"], True),
        (b"usr/lib", ["owner 0:0 -> 0:7"], True),
    ]


def test_devices_and_fifos(bench: Bench) -> None:
    (item, *_) = bench.items({"srv": {"fifo": Node(kind=Kind.FIFO)}})[1:]
    assert (item.path, item.content, item.meta and item.meta.kind) == (b"srv/fifo", None, Kind.FIFO)


def test_origin_is_the_latest_layer(bench: Bench) -> None:
    items = bench.items({"etc": {"a": b"", "b": b""}}, {"etc": {"b": b"", ".wh.fstab": b""}})
    assert {item.path: item.layer for item in items} == {b"etc/a": "a", b"etc/b": "b", b"etc/fstab": "b"}


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("specs", "error", "said"),
    [
        (
            [{"etc": {"skel": b"file"}}],
            ConflictError,
            "etc/skel is a file, and /etc/skel a directory (desktop dededed's)",
        ),
        ([{"etc": {"fstab": {"x": b""}}}], ConflictError, "etc/fstab is a directory, and /etc/fstab is not"),
        ([{"d": {"x": b""}}, {"d": b""}], ConflictError, "b "),
        ([{"d": b""}, {"d": {"x": b""}}], ConflictError, "(a's)"),
        ([{"lib": b"file"}], ConflictError, "lib is a file, and /lib a directory"),
        ([{"lib": {"y": b""}, "usr": {"lib": {"y": b""}}}], ConflictError, "lib/y and usr/lib/y are both /usr/lib/y"),
        ([{"var": {"loop": {"x": b""}}}], ConflictError, "a symlink to itself"),
        ([{"var": {"run": {"x": b""}}}], RefusedError, "var/run/x, which is /run/x"),
        ([{"proc": {"x": b""}}], RefusedError, "/proc/x"),
        ([{"sys": {"x": {}}}], RefusedError, "/sys/x"),
        ([{"dev": {"null": Node(kind=Kind.CHARACTER, device=(1, 3))}}], RefusedError, "/dev/null"),
        ([{"run": {".wh.x": b""}}], RefusedError, "/run/"),
        ([{".wh.proc": b""}], RefusedError, "/proc"),
        ([{"run": {".wh..wh..opq": b""}}], RefusedError, "/run"),
        ([{"etc": {"passwd": b""}}], RefusedError, "no layer may replace /etc/passwd"),
        ([{"etc": {"shadow": link(b"x")}}], RefusedError, "no layer may replace /etc/shadow"),
        ([{"etc": {"group.j2": b""}}], RefusedError, "no layer may replace /etc/group"),
        ([{"etc": {".wh.passwd": b""}}], RefusedError, "may remove /etc/passwd"),
        ([{".wh.etc": b""}], RefusedError, "would remove accounts"),
        ([{"etc": {".wh..wh..opq": b""}}], RefusedError, "would remove accounts"),
        ([{".wh..wh..opq": b""}], RefusedError, "would remove accounts"),
        ([{"etc": {".wh.": b""}}], LayerError, "hides nothing"),
        ([{"etc": {".wh...": b""}}], LayerError, "hides nothing"),
        ([{"etc": {".wh..wh.x": b""}}], LayerError, "hides nothing"),
        ([{"etc": {"x": b"", "x.j2": b""}}], LayerError, "etc/x and etc/x.j2 make one file"),
        ([{"layer.toml": b'directories = ["etc/cpus"]', "etc": {}}], LayerError, "directories names etc/cpus, which"),
        ([{"layer.toml": b'directories = ["etc/"]', "etc": {}}], LayerError, "directories"),
        ([{"vars.toml": b"a ="}], LayerError, "vars.toml"),
        ([{"vars.toml": b"\xff"}], LayerError, "vars.toml"),
        ([{"vars.toml": b".".join([b"a"] * 5000) + b" = 1"}], LayerError, "vars.toml: it is nested deeper"),
        ([{"vars.toml": b"a = " + b"[" * 50_000}], LayerError, "vars.toml"),
    ],
)
def test_what_cant_be(bench: Bench, specs: list[dict[str, Any]], error: type[GitstateError], said: str) -> None:
    with pytest.raises(error, match=re.escape(said)) as caught:
        bench.files(*specs)
    assert caught.value.hint
    assert "\n" not in caught.value.message


def test_a_link_out_of_the_root_stays_inside() -> None:
    bench = Bench({"out": link(b"../../../../../../tmp"), "abs": link(b"/tmp"), "tmp": {}})
    assert bench.files({"out": {"x": b"1"}, "abs": {"y": b"2"}}) == {"tmp/x": "1", "tmp/y": "2"}


def test_what_is_hidden_leads_nowhere() -> None:
    bench = Bench({"usr": {"f": b"file"}, "l": link(b"usr/f")})
    assert bench.files({".wh.usr": b""}, {"l": {"x": b"x"}}) == {"usr": "!/", "usr/f": "/", "usr/f/x": "x"}


def test_names_may_be_anything(bench: Bench) -> None:
    items = bench.items({"etc": {"a\nb": b"x", "ü": b"y", ".gitignore": b"z", "x" * 255: b""}})
    assert [item.path for item in items] == sorted(item.path for item in items)
    assert {b"etc/a\nb", "etc/ü".encode(), b"etc/.gitignore"} <= {item.path for item in items}


# --- laws -------------------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "c", ".wh.a", ".wh.b", ".wh..wh..opq"])
CONTENTS = st.sampled_from([b"1", b"2"])


def is_possible(spec: dict[str, Any]) -> bool:
    return all(not isinstance(value, dict) or not name.startswith(".wh.") for name, value in spec.items())


SPECS = st.recursive(
    st.dictionaries(NAMES, CONTENTS, max_size=3),
    lambda below: st.dictionaries(NAMES, CONTENTS | below, max_size=4).filter(is_possible),
    max_leaves=8,
)


def model(specs: list[dict[str, Any]]) -> dict[str, str]:
    """OCI's words on nested dictionaries; ValueError where a file meets a directory."""
    root: dict[str, Any] = {}
    for spec in specs:
        lay(root, spec)
    return flat(root, "")


def lay(onto: dict[str, Any], spec: Mapping[str, Any]) -> None:
    if ".wh..wh..opq" in spec:
        onto.clear()
    for name in spec:
        onto.pop(name.removeprefix(".wh.") if name.startswith(".wh.") else "", None)
    for name, value in spec.items():
        if name.startswith(".wh."):
            continue
        there = onto.get(name)
        if there is not None and isinstance(there, dict) != isinstance(value, dict):
            raise ValueError(name)
        if isinstance(value, dict):
            lay(onto.setdefault(name, {}), value)
        else:
            onto[name] = value


def flat(tree: dict[str, Any], above: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in tree.items():
        is_directory = isinstance(value, dict)
        found[above + name] = "/" if is_directory else value.decode()
        found |= flat(value, f"{above}{name}/") if is_directory else {}
    return found


@given(st.lists(SPECS, max_size=4))
def test_composition_is_what_oci_says(specs: list[dict[str, Any]]) -> None:
    specs = [{"top": spec} for spec in specs]  # a root that is opaque would take the accounts away
    bench = Bench({})
    try:
        expected = model(specs)
    except ValueError:
        with pytest.raises(ConflictError):
            bench.files(*specs)
        return
    assert bench.files(*specs) == expected


@given(st.lists(SPECS, max_size=3), st.integers(0, 3))
def test_an_empty_layer_changes_nothing(specs: list[dict[str, Any]], place: int) -> None:
    specs = [{"top": spec} for spec in specs]
    bench = Bench({})
    try:
        expected = bench.files(*specs)
    except ConflictError:
        return
    assert bench.files(*specs[:place], {}, *specs[place:]) == expected


@given(SPECS)
def test_a_layer_twice_is_a_layer_once(spec: dict[str, Any]) -> None:
    bench = Bench({"top": {"a": b"image", "b": {"c": b"image"}}})
    try:
        once = bench.files({"top": spec})
    except ConflictError:
        return
    try:
        assert bench.files({"top": spec}, {"top": spec}) == once
    except ConflictError:
        # A whiteout and a file of that name in one layer: the second time the whiteout meets the file, which is fine.
        raise AssertionError(spec) from None


@given(st.lists(SPECS, max_size=3))
def test_what_lists_begin_with_may_be_kept(specs: list[dict[str, Any]]) -> None:
    """A composer that has laid other lists before makes what a new one makes."""
    specs = [{"top": spec} for spec in specs]
    used = Bench({})
    for count in range(len(specs)):
        try:
            used.files(*specs[:count])
            used.files(*specs[:count], {"other": b""})
        except ConflictError:
            return
    try:
        expected = Bench({}).files(*specs)
    except ConflictError:
        return
    assert used.files(*specs) == expected
