"""What a machine gets: layers laid over its image, whiteouts, merged accounts, templates by Jinja2 (sandboxed)."""

from gitstate.machine.render.batch import Batch, Ground, Rendered
from gitstate.machine.render.models import Act, Blob, Item, LayerFault, Mark

__all__ = ["Act", "Batch", "Blob", "Ground", "Item", "LayerFault", "Mark", "Rendered"]
