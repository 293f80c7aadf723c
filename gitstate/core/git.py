"""The command line of git. Only here it begins with that word; the environment is ``environment.of_program``'s."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

Words = list[str | bytes]

_PLAIN: Final = {"log.showSignature": "false", "blame.ignoreRevsFile": ""}
"""What even a repository's own configuration doesn't change of output that we parse."""


def command(*words: str | bytes, config: Mapping[str, str] | None = None) -> Words:
    """git on no repository, or on one that ``words`` name. ``config`` overrules all other configuration."""
    return ["git", *_options(config or {}), *words]


def on(repository: Path, *words: str | bytes, config: Mapping[str, str] | None = None) -> Words:
    """git on ``repository``, with its own hooks and no others, for output that we parse."""
    return ["git", *_options(_PLAIN | hooks_of(repository) | dict(config or {})), f"--git-dir={repository}", *words]


def shown(repository: Path, *words: str | bytes) -> Words:
    """git on ``repository`` for output that a person reads, shaped by that person's configuration."""
    return ["git", *_options({"core.quotePath": "false"} | hooks_of(repository)), f"--git-dir={repository}", *words]


def hooks_of(repository: Path) -> dict[str, str]:
    """The setting without which a person's own ``core.hooksPath`` would replace the repository's hooks."""
    return {"core.hooksPath": str(repository.absolute() / "hooks")}


def _options(config: Mapping[str, str]) -> Words:
    return [word for name, value in config.items() for word in ("-c", f"{name}={value}")]
