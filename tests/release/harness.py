"""A site with prototypes, layers and channels, driven by commands of their own processes and by plain git."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.damage.harness import Said
from tests.fork_server import ForkServer
from tests.gitstate_command import git

SCRIPT = "tftp/boot/channel/lab3.ipxe"
"""What machines of the channel load."""

ADA = ("-c", "user.name=Ada Lovelace", "-c", "user.email=ada@example.org")


@dataclass(frozen=True)
class Harness:
    """A site, a place beside it, and a process that forks commands."""

    place: Path
    fork_server: ForkServer

    @property
    def site(self) -> Path:
        """The site's directory."""
        return self.place / "site"

    # --- gitstate ---

    def run(self, *words: str, code: int = 0) -> Said:
        """Run a command, which must end with ``code``."""
        said = Said(*self.fork_server.run(["--site", str(self.site), *words], self.place))
        assert said.code == code, (words, said)
        return said

    def __call__(self, *words: str, code: int = 0) -> str:
        """What a command prints; it must end with ``code``."""
        return self.run(*words, code=code).out.rstrip("\n")

    def json(self, *words: str, code: int = 0) -> Any:
        """What a command prints with ``--json``."""
        return json.loads(self(*words, "--json", code=code))

    def fails(self, code: int, *words: str) -> str:
        """What a command complains of, which it must with ``code``."""
        return self.run(*words, code=code).err

    def prototype(self, name: str) -> Path:
        """A prototype with one snapshot; its live tree."""
        self("prototype", "create", name)
        live = self.site / "live" / name
        (live / "etc").mkdir()
        (live / "etc" / "hostname").write_text(f"{name}\n")
        self("checkin", name, "-m", "first")
        return live

    def layer(self, name: str) -> Path:
        """A layer with one snapshot; its live tree."""
        self("layer", "create", name)
        live = self.site / "live" / name
        (live / "etc").mkdir()
        (live / "etc" / "motd").write_text(f"{name}\n")
        self("checkin", name, "-m", "first")
        return live

    def edit(self, name: str, text: str, path: str = "etc/motd") -> str:
        """Another snapshot of a repository; its id."""
        (self.site / "live" / name / path).write_text(text)
        return str(self.json("checkin", name, "-m", text)["commit"])

    # --- git ---

    def repository(self, name: str) -> Path:
        """The repository of a prototype or a layer."""
        folder = "layers" if "/" in name or name == "base" else "prototypes"
        return self.site / folder / f"{name}.git"

    def git(self, name: str, *words: str) -> str:
        """Plain git in a repository, by a person; what it says."""
        return git(self.repository(name), *ADA, *words).strip()

    def refused(self, name: str, *words: str) -> str:
        """Plain git that must fail; what it complains of."""
        argv = ["git", "-C", str(self.repository(name)), *ADA, *words]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode, (words, done.stdout, done.stderr)
        return done.stderr

    def head(self, name: str, revision: str = "main") -> str:
        """The commit of a revision."""
        return self.git(name, "rev-parse", f"{revision}^{{commit}}")

    def releases(self, *words: str) -> str:
        """Plain git in ``site.git``."""
        return git(self.site / "site.git", *words).strip()

    def runs(self, channel: str) -> dict[str, str]:
        """The commits of what a channel runs, as plain git tells them."""
        lines = self.releases("ls-tree", "-r", channel).splitlines()
        found = [line.split(maxsplit=3) for line in lines if line.startswith("160000")]
        return {path.partition("/")[2]: oid for _, _, oid, path in found}

    def history(self, channel: str) -> list[str]:
        """The subjects of a channel's releases, the latest first."""
        return self.releases("log", "--format=%s", channel).splitlines()

    def clone(self, name: str) -> Path:
        """A clone beside the site, in which somebody works."""
        path = self.place / f"clone-{name.replace('/', '-')}"
        self("clone", name, str(path))
        git(path, "config", "user.name", "Grace Hopper")
        git(path, "config", "user.email", "grace@example.org")
        return path


def begin(place: Path, fork_server: ForkServer) -> Harness:
    """A new site."""
    harness = Harness(place, fork_server)
    harness("init")
    return harness


def chained(harness: Harness) -> str:
    """The commit that the channel's script boots; all that it needs must be there."""
    script = (harness.site / SCRIPT).read_text()
    (line,) = (line for line in script.splitlines() if line.startswith("chain "))
    target = (harness.site / SCRIPT).parent / line.split()[-1]
    for name in ("boot.ipxe", "vmlinuz", "initrd.img", "caps.cpio"):
        assert target.resolve().with_name(name).is_file()
    if "set archive " in script:
        (named,) = (line.split()[-1] for line in script.splitlines() if line.startswith("set archive "))
        archive = target.parent / named.replace("${machine}", "lab3-12")
        assert archive.read_bytes().rstrip(b"\0").endswith(b"TRAILER!!!")
    commit = target.resolve().parent.name
    assert (harness.site / "exports" / "desktop" / commit).is_dir()
    return commit
