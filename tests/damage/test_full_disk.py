"""A full disk: exit code 6 in one line, nothing lost, and with more room the next run works.

The disks are tmpfs, which runs full page by page, and a small ext4, which can run out of inodes, too. Each is filled to
within a few pages, so that what fails is sometimes the pack, sometimes its index, a ref, a file's last byte.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from gitstate.core.errors import StorageError
from gitstate.store import Type
from gitstate.store.packs import StagedPack, entry_header
from tests.damage.harness import GITSTATE, Harness, edit, environment, fill, mounted, names_of_exports, plant
from tests.support import needs, root_only
from tests.testing import judges

pytestmark = [root_only, needs("rsync", "mkfs.ext4")]

PAGE = 4096
Disk = Callable[[Path], AbstractContextManager[Path]]


@contextmanager
def on_tmpfs(place: Path) -> Iterator[Path]:
    """Eight megabytes of memory at ``place``."""
    with mounted(place, "-t", "tmpfs", "-o", "size=8m", "tmpfs"):
        yield place


@contextmanager
def on_ext4(place: Path) -> Iterator[Path]:
    """An ext4 of eight megabytes with few inodes at ``place``."""
    image = place.with_name("small.image")
    with open(image, "wb") as file:
        file.truncate(8 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-N", "160", "-m", "0", "-J", "size=1", str(image)], check=True)
    with mounted(place, "-o", "loop", str(image)):
        shutil.rmtree(place / "lost+found")
        yield place


disks = pytest.mark.parametrize("disk", [on_tmpfs, on_ext4])


# --- the repository's disk ------------------------------------------------------------------------------------------


@disks
def test_a_checkin_of_more_than_fits(bare: Harness, disk: Disk) -> None:
    bare("init").well()
    with disk(bare.site / "prototypes"):
        bare("prototype", "create", "p").well()
        plant(bare.live, 30)
        bare.check_in("before")
        head = bare.head
        (bare.live / "big").write_bytes(os.urandom(12 << 20))
        said = bare("checkin", "p", "-m", "too much").told(6)
        assert "No space left" in said.err
        assert bare.head == head
        bare.tidy()
        bare.sound()
        (bare.live / "big").write_bytes(os.urandom(1 << 20))
        bare.check_in("after")
        bare.faithful()
        bare.tidy()


@disks
def test_a_checkin_of_a_streamed_file_that_does_not_fit(bare: Harness, disk: Disk) -> None:
    """It goes into a pack of its own, from another thread."""
    bare("init").well()
    with disk(bare.site / "prototypes"):
        bare("prototype", "create", "p").well()
        bare.live.joinpath("small").write_text("small")
        bare.check_in("before")
        bare.live.joinpath("large").write_bytes(os.urandom(33 << 20))
        bare("checkin", "p", "-m", "too much").told(6)
        bare.tidy()
        bare.sound()


def checkins_with_little_room(harness: Harness, disk: Path, pages: range) -> set[int]:
    """Check-ins of new edits, each with another number of free pages; their exit codes."""
    codes = set()
    for free in pages:
        edit(harness.live, free, 6)
        head = harness.head
        ballast = fill(disk, free * PAGE)
        said = harness("checkin", "p", "-m", f"{free} pages")
        if said.code:
            said.told(6)
            assert harness.head == head
        else:
            assert harness.head != head
        codes.add(said.code)
        ballast.unlink()
        harness.tidy()
        harness.sound()
        harness.check_in("after")
        harness("status", "p", "--exit-code").well()
        if free % 10 == 8:
            harness("gc", "p").well()
    return codes


@disks
def test_checkins_with_little_room(bare: Harness, disk: Disk) -> None:
    bare("init").well()
    with disk(bare.site / "prototypes") as small:
        bare("prototype", "create", "p").well()
        plant(bare.live, 30)
        bare.check_in("before")
        assert checkins_with_little_room(bare, small, range(0, 24, 2)) == {0, 6}
        bare.faithful()


@pytest.mark.slow
@disks
def test_checkins_with_any_room(bare: Harness, disk: Disk) -> None:
    bare("init").well()
    with disk(bare.site / "prototypes") as small:
        bare("prototype", "create", "p").well()
        plant(bare.live, 30)
        bare.check_in("before")
        assert checkins_with_little_room(bare, small, range(0, 80, 2)) == {0, 6}
        bare.faithful()


def test_a_packs_last_bytes_do_not_fit(place: Path) -> None:
    """The kernel writes the six bytes for which there is room and calls that no error."""
    with on_tmpfs(place / "small") as small:
        pack = StagedPack(small, "main")
        pack.add(Type.BLOB, bytes(20), 1, bytes(PAGE - 6 - 13))
        assert 12 + len(entry_header(Type.BLOB, 1)) == 13
        fill(small)
        with pytest.raises((StorageError, OSError)):
            pack.finish()
        pack.close()


@pytest.mark.parametrize("step", ["pack", "idx"])
def test_the_disk_runs_full_at_a_step(bare: Harness, step: str) -> None:
    """Before the index, and before the ref."""
    bare("init").well()
    with on_tmpfs(bare.site / "prototypes") as small:
        bare("prototype", "create", "p").well()
        plant(bare.live, 30)
        bare.check_in("before")
        head = bare.head
        edit(bare.live, 1, 10)
        bare.interrupted(step, filling(small), "checkin", "p", "-m", "m").told(6)
        assert bare.head == head
        (small / "ballast").unlink()
        bare.sound()
        bare.check_in("after")
        bare.faithful()
        bare.tidy()


def test_the_disk_runs_full_after_the_ref_has_moved(bare: Harness) -> None:
    """Only the stat cache is lost then: the check-in is done and must not be called failed."""
    bare("init").well()
    with on_tmpfs(bare.site / "prototypes") as small:
        bare("prototype", "create", "p").well()
        plant(bare.live, 30)
        bare.check_in("before")
        head = bare.head
        edit(bare.live, 1, 10)
        said = bare.interrupted("ref", filling(small), "checkin", "p", "-m", "m", json=True).well()
        assert said.json["commit"] == bare.head != head
        (small / "ballast").unlink()
        assert bare.check_in("again")["commit"] is None
        bare.tidy()
        bare.sound()


def test_what_a_killed_checkin_left_fills_the_disk(bare: Harness) -> None:
    """The next run clears it before it needs room itself."""
    bare("init").well()
    with on_tmpfs(bare.site / "prototypes") as small:
        bare("prototype", "create", "p").well()
        plant(bare.live, 10)
        bare.check_in("before")
        (bare.live / "big").write_bytes(os.urandom(5 << 20))
        assert bare.killed("pack", "checkin", "p", "-m", "m")
        (bare.live / "big").unlink()
        (bare.live / "small").write_bytes(os.urandom(1 << 20))
        fill(small)
        bare.check_in("after")
        bare.tidy()
        bare.sound()


def filling(disk: Path) -> str:
    """A shell command that leaves no room on ``disk``."""
    return f"cat /dev/zero > {shlex.quote(str(disk / 'ballast'))} 2>/dev/null || true"


def test_the_collection_of_garbage_without_room(bare: Harness) -> None:
    bare("init").well()
    with on_tmpfs(bare.site / "prototypes") as small:
        bare("prototype", "create", "p").well()
        plant(bare.live, 60)
        bare.check_in("before")
        edit(bare.live, 1, 30)
        (bare.live / "big").write_bytes(os.urandom(1 << 20))
        bare.check_in("more")
        ballast = fill(small, 128 * PAGE)
        free = os.statvfs(small).f_bavail
        bare("gc", "p").told(6)
        assert os.statvfs(small).f_bavail >= free - 1, "a pack that didn't fit is given back"
        ballast.unlink()
        bare.sound()
        bare("gc", "p").well()
        bare.sound()
        bare.faithful("HEAD")


@disks
def test_a_site_and_a_prototype_without_room(bare: Harness, disk: Disk) -> None:
    source = bare.path / "source"
    plant(source, 30)
    with disk(bare.path / "small") as small:
        ballast = fill(small)
        bare.site = small / "site"
        bare("init").told(6)
        ballast.unlink()
        subprocess.run(["rm", "-rf", bare.site], check=True)
        bare("init").well()
        ballast = fill(small)
        bare("prototype", "create", "p").told(6)
        bare("prototype", "create", "p", "--from", source).told(6)
        assert bare("prototype", "list", json=True).well().json == {"schema": "prototype-list/1", "prototypes": []}
        ballast.unlink()
        assert list((bare.site / "live").iterdir()) == []
        bare("prototype", "create", "p", "--from", source).well()
        assert judges.rsync(source, bare.site / "live" / "p") == []


# --- the exports' disk ----------------------------------------------------------------------------------------------


@disks
def test_an_export_of_more_than_fits(harness: Harness, disk: Disk) -> None:
    with disk(harness.site / "exports"):
        plant(harness.live, 20)
        harness.check_in("small")
        before = harness.export()
        (harness.live / "big").write_bytes(os.urandom(12 << 20))
        harness.check_in("big")
        said = harness("export", "p").told(6)
        assert "No space left" in said.err
        assert names_of_exports(harness.exports) == {before.name}
        harness.tidy()
        assert harness("verify", "p", "HEAD~1").well()
        (harness.live / "big").write_bytes(os.urandom(1 << 20))
        harness.check_in("less")
        harness.faithful()


def test_an_export_of_more_entries_than_inodes(harness: Harness) -> None:
    with on_ext4(harness.site / "exports"):
        plant(harness.live, 200)
        harness.check_in()
        harness("export", "p").told(6)
        assert names_of_exports(harness.exports) == set()
        harness.tidy()
        subprocess.run(f"rm -rf {harness.live}/d*", shell=True, check=True)
        harness.check_in("fewer", "--yes-delete", "1000")
        harness.faithful()


def exports_with_little_room(harness: Harness, disk: Path, pages: range) -> set[int]:
    """Exports of a tree whose last file ends in the last page, each with another number of free pages; exit codes."""
    codes = set()
    (harness.live / "z").mkdir(exist_ok=True)
    (harness.live / "z" / "three pages").write_bytes(os.urandom(3 * PAGE - 100))
    harness.check_in()
    for free in pages:
        ballast = fill(disk, free * PAGE)
        said = harness("export", "p")
        ballast.unlink()
        if said.code:
            said.told(6)
            assert names_of_exports(harness.exports) == set()
            harness.tidy()
        else:
            assert judges.rsync(harness.live, harness.exports / harness.head) == []
        codes.add(said.code)
        subprocess.run(["rm", "-rf", harness.exports], check=True)
    return codes


@disks
def test_exports_with_little_room(harness: Harness, disk: Disk) -> None:
    with disk(harness.site / "exports") as small:
        assert exports_with_little_room(harness, small, range(16)) == {0, 6}


@pytest.mark.slow
@disks
def test_exports_with_any_room(harness: Harness, disk: Disk) -> None:
    plant(harness.live, 12)
    with disk(harness.site / "exports") as small:
        assert exports_with_little_room(harness, small, range(0, 80, 2)) == {0, 6}


def test_a_clone_without_room(harness: Harness) -> None:
    plant(harness.live, 60)
    harness.check_in()
    with on_tmpfs(harness.path / "small") as small:
        ballast = fill(small)
        harness("clone", "p", small / "clone").told(6)
        ballast.unlink()
        assert list(small.iterdir()) == []
        harness("clone", "p", small / "clone").well()


# --- a full standard output -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", ["manifest p", "status p", "log p", "diff p", "prototype list", "manifest p --json"])
def test_output_that_can_not_be_written(harness: Harness, words: str) -> None:
    harness.check_in()
    (harness.live / "etc" / "fstab").write_text("# changed\n")
    line = [*GITSTATE, "--site", str(harness.site), *words.split()]
    with open("/dev/full", "w") as full:
        done = subprocess.run(line, env=environment(), stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 6, done
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
    assert "No space left" in done.stderr
