"""What the tests of the policy share."""

from __future__ import annotations

from gitstate.core.entry import Kind
from gitstate.tree.policy import Policy, Treatment, parse

FILE, DIRECTORY, SYMLINK = Kind.FILE, Kind.DIRECTORY, Kind.SYMLINK
RECORD, SKIP, METADATA_ONLY = Treatment
DEFAULT = parse(None, "policy.toml")


def policy(text: str) -> Policy:
    return parse(b"version = 1\n" + text.encode(), "policy.toml")


def refused(path: str, data: bytes, by: Policy = DEFAULT) -> str:
    """The rule that refuses ``data`` at ``path``; empty for none."""
    refusal = by.inspect(path.encode(), data)
    assert refusal is None or by.inspects(path.encode(), len(data))
    return refusal.rule if refusal else ""
