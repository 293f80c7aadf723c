"""Pushes of what no file system can hold, and of trees and records without end; what a bad tag does to its channel."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gitstate.tree import limits
from tests.gitstate_command import git
from tests.release.harness import ADA, Harness
from tests.support import needs, root_only

pytestmark = [root_only, needs("git")]

TARGETS = {"an empty target": "", "a target with NUL": "a\0b", "a long target": "a" * 4096}
RECORDS = {
    "a fifo with an attribute": "pipe type=fifo xattr.user.a=eA==",
    "a default ACL of a device": "tty type=char device=native,4,1 xattr.system.posix_acl_default=AgAAAA==",
    "a large major number": "tty type=char device=native,4096,1",
    "an ACL of nothing": "pipe type=fifo xattr.system.posix_acl_access=AgAAAA==",
    "capabilities of revision 9": "pipe type=fifo xattr.security.capability=AAAACQAAAAAAAAAAAAAAAAAAAAA=",
}


def fed(work: Path, text: str, *words: str) -> str:
    """What git makes of its standard input."""
    done = subprocess.run(["git", "-C", str(work), *words], input=text, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def refused(work: Path, *words: str) -> str:
    """What a push that must fail says."""
    done = subprocess.run(["git", "-C", str(work), "push", *words], capture_output=True, text=True, check=False)
    assert done.returncode, done
    return done.stderr


def record(work: Path, line: str) -> None:
    """One more record of ``etc``."""
    with (work / "etc" / ".gitstate").open("a") as file:
        file.write(f"{line}\n")
    git(work, "add", "etc/.gitstate")


def commit_impossible(work: Path, what: str) -> None:
    """A commit with an entry that can't exist."""
    if what in RECORDS:
        record(work, RECORDS[what])
    elif what in TARGETS:
        blob = fed(work, TARGETS[what], "hash-object", "-w", "--stdin")
        git(work, "update-index", "--add", "--cacheinfo", f"120000,{blob},etc/link")
    else:
        blob = git(work, "rev-parse", "HEAD:etc/hostname").strip()
        tree = fed(work, f"100644 blob {blob}\t{'n' * 256}\n", "mktree")
        git(work, "read-tree", "--prefix=srv/", tree)
    git(work, "commit", "-q", "-m", what)


@pytest.mark.parametrize("what", ["a long name", *TARGETS, *RECORDS])
def test_what_no_file_system_holds_is_refused_at_the_door_and_found_inside(harness: Harness, what: str) -> None:
    work = harness.clone("desktop")
    commit_impossible(work, what)
    assert "can't exist" in refused(work, "origin", "HEAD:refs/heads/bad")
    harness.git("desktop", "-c", "core.hooksPath=/dev/null", "fetch", "-q", str(work), "HEAD:refs/heads/bad")
    assert "can't exist" in harness("fsck", "desktop", code=14)
    assert "can't exist" in harness.fails(14, "export", "desktop", "bad")


def test_a_tree_that_repeats_itself(harness: Harness) -> None:
    work = harness.clone("desktop")
    tree = git(work, "rev-parse", "HEAD:etc").strip()
    for _ in range(12):
        tree = fed(work, "".join(f"040000 tree {tree}\t{name}\n" for name in "abcdefgh"), "mktree")
    bomb = git(work, "commit-tree", tree, "-p", "HEAD", "-m", "8**12 directories").strip()
    assert f"{limits.MOST_REPEATED:,} entries" in refused(work, "origin", f"{bomb}:refs/heads/bomb")
    harness.git("desktop", "-c", "core.hooksPath=/dev/null", "fetch", "-q", str(work), f"{bomb}:refs/heads/bomb")
    assert f"{limits.MOST_REPEATED:,} entries" in harness.fails(14, "manifest", "desktop", "bomb")


def test_one_file_of_records_in_many_directories(harness: Harness) -> None:
    work = harness.clone("desktop")
    lines = [f"p{number:05} type=fifo\n" for number in range(20_000)]
    records = fed(work, "#mtree\n" + "".join(lines), "hash-object", "-w", "--stdin")
    file = git(work, "rev-parse", "HEAD:etc/hostname").strip()
    below = ""
    for number in range(15):  # different directories, each of them with all these fifos
        tree = fed(work, f"100644 blob {records}\t.gitstate\n100644 blob {file}\tf{number}\n", "mktree")
        below += f"040000 tree {tree}\td{number:02}\n"
    commit = git(work, "commit-tree", fed(work, below, "mktree"), "-p", "HEAD", "-m", "fifos").strip()
    assert f"{limits.MOST_REPEATED:,} entries" in refused(work, "origin", f"{commit}:refs/heads/fifos")


def test_records_beyond_what_is_read(harness: Harness) -> None:
    work = harness.clone("desktop")
    record(work, "\n".join(f"p{number:06} type=fifo" for number in range(limits.MOST_RECORDS)))
    git(work, "commit", "-q", "-m", "fifos")
    assert f"at most {limits.MOST_RECORDS:,}" in refused(work, "origin", "main")


def test_a_bad_tag_stops_no_good_one(harness: Harness) -> None:
    work = harness.clone("desktop")
    commit_impossible(work, "a long name")
    harness.git("desktop", "-c", "core.hooksPath=/dev/null", "fetch", "-q", str(work), "HEAD:refs/heads/bad")
    harness.git("desktop", "-c", "core.hooksPath=/dev/null", *ADA, "tag", "-a", "lab3/1", "bad", "-m", "bad")
    assert "can't exist" in harness.fails(14, "reconcile")
    assert "lab3/1 is not released" in harness.run("push", "desktop", "lab3", "--yes").err
    assert harness.runs("lab3")["desktop"] == harness.head("desktop")
    harness("reconcile")  # the bad one is superseded
