"""A prototype that machines can boot, with two snapshots of it, tags ``one`` and ``two``: made once and kept.

It is kept in ``.work/lab``, keyed by all that goes into it, and made anew when any of that changes. What is kept is
never changed: whoever needs a site takes a `copy`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests import roots
from tests.gitstate_command import Site, git, make_site
from tests.lab.guest import SHELL_READY
from tests.support import PROJECT, require

NAME: Final = "desktop"
ONE: Final = "one"
TWO: Final = "two"

VERSION: Final = "/etc/lab-version"
UNREAD: Final = "/usr/share/lab/unread"
ABLE: Final = "/usr/local/bin/able"
SHARED: Final = "/srv/shared"

_KEPT: Final = PROJECT / ".work" / "lab"
_SOURCES: Final = ("gitstate", "hooks", "layers", "tests/lab/prototype.py", "tests/lab/guest.py", "tests/roots.py")

_TAGGER: Final = ("-c", "user.name=lab", "-c", "user.email=lab@example.org")

# `cat` makes the shell one that isn't interactive: no prompts, and it ends when it is told to.
_SHELL: Final = f"""\
[Unit]
Description=The lab's root shell on the second serial line

[Service]
ExecStart=/bin/sh -c 'stty -echo -opost; echo; echo {SHELL_READY}; cat | sh'
StandardInput=tty-force
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS1
KillSignal=SIGHUP
Restart=always

[Install]
WantedBy=multi-user.target
"""


def furnish(root: Path) -> None:
    """Put into a root what lets a machine that runs it be asked."""
    units = root / "etc" / "systemd" / "system"
    (units / "lab-shell.service").write_text(_SHELL)
    (units / "multi-user.target.wants").mkdir(exist_ok=True)
    (units / "multi-user.target.wants" / "lab-shell.service").symlink_to("/etc/systemd/system/lab-shell.service")


def unread(tag: str) -> str:
    """What stands in the file that nobody opens at boot."""
    return f"unread of {tag}\n" * 10_000


def commit(site: Path, tag: str) -> str:
    """The commit that a tag of the prototype names."""
    return git(Site(site).repository(NAME), "rev-parse", f"{tag}^{{commit}}").strip()


@contextmanager
def copy() -> Iterator[Path]:
    """A site of one's own with the prototype and its exports, until the block ends. It has no live tree.

    A directory that somebody holds a lock on is in use; others are what killed runs left.
    """
    with _kept() as kept:
        place = Path(tempfile.mkdtemp(prefix="run-", dir=_KEPT))
        descriptor = os.open(place, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        _copy(kept, place / "site")
    try:
        yield place / "site"
    finally:
        shutil.rmtree(place)
        os.close(descriptor)


def copy_to(site: Path) -> None:
    """As `copy`, and it stays."""
    with _kept() as kept:
        _copy(kept, site)


def _copy(kept: Path, site: Path) -> None:
    site.mkdir(mode=0o711)
    for each in kept.iterdir():
        how = "-al" if each.name == "exports" else "-a"  # exports are never written to
        subprocess.run(["cp", how, each, site], check=True)


@contextmanager
def _kept() -> Iterator[Path]:
    """The site that is copied, under its lock."""
    _KEPT.mkdir(parents=True, exist_ok=True)
    with open(_KEPT / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        key = _key()
        _sweep(keep=key)
        yield _made(_KEPT / key)


def _key() -> str:
    """What changes when anything does that the prototype is made of."""
    digest = hashlib.sha256()
    for source in _SOURCES:
        found = PROJECT / source
        for path in sorted(found.rglob("*")) if found.is_dir() else [found]:
            if path.is_file() and path.suffix != ".pyc":
                digest.update(f"{path.relative_to(PROJECT)} {path.stat().st_mode}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _sweep(keep: str) -> None:
    for place in _KEPT.iterdir():
        if not place.is_dir() or place.name == keep:
            continue
        descriptor = os.open(place, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(place)
        except BlockingIOError:
            continue
        finally:
            os.close(descriptor)


def _made(place: Path) -> Path:
    if not place.exists():
        require("setcap", "setfacl")
        partial = place.with_suffix(".partial")
        partial.mkdir()
        _make(make_site(partial / "site"))
        partial.rename(place)
    return place / "site"


def _make(site: Site) -> None:
    site.run("prototype", "create", NAME, "--from", str(roots.tarball(roots.EDITABLE)))
    live = site.path / "live" / NAME
    furnish(live)
    site.run("prepare", NAME)
    for tag in (ONE, TWO):
        _fill(live, tag)
        site.run("checkin", NAME, "-m", tag)
        git(site.repository(NAME), *_TAGGER, "tag", "-a", "-m", tag, tag)
        site.run("export", NAME, tag)
    shutil.rmtree(live)


def _fill(live: Path, tag: str) -> None:
    """Put files into the live tree that machines are asked about."""
    places = {path: live / path.lstrip("/") for path in (VERSION, UNREAD, ABLE, SHARED)}
    for place in places.values():
        place.parent.mkdir(parents=True, exist_ok=True)
    places[VERSION].write_text(f"{tag}\n")
    places[UNREAD].write_text(unread(tag))
    if not places[ABLE].exists():
        shutil.copy(live / "usr/bin/chown", places[ABLE])
        subprocess.run(["setcap", "cap_chown+ep", places[ABLE]], check=True)
        places[SHARED].mkdir(mode=0o750)
        subprocess.run(["setfacl", "-m", "u:1000:rwx", places[SHARED]], check=True)
