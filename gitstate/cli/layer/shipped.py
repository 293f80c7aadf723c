"""layer list --shipped: the layers that come with gitstate."""

from __future__ import annotations

from gitstate.cli.base.app import Session
from gitstate.cli.base.output import emit, suggest, table
from gitstate.machine.layers import shipped


def list_shipped(session: Session) -> None:
    """List what there is, and which of it the site has a layer of."""
    own = set(session.opened.site.layers())
    found = shipped.shipped()
    value = [{"repository": one.name, "description": one.description, "exists": one.name in own} for one in found]
    rows = [(one.name, "exists" if one.name in own else "-", one.description) for one in found]
    emit(
        session,
        "layer-shipped/1",
        {"layers": value},
        table(rows, ("NAME", "HERE", "DESCRIPTION"), colour=session.colour),
    )
    suggest(session, "to copy one: gitstate layer create NAME --shipped")
