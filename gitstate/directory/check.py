"""What is wrong with a directory."""

from __future__ import annotations

from dataclasses import dataclass

from gitstate.directory.model.clients import find_duplicate_address
from gitstate.directory.protocol import Directory


@dataclass(frozen=True, slots=True)
class Report:
    """How a directory is: where, how much, and what is wrong, a line each."""

    about: str
    clients: int
    channels: int
    classes: int
    problems: tuple[str, ...]


def check(directory: Directory) -> Report:
    """Look at all of it. Raises UnreachableError, and ConfigError for an entry that can't be read."""
    clients, channels = directory.clients(), directory.channels()
    problems = directory.faults()
    clash = find_duplicate_address(clients.values())
    if clash is not None:
        problems.append(f"{clash.second}: its {clash.kind} {clash.address} is {clash.first}'s already")
    problems += [
        f"{one.name}: there is no channel {one.channel}"
        for one in clients.values()
        if one.channel is not None and one.channel not in channels
    ]
    return Report(directory.about(), len(clients), len(channels), len(directory.classes()), tuple(problems))
