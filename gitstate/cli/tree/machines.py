"""Two machines compared, as ``diff`` shows them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gitstate.cli.base.app import Session
from gitstate.cli.base.output import emit, visible_line
from gitstate.cli.layer.diff import difference_json, difference_lines
from gitstate.cli.layer.state import source_of, state_json
from gitstate.cli.tree.git_words import by_kind, page
from gitstate.release.machines import MachineDifference, open_difference
from gitstate.release.state_at import MachineState, state_at


def show_machines(
    session: Session, hosts: Sequence[str], arguments: Sequence[str], times: bool, exit_code: bool
) -> int:
    """Print how two clients differ; the exit code."""
    old, new = (state_at(session.opened, host, None, session.observer) for host in hosts)
    with open_difference(session.opened, old, new, arguments, session.observer) as found:
        if session.json:
            value = {"old": state_json(old), "new": state_json(new), "snapshots": by_kind(list(found.snapshots.json()))}
            layers = [difference_json(one) for one in found.layers]
            emit(session, "machine-diff/1", value | {"layers": layers}, [])
        elif not session.quiet:
            page(session, _lines(session, old, new, found, times))
        return 1 if (exit_code or session.quiet) and found.differs() else 0


def _lines(
    session: Session, old: MachineState, new: MachineState, found: MachineDifference, times: bool
) -> Iterator[bytes]:
    """The snapshots as ``diff`` shows them, then the layers as ``layer diff`` does, each below a line that names it."""
    names = [_snapshot(state) for state in (old, new)]
    yield _head(f"snapshot {names[0]}" if names[0] == names[1] else f"snapshots {names[0]} -> {names[1]}")
    yield from found.snapshots.lines(color=session.colour, times=times)
    yield _head(f"layers of {old.client.name} ({source_of(old)}) -> {new.client.name} ({source_of(new)})")
    for one in found.layers:
        yield from (f"{line}\n".encode(errors="surrogateescape") for line in difference_lines(session, one))


def _head(text: str) -> bytes:
    return f"{visible_line(text)}\n".encode()


def _snapshot(state: MachineState) -> str:
    prototype = state.context.prototype
    return f"{prototype[0]}@{prototype[1].hex()[:7]}" if prototype else ""
