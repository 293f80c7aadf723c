"""layer and prototype rename, layer remove: all that names them follows, also after an interruption."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitstate.core.monitor import SILENT
from gitstate.core.signature import Signature
from gitstate.release import renaming
from gitstate.release.opened import OpenedSite
from tests.release.harness import SCRIPT, Harness
from tests.support import needs, root_only

pytestmark = [root_only, needs("git")]

ADA = Signature("Ada <ada@example.org>", 1_700_000_000, "+0000")
STEPS = ("noted", "moved", "channels", "clients")


class KilledError(Exception):
    """The process ends here."""


def killed_at(harness: Harness, old: str, new: str, step: str) -> None:
    """A rename that ends at a step."""

    def stop(name: str) -> None:
        if name == step:
            raise KilledError

    opened = OpenedSite.open(harness.site)
    with pytest.raises(KilledError):
        renaming.apply(renaming.plan(opened, old, new), ADA, ADA, SILENT, stop)


@pytest.fixture
def used(harness: Harness) -> Harness:
    """A channel whose release has a layer that a client names; another client is pinned to its prototype."""
    harness.layer("workload/press")
    harness("client", "add", "lab3-12", "--channel", "lab3", "--layer", "workload/press")
    harness("client", "add", "kiosk", "--pin", "desktop@main")
    harness("push", "desktop", "lab3", "--yes")
    return harness


@pytest.mark.parametrize("step", STEPS)
def test_a_layer_is_renamed_with_all_that_names_it(used: Harness, step: str) -> None:
    said = used("layer", "rename", "workload/press", "workload/print", "-n")
    assert "client lab3-12" in said
    assert "workload/press" in used("layer", "list"), "a dry run changes nothing"
    killed_at(used, "workload/press", "workload/print", step)
    used("layer", "rename", "workload/press", "workload/print")
    assert used.json("client", "show", "lab3-12")["client"]["layers"] == ["workload/print"]
    assert "workload/print" in used("layer", "resolve", "lab3-12")
    assert used("reconcile") == "nothing to publish", "its tags are those of releases"
    used.edit("workload/print", "again")
    used("push", "workload/print", "lab3", "--yes")
    used("rollback", "lab3")
    (entry,) = [one for one in used.json("layer", "render", "lab3-12")["entries"] if one["path"].endswith("motd")]
    assert (entry["layer"], entry["commit"]) == ("workload/print", used.head("workload/print", "main~1"))


@pytest.mark.parametrize("step", STEPS)
def test_a_prototype_is_renamed_with_all_that_names_it(used: Harness, step: str) -> None:
    commit = used.head("desktop")
    killed_at(used, "desktop", "office", step)
    used("prototype", "rename", "desktop", "office")
    assert used.json("channel", "show", "lab3")["prototype"] == "office"
    assert used("client", "list", "-z", "--pin", "office@main").strip("\0") == "kiosk"
    assert (used.site / "exports/office" / commit / "etc/hostname").is_file()
    assert not (used.site / "live/desktop").exists()
    used.edit("office", "new", "etc/hostname")
    used("push", "office", "lab3", "--yes")
    used("rollback", "lab3")
    assert used.runs("lab3")["office"] == commit
    used.fails(2, "prototype", "create", "desktop")
    used("prototype", "rename", "office", "desktop")
    assert used.json("channel", "show", "lab3")["prototype"] == "desktop"


def test_a_machine_boots_what_its_renamed_prototype_runs(boots: Harness) -> None:
    boots("client", "add", "kiosk", "--mac", "52:54:00:12:34:57", "--pin", "desktop@main")
    boots("push", "desktop", "lab3", "--yes")
    boots("boot", "write")
    commit = boots.head("desktop")
    boots("prototype", "rename", "desktop", "office")
    assert f"../../office/{commit}/boot.ipxe" in (boots.site / SCRIPT).read_text()
    assert f"/office/{commit}" in (boots.site / "tftp/boot/mac/52-54-00-12-34-57.ipxe").read_text()
    assert (boots.site / "tftp/office" / commit / "vmlinuz").is_file()
    assert f"exports/office/{commit}" in (boots.site / "tftp/office" / commit / "boot.ipxe").read_text()
    assert not (boots.site / "tftp/desktop").exists()
    assert boots("boot", "write").startswith("nothing to write")


def test_a_rename_goes_on_between_two_directories(used: Harness) -> None:
    killed_at(used, "workload/press", "workload/print", "noted")
    (used.site / "live/workload/press").rename(used.site / "live/workload/print")
    used("layer", "rename", "workload/press", "workload/print")
    used.edit("workload/print", "by its live tree")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("layer", "rename", "lab/none", "lab/x"), 10),
        (("layer", "rename", "workload/press", "press"), 2),
        (("layer", "rename", "workload/press", "workload/press"), 2),
        (("prototype", "rename", "desktop", "base"), 2),
        (("prototype", "rename", "none", "office"), 10),
        (("layer", "remove", "lab/none", "--yes"), 10),
        (("layer", "remove", "workload/press"), 2),
    ],
)
def test_what_cannot_be_renamed_or_removed(used: Harness, words: tuple[str, ...], code: int) -> None:
    used.fails(code, *words)
    assert used("layer", "resolve", "lab3-12").startswith("workload/press")


@pytest.mark.parametrize("is_interrupted", [False, True])
def test_a_layer_is_removed_with_what_names_it(used: Harness, is_interrupted: bool) -> None:
    assert "would remove --layer workload/press from client lab3-12" in used("layer", "remove", "workload/press", "-n")
    repository = used.repository("workload/press")
    if is_interrupted:
        live = used.site / "live/workload/press"
        for path in (live, repository):
            path.rename(path.with_name(f".{path.name}.removed"))
    used("layer", "remove", "workload/press", "--yes")
    assert used.json("client", "show", "lab3-12")["client"]["layers"] == []
    assert used.json("layer", "list")["layers"] == []
    assert not any(
        path.name.startswith(".")
        for path in (*repository.parent.iterdir(), *Path(used.site / "live/workload").iterdir())
    )
    used.edit("desktop", "new", "etc/hostname")
    used("push", "desktop", "lab3", "--yes")
    assert used.runs("lab3").keys() == {"desktop"}


@pytest.mark.parametrize("name", ["lab/lab9", "class/fpga", "workload/none", "host/other", "ip/10.9.9.9"])
def test_a_layer_that_nobody_gets_is_told(used: Harness, name: str) -> None:
    assert f"no client gets {name} yet" in used.run("layer", "create", name).err


@pytest.mark.parametrize("name", ["base", "lab/lab3", "host/lab3-12"])
def test_a_layer_that_somebody_gets_is_not(used: Harness, name: str) -> None:
    assert "no client gets" not in used.run("layer", "create", name).err
