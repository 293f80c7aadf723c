"""A prototype's repository is an ordinary one: real git reads it as a person expects, and may edit it at will."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gitstate_command import Site, git, make_site
from tests.support import needs, root_only
from tests.testing import hostile, judges

pytestmark = [root_only, needs("git", "setcap", "getcap", "setfacl", "bsdtar", "rsync")]

KEYWORDS = b"$Id$ and CRLF\r\n"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A site with one small prototype ``desktop``, checked in twice."""
    live = tmp_path / "live"
    for name in ("etc/ssh", "usr/bin", "var/empty", "srv/repo/.git/objects"):
        (live / name).mkdir(parents=True)
    (live / "etc/fstab").write_text("# first line\n/dev/sda1 / ext4 ro 0 1\n")
    (live / "etc/shadow").write_text("root:*:19000:0:99999:7:::\n")
    os.chown(live / "etc/shadow", 0, 42)
    (live / "etc/shadow").chmod(0o640)
    (live / "etc/keywords").write_bytes(KEYWORDS)
    (live / "etc/.gitattributes").write_text("* text eol=crlf ident filter=evil -diff\nfstab binary\n")
    (live / "srv/repo/.gitignore").write_text("*\n")
    (live / "srv/repo/.git/HEAD").write_text("ref: refs/heads/main\n")
    (live / "srv/repo/.git/objects/x").write_text("x")
    (live / "usr/bin/ping").write_bytes(b"\x7fELF ping\n" * 50)
    (live / "usr/bin/ping").chmod(0o4755)
    subprocess.run(["setcap", "cap_net_raw+ep", live / "usr/bin/ping"], check=True)
    (live / "usr/bin/tool").write_text("#!/bin/sh\nexit 0\n")
    (live / "usr/bin/tool").chmod(0o755)
    (live / "usr/bin/sh").symlink_to("tool")
    os.mkfifo(live / "var/fifo")
    made = make_site(tmp_path / "site")
    made.run("prototype", "create", "desktop", "--live", str(live))
    made.run("checkin", "desktop", "-m", "as installed", "--author", "Ada <ada@example.org>")
    with open(live / "etc/fstab", "a") as file:
        file.write("server:/home /home nfs4 ro 0 0\n")
    made.run("checkin", "desktop", "-m", "homes by NFS", "--author", "Bob <bob@example.org>")
    yield made
    hostile.remove(tmp_path)


def live(site: Site) -> Path:
    return site.path.parent / "live"


def clone(site: Site) -> Path:
    directory = site.path.parent / "clone"
    site.run("clone", "desktop", str(directory))
    git(directory, "config", "user.name", "Eve")
    git(directory, "config", "user.email", "eve@example.org")
    return directory


def pushed(site: Site, directory: Path, message: str) -> Path:
    """Commit all in a clone, push it, export it; the export."""
    git(directory, "add", "--all", "--force")
    git(directory, "commit", "--quiet", "-m", message)
    git(directory, "push", "--quiet", "origin", "HEAD:main")
    return Path(site.out("export", "desktop"))


def test_the_history_of_one_file_reads_as_a_person_expects(site: Site) -> None:
    told = site.git("desktop", "log", "-p", "--format=%an: %s", "--", "etc/fstab")
    assert told.splitlines()[0] == "Bob: homes by NFS"
    assert "+server:/home /home nfs4 ro 0 0" in told.splitlines()
    assert "Ada: as installed" in told.splitlines()
    blame = site.git("desktop", "blame", "--line-porcelain", "HEAD", "--", "etc/fstab")
    assert [line for line in blame.splitlines() if line.startswith("author ")] == ["author Ada"] * 2 + ["author Bob"]
    assert site.git("desktop", "show", "HEAD:etc/fstab") == (live(site) / "etc/fstab").read_text()
    assert site.git("desktop", "diff", "--name-only", "HEAD~1", "HEAD").split() == ["etc/.gitstate", "etc/fstab"]


def test_a_change_of_times_alone_prints_nothing(site: Site) -> None:
    os.utime(live(site) / "usr/bin/tool", ns=(5, 1_700_000_000_123_456_789))
    (live(site) / "new").touch()
    (live(site) / "new").unlink()
    site.run("checkin", "desktop", "-m", "touched")
    assert site.git("desktop", "log", "-p", "-1", "--format=") == ""
    assert site.git("desktop", "diff", "HEAD~1", "HEAD") == ""
    assert site.git("desktop", "diff", "--name-only", "HEAD~1", "HEAD").split() == [".gitstate", "usr/bin/.gitstate"]
    assert site.out("diff", "desktop", "HEAD~1", "HEAD") == ""


def test_a_change_of_mode_alone_reads_well_in_plain_git(site: Site) -> None:
    (live(site) / "etc/shadow").chmod(0o600)
    site.run("checkin", "desktop", "-m", "tighter")
    told = site.git("desktop", "diff", "HEAD~1", "HEAD")
    assert [line for line in told.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")] == [
        "-shadow mode=0640 gid=42",
        "+shadow mode=0600 gid=42",
    ]


def test_a_clone_has_every_byte_and_is_clean(site: Site) -> None:
    directory = clone(site)
    assert (directory / "etc/keywords").read_bytes() == KEYWORDS
    assert (directory / "srv/repo/.gitstate=.git/HEAD").read_text() == "ref: refs/heads/main\n"
    assert git(directory, "status", "--porcelain") == ""
    assert git(directory, "fsck", "--strict") == ""


def test_bsdtar_reads_the_records(site: Site, tmp_path: Path) -> None:
    records = tmp_path / "records"
    records.write_text(site.git("desktop", "show", "HEAD:etc/.gitstate"))
    done = subprocess.run(["bsdtar", "-tvf", records], capture_output=True, text=True, check=False)
    complaints = done.stderr.replace("bsdtar: Error exit delayed from previous errors.", "").splitlines()
    assert all(line.startswith("bsdtar: Unrecognized key oid=") for line in complaints if line), done.stderr
    listed = done.stdout
    rows = {line.split()[-1]: line.split() for line in listed.splitlines()}
    assert rows["shadow"][0] == "-rw-r-----"
    assert rows["shadow"][2:4] == ["0", "42"]


def test_an_edit_of_content_keeps_owner_and_mode_but_no_privilege(site: Site) -> None:
    directory = clone(site)
    (directory / "etc/shadow").write_text("root:!:20000:0:99999:7:::\n")
    (directory / "usr/bin/ping").write_bytes(b"\x7fELF other\n")
    export = pushed(site, directory, "edited in a clone")
    shadow = (export / "etc/shadow").stat()
    assert (stat.S_IMODE(shadow.st_mode), shadow.st_uid, shadow.st_gid) == (0o640, 0, 42)
    assert (export / "etc/shadow").read_text() == "root:!:20000:0:99999:7:::\n"
    assert shadow.st_mtime_ns == (live(site) / "etc").stat().st_mtime_ns
    assert stat.S_IMODE((export / "usr/bin/ping").stat().st_mode) == 0o755
    assert subprocess.run(["getcap", export / "usr/bin/ping"], capture_output=True, check=True).stdout == b""


def test_what_git_adds_removes_and_flips(site: Site) -> None:
    directory = clone(site)
    (directory / "etc/motd").write_text("hello\n")
    (directory / "usr/bin/tool").chmod(0o644)
    (directory / "etc/keywords").unlink()
    (directory / "usr/bin/sh").unlink()
    (directory / "usr/bin/sh").write_text("no link\n")
    (directory / "etc/.gitignore").write_text("nothing\n")
    export = pushed(site, directory, "edited in a clone")
    motd = (export / "etc/motd").stat()
    assert (motd.st_uid, motd.st_gid, stat.S_IMODE(motd.st_mode)) == (0, 0, 0o644)
    assert motd.st_mtime_ns == (live(site) / "etc").stat().st_mtime_ns
    assert stat.S_IMODE((export / "usr/bin/tool").stat().st_mode) == 0o644
    assert not (export / "etc/keywords").exists()
    assert (export / "usr/bin/sh").read_text() == "no link\n"
    assert not (export / "usr/bin/sh").is_symlink()
    assert (export / "etc/.gitignore").read_text() == "nothing\n"
    assert stat.S_ISFIFO((export / "var/fifo").lstat().st_mode)
    assert stat.S_IMODE((export / "usr/bin/ping").stat().st_mode) == 0o4755


def test_an_export_of_a_pushed_edit_checks_in_unchanged(site: Site) -> None:
    """Reading git's edit and recording what it means reach a fixed point."""
    directory = clone(site)
    (directory / "etc/motd").write_text("hello\n")
    (directory / "usr/bin/ping").write_bytes(b"\x7fELF other\n")
    export = pushed(site, directory, "edited in a clone")
    site.run("prototype", "create", "copy", "--from", f"{export}/")
    site.run("checkin", "copy", "-m", "copied")
    assert judges.everything(export, Path(site.out("export", "copy"))) == []


def test_a_commit_of_gitstate_survives_a_rebase_of_plain_git(site: Site) -> None:
    directory = clone(site)
    git(directory, "checkout", "--quiet", "-b", "side", "HEAD~1")
    (directory / "etc/motd").write_text("hello\n")
    git(directory, "add", "etc/motd")
    git(directory, "commit", "--quiet", "-m", "motd")
    git(directory, "rebase", "--quiet", "origin/main")
    git(directory, "push", "--quiet", "origin", "HEAD:main")
    export = Path(site.out("export", "desktop"))
    assert (export / "etc/motd").read_text() == "hello\n"
    assert "nfs4" in (export / "etc/fstab").read_text()
