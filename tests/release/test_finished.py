"""``reconcile`` alone finishes what else was interrupted: the boot group's rights, archives after a report."""

from __future__ import annotations

import os

from tests.release.harness import Harness
from tests.release.test_reports import archive_of, graphics, report, written
from tests.support import needs, root_only

pytestmark = [root_only, needs("git", "cpio", "setfacl", "setcap")]

__all__ = ["graphics"]


def test_another_boot_group(boots: Harness) -> None:
    """Older snapshots and releases, too."""
    boots.layer("base")
    boots("push", "desktop", "lab3", "--yes")
    boots("boot", "write")
    boots.edit("desktop", "two\n", "srv/plain")
    boots("push", "desktop", "lab3", "--yes")
    settings = boots.site / "site.toml"
    settings.write_text(settings.read_text().replace('group = "www-data"', 'group = "nogroup"\nhttp = false'))
    tftp = boots.site / "tftp"
    assert len([path for path in (tftp / "desktop").iterdir() if path.is_dir()]) == 2
    assert "would fix: rights of the group nogroup: " in boots("reconcile", "-n")
    assert "fixed: rights of the group nogroup: " in boots("reconcile")
    assert {path.stat().st_gid for path in [tftp, *tftp.rglob("*")] if path.name != ".keys"} == {65534}
    assert boots("reconcile") == "nothing to publish"
    assert "not the group" not in boots("doctor", code=1)


def test_a_report_before_its_archive(graphics: Harness) -> None:
    """Killed in between; the report again, or reconcile, finishes it. A report like that waits for no lock."""
    before = archive_of(graphics, "lab3-12")
    words = ("client", "report", "lab3-12", written(graphics.place, report()))
    for finish in (words, ("reconcile",)):
        graphics(*words)
        after = archive_of(graphics, "lab3-12")
        assert b"files/etc/gpu\0" in after
        path = graphics.site / "tftp/archives/lab3/1/lab3-12.cpio"
        path.write_bytes(before)
        os.chown(path, 0, path.parent.stat().st_gid)
        said = graphics.run(*finish)
        assert "lab3-12" in said.out + said.err
        assert archive_of(graphics, "lab3-12") == after
    assert graphics.run(*words).err == ""
