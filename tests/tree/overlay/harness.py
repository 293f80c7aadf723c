"""A snapshot with a bit of everything, its export, and real overlays over it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gitstate.core.monitor import SILENT
from gitstate.core.signature import Signature
from gitstate.store.repository import MAIN, Repository
from gitstate.tree import checkin, upper
from tests.damage.harness import mounted
from tests.gitstate_command import Site, make_site

WHO = Signature("Eve <eve@example.org>", 1_700_000_000, "+0000")


class Below:
    """A prototype with one snapshot, and the export of it, over which overlays are mounted."""

    def __init__(self, place: Path) -> None:
        self.place = place
        live = place / "root"
        live.mkdir()
        populate(live)
        self.site: Site = make_site(place / "site")
        self.site.run("prototype", "create", "desktop", "--live", str(live))
        self.site.run("checkin", "desktop", "-m", "first")
        self.export = place / "export"
        self.site.run("export", "desktop", "HEAD", "--to", str(self.export))
        self.repository = Repository(self.site.repository("desktop"))
        tip = self.repository.ref(MAIN)
        assert tip is not None
        self.base = tip
        (self.repository.private / "cache").unlink()

    def edits(self, directory: Path, branch: str = "tried") -> upper.Edits:
        """A check-in of an upper directory."""
        return upper.Edits(self.repository, self.base, directory, branch, "edits", WHO, WHO)

    def upper_tree(self, directory: Path) -> bytes:
        """The tree that a check-in of an upper directory would record."""
        found = upper.rehearse(self.edits(directory), SILENT).status
        assert not found.findings.unrecorded
        return found.tree

    def merged_tree(self, shown: Path) -> bytes:
        """The tree that a check-in of a mounted overlay would record: a walk of all of it."""
        found = checkin.status(self.repository, shown, SILENT)
        assert not found.findings.unrecorded
        return found.tree


class Overlay:
    """An overlay on an export, with an upper directory of its own."""

    def __init__(self, below: Below, place: Path, options: Sequence[str] = ()) -> None:
        self.below = below
        self.upper, self.work, self.shown = place / "upper", place / "work", place / "shown"
        self.options = options
        for directory in (self.upper, self.work):
            directory.mkdir(parents=True)
        copy_own(below.export, self.upper)

    @contextmanager
    def mounted(self, *more: str) -> Iterator[Path]:
        """The overlay, mounted."""
        layers = [f"lowerdir={self.below.export}", f"upperdir={self.upper}", f"workdir={self.work}"]
        with mounted(self.shown, "-t", "overlay", "-o", ",".join([*layers, *self.options, *more]), "overlay") as shown:
            yield shown


def copy_own(source: Path, target: Path) -> None:
    """A directory's own metadata, which the root of an overlay has from its upper directory."""
    found = source.stat()
    os.chown(target, found.st_uid, found.st_gid)
    os.chmod(target, stat.S_IMODE(found.st_mode))
    for name in os.listxattr(source):
        os.setxattr(target, name, os.getxattr(source, name))
    os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))


def populate(root: Path) -> None:
    """Files, links of both kinds, devices, names that git minds, attributes, directories of which little is kept."""
    for name in ("etc/ssh", "a/b/c", "a/d", "empty", "tmp", "var/tmp", "var/cache/apt/archives", "dev"):
        (root / name).mkdir(parents=True)
    for name in ("etc/hosts", "etc/ssh/config", "a/one", "a/b/two", "a/b/c/three", "a/d/four", "a/b/.gitignore"):
        (root / name).write_text(f"{name}\n")
    (root / "a" / ".git").mkdir()
    (root / "a" / ".git" / "config").write_text("[core]\n")
    os.link(root / "a/one", root / "a/d/one")
    os.link(root / "a/one", root / "a/b/c/one")
    os.link(root / "a/b/two", root / "etc/two")
    os.link(root / "a/d/four", root / "a/d/five")
    os.symlink("../etc/hosts", root / "a/link")
    os.symlink("b", root / "a/to-b")
    os.mkfifo(root / "a/fifo")
    os.mknod(root / "dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.chown(root / "a/b/two", 1000, 1001)
    os.chmod(root / "a/d", 0o2775)
    os.setxattr(root / "a/one", "user.a=b", b"\0x")
    os.setxattr(root / "a/b", "user.dir", b"1")
    subprocess.run(["touch", "-d", "@1000000000.123456789", *map(str, root.rglob("*"))], check=True)


def remove(path: Path) -> None:
    """Whatever it is."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
