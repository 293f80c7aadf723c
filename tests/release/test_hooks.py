"""git's hooks in every repository of a site: what they refuse, what they let through, what they cost."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.gitstate_command import git
from tests.release.harness import Harness
from tests.support import computed, needs, root_only

pytestmark = [root_only, needs("git")]


# --- tags -------------------------------------------------------------------------------------------------------------


def test_repositories_come_with_hooks_that_are_files(harness: Harness) -> None:
    harness.layer("lab/lab3")
    for name in ("desktop", "lab/lab3"):
        hooks = harness.repository(name) / "hooks"
        assert sorted(path.name for path in hooks.iterdir()) == ["pre-receive", "reference-transaction"]
        assert all(path.is_file() and not path.is_symlink() and path.stat().st_mode & 0o100 for path in hooks.iterdir())


@pytest.mark.parametrize("packed", [False, True], ids=["loose", "packed"])
def test_a_tag_stays_where_it_is(harness: Harness, packed: bool) -> None:
    harness("push", "desktop", "lab3", "--yes")
    if packed:
        harness.git("desktop", "pack-refs", "--all", "--prune")
    before = harness.git("desktop", "rev-parse", "lab3/1")
    assert "lab3/1" in harness.refused("desktop", "tag", "-f", "-a", "lab3/1", "-m", "other")
    assert "lab3/1" in harness.refused("desktop", "update-ref", "refs/tags/lab3/1", harness.head("desktop"))
    assert harness.git("desktop", "rev-parse", "lab3/1") == before


def test_a_version_is_not_reused(harness: Harness) -> None:
    harness("push", "desktop", "lab3", "--yes")
    harness.git("desktop", "tag", "-d", "lab3/1")
    assert "there is a release lab3/1 already" in harness.refused("desktop", "tag", "-a", "lab3/1", "-m", "other")


def test_a_version_means_one_thing_over_all_repositories(harness: Harness) -> None:
    harness.layer("lab/lab3")
    harness("push", "desktop", "lab3", "--yes")
    assert "lab3/1 already" in harness.refused("lab/lab3", "tag", "-a", "lab3/1", "-m", "x")
    harness.git("desktop", "-c", "core.hooksPath=/dev/null", "tag", "-a", "lab3/2", "-m", "x")
    assert "desktop has a tag lab3/2" in harness.refused("lab/lab3", "tag", "-a", "lab3/2", "-m", "x")


def test_a_tag_is_not_named_as_a_channel(harness: Harness) -> None:
    assert "as the channel lab3" in harness.refused("desktop", "tag", "-a", "lab3", "-m", "x")
    assert "as the channel lab3" in harness.refused("desktop", "tag", "lab3")


def test_a_tag_under_another_prototypes_channel(harness: Harness) -> None:
    harness.prototype("kiosk")
    said = harness.refused("kiosk", "tag", "-a", "lab3/1", "-m", "x")
    assert "kiosk can't release lab3" in said
    assert "desktop" in said


def test_a_tag_that_is_not_annotated_or_names_no_commit(harness: Harness) -> None:
    assert "no annotated tag" in harness.refused("desktop", "tag", "lab3/1")
    assert "names no commit but a tree" in harness.refused("desktop", "tag", "-a", "lab3/1", "-m", "x", "main^{tree}")
    harness.git("desktop", "tag", "-a", "v1", "-m", "x")
    assert "names no commit but a tag" in harness.refused("desktop", "tag", "-a", "lab3/1", "-m", "x", "v1")
    tag = harness.git("desktop", "rev-parse", "v1")
    assert "calls itself v1" in harness.refused("desktop", "update-ref", "refs/tags/lab3/1", tag)


@pytest.mark.parametrize("name", ["lab3/a/b", "lab3/-x", "lab3/" + "x" * 101])
def test_a_tag_whose_version_is_none(harness: Harness, name: str) -> None:
    tag = git(harness.repository("desktop"), "-c", "user.name=A", "-c", "user.email=a@b", "tag", "-a", "v1", "-m", "x")
    tag = harness.git("desktop", "cat-file", "tag", "v1").replace("tag v1", f"tag {name}") + "\n"
    argv = ["git", "-C", str(harness.repository("desktop")), "hash-object", "-t", "tag", "-w", "--stdin"]
    oid = subprocess.run(argv, input=tag, text=True, capture_output=True, check=True).stdout.strip()
    assert "is not a version" in harness.refused("desktop", "update-ref", f"refs/tags/{name}", oid)


def test_a_tag_of_a_commit_that_breaks_the_format(harness: Harness) -> None:
    bad = broken(harness)
    assert "is not an octal mode" in harness.refused("desktop", "tag", "-a", "lab3/1", "-m", "x", bad)
    harness.git("desktop", "-c", "core.hooksPath=/dev/null", "tag", "-a", "lab3/1", "-m", "x", bad)
    assert "is not an octal mode" in harness.fails(14, "reconcile")
    assert "is not an octal mode" in harness.fails(14, "push", "desktop", "lab3", bad, "--yes")
    assert harness.json("channel", "show", "lab3")["current"] is None


def test_a_tag_of_a_commit_that_policy_refuses(harness: Harness) -> None:
    work = harness.clone("desktop")
    bad = commit_key(work)
    harness.git("desktop", "-c", "core.hooksPath=/dev/null", "fetch", "-q", str(work), "main:refs/heads/key")
    assert "ssh host key" in harness.refused("desktop", "tag", "-a", "lab3/1", "-m", "x", bad)
    harness.git("desktop", "-c", "core.hooksPath=/dev/null", "tag", "-a", "lab3/1", "-m", "x", bad)
    assert "ssh host key" in harness.fails(4, "reconcile")
    assert "ssh host key" in harness.fails(4, "push", "desktop", "lab3", "key", "--yes")


def test_a_tag_of_an_older_clock(harness: Harness) -> None:
    harness.git("desktop", "tag", "-a", "lab3/spring", "-m", "x")
    harness("reconcile")
    environment = {**os.environ, "GIT_COMMITTER_DATE": "1700000000 +0000"}
    argv = ["git", "-C", str(harness.repository("desktop")), "-c", "user.name=A", "-c", "user.email=a@b", "tag"]
    done = subprocess.run(
        [*argv, "-a", "lab3/summer", "-m", "x"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode
    assert "is your clock behind?" in done.stderr
    harness.git("desktop", "tag", "-a", "lab3/autumn", "-m", "x")


def test_other_tags_and_branches_are_nobodys_business(harness: Harness) -> None:
    for words in (("tag", "v1"), ("tag", "-f", "v1", "HEAD"), ("tag", "-a", "lab4/1", "-m", "x"), ("tag", "-d", "v1")):
        harness.git("desktop", *words)
    harness.git("desktop", "branch", "lab3/1")


def test_a_deletion_is_not_refused(harness: Harness) -> None:
    harness("push", "desktop", "lab3", "--yes")
    harness.git("desktop", "tag", "-d", "lab3/1")


def test_a_hook_that_finds_no_gitstate_refuses(harness: Harness) -> None:
    hook = harness.repository("desktop") / "hooks" / "reference-transaction"
    lines = [
        line if not line.startswith("gitstate=") else "gitstate=/no/such" for line in hook.read_text().splitlines()
    ]
    hook.write_text("\n".join(lines) + "\n")
    harness.refused("desktop", "tag", "-a", "lab3/1", "-m", "x")
    harness.git("desktop", "branch", "other")


def test_hooks_stand_wherever_git_is_called(harness: Harness, tmp_path: Path) -> None:
    argv = ["git", f"--git-dir={harness.repository('desktop')}", "tag", "lab3/1", "main"]
    done = subprocess.run(argv, cwd="/", capture_output=True, text=True, check=False)
    assert "no annotated tag" in done.stderr
    relative = os.path.relpath(harness.repository("desktop"), tmp_path)
    done = subprocess.run(
        ["git", "tag", "lab3/1", "main"],
        cwd=tmp_path,
        env={**os.environ, "GIT_DIR": relative},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "no annotated tag" in done.stderr


def test_what_the_caller_sets_for_git_reaches_no_hook(harness: Harness, tmp_path: Path) -> None:
    """Another repository, other objects, other settings: the hook looks at its own."""
    git(tmp_path, "init", "-q", "--bare", "evil.git")
    environment = {
        **os.environ,
        "GIT_OBJECT_DIRECTORY": str(harness.repository("desktop") / "objects"),
        "GIT_INDEX_FILE": str(tmp_path / "index"),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.worktree",
        "GIT_CONFIG_VALUE_0": str(tmp_path),
    }
    argv = ["git", f"--git-dir={harness.repository('desktop')}", "tag", "lab3/1", "main"]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert "no annotated tag" in done.stderr, done


def test_what_is_committed_wakes_whoever_publishes(harness: Harness) -> None:
    wake = harness.site / "site.git" / "gitstate" / "wake"
    harness.git("desktop", "branch", "other")
    assert not wake.exists()
    harness.git("desktop", "tag", "-a", "lab3/1", "-m", "x")
    assert wake.exists()


def test_a_checkin_pays_next_to_nothing(harness: Harness) -> None:
    """Two starts of a small shell: less than a tenth of what a Python would take."""
    repository = harness.repository("desktop")

    def moves() -> float:
        started = computed()
        for number in range(20):
            harness.git("desktop", "update-ref", "refs/heads/x", "main" if number % 2 else "main~0")
        return (computed() - started) / 20

    hooked = moves()
    (repository / "hooks").rename(repository / "unhooked")
    assert hooked - moves() < 0.03


def test_hooks_know_each_other_by_their_second_line(harness: Harness) -> None:
    """A hook that isn't known as ours is never renewed."""
    for hook in (harness.repository("desktop") / "hooks").iterdir():
        right = hook.read_bytes()
        hook.write_bytes(b"\n".join(right.split(b"\n")[:2]) + b"\nexit 1\n")
    harness("reconcile")
    for hook in (harness.repository("desktop") / "hooks").iterdir():
        assert b"exec" in hook.read_bytes() or b'"$gitstate"' in hook.read_bytes()


def test_hooks_of_before_are_renewed_and_others_stay(harness: Harness) -> None:
    hooks = harness.repository("desktop") / "hooks"
    (hooks / "pre-receive").unlink()
    (hooks / "reference-transaction").write_text("#!/bin/sh\n# somebody else's\nexit 0\n")
    harness("reconcile")
    assert (hooks / "pre-receive").is_file()
    assert "somebody else's" in (hooks / "reference-transaction").read_text()


# --- pushes -----------------------------------------------------------------------------------------------------------


def commit_key(work: Path, message: str = "a key") -> str:
    """A commit with what no check-in would record; its id."""
    (work / "etc" / "ssh").mkdir(exist_ok=True)
    (work / "etc" / "ssh" / "ssh_host_ed25519_key").write_text("secret\n")
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", message)
    return git(work, "rev-parse", "HEAD").strip()


def broken(harness: Harness) -> str:
    """A commit in the repository whose record breaks the format, come past all hooks; its id."""
    work = harness.clone("desktop")
    (work / "etc" / ".gitstate").write_text((work / "etc" / ".gitstate").read_text() + "hostname mode=abc\n")
    git(work, "commit", "-qam", "broken")
    harness.git("desktop", "-c", "core.hooksPath=/dev/null", "fetch", "-q", str(work), "main:refs/heads/broken")
    return harness.head("desktop", "broken")


def pushed(work: Path, *words: str) -> str:
    """What a push that must fail says."""
    done = subprocess.run(["git", "-C", str(work), "push", *words], capture_output=True, text=True, check=False)
    assert done.returncode, done
    return done.stderr


def test_a_good_push_goes_in(harness: Harness) -> None:
    work = harness.clone("desktop")
    (work / "etc" / "motd").write_text("hello\n")
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", "motd")
    git(work, "tag", "-a", "lab3/1", "-m", "by hand")
    git(work, "push", "-q", "origin", "main", "lab3/1")
    harness("reconcile")
    assert harness.runs("lab3")["desktop"] == git(work, "rev-parse", "HEAD").strip()


def test_a_push_of_a_secret_brings_nothing(harness: Harness) -> None:
    work = harness.clone("desktop")
    bad = commit_key(work)
    git(work, "rm", "-q", "-r", "etc/ssh")
    git(work, "commit", "-q", "-m", "and away again")
    said = pushed(work, "origin", "main")
    assert "ssh_host_ed25519_key (the ssh host key of one machine)" in said
    assert "Gitstate-Allow: etc/ssh/ssh_host_ed25519_key because TEXT" in said
    assert harness.refused("desktop", "cat-file", "-e", bad) == ""


def test_what_a_commit_says_is_allowed_goes_in(harness: Harness) -> None:
    work = harness.clone("desktop")
    commit_key(work, "a sample\n\nGitstate-Allow: etc/ssh/ssh_host_ed25519_key because it is public")
    git(work, "push", "-q", "origin", "main")
    git(work, "commit", "-q", "--allow-empty", "-m", "more")
    git(work, "tag", "-a", "lab3/1", "-m", "x")
    git(work, "push", "-q", "origin", "main", "lab3/1")
    assert "lab3/1 = desktop" in harness("reconcile")


def test_a_push_of_a_broken_record(harness: Harness) -> None:
    work = harness.clone("desktop")
    (work / "etc" / ".gitstate").write_text("#mtree\nhostname mode=99\n")
    git(work, "commit", "-qam", "broken")
    assert "/etc/.gitstate, line 2" in pushed(work, "origin", "main")


@pytest.mark.parametrize("name", [".gitstate=..", ".gitstate=%2E%2E", ".gitstate=a%2Fb", ".gitstate=%zz", ".gitstate="])
def test_a_push_of_a_name_that_leads_out(harness: Harness, name: str) -> None:
    work = harness.clone("desktop")
    (work / "etc" / name).write_text("x")
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", "out")
    pushed(work, "origin", "main")
    assert harness.git("desktop", "rev-parse", "main") != git(work, "rev-parse", "HEAD").strip()


def test_a_push_of_a_submodule(harness: Harness) -> None:
    work = harness.clone("desktop")
    git(work, "update-index", "--add", "--cacheinfo", f"160000,{harness.head('desktop')},etc/sub")
    git(work, "commit", "-q", "-m", "sub")
    assert "submodule" in pushed(work, "origin", "main")


@pytest.mark.parametrize("ref", ["refs/gitstate/live", "refs/gitstate/released/lab3/1", "refs/replace/" + "a" * 40])
def test_gitstates_own_refs_are_not_pushed(harness: Harness, ref: str) -> None:
    work = harness.clone("desktop")
    git(work, "commit", "-q", "--allow-empty", "-m", "x")
    assert "is gitstate's own" in pushed(work, "origin", f"HEAD:{ref}")
    if ref.endswith("live"):
        assert "is gitstate's own" in pushed(work, "origin", f":{ref}")


def test_a_fork_is_made_past_the_hooks(harness: Harness) -> None:
    harness("prototype", "create", "copy", "--from", "desktop")
    assert harness.head("copy") == harness.head("desktop")


def test_pushes_with_deltas_and_merges_are_read(harness: Harness) -> None:
    """What git keeps apart till the hook has said yes is deltas against what the repository has."""
    text = "".join(f"line {number} of a long file\n" for number in range(5000))
    harness.edit("desktop", text)
    work = harness.clone("desktop")
    git(work, "checkout", "-q", "-b", "side")
    (work / "etc" / "motd").write_text(text.replace("line 7 ", "line seven "))
    git(work, "commit", "-qam", "side")
    git(work, "checkout", "-q", "main")
    (work / "etc" / "motd").write_text(text.replace("line 4000 ", "line four thousand "))
    git(work, "commit", "-qam", "main")
    git(work, "merge", "-q", "-m", "merge", "side")
    git(work, "push", "-q", "origin", "main")
    assert harness.head("desktop") == git(work, "rev-parse", "HEAD").strip()
