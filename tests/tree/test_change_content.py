"""How two contents of a file differ: by key where they can be read, else by line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitstate.tree.change.content import ContentChange, KeyChange, content_change


def keys(name: str, old: str, new: str) -> list[tuple[str, Any, Any]]:
    found = content_change(b"etc/" + name.encode(), old.encode(), new.encode()).keys
    assert found is not None
    return [(one.key, one.old, one.new) for one in found]


@pytest.mark.parametrize(
    ("name", "old", "new", "expected"),
    [
        ("a.json", '{"a": [1, 2]}', '{"a": [1, 3]}', [("a[1]", 2, 3)]),
        ("a.json", '{"a": 1}', '{ "a": 1 }', []),
        ("a.JSON", "1", "[1]", [("", 1, [1])]),
        ("a.yaml", "a: 1\n", "a: 1\nb: {c: x}\n", [("b", None, {"c": "x"})]),
        ("a.yml", "a: 1\n---\nb: 1\n", "a: 1\n---\nb: 2\n", [("[1].b", 1, 2)]),
        ("a.yaml", "d: 2020-01-01\n", "d: 2020-01-02\n", [("d", "2020-01-01", "2020-01-02")]),
        ("a.toml", "[a]\nb = 1\nc = 1\n", "[a]\nc = 1\n", [("a.b", 1, None)]),
        ("a.ini", "[a]\nB = 1\n", "[a]\nB = 2\n", [("a.B", "1", "2")]),
        ("a.ini", "[a]\nb = %(x)s\n", "[a]\nb = %(y)s\n", [("a.b", "%(x)s", "%(y)s")]),
    ],
)
def test_by_key(name: str, old: str, new: str, expected: list[tuple[str, Any, Any]]) -> None:
    assert keys(name, old, new) == expected


def test_what_came_and_went_is_told_from_null() -> None:
    found = content_change(b"a.json", b'{"a": null, "b": 1}', b'{"a": 1, "c": null}').keys
    assert found == (
        KeyChange("a", None, 1),
        KeyChange("b", 1, None, is_removed=True),
        KeyChange("c", None, None, is_added=True),
    )


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        (b"a.conf", b"a: 1\nb\n", b"a: 2\nb\n"),
        (b"json", b"1\n", b"2\n"),
        (b"a.json", b"{\n", b"1\n"),
        (b"a.json", b"NaN", b"1"),
        (b"a.json", b"\xff", b"1"),
        (b"a.json", b"[" * 100_000, b"1"),
        (b"a.json", b"[" * 60 + b"]" * 60, b"1"),
        (b"a.json", b"9" * 5000, b"1"),
        (b"a.json", b" " * (2 << 20), b"1"),
        (b"a.json", b'{"a": 1, "a": 3}', b'{"a": 2, "a": 3}'),
        (b"a.yaml", b"p: {a: 1, a: 3}\n", b"p: {a: 2, a: 3}\n"),
        (b"a.ini", b"[a]\nb = 1\nb = 3\n", b"[a]\nb = 2\nb = 3\n"),
        (b"a.yaml", b"a: &x [1]\nb: *x\n", b"a: 1\n"),
        (b"a.yaml", b"a: !!python/object/apply:os.system [id]\n", b"a: 1\n"),
        (b"a.yaml", b"a: \t- x: {", b"a: 1\n"),
        (b"a.toml", b"a =\n", b"a = 1\n"),
        (b"a.ini", b"no section\n", b"[a]\n"),
        (b"a.ini", b"[a]\nb=1\nb=2\n", b"[a]\n"),
    ],
)
def test_what_cant_be_read_is_text(name: bytes, old: bytes, new: bytes) -> None:
    for before, after in ((old, new), (new, old)):
        found = content_change(name, before, after)
        assert found.keys is None
        assert found.lines


def test_text_and_bytes() -> None:
    assert content_change(b"x", b"a\nb\n", b"a\nc\n").lines == ("@@ -1,2 +1,2 @@", " a", "-b", "+c")
    assert content_change(b"x.json", b"\0\1", b"\0\2") == ContentChange()


values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=2), below, max_size=3),
    max_leaves=6,
)


@given(values, values)
def test_equal_values_have_no_keys_that_differ(old: Any, new: Any) -> None:
    found = content_change(b"a.json", json.dumps(old).encode(), json.dumps(new, indent=1).encode()).keys
    assert found is not None
    assert bool(found) == (json.dumps(old, sort_keys=True) != json.dumps(new, sort_keys=True))
    json.dumps([(one.key, one.old, one.new) for one in found])


@given(st.binary(max_size=40), st.binary(max_size=40), st.sampled_from(["json", "yaml", "toml", "ini", "txt"]))
def test_any_bytes_are_compared(old: bytes, new: bytes, suffix: str) -> None:
    content_change(f"a.{suffix}".encode(), old, new)
