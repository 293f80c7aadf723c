"""relayer: the current layers on a running machine, and nothing but them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from gitstate.core.entry import Kind, Meta
from gitstate.machine.render.models import ArchiveEntry, Reload, Variant
from tests.client.harness import CAPABILITY, FILE, SECOND, WHEN, Machine, layout, looks, packed
from tests.support import PROJECT, root_only

pytestmark = root_only


def test_it_lays_what_the_archive_has(machine: Machine) -> None:
    machine.has({"etc/motd": "orig\n", "etc/cups/client.conf": "orig\n", "etc/other": "other\n"})
    secret = ArchiveEntry(b"", Meta(Kind.FILE, 0o4640, 3, 42, WHEN * SECOND), b"secret")
    machine.serve(
        packed(
            layout(
                {
                    "etc/motd": "lab3\n",
                    "etc/new/deep/file": "x",
                    "etc/secret": secret,
                    "etc/link": "-> new/deep",
                    "etc/empty": ArchiveEntry(b"", Meta(Kind.DIRECTORY, 0o1750, 5, 6, 0)),
                    "etc/a b\n\\%d$(reboot)\udcff": "odd",
                    "etc/odd\nlink": "-> a b\n",
                    "dev/null0": ArchiveEntry(b"", Meta(Kind.CHARACTER, 0o666, 0, 0, 0, (1, 3))),
                }
            )
        )
    )
    out = machine.relayer()
    assert "change   /etc/motd\n" in out
    assert "add      /etc/a\\040b\\012\\134\\045d\\044\\050reboot\\051\\377\n" in out
    assert out.endswith("lab3/7: 8 done\n")
    found = looks(machine.root / "etc")
    assert found["motd"] == ("0o100644", 0, 0, b"lab3\n")
    assert found["secret"] == ("0o104640", 3, 42, b"secret")
    assert found["link"][3] == "new/deep"
    assert found["empty"][:3] == ("0o41750", 5, 6)
    assert found["new/deep"][:3] == ("0o40755", 0, 0)
    assert found["a b\n\\%d$(reboot)\udcff"][3] == b"odd"
    assert found["odd\nlink"][3] == "a b\n"
    assert found["cups/client.conf"][3] == found["other"][3].replace(b"other", b"orig")  # type: ignore[attr-defined]
    assert (machine.root / "dev/null0").stat().st_rdev == os.makedev(1, 3)
    assert int((machine.root / "etc/motd").stat().st_mtime) == WHEN
    assert machine.left_overs() == []
    assert machine.relayer() == "lab3/7: nothing to do\n"
    assert machine.run("drift") == ""


def test_a_dry_run_tells_the_same_and_does_nothing(machine: Machine) -> None:
    machine.has({"etc/motd": "orig\n", "etc/gone": "x"})
    machine.serve(packed(layout({"etc/motd": "lab3\n", "etc/new": "x"}, removed=("etc/gone",))))
    before = looks(machine.root)
    told = machine.relayer("-n")
    assert told == "hide     /etc/gone\nchange   /etc/motd\nadd      /etc/new\nlab3/7: 3 to do\n"
    assert looks(machine.root) == before
    assert machine.relayer() == told.replace("to do", "done")


@pytest.mark.parametrize("kind", ["overlay", "disk"])
def test_what_a_release_no_more_sets_is_as_it_was(machine: Machine, kind: str) -> None:
    machine.has({"etc/motd": "orig\n", "etc/gone": "gone\n", "etc/d/a": "a", "etc/d/b": "b", "opt/x/y": "y"})
    (machine.root / "etc/motd").chmod(0o600)
    if kind == "disk":
        shutil.rmtree(machine.root / "run/gitstate")
    else:
        (machine.lower / "etc/motd").chmod(0o600)
    before = machine.files()
    machine.serve(
        packed(
            layout(
                {"etc/motd": "lab3\n", "etc/new/file": "x", "etc/d/a": "mine", "opt/x": "file for a directory"},
                removed=("etc/gone", "opt/x"),
                opaque=("etc/d",),
            )
        )
    )
    machine.relayer()
    after = machine.files()
    assert set(after) == {"etc/motd", "etc/new/file", "etc/d/a", "opt/x"}
    assert machine.relayer() == "lab3/7: nothing to do\n"
    machine.serve(packed(layout({}), release="lab3/8"))
    machine.relayer()
    assert machine.files() == before
    assert machine.relayer() == "lab3/8: nothing to do\n"
    saved = machine.root / "var/lib/gitstate/saved"
    assert not saved.exists() or [path for path in saved.rglob("*") if not path.is_dir()] == []


def test_what_was_changed_here_is_kept_and_told_unless_forced(machine: Machine) -> None:
    machine.has({"etc/motd": "orig\n", "etc/touched": "orig\n"})
    machine.serve(packed(layout({f"etc/{name}": "1" for name in ("a", "b", "c", "motd")})))
    machine.relayer()
    (machine.root / "etc/a").write_text("mine")
    (machine.root / "etc/b").unlink()
    (machine.root / "etc/touched").write_text("mine")
    machine.serve(packed(layout({f"etc/{name}": "2" for name in ("a", "b", "c", "touched")}), release="lab3/8"))
    out = machine.relayer(code=3)
    assert out == (
        "restore  /etc/motd\n"
        "change   /etc/c\n"
        "kept     /etc/a  changed on this machine\n"
        "kept     /etc/b  removed on this machine\n"
        "kept     /etc/touched  changed on this machine\n"
        "lab3/8: 2 done, 3 kept\n"
    )
    assert (machine.root / "etc/a").read_text() == "mine"
    assert not (machine.root / "etc/b").exists()
    assert (machine.root / "etc/motd").read_text() == "orig\n"
    assert "lab3/8: nothing to do, 3 kept\n" in machine.relayer(code=3)
    machine.relayer("--force")
    assert [(machine.root / f"etc/{name}").read_text() for name in ("a", "b", "c", "touched")] == ["2"] * 4
    assert machine.relayer() == "lab3/8: nothing to do\n"


def test_a_changed_file_that_no_release_sets_any_more_stays(machine: Machine) -> None:
    machine.serve(packed(layout({"etc/a": "1", "etc/dir/b": "1"})))
    machine.relayer()
    (machine.root / "etc/a").write_text("mine")
    (machine.root / "etc/dir/own").write_text("mine")
    machine.serve(packed(layout({}), release="lab3/8"))
    assert "kept     /etc/a  changed on this machine" in machine.relayer(code=3)
    assert {path: look[3] for path, look in machine.files().items()} == {"etc/a": b"mine", "etc/dir/own": b"mine"}
    assert machine.relayer() == "lab3/8: nothing to do\n"


def test_a_hidden_directory_that_was_changed_is_kept(machine: Machine) -> None:
    machine.has({"opt/x/y": "y", "opt/z/y": "y"})
    (machine.root / "opt/x/mine").write_text("mine")
    machine.serve(packed(layout({}, removed=("opt/x", "opt/z"))))
    assert "kept     /opt/x" in machine.relayer(code=3)
    assert {*machine.files()} == {"opt/x/y", "opt/x/mine"}


def test_no_link_is_followed(machine: Machine) -> None:
    outside = machine.place / "outside"
    outside.mkdir()
    (outside / "f").write_text("precious")
    (machine.root / "etc").mkdir()
    (machine.root / "etc/dir").symlink_to(outside)
    (machine.root / "etc/file").symlink_to(outside / "f")
    machine.serve(packed(layout({"etc/dir/f": "x", "etc/dir/new": "x", "etc/file": "x"}, removed=("etc/dir/gone",))))
    out = machine.relayer("--force", code=3)
    assert "kept     /etc/dir/f  a parent is a link or a file\n" in out
    assert looks(outside) == {"f": ("0o100644", 0, 0, b"precious")}
    assert (machine.root / "etc/file").read_text() == "x"
    assert not (machine.root / "etc/file").is_symlink()


def test_a_file_becomes_a_directory_and_back(machine: Machine) -> None:
    first = packed(layout({"etc/x": "file", "etc/y": "-> x"}))
    second = packed(layout({"etc/x/y/z": "deep", "etc/y/a": "a"}), release="lab3/8")
    for data in (first, second, first):
        machine.serve(data)
        machine.relayer()
    assert {path: look[3] for path, look in machine.files().items()} == {"etc/x": b"file", "etc/y": "x"}


def test_capabilities_are_set_before_the_file_is_there_and_travel_alone(machine: Machine) -> None:
    with_it = FILE._replace(mode=0o755, xattrs=((b"security.capability", CAPABILITY),))
    for meta, expected in (
        (FILE._replace(mode=0o755), ""),
        (with_it, "security.capability"),
        (with_it, "security.capability"),
    ):
        machine.serve(packed(layout({"usr/bin/ping": ArchiveEntry(b"", meta, b"x")})))
        machine.relayer()
        path = machine.root / "usr/bin/ping"
        assert " ".join(os.listxattr(path)) == expected


def test_units_are_reloaded_once_for_what_changed(machine: Machine) -> None:
    log = machine.place / "log"
    systemctl = machine.place / "systemctl"
    systemctl.write_text(f'#!/bin/sh\necho "$*" >>{log}\n[ "$2" != bad.service ]\n')
    systemctl.chmod(0o755)
    env = {"GITSTATE_SYSTEMCTL": str(systemctl)}
    reload = (Reload("etc/cups/*", ("cups.service", "a@b.service")), Reload("etc/x", ("bad.service",)))
    machine.serve(packed(layout({"etc/cups/a/b": "1", "etc/cups/c": "1", "etc/systemd/system/u": "1"}, reload=reload)))
    out = machine.relayer(env=env)
    assert log.read_text().splitlines() == [
        "daemon-reload",
        "try-reload-or-restart a@b.service",
        "try-reload-or-restart cups.service",
    ]
    assert "reloaded cups.service\n" in out
    log.write_text("")
    machine.relayer(env=env)
    assert log.read_text() == ""
    machine.serve(packed(layout({"etc/x": "2"}, reload=reload)))
    assert "could not be reloaded: bad.service" in machine.relayer(code=3, env=env)


@pytest.fixture
def sysfs(machine: Machine) -> Path:
    device = machine.root / "sys/bus/pci/devices/0000:01:00.0"
    device.mkdir(parents=True)
    (device / "modalias").write_text("pci:v000010DEd00001C82sv00001043sd00008613bc03sc00i00\n")
    return device


def test_the_variant_of_this_machine_s_hardware_is_laid(machine: Machine, sysfs: Path) -> None:
    machine.has({"etc/gone": "x"})
    common = layout({"etc/a": "common", "etc/b": "common", "etc/d/x": "x", "etc/d/y": "y"})
    intel = Variant("intel", ("pci:v00008086*",), layout({"etc/a": "intel"}))
    nvidia = Variant(
        "nvidia",
        ("x*", "pci:v000010DE*bc03*"),
        layout({"etc/a": "nvidia"}, removed=("etc/gone", "etc/b"), opaque=("etc/d",)),
    )
    every = Variant("any", ("*",), layout({"etc/any": "any"}))
    machine.serve(packed(common, intel, nvidia, every))
    machine.relayer()
    assert {path: look[3] for path, look in machine.files().items()} == {"etc/a": b"nvidia"}
    machine.serve(packed(common, intel, nvidia, every, match_all=True))
    machine.relayer()
    assert {path: look[3] for path, look in machine.files().items()} == {"etc/a": b"nvidia", "etc/any": b"any"}
    assert machine.relayer() == "lab3/7: nothing to do\n"
    (machine.root / "run/gitstate/about").write_text("HOST=x\nRELEASE=lab3/6\nLAYER_9='old 1'\n")
    machine.serve(packed(common, intel, nvidia, release="lab3/8"))
    machine.relayer()
    told = (machine.root / "run/gitstate/about").read_text()
    assert "RELEASE='lab3/8'\n" in told
    assert "CLASSES='nvidia'\n" in told
    assert "LAYER_9" not in told


def test_in_state_local_the_listed_files_are_laid_and_the_others_told(machine: Machine) -> None:
    machine.has({"etc/local/fstab": "orig\n", "etc/other": "orig\n"})
    (machine.root / "etc/fstab").symlink_to("local/fstab")
    (machine.root / "run/gitstate/about").write_text("STATE=local\n")
    (machine.root / "run/gitstate/local").write_text("etc/fstab\n")
    machine.serve(packed(layout({"etc/fstab": "lab3\n", "etc/other": "lab3\n", "var/x": "x"})))
    out = machine.relayer()
    assert "layers: etc/other is left out: state local can't write it\n" in out
    assert "change   /etc/local/fstab\n" in out
    assert (machine.root / "etc/fstab").is_symlink()
    assert (machine.root / "etc/fstab").read_text() == "lab3\n"
    assert (machine.root / "etc/other").read_text() == "orig\n"
    assert machine.relayer().endswith("lab3/7: nothing to do\n")
    machine.serve(packed(layout({})))
    machine.relayer()
    assert (machine.root / "etc/fstab").read_text() == "orig\n"


def test_an_interrupted_run_leaves_nothing_behind(machine: Machine) -> None:
    machine.serve(packed(layout({f"etc/f{number}": "x" for number in range(200)})))
    words = machine.words("relayer", "--from", str(machine.place / "current.cpio"))
    with subprocess.Popen(words, env=machine.environment, stdout=subprocess.DEVNULL, start_new_session=True) as run:
        while not (machine.root / "etc/f0").exists():
            time.sleep(0.005)
        os.killpg(run.pid, signal.SIGINT)
    assert run.returncode == 130
    assert list((machine.place / "tmp").iterdir()) == []
    assert not (machine.root / "run/gitstate/relayer.lock").is_symlink()
    assert machine.relayer().endswith("done\n")


def test_what_can_not_be_written_is_told_and_done_next_time(machine: Machine) -> None:
    machine.has({"etc/a": "0", "etc/b": "0"})
    machine.serve(packed(layout({"etc/a": "1", "etc/b": "1"})))
    subprocess.run(["chattr", "+i", machine.root / "etc/a"], check=True)
    try:
        out = machine.relayer(code=3)
    finally:
        subprocess.run(["chattr", "-i", machine.root / "etc/a"], check=True)
    assert "kept     /etc/a  failed\n" in out
    assert [(machine.root / f"etc/{name}").read_text() for name in "ab"] == ["0", "1"]
    assert machine.relayer().endswith("lab3/7: 1 done\n")
    assert (machine.root / "etc/a").read_text() == "1"


# --- the archive comes, or doesn't ------------------------------------------------------------------------------------


def test_a_pointer_is_followed(machine: Machine) -> None:
    (machine.place / "lab3/7").mkdir(parents=True)
    (machine.place / "lab3/7/lab3-12.cpio").write_bytes(packed(layout({"etc/a": "1"})))
    machine.serve(b"#!ipxe\nset client ${client} gitstate.archive=lab3/7/lab3-12.cpio x\n")
    assert machine.relayer().endswith("lab3/7: 1 done\n")


def test_one_pointer_serves_all_machines_and_tells_the_release(machine: Machine) -> None:
    (machine.place / "lab3/8").mkdir(parents=True)
    (machine.place / "lab3/8/lab3-12.cpio").write_bytes(packed(layout({"etc/a": "1"})))
    machine.serve(b"# gitstate.archive=lab3/8/%h.cpio\nset client ${client} gitstate.release=lab3/8\n")
    assert "this machine's name" in machine.relayer(code=10)
    (machine.root / "proc").mkdir(exist_ok=True)
    (machine.root / "proc/cmdline").write_text("quiet gitstate.host=lab3-12 ro\n")
    assert machine.relayer().endswith("lab3/8: 1 done\n")
    assert machine.relayer().endswith("lab3/8: nothing to do\n")
    assert "release    lab3/8" in machine.run("about")


def test_layers_of_another_snapshot_wait_for_a_reboot(machine: Machine) -> None:
    """What they were made for isn't what this machine runs: accounts, links and versions may be others."""
    runs, other = (f"desktop@{letter * 40}" for letter in "ab")
    about = machine.root / "run/gitstate/about"
    about.write_text(f"HOST=lab3-12\nSNAPSHOT={runs}\nCOMMIT={'a' * 40}\nRELEASE=lab3/7\n")
    (machine.place / "lab3-12.cpio").write_bytes(packed(layout({"etc/a": "1"})))

    def release(version: int, snapshot: str) -> None:
        machine.serve(
            f"# gitstate.snapshot={snapshot}\n# gitstate.archive=%h.cpio gitstate.release=lab3/{version}".encode()
        )

    for words in ((), ("-n",), ("--force",)):
        release(8, other)
        told = machine.relayer(*words, code=8)
        assert "lab3/8: reboot needed" in told
        assert {"desktop@aaaaaaaaaaaa", "desktop@bbbbbbbbbbbb"} < {*told.split()}
    assert not (machine.root / "etc").exists()
    assert "release    lab3/7\n" in machine.run("about")
    release(9, runs)
    assert machine.relayer().endswith("lab3/9: 1 done\n")
    assert "release    lab3/9\n" in machine.run("about")


def test_a_machine_that_no_boot_hook_started_has_no_snapshot_to_compare(disk: Machine) -> None:
    (disk.place / "a.cpio").write_bytes(packed(layout({"etc/a": "1"})))
    disk.serve(b"# gitstate.snapshot=desktop@ab gitstate.archive=a.cpio gitstate.release=lab3/8\n")
    assert disk.relayer().endswith("lab3/8: 1 done\n")


def test_what_the_boot_hook_wrote_is_replaced_by_layers_and_comes_back(machine: Machine) -> None:
    machine.has({"etc/hosts": "of the snapshot\n", "etc/hostname": "snapshot\n"})
    machine.boot_wrote({"etc/hosts": "of the boot\n", "etc/hostname": "lab3-12\n", "etc/resolv.conf": "of the boot\n"})
    before = looks(machine.root / "etc")
    for removed in ((), ("etc/hostname",)):
        machine.serve(packed(layout(dict.fromkeys(("etc/hosts", "etc/resolv.conf"), "of a layer\n"), removed=removed)))
        assert "kept" not in machine.relayer()
        assert (machine.root / "etc/hosts").read_text() == "of a layer\n"
        assert (machine.root / "etc/hostname").exists() == (not removed)
        assert machine.run("drift") == ""
        machine.serve(packed(layout({})))
        machine.relayer()
        assert looks(machine.root / "etc") == before
        assert machine.run("drift") == ""
    (machine.root / "etc/hosts").write_text("by somebody\n")
    machine.serve(packed(layout({"etc/hosts": "of a layer\n"})))
    assert "kept     /etc/hosts" in machine.relayer(code=3)


def test_the_address_stands_in_about_or_on_the_kernel_s_line_or_is_remembered(machine: Machine) -> None:
    machine.serve(packed(layout({})))
    url = f"file://{machine.place}/current.cpio"
    assert "gitstate.archive=URL" in machine.run("relayer", code=10)
    cmdline = machine.root / "proc/cmdline"
    cmdline.parent.mkdir()
    cmdline.write_text(f"quiet gitstate.archive={url} ro\n")
    assert machine.run("relayer") == "lab3/7: nothing to do\n"
    cmdline.write_text("quiet\n")
    assert machine.run("relayer", "--from", url) == "lab3/7: nothing to do\n"
    assert machine.run("relayer") == "lab3/7: nothing to do\n"
    (machine.root / "run/gitstate/about").write_text("ARCHIVE='/nowhere'\n")
    assert "/nowhere: " in machine.run("relayer", code=6)


def test_a_truncated_or_damaged_archive_changes_nothing(machine: Machine) -> None:
    machine.has({"etc/a": "orig"})
    whole = packed(layout({"etc/a": "content " * 99, "etc/b": "b", "etc/l": "-> b"}))
    before = looks(machine.root / "etc")
    trailer = whole.index(b"TRAILER!!!") - 110
    for size in range(0, trailer - 8, 211):
        machine.serve(whole[:size])
        done = machine.start("relayer", "--from", str(machine.place / "current.cpio"))
        assert done.returncode == 14, (size, done.stdout)
        assert len(done.stdout.splitlines()) == 2
    for old, new in ((b"content content", b"content contenT"), (b"0644 0 0", b"0666 0 0"), (b"HOST=", b"HOSt=")):
        assert whole.count(old) >= 1
        machine.serve(whole.replace(old, new, 1))
        assert "damaged" in machine.relayer(code=14)
    assert looks(machine.root / "etc") == before
    assert machine.left_overs() == []


def test_an_archive_whose_names_lead_elsewhere_is_refused(machine: Machine) -> None:
    data = packed(layout({"etc/evil/a": "x"}))
    machine.serve(data.replace(b"etc/evil", b"/../../.").replace(b"files/etc", b"files/etc"))
    machine.relayer(code=14)
    assert machine.files() == {}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("frobnicate",), 2, "there is no command 'frobnicate'"),
        (("relayer", "--frob"), 2, "--frob"),
        (("relayer", "--from"), 2, "--from"),
        (("relayer", "--from", "gopher://x"), 6, "gopher"),
        (("relayer", "--from", "/nowhere"), 6, "/nowhere"),
        (("drift", "-x"), 2, "-x"),
        (("about", "x"), 2, "x"),
        (("about",), 10, "gitstate relayer --from"),
        (("probe", "x"), 2, "x"),
    ],
)
def test_errors_are_one_line_a_hint_and_a_code(machine: Machine, words: tuple[str, ...], code: int, said: str) -> None:
    out = machine.run(*words, code=code)
    assert said in out
    assert out.startswith("gitstate: ")
    assert len(out.splitlines()) == 2
    assert machine.left_overs() == []


def test_two_at_once_and_a_dead_one_s_lock(machine: Machine) -> None:
    machine.serve(packed(layout({})))
    lock = machine.root / "run/gitstate/relayer.lock"
    with subprocess.Popen(["sh", "-c", "sleep 30; : gitstate"]) as other:
        lock.symlink_to(str(other.pid))
        assert f"locked by process {other.pid}" in machine.relayer(code=11)
        other.kill()
    assert machine.relayer() == "lab3/7: nothing to do\n"
    assert not lock.is_symlink()


# --- killed ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turns", [6, pytest.param(12, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["overlay", "disk"])
def test_killed_at_any_moment_each_file_is_old_or_new_and_the_next_run_finishes(
    machine: Machine, kind: str, turns: int
) -> None:
    names = [f"etc/d{number % 3}/f{number}" for number in range(30)]
    machine.has(dict.fromkeys(names, "0") | {"etc/gone": "0"})
    if kind == "disk":
        shutil.rmtree(machine.root / "run/gitstate")
    machine.serve(packed(layout(dict.fromkeys(names, "1" * 5000)), release="lab3/1"))
    start = time.monotonic()
    machine.relayer()
    whole = time.monotonic() - start
    reached: list[int] = []
    for turn in range(turns):
        old, new = str(turn + 1), str(turn + 2)
        machine.serve(packed(layout(dict.fromkeys(names, new * 5000), removed=("etc/gone",) if turn % 2 else ())))
        words = machine.words("relayer", "--from", str(machine.place / "current.cpio"))
        with subprocess.Popen(words, env=machine.environment, stdout=subprocess.DEVNULL, start_new_session=True) as run:
            if turn % 2:
                time.sleep(whole * (turn + 1) / (turns + 1))
            else:  # however long it takes here, some of these come when a part is done
                wanted = machine.root / names[turn * 24 // turns]
                while run.poll() is None and wanted.read_text() != new * 5000:
                    time.sleep(0.001)
            with suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)
        texts = {(machine.root / name).read_text() for name in names}
        assert texts <= {old * 5000, new * 5000}
        reached.append(len(texts))
        if turn % 3 == 0:  # another release comes before the next run
            machine.serve(packed(layout(dict.fromkeys(names, new * 5000 + "later"))))
            machine.relayer()
            machine.serve(packed(layout(dict.fromkeys(names, new * 5000), removed=("etc/gone",) if turn % 2 else ())))
        machine.relayer()
        assert {(machine.root / name).read_text() for name in names} == {new * 5000}
        assert (machine.root / "etc/gone").exists() is (turn % 2 == 0)
        assert not list(machine.root.rglob(".gitstate-new"))
    assert 2 in reached


def test_killed_before_it_hid_anything_it_is_hidden_the_next_time(machine: Machine) -> None:
    machine.has({"etc/gone": "0"})
    shutil.rmtree(machine.root / "run/gitstate")
    machine.serve(packed(layout({}, removed=("etc/gone",))))
    deadly = machine.place / "deadly"
    shutil.copytree(PROJECT / "hooks", deadly)
    with (deadly / "client/install").open("a") as part:
        part.write("save_original() { kill -KILL 0; }\n")
    killed = subprocess.run(
        machine.words("relayer", "--from", str(machine.place / "current.cpio")),
        env={**machine.environment, "GITSTATE_LIB": str(deadly)},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert (machine.root / "etc/gone").exists()
    machine.relayer()
    assert not (machine.root / "etc/gone").exists()
