"""The trees that are measured: made by mmdebstrap once and kept as a tarball, or a copy of the user's own directory."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.measure import BenchError, run_untimed
from tests.bench.trees import below, fresh

SUITE: Final = "bookworm"
EDITS: Final = 5
UPGRADED: Final = 5000
_RENAMED: Final = 100
"""Of so many upgraded files one gets another name."""
_SMALL_FILE: Final = 64 * 1024
# What gitstate's default policy doesn't record: an edit there would be none.
_UNRECORDED: Final = (b"dev", b"proc", b"run", b"sys", b"tmp", b"var")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What mmdebstrap is asked for."""

    variant: str
    packages: str

    @property
    def key(self) -> str:
        """Names the tarball: another list of packages is another corpus."""
        text = f"{SUITE} {self.variant} {','.join(sorted(self.packages.split()))}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]


RECIPES: Final = {
    "small": Recipe(
        "minbase",
        "linux-image-cloud-amd64 initramfs-tools systemd-sysv nfs-common python3 kmod udev iproute2 busybox "
        "openssh-server",
    ),
    "desktop": Recipe(
        "important",
        "linux-image-amd64 initramfs-tools openssh-server xfce4 lightdm firefox-esr libreoffice-writer gcc clang make "
        "git texlive-latex-base texlive-latex-recommended texlive-fonts-recommended",
    ),
}


@dataclass(frozen=True, slots=True)
class Corpus:
    """A tree unpacked for one bench, which may be edited."""

    name: str
    path: Path

    def describe(self) -> dict[str, object]:
        """Entries, regular files and their bytes, each inode once."""
        entries = files = size = 0
        linked = set()
        for _, status in below(self.path):
            entries += 1
            if stat.S_ISREG(status.st_mode):
                files += 1
                size += status.st_size if status.st_ino not in linked else 0
                linked |= {status.st_ino} if status.st_nlink > 1 else set()
        return {"name": self.name, "entries": entries, "files": files, "bytes": size}

    def edit(self, number: int) -> list[bytes]:
        """Five edits in five directories, others for each number; the paths edited."""
        candidates = self._candidates()
        if len(candidates) < EDITS:
            raise BenchError(f"{self.path}: fewer than {EDITS} directories with a small file to edit")
        step = len(candidates) // EDITS
        chosen = [candidates[(index * step + number) % len(candidates)] for index in range(EDITS)]
        content, mode, new, gone, touched = (os.path.join(os.fsencode(self.path), path) for path in chosen)
        with open(content, "ab") as file:
            file.write(b"# edit %d of the bench\n" % number)
        os.chmod(mode, stat.S_IMODE(os.lstat(mode).st_mode) ^ 0o111)
        Path(os.fsdecode(new) + f".new-{number}").write_text(f"new in round {number}\n")
        os.unlink(gone)
        os.utime(touched)
        return chosen

    def upgrade(self, number: int) -> int:
        """Replace files, below /usr if there is one, as dpkg does: a new one is renamed into its place. How many."""
        usr = self.path / "usr" if (self.path / "usr").is_dir() else self.path
        files = [path for path, status in below(usr) if stat.S_ISREG(status.st_mode) and status.st_nlink == 1]
        first = (number * UPGRADED) % len(files)
        chosen = (files[first:] + files[:first])[:UPGRADED]
        for count, path in enumerate(chosen):
            old = os.path.join(os.fsencode(usr), path)
            new = old + b".dpkg-new"
            with open(old, "rb") as source, open(new, "wb") as target:
                os.fchmod(target.fileno(), stat.S_IMODE(os.fstat(source.fileno()).st_mode))
                target.write(b"%s\n# upgrade %d\n" % (source.read(), number))
            os.rename(new, old)
            if count % _RENAMED == 0:
                os.rename(old, old + b".%d" % number)
        return len(chosen)

    def small_file(self) -> bytes:
        """The path of a file that is recorded. Raises BenchError."""
        if not (candidates := self._candidates()):
            raise BenchError(f"{self.path}: no small file")
        return candidates[0]

    def _candidates(self) -> list[bytes]:
        """A small file of each directory: alone on its inode, recorded by everyone, without setuid and the like."""
        chosen: dict[bytes, bytes] = {}
        for path, status in below(self.path):
            directory, _, name = path.rpartition(b"/")
            plain = stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and not status.st_mode & 0o7000
            small = 0 < status.st_size < _SMALL_FILE
            if plain and small and path.split(b"/", 1)[0] not in _UNRECORDED and not name.startswith(b".git"):
                chosen.setdefault(directory, path)
        return sorted(chosen.values())


def find(choice: str, roots: Path, say: Callable[[str], None]) -> Path:
    """The tarball of a recipe, made if it is not there, or the directory that was named. Raises BenchError."""
    recipe = RECIPES.get(choice)
    if recipe is None:
        if not Path(choice).is_dir():
            raise BenchError(f"no corpus {choice}: it is neither {' nor '.join(RECIPES)} nor a directory")
        return Path(choice).resolve()
    tarball = roots / f"{recipe.key}.tar"
    if not tarball.exists():
        say(f"mmdebstrap makes the corpus {choice}; this takes minutes, once")
        bootstrap(recipe, tarball)
    return tarball


def unpack(source: Path, target: Path) -> None:
    """Unpack a tarball or copy a directory, without what one of the contenders can't record."""
    fresh(target)
    if source.is_dir():
        run_untimed(["cp", "-a", "--one-file-system", f"{source}/.", str(target)], os.environ)
    else:
        tar = ["tar", "-x", "-p", "--numeric-owner", "--xattrs", "--xattrs-include=*"]
        run_untimed([*tar, "-f", str(source), "-C", str(target)], os.environ)
    simplify(target)


def bootstrap(recipe: Recipe, tarball: Path) -> None:
    """Make the tarball of a recipe."""
    tarball.parent.mkdir(parents=True, exist_ok=True)
    partial = tarball.with_name(f".{os.getpid()}.{tarball.name}")
    include = f"--include={','.join(recipe.packages.split())}"
    try:
        run_untimed(["mmdebstrap", f"--variant={recipe.variant}", include, SUITE, str(partial)], os.environ)
        partial.rename(tarball)
    finally:
        partial.unlink(missing_ok=True)


def simplify(root: Path) -> None:
    """Remove what one of the contenders can't record, so that all do the same work.

    A stock root with openssh-server has host keys, which our policy refuses; ostree refuses all but files and links.
    """
    kept = (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)
    specials = [path for path, status in below(root) if stat.S_IFMT(status.st_mode) not in kept]
    for special in specials:
        os.unlink(os.path.join(os.fsencode(root), special))
    for key in root.glob("etc/ssh/ssh_host_*"):
        key.unlink()
