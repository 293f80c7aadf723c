"""A hardware class, which its rule tells by what is on the PCI bus, and <-> the attributes of its entry."""

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
    """The machines that have a PCI device which one of ``patterns`` fits; they get the layer ``class/NAME``.

    Patterns are a set, in their canonical form. Of several classes those of a lower ``order`` come first.
    """

    name: str
    patterns: tuple[str, ...]
    order: int = DEFAULT_ORDER


def pattern(text: str) -> str:
    """``VENDOR:DEVICE[:CLASS]`` in hex, or a pattern for modaliases; in its canonical form. Raises UsageError."""
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
    """A place among classes: 0 comes first, 9999 last. Raises UsageError."""
    if not _ORDER.fullmatch(text):
        raise UsageError(f"{text[:60]!r} is not an order number", f"from 0, which comes first, to {_LAST}")
    return int(text)


def normalized(one: HardwareClass) -> HardwareClass:
    """A class with its patterns as a set. Raises UsageError for what no class can be."""
    class_name(one.name)
    patterns = tuple(sorted({pattern(text) for text in one.patterns}))
    if not patterns:
        raise UsageError(f"the class {one.name} has no pattern", _HINT)
    if len(patterns) > _MOST:
        raise UsageError(f"the class {one.name} has {len(patterns)} patterns", f"at most {_MOST}; * stands for many")
    return HardwareClass(one.name, patterns, order_number(str(one.order)))


def no_such_class(name: str, classes: Iterable[str]) -> NotFoundError:
    """The error for a name that no hardware class has, with the nearest that one has."""
    return NotFoundError(
        f"no hardware class {name}", did_you_mean(nearest(name, classes), "gitstate class list shows what there is")
    )


def entry_of(one: HardwareClass, current: Entry | None = None) -> dict[str, list[bytes]]:
    """The entry of a class; what ``current``, the entry it had, holds besides stays."""
    entry = {name: list(values) for name, values in (current or {}).items() if name not in _OURS}
    values: dict[str, tuple[str, ...]] = {
        "cn": (one.name,),
        "objectClass": (_CLASS,),
        "gitstateOrder": (str(one.order),),
        "gitstatePciRule": one.patterns,
    }
    return entry | {name: [value.encode() for value in some] for name, some in values.items()}


def class_of(name: str, entry: Entry) -> HardwareClass:
    """The hardware class ``name`` that ``entry`` tells of. Raises Fault."""
    if _CLASS.lower().encode() not in {one.lower() for one in entry.get("objectClass", ())}:
        raise EntryError(f"the class {_CLASS} is missing", "objectClass")
    if name.encode() not in entry.get("cn", ()):
        raise EntryError(f"cn is not {name}", "cn")
    for place, value in enumerate(entry.get("gitstatePciRule", ())):
        try:
            pattern(value.decode("utf-8", "replace"))
        except UsageError as fault:
            raise EntryError(f"gitstatePciRule: {fault}", "gitstatePciRule", place) from None
    texts = tuple(value.decode("utf-8", "replace") for value in entry.get("gitstatePciRule", ()))
    number = entry.get("gitstateOrder", [str(DEFAULT_ORDER).encode()])[0].decode("utf-8", "replace")
    try:
        return normalized(HardwareClass(name, texts, order_number(number)))
    except UsageError as fault:
        raise EntryError(str(fault), "gitstateOrder") from None
