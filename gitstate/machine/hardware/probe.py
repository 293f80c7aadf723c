"""What a machine says of its hardware (``gitstate probe`` there), parsed at the door: who sends it may be anybody."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from gitstate.core.errors import UsageError

LONGEST: Final = 64 * 1024
SCHEMA: Final = "probe/1"
_HINT: Final = "a report is what gitstate probe prints on the machine; schemas/probe.schema.json tells its shape"
_MOST: Final = 512
"""Devices of one kind."""
_LARGEST: Final = (1 << 53) - 1
"""What every reader of JSON can hold."""
_STEADY: Final = 64
"""Another kernel takes a little more or less of the memory: that is no news."""

Parse = Callable[[object], Any]


class _ReportError(ValueError):
    """What is wrong with which value; the places above it are put before it on the way up."""

    def __init__(self, what: str, place: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.place = place

    def below(self, place: str) -> _ReportError:
        """The same, seen from one level above."""
        return _ReportError(self.what, f"{place}.{self.place}" if self.place else place)


def parse(data: bytes) -> dict[str, Any]:
    """A report of a machine: its values as they are, its keys in one order. Raises UsageError."""
    if len(data) > LONGEST:
        raise UsageError(f"the report is longer than {LONGEST >> 10} KiB", _HINT)
    try:
        found = json.loads(data.decode(), object_pairs_hook=_object, parse_constant=_constant)
        return _report(found)
    except UnicodeDecodeError:
        raise UsageError("the report is not UTF-8", _HINT) from None
    except RecursionError:
        raise UsageError("the report is nested too deeply", _HINT) from None
    except _ReportError as wrong:
        raise UsageError(f"the report: {wrong.place or 'it'} {wrong.what}", _HINT) from None
    except ValueError as error:
        raise UsageError(f"the report is no JSON: {str(error)[:100]}", _HINT) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _ReportError("has a key twice")
    return found


def _constant(name: str) -> Any:
    raise _ReportError(f"has {name}, which is no JSON")


# --- values -----------------------------------------------------------------------------------------------------------


def _text(pattern: str, what: str) -> Parse:
    shape = re.compile(pattern)

    def read(value: object) -> Any:
        if value is not None and (not isinstance(value, str) or not shape.fullmatch(value)):
            raise _ReportError(f"is not {what}")
        return value

    return read


def _number(value: object) -> Any:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _LARGEST):
        raise _ReportError("is not a number from 0 on")
    return value


def _switch(value: object) -> Any:
    if value is not None and not isinstance(value, bool):
        raise _ReportError("is not true, false or null")
    return value


def _table(fields: Mapping[str, Parse], optional: Iterable[str] = ()) -> Parse:
    may_lack = frozenset(optional)

    def read(value: object) -> Any:
        if not isinstance(value, dict):
            raise _ReportError("is not an object")
        for key in value:
            if key not in fields:
                raise _ReportError(f"has the key {ascii(key)[:60]}, which no report has")
        found = {}
        for key, field in fields.items():
            if key in value:
                try:
                    found[key] = field(value[key])
                except _ReportError as wrong:
                    raise wrong.below(key) from None
            elif key not in may_lack:
                raise _ReportError(f"has no {key}")
        return found

    return read


def _list(of: Parse) -> Parse:
    def read(value: object) -> Any:
        if not isinstance(value, list) or len(value) > _MOST:
            raise _ReportError(f"is not a list of at most {_MOST}")
        found = []
        for place, one in enumerate(value):
            try:
                found.append(of(one))
            except _ReportError as wrong:
                raise wrong.below(str(place)) from None
        return found

    return read


def _schema(value: object) -> str:
    if value != SCHEMA:
        raise _ReportError(f'is not "{SCHEMA}"')
    return SCHEMA


_PLAIN: Final = _text(r"[ -~]{0,200}", "text of at most 200 printable ASCII characters")
_WORD: Final = _text(r"[!-~]{1,64}", "a word of at most 64 ASCII characters")
_REPORT: Final = _table(
    {
        "schema": _schema,
        "host": _text(r"[!-~]{0,253}", "a host name"),
        "architecture": _WORD,
        "cpu": _PLAIN,
        "cpus": _number,
        "memory": _number,
        "dmi": _table(
            dmi := {
                f"{key}": _PLAIN
                for key in (
                    *("sys_vendor", "product_name", "product_version", "product_serial", "product_uuid"),
                    *("board_vendor", "board_name", "bios_version"),
                )
            },
            dmi,
        ),
        "pci": _list(
            _table(
                {
                    "slot": _text(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", "a place on the PCI bus"),
                    "vendor": _text(r"0x[0-9a-f]{4}", "four hex digits after 0x"),
                    "device": _text(r"0x[0-9a-f]{4}", "four hex digits after 0x"),
                    "class": _text(r"0x[0-9a-f]{6}", "six hex digits after 0x"),
                    "modalias": _text(r"pci:[!-~]{1,150}", "a modalias of a PCI device"),
                }
            )
        ),
        "network": _list(_table({"name": _WORD, "mac": _text(r"[0-9a-f:]{0,95}", "an address in hex")})),
        "disks": _list(_table({"name": _WORD, "size": _number, "model": _PLAIN, "rotational": _switch})),
    },
    ("cpu",),
)


def _report(value: object) -> dict[str, Any]:
    found: dict[str, Any] = _REPORT(value)
    return found


# --- what is made of it -----------------------------------------------------------------------------------------------


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
