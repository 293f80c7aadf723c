"""What is mounted over a live tree keeps its last record, and the stat cache knows."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.damage.harness import Harness, mounted, plant
from tests.support import root_only

pytestmark = [root_only]


def test_a_directory_mounted_over_keeps_its_last_record(harness: Harness) -> None:
    plant(harness.live, 100)
    harness.check_in()
    other = harness.path / "other"
    plant(other, 10, seed=9)
    for source, target in ((other, "d03"), (harness.live / "d04", "d05"), (other, "d06/e6")):
        tree = harness.git("rev-parse", f"main:{target}")
        with mounted(harness.live / target, "--bind", str(source)):
            said = harness.check_in()
            assert said["mounts"] == [target]
            assert said["changes"] == []
            (harness.live / "new").write_text(target)
            harness.check_in()
            assert harness.git("rev-parse", f"main:{target}") == tree
    harness.check_in()
    harness.faithful()


def test_what_changed_under_a_mount_is_seen_when_it_is_gone(harness: Harness) -> None:
    plant(harness.live, 20)
    harness.check_in()
    hidden = os.open(harness.live / "d03" / "e3", os.O_RDONLY)
    with mounted(harness.live / "d03", "-t", "tmpfs", "tmpfs"):
        harness.check_in()
        descriptor = os.open("f3", os.O_WRONLY | os.O_TRUNC, dir_fd=hidden)
        os.write(descriptor, b"changed below the mount")
        os.close(descriptor)
        (harness.live / "new").write_text("new")
        harness.check_in()
    os.close(hidden)
    harness.check_in()
    assert harness.git("show", "main:d03/e3/f3") == "changed below the mount"
    harness.faithful()


@pytest.mark.parametrize("source", ["file", "null", "fifo", "socket"])
def test_a_file_mounted_over_keeps_its_last_record(harness: Harness, source: str) -> None:
    """Containers and chroots mount files, and /dev/null and sockets, on files."""
    plant(harness.live, 20)
    harness.check_in()
    tree = harness.git("rev-parse", "main^{tree}")
    other = harness.path / "other"
    match source:
        case "file":
            other.write_text("other")
        case "null":
            other = Path("/dev/null")
        case "fifo":
            os.mkfifo(other)
        case _:
            make_socket(other)
    with mounted(harness.live / "d03" / "e3" / "f3", "--bind", str(other)):
        said = harness.check_in()
        assert said["mounts"] == ["d03/e3/f3"]
        assert harness.git("rev-parse", "main^{tree}") == tree
        (harness.live / "d03" / "e3" / "beside").write_text("beside")
        harness.check_in()
        assert harness.git("rev-parse", "main:d03/e3/f3")
    harness.check_in()
    harness.faithful()


def make_socket(path: Path) -> None:
    """A socket as a daemon leaves it."""
    words = f"import socket; socket.socket(socket.AF_UNIX).bind({str(path)!r})"
    subprocess.run([sys.executable, "-c", words], check=True)


def test_a_mount_that_was_there_at_the_first_checkin(harness: Harness) -> None:
    """Its mount point is recorded, and its content once it is gone."""
    plant(harness.live, 20)
    with mounted(harness.live / "d03", "-t", "tmpfs", "tmpfs") as memory:
        (memory / "never").write_text("never")
        harness.check_in()
        assert harness.git("ls-tree", "--name-only", "main:d03") == ".gitstate"
    harness.check_in()
    harness.faithful()


def test_what_a_new_mount_hid_is_found_when_it_is_gone(harness: Harness) -> None:
    """The directory above doesn't change when that happens, and neither does its cached row."""
    plant(harness.live, 20)
    harness.check_in()
    hidden = harness.live / "d03" / "new"
    hidden.mkdir()
    (hidden / "file").write_text("file")
    with mounted(hidden, "-t", "tmpfs", "tmpfs"):
        time.sleep(0.05)
        harness.check_in()
        time.sleep(0.05)
        harness.check_in()
    harness.check_in()
    assert harness.git("show", "main:d03/new/file") == "file"
    harness.faithful()


def test_a_move_below_a_mount_does_not_end_the_world(harness: Harness) -> None:
    """The live tree itself may be a mount, or lie below one."""
    plant(harness.live, 20)
    harness.check_in()
    elsewhere = harness.path / "elsewhere"
    with mounted(elsewhere, "--bind", str(harness.live)):
        said = harness("checkin", "p", "-m", "m", "--live", elsewhere, json=True).well().json
        assert (said["changes"], said["mounts"]) == ([], [])
