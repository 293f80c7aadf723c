"""The text of every boot file. Nothing is read but templates, nothing is written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid5

from gitstate.boot.checks import checked
from gitstate.boot.options import Dhcp, Nfs, Options
from gitstate.boot.plan import BootChannel, BootClient, Image, Maintained

MARK: Final = "written by `gitstate boot write`"
"""What the first lines of every file say; a file without it isn't ours."""

ETC_FILES: Final = (
    "etc/gitstate/dnsmasq.conf",
    "etc/gitstate/dnsmasq.hosts",
    "etc/nginx/conf.d/gitstate.conf",
    "etc/exports.d/gitstate.exports",
    "etc/gitstate/ganesha.conf",
    "etc/systemd/system/gitstate-dnsmasq.service",
    "etc/systemd/system/gitstate-ganesha.service",
)
"""All that there can be: one that the options don't ask for isn't rendered, and goes if it is there."""


_FIRST_ID: Final = 2
_IDS: Final = 65000
"""Ganesha's numbers of exports have 16 bits; another path must have another number."""


class Renderer:
    """Renders for one site and its options; templates are parsed when they are first used, and once."""

    def __init__(self, site: Path, uuid: str, options: Options) -> None:
        """Raises ConfigError if the site can't be named in boot files."""
        checked("path", str(site), "the site's directory")
        checked("UUID", uuid, f"{site}/site.toml: uuid")
        from gitstate.boot.templates import Templates  # Jinja2, for who renders

        self._options = options
        self._uuid = uuid
        self._templates = Templates(site / "templates", **_common(site, uuid, options))

    def common_files(self, maintained: Sequence[Maintained] = ()) -> dict[str, str]:
        """What doesn't depend on snapshots; of clients it has those that boot a live tree. Raises ConfigError."""
        options = self._options
        live = [self._live_export(one) for one in maintained]
        files = {"tftp/boot/boot.ipxe": "boot.ipxe", "etc/gitstate/dnsmasq.conf": "dnsmasq.conf"}
        units = ["gitstate-dnsmasq.service"]
        if options.http:
            files["etc/nginx/conf.d/gitstate.conf"] = "nginx.conf"
        if options.nfs is Nfs.KERNEL:
            files["etc/exports.d/gitstate.exports"] = "exports"
        else:
            files["etc/gitstate/ganesha.conf"] = "ganesha.conf"
            units.append("gitstate-ganesha.service")
        files |= {f"etc/systemd/system/{unit}": unit for unit in units}
        return {path: self._render(name, live=live) for path, name in files.items()}

    def _live_export(self, one: Maintained) -> dict[str, Any]:
        """A live tree as the configuration of an NFS server has it."""
        where = f"the live tree of {one.prototype}"
        checked("path", one.path, where)
        for address in one.addresses:
            checked("IPv4 address", address, one.client)
        fsid = uuid5(UUID(self._uuid), one.path)
        return {
            "path": one.path,
            "client": checked("name", one.client, "a client"),
            "addresses": one.addresses,
            "fsid": str(fsid),
            "filesystem_id": (fsid.time_low & 0x7FFFFFFF, fsid.node & 0x7FFFFFFF),
            "export_id": _FIRST_ID + fsid.int % _IDS,
        }

    def hosts_files(self, clients: Iterable[BootClient]) -> dict[str, str]:
        """The addresses of all clients; none unless we give addresses. Raises ConfigError."""
        if self._options.dhcp is not Dhcp.OWN:
            return {}
        hosts = [host for client in clients for host in _hosts(client)]
        return {"etc/gitstate/dnsmasq.hosts": self._render("dnsmasq.hosts", hosts=hosts)}

    def image_files(self, image: Image) -> dict[str, str]:
        """The script that boots a snapshot. Raises ConfigError."""
        _check_image(image)
        return {f"tftp/{image.path}/boot.ipxe": self._render("snapshot.ipxe", image=image)}

    def channel_files(self, channel: BootChannel) -> dict[str, str]:
        """The script that boots what a channel runs. Raises ConfigError."""
        _check_channel(channel)
        return {f"tftp/boot/channel/{channel.name}.ipxe": self._render("channel.ipxe", channel=channel)}

    def client_files(self, client: BootClient) -> dict[str, str]:
        """The script of each of a client's MAC addresses. Raises ConfigError."""
        _check_client(client)
        text = self._render("client.ipxe", client=client)
        return {f"tftp/boot/mac/{mac.replace(':', '-')}.ipxe": text for mac in client.macs}

    def _render(self, name: str, **values: Any) -> str:
        return self._templates.render(name, values)


def _common(site: Path, site_uuid: str, options: Options) -> dict[str, Any]:
    """What every template knows."""
    net = IPv4Network(options.network)
    fsid = uuid5(UUID(site_uuid), "exports")
    return {
        "site": str(site),
        "options": options,
        "pointers": f"{_served(options)}/boot/channel",
        "network": str(net.network_address),
        "netmask": str(net.netmask),
        "fsid": str(fsid),
        "filesystem_id": (fsid.time_low & 0x7FFFFFFF, fsid.node & 0x7FFFFFFF),
    }


def _served(options: Options) -> str:
    """Where ``tftp/`` is for machines that run."""
    return f"http://{options.server}:{options.http_port}" if options.http else f"tftp://{options.server}"


def _hosts(client: BootClient) -> list[dict[str, str]]:
    """Each network card gets the client's first IPv4 address: one is in use at a time."""
    _check_client(client)
    addresses = [address for address in client.ips if ":" not in address]
    return [{"mac": mac, "ip": address, "name": client.name} for mac in client.macs for address in addresses[:1]]


# --- nothing reaches a template unchecked -----------------------------------------------------------------------------


def _check_image(image: Image) -> None:
    where = "a snapshot"
    checked("prototype", image.prototype, where)
    checked("commit", image.commit, where)
    checked("time", str(image.epoch), where)


def _check_channel(channel: BootChannel) -> None:
    where = f"the channel {str(channel.name)[:60]}"
    checked("channel", channel.name, where)
    checked("version", channel.version, where)
    checked("prototype", channel.prototype, where)
    checked("commit", channel.commit, where)


def _check_client(client: BootClient) -> None:
    where = "a client"
    checked("name", client.name, where)
    where = client.name
    for mac in client.macs:
        checked("MAC address", mac, where)
    for address in client.ips:
        checked("IP address", address, where)
    if client.channel is None:
        checked("prototype", client.prototype, where)
        checked("commit", client.commit, where)
    else:
        checked("channel", client.channel, where)
    checked("machine id", client.machine_id, where)
    for word in client.arguments:
        checked("kernel argument", word, where)
