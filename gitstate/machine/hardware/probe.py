"""What a machine says of its hardware (``gitstate probe`` there); anybody may send anything.

schemas/probe.schema.json comes from the classes here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from gitstate.core.documents import UNSET, Document, Meta, Unset, about, field, parse, plain, read_json
from gitstate.core.errors import UsageError

LONGEST: Final = 64 * 1024
_HINT: Final = "a report is what gitstate probe prints on the machine; schemas/probe.schema.json describes it"
_STEADY: Final = 64
"""Another kernel takes a little more or less of the memory: that is no news."""

# Whatever a machine doesn't tell is null.
Text = Annotated[str, about(what="text of at most 200 printable ASCII characters", pattern="[ -~]{0,200}")] | None
Word = Annotated[str, about(what="a word of at most 64 ASCII characters", pattern="[!-~]{1,64}")] | None
HostName = Annotated[str, about(what="a host name", pattern="[!-~]{0,253}")] | None
Number = Annotated[int, Meta(ge=0, le=(1 << 53) - 1, title="a number from 0 on")] | None  # any reader of JSON holds it
Slot = (
    Annotated[str, about(what="a place on the PCI bus", pattern=r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")] | None
)
Hex4 = Annotated[str, about(what="four hex digits after 0x", pattern="0x[0-9a-f]{4}")] | None
Hex6 = Annotated[str, about(what="six hex digits after 0x", pattern="0x[0-9a-f]{6}")] | None
Modalias = Annotated[str, about(what="a modalias of a PCI device", pattern="pci:[!-~]{1,150}")] | None
Mac = Annotated[str, about(what="an address in hex", pattern="[0-9a-f:]{0,95}")] | None
Snapshot = Annotated[str, about(what="PROTOTYPE@COMMIT", pattern="[!-?A-~]{1,200}@[0-9a-f]{40}")]
Release = Annotated[str, about(what="CHANNEL/VERSION", pattern="[!-~]{1,200}")]
_MANY: Final = Meta(max_length=512, title="a list of at most 512")


class Dmi(Document, frozen=True):
    """What the makers wrote into the machine."""

    sys_vendor: Annotated[Text | Unset, about("Who made the machine.")] = UNSET
    product_name: Annotated[Text | Unset, about("The machine's model.")] = UNSET
    product_version: Annotated[Text | Unset, about("The model's version.")] = UNSET
    product_serial: Annotated[Text | Unset, about("The machine's serial number.")] = UNSET
    product_uuid: Annotated[Text | Unset, about("The machine's UUID.")] = UNSET
    board_vendor: Annotated[Text | Unset, about("Who made the board.")] = UNSET
    board_name: Annotated[Text | Unset, about("The board's model.")] = UNSET
    bios_version: Annotated[Text | Unset, about("The version of the firmware.")] = UNSET


class PciDevice(Document, frozen=True, kw_only=True):
    """A PCI device."""

    slot: Annotated[Slot, about("Its place on the bus.")]
    vendor: Annotated[Hex4, about("Its vendor.")]
    device: Annotated[Hex4, about("Its model.")]
    kind: Annotated[Hex6, about("Its PCI class.")] = field(name="class")
    modalias: Annotated[Modalias, about("The name by which the kernel finds its driver.")]


class Card(Document, frozen=True):
    """A network card."""

    name: Annotated[Word, about("Its name on the machine.")]
    mac: Annotated[Mac, about("Its address.")]


class Disk(Document, frozen=True):
    """A disk."""

    name: Annotated[Word, about("Its name on the machine.")]
    size: Annotated[Number, about("Its size in bytes.")]
    model: Annotated[Text, about("Its model.")]
    rotational: Annotated[bool | None, about("Whether it has rotating platters.")]


class Running(Document, frozen=True):
    """What a machine runs, where the boot hook booted it."""

    snapshot: Annotated[Snapshot, about("The snapshot that it booted: PROTOTYPE@COMMIT.")]
    release: Annotated[Release | None, about("The release that its layers are of; null if it is pinned.")]

    @property
    def prototype(self) -> str:
        """The prototype of that snapshot."""
        return self.snapshot.partition("@")[0]

    @property
    def commit(self) -> bytes:
        """The commit of that snapshot."""
        return bytes.fromhex(self.snapshot.partition("@")[2])

    def __str__(self) -> str:
        snapshot = f"{self.prototype}@{self.commit.hex()[:7]}"
        return f"{snapshot} ({self.release})" if self.release else snapshot


class Report(Document, frozen=True, kw_only=True):
    """What a machine says of its hardware, at most 64 KiB; null for what it doesn't tell."""

    schema: Annotated[Literal["probe/1"], about("The name and version of this shape.")]
    host: Annotated[HostName, about("The machine's name as its kernel has it.")]
    architecture: Annotated[Word, about("The architecture, as uname -m prints it.")]
    cpu: Annotated[Text | Unset, about("The processor's name.")] = UNSET
    cpus: Annotated[Number, about("Processors as the kernel counts them.")]
    memory: Annotated[Number, about("Bytes of memory that the kernel has.")]
    dmi: Annotated[Dmi, about("What the makers wrote into the machine.")]
    pci: Annotated[list[PciDevice], _MANY, about("PCI devices.")]
    network: Annotated[list[Card], _MANY, about("Network cards.")]
    disks: Annotated[list[Disk], _MANY, about("Disks.")]
    running: Annotated[Running | Unset, about("What it runs; left out where no snapshot was booted.")] = UNSET


def parse_report(data: bytes) -> dict[str, Any]:
    """A report of a machine: its values as they are, its keys in one order. Raises UsageError."""
    report: dict[str, Any] = plain(parse(Report, read_json(data, "the report", UsageError, _HINT, LONGEST)))
    return report


def split_running(report: Mapping[str, Any]) -> tuple[dict[str, Any], Running | None]:
    """A report's hardware, and what the machine runs: that changes with each boot, and nothing is rendered from it."""
    hardware = {key: value for key, value in report.items() if key != "running"}
    running = report.get("running")
    return hardware, Running(**running) if running else None


def parse_running(data: bytes) -> Running:
    """What `encode_running` made. Raises UsageError."""
    return parse(Running, read_json(data, "what a machine runs", UsageError, _HINT, LONGEST))


def encode_running(running: Running) -> bytes:
    """What a machine runs, as it is kept."""
    return f"{json.dumps(plain(running))}\n".encode()


def modaliases(report: Mapping[str, Any]) -> list[str]:
    """Those of its PCI devices, in their order."""
    return [one["modalias"] for one in report["pci"] if one["modalias"]]


def has_changed(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> bool:
    """Whether ``new`` tells anything that ``old`` didn't, but for what varies from boot to boot."""
    if old is None:
        return True
    before, after = (old.get("memory") or 0), (new.get("memory") or 0)
    same_memory = abs(before - after) * _STEADY <= max(before, after)
    return not same_memory or {**old, "memory": 0} != {**new, "memory": 0}


_VENDORS: Final = {
    "0x1002": "AMD",
    "0x1013": "Cirrus",
    "0x102b": "Matrox",
    "0x10de": "NVIDIA",
    "0x1234": "QEMU",
    "0x1414": "Microsoft",
    "0x15ad": "VMware",
    "0x1a03": "ASPEED",
    "0x1af4": "virtio",
    "0x1b36": "QEMU",
    "0x80ee": "VirtualBox",
    "0x8086": "Intel",
}
_DISPLAY: Final = "0x03"


def graphics(report: Mapping[str, Any]) -> list[str]:
    """Its display controllers: ``NVIDIA 10de:2489``."""
    found = []
    for one in report["pci"]:
        if (one["class"] or "").startswith(_DISPLAY) and one["vendor"] and one["device"]:
            ids = f"{one['vendor'][2:]}:{one['device'][2:]}"
            found.append(f"{_VENDORS.get(one['vendor'], '')} {ids}".strip())
    return found
