"""A site with a prototype whose kernel and initrd are ours, and a directory in memory: made once, copied for a test."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import tomlkit

from gitstate.boot import files as publish
from gitstate.boot.files.planning import Plan
from gitstate.boot.group import lock
from gitstate.boot.options import load
from gitstate.core import cpio
from gitstate.core.entry import Kind, Meta
from gitstate.core.monitor import SILENT
from gitstate.core.names import pin
from gitstate.core.signature import Signature
from gitstate.directory.model.clients import Client
from gitstate.store import Repository
from gitstate.store.site import Site
from gitstate.tree import checkin
from tests.gitstate_command import Site as Command
from tests.gitstate_command import git, make_site
from tests.testing.tree import Look, Tree

NEW: Final = "6.1.0-10-amd64"
OLD: Final = "6.1.0-9-amd64"
MODULES: Final = ("fs/nfs/nfs.ko", "fs/nfs/nfsv3.ko.xz", "fs/nfs/nfsv4.ko", "fs/overlayfs/overlay.ko")
OPTIONS: Final[dict[str, Any]] = {
    "interface": "lo",
    "server": "10.77.0.1",
    "network": "10.77.0.0/24",
    "group": "www-data",
}


def initrd(
    version: str = NEW, modules: Sequence[str] = MODULES, others: Sequence[str] = ("scripts/gitstate",)
) -> bytes:
    """An initrd with what boots by NFS, gzipped behind an archive of microcode."""
    files = [f"lib/modules/{version}/kernel/{name}" for name in modules]
    return pack(["kernel/x86/microcode.bin"]) + gzip(pack([*files, *others, "bin/setfattr"]))


def pack(files: Iterable[str]) -> bytes:
    """An archive of small files and the directories above them."""
    folders = {os.fsencode(parent) for file in files for parent in map(str, Path(file).parents) if parent != "."}
    members = [cpio.Member(path, Meta(Kind.DIRECTORY, 0o755)) for path in folders]
    members += [cpio.Member(os.fsencode(path), Meta(Kind.FILE, 0o644), b"x" * 100) for path in files]
    return b"".join(cpio.write(members))


def gzip(data: bytes) -> bytes:
    return subprocess.run(["gzip", "-n"], input=data, stdout=subprocess.PIPE, check=True).stdout


def plant(root: Path) -> None:
    """A small root with two kernels, capabilities, ACLs and odd names."""
    root.mkdir(exist_ok=True)
    tree = Tree(os.fsencode(root))
    for version in (OLD, NEW):
        tree.file(f"boot/vmlinuz-{version}".encode(), f"kernel {version}\n".encode() * 9000)
        tree.file(f"boot/initrd.img-{version}".encode(), initrd(version))
    tree.file(b"boot/vmlinuz-6.1.0-11-amd64.old", b"left over")
    tree.symlink(b"vmlinuz", f"boot/vmlinuz-{OLD}".encode())
    tree.symlink(b"lib", b"usr/lib")
    tree.file(f"usr/lib/modules/{NEW}/modules.builtin".encode(), b"kernel/fs/ext4/ext4.ko\nkernel/net/af_packet.ko\n")
    tree.file(b"usr/bin/ping", b"ping\n", Look(mode=0o755, capability=("cap_net_raw+ep",)))
    tree.file(b"usr/bin/a b\n\\c\xff", b"odd\n", Look(mode=0o755, capability=("cap_net_admin+ep",)))
    tree.file(b"srv/plain", b"plain\n", Look(xattrs={b"user.k": b"v"}))
    tree.file(b"srv/shared", b"x", Look(acl=("-m", "u:1000:rw")))
    tree.directory(b"srv/drop", Look(mode=0o1777, acl=("-d", "-m", "g:50:rwx")))
    tree.settle()


def make(path: Path) -> None:
    """The site that tests copy: the prototype ``desktop`` with the tags ``one`` and ``two``."""
    command = make_site(path)
    command.run("prototype", "create", "desktop")
    live = path / "live" / "desktop"
    plant(live)
    command.run("checkin", "desktop", "-m", "one")
    command.git("desktop", "-c", "core.hooksPath=/dev/null", "tag", "one")
    (live / "boot" / f"vmlinuz-{NEW}").write_text("another kernel\n" * 9000)
    (live / "etc").mkdir()
    (live / "etc" / "two").write_text("two\n")
    command.run("checkin", "desktop", "-m", "two")
    command.git("desktop", "-c", "core.hooksPath=/dev/null", "tag", "two")


@dataclass
class InMemory:
    """A directory of clients that tests change at will."""

    all: dict[str, Client] = field(default_factory=dict)

    def clients(self) -> Mapping[str, Client]:
        return dict(sorted(self.all.items()))

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"boot files need no {name}")


@dataclass
class Harness:
    """A copy of the site, and what tests do with it."""

    path: Path
    directory: InMemory = field(default_factory=InMemory)

    def __post_init__(self) -> None:
        self.command = Command(self.path / "site")
        self.site = Site(self.path / "site")
        self.etc = self.path / "etc"
        self.tftp = self.site.tftp
        self.machines = self.tftp / "boot" / "mac"

    def begin(self, original: Path, **options: Any) -> Harness:
        """Copy the site and write ``[boot]``."""
        subprocess.run(["cp", "-a", str(original), str(self.path / "site")], check=True)
        git(self.command.repository("desktop"), "config", "gitstate.live", str(self.live))
        self.etc.mkdir()
        self.configure(**options)
        return self

    def configure(self, **options: Any) -> None:
        """Write ``[boot]`` into site.toml; None leaves a key out."""
        document = tomlkit.parse(self.site.file.read_text())
        wanted = OPTIONS | {"etc": str(self.etc)} | options
        document["boot"] = {key: value for key, value in wanted.items() if value is not None}
        self.site.file.write_text(tomlkit.dumps(document))

    def add(self, name: str, number: int, what: str | None = "desktop@one", **attributes: Any) -> None:
        """Put a client into the directory."""
        mac = f"52:54:00:00:{number >> 8:02x}:{number & 255:02x}"
        self.directory.all[name] = Client(name, (mac,), pin=pin(what) if what else None, **attributes)

    @property
    def live(self) -> Path:
        """The live tree, of which `check_in` makes a snapshot."""
        return self.site.path / "live" / "desktop"

    @property
    def repository(self) -> Repository:
        return self.site.repository("desktop")

    def check_in(self) -> str:
        """Check in the live tree; the commit as hex digits."""
        who = Signature("A <a@b>", 1_700_000_000)
        request = checkin.Request(self.repository, self.live, "m", who, who)
        commit = checkin.record(request, SILENT).commit
        assert commit is not None
        return commit.hex()

    def commit(self, tag: str) -> str:
        """The commit of a tag, as hex digits."""
        return git(self.command.repository("desktop"), "rev-parse", f"{tag}^{{commit}}").strip()

    def image(self, tag: str) -> Path:
        """Where the kernel of a tag stands."""
        return self.tftp / "desktop" / self.commit(tag)

    def script(self, number: int) -> Path:
        """The script of a client by its number."""
        return self.machines / f"52-54-00-00-{number >> 8:02x}-{number & 255:02x}.ipxe"

    def plan(self) -> Plan:
        return publish.plan(self.site, load(self.site), self.directory)

    def write(self) -> Plan:
        """Write all; what there was to do."""
        with lock(self.site):
            plan = self.plan()
            publish.apply(plan, SILENT)
        return plan

    def looks(self) -> dict[str, tuple[object, ...]]:
        """Everything in both places: what it is, whose, and what is in it."""
        return looks(self.tftp) | looks(self.etc)

    def whole(self) -> None:
        """All scripts name what is there, and nothing half done is left."""
        for script in self.machines.glob("*"):
            chained = [line.split()[-1] for line in script.read_text().splitlines() if line.startswith("chain")]
            assert chained
            for target in chained:
                place = (self.machines / target).resolve()
                assert place.is_file(), (script, target)
                assert (place.parent / "vmlinuz").is_file()
                assert (place.parent / "initrd.img").is_file()
                assert (self.site.exports / "desktop" / place.parent.name).is_dir()
        assert not [*self.tftp.rglob(".*"), *self.etc.rglob(".*"), *self.site.path.glob(".*")]


def looks(root: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for directory, names, files in os.walk(root):
        for name in [".", *names, *files]:
            path = os.path.normpath(os.path.join(directory, name))
            status = os.lstat(path)
            content = Path(path).read_bytes() if stat.S_ISREG(status.st_mode) else b""
            found[path] = (oct(status.st_mode), status.st_uid, status.st_gid, content)
    return found


def forget(path: Path) -> None:
    """Remove a site and whatever tests planted in it."""
    shutil.rmtree(path, ignore_errors=True)
