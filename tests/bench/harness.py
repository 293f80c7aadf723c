"""Where the bench works: a directory of the project, or a file system of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from tests.bench.measure import run_untimed

MAKERS: Final = {
    "btrfs": ["mkfs.btrfs", "--quiet"],
    "ext4": ["mkfs.ext4", "-q", "-F", "-m0", "-E", "lazy_itable_init=0,lazy_journal_init=0"],
    "xfs": ["mkfs.xfs", "-q"],
}
_SPARE: Final = 2 << 30


def room(corpus: int) -> int:
    """The bytes that a bench of a corpus of this size fills at most."""
    return 9 * corpus + _SPARE


@contextmanager
def own_file_system(kind: str, directory: Path, size: int, *, keep: bool = False) -> Iterator[None]:
    """A fresh file system of this kind at ``directory``, in a sparse image beside it, past the host's page cache."""
    image = directory.with_suffix(".image")
    with open(image, "wb") as file:
        file.truncate(size)
    with ExitStack() as undo:
        if not keep:
            undo.callback(image.unlink)
        run_untimed([*MAKERS[kind], str(image)], os.environ)
        device = run_untimed(["losetup", "--direct-io=on", "--show", "--find", str(image)], os.environ).strip()
        try:
            run_untimed(["mount", "-t", kind, device, str(directory)], os.environ)
        finally:
            run_untimed(["losetup", "--detach", device], os.environ)  # which takes place when it is unmounted
        if not keep:
            undo.callback(run_untimed, ["umount", str(directory)], os.environ)
        yield


def file_system(path: Path) -> str:
    """The type of the file system that ``path`` stands on, and what matters of it."""
    best, kind, device = -1, "unknown", ""
    real = Path(os.path.realpath(path))
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, source = line.partition(" - ")
        mount = Path(fields.split()[4].encode().decode("unicode_escape"))
        if real.is_relative_to(mount) and len(mount.parts) >= best:  # of two mounts in one place the later counts
            best, kind, device = len(mount.parts), source.split()[0], fields.split()[2]
    if kind != "ext4":
        return kind
    block = Path(os.path.realpath(f"/sys/dev/block/{device}")).name
    return kind if any(Path("/proc/fs/jbd2").glob(f"{block}-*")) else "ext4 without a journal"
