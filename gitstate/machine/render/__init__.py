"""What a machine gets: layers laid over its image, whiteouts, merged accounts, templates by Jinja2 (sandboxed)."""

from gitstate.machine.render.batch import Batch, RenderContext, Rendered
from gitstate.machine.render.directories import DirectoryChange, directory_changes
from gitstate.machine.render.models import Action, Blob, Decision, LayerError, RenderedEntry

__all__ = [
    "Action",
    "Batch",
    "Blob",
    "Decision",
    "DirectoryChange",
    "LayerError",
    "RenderContext",
    "Rendered",
    "RenderedEntry",
    "directory_changes",
]
