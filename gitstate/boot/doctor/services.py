"""The servers that machines boot from, queried as machines query them."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from gitstate.boot.doctor.models import Check, bad, note, ok
from gitstate.boot.options import Dhcp, Nfs, Options
from gitstate.core import network
from gitstate.core.errors import GitstateError, HostError, NotFoundError
from gitstate.store.site import Site

_ETAB: Final = Path("/var/lib/nfs/etab")
_FIRST: Final = "boot/boot.ipxe"
_START_DNSMASQ: Final = "systemctl enable --now gitstate-dnsmasq"


def services(site: Site, options: Options) -> Iterator[Check]:
    """Interface, DHCP, TFTP, HTTP, NFS."""
    try:
        yield _interface(options)
    except NotFoundError as error:
        yield bad("network", error.message, f"{site.file}: boot.interface; {error.hint}")
        return
    yield from _dhcp(options)
    yield _tftp(options)
    if options.http:
        yield _http(options)
    yield from _nfs(site, options)


def _interface(options: Options) -> Check:
    found = [address for address in network.addresses(options.interface) if str(address.ip) == options.server]
    if found:
        return ok("network", f"{options.interface} has {options.server}")
    command = f"ip address add {options.server}/{options.network.partition('/')[2]} dev {options.interface}"
    return bad("network", f"{options.interface} doesn't have {options.server}", command)


def _dhcp(options: Options) -> Iterator[Check]:
    if options.dhcp is Dhcp.NONE:
        yield note("dhcp", "left to others (dhcp = none)", f"their server must name {options.server} and {_FIRST}")
        return
    if not network.listening("udp", 67):
        yield bad("dhcp", "no dnsmasq listens on UDP port 67", _START_DNSMASQ)
    try:
        others = [server for server in network.dhcp_servers(options.interface) if server != options.server]
    except HostError as error:
        yield note("dhcp", error.message, error.hint)
        return
    named = ", ".join(others)
    if options.dhcp is Dhcp.OWN:
        if others:
            yield bad("dhcp", f"{named} also gives addresses", 'stop it, or write dhcp = "proxy" into [boot]')
        else:
            yield ok("dhcp", "own; nobody else gives addresses")
    elif others:
        yield ok("dhcp", f"proxy; {named} gives addresses")
    else:
        yield bad("dhcp", "proxy, but nobody gives addresses", 'start the site\'s DHCP server, or dhcp = "own"')


def _tftp(options: Options) -> Check:
    if not network.listening("udp", 69):
        return bad("tftp", "nothing listens on UDP port 69", _START_DNSMASQ)
    try:
        size = network.tftp_read(options.server, _FIRST)
    except GitstateError as error:
        return bad("tftp", error.message, error.hint)
    return ok("tftp", f"{_FIRST} can be read ({size} bytes)")


def _http(options: Options) -> Check:
    url = f"http://{options.server}:{options.http_port}/{_FIRST}"
    if not network.listening("tcp", options.http_port):
        return bad("http", f"nothing listens on TCP port {options.http_port}", "systemctl reload nginx")
    try:
        size = network.http_read(url)
    except GitstateError as error:
        return bad("http", error.message, error.hint)
    return ok("http", f"{url} can be read ({size} bytes)")


def _nfs(site: Site, options: Options) -> Iterator[Check]:
    start = "nfs-kernel-server" if options.nfs is Nfs.KERNEL else "gitstate-ganesha"
    ports = [2049, 111] if options.nfs_version == "3" else [2049]
    silent = [port for port in ports if not network.listening("tcp", port)]
    for port in silent:
        what = "rpcbind" if port == 111 else start
        yield bad("nfs", f"nothing listens on TCP port {port}", f"systemctl start {what}")
    if silent:
        return
    if options.nfs is Nfs.KERNEL and not _exported(site):
        yield bad("nfs", f"{site.exports} is not exported", "exportfs -ra")
        return
    yield ok("nfs", f"version {options.nfs_version} by {options.nfs}")
    if not ip_address(options.server).is_loopback:
        yield note("nfs", "sec=sys: any machine there can read every export", "see docs/security.md")


def _exported(site: Site) -> bool:
    """Whether the kernel's NFS server exports it, by the table that exportfs keeps."""
    try:
        lines = _ETAB.read_text(errors="replace").splitlines()
    except OSError:
        return False
    return any(line.split("\t")[0] == str(site.exports) for line in lines)
