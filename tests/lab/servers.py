"""The real servers of a lab: each starts from one configuration file, and is ready when its function returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.lab.netlab import BRIDGE, NetLab
from tests.lab.program import Program

_NGINX: Final = """\
daemon off;
error_log stderr;
pid /run/nginx.pid;
user {user};
events {{ }}
http {{
    access_log {log};
    include {file};
}}
"""

_ROUTER: Final = f"""\
port=0
interface={BRIDGE}
bind-interfaces
user=root
log-facility=-
enable-ra
dhcp-range=fd77::,ra-only,64,1h
"""

_FOREIGN: Final = """\
port=0
interface=eth0
bind-interfaces
no-ping
leasefile-ro
user=root
log-facility=-
log-dhcp
dhcp-range=10.77.0.50,10.77.0.99,255.255.255.0,1h
dhcp-option=option:domain-name,foreign.test
"""


def rpcbind(lab: NetLab) -> Program:
    """What NFS version 3 asks for its ports."""
    return lab.start("rpcbind", "-f", ready=lambda _: lab.seen("/run/rpcbind.sock").exists())


def ganesha(lab: NetLab, configuration: Path) -> Program:
    """The NFS server."""
    log = lab.file("ganesha.log")
    words = ["ganesha.nfsd", "-F", "-L", str(log), "-f", str(configuration), "-p", "/run/ganesha.pid"]
    return lab.start(*words, ready=lambda _: log.exists() and "NFS SERVER INITIALIZED" in log.read_text(), log=log)


def nginx(lab: NetLab, site: Path, user: str = "www-data") -> Program:
    """The HTTP server, with a file as it stands in ``conf.d`` and nothing else."""
    main = lab.file("nginx.conf")
    main.write_text(_NGINX.format(user=user, file=site, log=lab.file("nginx-access.log")))
    return lab.start("nginx", "-e", "stderr", "-c", str(main), ready=lambda _: lab.listens("tcp", 80))


def dnsmasq(lab: NetLab, configuration: Path) -> Program:
    """DHCP and TFTP."""
    return lab.start("dnsmasq", "-k", f"--conf-file={configuration}", ready=lambda _: lab.listens("udp", 69))


def router(lab: NetLab) -> Program:
    """What makes known that the network has IPv6. Where nobody does, iPXE waits 15 s for it."""
    configuration = lab.file("router.conf")
    configuration.write_text(_ROUTER)
    return lab.start(
        "dnsmasq",
        "-k",
        f"--conf-file={configuration}",
        ready=lambda one: "RA" in one.words() or "advertisement" in one.words(),
    )


@contextmanager
def foreign_dhcp(lab: NetLab) -> Iterator[Program]:
    """Another machine's DHCP server, on the same bridge, that gives addresses and knows nothing of booting."""
    lab.do("ip", "netns", "add", "foreign")
    lab.do("ip", "link", "add", "foreign", "master", BRIDGE, "type", "veth", "peer", "eth0", "netns", "foreign")
    lab.do("ip", "link", "set", "foreign", "up")
    lab.do("ip", "-n", "foreign", "addr", "add", "10.77.0.2/24", "dev", "eth0")
    lab.do("ip", "-n", "foreign", "link", "set", "eth0", "up")
    configuration = lab.file("foreign.conf")
    configuration.write_text(_FOREIGN)
    words = ["ip", "netns", "exec", "foreign", "dnsmasq", "-k", f"--conf-file={configuration}"]
    program = lab.start(*words, ready=lambda one: "sockets bound" in one.words())
    try:
        yield program
    finally:
        program.stop()
        lab.do("ip", "netns", "del", "foreign")


@dataclass
class Servers:
    """The servers whose configuration ``gitstate boot write`` wrote, each by its name; none runs before `start`."""

    lab: NetLab
    etc: Path
    _running: dict[str, Program] = field(default_factory=dict)

    @property
    def running(self) -> tuple[str, ...]:
        """The names of those that run."""
        return tuple(self._running)

    def start(self, *names: str) -> None:
        """Start those of these names (or all) that don't run."""
        for name, begin in self._known().items():
            if (not names or name in names) and name not in self._running:
                self._running[name] = begin()

    def stop(self, *names: str) -> None:
        """Kill those of these names (or all), as if the power had gone."""
        for name in names or self.running:
            self._running.pop(name).stop()

    def restart(self, *names: str) -> None:
        """Start with what the configuration says now."""
        self.stop(*names)
        self.start(*names)

    def _known(self) -> dict[str, Callable[[], Program]]:
        return {
            "rpcbind": lambda: rpcbind(self.lab),
            "ganesha": lambda: ganesha(self.lab, self.etc / "gitstate" / "ganesha.conf"),
            "nginx": lambda: nginx(self.lab, self.etc / "nginx" / "conf.d" / "gitstate.conf"),
            "dnsmasq": lambda: dnsmasq(self.lab, self.etc / "gitstate" / "dnsmasq.conf"),
        }


@contextmanager
def serve(lab: NetLab, etc: Path) -> Iterator[Servers]:
    """Run all that ``gitstate boot write`` has configured, until the block ends."""
    servers = Servers(lab, etc)
    servers.start()
    try:
        yield servers
    finally:
        servers.stop()
