"""PCI devices as people have them in a file: what ``lspci`` prints with numbers, or modaliases; as modaliases."""

from __future__ import annotations

import re
from typing import Final

from gitstate.core.errors import UsageError
from gitstate.machine.hardware import probe

_SLOT: Final = r"(?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]"
_FORMS: Final = tuple(
    re.compile(form)
    for form in (
        rf"{_SLOT} (?:Class )?(?P<kind>[0-9a-f]{{4}}): (?P<vendor>[0-9a-f]{{4}}):(?P<device>[0-9a-f]{{4}})\b.*",
        rf"{_SLOT} [^\[]*\[(?P<kind>[0-9a-f]{{4}})\]: .*\[(?P<vendor>[0-9a-f]{{4}}):(?P<device>[0-9a-f]{{4}})\].*",
        rf'{_SLOT} "(?P<kind>[0-9a-f]{{4}})" "(?P<vendor>[0-9a-f]{{4}})" "(?P<device>[0-9a-f]{{4}})".*',
    )
)
_MODALIAS: Final = re.compile(r"pci:[!-~]{1,150}")


def modaliases(data: bytes) -> list[str]:
    """Those that a report, a list of modaliases, or ``lspci -n``, ``-nn`` or ``-nm`` tells of. Raises UsageError."""
    if data.lstrip()[:1] == b"{":
        return probe.modaliases(probe.parse_report(data))
    if len(data) > probe.LONGEST:
        raise UsageError(f"the list is longer than {probe.LONGEST >> 10} KiB", "leave in it what matters")
    found = []
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        if line.strip() and line[0] not in " \t#":  # what -v and -k say of a device is indented
            found.append(_modalias(line.strip(), number))
    return found


def _modalias(line: str, number: int) -> str:
    if _MODALIAS.fullmatch(line):
        return line
    for form in _FORMS:
        if one := form.fullmatch(line):
            vendor, device, kind = one["vendor"].upper(), one["device"].upper(), one["kind"].upper()
            return f"pci:v0000{vendor}d0000{device}sv00000000sd00000000bc{kind[:2]}sc{kind[2:]}i00"
    raise UsageError(
        f"line {number} tells of no PCI device", "a report, modaliases, or what lspci -n, -nn or -nm prints"
    )
