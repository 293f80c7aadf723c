"""A lab with a site in it, configured by files that ``gitstate boot write`` wrote, and by nothing else.

In the lab the site stands at `SITE` and the system's configuration below `ETC`, whatever this machine has there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import tomlkit

from tests.lab import prototype
from tests.lab.guest import ARGUMENTS, Firmware, Guest
from tests.lab.netlab import BRIDGE, SERVER, NetLab, netlab
from tests.lab.servers import Servers, foreign_dhcp, router
from tests.support import PROJECT

SITE: Final = Path("/srv/gitstate")
ETC: Final = Path("/srv/etc")
GROUP: Final = "gitstate"

# As the package's own installation would make the group: who serves boot files is in it.
_SET_UP: Final = f"""
set -e
mount -t tmpfs -o mode=755 lab /srv
mkdir {SITE} {ETC}
mount --bind "$1" {SITE}
sed '/^{GROUP}:/d' /etc/group >/run/group
echo {GROUP}:x:64999:www-data,dnsmasq >>/run/group
mount --bind /run/group /etc/group
"""

OPTIONS: Final[dict[str, Any]] = {
    "interface": BRIDGE,
    "server": SERVER,
    "network": "10.77.0.0/24",
    "dhcp": "own",
    "range": ["10.77.0.100", "10.77.0.200"],
    "nfs": "ganesha",
    "arguments": ARGUMENTS,
    "etc": str(ETC),
    "group": GROUP,
}
PROXY: Final[dict[str, Any]] = {"dhcp": "proxy", "range": None}


@dataclass(frozen=True)
class BootLab:
    """The network, the site on the server, and the servers."""

    net: NetLab
    site: Path
    """As this machine sees it."""
    servers: Servers

    def gitstate(self, *words: str, code: int = 0) -> str:
        """Run a command of gitstate in the lab; what it prints."""
        environment = {**os.environ, "GITSTATE_SITE": str(SITE), "PYTHONPATH": str(PROJECT)}
        done = self.net.run(sys.executable, "-m", "gitstate", *words, environment=environment)
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def configure(self, **options: Any) -> None:
        """Write ``[boot]`` into site.toml; None leaves a key out."""
        file = self.site / "site.toml"
        document = tomlkit.parse(file.read_text())
        document["boot"] = {key: value for key, value in (OPTIONS | options).items() if value is not None}
        file.write_text(tomlkit.dumps(document))

    def client(self, name: str, mac: str, tag: str, *words: str) -> None:
        """Make a machine known; `write` makes it boot."""
        self.gitstate("client", "add", name, "--mac", mac, "--pin", f"{prototype.NAME}@{tag}", *words)

    def write(self) -> str:
        """Write all boot files."""
        return self.gitstate("boot", "write")

    def boot(
        self,
        mac: str,
        *,
        firmware: Firmware = Firmware.BIOS,
        rom: bool = True,
        reboots: bool = False,
        devices: tuple[str, ...] = (),
        disk: Path | None = None,
    ) -> Guest:
        """Power on a machine."""
        return self.net.boot(mac, firmware=firmware, rom=rom, reboots=reboots, devices=devices, disk=disk)


@contextmanager
def boot_lab(*, foreign: bool = False, **options: Any) -> Iterator[BootLab]:
    """A lab with a prototype, a directory without clients, and no server running yet but those of the network itself.

    ``foreign``: another machine gives addresses. ``options`` are those of ``[boot]`` that differ from `OPTIONS`.
    """
    with prototype.copy() as site, lab_around(site) as lab, ExitStack() as stack:
        if foreign:
            stack.enter_context(foreign_dhcp(lab.net))
        lab.configure(**options)
        yield lab


@contextmanager
def lab_around(site: Path) -> Iterator[BootLab]:
    """A lab with this site in it, as it stands."""
    with netlab() as net:
        net.do("sh", "-c", _SET_UP, "sh", str(site))
        router(net)
        yield BootLab(net, site, Servers(net, ETC))
