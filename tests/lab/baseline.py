"""A diskless boot configured by hand, as short as it can be: what gitstate's own files are measured against.

Debian's initramfs-tools with its stock ``boot=nfs`` and a dozen lines for the overlay; iPXE with one script for
everybody; dnsmasq, nginx and Ganesha with no more than they need. Nothing here comes from gitstate.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.lab.guest import ARGUMENTS
from tests.lab.netlab import BRIDGE, SERVER, NetLab
from tests.lab.servers import dnsmasq, ganesha, nginx, rpcbind

_OVERLAY: Final = """\
#!/bin/sh
[ "$1" = prereqs ] && exit
mkdir -p /run/lower /run/writes
mount -o move "$rootmnt" /run/lower
mount -t tmpfs -o mode=755 writes /run/writes
mkdir /run/writes/upper /run/writes/work
mount -t overlay -o lowerdir=/run/lower,upperdir=/run/writes/upper,workdir=/run/writes/work overlay "$rootmnt"
"""

# klibc's ipconfig loses its first DISCOVER to a link that isn't up yet, and waits 10 s for the next.
_LINK: Final = """\
#!/bin/sh
[ "$1" = prereqs ] && exit
for link in /sys/class/net/eth*; do ip link set "${link##*/}" up; done
"""

_DNSMASQ: Final = f"""\
port=0
interface={BRIDGE}
bind-interfaces
no-ping
leasefile-ro
user=root
log-facility=-
log-dhcp
dhcp-range=10.77.0.100,10.77.0.200,255.255.255.0,1h
dhcp-match=set:ipxe,175
dhcp-boot=tag:ipxe,boot.ipxe
dhcp-option=encap:175,176,1b
enable-tftp
enable-ra
dhcp-range=fd77::,ra-only,64,1h
"""

_IPXE: Final = """\
#!ipxe
kernel http://{server}/vmlinuz initrd=initrd.img boot=nfs root=/dev/nfs ip=dhcp nfsroot={server}:{root},vers=3,tcp ro \
{arguments}
initrd http://{server}/initrd.img
boot
"""

_GANESHA: Final = """\
NFS_CORE_PARAM {{ Protocols = 3; MNT_Port = 20048; Enable_NLM = false; Enable_RQUOTA = false; fsid_device = true; }}
EXPORT_DEFAULTS {{ Access_Type = RO; Squash = No_Root_Squash; SecType = sys; Transports = TCP; }}
EXPORT {{ Export_Id = 1; Path = {root}; Pseudo = {root}; FSAL {{ Name = VFS; }} }}
"""


@dataclass(frozen=True)
class Baseline:
    """A root that boots by hand-written files, and where those stand."""

    root: Path
    place: Path


def prepare(root: Path) -> None:
    """Put the overlay into a root's initrd and make that anew."""
    tools = root / "etc" / "initramfs-tools"
    for path, text in (("init-bottom/overlay", _OVERLAY), ("nfs-top/link", _LINK)):
        script = tools / "scripts" / path
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(text)
        script.chmod(0o755)
    (tools / "modules").write_text("overlay\n")
    (tools / "conf.d" / "boot").write_text("BOOT=nfs\n")
    update = "mount -t proc proc /proc && exec update-initramfs -u"
    subprocess.run(
        ["unshare", "--mount", "chroot", root, "sh", "-c", update], check=True, capture_output=True, text=True
    )


@contextmanager
def serving(lab: NetLab, root: Path) -> Iterator[None]:
    """Serve a root that `prepare` has seen, until the block ends."""
    place = lab.place / "baseline"
    place.mkdir()
    files = {
        "boot.ipxe": _IPXE.format(server=SERVER, root=root, arguments=ARGUMENTS),
        "dnsmasq.conf": f"{_DNSMASQ}tftp-root={place}\n",
        "ganesha.conf": _GANESHA.format(root=root),
        "nginx.conf": f"server {{ listen 80; root {place}; }}\n",
    }
    for name, text in files.items():
        (place / name).write_text(text)
    (kernel,) = (root / "boot").glob("vmlinuz-*")
    (place / "vmlinuz").symlink_to(kernel)
    (place / "initrd.img").symlink_to(root / "boot" / kernel.name.replace("vmlinuz", "initrd.img"))
    started = [
        rpcbind(lab),
        ganesha(lab, place / "ganesha.conf"),
        nginx(lab, place / "nginx.conf", user="root"),
        dnsmasq(lab, place / "dnsmasq.conf"),
    ]
    try:
        yield
    finally:
        for program in reversed(started):
            program.stop()
