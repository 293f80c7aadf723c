"""A check of the whole directory."""

from __future__ import annotations

from dataclasses import dataclass

from gitstate.directory.model.clients import find_duplicate_address
from gitstate.directory.protocol import Directory


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a check; ``about`` is the directory's location, ``problems`` has a line for each."""

    about: str
    clients: int
    channels: int
    classes: int
    problems: tuple[str, ...]


def check(directory: Directory) -> Report:
    """Check all entries. Raises UnreachableError, and ConfigError for an invalid entry."""
    clients, channels = directory.clients(), directory.channels()
    problems = directory.problems()
    duplicate = find_duplicate_address(clients.values())
    if duplicate is not None:
        problems.append(f"{duplicate.second}: {duplicate.first} has the same {duplicate.kind} {duplicate.address}")
    problems += [
        f"{one.name}: there is no channel {one.channel}"
        for one in clients.values()
        if one.channel is not None and one.channel not in channels
    ]
    return Report(directory.about(), len(clients), len(channels), len(directory.classes()), tuple(problems))
