"""A machine's root in a directory, archives for it, and the shells and programs that machines have."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gitstate.core.entry import Kind, Meta
from gitstate.machine.archives import content as archive
from gitstate.machine.render.models import Archive, ArchiveEntry, Layout, Reload, Variant
from tests.support import PROJECT

SECOND = 10**9
WHEN = 1_700_000_000
FILE = Meta(Kind.FILE, 0o644, time=WHEN * SECOND)
LINK = Meta(Kind.SYMLINK, 0o777, time=WHEN * SECOND)
FOLDER = Meta(Kind.DIRECTORY, 0o755, time=WHEN * SECOND)
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
"""cap_net_raw=ep"""


def laid(files: Mapping[str, str | bytes | ArchiveEntry]) -> tuple[ArchiveEntry, ...]:
    """Files by path; ``-> x`` is a link; a ``ArchiveEntry`` gets the path."""
    found = []
    for path, what in files.items():
        name = os.fsencode(path)
        if isinstance(what, ArchiveEntry):
            found.append(replace(what, path=name))
        elif isinstance(what, str) and what.startswith("-> "):
            found.append(ArchiveEntry(name, LINK, what.removeprefix("-> ").encode()))
        else:
            found.append(ArchiveEntry(name, FILE, what.encode() if isinstance(what, str) else what))
    return tuple(found)


def layout(
    files: Mapping[str, str | bytes | ArchiveEntry],
    removed: tuple[str, ...] = (),
    opaque: tuple[str, ...] = (),
    reload: tuple[Reload, ...] = (),
) -> Layout:
    return Layout(
        laid(files), tuple(os.fsencode(one) for one in removed), tuple(os.fsencode(one) for one in opaque), reload
    )


def packed(common: Layout, *variants: Variant, release: str = "lab3/7", match_all: bool = False) -> bytes:
    about = archive.about("lab3-12", {"base": "cd" * 20, "host/lab3-12": "ef" * 20})
    about |= {"RELEASE": release, "PROTOTYPE": "desktop", "COMMIT": "ab" * 20}
    return b"".join(archive.write(Archive(about, common, variants, match_all, WHEN)))


def unpacked(data: bytes, place: Path) -> Path:
    """As the kernel does it."""
    place.mkdir(parents=True)
    subprocess.run(["cpio", "-idm", "--quiet"], input=data, cwd=place, check=True)
    return place / "gitstate/machine"


def looks(root: Path) -> dict[str, tuple[object, ...]]:
    """What stands below ``root``: kind and mode, owner, content."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        content: object = None
        if stat.S_ISREG(status.st_mode):
            content = path.read_bytes()
        elif stat.S_ISLNK(status.st_mode):
            content = os.readlink(path)
        found[str(path.relative_to(root))] = (oct(status.st_mode), status.st_uid, status.st_gid, content)
    return found


def only_busybox(place: Path) -> Path:
    """A directory of programs that are all busybox's, but for what it doesn't have."""
    place.mkdir()
    busybox = shutil.which("busybox") or ""
    for name in subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split():
        (place / name).symlink_to(busybox)
    for name in ("setfattr", "getfattr"):
        if found := shutil.which(name):
            (place / name).symlink_to(found)
    return place


@dataclass(frozen=True)
class Machine:
    """A machine that runs in a directory; by default its root is an overlay's, ``lower`` below it."""

    place: Path
    shell: tuple[str, ...]
    path: str

    @property
    def root(self) -> Path:
        return self.place / "root"

    @property
    def lower(self) -> Path:
        return self.root / "run/gitstate/lower"

    def has(self, files: Mapping[str, str]) -> None:
        """The root has files as the snapshot has them."""
        for place in (self.root, self.lower) if self.lower.is_dir() else (self.root,):
            for name, text in files.items():
                path = place / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)

    def boot_wrote(self, files: Mapping[str, str]) -> None:
        """The root has files as the boot hook has written them, over the snapshot's."""
        for place in (self.root, self.root / "run/gitstate/written"):
            for name, text in files.items():
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                (place / name).write_text(text)

    def serve(self, data: bytes) -> None:
        """The current archive from now on."""
        (self.place / "current.cpio").write_bytes(data)

    def run(self, *words: str, code: int = 0, env: Mapping[str, str] | None = None) -> str:
        """What a command prints, errors among it."""
        done = self.start(*words, env=env)
        assert done.returncode == code, done.stdout
        return done.stdout

    def start(self, *words: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.words(*words),
            env=self.environment | dict(env or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=60,
        )

    def words(self, *words: str) -> list[str]:
        return [*self.shell, str(PROJECT / "hooks/client/gitstate"), *words]

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": self.path,
            "GITSTATE_ROOT": str(self.root),
            "GITSTATE_LIB": str(PROJECT / "hooks"),
            "TMPDIR": str(self.place / "tmp"),
        }

    def relayer(self, *words: str, code: int = 0, env: Mapping[str, str] | None = None) -> str:
        return self.run("relayer", "--from", str(self.place / "current.cpio"), *words, code=code, env=env)

    def files(self) -> dict[str, tuple[object, ...]]:
        """The root without what is ours, and without the directories."""
        return {
            path: look
            for path, look in looks(self.root).items()
            if not path.startswith(("run", "proc", "sys", "var/lib/gitstate")) and not str(look[0]).startswith("0o4")
        }

    def left_overs(self) -> list[str]:
        names = [str(path) for path in self.root.rglob(".gitstate-new")]
        return names + [path.name for path in (self.place / "tmp").iterdir()]
