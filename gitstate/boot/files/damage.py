"""Boot files that aren't any more what was written."""

from __future__ import annotations

from gitstate.boot.files import state
from gitstate.core.output import OutputRoot
from gitstate.store.site import Site


def damaged(site: Site, output: OutputRoot) -> list[str]:
    """The files that we wrote, and that are gone or changed, a line each; ``output`` reads content. Raises OSError."""
    known = state.load(site.path)
    written = [unit.files for unit in known.units.values()] + [one.files for one in known.copied.values()]
    found = sorted(path for files in written for path, stamp in files.items() if not output.is_untouched(path, stamp))
    return [f"{output.absolute(path)} isn't as it was written" for path in found]
