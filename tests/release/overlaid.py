"""A machine in a directory: a real overlay over an export of the site, with the layers of its archive."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.client.harness import Machine
from tests.release.harness import Harness

HOST = "lab3-12"


def _mount(*words: str | Path) -> None:
    subprocess.run(["mount", *words], check=True)


@contextmanager
def overlaid(harness: Harness, place: Path, shell: tuple[str, ...], path: str, release: int = 1) -> Iterator[Machine]:
    """The machine after a boot of the release, as the boot hook leaves it."""
    commit = harness.runs("lab3")["desktop"]
    export, ram = harness.site / "exports/desktop" / commit, place / "ram"
    for name in ("ram", "root", "tmp"):
        (place / name).mkdir(parents=True)
    machine = Machine(place, shell, path)
    try:
        _mount("-t", "tmpfs", "gitstate", ram)
        for name in ("upper", "work"):
            (ram / name).mkdir()
        found = export.stat()  # the root of an overlay has the metadata of its upper directory
        os.chown(ram / "upper", found.st_uid, found.st_gid)
        shutil.copystat(export, ram / "upper")
        options = f"lowerdir={export},upperdir={ram}/upper,workdir={ram}/work,metacopy=on"
        _mount("-t", "overlay", "-o", options, "gitstate", machine.root)
        (machine.root / "run").mkdir(exist_ok=True)
        _mount("-t", "tmpfs", "gitstate", machine.root / "run")
        for name in ("lower", "tmpfs"):
            (machine.root / "run/gitstate" / name).mkdir(parents=True)
        _mount("--bind", export, machine.lower)
        _mount("--bind", ram, machine.root / "run/gitstate/tmpfs")
        (machine.root / "run/gitstate/about").write_text(
            f"SNAPSHOT=desktop@{commit}\nPROTOTYPE=desktop\nCOMMIT={commit}\nHOST={HOST}\nSERVER=127.0.0.1\n"
            f"RELEASE=lab3/{release}\nSTATE=overlay\n"
        )
        archive = harness.site / f"tftp/archives/lab3/{release}/{HOST}.cpio"
        if archive.exists():
            machine.run("relayer", "--from", str(archive))
        yield machine
    finally:
        for point in (machine.root, ram):
            subprocess.run(["umount", "-R", "-l", point], check=False, stderr=subprocess.DEVNULL)
