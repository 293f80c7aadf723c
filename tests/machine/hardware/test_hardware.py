"""Hardware classes: patterns, and the same answer from us and from the shell that a machine runs at boot."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitstate.core.errors import UsageError
from gitstate.directory.model.classes import HardwareClass, normalized, order_number, pattern
from gitstate.machine.archives import content as archive
from gitstate.machine.hardware.match import SHIPPED, classes_of, in_order, matches_of, modalias_glob, modalias_globs
from gitstate.machine.render.models import Archive, Layout, Variant
from tests.support import PROJECT, needs
from tests.testing.sysfs import MACHINES, plant

SHELLS: Final = [["dash"], ["busybox", "sh"]]
FIRST: Final = {
    "nvidia desktop": ("nvidia",),
    "intel laptop": ("intel",),
    "two graphics cards": ("nvidia",),
    "QEMU, virtio": ("virtual",),
    "QEMU, standard": ("virtual",),
    "QEMU, Cirrus": ("virtual",),
    "QEMU without a screen": (),
    "no PCI at all": (),
}
ALL: Final = FIRST | {"two graphics cards": ("nvidia", "intel")}


def by_shell(shell: Sequence[str], place: Path, rules: Iterable[HardwareClass], every: bool) -> tuple[str, ...]:
    """What ``hooks/boot/archive`` says, of an archive that was made with our patterns."""
    variants = tuple(Variant(one.name, modalias_globs(one), Layout()) for one in rules)
    made = b"".join(archive.write(Archive({"HOST": "x"}, Layout(), variants, every)))
    folder = place / "unpacked"
    folder.mkdir()
    subprocess.run(["cpio", "-idm", "--quiet"], input=made, cwd=folder, check=True, capture_output=True)
    script = '. "$1"; gitstate_sys=$2; gitstate_classes "$3"'
    words = [str(PROJECT / "hooks/boot/archive"), str(place / "sys"), str(folder / "gitstate/machine")]
    done = subprocess.run([*shell, "-euc", script, "sh", *words], check=True, capture_output=True, text=True)
    return tuple(done.stdout.splitlines())


@needs("cpio", "dash", "busybox")
@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("every", [False, True], ids=["first", "all"])
def test_what_comes_with_gitstate(tmp_path: Path, shell: list[str], machine: str, every: bool) -> None:
    plant(tmp_path / "sys", MACHINES[machine])
    expected = (ALL if every else FIRST)[machine]
    assert classes_of(SHIPPED, MACHINES[machine], every) == expected
    assert by_shell(shell, tmp_path, SHIPPED, every) == expected


IDS: Final = st.sampled_from(["10de", "8086", "1af4", "0bc0", "dbc0", "d5bc"])
PARTS: Final = st.sampled_from(["*", "10*", "*0", "?0de", "80?6", "d*", "0b*0", "????", "bc*"])
KINDS: Final = st.sampled_from(["", ":03", ":0300", ":030000", ":0?", ":*", ":02", ":bc"])


@st.composite
def rules(draw: st.DrawFn) -> list[HardwareClass]:
    texts = st.builds(lambda *parts: "{}:{}{}".format(*parts), IDS | PARTS, IDS | PARTS, KINDS)
    found = draw(st.lists(st.lists(texts, min_size=1, max_size=3), min_size=1, max_size=4))
    return [normalized(HardwareClass(f"c{number}", tuple(some), number)) for number, some in enumerate(found)]


@st.composite
def devices(draw: st.DrawFn) -> list[tuple[str, str, str]]:
    kinds = st.sampled_from(["030000", "038000", "020000", "ffffff", "bc0300"])
    return draw(st.lists(st.tuples(IDS, IDS, kinds), max_size=4))


def modalias(vendor: str, device: str, kind: str) -> str:
    base, sub, interface = (kind[place : place + 2].upper() for place in (0, 2, 4))
    return f"pci:v0000{vendor.upper()}d0000{device.upper()}sv0000BC03sd0000D123bc{base}sc{sub}i{interface}"


@needs("cpio", "dash")
@settings(max_examples=60, deadline=None)
@given(rules(), devices(), st.booleans())
def test_we_and_the_machine_agree(some: list[HardwareClass], own: list[tuple[str, str, str]], every: bool) -> None:
    aliases = [modalias(*one) for one in own]
    with tempfile.TemporaryDirectory() as made:
        place = Path(made)
        plant(place / "sys", aliases)
        assert by_shell(SHELLS[0], place, some, every) == classes_of(some, aliases, every)


@given(rules(), devices())
def test_a_pattern_means_its_three_parts(some: list[HardwareClass], own: list[tuple[str, str, str]]) -> None:
    """Each part by itself, read as people read it: no star reaches beyond its own field."""
    from fnmatch import fnmatchcase

    for one in some:
        for text in one.patterns:
            vendor, device, kind = [*text.split(":"), "*"][:3]
            for ids in own:
                meant = all(
                    fnmatchcase(have, want) for have, want in zip(ids, (vendor, device, f"{kind}*"), strict=True)
                )
                assert bool(matches_of([HardwareClass("x", (text,))], [modalias(*ids)], True)) == meant, (text, ids)


# --- patterns ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "canonical", "glob"),
    [
        ("10de:*", "10de:*", "pci:v000010DEd*"),
        ("10DE:2489", "10de:2489", "pci:v000010DEd00002489sv*"),
        ("0x10de:0x2489:0x03", "10de:2489:03", "pci:v000010DEd00002489sv*bc03*"),
        ("10de:*:03", "10de:*:03", "pci:v000010DEd*bc03*"),
        ("10de:24*:0300", "10de:24*:0300", "pci:v000010DEd000024*sv*bc03sc00*"),
        ("*:*:0C0330", "*:*:0c0330", "pci:v*d*bc0Csc03i30*"),
        ("1af4:10??:*", "1af4:10??", "pci:v00001AF4d000010??sv*"),
        ("pci:v000010DEd*sv*sd*bc03*", "pci:v000010DEd*sv*sd*bc03*", "pci:v000010DEd*sv*sd*bc03*"),
    ],
)
def test_patterns(text: str, canonical: str, glob: str) -> None:
    assert pattern(text) == canonical
    assert pattern(canonical) == canonical
    assert modalias_glob(canonical) == glob


@pytest.mark.parametrize(
    "text",
    [
        *("", "10de", "10de:", ":2489", "10de:24891", "10d:*", "10de:2**", "10de:*:3", "10de:*:", "10de:*:03:00"),
        *("nvidia:*", "10de:*\n", " 10de:*", "10de:[0-9]*", "pci:", "pci:v000010ded*", "pci:v000010DE", "PCI:v*"),
        *("pci:v*;reboot*", "pci:v* *", "usb:v056A*", f"pci:{'*' * 300}"),
    ],
    ids=repr,
)
def test_no_patterns(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        pattern(text)
    assert caught.value.hint


def test_a_class_is_normal() -> None:
    assert normalized(HardwareClass("x", ("1af4:*", "10DE:*", "10de:*"))) == HardwareClass("x", ("10de:*", "1af4:*"))
    for bad in (
        HardwareClass("x", ()),
        HardwareClass("../x", ("10de:*",)),
        HardwareClass("x", ("10de:*",), -1),
        HardwareClass("x", ("10de:*",), 10_000),
        HardwareClass("x", tuple(f"10de:{number:04x}" for number in range(65))),
    ):
        with pytest.raises(UsageError):
            normalized(bad)
    for text in ("", "01", "-1", "x", "10000", "1.0"):
        with pytest.raises(UsageError):
            order_number(text)


def test_the_order_of_rules_is_that_of_names() -> None:
    assert in_order(("intel", "nvidia", "other", "a"), SHIPPED) == ("nvidia", "intel", "a", "other")
