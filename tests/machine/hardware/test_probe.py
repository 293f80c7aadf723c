"""Reports of hardware at the door: what the machine's own program prints goes in, and nothing that is hostile does."""

from __future__ import annotations

import copy
import json
import os
import subprocess
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitstate.core.errors import UsageError
from gitstate.machine.hardware import lspci, probe
from tests.support import PROJECT, needs
from tests.testing.sysfs import MACHINES, plant

SCHEMA: Final = jsonschema.Draft202012Validator(
    json.loads((PROJECT / "schemas" / "probe.schema.json").read_text("utf-8"))
)
GOOD: Final[dict[str, Any]] = {
    "schema": "probe/1",
    "host": "lab3-12",
    "architecture": "x86_64",
    "cpu": "Intel(R) Core(TM) i5-6500 CPU @ 3.20GHz",
    "cpus": 4,
    "memory": 8192000000,
    "dmi": {"sys_vendor": "Dell Inc.", "product_name": 'Opti"Plex\\'},
    "pci": [
        {
            "slot": "0000:01:00.0",
            "vendor": "0x10de",
            "device": "0x1b81",
            "class": "0x030000",
            "modalias": "pci:v000010DEd00001B81sv000019DAsd00001434bc03sc00i00",
        },
        {"slot": "0000:02:00.0", "vendor": None, "device": None, "class": None, "modalias": None},
    ],
    "network": [{"name": "enp0s31f6", "mac": "52:54:00:12:34:56"}],
    "disks": [{"name": "sda", "size": 500107862016, "model": "Samsung", "rotational": False}],
}


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


def changed(*path: str | int, to: object) -> dict[str, Any]:
    value = copy.deepcopy(GOOD)
    inner: Any = value
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = to
    return value


def test_a_good_one_stays_as_it_is() -> None:
    assert probe.parse_report(encoded(GOOD)) == GOOD
    old = {key: value for key, value in GOOD.items() if key != "cpu"}
    assert probe.parse_report(encoded(old)) == old
    assert SCHEMA.is_valid(GOOD)
    assert SCHEMA.is_valid(old)


@needs("dash", "busybox")
@pytest.mark.parametrize("shell", [["dash"], ["busybox", "sh"]], ids=lambda words: words[0])
@pytest.mark.parametrize("machine", MACHINES)
def test_what_a_machine_prints_goes_in(tmp_path: Path, shell: list[str], machine: str) -> None:
    plant(tmp_path / "sys", MACHINES[machine])
    done = subprocess.run(
        [*shell, str(PROJECT / "hooks/client/gitstate"), "probe"],
        env={**os.environ, "GITSTATE_ROOT": str(tmp_path), "GITSTATE_LIB": str(PROJECT / "hooks")},
        capture_output=True,
        check=True,
    )
    report = probe.parse_report(done.stdout)
    assert SCHEMA.is_valid(report)
    assert probe.modaliases(report) == list(MACHINES[machine])


WRONG: Final[dict[str, object]] = {
    "a list": [],
    "null": None,
    "nothing in it": {},
    "another schema": changed("schema", to="probe/2"),
    "a key too many": {**GOOD, "hostname": "x"},
    "a number for a name": changed("host", to=1),
    "NUL": changed("host", to="a\0b"),
    "a newline": changed("cpu", to="a\nb"),
    "an escape": changed("dmi", "sys_vendor", to="\x1b[2J"),
    "not ASCII": changed("dmi", "sys_vendor", to="ü"),
    "half a character": changed("dmi", "sys_vendor", to="\ud800"),
    "a long text": changed("cpu", to="x" * 201),
    "no DMI": changed("dmi", to=None),
    "an unknown DMI": changed("dmi", "motd", to="x"),
    "PCI as a table": changed("pci", to={}),
    "PCI of texts": changed("pci", to=["x"]),
    "too many": changed("pci", to=[GOOD["pci"][1]] * 513),
    "a slot that climbs": changed("pci", 0, "slot", to="../../etc"),
    "a modalias of words": changed("pci", 0, "modalias", to="pci:a b"),
    "a modalias of USB": changed("pci", 0, "modalias", to="usb:v1"),
    "vendor in capitals": changed("pci", 0, "vendor", to="0x10DE"),
    "true for a number": changed("cpus", to=True),
    "less than nothing": changed("memory", to=-1),
    "half a byte": changed("memory", to=0.5),
    "more than anybody has": changed("memory", to=1 << 53),
    "1 for true": changed("disks", 0, "rotational", to=1),
    "a text for a disk": changed("disks", to="sda"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_ones(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        probe.parse_report(encoded(WRONG[name]))
    assert caught.value.hint
    assert len(caught.value.message) < 200
    assert not SCHEMA.is_valid(WRONG[name])


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"\xff\xfe", "UTF-8"),
        (b"\0", "JSON"),
        (b"[" * 60_000, "nested"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "nested"),
        (b"NaN", "NaN"),
        (b'{"schema": "probe/1", "schema": "probe/1"}', "a key twice"),
        (b'{"memory": ' + b"9" * 5000 + b"}", "JSON"),
        (encoded({**GOOD, "cpu": "x" * 70_000}), "64 KiB"),
        (encoded(changed("pci", 0, "slot", to="x")), r"pci\[0\]\.slot is 'x'"),
    ],
)
def test_what_is_no_report(data: bytes, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        probe.parse_report(data)


JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)
PATHS: Final = [
    ("host",),
    ("cpus",),
    ("dmi",),
    ("dmi", "sys_vendor"),
    ("pci",),
    ("pci", 0),
    ("pci", 0, "slot"),
    ("disks",),
]


@given(st.sampled_from(PATHS), JSON)
def test_the_schema_and_the_door_agree(path: tuple[str | int, ...], value: object) -> None:
    report = json.loads(json.dumps(changed(*path, to=value)).replace("NaN", "0").replace("Infinity", "0"))
    try:
        probe.parse_report(encoded(report))
        taken = True
    except UsageError:
        taken = False
    # JSON Schema takes 1.0 for a whole number, and Python's patterns a newline at the end.
    if "." not in str(value) and "\\n" not in repr(value):
        assert taken == SCHEMA.is_valid(report)


def test_what_is_news() -> None:
    assert probe.has_changed(None, GOOD)
    assert not probe.has_changed(GOOD, GOOD)
    assert not probe.has_changed(GOOD, changed("memory", to=8192000000 - 20_000_000))
    assert probe.has_changed(GOOD, changed("memory", to=16384000000))
    assert probe.has_changed(changed("memory", to=None), GOOD)
    assert probe.has_changed(GOOD, changed("pci", to=[]))


def test_the_graphics_card_in_words() -> None:
    assert probe.graphics(GOOD) == ["NVIDIA 10de:1b81"]
    assert probe.graphics(changed("pci", 0, "vendor", to="0xabcd")) == ["abcd:1b81"]


# --- lists of people --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "01:00.0 0300: 10de:1b81 (rev a1)",
        "0000:01:00.0 0300: 10de:1b81",
        "01:00.0 Class 0300: 10de:1b81",
        "01:00.0 VGA compatible controller [0300]: NVIDIA Corporation GP104 [GeForce GTX 1070] [10de:1b81] (rev a1)",
        '01:00.0 "0300" "10de" "1b81" -ra1 "19da" "1434"',
    ],
)
def test_what_lspci_prints(line: str) -> None:
    assert lspci.modaliases(f"{line}\n\tKernel driver in use: x\n\n".encode()) == [
        "pci:v000010DEd00001B81sv00000000sd00000000bc03sc00i00"
    ]


def test_modaliases_and_reports() -> None:
    aliases = MACHINES["intel laptop"]
    assert lspci.modaliases("\n".join(aliases).encode()) == list(aliases)
    assert lspci.modaliases(encoded(GOOD)) == probe.modaliases(GOOD)
    assert lspci.modaliases(b"") == []


@pytest.mark.parametrize("data", [b"nonsense\n", b"00:1f.6 Ethernet controller: Intel\n", b"\xff", b"x" * 70_000, b"{"])
def test_other_lists(data: bytes) -> None:
    with pytest.raises(UsageError):
        lspci.modaliases(data)
