"""Real firmware and real iPXE run the rendered scripts, up to the place where the kernel would start.

The kernel is an iPXE script: it shows what was loaded, and with which words. Whole boots are in tests/lab.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from gitstate.boot.plan import machine_id
from gitstate.boot.render import Renderer
from tests.boot.harness import COMMIT, MAC, OWN, UUID, BootPlan, client, image, options, render
from tests.lab.guest import Firmware, Guest
from tests.lab.netlab import BRIDGE, SERVER, NetLab, netlab
from tests.lab.servers import foreign_dhcp, nginx, router
from tests.support import needs, root_only

pytestmark = [
    pytest.mark.lab,
    root_only,
    needs("dnsmasq", "nginx", "qemu-system-x86_64", "ip", "unshare", "nsenter"),
    pytest.mark.xdist_group("boot-scripts"),
]

LOADERS: Final = Path("/usr/lib/ipxe")
SECONDS: Final = 90
KERNEL: Final = "#!ipxe\necho\nimgstat\necho words: ${client}\necho the kernel starts\nsleep 600\n"


@contextmanager
def site(lab: NetLab, *, away: bool = False, **table: Any) -> Iterator[tuple[Path, Renderer]]:
    """A site with one snapshot and no client, served as the options say; ``away``: but not by HTTP."""
    with tempfile.TemporaryDirectory(prefix="gitstate-boot-") as name:
        place = Path(name)
        place.chmod(0o711)
        found = options(interface=BRIDGE, server=SERVER, group="www-data", etc=str(place / "etc"), **table)
        for path, text in render(BootPlan(place, UUID, found, (image(has_caps=True),))).items():
            write(place / path, text)
        for loader in ("undionly.kpxe", "snponly.efi"):
            shutil.copy(LOADERS / loader, place / "tftp" / "boot")
        for file in ("vmlinuz", "initrd.img", "caps.cpio"):
            write(place / "tftp" / "desktop" / COMMIT / file, KERNEL if file == "vmlinuz" else file)
        (place / "log").mkdir()
        log = place / "log" / "dnsmasq.log"
        lab.start(
            *("dnsmasq", "-k", "--pid-file", f"--conf-file={place}/etc/gitstate/dnsmasq.conf"),
            ready=lambda _: log.exists() and "TFTP root" in log.read_text(),
            log=log,
        )
        if found.http and not away:
            nginx(lab, place / "etc" / "nginx" / "conf.d" / "gitstate.conf")
        yield place, Renderer(place, UUID, found)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def make_known(place: Path, renderer: Renderer) -> None:
    for path, text in renderer.client_files(client(arguments=("single",))).items():
        write(place / path, text)


def check_start(guest: Guest) -> None:
    """Both initrds are there, in order, and the client's own words. Of itself a kernel can't see the line here."""
    guest.wait_for("the kernel starts", SECONDS)
    assert re.search(r"caps\.cpio : 9 bytes.*\s+initrd\.img : 10 bytes", guest.console), guest.console
    words = f"words: gitstate.host=lab3-12 systemd.machine_id={machine_id(UUID, 'lab3-12')} single"
    assert words.replace(" ", "") in re.sub(r"\s", "", guest.console), guest.console


@pytest.mark.parametrize("firmware", [Firmware.BIOS, Firmware.UEFI], ids=["iPXE in a BIOS", "PXE of UEFI"])
def test_beside_another_dhcp_server(firmware: Firmware) -> None:
    with netlab() as lab, site(lab) as (place, renderer), foreign_dhcp(lab):
        router(lab)
        make_known(place, renderer)
        guest = lab.boot(MAC, firmware=firmware, rom=firmware is Firmware.BIOS, memory=512)
        check_start(guest)
        assert ("NBP filename is boot/snponly.efi" in guest.console) == (firmware is Firmware.UEFI)
        assert f"http://{SERVER}:80/boot/mac/{MAC.replace(':', '-')}.ipxe... ok" in guest.console
        assert "/mac/" not in (place / "log" / "dnsmasq.log").read_text()


def test_http_is_away_and_a_machine_becomes_known() -> None:
    with netlab() as lab, site(lab, away=True, **OWN) as (place, renderer):
        router(lab)
        guest = lab.boot(MAC, memory=512)
        guest.wait_for("This machine is not known to gitstate on 10.77.0.1.", SECONDS)
        guest.wait_for(f"Its MAC address is {MAC}", SECONDS)
        make_known(place, renderer)
        check_start(guest)


def test_by_tftp_alone_and_a_kernel_that_is_missing() -> None:
    with netlab() as lab, site(lab, http=False, **OWN) as (place, renderer):
        router(lab)
        make_known(place, renderer)
        kernel = place / "tftp" / "desktop" / COMMIT / "vmlinuz"
        kernel.rename(place / "elsewhere")
        guest = lab.boot(MAC, memory=512)
        guest.wait_for(rf"This machine \({MAC}\) is known to gitstate, but", SECONDS)
        assert "not known" not in guest.console
        (place / "elsewhere").rename(kernel)
        check_start(guest)
