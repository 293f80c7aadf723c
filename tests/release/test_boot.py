"""What machines of a channel boot follows its releases: one file, replaced in one step."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.boot.files.harness import initrd
from tests.release.harness import SCRIPT, Harness, chained
from tests.support import needs, root_only

pytestmark = [root_only, needs("git", "gzip", "setfacl", "setcap")]


def test_clients_follow_their_channel(boots: Harness) -> None:
    assert "channel lab3 of lab3-12 has no release" in boots.fails(10, "boot", "write")
    assert "1 client (1 diskless), at next boot" in boots("push", "desktop", "lab3", "--yes")
    first = boots.head("desktop")
    assert chained(boots) == first
    assert "gitstate.release=lab3/1" in (boots.site / SCRIPT).read_text()
    boots("boot", "write")
    machine = boots.site / "tftp" / "boot" / "mac" / "52-54-00-12-34-56.ipxe"
    assert machine.read_text().splitlines()[-1] == "chain --autofree ../channel/lab3.ipxe"
    before = machine.stat()
    second = boots.edit("desktop", "hello", "srv/plain")
    boots("push", "desktop", "lab3", "--yes")
    assert chained(boots) == second
    assert "gitstate.release=lab3/2" in (boots.site / SCRIPT).read_text()
    assert machine.stat() == before
    boots("rollback", "lab3")
    assert chained(boots) == first
    assert "gitstate.release=lab3/3" in (boots.site / SCRIPT).read_text()
    assert boots("boot", "write").startswith("nothing to write")


def test_a_pin_wins(boots: Harness) -> None:
    boots("push", "desktop", "lab3", "--yes")
    boots("client", "set", "lab3-12", "--pin", "desktop@main")
    boots("boot", "write")
    machine = boots.site / "tftp" / "boot" / "mac" / "52-54-00-12-34-56.ipxe"
    assert machine.read_text().splitlines()[-1] == f"chain --autofree ../../desktop/{boots.head('desktop')}/boot.ipxe"
    assert (boots.site / SCRIPT).exists()


def test_a_channel_that_goes_takes_its_script(boots: Harness) -> None:
    boots("push", "desktop", "lab3", "--yes")
    assert "lab3-12 follows lab3" in boots.fails(4, "channel", "remove", "lab3", "--yes")
    boots("client", "remove", "lab3-12")
    boots("channel", "remove", "lab3", "--yes")
    boots("boot", "write")
    assert not (boots.site / SCRIPT).exists()


def test_what_cannot_boot_is_not_released(boots: Harness) -> None:
    boots("push", "desktop", "lab3", "--yes")
    first = boots.head("desktop")
    for kernel in (boots.site / "live" / "desktop" / "boot").glob("initrd*"):
        kernel.write_bytes(initrd(others=()))
    boots("checkin", "desktop", "-m", "no hook")
    assert "has no hook of gitstate" in boots.fails(10, "push", "desktop", "lab3", "--yes")
    assert chained(boots) == first
    assert boots.runs("lab3") == {"desktop": first}
    assert "has no hook of gitstate" in boots.fails(10, "reconcile")


def test_a_script_that_was_lost_is_written_again(boots: Harness) -> None:
    boots("push", "desktop", "lab3", "--yes")
    (boots.site / SCRIPT).unlink()
    assert SCRIPT in boots("reconcile")
    assert chained(boots) == boots.head("desktop")
    assert boots("reconcile") == "nothing to publish"


def test_the_directory_tells_what_runs(boots: Harness) -> None:
    boots("push", "desktop", "lab3", "--yes")
    directory = boots.site / "directory.git"
    text = boots.releases("-C", str(directory), "show", "main:channels/lab3.ldif")
    assert "gitstateRelease: lab3/1" in text
    assert f"gitstateCommit: {boots.head('desktop')}" in text


def test_a_directory_that_is_wrong_about_a_channel_is_mended(boots: Harness) -> None:
    """``site.git`` is the truth."""
    boots("push", "desktop", "lab3", "--yes")
    state = boots.releases("-C", str(boots.site / "directory.git"), "rev-parse", "main~1")
    boots.releases("-C", str(boots.site / "directory.git"), "update-ref", "refs/heads/main", state)
    assert "directory: lab3 runs lab3/1" in boots("reconcile")


@pytest.mark.parametrize("broken", ["gitstateCommit: abc", "gitstateSigned: maybe", "objectClass: device", "nonsense"])
def test_a_channels_entry_edited_into_nonsense(boots: Harness, broken: str, tmp_path: Path) -> None:
    work = tmp_path / "directory"
    boots.releases("clone", "-q", str(boots.site / "directory.git"), str(work))
    entry = work / "channels" / "lab3.ldif"
    entry.write_text(entry.read_text() + f"{broken}\n")
    words = ("-C", str(work), "-c", "user.name=A", "-c", "user.email=a@b")
    boots.releases(*words, "commit", "-qam", "edit")
    boots.releases(*words, "push", "-q")
    said = boots.fails(7, "channel", "list")
    assert "channels/lab3.ldif, line " in said
