"""Reload the servers whose configuration changed: dnsmasq, nginx, the NFS server.

Under systemd that is done by systemctl. Elsewhere nginx and the kernel's NFS server are reloaded directly; for the
others the command is named.
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
    """The result of a reload."""

    DONE = "done"
    NOT_RUNNING = "not running"
    BY_HAND = "by hand"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """A server, the command that reloads it, the result, and what went wrong."""

    server: str
    command: Words
    outcome: Outcome
    why: str = ""


@dataclass(frozen=True, slots=True)
class _Server:
    """A server's unit and how it is reloaded; by ``direct`` without systemd, if ``runs`` says that it is running."""

    name: str
    unit: str
    verb: str
    direct: Words
    runs: Callable[[], bool] = lambda: False
    tool: Words = ()
    """The command that reloads it even under systemd."""


SYSTEMD: Final = Path("/run/systemd/system")
_NGINX_PID: Final = Path("/run/nginx.pid")
_NFSD: Final = Path("/proc/fs/nfsd/threads")


def _nginx_runs() -> bool:
    try:
        return Path("/proc", _NGINX_PID.read_text().strip()).is_dir()
    except OSError:
        return False


_OURS: Final = "gitstate-"
"""The prefix of units that gitstate writes and may enable; the admin starts the others."""
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
"""The server that reads each file. None of these files is changed by a push."""


def servers(paths: Iterable[str]) -> list[str]:
    """The names of the servers that read ``paths``."""
    return sorted({_SERVERS[path].name for path in paths if path in _SERVERS})


def reload(paths: Iterable[str], etc: Path) -> Iterator[tuple[str, ReloadResult]]:
    """Reload each server that reads one of ``paths``, once; yield each path with the result.

    ``etc`` is the directory of their configuration.
    """
    done: dict[str, ReloadResult] = {}
    changed = set(paths)
    for path, server in _SERVERS.items():  # a restart comes before a reload, and makes it needless
        if path in changed:
            if server.name not in done:
                done[server.name] = _reload(server, etc)
            yield path, done[server.name]


def _reload(server: _Server, etc: Path) -> ReloadResult:
    managed = SYSTEMD.is_dir()
    command = tuple(word.format(etc=etc) for word in server.direct)
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
    """The command for a server under systemd; ours are started if need be, others that don't run need none."""
    ours = server.unit.startswith(_OURS)
    if ours:
        process.run(["systemctl", "daemon-reload"])
    active = process.run(["systemctl", "is-active", server.unit], accept=range(256)).strip() == b"active"
    if active:
        return server.tool or ("systemctl", server.verb, server.unit)
    return ("systemctl", "enable", "--now", server.unit) if ours else ()
