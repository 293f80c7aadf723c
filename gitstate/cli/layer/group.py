"""layer: repositories of files laid over the root."""

from __future__ import annotations

from gitstate.cli.base.app import group


@group(
    "gitstate layer list",
    "gitstate layer create lab/lab3",
    modules={
        "create": "layer.list",
        "diff": "layer.diff",
        "list": "layer.list",
        "owner": "layer.owner",
        "remove": "layer.change",
        "rename": "layer.change",
        "render": "layer.render",
        "resolve": "layer.render",
        "which": "layer.which",
    },
)
def layer() -> None:
    """Layers: files laid over the root of some clients.

    A layer is a repository named base, or KIND/NAME such as lab/lab3.
    """
