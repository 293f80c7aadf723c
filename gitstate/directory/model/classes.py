"""A hardware class, defined by PCI devices, and its conversion from and to an entry."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gitstate.core.errors import NotFoundError, UsageError
from gitstate.core.wording import did_you_mean, nearest
from gitstate.directory.model.clients import class_name
from gitstate.directory.model.entries import Entry, EntryError

DEFAULT_ORDER: Final = 50
_LAST: Final = 9999
_CLASS: Final = "gitstateClass"
_OURS: Final = frozenset({"cn", "objectClass", "gitstatePciRule", "gitstateOrder"})
_ORDER: Final = re.compile("0|[1-9][0-9]{0,3}")
_MOST: Final = 64
"""Patterns of one class: a boot looks at each for each device."""

_ID: Final = r"(?:0x)?(?:[0-9a-f?]{4}|(?=[^:]{1,4}(?::|\Z))[0-9a-f?]*\*[0-9a-f?]*)"
_SHORT: Final = re.compile(rf"{_ID}:{_ID}(?::(?:\*|(?:0x)?(?:[0-9a-f?]{{2}}){{1,3}}))?")
_MODALIAS: Final = re.compile(r"pci:[0-9A-Fvdsbci?*]{1,150}(?:\*|i[0-9A-F?]{2})")
_HINT: Final = "VENDOR:DEVICE[:CLASS] in hex, as lspci -nn shows them: 10de:*:03, any display controller of 10de"


@dataclass(frozen=True, slots=True)
class HardwareClass:
    """Machines with a PCI device that matches one of ``patterns``; they get the layer ``class/NAME``.

    Patterns are canonical and sorted. Classes with a lower ``order`` come first.
    """

    name: str
    patterns: tuple[str, ...]
    order: int = DEFAULT_ORDER


def pattern(text: str) -> str:
    """Parse ``VENDOR:DEVICE[:CLASS]`` in hex, or a modalias pattern, into canonical form. Raises UsageError."""
    if text.startswith("pci:"):
        if not _MODALIAS.fullmatch(text):
            hint = "as in /sys/bus/pci/devices/*/modalias, hex in capitals, ended by *: pci:v000010DEd*bc03*"
            raise UsageError(f"{text[:80]!r} is not a pattern for modaliases", hint)
        return text
    low = text.lower()
    if not _SHORT.fullmatch(low):
        raise UsageError(f"{text[:80]!r} is not a pattern for PCI devices", _HINT)
    parts = [part.removeprefix("0x") for part in low.split(":")]
    return ":".join(parts[:2] if parts[2:] == ["*"] else parts)


def order_number(text: str) -> int:
    """Parse an order number: 0 comes first, 9999 last. Raises UsageError."""
    if not _ORDER.fullmatch(text):
        raise UsageError(f"{text[:60]!r} is not an order number", f"from 0, which comes first, to {_LAST}")
    return int(text)


def normalized(one: HardwareClass) -> HardwareClass:
    """Return a class with canonical, sorted patterns. Raises UsageError."""
    class_name(one.name)
    patterns = tuple(sorted({pattern(text) for text in one.patterns}))
    if not patterns:
        raise UsageError(f"the class {one.name} has no pattern", _HINT)
    if len(patterns) > _MOST:
        raise UsageError(f"the class {one.name} has {len(patterns)} patterns", f"at most {_MOST}; * stands for many")
    return HardwareClass(one.name, patterns, order_number(str(one.order)))


def no_such_class(name: str, classes: Iterable[str]) -> NotFoundError:
    """Return the error for an unknown hardware class, with similar names."""
    hint = did_you_mean(nearest(name, classes), "gitstate class list shows what there is")
    return NotFoundError(f"no hardware class {name}", hint)


def entry_of(one: HardwareClass, current: Entry | None = None) -> dict[str, list[bytes]]:
    """Return the entry of a hardware class; other attributes of ``current`` are kept."""
    entry = {name: list(values) for name, values in (current or {}).items() if name not in _OURS}
    values: dict[str, tuple[str, ...]] = {
        "cn": (one.name,),
        "objectClass": (_CLASS,),
        "gitstateOrder": (str(one.order),),
        "gitstatePciRule": one.patterns,
    }
    return entry | {name: [value.encode() for value in some] for name, some in values.items()}


def class_of(name: str, entry: Entry) -> HardwareClass:
    """Read the hardware class ``name`` from its entry. Raises EntryError."""
    if _CLASS.lower().encode() not in {one.lower() for one in entry.get("objectClass", ())}:
        raise EntryError(f"the class {_CLASS} is missing", "objectClass")
    if name.encode() not in entry.get("cn", ()):
        raise EntryError(f"cn is not {name}", "cn")
    for place, value in enumerate(entry.get("gitstatePciRule", ())):
        try:
            pattern(value.decode("utf-8", "replace"))
        except UsageError as error:
            raise EntryError(f"gitstatePciRule: {error}", "gitstatePciRule", place) from None
    texts = tuple(value.decode("utf-8", "replace") for value in entry.get("gitstatePciRule", ()))
    number = entry.get("gitstateOrder", [str(DEFAULT_ORDER).encode()])[0].decode("utf-8", "replace")
    try:
        return normalized(HardwareClass(name, texts, order_number(number)))
    except UsageError as error:
        raise EntryError(str(error), "gitstateOrder") from None
