"""A restored live tree is the snapshot, whatever was done to it; nothing else is touched. Other programs judge."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sqlite3
import stat
import subprocess
from pathlib import Path

import pytest

from gitstate.core.monitor import SILENT
from gitstate.store import Repository
from gitstate.tree import restore as restoring
from tests.cli.harness import edit, plant
from tests.gitstate_command import Site, make_site
from tests.support import needs, root_only
from tests.testing import judges
from tests.testing.mutation import mutate

pytestmark = [root_only, needs("mtree", "rsync", "getcap", "getfacl")]


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """A live tree with everything in it, checked in."""
    live = tmp_path / "live"
    plant(live)
    (live / "var" / "socket").unlink()
    for name in ("proc", "tmp"):  # whose times aren't recorded
        (live / name).rmdir()
    site = make_site(tmp_path / "site")
    site.run("prototype", "create", "p", "--live", str(live))
    site.run("checkin", "p", "-m", "one")
    keep(live, "HEAD")
    return live


def keep(live: Path, name: str) -> None:
    """Copy the live tree as it is."""
    subprocess.run(["cp", "-a", str(live), str(live.with_name(name))], check=True)


@pytest.fixture
def site(tmp_path: Path, live: Path) -> Site:
    """Its site."""
    return Site(tmp_path / "site")


def differences(live: Path, kept: str = "HEAD") -> list[str]:
    """What distinguishes the live tree from a copy of it."""
    return judges.everything(live.with_name(kept), live)


SEEDS = [2, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (0, 3, 4, 5))]


@pytest.mark.parametrize("seed", SEEDS)
def test_random_edits_are_taken_back(site: Site, live: Path, seed: int) -> None:
    done = mutate(live, seed, 40)
    site.run("restore", "p", "--all", "--delete")
    assert differences(live) == [], done
    assert (
        site.out("status", "p", "--times") == f"p: nothing to check in since {site.git('p', 'rev-parse', 'main')[:7]}"
    )
    assert site.json("restore", "p", "--all")["written"] == 0


@pytest.mark.parametrize("seed", SEEDS[:3])
def test_random_edits_are_done_again(site: Site, live: Path, seed: int) -> None:
    """From one snapshot to another and back."""
    done = mutate(live, seed, 40)
    site.run("checkin", "p", "-m", "two")
    keep(live, "two")
    for revision, kept in (("HEAD~1", "HEAD"), ("HEAD", "two")):
        site.run("restore", "p", revision, "--all", "--delete")
        assert differences(live, kept) == [], done


def test_a_lost_and_an_emptied_tree_come_back(site: Site, live: Path) -> None:
    for path in live.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    site.run("restore", "p", "--all")
    assert differences(live) == []
    shutil.rmtree(live)
    site.refuses(5, "restore", "p", "etc", naming="missing")
    site.run("restore", "p", "--all")
    assert differences(live) == []


def test_one_path_comes_back_and_no_other(site: Site, live: Path) -> None:
    edit(live)
    before = site.json("status", "p")["changes"]
    value = site.json("restore", "p", "etc/motd")
    assert (value["written"], value["removed"], value["metadata"]) == (1, 0, 0)
    assert [(one["status"], one["path"]) for one in value["changes"]] == [("A", "etc/motd")]
    after = site.json("status", "p")["changes"]
    assert [one for one in before if one["path"] not in ("etc/motd", "etc")] == [
        one for one in after if one["path"] != "etc"
    ]


def test_the_time_of_the_directory_comes_back_with_its_names(site: Site, live: Path) -> None:
    (live / "etc" / "motd").unlink()
    shutil.rmtree(live / "usr")
    site.run("restore", "p", "etc/motd", "usr")
    assert "nothing to check in" in site.out("status", "p", "--times")


def test_metadata_alone_is_set_in_place(site: Site, live: Path) -> None:
    path = live / "usr" / "bin" / "ping"
    inode = path.stat().st_ino
    subprocess.run(["setcap", "-r", str(path)], check=True)
    subprocess.run(["setfacl", "-m", "u:7:r", str(path)], check=True)
    (live / "etc").chmod(0o700)
    value = site.json("restore", "p", "usr/bin/ping", "etc")
    assert (value["written"], value["metadata"], value["bytes"]) == (0, 2, 0)
    assert path.stat().st_ino == inode
    assert differences(live) == []


def test_the_default_acl_of_a_directory_is_not_inherited(site: Site, live: Path) -> None:
    (live / "srv" / "drop" / "file").write_text("x")
    (live / "srv" / "drop" / "folder").mkdir()
    for name in ("file", "folder"):
        subprocess.run(["setfacl", "-b", str(live / "srv" / "drop" / name)], check=True)
    site.run("checkin", "p", "-m", "two")
    keep(live, "two")
    (live / "srv" / "drop" / "file").unlink()
    (live / "srv" / "drop" / "folder").rmdir()
    site.run("restore", "p", "srv/drop")
    assert differences(live, "two") == []


# --- hard links -------------------------------------------------------------------------------------------------------


def test_a_group_is_joined_again(site: Site, live: Path) -> None:
    perl, perl5 = live / "usr" / "bin" / "perl", live / "usr" / "bin" / "perl5"
    perl5.unlink()
    shutil.copy2(perl, perl5)
    value = site.json("restore", "p", "usr/bin/perl5")
    assert (value["written"], value["linked"]) == (0, 1)
    assert perl.samefile(perl5)


def test_what_was_linked_by_accident_is_split(site: Site, live: Path) -> None:
    true, hosts = live / "usr" / "bin" / "true", live / "etc" / "hosts"
    hosts.unlink()
    os.link(true, hosts)
    site.run("restore", "p", "etc/hosts")
    assert not true.samefile(hosts)
    assert differences(live) == []


def test_a_file_with_a_name_outside_is_not_written_to(site: Site, live: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    os.link(live / "etc" / "fstab", backup)
    (live / "etc" / "fstab").chmod(0o600)
    site.run("restore", "p", "etc/fstab")
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert stat.S_IMODE((live / "etc" / "fstab").stat().st_mode) == 0o644


# --- what is left alone -----------------------------------------------------------------------------------------------


def test_new_entries_stay_unless_they_are_to_go(site: Site, live: Path) -> None:
    (live / "etc" / "new").write_text("precious\n")
    done = site.run("restore", "p", "etc")
    assert "/etc/new" in done.stderr
    assert (live / "etc" / "new").exists()
    site.run("restore", "p", "etc", "--delete")
    assert not (live / "etc" / "new").exists()


def test_a_tree_that_is_gone_says_how_it_comes_back(site: Site, live: Path) -> None:
    shutil.rmtree(live)
    assert "gitstate restore p --all" in site.run("status", "p", code=5).stderr
    site.run("restore", "p", "--all")
    assert differences(live) == []


def test_what_a_check_in_added_goes_with_the_check_in(site: Site, live: Path) -> None:
    (live / "etc" / "new").write_text("a mistake\n")
    site.run("checkin", "p", "-m", "two")
    site.run("restore", "p", "HEAD~1", "--", "etc")
    assert not (live / "etc" / "new").exists()
    assert differences(live) == []


def test_mounts_and_what_policy_leaves_out_stay(site: Site, live: Path) -> None:
    (live / "var" / "mnt").mkdir()
    (live / "var" / "mnt" / "below").write_text("recorded\n")
    (live / "tmp").mkdir()
    site.run("checkin", "p", "-m", "two")
    (live / "tmp" / "work").write_text("x")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(live / "var" / "socket"))
    subprocess.run(["mount", "-t", "tmpfs", "none", str(live / "var" / "mnt")], check=True)
    try:
        (live / "var" / "mnt" / "other").write_text("x")
        site.run("restore", "p", "--all", "--delete")
        assert os.listdir(live / "var" / "mnt") == ["other"]
        done = site.run("restore", "p", "HEAD~1", "--all", "--delete", code=3)  # /tmp isn't empty
        assert "/var/mnt" in done.stderr
        assert os.listdir(live / "var" / "mnt") == ["other"]
    finally:
        subprocess.run(["umount", str(live / "var" / "mnt")], check=True)
    assert (live / "tmp" / "work").exists()
    assert (live / "var" / "socket").exists()


def test_a_directory_that_holds_what_isnt_recorded_stays(site: Site, live: Path) -> None:
    (live / "opt").mkdir()
    site.run("checkin", "p", "-m", "two")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(live / "opt" / "socket"))
    done = site.run("restore", "p", "HEAD~1", "opt", code=3)
    assert "/opt" in done.stderr
    assert (live / "opt" / "socket").exists()


def test_a_socket_in_a_files_place_stays(site: Site, live: Path) -> None:
    (live / "etc" / "motd").unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(live / "etc" / "motd"))
    assert "/etc/motd" in site.run("restore", "p", "etc", code=3).stderr
    assert stat.S_ISSOCK((live / "etc" / "motd").lstat().st_mode)


def test_what_is_immutable_stays_and_stops_nothing_else(site: Site, live: Path) -> None:
    held = live / "etc" / "fstab"
    for name in ("fstab", "hosts"):
        (live / "etc" / name).write_text("edited\n")
    (live / "usr" / "bin" / "true").chmod(0o700)
    if subprocess.run(["chattr", "+i", held, live / "usr" / "bin" / "true"], check=False).returncode:
        pytest.skip("no immutable files here")
    try:
        said = site.run("restore", "p", "--all", code=3).stderr
    finally:
        subprocess.run(["chattr", "-i", held, live / "usr" / "bin" / "true"], check=True)
    assert "/etc/fstab (Operation not permitted)" in said
    assert "/usr/bin/true (Operation not permitted)" in said
    assert held.read_text() == "edited\n"
    site.run("restore", "p", "--all")
    assert differences(live) == []


def test_what_stands_where_restore_works_is_named(site: Site, live: Path) -> None:
    (live / ".gitstate.restore").symlink_to("etc")
    site.refuses(5, "restore", "p", "etc", naming="/.gitstate.restore")
    (live / "etc" / "hosts").write_text("edited\n")
    site.refuses(5, "restore", "p", "etc", naming="/.gitstate.restore")
    assert (live / "etc" / "hosts").read_text() == "edited\n"


def test_no_symlink_is_followed(site: Site, live: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    shutil.copytree(live / "etc", outside, symlinks=True)
    (outside / "motd").unlink()
    before = sorted(os.listdir(outside))
    shutil.rmtree(live / "etc")
    (live / "etc").symlink_to(outside)
    assert "/etc is no directory now" in site.run("restore", "p", "etc/motd").stderr
    assert sorted(os.listdir(outside)) == before
    site.run("restore", "p", "etc")
    assert sorted(os.listdir(outside)) == before
    assert differences(live) == []


def test_types_change_into_one_another(site: Site, live: Path) -> None:
    shutil.rmtree(live / "srv")
    (live / "srv").write_text("a file\n")
    (live / "etc" / "hosts").unlink()
    (live / "etc" / "hosts").mkdir()
    (live / "etc" / "hosts" / "new").write_text("x")
    assert "--delete" in site.run("restore", "p", "--all", code=3).stderr
    assert (live / "srv").is_dir()
    assert (live / "etc" / "hosts" / "new").exists()
    site.run("restore", "p", "--all", "--delete")
    assert differences(live) == []


# --- databases --------------------------------------------------------------------------------------------------------


def write_rows(path: Path, rows: range, *, checkpoint: bool) -> None:
    """Add rows; without a checkpoint they are in the write-ahead log only, and it stays, as after a kill."""
    copy = path.with_name("copy")
    shutil.copy(path, copy)
    with contextlib.closing(sqlite3.connect(copy)) as database:
        database.execute("pragma wal_autocheckpoint=0")
        database.executemany("insert into t values (?, ?)", ((row, "x" * 900) for row in rows))
        database.commit()
        if checkpoint:
            database.execute("pragma wal_checkpoint(truncate)")
        for suffix in ("", "-wal", "-shm"):
            shutil.copy(f"{copy}{suffix}", f"{path}{suffix}")
    for left in path.parent.glob("copy*"):
        left.unlink()


@pytest.mark.parametrize("words", [("var/db",), ("--all",), ("var/d*",)], ids=["path", "all", "pattern"])
def test_a_database_comes_back_without_a_later_log(site: Site, live: Path, words: tuple[str, ...]) -> None:
    """SQLite would take the log's pages for its own."""
    path = live / "var" / "db"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("pragma journal_mode=wal")
        database.execute("create table t (a integer primary key, b text)")
    site.run("checkin", "p", "-m", "two")
    keep(live, "two")
    write_rows(path, range(100), checkpoint=True)
    write_rows(path, range(100, 200), checkpoint=False)
    (live / "var" / "notes-wal").write_text("no log\n")
    site.run("restore", "p", *words)
    assert [one["path"] for one in site.json("status", "p")["changes"] if one["status"] == "A"] == ["var/notes-wal"]
    assert not path.with_name("db-shm").exists()
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("pragma integrity_check").fetchall() == [("ok",)]
        assert database.execute("select count(*) from t").fetchall() == [(0,)]


# --- edits since the scan ---------------------------------------------------------------------------------------------


def planned(live: Path, *, delete: bool = False) -> restoring.Plan:
    """A restore of everything, planned and not carried out."""
    repository = Repository(live.with_name("site") / "prototypes" / "p.git")
    commit = repository.ref("refs/heads/main")
    assert commit is not None
    request = restoring.Request(repository, live, repository.snapshot(commit).tree, delete=delete)
    return restoring.plan(request, SILENT)


def write_keeping_time(path: Path, text: str) -> None:
    before = path.stat()
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_an_edit_since_the_scan_stays(live: Path) -> None:
    """Of content, even with its old time, and of metadata; in place of a file, of nothing, of what was to go."""
    etc = live / "etc"
    for name in ("motd", "hosts", "hostname"):
        (etc / name).write_text("edited\n")
    (etc / "fstab").chmod(0o600)
    (etc / "passwd").unlink()
    shutil.rmtree(live / "usr")
    shutil.rmtree(live / "srv")
    (etc / "new").write_text("new\n")
    found = planned(live, delete=True)
    write_keeping_time(etc / "motd", "EDITED\n")
    (etc / "hostname").chmod(0o640)
    (etc / "fstab").write_text("edited\n")
    (etc / "passwd").write_text("edited\n")
    (live / "usr").mkdir()
    (live / "usr" / "file").write_text("edited\n")
    (etc / "new").write_text("newer\n")
    (live / "srv").write_text("edited\n")
    counts = restoring.apply(found, SILENT)
    left = dict(counts.left)
    assert sorted(left) == [b"etc/fstab", b"etc/hostname", b"etc/motd", b"etc/new", b"etc/passwd", b"srv", b"usr"]
    assert counts.unfinished
    assert [(etc / name).read_text() for name in ("motd", "fstab", "passwd", "new")] == [
        "EDITED\n",
        "edited\n",
        "edited\n",
        "newer\n",
    ]
    assert (live / "usr" / "file").exists()
    assert (live / "srv").read_text() == "edited\n"
    assert (etc / "hosts").read_bytes() == (live.with_name("HEAD") / "etc" / "hosts").read_bytes()
    assert not list(live.glob(".gitstate*"))


def test_a_directory_made_since_the_scan_gets_no_hard_links(site: Site, live: Path) -> None:
    """A group joins what came with a restored directory, and nothing that somebody made in its place."""
    (live / "usr" / "lib").mkdir()
    os.link(live / "etc" / "hosts", live / "usr" / "lib" / "hosts")
    site.run("checkin", "p", "-m", "two")
    shutil.rmtree(live / "usr" / "lib")
    found = planned(live)
    (live / "usr" / "lib").mkdir()
    (live / "usr" / "lib" / "hosts").write_text("edited\n")
    counts = restoring.apply(found, SILENT)
    assert [path for path, _ in counts.left] == [b"usr/lib"]
    assert (live / "usr" / "lib" / "hosts").read_text() == "edited\n"


def test_what_only_looks_newer_is_replaced(live: Path) -> None:
    """Its status time moved, as of a name of a hard link that goes."""
    (live / "etc" / "motd").write_text("edited\n")
    found = planned(live)
    (live / "etc" / "motd").chmod(0o644)
    counts = restoring.apply(found, SILENT)
    assert (counts.left, counts.unfinished) == ([], False)
    assert differences(live) == []


# --- the command line -------------------------------------------------------------------------------------------------


def test_paths_begin_at_the_current_directory(site: Site, live: Path) -> None:
    for name in ("motd", "hosts", "group"):
        (live / "etc" / name).unlink()
    site.run("restore", "motd", cwd=live / "etc")
    site.run("restore", "../../etc/hosts", cwd=live / "usr" / "bin")
    site.run("restore", "p", str(live / "etc" / "group"))
    assert "nothing to check in" in site.out("status", "p")
    site.refuses(10, "restore", "etc/motd", naming="/etc/etc/motd", cwd=live / "etc")
    site.refuses(2, "restore", "../..", naming="../..", cwd=live / "etc")


def test_words_that_cant_be_meant(site: Site) -> None:
    site.refuses(2, "restore", "p", naming="PATH")
    site.refuses(2, "restore", "p", "--all", "etc", naming="--all")
    site.refuses(10, "restore", "p", "nowhere", naming="nowhere")
    site.refuses(10, "restore", "p", "nothing", "--", "etc", naming="nothing")
    site.refuses(2, "restore", "p", "etc", "HEAD", "--", "etc", naming="HEAD")


def test_dry_run_shows_and_writes_nothing(site: Site, live: Path) -> None:
    edit(live)
    before = site.json("status", "p")
    shown = site.json("restore", "-n", "p", "--all", "--delete")
    assert site.json("status", "p") == before
    letters = {"A": "D", "D": "A"}
    mirrored = {(letters.get(one["status"], one["status"]), one["path"]) for one in before["changes"]}
    assert {(one["status"], one["path"]) for one in shown["changes"]} == mirrored


def test_a_pattern_and_an_exclusion(site: Site, live: Path) -> None:
    shutil.rmtree(live / "etc")
    site.run("restore", "p", "etc/host*", ":!etc/hosts")
    assert os.listdir(live / "etc") == ["hostname"]
    assert stat.S_IMODE((live / "etc").stat().st_mode) == 0o755
