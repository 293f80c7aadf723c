"""The policy file: from TOML to the rules in force."""

from __future__ import annotations

from functools import cache
from typing import Final

from gitstate.core.entry import Kind
from gitstate.core.names import display
from gitstate.tree.policy.globs import literal_parents
from gitstate.tree.policy.rules import Policy, Rules, Treatment

POLICY_PATH: Final = b"etc/gitstate/policy.toml"
LAYER_POLICY_PATH: Final = b"policy.toml"
"""Never laid down; a layer's ``etc/gitstate/policy.toml`` is a file for machines."""

_LARGEST: Final = 32 << 10


def policy_path(*, is_layer: bool) -> bytes:
    """The path of the policy file in a layer or a prototype."""
    return LAYER_POLICY_PATH if is_layer else POLICY_PATH


def parse(text: bytes | None, where: str, own: bytes = POLICY_PATH) -> Policy:
    """The policy that ``text`` asks for, None for the default one. Raises ConfigError.

    ``where`` names the file in errors, ``own`` in the tree.
    """
    if text is None:
        return _default()
    from gitstate.core import documents  # few trees have a policy file
    from gitstate.tree.policy.declaration import PolicyFile

    source = documents.read_toml(text, where, largest=_LARGEST)
    rules = documents.parse(PolicyFile, source).rules()
    policy = Policy(rules)
    if unseen := _unreachable(policy, rules, own):
        raise source.fault(*unseen)
    return policy


@cache
def _default() -> Policy:
    return Policy(Rules())


def _unreachable(policy: Policy, rules: Rules, own: bytes) -> tuple[str, str, str] | None:
    """What would silently have no effect: the key, what is wrong, what to do."""
    for path, kind in [*((path, Kind.DIRECTORY) for path in literal_parents(own)), (own, Kind.FILE)]:
        if policy.treatment(path, kind) is not Treatment.RECORD:
            return "record", f"leaves out {display(path)}, and the policy file with it", f"keep {display(path)}"
    for index, pattern in enumerate(rules.keep):
        for parent in literal_parents(pattern):
            if policy.treatment(parent, Kind.DIRECTORY) is not Treatment.RECORD:
                hint = f"keep {display(parent)} too, and skip what should stay out"
                return f"record.keep[{index}]", f"lies in {display(parent)}, which is not looked into", hint
    return None
