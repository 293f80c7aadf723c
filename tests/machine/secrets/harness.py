"""A site whose secrets are planted by hand."""

from __future__ import annotations

import os
from pathlib import Path

from gitstate.machine import secrets
from gitstate.machine.secrets import Options, Secrets
from gitstate.store.site import Site

OPTIONS = Options("00000000-0000-0000-0000-000000000000")
HOST = "lab3-12"


def plant(site: Site, path: str, content: bytes = b"secret\n", mode: int = 0o600, host: str = HOST) -> Path:
    """A secret of ``host``, as root's shell would put it there."""
    file = site.path / "secrets" / host / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    file.chmod(mode)
    return file


def read(site: Site, host: str = HOST) -> Secrets:
    return secrets.machine_secrets(site, host, OPTIONS)


def key_files(site: Site, host: str = HOST) -> list[str]:
    """What stands in the machine's /etc/ssh."""
    place = site.path / "secrets" / host / "etc" / "ssh"
    return sorted(os.listdir(place)) if place.exists() else []
