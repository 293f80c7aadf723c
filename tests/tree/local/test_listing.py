"""The list of writable files: what it takes, and that it comes back as it was written."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitstate.core.errors import ConfigError, UsageError
from gitstate.core.names import octal, tree_path
from gitstate.tree.local.listing import content_path, link_target, parse, parse_path, text

NAMES = st.binary(min_size=1, max_size=20).filter(lambda name: b"\0" not in name and b"/" not in name)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(b"/".join)


def can_be_listed(path: bytes) -> bool:
    try:
        return parse_path(path) == path
    except UsageError:
        return False


@given(st.lists(PATHS.filter(can_be_listed), max_size=8))
def test_a_list_comes_back_as_it_was_written(paths: list[bytes]) -> None:
    written = text(paths)
    assert parse(written, "it") == sorted(set(paths))
    assert all(32 <= byte < 127 or byte == 10 for byte in written)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_list_or_an_error_that_names_the_line(data: bytes) -> None:
    said, found = "it:", []
    try:
        found = parse(data, "it")
    except ConfigError as fault:
        said = fault.message
    assert said.startswith("it:")
    assert all(can_be_listed(path) for path in found)


def test_no_list_is_an_empty_one() -> None:
    assert parse(None, "it") == parse(b"", "it") == parse(b"# nothing\n\n", "it") == []


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_the_last_line_needs_no_end(end: bytes) -> None:
    assert parse(b"/etc/b\n/etc/a b".replace(b" ", b"\\040") + end, "it") == [b"etc/a b", b"etc/b"]


@pytest.mark.parametrize(
    "line",
    [
        b"etc/fstab",
        b"/etc//fstab",
        b"/etc/./fstab",
        b"/etc/../fstab",
        b"/etc/a b",
        b"/etc/\\8",
        b"/etc/\\057fstab",
        b"/etc/x\\000",
        b" /etc/fstab",
        b"/etc/fstab ",
        b"/etc/fstab\r",
        b"/",
        b"/etc/passwd",
        b"/proc/x",
        b"/etc/\xc3\xbc",
    ],
)
def test_what_is_no_path_is_named_with_its_line(line: bytes) -> None:
    with pytest.raises(ConfigError, match="it:2: "):
        parse(b"/etc/fine\n" + line + b"\n", "it")


def test_a_list_of_monstrous_size_is_refused() -> None:
    with pytest.raises(ConfigError, match="longer than"):
        parse(b"#" * 300_000, "it")


@pytest.mark.parametrize(
    "path",
    [
        b"",
        b"/",
        b"x" * 256,
        b"/".join([b"x" * 200] * 30),
        b"etc/local/fstab",
        b"usr/local",
        b"proc/x",
        b"run/x",
        b"var/tmp/x",
        b"etc/shadow",
        b"etc/gitstate/policy.toml",
        b"policy.toml",
        b"etc/.wh.x",
        b"etc/.gitstate",
        b"etc/x.j2",
        b"etc/group.merge",
    ],
)  # fmt: skip
def test_what_can_not_be_listed(path: bytes) -> None:
    with pytest.raises(UsageError, match=re.escape(octal(tree_path(path)) + " can")):
        parse_path(path)


def test_where_a_link_leads() -> None:
    assert (content_path(b"etc/fstab"), link_target(b"etc/fstab")) == (b"etc/local/fstab", b"local/fstab")
    assert (content_path(b"x"), link_target(b"x")) == (b"local/x", b"local/x")
    assert parse_path(b"//etc/./fstab") == b"etc/fstab"
