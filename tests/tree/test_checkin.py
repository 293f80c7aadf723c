"""Which branches a live tree is recorded on: none that has commits which the tree never had (decision 0003)."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitstate.core.errors import UsageError
from gitstate.tree.recording import branch_name
from tests.gitstate_command import Site, make_site
from tests.support import needs

pytestmark = needs("git")

CONFLICT = 12


class Harness:
    """A prototype with one snapshot, its live tree, and somebody who pushes."""

    def __init__(self, place: Path) -> None:
        self.live = place / "root"
        self.live.mkdir()
        (self.live / "hosts").write_text("one\n")
        self.site: Site = make_site(place / "site")
        self.site.run("prototype", "create", "desktop", "--live", str(self.live))
        self.checkin()

    def checkin(self, *words: str, code: int = 0) -> str:
        """Check in; what is said on stderr."""
        return self.site.run("checkin", "desktop", "-m", "from the live tree", *words, code=code).stderr

    def edit(self, text: str) -> None:
        (self.live / "hosts").write_text(f"{text}\n")

    def commit(self, revision: str) -> str:
        return self.site.git("desktop", "rev-parse", revision).strip()

    def push(self, branch: str, parent: str) -> str:
        """A commit of somebody else's on ``branch``; its id."""
        identity = ["-c", "user.name=Eve", "-c", "user.email=eve@example.org"]
        tree = self.site.git("desktop", "hash-object", "-t", "tree", "-w", "/dev/null").strip()
        pushed = self.site.git("desktop", *identity, "commit-tree", tree, "-p", parent, "-m", "pushed").strip()
        self.site.git("desktop", "update-ref", f"refs/heads/{branch}", pushed)
        return pushed


def refused(harness: Harness, branch: str, *words: str) -> str:
    """A check-in, and its rehearsal, end in a conflict and move no ref; what is said."""
    before = harness.site.git("desktop", "for-each-ref")
    said = harness.checkin("--branch", branch, *words, code=CONFLICT)
    assert harness.checkin("--branch", branch, "-n", *words, code=CONFLICT) == said
    assert harness.site.git("desktop", "for-each-ref") == before
    return said


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    """A site of one prototype, checked in once."""
    return Harness(tmp_path)


@pytest.mark.parametrize("branch", ["feat", "team/feat"])
def test_a_new_branch_begins_at_what_the_tree_was_recorded_as(harness: Harness, branch: str) -> None:
    recorded = harness.commit("main")
    harness.push("main", "main")
    harness.edit("two")
    harness.checkin("--branch", branch)
    assert harness.commit(f"{branch}~1") == recorded
    harness.edit("three")
    harness.checkin("--branch", branch)
    assert harness.commit(f"{branch}~2") == recorded


def test_a_branch_that_stands_where_the_tree_was_recorded_goes_on(harness: Harness) -> None:
    harness.site.git("desktop", "branch", "feat", "main")
    harness.edit("two")
    harness.checkin("--branch", "feat")
    assert harness.commit("feat~1") == harness.commit("main")
    harness.edit("three")
    harness.checkin()
    harness.edit("four")
    harness.checkin("--branch", "feat")
    assert harness.site.git("desktop", "show", "feat:hosts") == "four\n"


@pytest.mark.parametrize(("branch", "recorded_before"), [("main", True), ("feat", True), ("feat", False)])
def test_a_branch_to_which_somebody_pushed_is_a_conflict(harness: Harness, branch: str, recorded_before: bool) -> None:
    if recorded_before:
        harness.edit("two")
        harness.checkin("--branch", branch)
    since = harness.commit(branch if recorded_before else "main")
    pushed = harness.push(branch, since)
    harness.edit("three")
    said = refused(harness, branch)
    assert all(word in said for word in (branch, pushed[:7], since[:7], "--replace"))
    harness.checkin("--branch", "other")
    assert harness.commit("other~1") == (since if branch == "main" else harness.commit("main"))


def test_a_branch_whose_commits_were_taken_back_is_a_conflict(harness: Harness) -> None:
    harness.edit("two")
    harness.checkin("--branch", "feat")
    harness.edit("three")
    harness.checkin("--branch", "feat")
    harness.site.git("desktop", "update-ref", "refs/heads/feat", "feat~1")
    harness.edit("four")
    refused(harness, "feat")


def test_replace_records_over_a_branch_and_keeps_its_history(harness: Harness) -> None:
    pushed = harness.push("feat", "main")
    harness.edit("two")
    harness.checkin("--branch", "feat", "--replace")
    assert harness.commit("feat~1") == pushed
    harness.edit("three")
    harness.checkin("--branch", "feat")


def test_a_tree_that_equals_a_pushed_branch_is_recorded_there(harness: Harness) -> None:
    harness.edit("two")
    harness.checkin("--branch", "theirs")
    harness.site.git("desktop", "update-ref", "refs/heads/feat", "theirs")
    harness.checkin("--branch", "feat")
    assert harness.commit("feat") == harness.commit("theirs")
    harness.edit("three")
    harness.checkin("--branch", "feat")
    assert harness.commit("feat~1") == harness.commit("theirs")


@pytest.mark.parametrize(("there", "wanted"), [("main", "main/x"), ("a/b", "a"), ("a/b", "a/b/c")])
def test_a_branch_below_another_is_a_conflict(harness: Harness, there: str, wanted: str) -> None:
    harness.edit("two")
    if there != "main":
        harness.checkin("--branch", there)
    harness.edit("three")
    said = refused(harness, wanted)
    assert {there, wanted} <= set(said.replace(",", "").split())


def test_names_of_deleted_branches_are_in_nobodys_way(harness: Harness) -> None:
    for branch in ("a", "a/b", "a"):
        harness.edit(branch)
        harness.checkin("--branch", branch)
        harness.site.git("desktop", "update-ref", "-d", f"refs/heads/{branch}")


@pytest.mark.parametrize("text", ["HEAD", "a..b", "-x", "a/", "/a", "a.lock", "a b", "", "a=b", "a" * 201])
def test_what_is_no_branch(text: str) -> None:
    with pytest.raises(UsageError):
        branch_name(text)


# --- a branch moved, and what remembers it not: a git was killed between them -----------------------------------------


def halved(harness: Harness, recorded: str, ref: str = "refs/gitstate/live") -> None:
    """As if the git of the last check-in had been killed between its two refs."""
    path = harness.site.repository("desktop") / ref
    path.write_text(f"{recorded}\n") if recorded else path.unlink()


def test_a_check_in_of_which_one_ref_moved_is_no_conflict(harness: Harness) -> None:
    before = harness.commit("main")
    harness.edit("two")
    harness.checkin()
    halved(harness, before)
    assert harness.site.json("status", "desktop")["changes"] == []
    harness.edit("three")
    harness.checkin()
    assert harness.commit("main~2") == before
    assert harness.commit("main") == harness.commit("refs/gitstate/live")


def test_a_check_in_over_a_moved_branch_of_which_one_ref_moved(harness: Harness) -> None:
    recorded = harness.commit("main")
    pushed = harness.push("main", "main")
    harness.edit("two")
    harness.checkin("--replace")
    halved(harness, recorded)
    harness.edit("three")
    harness.checkin()
    assert harness.commit("main~2") == pushed


def test_a_new_branch_of_which_one_ref_moved(harness: Harness) -> None:
    harness.edit("two")
    harness.checkin("--branch", "team/feat")
    halved(harness, "", "refs/gitstate/recorded/team=feat")
    harness.edit("three")
    harness.checkin("--branch", "team/feat")
    assert harness.commit("team/feat~2") == harness.commit("main")


def test_a_push_over_a_check_in_of_which_one_ref_moved_is_a_conflict(harness: Harness) -> None:
    before = harness.commit("main")
    harness.edit("two")
    harness.checkin()
    halved(harness, before)
    harness.push("main", "main")
    harness.edit("three")
    refused(harness, "main")
