"""What the attempts share: a site to damage, gitstate's command line, and the conditions that must hold afterwards."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.damage.fault_injection import KILL, NEVER, Fault
from tests.fork_server import ForkServer
from tests.support import PROJECT
from tests.testing import judges

GITSTATE = (sys.executable, "-m", "gitstate")
NOBODY = 65534
PATIENCE = 120
"""Seconds after which a command is taken to hang."""
READERS = (
    ("status", "p"),
    ("checkin", "p", "-m", "m"),
    ("export", "p"),
    ("manifest", "p"),
    ("log", "p"),
    ("diff", "p"),
    ("fsck", "p"),
    ("gc", "p"),
    ("prototype", "show", "p"),
)
"""A command of each kind that reads a repository."""


def environment() -> dict[str, str]:
    """Ours as it is now, and where gitstate is."""
    return {**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1"}


@dataclass(frozen=True)
class Said:
    """What a command said and how it ended; ``code`` is negative for a signal."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output of a command with ``--json``."""
        return json.loads(self.out)

    def well(self) -> Said:
        """Itself, if all went well."""
        assert self.code == 0, self
        return self

    def _message_and_hint(self) -> tuple[str, str]:
        lines = self.err.splitlines()
        if len(lines) == 1 and lines[0].startswith("{"):
            error = json.loads(lines[0])["error"]
            assert sorted(error) == ["code", "hint", "message"], self
            assert error["code"] == self.code, self
            return error["message"], error["hint"]
        message, *hint = lines
        assert hint, self
        assert message.startswith("gitstate: "), self
        assert all(line.startswith("  ") for line in hint), self
        return message.removeprefix("gitstate: "), " ".join(map(str.strip, hint))

    def told(self, *codes: int) -> Said:
        """Itself, if it is an error of one of ``codes`` told in a line and a hint."""
        assert self.code in codes, self
        message, hint = self._message_and_hint()
        assert message.strip(), self
        assert len(hint) > 5, self
        assert "Traceback" not in self.err, self
        assert "bug:" not in self.err, self
        return self


def gitstate(site: Path, *words: str | Path, json: bool = False, nobody: bool = False, cwd: Path | None = None) -> Said:
    """Run a command of its own process on ``site``; ``nobody``: as a user who owns nothing."""
    drop = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups") if nobody else ()
    line = [*drop, *GITSTATE, "--site", site, *words, *(["--json"] if json else [])]
    done = subprocess.run(
        line, env=environment(), cwd=cwd, capture_output=True, stdin=subprocess.DEVNULL, timeout=PATIENCE, check=False
    )
    return Said(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


class Harness:
    """A site with one prototype, ``p``, and everything that is asserted of it after an attempt."""

    def __init__(self, path: Path, fork_server: ForkServer) -> None:
        self.path = path
        self.site = path / "site"
        self.repository = self.site / "prototypes" / "p.git"
        self.live = self.site / "live" / "p"
        self.exports = self.site / "exports" / "p"
        self._fork_server = fork_server

    def __call__(self, *words: str | Path, json: bool = False, cwd: Path | None = None) -> Said:
        """Run a command on the site, in a fork of a process that has gitstate imported already."""
        line = ["--site", str(self.site), *map(str, words), *(["--json"] if json else [])]
        return Said(*self._fork_server.run(line, cwd or self.path))

    def interrupted(self, when: str, what: str, *words: str, json: bool = False) -> Said:
        """Run a command to which ``what`` is done at ``when`` (see fault_injection.py); it must have come there."""
        line = ["--site", str(self.site), *words, *(["--json"] if json else [])]
        witness = self.path / "witness"
        witness.unlink(missing_ok=True)
        said = Said(*self._fork_server.run(line, self.path, Fault(when=when, what=what, witness=str(witness))))
        wait_for_orphans(self.site)
        if not when.isdigit():
            assert witness.exists(), (when, said)
            assert when in (NEVER, witness.read_text()) or when.startswith(witness.read_text() + ":")
        return said

    def killed(self, when: str, *words: str) -> bool:
        """Run a command that kills itself at ``when``; False if it ended before that operation."""
        said = self.interrupted(when, KILL, *words)
        if when.isdigit() and not (self.path / "witness").exists():
            said.well()
            return False
        assert said.code == -signal.SIGKILL, said
        return True

    def operations(self, *words: str) -> int:
        """How many operations on files a command makes."""
        self.interrupted(NEVER, KILL, *words).well()
        return int((self.path / "witness").read_text())

    def begin(self) -> Harness:
        """Make the site and the prototype."""
        self("init").well()
        self("prototype", "create", "p").well()
        return self

    def check_in(self, message: str = "m", *words: str) -> Any:
        """A check-in that must go well; what it says."""
        return self("checkin", "p", "-m", message, *words, json=True).well().json

    def git(self, *words: str) -> str:
        """Plain git on the repository."""
        return git(self.repository, *words)

    @property
    def head(self) -> str:
        """The commit that main stands at."""
        return self.git("rev-parse", "refs/heads/main")

    def export(self, revision: str = "HEAD", *words: str) -> Path:
        """An export that must go well; its directory."""
        return Path(self("export", "p", revision, *words).well().out.strip())

    def sound(self) -> None:
        """git and gitstate find nothing wrong with the repository."""
        assert complaints(self.repository) == []
        assert self("fsck", "p").well().out == "p: ok\n"

    def tidy(self) -> None:
        """Nothing of a killed or failed command is left."""
        assert leftovers(self.site) == []

    def faithful(self, revision: str = "HEAD") -> None:
        """The export of ``revision`` is the live tree, as outside programs see it."""
        assert judges.rsync(self.live, self.export(revision)) == []


def git(repository: Path, *words: str, given: bytes = b"") -> str:
    """What plain git says, stripped; it must go well."""
    done = subprocess.run(["git", f"--git-dir={repository}", *words], input=given, capture_output=True, check=False)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout.decode(errors="surrogateescape").strip()


def complaints(repository: Path) -> list[str]:
    """What git's own check finds wrong, notices of dangling objects aside."""
    argv = ["git", f"--git-dir={repository}", "fsck", "--strict", "--full", "--no-dangling", "--no-progress"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("notice:")]
    return lines or ([f"exit code {done.returncode}"] if done.returncode else [])


def wait_for_orphans(site: Path) -> None:
    """A git that outlives its killed parent ends by itself."""
    deadline = time.monotonic() + PATIENCE
    while any(os.fsencode(site) in line for line in _command_lines()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _command_lines() -> Iterator[bytes]:
    for process in Path("/proc").glob("[0-9]*"):
        if process.name != str(os.getpid()):
            with suppress(OSError):
                yield (process / "cmdline").read_bytes()


PACK_FILES = (".pack", ".idx", ".bitmap", ".mtimes")


_KEPT = frozenset({"lock", "cache", "exports", "live-root"})
"""What stays in a repository's private directory."""


def leftovers(site: Path) -> list[str]:
    """What commands leave behind only when they are killed or forget to clean up."""
    found = []
    for repository in [*(site / "prototypes").iterdir(), *(site / "live").iterdir()]:
        if repository.name.startswith("."):
            found.append(str(repository))
    for repository in (site / "prototypes").glob("*.git"):
        packs = {path.name for path in (repository / "objects" / "pack").iterdir()}
        wanted = {name for name in packs if name.startswith("pack-") and name.endswith(PACK_FILES)}
        halves = {name for name in wanted if not {f"{Path(name).stem}.pack", f"{Path(name).stem}.idx"} <= packs}
        found += [f"{repository.name}: {name}" for name in sorted(packs - wanted | halves)]
        private = {path.name for path in (repository / "gitstate").iterdir() if not path.name.startswith("git-of-")}
        found += [f"{repository.name}: gitstate/{name}" for name in sorted(private - _KEPT)]
        found += [f"{repository.name}: {path.name}" for path in (repository / "refs").rglob("*.lock")]
    found += [f"exports: {path.name}" for path in (site / "exports").glob("*/.*")]
    return found


def names_of_exports(exports: Path) -> set[str]:
    """Final names of exports, those of half done ones left out."""
    return {path.name for path in exports.glob("*") if not path.name.startswith(".")}


# --- trees ----------------------------------------------------------------------------------------------------------


def plant(root: Path, files: int, seed: int = 0, *, large: int = 0) -> None:
    """A tree of ``files`` small files in some directories with links of both kinds, and a file of ``large`` bytes."""
    chance = random.Random(seed)
    root.mkdir(exist_ok=True)
    for number in range(files):
        directory = root / f"d{number % 40:02}" / f"e{number % 7}"
        if number < 280:
            directory.mkdir(parents=True, exist_ok=True)
        (directory / f"f{number}").write_bytes(b"%d %d\n" % (seed, number) + chance.randbytes(chance.randrange(3000)))
    first = root / "d00" / "e0" / "f0"
    os.link(first, root / "hard")
    os.symlink("d00/e0/f0", root / "soft")
    os.mkfifo(root / "fifo")
    if large:
        (root / "large").write_bytes(chance.randbytes(1 << 20) * (large >> 20))


def edit(root: Path, seed: int, count: int = 200) -> None:
    """Change, add and remove some of what ``plant`` made."""
    chance = random.Random(seed)
    files = sorted(path for path in root.glob("d*/e*/*") if path.is_file())
    for path in chance.sample(files, min(count, len(files))):
        match chance.randrange(4):
            case 0:
                path.unlink()
            case 1:
                path.chmod(0o600)
            case 2:
                path.with_name(f"n{chance.getrandbits(48):x}").write_bytes(chance.randbytes(2000))
            case _:
                path.write_bytes(chance.randbytes(2000))


Looks = dict[str, tuple[object, ...]]


def looks(path: Path) -> Looks:
    """Everything below ``path`` and what shows that it was touched: inode, times of change, content."""
    found: Looks = {}
    for directory, names, files in os.walk(path):
        for name in [".", *names, *files]:
            place = os.path.join(directory, name)
            status = os.lstat(place)
            content: object = None
            if stat.S_ISREG(status.st_mode):
                content = Path(place).read_bytes()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(place)
            found[place] = (*status[:7], status.st_mtime_ns, status.st_ctime_ns, content)
    return found


class Canary:
    """A directory that no attempt may touch."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        path.chmod(0o750)
        (path / "file").write_text("canary\n")
        (path / "sub").mkdir()
        (path / "sub" / "deep").write_text("canary too\n")
        os.symlink("file", path / "link")
        self._before = looks(path)

    def sings(self) -> None:
        """Nothing happened to it."""
        assert looks(self.path) == self._before


# --- file systems ---------------------------------------------------------------------------------------------------


@contextmanager
def mounted(place: Path, *words: str) -> Iterator[Path]:
    """``mount *words place`` for the block's time; ``place`` is made if need be."""
    place.mkdir(exist_ok=True) if not place.exists() else None
    subprocess.run(["mount", *words, str(place)], check=True, capture_output=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", "--recursive", str(place)], check=True, capture_output=True)


def fill(directory: Path, leave: int = 0) -> Path:
    """Fill the file system of ``directory`` but for ``leave`` bytes; the file that does it."""
    ballast = directory / "ballast"
    space = os.statvfs(directory)
    with open(ballast, "wb", buffering=0) as file:
        left = max(0, space.f_bavail * space.f_frsize - leave)
        try:
            while left:
                left -= file.write(bytes(min(left, 1 << 16)))
            while not leave:
                file.write(bytes(512))
        except OSError:
            pass
    return ballast


def is_tmpfs(path: Path) -> bool:
    """Whether ``path`` is on a tmpfs, by an outside program."""
    said = subprocess.run(["stat", "-f", "-c", "%T", str(path)], capture_output=True, text=True, check=True)
    return said.stdout.strip() == "tmpfs"


def forced_removal(path: Path) -> None:
    """Remove a tree whatever is in it; what is mounted below is unmounted first."""
    for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
        point = line.split()[4]
        if point.startswith(f"{path}/"):
            subprocess.run(["umount", "--lazy", point], check=False, capture_output=True)
    subprocess.run(["rm", "-rf", "--one-file-system", "--", str(path)], check=False, capture_output=True)
    shutil.rmtree(path, ignore_errors=True)
