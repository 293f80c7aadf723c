"""Telling those who read the servers' configuration that it changed: dnsmasq, nginx, and who serves NFS.

What runs under systemd is told through it. Elsewhere nginx and the kernel's NFS server can be told, too; for the
others the command is named that does it.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gitstate.core import process
from gitstate.core.errors import GitstateError

Words = tuple[str, ...]


class Outcome(enum.StrEnum):
    """What came of it."""

    DONE = "done"
    NOT_RUNNING = "not running"
    BY_HAND = "by hand"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """A server, the command that tells it, what came of it, and what went wrong."""

    server: str
    command: Words
    outcome: Outcome
    why: str = ""


@dataclass(frozen=True, slots=True)
class _Server:
    """By which unit a server runs, and how it is told; ``alone`` without systemd, if ``runs`` says that it is there."""

    name: str
    unit: str
    verb: str
    alone: Words
    runs: Callable[[], bool] = lambda: False
    tool: Words = ()
    """Told by this even under systemd."""


SYSTEMD: Final = Path("/run/systemd/system")
_NGINX_PID: Final = Path("/run/nginx.pid")
_NFSD: Final = Path("/proc/fs/nfsd/threads")


def _nginx_runs() -> bool:
    try:
        return Path("/proc", _NGINX_PID.read_text().strip()).is_dir()
    except OSError:
        return False


_OURS: Final = "gitstate-"
"""What the units begin with that we write, and may enable; others are the admin's to start."""
_DNSMASQ: Final = _Server(
    "dnsmasq", "gitstate-dnsmasq", "restart", ("dnsmasq", "--conf-file={etc}/gitstate/dnsmasq.conf")
)
_GANESHA: Final = _Server("ganesha", "gitstate-ganesha", "restart", ("pkill", "-HUP", "ganesha.nfsd"))
_SERVERS: Final = {
    "etc/systemd/system/gitstate-dnsmasq.service": _DNSMASQ,
    "etc/gitstate/dnsmasq.conf": _DNSMASQ,
    "etc/gitstate/dnsmasq.hosts": _Server(
        "dnsmasq", "gitstate-dnsmasq", "reload", ("pkill", "-HUP", "-f", "gitstate/dnsmasq.conf")
    ),
    "etc/nginx/conf.d/gitstate.conf": _Server("nginx", "nginx", "reload", ("nginx", "-s", "reload"), _nginx_runs),
    "etc/exports.d/gitstate.exports": _Server(
        "nfs", "nfs-server", "reload", ("exportfs", "-ra"), _NFSD.exists, ("exportfs", "-ra")
    ),
    "etc/systemd/system/gitstate-ganesha.service": _GANESHA,
    "etc/gitstate/ganesha.conf": _GANESHA,
}
"""Who reads which file. Nothing that a push changes is among them."""


def servers(paths: Iterable[str]) -> list[str]:
    """The names of who reads the files ``paths``."""
    return sorted({_SERVERS[path].name for path in paths if path in _SERVERS})


def tell(paths: Iterable[str], etc: Path) -> Iterator[tuple[str, ReloadResult]]:
    """Tell the readers of ``paths``, each once, and yield each path with what came of it.

    ``etc`` is where their configuration stands.
    """
    done: dict[str, ReloadResult] = {}
    asked = set(paths)
    for path, server in _SERVERS.items():  # a restart stands before a reload, and makes it needless
        if path in asked:
            if server.name not in done:
                done[server.name] = _tell(server, etc)
            yield path, done[server.name]


def _tell(server: _Server, etc: Path) -> ReloadResult:
    managed = SYSTEMD.is_dir()
    command = tuple(word.format(etc=etc) for word in server.alone)
    try:
        if managed:
            command = _under_systemd(server)
            if not command:
                return ReloadResult(server.name, ("systemctl", "start", server.unit), Outcome.NOT_RUNNING)
        elif not server.runs():
            return ReloadResult(server.name, command, Outcome.BY_HAND)
        process.run(command)
    except GitstateError as error:
        return ReloadResult(server.name, command, Outcome.FAILED, error.message)
    return ReloadResult(server.name, command, Outcome.DONE)


def _under_systemd(server: _Server) -> Words:
    """What tells a server that systemd runs: ours are started if they don't run; nothing for others that don't."""
    ours = server.unit.startswith(_OURS)
    if ours:
        process.run(["systemctl", "daemon-reload"])
    active = process.run(["systemctl", "is-active", server.unit], accept=range(256)).strip() == b"active"
    if active:
        return server.tool or ("systemctl", server.verb, server.unit)
    return ("systemctl", "enable", "--now", server.unit) if ours else ()
