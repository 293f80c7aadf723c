"""Which machines asked, read where dnsmasq was told to log."""

from __future__ import annotations

from gitstate.boot.files.planning import log_path
from gitstate.boot.request import BootRequest, asked
from gitstate.core.errors import HostError
from gitstate.store.site import Site


def machines_that_asked(site: Site) -> list[BootRequest]:
    """Every machine of the log, the one that asked last at the end; none before dnsmasq has run.

    Raises HostError if the log can't be read.
    """
    path = log_path(site) / "dnsmasq.log"
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            return asked(lines)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}", "run it as root") from None
