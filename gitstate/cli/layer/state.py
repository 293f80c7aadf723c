"""The state that commands show: a machine, its release and its layers, for people and for programs."""

from __future__ import annotations

from typing import Any

import click

from gitstate.cli.base.app import Function, Session
from gitstate.cli.client.options import complete_client
from gitstate.release.state_at import MachineState, state_at


def state_of(session: Session, host: str, at: str | None) -> MachineState:
    """The state of ``host``: now, or at the release or day ``at``. Raises NotFoundError, UsageError."""
    return state_at(session.opened, host, at, session.observer)


def source_of(state: MachineState) -> str:
    """In words, which release or snapshots a client's layers are taken from."""
    return str(state.release.name) if state.release else "the latest snapshots"


def commits_json(state: MachineState) -> list[dict[str, Any]]:
    """The layers of a client for JSON, the lowest first."""
    commits = state.context.layers
    return [
        {"repository": one.name, "commit": commits[one.name].hex(), "why": one.why} for one in state.resolution.layers
    ]


def state_json(state: MachineState) -> dict[str, Any]:
    """The machine, its release and its prototype, for JSON."""
    return {
        "host": state.client.name,
        "release": str(state.release.name) if state.release else None,
        "prototype": image_json(state),
    }


def image_json(state: MachineState) -> dict[str, Any] | None:
    """The snapshot that the layers are laid over, for JSON."""
    prototype = state.context.prototype
    return {"repository": prototype[0], "commit": prototype[1].hex()} if prototype else None


def host_argument(function: Function) -> Function:
    """HOST, a client's name."""
    return click.argument("host", shell_complete=complete_client)(function)


def at_option(function: Function) -> Function:
    """``--at RELEASE|DAY``."""
    text = "State at this release, such as lab3/12, or day, such as 2026-05-03 [now]."
    return click.option("--at", metavar="RELEASE|DAY", help=text)(function)
