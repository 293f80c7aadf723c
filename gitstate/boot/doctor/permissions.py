"""Owners and modes of the site's directories."""

from __future__ import annotations

import grp
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gitstate.boot.doctor.models import Check, bad, note, ok
from gitstate.boot.options import Options
from gitstate.core import fs
from gitstate.store.site import Site

_PRIVATE: Final = ("prototypes", "layers", "live", "exports", "secrets")
_STICKY_CLOSED: Final = 0o1001


def permissions(site: Site, options: Options | None) -> Iterator[Check]:
    """Who may read the site's directories; who may read ``tftp/`` only if the ``options`` are known."""
    problems = list(_problems(site, options))
    yield from problems
    if not problems:
        yield ok("site", f"{site.path}: private, tftp/ readable by the boot services only")
    yield from _junctions(site)
    yield _secrets(site)


def _problems(site: Site, options: Options | None) -> Iterator[Check]:
    yield from _mode(site.path, 0o711)
    for name in _PRIVATE:
        yield from _mode(site.path / name, 0o700)
    if not fs.has_directory(site.tftp):
        yield bad("site", f"{site.tftp} is missing", "gitstate boot write")
    elif options is not None and (problem := _group(site.tftp, options.group)):
        yield bad("site", problem, "gitstate boot write")


def _mode(path: Path, wanted: int) -> Iterator[Check]:
    """Report a mode that grants more than ``wanted``, and any owner but root."""
    try:
        about = path.lstat()
    except FileNotFoundError:
        yield bad("site", f"{path} is missing", f"install -d -m {wanted:04o} {path}")
        return
    mode = stat.S_IMODE(about.st_mode)
    if about.st_uid:
        yield bad("site", f"{path} belongs to uid {about.st_uid}, not to root", f"chown root: {path}")
    if mode & ~wanted & 0o7777:
        yield bad("site", f"{path} has mode {mode:04o}", f"chmod {wanted:04o} {path}")


def _group(tftp: Path, group: str) -> str:
    """What is wrong with the group of ``tftp``; empty if nothing is."""
    about = tftp.stat()
    try:
        wanted = grp.getgrnam(group).gr_gid
    except KeyError:
        return f"there is no group {group} to read {tftp}"
    if about.st_gid != wanted:
        return f"{tftp} belongs to gid {about.st_gid}, not to the group {group}"
    return "" if about.st_mode & 0o050 == 0o050 else f"{tftp} can't be read by its group"


def _junctions(site: Site) -> Iterator[Check]:
    """Ganesha hides a directory that is sticky and not executable for others: it takes it for a junction."""
    exports = (site.exports / name / commit for name in fs.list_names(site.exports) for commit in _commits(site, name))
    for export in exports:
        found = [entry for entry in export.iterdir() if entry.is_dir() and not entry.is_symlink()]
        for directory in found:
            if directory.stat().st_mode & _STICKY_CLOSED == 0o1000:
                yield note("nfs", f"{directory}: Ganesha won't show a directory of this mode", "chmod o+x, check in")


def _secrets(site: Site) -> Check:
    folder = site.path / "secrets"
    count = sum(not name.startswith(".") for name in fs.list_names(folder))
    return ok("secrets", f"of {count} machines" if count else "none")


def _commits(site: Site, name: str) -> list[str]:
    """The exports of one prototype."""
    return [one for one in fs.list_names(site.exports_path(name)) if one[0] in "0123456789abcdef"]
