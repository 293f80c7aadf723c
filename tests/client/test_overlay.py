"""relayer and drift on a real overlay, as a machine boots it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.harness import Machine, layout, looks, packed
from tests.support import root_only

pytestmark = root_only


def mount(*words: str | Path) -> None:
    subprocess.run(["mount", *words], check=True)


@pytest.fixture
def overlay(machine: Machine) -> Iterator[Machine]:
    ram = machine.place / "ram"
    for name in ("ram", "snapshot/run", "snapshot/etc/d", "snapshot/opt/x"):
        (machine.place / name).mkdir(parents=True)
    for name in ("etc/motd", "etc/gone", "etc/d/a", "etc/d/b", "opt/x/y"):
        (machine.place / "snapshot" / name).write_text(f"{name}\n")
    try:
        mount("-t", "tmpfs", "gitstate", ram)
        for name in ("upper", "work"):
            (ram / name).mkdir()
        options = f"lowerdir={machine.place}/snapshot,upperdir={ram}/upper,workdir={ram}/work,metacopy=on"
        mount("-t", "overlay", "-o", options, "gitstate", machine.root)
        mount("-t", "tmpfs", "gitstate", machine.root / "run")
        for name in ("lower", "tmpfs"):
            (machine.root / "run/gitstate" / name).mkdir(parents=True)
        mount("--bind", machine.place / "snapshot", machine.lower)
        mount("--bind", ram, machine.root / "run/gitstate/tmpfs")
        yield machine
    finally:
        for point in (machine.root, ram):
            subprocess.run(["umount", "-R", "-l", point], check=False, stderr=subprocess.DEVNULL)


def test_layers_come_and_go_and_the_snapshot_shows_again(overlay: Machine) -> None:
    snapshot = looks(overlay.place / "snapshot")
    files = {"etc/motd": "lab3", "etc/new/file": "x", "etc/d/a": "mine", "opt/x": "a file"}
    overlay.serve(packed(layout(files, removed=("etc/gone", "opt/x"), opaque=("etc/d",))))
    assert overlay.relayer().endswith("lab3/7: 6 done\n")
    assert {path: look[3] for path, look in overlay.files().items()} == {
        key: text.encode() for key, text in files.items()
    }
    assert overlay.relayer() == "lab3/7: nothing to do\n"
    assert overlay.run("drift") == ""
    (overlay.root / "etc/motd").unlink()
    assert overlay.run("drift") == "removed  /etc/motd  layers\n"
    overlay.relayer("--force")
    overlay.serve(packed(layout({}), release="lab3/8"))
    overlay.relayer()
    assert {path: look for path, look in looks(overlay.root).items() if not path.startswith("run")} == {
        path: look for path, look in snapshot.items() if path != "run"
    }
    assert overlay.run("drift") == ""
    assert looks(overlay.place / "snapshot") == snapshot
