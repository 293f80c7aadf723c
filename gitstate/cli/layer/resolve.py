"""layer resolve."""

from __future__ import annotations

from gitstate.cli.base.app import Session, command
from gitstate.cli.base.output import emit, suggest, write_name
from gitstate.cli.layer.options import at_option, host_argument
from gitstate.cli.layer.state import commits_json, source_of, state_json, state_of


@command("gitstate layer resolve lab3-14", "gitstate layer resolve lab3-14 --at lab3/12", names=True)
@host_argument
@at_option
def resolve(session: Session, host: str, at: str | None) -> None:
    """Show which layers HOST gets, the lowest first, and why.

    A later layer wins file by file. HOST is a client; its layers are those of
    the release that its channel runs, or else the latest snapshots.
    """
    raw = session.raw
    state = state_of(session, host, at)
    resolution = state.resolution
    if raw:
        for one in resolution.layers:
            write_name(one.name.encode())
        return
    commits = state.context.layers
    missing = [{"repository": one.name, "why": one.why} for one in resolution.missing]
    value = state_json(state) | {"layers": commits_json(state), "missing": missing}
    width = max((len(one.name) for one in resolution.layers), default=0)
    lines = [f"{one.name:<{width}}  {commits[one.name].hex()[:7]}  {one.why}" for one in resolution.layers]
    emit(session, "layer-resolve/1", value, lines)
    if not lines:
        suggest(session, f"{state.client.name} gets no layers from {source_of(state)}")
