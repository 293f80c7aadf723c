"""about, drift, probe, help: what a machine says of itself."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from gitstate.machine.render.models import ArchiveEntry
from tests.client.harness import CAPABILITY, FILE, Machine, layout, packed
from tests.support import PROJECT, computed, root_only

CLIENT = PROJECT / "hooks/client"


def test_help_names_every_command(machine: Machine) -> None:
    for word in ("help", "--help"):
        out = machine.run(word)
        assert [line.split()[0] for line in out.splitlines() if line.startswith("  ") and line[2] != " "] == [
            "about",
            "relayer",
            "drift",
            "checkin",
            "probe",
            "help",
        ]


@pytest.mark.parametrize("part", sorted(path.name for path in CLIENT.iterdir()))
def test_every_shell_can_read_every_part(machine: Machine, part: str) -> None:
    subprocess.run([*machine.shell, "-n", CLIENT / part], check=True)


def test_a_part_that_is_missing_is_named(machine: Machine) -> None:
    out = machine.run("probe", code=5, env={"GITSTATE_LIB": "/nowhere"})
    assert out.startswith("gitstate: /nowhere/client/probe is missing\n")


# --- about ------------------------------------------------------------------------------------------------------------


def test_about_tells_of_release_and_layers(machine: Machine) -> None:
    (machine.root / "run/gitstate/about").write_text(
        "SNAPSHOT=desktop@12ab\nPROTOTYPE=desktop\nCOMMIT=12ab\nRELEASE=lab3/7\nHOST=lab3-12\nSERVER=10.77.0.1\n"
        "INTERFACE=\nLAYER_1='base 34'\nLAYER_2='it'\\''s 56'\nCLASSES='nvidia'\nADDRESS=$(reboot)\n"
    )
    assert machine.run("about") == (
        "host       lab3-12\nrelease    lab3/7\nprototype  desktop\ncommit     12ab\nserver     10.77.0.1\n"
        "address    $(reboot)\nclasses    nvidia\nlayer      base 34\nlayer      it's 56\n"
    )


@root_only
def test_about_knows_what_relayer_brought(disk: Machine) -> None:
    disk.serve(packed(layout({"etc/a": "1"})))
    disk.relayer()
    shutil.rmtree(disk.root / "run")
    assert "release    lab3/7\n" in disk.run("about")
    assert f"layer      host/lab3-12 {'ef' * 20}\n" in disk.run("about")


# --- drift ------------------------------------------------------------------------------------------------------------


@root_only
def test_drift_tells_what_differs_from_the_layers(machine: Machine) -> None:
    machine.has({"etc/gone": "x"})
    names = [f"etc/{name}" for name in ("a", "b", "c", "d", "e", "same")]
    machine.serve(packed(layout(dict.fromkeys(names, "1"), removed=("etc/gone",))))
    machine.relayer()
    assert machine.run("drift", "--exit-code") == ""
    etc = machine.root / "etc"
    (etc / "a").write_text("2")
    (etc / "b").chmod(0o600)
    os.chown(etc / "c", 1, 1)
    (etc / "d").unlink()
    (etc / "e").unlink()
    (etc / "e").symlink_to("a")
    (etc / "gone").write_text("back")
    expected = (
        "changed  /etc/a  layers\nmetadata /etc/b  layers\nmetadata /etc/c  layers\nremoved  /etc/d  layers\n"
        "changed  /etc/e  layers\nadded    /etc/gone  layers\n"
    )
    assert machine.run("drift") == expected
    assert machine.run("drift", "--exit-code", code=1) == expected


@root_only
def test_drift_tells_what_was_written_over_the_snapshot(machine: Machine) -> None:
    machine.has({"etc/a": "1", "etc/b": "1", "etc/gone": "1", "etc/hosts": "1", "etc/copied": "1"})
    upper = machine.root / "run/gitstate/tmpfs/upper"
    for name in ("etc/a", "etc/b", "etc/new x\n", "etc/hosts", "etc/copied", "tmp/x", "var/log/y"):
        for place in (upper, machine.root):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text("1" if name == "etc/copied" else "2")
    for place in (upper, machine.root):
        (place / "etc/b").write_text("1")
        (place / "etc/b").chmod(0o600)
    os.mknod(upper / "etc/gone", 0o020000, os.makedev(0, 0))
    (machine.root / "etc/gone").unlink()
    machine.boot_wrote({"etc/hosts": "2"})
    machine.serve(packed(layout({}, opaque=("etc/d",))))
    machine.relayer()
    (machine.lower / "etc/d").mkdir()
    (machine.lower / "etc/d/x").write_text("hidden by the layers")
    (upper / "etc/d").mkdir()
    os.mknod(upper / "etc/d/x", 0o020000, os.makedev(0, 0))
    assert machine.run("drift") == (
        "changed  /etc/a  snapshot\nmetadata /etc/b  snapshot\nremoved  /etc/gone  snapshot\n"
        "added    /etc/new\\040x\\012  snapshot\n"
    )


WRITTEN = {
    "etc/machine-id": "by systemd",
    "var/lib/systemd/timers/stamp-logrotate.timer": "by a timer",
    "home/kiosk/.config/chromium/Default/Web Data": "by a browser",
    "home/kiosk/.config/chromium.conf": "by somebody",
    "etc/systemd/system/x.service": "by somebody",
}


@root_only
@pytest.mark.parametrize(
    ("more", "told"),
    [
        (None, ["etc/systemd/system/x.service", "home/kiosk/.config/chromium.conf"]),
        ("\n# ours\n/home/*\n", ["etc/systemd/system/x.service"]),
        ("!etc/machine-id\n!*/Web\\040*", [*sorted({*WRITTEN} - {"var/lib/systemd/timers/stamp-logrotate.timer"})]),
        ("*\n!*.service\n", ["etc/systemd/system/x.service"]),
        ("[!e]*\n", ["etc/systemd/system/x.service"]),
    ],
)
def test_drift_leaves_out_what_machines_write_and_a_list_says_otherwise(
    machine: Machine, more: str | None, told: list[str]
) -> None:
    if more is not None:
        machine.has({"etc/gitstate/drift": more})
    for place in (machine.root, machine.root / "run/gitstate/tmpfs/upper"):
        for name, text in WRITTEN.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(text)
    expected = [f"added    /{path}  snapshot".replace("Web Data", r"Web\040Data") for path in told]
    assert machine.run("drift").splitlines() == expected


@root_only
def test_drift_compares_capabilities_and_acls(machine: Machine) -> None:
    able = ArchiveEntry(b"", FILE._replace(mode=0o755, xattrs=((b"security.capability", CAPABILITY),)), b"x")
    plain = ArchiveEntry(b"", FILE._replace(mode=0o755), b"x")
    machine.serve(packed(layout({"bin/a b": able, "bin/lost": able, "bin/same": able, "bin/won": plain})))
    machine.relayer()
    assert machine.run("drift") == ""
    for name in ("a b", "lost"):
        subprocess.run(["setfattr", "-x", "security.capability", machine.root / "bin" / name], check=True)
    subprocess.run(["setcap", "cap_chown+ep", machine.root / "bin/won"], check=True)
    expected = "metadata /bin/a\\040b  layers\nmetadata /bin/lost  layers\nmetadata /bin/won  layers\n"
    assert machine.run("drift") == expected


@root_only
def test_drift_compares_what_the_boot_restored_with_the_snapshot(machine: Machine) -> None:
    machine.has({"bin/same": "1", "bin/lost": "1"})
    upper = machine.root / "run/gitstate/tmpfs/upper"
    (upper / "bin").mkdir(parents=True)
    text = ""
    for name in ("same", "lost"):
        (upper / "bin" / name).write_text("1")
        text += f"# file: bin/{name}\nsecurity.capability=0s{base64.b64encode(CAPABILITY).decode()}\n\n"
    (machine.root / "run/gitstate/xattrs").write_text(text)
    subprocess.run(["setcap", "cap_net_raw+ep", machine.root / "bin/same"], check=True)
    assert machine.run("drift") == "metadata /bin/lost  snapshot\n"


@root_only
def test_drift_of_a_machine_that_has_no_layers(disk: Machine) -> None:
    disk.run("drift", code=10)


@pytest.mark.parametrize("release", ["lab3/7", ""])
def test_probe_tells_what_the_boot_hook_booted(machine: Machine, release: str) -> None:
    snapshot = f"desktop@{'ab' * 20}"
    (machine.root / "run/gitstate/about").write_text(f"SNAPSHOT={snapshot}\nRELEASE='{release}'\n")
    assert json.loads(machine.run("probe"))["running"] == {"snapshot": snapshot, "release": release or None}


# --- probe ------------------------------------------------------------------------------------------------------------


def test_probe_is_json_whatever_vendors_write(machine: Machine) -> None:
    for name, text in {
        "proc/sys/kernel/hostname": "lab3-12\n",
        "proc/cpuinfo": "processor\t: 0\nmodel name\t: AMD EPYC 7\nx\nprocessor\t: 1\nmodel name\t: x\n",
        "proc/meminfo": "MemTotal:        8000000 kB\n",
        "sys/class/dmi/id/sys_vendor": 'Evil "Corp\\x" \u00fc\t\n',
        "sys/class/dmi/id/product_name": "%s %d $(reboot)\n",
        "sys/bus/pci/devices/0000:01:00.0/vendor": "0x10de\n",
        "sys/bus/pci/devices/0000:01:00.0/device": "0x1c82\n",
        "sys/bus/pci/devices/0000:01:00.0/class": "0x030000\n",
        "sys/bus/pci/devices/0000:01:00.0/modalias": "pci:v000010DE\n",
        "sys/class/net/eth0/address": "52:54:00:12:34:56\n",
        "sys/class/net/lo/address": "00:00:00:00:00:00\n",
        "sys/block/sda/size": "1953525168\n",
        "sys/block/sda/queue/rotational": "1\n",
        "sys/block/sda/device/model": "Disk 1   \n",
        "sys/block/loop0/size": "0\n",
    }.items():
        (machine.root / name).parent.mkdir(parents=True, exist_ok=True)
        (machine.root / name).write_text(text)
    (machine.root / "sys/class/net/eth0/device").mkdir()
    found = json.loads(machine.run("probe"))
    assert found["dmi"].pop("sys_vendor") == 'Evil "Corp\\x"'
    assert found["dmi"].pop("product_name") == "%s %d $(reboot)"
    assert set(found["dmi"].values()) == {None}
    assert "running" not in found
    del found["dmi"], found["architecture"]
    assert found == {
        "schema": "probe/1",
        "host": "lab3-12",
        "cpu": "AMD EPYC 7",
        "cpus": 2,
        "memory": 8192000000,
        "pci": [
            {
                "slot": "0000:01:00.0",
                "vendor": "0x10de",
                "device": "0x1c82",
                "class": "0x030000",
                "modalias": "pci:v000010DE",
            }
        ],
        "network": [{"name": "eth0", "mac": "52:54:00:12:34:56"}],
        "disks": [{"name": "sda", "size": 1000204886016, "model": "Disk 1", "rotational": True}],
    }


def test_probe_of_nothing_and_of_this_computer(machine: Machine) -> None:
    found = json.loads(machine.run("probe"))
    assert (found["memory"], found["pci"], found["disks"]) == (None, [], [])
    real = json.loads(machine.run("probe", env={"GITSTATE_ROOT": ""}))
    assert real["memory"] > 1 << 20
    assert real["cpus"] >= 1


# --- fast -------------------------------------------------------------------------------------------------------------


@root_only
def test_nothing_to_do_is_said_in_no_time(machine: Machine) -> None:
    machine.serve(packed(layout({f"etc/d{number % 40}/f{number}": "x" * 2000 for number in range(500)})))
    machine.relayer()
    start = computed()
    assert machine.relayer() == "lab3/7: nothing to do\n"
    assert computed() - start < 0.5  # 0.1 s


@root_only
def test_an_archive_comes_by_http(machine: Machine) -> None:
    machine.serve(packed(layout({"etc/a": "1"})))
    words = ["busybox", "httpd", "-f", "-v", "-p", "127.0.0.1:0", "-h", str(machine.place)]
    port = free_port()
    words[5] = f"127.0.0.1:{port}"
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as server:
        try:
            wait_for(port)
            assert machine.run("relayer", "--from", f"http://127.0.0.1:{port}/current.cpio").endswith("1 done\n")
            out = machine.run("relayer", "--from", f"http://127.0.0.1:{port}/nowhere.cpio", code=6)
            assert "404" in out
        finally:
            server.kill()


def free_port() -> int:
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_for(port: int) -> None:
    import socket

    for _ in range(200):
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)


def test_parts_are_installed_where_the_program_looks() -> None:
    text = (CLIENT / "gitstate").read_text()
    assert "${GITSTATE_LIB:-/usr/lib/gitstate}" in text
    named = {word for line in text.splitlines() if line.strip().startswith("load ") for word in line.split()[1:]}
    assert all((PROJECT / "hooks" / name).is_file() for name in named)
    installed = {f"client/{path.name}" for path in Path(CLIENT).iterdir()} - {"client/gitstate"}
    assert installed <= named


@root_only
def test_without_an_overlay_what_can_be_written_is_compared(machine: Machine) -> None:
    """In the states ``tmpfs-root`` and ``local``: what looks different from the snapshot."""
    names = ("etc/a", "etc/b", "etc/local/motd", "root/x", "usr/bin/y", "var/lib/z", "etc/ssh/k")
    machine.has(dict.fromkeys(names, "1"))
    for name in names:
        for place in (machine.root, machine.lower):
            os.utime(place / name, (1, 1))
    about = machine.root / "run/gitstate/about"
    about.write_text("STATE=tmpfs-root\n")
    assert machine.run("drift") == ""
    for name in ("etc/a", "root/x", "usr/bin/y", "var/lib/z", "etc/local/motd"):
        (machine.root / name).write_text("2")
    (machine.root / "etc/b").unlink()
    (machine.root / "etc/new x").write_text("2")
    (machine.root / "top").write_text("2")
    common = ["changed  /etc/local/motd  snapshot"]
    assert machine.run("drift").splitlines() == [
        "changed  /etc/a  snapshot",
        "removed  /etc/b  snapshot",
        *common,
        r"added    /etc/new\040x  snapshot",
        "changed  /root/x  snapshot",
        "added    /top  snapshot",
        "changed  /var/lib/z  snapshot",
    ]
    about.write_text("STATE=local\n")
    (machine.root / "run/gitstate/local").write_text("etc/motd\n")
    upper = machine.root / "run/gitstate/tmpfs/var/upper/lib"
    upper.mkdir(parents=True)
    (upper / "z").write_text("2")
    assert machine.run("drift").splitlines() == [
        *common,
        "changed  /root/x  snapshot",
        "changed  /var/lib/z  snapshot",
    ]


# --- a machine that boots a live tree ---------------------------------------------------------------------------------


def test_a_maintenance_machine_asks_the_server(machine: Machine) -> None:
    """Nothing of the tree is sent, and not before its package manager is done. Layers aren't laid into it."""
    about = f"SNAPSHOT=desktop@{4:040}\nHOST=lab3-12\nSERVER=10.77.0.1\nSTATE=maintenance\n"
    (machine.root / "run/gitstate/about").write_text(about)
    programs = machine.place / "programs"
    programs.mkdir()
    (programs / "ssh").write_text(f'#!/bin/sh\necho "$*" >{machine.place}/asked\ncat >{machine.place}/sent\n')
    (programs / "ssh").chmod(0o755)
    env = {"PATH": f"{programs}:{machine.environment['PATH']}"}
    (machine.root / "etc").mkdir(exist_ok=True)
    assert machine.run("checkin", "-m", "a b", env=env) == ""
    assert (machine.place / "asked").read_text().endswith("git@10.77.0.1 checkin-live lab3-12\n")
    lines = (machine.place / "sent").read_text().splitlines()
    assert (lines[0], lines[-1]) == ("gitstate-checkin 1", "end")
    assert r"message a\040b" in lines
    assert not [line for line in lines if line.startswith(("entry", "above", "removed"))]
    lock = machine.root / "var/lib/dpkg/lock-frontend"
    lock.parent.mkdir(parents=True)
    lock.touch()
    (machine.root / "proc").mkdir(exist_ok=True)
    held = f"1: POSIX  ADVISORY  WRITE 812 00:15:{lock.stat().st_ino} 0 EOF\n"
    (machine.root / "proc/locks").write_text(held)
    with subprocess.Popen(machine.words("checkin"), env=machine.environment | env, stdout=subprocess.PIPE) as waiting:
        assert waiting.stdout is not None
        assert b"/var/lib/dpkg/lock-frontend is locked" in waiting.stdout.readline()
        (machine.place / "sent").unlink()
        (machine.root / "proc/locks").write_text("")
        assert waiting.wait(60) == 0
    assert (machine.place / "sent").exists()
    assert "name no paths" in machine.run("checkin", "etc/motd", code=2, env=env)
    assert "live tree" in machine.run("relayer", code=5)
