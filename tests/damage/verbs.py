"""Verbs that write, each with what it needs, and an independent look at the site after it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.boot.files.harness import OPTIONS, initrd
from tests.damage.faults import KILL, Faults, Kind
from tests.damage.harness import Said, complaints, git
from tests.tree.prepare.harness import plant

_ID: Final = re.compile(r"[0-9a-f]{40}|[0-9]{8}T[0-9]{6}Z")
_OBJECT: Final = re.compile(
    r".*\.git/(objects/([0-9a-f]{2}(/[0-9a-f]{38})?|pack/pack-H\..*|info/.*)|logs/.*|COMMIT_EDITMSG|ORIG_HEAD"
    r"|refs/.*(?<!\.lock)|packed-refs|gitstate/(git-of-[0-9]+|cache|clients|channels|classes))"
)
_LEFT: Final = re.compile(r".*\.lock|tmp_.*|\.tmp-.*|.*\.keep|.*\.partial.*|.*\.removed|scratch-.*|\..*\.[0-9]+")
_REPOSITORIES: Final = ("prototypes/*.git", "layers/*.git", "layers/*/*.git", "*.git")


class Lab:
    """A site from which machines boot, with two releases and a third snapshot; made once, restored for each attempt."""

    def __init__(self, place: Path, faults: Faults) -> None:
        self.place = place
        self.site = place / "site"
        self.outside = place / "outside"
        self._template = place / "template"
        self._faults = faults
        self._begin()
        subprocess.run(["cp", "-a", str(self.site), str(self._template)], check=True)

    def _begin(self) -> None:
        self("init")
        etc = self.place / "etc"
        etc.mkdir()
        table = OPTIONS | {"dhcp": "none", "etc": str(etc)}
        with open(self.site / "site.toml", "a") as file:
            file.write("\n[boot]\n" + "".join(f'{key} = "{value}"\n' for key, value in table.items()))
        self("prototype", "create", "p")
        live = self.live("p")
        for path, content in (
            ("boot/vmlinuz-6.1", b"kernel\n"),
            ("boot/initrd.img-6.1", initrd("6.1")),
            ("etc/motd", b"1\n"),
            ("etc/fstab", b"proc /proc proc defaults 0 0\n"),
        ):
            (live / path).parent.mkdir(exist_ok=True)
            (live / path).write_bytes(content)
        self("checkin", "p", "-m", "first")
        self("layer", "create", "base")
        (self.live("base") / "etc").mkdir()
        (self.live("base") / "etc" / "issue.j2").write_text("{{ host }}\n")
        self("checkin", "base", "-m", "first")
        self("channel", "create", "lab3", "--prototype", "p")
        self("client", "add", "lab3-12", "--mac", "52:54:00:12:34:56", "--channel", "lab3")
        self("push", "p", "lab3", "--yes")
        self.edit("2")
        self("push", "p", "lab3", "--yes")
        self("boot", "write")
        self.edit("3")
        self("prototype", "create", "q", "--from", str(live))
        self("checkin", "q", "-m", "first")
        self("export", "q")

    def live(self, name: str) -> Path:
        """A live tree."""
        return self.site / "live" / name

    def edit(self, text: str) -> None:
        """Another snapshot of ``p``."""
        (self.live("p") / "etc" / "motd").write_text(f"{text}\n")
        self("checkin", "p", "-m", text)

    def __call__(self, *words: str) -> Said:
        """A command that must go well."""
        return self._faults.run(self.site, *words)[0].well()

    def attempt(self, words: tuple[str, ...], kind: Kind, at: int) -> tuple[Said, int, str]:
        """A command with a fault in it."""
        return self._faults.run(self.site, *words, kind=kind, at=at, under=self.place)

    def unmount(self) -> None:
        """Nothing is mounted below the lab's place, whoever mounted it."""
        points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        for point in reversed([one for one in points if one.startswith(f"{self.place}/")]):
            subprocess.run(["umount", "--lazy", point], check=True)

    def restore(self) -> None:
        """The site as it was made."""
        self.unmount()
        for path in (self.site, self.outside):
            subprocess.run(["rm", "-rf", str(path)], check=True)
        subprocess.run(["cp", "-a", str(self._template), str(self.site)], check=True)
        self.outside.mkdir()

    # --- an independent look ---

    def names(self) -> set[str]:
        """All paths but those of objects and logs, and all refs, whether loose or packed; ids and times are ``H``."""
        found = set()
        for above in (self.site, self.outside):
            shown = (os.path.relpath(path, self.place) for path in below(above))
            found |= {name for name in map(_without_ids, shown) if not _OBJECT.fullmatch(name)}
        return found | {_without_ids(f"{one.name}: {ref}") for one in self.repositories() for ref in refs(one)}

    def repositories(self) -> Iterator[Path]:
        """All of the site."""
        for pattern in _REPOSITORIES:
            yield from self.site.glob(pattern)

    def problems(self) -> Iterator[str]:
        """What git finds wrong, and channels whose boot file, directory and log don't agree."""
        for repository in self.repositories():
            yield from (f"{repository.name}: {line}" for line in complaints(repository))
        yield from (f"left: {path}" for path in self.left())
        entry = self.site / "directory.git"
        channels = git(entry, "ls-tree", "--name-only", "main", "channels/") if entry.is_dir() else ""
        if "channels/lab3.ldif" in channels.split():
            yield from self._disagreement()

    def left(self) -> Iterator[Path]:
        """Temporary files and locks, below the lab's place."""
        for above in (self.site, self.outside):
            found = (path for path in below(above) if _LEFT.fullmatch(path.name))
            yield from (path.relative_to(self.place) for path in found)

    def _disagreement(self) -> Iterator[str]:
        log = git(self.site / "site.git", "rev-parse", "lab3:prototype/p")
        told = re.search("gitstateCommit: (.*)", git(self.site / "directory.git", "show", "main:channels/lab3.ldif"))
        script = (self.site / "tftp/boot/channel/lab3.ipxe").read_text()
        if told is None or told[1] != log:
            yield f"directory: {told and told[1]}, log: {log}"
        if f"/{log}/" not in script:
            yield f"script doesn't name {log}"
        if not (self.site / "exports" / "p" / log).is_dir():
            yield f"no export of {log}"


def below(above: Path) -> Iterator[Path]:
    """Everything below a directory, but nothing that is mounted there."""
    for directory, folders, files in os.walk(above):
        yield from (Path(directory, one) for one in (*folders, *files))
        folders[:] = [one for one in folders if not os.path.ismount(os.path.join(directory, one))]


def _without_ids(name: str) -> str:
    return _ID.sub("H", name)


def refs(repository: Path) -> list[str]:
    """The names of all refs."""
    return git(repository, "for-each-ref", "--format=%(refname)").splitlines()


Action = Callable[[Lab], None]


def nothing(_: Lab) -> None:
    """Nothing to prepare, or to look at."""


@dataclass(frozen=True)
class Verb:
    """``again``: exit codes of the second run, which may find everything done; ``check`` looks at what it did."""

    name: str
    words: Callable[[Lab], tuple[str, ...]]
    again: tuple[int, ...] = (0,)
    prepare: Action = nothing
    check: Action = nothing


def said(*words: str) -> Callable[[Lab], tuple[str, ...]]:
    """The same words in every place."""
    return lambda lab: words


def changed(lab: Lab) -> None:
    """Something to check in."""
    (lab.live("p") / "etc" / "motd").write_text("changed\n")
    (lab.live("p") / "etc" / "new").write_bytes(os.urandom(5000))


def recorded(lab: Lab) -> None:
    """The check-in holds what the live tree does."""
    assert git(lab.site / "prototypes/p.git", "show", "main:etc/motd") == "changed"
    assert lab("status", "p", "--exit-code")


def layered(lab: Lab) -> None:
    """A layer's tar file that changes a file, and removes one."""
    with tarfile.open(lab.outside / "layer.tar", "w") as tar:
        for name, content in (("etc/motd", b"changed"), ("etc/.wh.fstab", b"")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def laid(lab: Lab) -> None:
    """The branch holds what the layer says."""
    repository = lab.site / "prototypes/p.git"
    assert git(repository, "show", "side:etc/motd") == "changed"
    assert git(repository, "rev-parse", "side^") == git(repository, "rev-parse", "main")
    assert "etc/fstab" not in git(repository, "ls-tree", "-r", "--name-only", "side").splitlines()


def spoilt(lab: Lab) -> None:
    """A directory lost, a file changed, one with another mode, a new one."""
    live = lab.live("p")
    subprocess.run(["rm", "-rf", str(live / "boot")], check=True)
    (live / "etc" / "motd").write_text("spoilt\n")
    (live / "etc" / "fstab").chmod(0o600)
    (live / "etc" / "new").write_text("new\n")


def unspoilt(lab: Lab) -> None:
    """The live tree is as it was checked in."""
    lab("status", "p", "--exit-code")
    equal(lab.live("p"), lab.live("q"))


def behind(lab: Lab) -> None:
    """Another commit on main than the live tree's, and an edit in the live tree."""
    repository, motd = lab.site / "prototypes/p.git", lab.live("p") / "etc" / "motd"
    before = git(repository, "rev-parse", "main")
    motd.write_text("pushed\n")
    (lab.live("p") / "etc" / "more").mkdir()
    lab("checkin", "p", "-m", "pushed")
    lab("restore", "p", before, "--all")
    after = git(repository, "rev-parse", "main")
    git(repository, "update-ref", "refs/gitstate/live", before)
    for commit in (before, after):
        git(repository, "update-ref", "-m", "push", "refs/heads/main", commit)
    (lab.live("p") / "etc" / "fstab").write_text("edited\n")


def ahead(lab: Lab) -> None:
    """The live tree has the commit, and still the edit."""
    assert (lab.live("p") / "etc" / "motd").read_text() == "pushed\n"
    assert (lab.live("p") / "etc" / "fstab").read_text() == "edited\n"
    repository = lab.site / "prototypes/p.git"
    assert git(repository, "rev-parse", "refs/gitstate/live") == git(repository, "rev-parse", "main")
    lab("checkin", "p", "-m", "edit")


def absent(lab: Lab) -> None:
    """No site."""
    subprocess.run(["rm", "-rf", str(lab.site)], check=True)


def usable(lab: Lab) -> None:
    """A prototype can be made."""
    lab("prototype", "create", "n")


def equal(one: Path, other: Path) -> None:
    """Two trees hold the same, as diff sees them."""
    done = subprocess.run(
        ["diff", "-r", "--exclude=.git", "--exclude=.gitstate*", str(one), str(other)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stdout


def grown(lab: Lab) -> None:
    """Snapshots to compress, an unreachable object, a loose one."""
    for number in range(3):
        lab.edit(f"more {number}")
    git(lab.site / "prototypes/p.git", "hash-object", "-w", "--stdin", given=b"loose")


def tagged(lab: Lab) -> None:
    """A tag that asks for a release."""
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    git(lab.site / "prototypes/p.git", *identity, "tag", "-a", "lab3/3", "-m", "x")


def runs(text: str) -> Action:
    """The channel runs the snapshot in which the message of the day is ``text``."""

    def check(lab: Lab) -> None:
        commit = git(lab.site / "site.git", "rev-parse", "lab3:prototype/p")
        assert git(lab.site / "prototypes/p.git", "show", f"{commit}:etc/motd") == text
        names = git(lab.site / "site.git", "log", "--format=%s", "lab3").splitlines()
        assert [name.partition(":")[0] for name in names] == ["lab3/3", "lab3/2", "lab3/1"], names

    return check


def named(lab: Lab) -> None:
    """The tag is annotated and names the newest snapshot."""
    repository = lab.site / "prototypes/p.git"
    assert git(repository, "cat-file", "-t", "v1") == "tag"
    assert git(repository, "rev-parse", "v1^{commit}") == git(repository, "rev-parse", "main")


def released(lab: Lab) -> None:
    """What the tag asks for is released by the next reconcile."""
    lab("reconcile")
    runs("3")(lab)


def writable(lab: Lab) -> None:
    """The file is a link, and its content stands in base."""
    assert (lab.live("p") / "etc" / "fstab").is_symlink()
    assert (lab.live("base") / "etc" / "fstab").read_text() == "proc /proc proc defaults 0 0\n"


def keytab(lab: Lab) -> None:
    """A secret, outside."""
    (lab.outside / "keytab").write_bytes(b"secret\n" * 700)


def kept(lab: Lab) -> None:
    """The secret is whole, root's alone, and in the machine's archive."""
    path = lab.site / "secrets/lab3-12/etc/krb5.keytab"
    assert path.read_bytes() == b"secret\n" * 700
    assert path.stat().st_mode & 0o777 == 0o600
    lab("boot", "write")
    archive = lab.site / "tftp/archives/lab3/2/lab3-12.cpio"
    assert b"secret\nsecret\n" in archive.read_bytes()


def secret(lab: Lab) -> None:
    """A machine that has one."""
    keytab(lab)
    lab("secret", "add", "lab3-12", "/etc/krb5.keytab", str(lab.outside / "keytab"))


def has(*words: str) -> Action:
    """A command goes well."""
    return lambda lab: (lab(*words), None)[1]


def gone(*paths: str) -> Action:
    """Paths of the site that aren't there."""

    def check(lab: Lab) -> None:
        assert [path for path in paths if (lab.site / path).exists()] == []

    return check


def hosts(lab: Lab) -> None:
    """A table of clients."""
    (lab.outside / "hosts.csv").write_text(
        "name,mac,channel\nlab3-13,52:54:00:00:00:13,lab3\nlab3-14,52:54:00:00:00:14,lab3\n"
    )


def client(lab: Lab) -> None:
    """A client whose boot file isn't written yet."""
    lab("client", "add", "lab3-13", "--mac", "52:54:00:00:00:13", "--channel", "lab3")


def root(lab: Lab) -> None:
    """The live tree is a root with programs."""
    plant(lab.live("p"))


def mounted(wanted: bool) -> Action:
    """Whether anything is mounted in the live tree; nothing of it is recorded."""

    def check(lab: Lab) -> None:
        assert os.path.ismount(lab.live("p") / "dev/shm") == os.path.ismount(lab.live("p") / "sys") == wanted
        lab("checkin", "p", "-m", "m")
        assert git(lab.site / "prototypes/p.git", "ls-tree", "--name-only", "main:dev") == ".gitstate"

    return check


REVIEW: Final = "checkin/lab3-12/20250312T140900Z"


def sent(lab: Lab) -> None:
    """What a machine has sent: a file of the prototype that was changed, and one that was removed."""
    commit = git(lab.site / "prototypes/p.git", "rev-parse", "main")
    digest = hashlib.sha256(b"4\n").hexdigest()
    lines = [f"snapshot p@{commit}", "user ada", "time 1741788540", "removed etc/fstab"]
    lines += [f"entry 2 1741788540.000000000 1:1:1 f 0644 0 0 {digest} etc/motd", "end"]
    (lab.outside / "sent").write_text("\n".join(["gitstate-checkin 1", *lines, "4\n"]))


def received(lab: Lab) -> None:
    """There is one review, and it holds both."""
    (ref,) = git(lab.site / "prototypes/p.git", "for-each-ref", "--format=%(refname)", "refs/heads/checkin").split()
    assert git(lab.site / "prototypes/p.git", "show", f"{ref}:etc/motd") == "4"
    changed = git(lab.site / "prototypes/p.git", "diff", "--name-status", "main", ref).splitlines()
    assert "D\tetc/fstab" in changed, changed


def reviewed(lab: Lab) -> None:
    """A review of a known name."""
    sent(lab)
    lab("review", "receive", "lab3-12", str(lab.outside / "sent"))
    repository = lab.site / "prototypes/p.git"
    (ref,) = git(repository, "for-each-ref", "--format=%(refname)", "refs/heads/checkin").split()
    git(repository, "update-ref", f"refs/heads/{REVIEW}", ref)
    git(repository, "update-ref", "-d", ref)


def merged(lab: Lab) -> None:
    """main has it, and nothing waits."""
    assert git(lab.site / "prototypes/p.git", "show", "main:etc/motd") == "4"
    dropped(lab)


def dropped(lab: Lab) -> None:
    """Nothing waits."""
    assert git(lab.site / "prototypes/p.git", "for-each-ref", "refs/heads/checkin") == ""


def export_of(lab: Lab) -> Path:
    """The export that the channel runs."""
    return lab.site / "exports/p" / git(lab.site / "site.git", "rev-parse", "lab3:prototype/p")


def damaged(lab: Lab) -> None:
    """A file too many in that export."""
    (export_of(lab) / "damage").write_text("x")


def mended(lab: Lab) -> None:
    """Another one has its name; the damaged one is kept for those who have it open."""
    lab("verify", "p", export_of(lab).name)
    assert any((path / "damage").exists() for path in export_of(lab).parent.glob(".*.replaced-*"))


def hardware(lab: Lab) -> None:
    """A class with a layer, and a report of a machine that is of it."""
    lab("layer", "create", "class/gpu")
    (lab.live("class/gpu") / "etc").mkdir()
    (lab.live("class/gpu") / "etc" / "gpu").write_text("x")
    lab("checkin", "class/gpu", "-m", "first")
    lab("class", "set", "gpu", "10de:*")
    lab("push", "p", "lab3", "--yes")
    card = "pci:v000010DEd00001E84sv00001462sd000037C6bc03sc00i00"
    device = {"slot": "0000:00:01.0", "vendor": None, "device": None, "class": None, "modalias": card}
    report = {"schema": "probe/1", "host": "lab3-12", "architecture": "x86_64", "cpus": 4, "memory": 8 << 30}
    rest = {"dmi": {}, "pci": [device], "network": [], "disks": []}
    (lab.outside / "report.json").write_text(json.dumps(report | rest))


def has_its_layer(lab: Lab) -> None:
    """The machine's archive has the layer of its class."""
    assert b"files/etc/gpu\0" in (lab.site / "tftp/archives/lab3/3/lab3-12.cpio").read_bytes()


VERBS: Final = (
    Verb("init", said("init"), (0, 2), absent, usable),
    Verb("create", said("prototype", "create", "n"), (0, 2), check=has("checkin", "n", "-m", "m")),
    Verb(
        "create from a directory",
        lambda lab: ("prototype", "create", "n", "--from", str(lab.live("p"))),
        (0, 2),
        check=lambda lab: equal(lab.live("p"), lab.live("n")),
    ),
    Verb(
        "fork",
        said("prototype", "create", "n", "--from", "p"),
        (0, 2),
        check=lambda lab: equal(lab.live("p"), lab.live("n")),
    ),
    Verb(
        "remove",
        said("prototype", "remove", "q", "--yes"),
        (0, 10),
        check=gone("live/q", "exports/q", "prototypes/q.git"),
    ),
    Verb("checkin", said("checkin", "p", "-m", "m"), (0,), changed, recorded),
    Verb("mount", said("mount", "p"), (0,), root, mounted(True)),
    Verb("umount", said("umount", "p"), (0,), lambda lab: (root(lab), has("mount", "p")(lab))[0], mounted(False)),
    Verb(
        "shell",
        said("shell", "p", "-m", "m", "--", "cp", "/etc/motd", "/etc/copied"),
        (0,),
        root,
        lambda lab: (mounted(False)(lab), has("show", "p", "main:etc/copied")(lab))[0],
    ),
    Verb("checkin on a branch", said("checkin", "p", "-m", "m", "--branch", "side"), (0,), changed),
    Verb("checkin --amend", said("checkin", "p", "--amend", "-m", "m"), (0,), changed, recorded),
    Verb("update", said("update", "p"), (0,), behind, ahead),
    Verb("restore", said("restore", "p", "--all", "--delete"), (0,), spoilt, unspoilt),
    Verb(
        "checkin of a layer",
        lambda lab: ("checkin", "p", "-m", "m", "--branch", "side", "--tar", str(lab.outside / "layer.tar")),
        (0,),
        layered,
        laid,
    ),
    Verb(
        "export",
        said("export", "p"),
        (0,),
        check=lambda lab: equal(
            lab.live("p"), lab.site / "exports/p" / git(lab.site / "prototypes/p.git", "rev-parse", "main")
        ),
    ),
    Verb(
        "export to",
        lambda lab: ("export", "p", "--to", str(lab.outside / "to")),
        (0, 2),
        check=lambda lab: equal(lab.live("p"), lab.outside / "to"),
    ),
    Verb(
        "export as an image",
        lambda lab: ("export", "p", "--oci", str(lab.outside / "image")),
        (0, 2),
        check=lambda lab: has("prototype", "create", "n", "--from", str(lab.outside / "image"))(lab),
    ),
    Verb(
        "create from an image",
        lambda lab: ("prototype", "create", "n", "--from", str(lab.outside / "image")),
        (0, 2),
        lambda lab: has("export", "p", "--oci", str(lab.outside / "image"))(lab),
        lambda lab: equal(lab.live("p"), lab.live("n")),
    ),
    Verb(
        "clone",
        lambda lab: ("clone", "p", str(lab.outside / "clone")),
        (0, 2),
        check=lambda lab: equal(lab.live("p"), lab.outside / "clone"),
    ),
    Verb("layer create", said("layer", "create", "lab/lab3"), (0, 2), check=has("checkin", "lab/lab3", "-m", "m")),
    Verb(
        "layer owner",
        said("layer", "owner", "base", "lp:lp", "etc/issue.j2"),
        (0,),
        check=has("checkin", "base", "-m", "m"),
    ),
    Verb("tag", said("tag", "p", "v1"), (0, 2, 12), check=named),
    Verb("tag of a channel", said("tag", "p", "lab3/3"), (0, 2, 12), check=released),
    Verb("local add", said("local", "add", "p", "/etc/fstab"), (0,), check=writable),
    Verb("layer remove", said("layer", "remove", "base", "--yes"), (0, 10), check=gone("live/base", "layers/base.git")),
    Verb(
        "layer rename",
        said("layer", "rename", "base", "lab/lab3"),
        (0,),
        check=lambda lab: (has("layer", "owner", "lab/lab3", "lp:lp", "etc/issue.j2")(lab), gone("live/base")(lab))[0],
    ),
    Verb(
        "prototype rename",
        said("prototype", "rename", "q", "r"),
        (0,),
        check=lambda lab: (has("checkin", "r", "-m", "m")(lab), gone("live/q", "exports/q")(lab))[0],
    ),
    Verb("gc", said("gc", "p"), (0,), grown, has("fsck", "p")),
    Verb(
        "channel create",
        said("channel", "create", "lab4", "--prototype", "p"),
        (0, 2),
        check=has("channel", "show", "lab4"),
    ),
    Verb(
        "channel remove",
        said("channel", "remove", "lab3", "--yes"),
        (0, 10),
        lambda lab: (lab("client", "remove", "lab3-12"), None)[1],
    ),
    Verb(
        "client add",
        said("client", "add", "lab3-13", "--mac", "52:54:00:00:00:13", "--channel", "lab3"),
        (0, 2, 12),
        check=has("client", "show", "lab3-13"),
    ),
    Verb(
        "client set",
        said("client", "set", "lab3-12", "--workload", "kiosk"),
        (0,),
        check=has("client", "show", "lab3-12"),
    ),
    Verb("client remove", said("client", "remove", "lab3-12"), (0, 10), check=has("boot", "write")),
    Verb(
        "client import",
        lambda lab: ("client", "import", str(lab.outside / "hosts.csv")),
        (0,),
        hosts,
        has("client", "show", "lab3-14"),
    ),
    Verb(
        "client report",
        lambda lab: ("client", "report", "lab3-12", str(lab.outside / "report.json")),
        (0,),
        hardware,
        has_its_layer,
    ),
    Verb("class set", said("class", "set", "fpga", "10de:*"), (0,), check=has("class", "list")),
    Verb(
        "secret add",
        lambda lab: ("secret", "add", "lab3-12", "/etc/krb5.keytab", str(lab.outside / "keytab")),
        (0,),
        keytab,
        kept,
    ),
    Verb("secret renew", said("secret", "renew", "lab3-12"), (0,), check=has("boot", "write")),
    Verb(
        "secret remove",
        said("secret", "remove", "lab3-12", "--all"),
        (0, 10),
        secret,
        gone("secrets/lab3-12/etc/krb5.keytab"),
    ),
    Verb("push", said("push", "p", "lab3", "--yes"), (0,), check=runs("3")),
    Verb("rollback", said("rollback", "lab3"), (0, 10), check=runs("1")),
    Verb("reconcile", said("reconcile"), (0,), tagged, runs("3")),
    Verb("reconcile of a damaged export", said("reconcile"), (0,), damaged, mended),
    Verb("boot write", said("boot", "write"), (0,), client),
    Verb(
        "review receive",
        lambda lab: ("review", "receive", "lab3-12", str(lab.outside / "sent")),
        (0,),
        sent,
        received,
    ),
    Verb("review merge", said("review", "merge", REVIEW), (0, 10), reviewed, merged),
    Verb("review drop", said("review", "drop", REVIEW), (0, 10), reviewed, dropped),
    Verb("review split", said("review", "split", REVIEW, "etc/motd"), (0, 2, 10), reviewed),
)


@dataclass(frozen=True)
class Found:
    """What one attempt showed: the fault and where it was, and all that was wrong after it."""

    verb: str
    kind: str
    at: int
    where: str
    wrong: tuple[str, ...]


TOLD: Final = {0, 3, 5, 6}
"""How a command may end in which a call failed: done nevertheless, but for something, or not, for the host's sake."""


class Trial:
    """One verb in a lab, and what it leaves behind if nothing interrupts it."""

    def __init__(self, lab: Lab, verb: Verb) -> None:
        self.lab, self.verb = lab, verb
        self._words = verb.words(lab)
        said, total, _ = self._run(KILL, 0)
        said.well()
        self.points = {KILL: total}
        self._names = lab.names()

    def count(self, kind: Kind) -> int:
        """How many operations there are at which such a fault may happen."""
        if kind not in self.points:
            self.points[kind] = self._run(kind, 0)[1]
        return self.points[kind]

    def _run(self, kind: Kind, at: int) -> tuple[Said, int, str]:
        self.lab.restore()
        self.verb.prepare(self.lab)
        return self.lab.attempt(self._words, kind, at)

    def fault(self, kind: Kind, at: int) -> Found:
        """Make the verb fail at a point, and run it again."""
        said, _, where = self._run(kind, at)
        return Found(self.verb.name, kind.name, at, where, tuple(self._wrong(kind, said, where)))

    def _wrong(self, kind: Kind, said: Said, where: str) -> Iterator[str]:
        if not where:
            return
        if kind.error and said.code not in TOLD:
            yield f"first: {said.code} {said.err.strip()}"
        if "Traceback" in said.err or "bug:" in said.err:
            yield f"first: {said.err}"
        if said.code:
            again, _, _ = self.lab.attempt(self._words, KILL, 0)
            if again.code not in self.verb.again:
                yield f"again: {again.code} {again.err.strip()}"
                return
        is_collected = any(self.lab.left())
        if is_collected:
            self.lab("gc")
        yield from self.lab.problems()
        names = self._names if is_collected else self.lab.names()
        yield from (f"extra: {name}" for name in sorted(names - self._names))
        yield from (f"lacks: {name}" for name in sorted(self._names - names))
        try:
            self.verb.check(self.lab)
        except AssertionError as error:
            yield f"check: {error}"
