"""The boot hook lays the machine archive over the root, or says why not and leaves it as it was."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

import pytest

from gitstate.core.entry import Kind, Meta
from gitstate.machine.render.models import ArchiveEntry, Variant
from tests.client.harness import CAPABILITY, FILE, SECOND, WHEN, layout, looks, packed, unpacked
from tests.support import computed, needs, root_only
from tests.tree.prepare.test_hook import Initramfs, initramfs

__all__ = ["initramfs"]  # the fixture

pytestmark = [root_only, needs("busybox", "cpio", "setfattr")]


def boot(initramfs: Initramfs, archive: Path, more: str = "") -> str:
    """What the hook says; ``quiet`` isn't on the kernel's line."""
    root = initramfs.place / "root"
    root.mkdir(exist_ok=True)
    (initramfs.place / "run/gitstate").mkdir(exist_ok=True)
    return initramfs(
        f"quiet= gitstate_has_warned=y gitstate_archive= gitstate_state=overlay\n{more}\n"
        f"gitstate_layers {shlex.quote(str(archive))} {shlex.quote(str(root))}"
    )


def test_it_is_laid_over_the_root(initramfs: Initramfs) -> None:
    for name in ("etc/motd", "etc/gone", "etc/d/x", "etc/d/sub/y", "etc/other", "opt/dir/file"):
        initramfs.file(f"root/{name}", "orig")
    root = initramfs.place / "root"
    (root / "etc").chmod(0o710)
    os.chown(root / "etc", 7, 8)
    files = {
        "etc/motd": "lab3",
        "etc/d/new": "new",
        "etc/secret": ArchiveEntry(b"", Meta(Kind.FILE, 0o4640, 3, 42, WHEN * SECOND), b"secret"),
        "etc/link": "-> /nowhere",
        "etc/own": ArchiveEntry(b"", Meta(Kind.DIRECTORY, 0o1750, 5, 6, 0)),
        "usr/bin/ping": ArchiveEntry(
            b"", FILE._replace(mode=0o755, xattrs=((b"security.capability", CAPABILITY),)), b"x"
        ),
        "etc/a b\n\\%d$(reboot)\udcff": "odd",
        "dev/null0": ArchiveEntry(b"", Meta(Kind.CHARACTER, 0o666, 0, 0, 0, (1, 3))),
        "opt/dir": "a file for a directory",
    }
    data = packed(layout(files, removed=("etc/gone", "etc/nothing", "opt/dir"), opaque=("etc/d",)))
    said = boot(initramfs, unpacked(data, initramfs.place / "initrd"))
    assert said == "gitstate: layers: 8 files\n"
    found = looks(root)
    assert found["etc"][:3] == ("0o40710", 7, 8)
    assert found["etc/motd"] == ("0o100644", 0, 0, b"lab3")
    assert found["etc/secret"] == ("0o104640", 3, 42, b"secret")
    assert found["etc/link"][3] == "/nowhere"
    assert found["etc/own"][:3] == ("0o41750", 5, 6)
    assert found["etc/other"][3] == b"orig"
    assert found["etc/a b\n\\%d$(reboot)\udcff"][3] == b"odd"
    assert found["opt/dir"][3] == b"a file for a directory"
    assert {path for path in found if path.startswith("etc/d/")} == {"etc/d/new"}
    assert "etc/gone" not in found
    assert os.listxattr(root / "usr/bin/ping") == ["security.capability"]
    assert int((root / "etc/motd").stat().st_mtime) == WHEN
    kept = initramfs.place / "run/gitstate/machine"
    assert {path.name for path in kept.iterdir()} == {"about", "classes", "list", "reload", "removed", "xattrs"}


def test_without_an_archive_nothing_is_said_unless_one_was_promised(initramfs: Initramfs) -> None:
    nowhere = initramfs.place / "nowhere"
    assert boot(initramfs, nowhere) == ""
    said = boot(initramfs, nowhere, "gitstate_archive=http://10.77.0.1/x.cpio")
    assert said == "gitstate: there is no machine archive: booting without layers\n"


def test_a_truncated_archive_leaves_the_root_as_it_was(initramfs: Initramfs) -> None:
    initramfs.file("root/etc/a", "orig")
    data = packed(layout({"etc/a": "content " * 99, "etc/b": "b", "etc/l": "-> b"}, removed=("etc/b",)))
    before = looks(initramfs.place / "root")
    trailer = data.index(b"TRAILER!!!") - 110
    for number, size in enumerate(range(500, trailer - 8, 397)):
        place = initramfs.place / f"initrd{number}"
        archive = place / "gitstate/machine"
        unpacked_as_far_as_it_goes(data[:size], place)
        said = boot(initramfs, archive, "gitstate_archive=x")
        assert said.startswith(("gitstate: machine archive: ", "gitstate: there is no machine archive"))
        assert len(said.splitlines()) == 1
        assert looks(initramfs.place / "root") == before
    assert not (initramfs.place / "run/gitstate/machine").exists()


def unpacked_as_far_as_it_goes(data: bytes, place: Path) -> None:
    """As the kernel does it: what is there is made, and the last file is cut short."""
    from gitstate.core import cpio
    from gitstate.core.errors import DamagedError

    place.mkdir()
    padded = data + bytes(-len(data) % 4)
    try:
        for member in cpio.members([padded], lambda path: True):
            target = os.path.join(os.fsencode(place), member.path)
            if member.meta.kind is Kind.DIRECTORY:
                os.makedirs(target, exist_ok=True)
            elif member.meta.kind is Kind.SYMLINK:
                os.symlink(member.content, target)
            else:
                Path(os.fsdecode(target)).write_bytes(member.content)
    except DamagedError:
        pass


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda place: (place / "files/etc/b").write_text("c"), "etc/b is missing or damaged"),
        (lambda place: (place / "files/etc/b").unlink(), "is missing or damaged"),
        (lambda place: (place / "files/etc/l").unlink(), "etc/l is missing or damaged"),
        (lambda place: (place / "files/etc/a b").write_text("c"), "etc/a b is missing or damaged"),
        (lambda place: (place / "list").write_text("x"), "its lists are damaged"),
        (lambda place: (place / "checksums").write_text("x\n"), "its lists are damaged"),
        (lambda place: (place / "about").unlink(), "about is missing"),
        (lambda place: (place / "class/intel/files/etc/i").write_text("x"), "etc/i is missing or damaged"),
        (lambda place: shutil.rmtree(place / "class/intel"), "its lists are damaged"),
    ],
)  # fmt: skip
def test_a_damaged_archive_leaves_the_root_as_it_was(initramfs: Initramfs, damage: object, said: str) -> None:
    initramfs.file("root/etc/b", "orig")
    variant = Variant("intel", ("*",), layout({"etc/i": "i"}))
    data = packed(layout({"etc/a b": "odd", "etc/b": "b", "etc/l": "-> b"}), variant)
    archive = unpacked(data, initramfs.place / "initrd")
    damage(archive)  # type: ignore[operator]
    before = looks(initramfs.place / "root")
    told = boot(initramfs, archive)
    assert told.startswith("gitstate: machine archive: ")
    assert told.endswith(f"{said}: booting without layers\n")
    assert looks(initramfs.place / "root") == before


def test_nothing_is_laid_or_removed_through_a_symlink(initramfs: Initramfs) -> None:
    outside = initramfs.file("outside/f", "precious").parent
    initramfs.file("root/etc/plain/x", "orig")
    root = initramfs.place / "root"
    (root / "etc/dir").symlink_to(outside)
    (root / "etc/file").symlink_to(outside / "f")
    (root / "etc/opaque").symlink_to(outside)
    meta = FILE._replace(xattrs=((b"security.capability", CAPABILITY),))
    files = {
        "etc/dir/f": ArchiveEntry(b"", meta, b"evil"),
        "etc/dir/sub/g": "evil",
        "etc/file": "new",
        "etc/plain": "no directory",
        "etc/opaque/x": "x",
        "etc/fine": "fine",
    }
    data = packed(layout(files, removed=("etc/dir/gone", "etc/dir/f"), opaque=("etc/opaque",)))
    said = boot(initramfs, unpacked(data, initramfs.place / "initrd"))
    assert "gitstate: layers: etc/dir is left out: " in said
    assert "gitstate: layers: etc/plain is left out: " in said
    assert looks(outside) == {"f": ("0o100644", 0, 0, b"precious")}
    assert os.listxattr(outside / "f") == []
    found = {path: look[3] for path, look in looks(root).items() if look[3] is not None}
    assert found == {
        "etc/dir": str(outside),
        "etc/file": b"new",
        "etc/plain/x": b"orig",
        "etc/opaque/x": b"x",
        "etc/fine": b"fine",
    }
    kept = (initramfs.place / "run/gitstate/machine/list").read_text()
    assert [line.split()[-1] for line in kept.splitlines()] == ["etc/file", "etc/fine", "etc/opaque/x"]


NVIDIA = "pci:v000010DEd00001C82sv00001043sd00008613bc03sc00i00"
INTEL = "pci:v00008086d00005916sv000017AAsd00002245bc03sc00i00"


@pytest.mark.parametrize(
    ("devices", "every", "laid", "classes"),
    [
        ([], False, {"etc/a": b"common", "etc/b": b"b"}, ""),
        ([INTEL], False, {"etc/a": b"intel", "etc/b": b"b"}, ", for intel"),
        ([NVIDIA], False, {"etc/a": b"nvidia", "etc/n": b"n"}, ", for nvidia"),
        ([NVIDIA, INTEL], False, {"etc/a": b"intel", "etc/b": b"b"}, ", for intel"),
        ([NVIDIA, INTEL], True, {"etc/a": b"nvidia", "etc/n": b"n"}, ", for intel nvidia"),
    ],
)
def test_the_variant_is_chosen_by_pci_ids(
    initramfs: Initramfs, devices: list[str], every: bool, laid: dict[str, bytes], classes: str
) -> None:
    for number, modalias in enumerate(devices):
        initramfs.file(f"sys/bus/pci/devices/0000:00:0{number}.0/modalias", f"{modalias}\n")
    data = packed(
        layout({"etc/a": "common", "etc/b": "b"}),
        Variant("intel", ("pci:v00008086*bc03*",), layout({"etc/a": "intel"})),
        Variant("nvidia", ("pci:v00001002*", "pci:v000010DE*"), layout({"etc/a": "nvidia", "etc/n": "n"}, ("etc/b",))),
        match_all=every,
    )
    said = boot(initramfs, unpacked(data, initramfs.place / "initrd"))
    assert {path: look[3] for path, look in looks(initramfs.place / "root").items() if look[3] is not None} == laid
    assert said == f"gitstate: layers: {len(laid)} files{classes}\n"


def test_what_layers_set_is_not_set_again_and_about_tells_of_them(initramfs: Initramfs) -> None:
    data = packed(layout({"etc/hosts": "127.0.0.1 lab3\n", "etc/hostname": "mine\n"}))
    archive = unpacked(data, initramfs.place / "initrd")
    root = initramfs.place / "root"
    out = boot(
        initramfs,
        archive,
        "gitstate_host=lab3-12 gitstate_domain= gitstate_dns=' 10.77.0.1' gitstate_interface=eth0 gitstate_epoch=0 "
        "gitstate_snapshot=desktop@12 gitstate_release=lab3/7 gitstate_server=1.2.3.4 gitstate_path=/x gitstate_nfs=3 "
        "gitstate_address= gitstate_overlay_size=50%\ngitstate_protect_interface() { :; }\ngitstate_mac() { :; }\n"
        f"rootmnt={root}; trap 'gitstate_machine {root}' EXIT\n",
    )
    assert out == "gitstate: layers: 2 files\n"
    assert (root / "etc/hosts").read_text() == "127.0.0.1 lab3\n"
    assert (root / "etc/hostname").read_text() == "mine\n"
    assert "nameserver 10.77.0.1" in (root / "etc/resolv.conf").read_text()
    about = (initramfs.place / "run/gitstate/about").read_text()
    assert "RELEASE=lab3/7\n" in about
    assert about.count("RELEASE=") == 1
    assert f"LAYER_2='host/lab3-12 {'ef' * 20}'\n" in about
    kept = looks(initramfs.place / "run/gitstate/written")
    assert kept["etc/resolv.conf"] == looks(root)["etc/resolv.conf"]
    assert {"etc/hosts", "etc/hostname"}.isdisjoint(kept)


def test_the_snapshot_s_attributes_are_kept_for_drift_without_layers_too(initramfs: Initramfs) -> None:
    text = "# file: usr/bin/ping\nsecurity.capability=0sAQ\n"
    initramfs.file("initrd/gitstate/xattrs", text)
    boot(initramfs, initramfs.place / "initrd/gitstate/machine")
    assert (initramfs.place / "run/gitstate/xattrs").read_text() == text


def test_lines_of_about_that_a_shell_would_run_are_left_out(initramfs: Initramfs) -> None:
    initramfs.file("run/gitstate/machine/classes", "a b \n")
    initramfs.file("run/gitstate/machine/about", "A='x'; reboot\nB=$(reboot)\nC='it'\\''s'\nD='a'b'\nHOST='x'\n")
    assert initramfs("gitstate_about_layers") == "C='it'\\''s'\nCLASSES='a b'\n"


def test_five_hundred_files_are_laid_in_no_time(initramfs: Initramfs) -> None:
    files = {f"etc/d{number % 40}/sub/f{number}": bytes([number % 256]) * 2000 for number in range(500)}
    archive = unpacked(packed(layout(files)), initramfs.place / "initrd")
    start = computed()
    boot(initramfs, archive)
    assert computed() - start < 1  # 0.05 s
    assert len([look for look in looks(initramfs.place / "root").values() if look[3]]) == 500


def test_any_name_is_a_name(initramfs: Initramfs) -> None:
    names = [bytes([byte]) for byte in range(1, 256) if byte not in b"./"]
    names += [b"-n", b"-rf", b"%s%n", b"a\n", b"\n\n", b" a ", b"*", b"x" * 255, b"'\"`$(reboot)", b"\\101", b"w x"]
    files = {os.fsdecode(b"etc/" + name): name for name in names}
    for name in names:
        if name != b"\\101":
            initramfs.file(os.fsdecode(b"root/gone/" + name))
    gone = tuple(os.fsdecode(b"gone/" + name) for name in names)
    said = boot(initramfs, unpacked(packed(layout(files, removed=gone)), initramfs.place / "initrd"))
    assert said == f"gitstate: layers: {len(files)} files\n"
    found = looks(initramfs.place / "root")
    assert {path: look[3] for path, look in found.items() if look[3] is not None} == files
