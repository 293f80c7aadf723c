"""Patterns: they match what docs/policy.md says, and none runs away."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gitstate.core.names import octal
from gitstate.tree.policy.globs import literal_parents, translate, union


def matcher(pattern: bytes) -> Callable[[bytes], object]:
    return re.compile(translate(pattern), re.DOTALL).fullmatch


def reference(pattern: bytes, path: bytes) -> bool:
    """What docs/policy.md says, as plainly and slowly as can be."""
    names, parts = pattern.split(b"/"), path.split(b"/")

    @cache
    def rest(i: int, j: int) -> bool:
        if i == len(names):
            return j == len(parts)
        if names[i] == b"**":
            return j < len(parts) if i + 1 == len(names) else any(rest(i + 1, k) for k in range(j, len(parts) + 1))
        return j < len(parts) and reference_name(names[i], parts[j]) and rest(i + 1, j + 1)

    return rest(0, 0)


def reference_name(pattern: bytes, name: bytes) -> bool:
    if not pattern:
        return not name
    if pattern[:1] == b"*":
        return any(reference_name(pattern[1:], name[k:]) for k in range(len(name) + 1))
    if pattern[:1] == b"\\":
        return name[:1] == bytes([int(pattern[1:4], 8)]) and reference_name(pattern[4:], name[1:])
    return bool(name) and (pattern[:1] == b"?" or pattern[:1] == name[:1]) and reference_name(pattern[1:], name[1:])


TOKENS = st.sampled_from([b"a", b"b", b".", b"*", b"?", rb"\141", rb"\052", b"\n", b"\xff"])
PATTERN_NAMES = st.one_of(st.just(b"**"), st.lists(TOKENS, min_size=1, max_size=6).map(b"".join)).filter(
    lambda name: name == b"**" or (b"**" not in name and name not in (b".", b".."))
)
PATTERNS = st.lists(PATTERN_NAMES, min_size=1, max_size=5).map(b"/".join)
NAMES = st.lists(st.sampled_from([b"a", b"b", b".", b"*", b"\n", b"\xff"]), min_size=1, max_size=5).map(b"".join)
PATHS = st.lists(NAMES, min_size=1, max_size=6).map(b"/".join)


@given(PATTERNS, PATHS)
@example(b"**/a/**/b", b"a/a/b")
@example(b"**/a*b/**/**/*", b"aab/x")
@example(b"*a*ab", b"aaab")
@example(b"a/**", b"a")
def test_patterns_match_what_the_manual_says(pattern: bytes, path: bytes) -> None:
    assert bool(matcher(pattern)(path)) == reference(pattern, path)


@given(PATTERNS, st.data())
def test_patterns_match_what_was_made_from_them(pattern: bytes, draw: st.DataObject) -> None:
    names: list[bytes] = []
    for index, name in enumerate(parts := pattern.split(b"/")):
        if name == b"**":
            names += draw.draw(st.lists(NAMES, min_size=int(index + 1 == len(parts)), max_size=3))
        else:
            plain = name.replace(rb"\141", b"a").replace(rb"\052", b"\0").replace(b"?", b"b")
            pieces = plain.split(b"*")
            stars = [draw.draw(st.sampled_from([b"", b"a", b"ba"])) for _ in pieces[1:]]
            made = pieces[0] + b"".join(a + b for a, b in zip(stars, pieces[1:], strict=True))
            names.append(made.replace(b"\0", b"*") or b"a")
    assert matcher(pattern)(b"/".join(names))


@given(st.lists(st.binary(min_size=1).filter(lambda name: not {0, 47} & set(name)), min_size=1).map(b"/".join), PATHS)
def test_an_octal_name_is_a_pattern_of_itself(path: bytes, other: bytes) -> None:
    if {b".", b".."} & set(path.split(b"/")):
        return
    matches = matcher(octal(path).encode())
    assert matches(path)
    assert bool(matches(other)) == (path == other)


@given(st.binary())
def test_any_bytes_are_a_pattern_or_a_value_error(text: bytes) -> None:
    try:
        expression = translate(text)
    except ValueError:
        return
    assert re.compile(expression, re.DOTALL).groups == 0


def test_wildcards_end_at_slashes_and_take_dots() -> None:
    assert matcher(b"a/*")(b"a/.x")
    assert not matcher(b"a/*")(b"a/b/c")
    assert not matcher(b"a?b")(b"a/b")
    assert matcher(b"a??b")("aéb".encode())
    assert not matcher(b"[ab]{c}")(b"a")
    assert matcher(b"[ab]{c}!# ")(b"[ab]{c}!# ")
    assert not matcher(b"A")(b"a")


def test_no_patterns_match_nothing() -> None:
    assert not re.fullmatch(union([]), b"")
    assert not re.fullmatch(union([]), b"x")


def test_literal_parents() -> None:
    assert literal_parents(rb"a/b\052c/d") == [b"a", b"a/b*c"]
    assert literal_parents(b"a/*/c/d") == [b"a"]
    assert literal_parents(b"**/c") == []
    assert literal_parents(b"a") == []


RUNAWAY = [
    (b"*a" * 500 + b"b", b"a" * 4000),
    (b"*" + b"a*" * 500 + b"b", b"a" * 4000),
    (b"?*" * 500 + b"b", b"a" * 4000),
    (b"**/a/" * 200 + b"b", b"a/" * 2000 + b"a"),
    (b"**/*a*/" * 140 + b"b", b"aa/" * 1300 + b"a"),
    (b"**/" * 300 + b"b", b"a/" * 2000 + b"a"),
    (b"a/" * 200 + b"**/" + b"*/" * 300 + b"b", b"a/" * 2000 + b"a"),
    (b"**/" + b"*a*a*a/" * 120 + b"b", b"aaaa/" * 800 + b"a"),
]


@pytest.mark.parametrize(("pattern", "path"), RUNAWAY)
def test_no_pattern_runs_away(pattern: bytes, path: bytes) -> None:
    assert len(pattern) <= 1024
    matches = matcher(pattern)
    start = time.process_time()
    assert not matches(path)
    assert time.process_time() - start < 1
