"""A plan to render, and what tests look at in what it becomes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from gitstate.boot.options import Options, options_of
from gitstate.boot.plan import BootChannel, BootClient, Image, machine_id
from gitstate.boot.render import Renderer
from gitstate.core.documents import Source

UUID: Final = "6f1e4e0a-0f8c-4c1f-8a60-9f1f4a8f0f10"
SITE: Final = Path("/srv/gitstate")
COMMIT: Final = "4be1c02" + "0" * 33
MAC: Final = "52:54:00:12:34:56"
MINIMAL: Final = {"interface": "eth1", "server": "10.77.0.1", "network": "10.77.0.0/24"}
OWN: Final = {"dhcp": "own", "range": ["10.77.0.100", "10.77.0.200"]}


@dataclass(frozen=True, slots=True)
class BootPlan:
    """Everything that the boot files tell."""

    site: Path
    uuid: str
    options: Options
    images: tuple[Image, ...] = field(default=())
    clients: tuple[BootClient, ...] = field(default=())
    channels: tuple[BootChannel, ...] = field(default=())


def render(plan: BootPlan) -> dict[str, str]:
    """Every file of a plan, by its path: ``tftp/…`` below the site, ``etc/…`` below ``options.etc``.

    Raises ConfigError.
    """
    renderer = Renderer(plan.site, plan.uuid, plan.options)
    files = renderer.common_files() | renderer.hosts_files(plan.clients)
    for image in plan.images:
        files |= renderer.image_files(image)
    for channel in plan.channels:
        files |= renderer.channel_files(channel)
    for client in plan.clients:
        files |= renderer.client_files(client)
    return files


def options(**table: Any) -> Options:
    """What ``[boot]`` with these keys asks for, server and network given."""
    return options_of(Source("site.toml", {"boot": MINIMAL | table}))


def image(**fields: Any) -> Image:
    """A snapshot that boots."""
    return Image(**{"prototype": "desktop", "commit": COMMIT, "epoch": 1_700_000_000} | fields)


def client(**fields: Any) -> BootClient:
    """A machine that boots it."""
    usual = {"name": "lab3-12", "macs": (MAC,), "prototype": "desktop", "commit": COMMIT, "ips": ("10.77.0.12",)}
    return BootClient(**usual | {"machine_id": machine_id(UUID, "lab3-12")} | fields)


def plan(site: Path = SITE, **table: Any) -> BootPlan:
    """One machine and its snapshot."""
    return BootPlan(site, UUID, options(**table), (image(has_caps=True),), (client(),))


def commands(script: str) -> list[list[str]]:
    """An iPXE script's lines as words, comments left out."""
    lines = script.splitlines()
    assert lines[0] == "#!ipxe"
    return [line.split() for line in lines if line and not line.startswith("#")]


def lines_of(text: str) -> list[tuple[str, str]]:
    """A dnsmasq configuration's keys and values, comments left out."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(key, value) for key, _, value in (line.partition("=") for line in lines)]
