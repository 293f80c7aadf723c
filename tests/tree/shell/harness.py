"""A prototype with a small root, and what is mounted and running in it, in anybody's namespace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.gitstate_command import Site, make_site
from tests.support import PROJECT
from tests.tree.prepare.harness import plant

WAYS = ("namespaces", "nspawn")


def prototype(place: Path, way: str = "namespaces") -> Site:
    """A site with the prototype ``desktop``, checked in, whose programs can be separated in this way."""
    site = make_site(place / "site")
    root = plant(place / "root")
    if way == "nspawn":
        (root / "usr/lib/os-release").write_text("ID=debian\n")
        (root / "usr/bin/true").symlink_to("busybox")
    set_options(site, nspawn=way == "nspawn")
    (root / "etc/resolv.conf").write_text("nameserver 192.0.2.1\n")
    os.mknod(root / "dev/console", 0o20600, os.makedev(5, 1))
    site.run("prototype", "create", "desktop", "--live", str(root))
    site.run("checkin", "desktop", "-m", "as installed")
    return site


def set_options(site: Site, **options: bool) -> None:
    """Write ``[shell]`` of site.toml."""
    file = site.path / "site.toml"
    lines = [line for line in file.read_text().splitlines() if not line.startswith("shell.")]
    file.write_text("\n".join([*(f"shell.{key} = {json.dumps(value)}" for key, value in options.items()), *lines, ""]))


def mounts(place: Path) -> list[str]:
    """Mounts at or from below a directory, in anybody's namespace that is still there, even with another root."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            lines = (process / "mountinfo").read_text().splitlines()
        except OSError:
            continue
        found |= {
            line.split()[4] for line in lines if f" {place}/" in line or f"{str(place).removeprefix('/tmp')}/" in line
        }
    return sorted(found)


def visible_mounts(place: Path) -> list[str]:
    """Mounts below a directory that we see."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return sorted(str(Path(line.split()[4]).relative_to(place)) for line in lines if f" {place}/" in line)


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def start(site: Site, *words: str) -> subprocess.Popen[bytes]:
    """A command that goes on, in a process group of its own."""
    environment = {**os.environ, "GITSTATE_SITE": str(site.path), "PYTHONPATH": str(PROJECT)}
    argv = [sys.executable, "-m", "gitstate", *words]
    return subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL, start_new_session=True)
