"""PCI devices of machines as sysfs has them: recorded where the machine stands, or by people who asked about theirs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

MACHINES: Final = {
    "nvidia desktop": (
        "pci:v00008086d0000191Fsv00001458sd00005000bc06sc00i00",
        "pci:v000010DEd00001B81sv000019DAsd00001434bc03sc00i00",
        "pci:v000010DEd000010F0sv000019DAsd00001434bc04sc03i00",
        "pci:v00008086d000015B8sv00001458sd0000E000bc02sc00i00",
    ),
    "intel laptop": (
        "pci:v00008086d00000A04sv000017AAsd00002214bc06sc00i00",
        "pci:v00008086d00000A16sv000017AAsd00002214bc03sc00i00",
        "pci:v00008086d00009C20sv000017AAsd00002214bc04sc03i00",
        "pci:v00008086d0000155Asv000017AAsd00002214bc02sc00i00",
    ),
    "two graphics cards": (
        "pci:v00008086d00001910sv00001043sd00001C5Dbc06sc00i00",
        "pci:v00008086d0000191Bsv00001043sd00001C5Dbc03sc00i00",
        "pci:v000010DEd0000139Bsv00001043sd00001C5Dbc03sc02i00",
        "pci:v000010ECd00008168sv00001043sd0000200Fbc02sc00i00",
    ),
    "QEMU, virtio": (
        "pci:v00008086d000029C0sv00001AF4sd00001100bc06sc00i00",
        "pci:v00001AF4d00001050sv00001AF4sd00001100bc03sc00i00",
        "pci:v00001AF4d00001041sv00001AF4sd00001100bc02sc00i00",
    ),
    "QEMU, standard": (
        "pci:v00008086d00001237sv00001AF4sd00001100bc06sc00i00",
        "pci:v00001234d00001111sv00001AF4sd00001100bc03sc00i00",
        "pci:v00008086d0000100Esv00001AF4sd00001100bc02sc00i00",
    ),
    "QEMU, Cirrus": (
        "pci:v00008086d00001237sv00001AF4sd00001100bc06sc00i00",
        "pci:v00001013d000000B8sv00001AF4sd00001100bc03sc00i00",
    ),
    "QEMU without a screen": (
        "pci:v00008086d00000D57sv00000000sd00000000bc06sc00i00",
        "pci:v00001AF4d00001045sv00001AF4sd00001045bcFFscFFi00",
        "pci:v00001AF4d00001042sv00001AF4sd00001042bc01sc80i00",
        "pci:v00001AF4d00001041sv00001AF4sd00001041bc02sc00i00",
    ),
    "no PCI at all": (),
}
_PARTS: Final = re.compile("pci:v0000(....)d0000(....)sv0000....sd0000....bc(..)sc(..)i(..)")


def plant(sys: Path, modaliases: Iterable[str]) -> None:
    """Make the part of ``/sys`` that tells of PCI devices."""
    for number, modalias in enumerate(modaliases):
        device = sys / "bus" / "pci" / "devices" / f"0000:{number // 32:02x}:{number % 32:02x}.0"
        device.mkdir(parents=True)
        (device / "modalias").write_text(f"{modalias}\n")
        if found := _PARTS.fullmatch(modalias):
            vendor, device_, *kind = (word.lower() for word in found.groups())
            (device / "vendor").write_text(f"0x{vendor}\n")
            (device / "device").write_text(f"0x{device_}\n")
            (device / "class").write_text(f"0x{''.join(kind)}\n")
