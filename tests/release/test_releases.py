"""Tags become releases, read back with plain git: pushed, tagged by hand, promoted, taken back."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

import pexpect
import pytest

from tests.cli.harness import listing
from tests.damage.harness import GITSTATE, environment
from tests.gitstate_command import git
from tests.release.harness import Harness
from tests.support import needs, root_only

pytestmark = [root_only, needs("git")]


# --- push -------------------------------------------------------------------------------------------------------------


def test_a_push_is_a_tag_and_a_release(harness: Harness) -> None:
    said = harness("push", "desktop", "lab3", "-m", "as installed", "--yes")
    commit = harness.head("desktop")
    assert said.splitlines()[0] == f"lab3/1 = desktop {commit[:7]}"
    assert harness.runs("lab3") == {"desktop": commit}
    assert harness.git("desktop", "cat-file", "-t", "lab3/1") == "tag"
    assert harness.head("desktop", "lab3/1") == commit
    message = harness.releases("log", "-1", "--format=%B", "lab3").strip()
    tag = harness.git("desktop", "rev-parse", "lab3/1")
    assert message.splitlines()[0] == f"lab3/1: desktop {commit[:7]}"
    assert "\nas installed\n" in message
    assert message.splitlines()[-1] == f"Gitstate-Tag: desktop lab3/1 {tag}"
    assert harness.releases("show", "lab3:site.toml") == (harness.site / "site.toml").read_text().strip()
    assert harness.releases("rev-parse", "lab3") == harness.releases("rev-parse", "refs/tags/lab3/1")
    assert (harness.site / "exports" / "desktop" / commit / "etc" / "hostname").is_file()


def test_a_tag_carries_the_digest_of_the_manifest(harness: Harness) -> None:
    harness("push", "desktop", "lab3", "--yes")
    message = harness.git("desktop", "for-each-ref", "--format=%(contents)", "refs/tags/lab3/1")
    manifest = harness.run("manifest", "desktop", "lab3/1").out
    assert f"Manifest-SHA256: {hashlib.sha256(manifest.encode()).hexdigest()}" in message.splitlines()


def test_the_plan_says_what_changes_and_changes_nothing(harness: Harness) -> None:
    harness("push", "desktop", "lab3", "--yes")
    live = harness.site / "live" / "desktop"
    (live / "etc" / "hostname").unlink()
    (live / "lib" / "modules" / "6.1").mkdir(parents=True)
    (live / "lib" / "modules" / "6.1" / "x.ko").write_bytes(b"x" * 1000)
    second = harness.edit("desktop", "hello")
    before = harness.git("desktop", "for-each-ref"), harness.releases("for-each-ref")
    said = harness("push", "desktop", "lab3", "-n")
    assert said.splitlines()[0] == f"lab3/2 = desktop {second[:7]}"
    changes = harness.json("diff", "desktop", "lab3/1", "main")["changes"]
    counts = {letter: sum(one["status"] == letter for one in changes) for letter in "AMD"}
    assert f"{counts['A']} added, 1 deleted since" in said, "as a check-in counts"
    assert "A  lib/modules/6.1\n" in said
    assert "A  etc/motd" in said
    assert "D  etc/hostname" in said
    assert "needs a reboot: kernel" in said
    told = harness.json("push", "desktop", "lab3", "-n")
    (change,) = told["changes"]
    assert (change["added"], change["modified"], change["deleted"], change["bytes"]) == (*counts.values(), 1005)
    assert told["release"] is None
    assert (harness.git("desktop", "for-each-ref"), harness.releases("for-each-ref")) == before


def test_nothing_is_pushed_twice(harness: Harness) -> None:
    harness("push", "desktop", "lab3", "--yes")
    assert harness("push", "desktop", "lab3", "--yes") == "lab3 runs that already: lab3/1"
    assert harness.git("desktop", "tag", "--list") == "lab3/1"


def test_a_push_asks_on_a_terminal_and_wants_yes_elsewhere(harness: Harness) -> None:
    assert "--yes" in harness.fails(2, "push", "desktop", "lab3")
    assert harness.git("desktop", "tag", "--list") == ""


@pytest.mark.parametrize("answer", ["y", "n"])
def test_the_plan_is_shown_and_asked_about(harness: Harness, answer: str) -> None:
    """On a terminal."""
    argv = [*GITSTATE, "--site", str(harness.site), "push", "desktop", "lab3"]
    child = pexpect.spawn(argv[0], argv[1:], env=environment(), encoding="utf-8", timeout=60)
    child.expect("lab3/1 = desktop")
    child.expect(r"Publish\? \[y/N\]:")
    child.sendline(answer)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == (0 if answer == "y" else 1)
    assert harness.git("desktop", "tag") == ("lab3/1" if answer == "y" else "")


def test_a_tag_that_is_refused_stops_no_push(harness: Harness) -> None:
    harness.git("desktop", "-c", "core.hooksPath=/dev/null", "tag", "lab3/light")
    assert "lab3/light is no annotated tag" in harness.run("push", "desktop", "lab3", "--yes").err
    assert harness.runs("lab3") == {"desktop": harness.head("desktop")}


def test_an_older_snapshot_can_be_pushed(harness: Harness) -> None:
    first = harness.head("desktop")
    harness.edit("desktop", "second")
    harness("push", "desktop", "lab3", "--yes")
    harness("push", "desktop", "lab3", "main~1", "--yes")
    assert harness.runs("lab3") == {"desktop": first}


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (10, ("push", "desktop", "lab4", "--yes")),
        (10, ("push", "desktops", "lab3", "--yes")),
        (10, ("push", "desktop", "lab3", "no-such", "--yes")),
        (10, ("push", "desktop", "lab3", "--from", "lab3", "--yes")),
        (2, ("push", "desktop", "lab3", "main", "--from", "lab3", "--yes")),
        (10, ("rollback", "lab3")),
        (10, ("rollback", "lab4")),
        (10, ("channel", "show", "lab4")),
        (10, ("channel", "remove", "lab4", "--yes")),
        (10, ("channel", "create", "lab4", "--prototype", "desktops")),
        (2, ("channel", "create", "lab3", "--prototype", "desktop")),
        (2, ("channel", "create", "lab/3", "--prototype", "desktop")),
        (2, ("layer", "create", "room/3")),
        (2, ("layer", "create", "lab")),
        (2, ("layer", "create", "lab/../x")),
    ],
)
def test_what_cannot_be(harness: Harness, code: int, words: tuple[str, ...]) -> None:
    said = harness.fails(code, *words)
    assert len(said.splitlines()) == 2, said


# --- tags by hand -----------------------------------------------------------------------------------------------------


def test_a_plain_tag_is_as_good(harness: Harness) -> None:
    harness.git("desktop", "tag", "-a", "lab3/2025-03", "-m", "by hand")
    assert "lab3/2025-03 = desktop" in harness("reconcile")
    assert harness.history("lab3") == [f"lab3/2025-03: desktop {harness.head('desktop')[:7]}"]
    assert harness.releases("log", "-1", "--format=%an <%ae>", "lab3") == "Ada Lovelace <ada@example.org>"
    assert harness("reconcile") == "nothing to publish"


def test_several_tags_are_released_in_their_order(harness: Harness) -> None:
    for number in range(9, 12):
        harness.edit("desktop", str(number))
        harness.git("desktop", "tag", "-a", f"lab3/{number}", "-m", f"number {number}")
    harness("reconcile")
    assert [line.partition(":")[0] for line in harness.history("lab3")] == ["lab3/11", "lab3/10", "lab3/9"]
    assert harness.runs("lab3")["desktop"] == harness.head("desktop")


def test_numbers_go_on_after_the_highest(harness: Harness) -> None:
    harness.git("desktop", "tag", "-a", "lab3/41", "-m", "x")
    assert harness.json("push", "desktop", "lab3", "-n")["tag"] == "lab3/41", "which asks for the same already"
    harness("reconcile")
    harness.edit("desktop", "x")
    harness("push", "desktop", "lab3", "--yes")
    assert harness.history("lab3")[0].startswith("lab3/42:")


def test_a_tag_from_before_the_channel_waits_for_it(bare: Harness) -> None:
    bare.prototype("desktop")
    bare.git("desktop", "tag", "-a", "lab3/1", "-m", "early")
    bare("reconcile")
    assert bare.json("channel", "create", "lab3", "--prototype", "desktop")["pending"] == ["lab3/1 in desktop"]
    assert "lab3/1 = desktop" in bare("reconcile")


def test_a_packed_tag_is_released_once(harness: Harness) -> None:
    harness.git("desktop", "tag", "-a", "lab3/1", "-m", "x")
    harness.git("desktop", "pack-refs", "--all", "--prune")
    harness("reconcile")
    harness.git("desktop", "pack-refs", "--all", "--prune")
    harness("gc", "desktop")
    assert harness("reconcile") == "nothing to publish"
    assert len(harness.history("lab3")) == 1


def test_a_deleted_tag_that_comes_back_is_not_released_again(harness: Harness) -> None:
    harness("push", "desktop", "lab3", "--yes")
    tag = harness.git("desktop", "rev-parse", "lab3/1")
    harness.edit("desktop", "second")
    harness("push", "desktop", "lab3", "--yes")
    harness.git("desktop", "tag", "-d", "lab3/1")
    harness.git("desktop", "update-ref", "refs/tags/lab3/1", tag)
    assert harness("reconcile") == "nothing to publish"
    assert harness.runs("lab3")["desktop"] == harness.head("desktop")


def test_a_dry_reconcile_says_what_it_would_do(harness: Harness) -> None:
    harness.git("desktop", "tag", "-a", "lab3/1", "-m", "x")
    assert harness("reconcile", "-n") == f"would release lab3/1: desktop {harness.head('desktop')[:7]}"
    assert not (harness.site / "site.git" / "refs" / "heads" / "lab3").exists()


def test_an_overtaken_tag_is_never_released(harness: Harness) -> None:
    """A tag that hooks would have refused: it came while they were off."""
    harness.edit("desktop", "second")
    harness.git("desktop", "tag", "-a", "lab3/5", "-m", "five")
    harness("reconcile")
    harness.git("desktop", "-c", "core.hooksPath=/dev/null", "tag", "-a", "lab3/4", "-m", "four", "main~1")
    done = harness.json("reconcile")
    assert done["superseded"] == [{"repository": "desktop", "tag": "lab3/4", "by": "lab3/5"}]
    assert len(harness.history("lab3")) == 1


def test_a_release_keeps_its_commit_from_gc(harness: Harness) -> None:
    harness("push", "desktop", "lab3", "--yes")
    commit = harness.head("desktop")
    assert harness.git("desktop", "rev-parse", "refs/gitstate/released/lab3/1") == commit


# --- layers and promotion ---------------------------------------------------------------------------------------------


def test_layers_enter_at_main_and_then_stand_until_they_are_pushed(harness: Harness) -> None:
    harness.layer("lab/lab3")
    harness.layer("base")
    first = harness.head("lab/lab3")
    harness("push", "desktop", "lab3", "--yes")
    assert harness.runs("lab3") == {
        "desktop": harness.head("desktop"),
        "base": harness.head("base"),
        "lab/lab3": first,
    }
    second = harness.edit("lab/lab3", "second")
    harness.edit("desktop", "x")
    harness("push", "desktop", "lab3", "--yes")
    assert harness.runs("lab3")["lab/lab3"] == first
    assert harness("push", "lab/lab3", "lab3", "--yes").startswith("lab3/3 = ")
    assert harness.runs("lab3")["lab/lab3"] == second
    assert harness.head("lab/lab3", "lab3/3") == second


def test_a_layer_cannot_come_before_its_prototype(harness: Harness) -> None:
    harness.layer("lab/lab3")
    assert "first its prototype" in harness.fails(10, "push", "lab/lab3", "lab3", "--yes")
    harness.git("lab/lab3", "-c", "core.hooksPath=/dev/null", "tag", "-a", "lab3/1", "-m", "x")
    harness.git("desktop", "-c", "core.hooksPath=/dev/null", "tag", "-a", "lab3/2", "-m", "x")
    harness("reconcile")
    assert [line.partition(" ")[0] for line in harness.history("lab3")] == ["lab3/1:", "lab3/2:"]


def test_what_another_channel_runs_is_promoted_with_its_layers(harness: Harness) -> None:
    harness("channel", "create", "test", "--prototype", "desktop")
    harness.layer("base")
    harness("push", "desktop", "test", "--yes")
    harness("push", "desktop", "lab3", "--yes")
    harness.edit("base", "better")
    harness.edit("desktop", "better")
    harness("push", "desktop", "test", "--yes")
    harness("push", "base", "test", "--yes")
    harness.edit("desktop", "not tested")
    assert harness.runs("lab3") != harness.runs("test")
    harness("push", "desktop", "lab3", "--from", "test", "--yes")
    assert harness.runs("lab3") == harness.runs("test")
    assert "Gitstate-From: test/3" in harness.git("desktop", "cat-file", "-p", "lab3/2")


def test_a_layer_alone_is_promoted(harness: Harness) -> None:
    harness("channel", "create", "test", "--prototype", "desktop")
    harness.layer("base")
    harness("push", "desktop", "lab3", "--yes")
    harness.edit("desktop", "new")
    harness("push", "desktop", "test", "--yes")
    harness.edit("base", "new")
    harness("push", "base", "test", "--yes")
    before = harness.runs("lab3")
    harness("push", "base", "lab3", "--from", "test", "--yes")
    assert harness.runs("lab3") == before | {"base": harness.runs("test")["base"]}


def test_layers_of_a_signed_channel_enter_by_their_own_tag(bare: Harness) -> None:
    """What enters at main is signed by nobody."""
    bare.prototype("desktop")
    bare.layer("base")
    bare("channel", "create", "lab3", "--prototype", "desktop", "--signed")
    bare("channel", "create", "open", "--prototype", "desktop")
    assert sorted(bare.json("push", "desktop", "lab3", "-n")["commits"]) == ["desktop"]
    assert sorted(bare.json("push", "desktop", "open", "-n")["commits"]) == ["base", "desktop"]


def test_a_layer_that_is_gone_leaves(harness: Harness) -> None:
    harness.layer("base")
    harness("push", "desktop", "lab3", "--yes")
    shutil.rmtree(harness.repository("base"))
    harness.edit("desktop", "x")
    harness("push", "desktop", "lab3", "--yes")
    assert harness.runs("lab3") == {"desktop": harness.head("desktop")}
    assert "base leaves" in harness.releases("log", "-1", "--format=%B", "lab3")


def test_a_layer_that_cannot_be_read_stops_it(harness: Harness) -> None:
    harness.layer("base")
    harness("push", "desktop", "lab3", "--yes")
    before = harness.runs("lab3")
    harness.edit("desktop", "x")
    (harness.repository("base") / "HEAD").unlink()
    assert "is not a git repository" in harness.fails(5, "push", "desktop", "lab3", "--yes")
    assert harness.runs("lab3") == before


# --- rollback ---------------------------------------------------------------------------------------------------------


def test_a_rollback_restores_prototype_and_layers(harness: Harness) -> None:
    harness.layer("base")
    harness("push", "desktop", "lab3", "--yes")
    old = harness.runs("lab3")
    harness.edit("base", "bad")
    harness("push", "base", "lab3", "--yes")
    harness.edit("desktop", "worse")
    harness("push", "desktop", "lab3", "--yes")
    assert harness("rollback", "lab3", "1").startswith("lab3 runs lab3/1 again, as lab3/4")
    assert harness.runs("lab3") == old
    assert harness.releases("rev-parse", "lab3^{tree}") == harness.releases("rev-parse", "lab3~3^{tree}")
    assert harness.releases("log", "-1", "--format=%B", "lab3").splitlines()[-1] == "Gitstate-Rollback: lab3/1"
    assert harness("reconcile") == "nothing to publish"


def test_to_go_back_again_is_to_go_back_further(harness: Harness) -> None:
    commits = [harness.head("desktop")]
    harness("push", "desktop", "lab3", "--yes")
    for text in ("second", "third"):
        commits.append(harness.edit("desktop", text))
        harness("push", "desktop", "lab3", "--yes")
    harness("rollback", "lab3")
    assert harness.runs("lab3")["desktop"] == commits[1]
    harness("rollback", "lab3")
    assert harness.runs("lab3")["desktop"] == commits[0]
    assert "nothing ran before lab3/1" in harness.fails(10, "rollback", "lab3")
    harness("rollback", "lab3", "lab3/3")
    assert harness.runs("lab3")["desktop"] == commits[2]
    harness("rollback", "lab3")
    assert harness.runs("lab3")["desktop"] == commits[1]


def test_a_rollback_makes_the_export_again(harness: Harness) -> None:
    harness("push", "desktop", "lab3", "--yes")
    export = harness.site / "exports" / "desktop" / harness.head("desktop")
    harness.edit("desktop", "second")
    harness("push", "desktop", "lab3", "--yes")
    shutil.rmtree(export)
    harness("rollback", "lab3")
    assert (export / "etc" / "hostname").read_text() == "desktop\n"


def test_numbers_are_not_reused_after_a_rollback(harness: Harness) -> None:
    harness("push", "desktop", "lab3", "--yes")
    harness.edit("desktop", "second")
    harness("push", "desktop", "lab3", "--yes")
    harness("rollback", "lab3")
    harness.edit("desktop", "third")
    harness("push", "desktop", "lab3", "--yes")
    assert [line.partition(":")[0] for line in harness.history("lab3")] == ["lab3/4", "lab3/3", "lab3/2", "lab3/1"]
    assert harness("rollback", "lab3", "-n").startswith("lab3 would run lab3/1 again")


# --- channels ---------------------------------------------------------------------------------------------------------


def test_a_removed_channel_leaves_its_history_and_its_numbers(harness: Harness) -> None:
    harness("push", "desktop", "lab3", "--yes")
    harness("channel", "remove", "lab3", "--yes")
    assert harness("channel", "list") == ""
    assert harness("reconcile") == "nothing to publish"
    harness.prototype("kiosk")
    harness("channel", "create", "lab3", "--prototype", "kiosk")
    assert harness.json("channel", "show", "lab3")["current"] is None
    assert harness("reconcile") == "nothing to publish"
    harness("push", "kiosk", "lab3", "--yes")
    assert harness.runs("lab3") == {"kiosk": harness.head("kiosk")}
    assert harness.releases("tag").split() == ["lab3/1", "lab3/2"]
    assert "nothing ran before" in harness.fails(10, "rollback", "lab3")


def test_a_channel_cannot_take_a_tags_name(bare: Harness) -> None:
    bare.prototype("desktop")
    bare.git("desktop", "tag", "lab3")
    assert "has a tag lab3" in bare.fails(12, "channel", "create", "lab3", "--prototype", "desktop")


def test_a_prototype_that_a_channel_releases_stays(harness: Harness) -> None:
    said = harness.fails(4, "prototype", "remove", "desktop", "--yes")
    assert "desktop" in said
    assert "lab3" in said
    harness("channel", "remove", "lab3", "--yes")
    harness("prototype", "remove", "desktop", "--yes")


def test_the_list_and_the_page_of_a_channel(harness: Harness) -> None:
    harness("push", "desktop", "lab3", "-m", "as installed", "--yes")
    (row,) = harness("channel", "list").splitlines()[1:]
    assert re.match(r"lab3 +desktop +1 +[0-9a-f]{7} ", row)
    page = harness("channel", "show", "lab3")
    assert "as installed" in page
    (one,) = harness.json("channel", "list")["channels"]
    assert one["current"]["commits"] == {"desktop": harness.head("desktop")}


def test_the_history_is_an_ordinary_repository(harness: Harness, tmp_path: Path) -> None:
    for text in ("a", "b"):
        harness.edit("desktop", text)
        harness("push", "desktop", "lab3", "--yes")
    assert harness.releases("fsck", "--strict") in ("", "notice: HEAD points to an unborn branch (main)")
    git(tmp_path, "clone", "-q", "--branch", "lab3", str(harness.site / "site.git"), "copy")
    assert harness.releases("log", "--oneline", "lab3", "--", "prototype/desktop").count("\n") == 1


# --- the commands themselves ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("push", "desktop", "lab3"),
        ("push", "desktop", "test", "--from", "lab3"),
        ("rollback", "lab3"),
        ("reconcile",),
        ("channel", "create", "lab4", "--prototype", "desktop"),
        ("channel", "remove", "lab3"),
        ("channel", "list"),
        ("channel", "show", "lab3"),
        ("layer", "create", "lab/lab3"),
        ("layer", "list"),
    ],
    ids=" ".join,
)
def test_what_only_looks_leaves_no_trace(harness: Harness, words: tuple[str, ...]) -> None:
    harness("channel", "create", "test", "--prototype", "desktop")
    for text in ("a", "b"):
        harness.edit("desktop", text)
        harness("push", "desktop", "lab3", "--yes")
    harness.edit("desktop", "c")
    harness.git("desktop", "tag", "-a", "lab3/9", "-m", "waits")
    harness("channel", "list")
    before = listing(harness.site)
    said = harness(*words, *([] if words[-1] in ("list",) or "show" in words else ["-n"]))
    assert said or words == ("layer", "list")
    assert listing(harness.site) == before
