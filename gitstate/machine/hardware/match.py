"""Which hardware classes a machine is of: pure, from the directory's rules and the modaliases of its PCI devices.

``hooks/boot/archive`` says the same on the machine, with the patterns that we give it.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

from gitstate.directory.model.classes import HardwareClass

_NVIDIA: Final = HardwareClass("nvidia", ("10de:*:03",), 10)
_INTEL: Final = HardwareClass("intel", ("8086:*:03",), 20)
_VIRTUAL: Final = HardwareClass(
    "virtual",
    # Cirrus as QEMU has it, QEMU (std, QXL, virtio), Hyper-V, VMware, VirtualBox.
    ("1013:00b8", "1234:*:03", "1414:*:03", "15ad:*:03", "1af4:*:03", "1b36:*:03", "80ee:*:03"),
    30,
)
SHIPPED: Final = (_NVIDIA, _INTEL, _VIRTUAL)
"""Of the layers that come with gitstate: by the graphics card, one of its own before what the processor has."""

_LEVELS: Final = ("bc", "sc", "i")
"""How a modalias marks a device's base class, subclass and interface."""


class Match(NamedTuple):
    """Why a machine is of a class: the pattern that fits, and the modalias of the device."""

    name: str
    pattern: str
    modalias: str


def modalias_glob(pattern: str) -> str:
    """What the shell compares with modaliases, for a canonical pattern: ``10de:*:03`` -> ``pci:v000010DEd*bc03*``."""
    if pattern.startswith("pci:"):
        return pattern
    vendor, device, kind = [*pattern.upper().split(":"), ""][:3]
    before = f"pci:v{'*' if vendor == '*' else f'0000{vendor}'}d{'*' if device == '*' else f'0000{device}sv*'}"
    levels = [f"{word}{kind[2 * place : 2 * place + 2]}" for place, word in enumerate(_LEVELS) if len(kind) > 2 * place]
    return f"{before}{''.join(levels)}*" if levels else before


def modalias_globs(one: HardwareClass) -> tuple[str, ...]:
    """The patterns of a class as a machine archive has them."""
    return tuple(modalias_glob(pattern) for pattern in one.patterns)


def matches_of(rules: Iterable[HardwareClass], modaliases: Iterable[str], match_all: bool) -> tuple[Match, ...]:
    """The classes of a machine, and why: the first that matches, or with ``match_all`` all. ``rules`` are in order."""
    devices = tuple(modaliases)
    found = []
    for one in rules:
        match = _match(one, devices)
        if match is not None:
            found.append(match)
            if not match_all:
                break
    return tuple(found)


def _match(one: HardwareClass, devices: tuple[str, ...]) -> Match | None:
    for pattern in one.patterns:
        glob = modalias_glob(pattern)
        for device in devices:
            if fnmatchcase(device, glob):
                return Match(one.name, pattern, device)
    return None


def classes_of(rules: Iterable[HardwareClass], modaliases: Iterable[str], match_all: bool) -> tuple[str, ...]:
    """The names of a machine's classes, in their order."""
    return tuple(one.name for one in matches_of(rules, modaliases, match_all))


def in_order(names: Iterable[str], rules: Iterable[HardwareClass]) -> tuple[str, ...]:
    """Names of classes, which a client has as a set, in the order of their rules; those without a rule come last."""
    places = {one.name: place for place, one in enumerate(rules)}
    return tuple(sorted(names, key=lambda name: (places.get(name, len(places)), name)))
