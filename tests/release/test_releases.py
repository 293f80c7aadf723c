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
from tests.release.harness import Ground
from tests.support import needs, root_only

pytestmark = [root_only, needs("git")]


# --- push -------------------------------------------------------------------------------------------------------------


def test_a_push_is_a_tag_and_a_release(ground: Ground) -> None:
    said = ground("push", "desktop", "lab3", "-m", "as installed", "--yes")
    commit = ground.head("desktop")
    assert said.splitlines()[0] == f"lab3/1 = desktop {commit[:7]}"
    assert ground.runs("lab3") == {"desktop": commit}
    assert ground.git("desktop", "cat-file", "-t", "lab3/1") == "tag"
    assert ground.head("desktop", "lab3/1") == commit
    message = ground.releases("log", "-1", "--format=%B", "lab3").strip()
    tag = ground.git("desktop", "rev-parse", "lab3/1")
    assert message.splitlines()[0] == f"lab3/1: desktop {commit[:7]}"
    assert "\nas installed\n" in message
    assert message.splitlines()[-1] == f"Gitstate-Tag: desktop lab3/1 {tag}"
    assert ground.releases("show", "lab3:site.toml") == (ground.site / "site.toml").read_text().strip()
    assert ground.releases("rev-parse", "lab3") == ground.releases("rev-parse", "refs/tags/lab3/1")
    assert (ground.site / "exports" / "desktop" / commit / "etc" / "hostname").is_file()


def test_a_tag_carries_the_digest_of_the_manifest(ground: Ground) -> None:
    ground("push", "desktop", "lab3", "--yes")
    message = ground.git("desktop", "for-each-ref", "--format=%(contents)", "refs/tags/lab3/1")
    manifest = ground.run("manifest", "desktop", "lab3/1").out
    assert f"Manifest-SHA256: {hashlib.sha256(manifest.encode()).hexdigest()}" in message.splitlines()


def test_the_plan_says_what_changes_and_changes_nothing(ground: Ground) -> None:
    ground("push", "desktop", "lab3", "--yes")
    live = ground.site / "live" / "desktop"
    (live / "etc" / "hostname").unlink()
    (live / "lib" / "modules" / "6.1").mkdir(parents=True)
    (live / "lib" / "modules" / "6.1" / "x.ko").write_bytes(b"x" * 1000)
    second = ground.edit("desktop", "hello")
    before = ground.git("desktop", "for-each-ref"), ground.releases("for-each-ref")
    said = ground("push", "desktop", "lab3", "-n")
    assert said.splitlines()[0] == f"lab3/2 = desktop {second[:7]}"
    assert "2 added, 1 removed" in said
    assert "A  etc/motd" in said
    assert "D  etc/hostname" in said
    assert "only a reboot brings: kernel" in said
    told = ground.json("push", "desktop", "lab3", "-n")
    (change,) = told["changes"]
    assert (change["added"], change["modified"], change["removed"], change["bytes"]) == (2, 0, 1, 1005)
    assert told["release"] is None
    assert (ground.git("desktop", "for-each-ref"), ground.releases("for-each-ref")) == before


def test_nothing_is_pushed_twice(ground: Ground) -> None:
    ground("push", "desktop", "lab3", "--yes")
    assert ground("push", "desktop", "lab3", "--yes") == "lab3 runs that already: lab3/1"
    assert ground.git("desktop", "tag", "--list") == "lab3/1"


def test_a_push_asks_on_a_terminal_and_wants_yes_elsewhere(ground: Ground) -> None:
    assert "--yes" in ground.fails(2, "push", "desktop", "lab3")
    assert ground.git("desktop", "tag", "--list") == ""


@pytest.mark.parametrize("answer", ["y", "n"])
def test_the_plan_is_shown_and_asked_about(ground: Ground, answer: str) -> None:
    """On a terminal."""
    argv = [*GITSTATE, "--site", str(ground.site), "push", "desktop", "lab3"]
    child = pexpect.spawn(argv[0], argv[1:], env=environment(), encoding="utf-8", timeout=60)
    child.expect("lab3/1 = desktop")
    child.expect(r"Publish\? \[y/N\]:")
    child.sendline(answer)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == (0 if answer == "y" else 130)
    assert ground.git("desktop", "tag") == ("lab3/1" if answer == "y" else "")


def test_a_tag_that_is_refused_stops_no_push(ground: Ground) -> None:
    ground.git("desktop", "-c", "core.hooksPath=/dev/null", "tag", "lab3/light")
    assert "lab3/light is no annotated tag" in ground.run("push", "desktop", "lab3", "--yes").err
    assert ground.runs("lab3") == {"desktop": ground.head("desktop")}


def test_an_older_snapshot_can_be_pushed(ground: Ground) -> None:
    first = ground.head("desktop")
    ground.edit("desktop", "second")
    ground("push", "desktop", "lab3", "--yes")
    ground("push", "desktop", "lab3", "main~1", "--yes")
    assert ground.runs("lab3") == {"desktop": first}


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
def test_what_cannot_be(ground: Ground, code: int, words: tuple[str, ...]) -> None:
    said = ground.fails(code, *words)
    assert len(said.splitlines()) == 2, said


# --- tags by hand -----------------------------------------------------------------------------------------------------


def test_a_plain_tag_is_as_good(ground: Ground) -> None:
    ground.git("desktop", "tag", "-a", "lab3/2025-03", "-m", "by hand")
    assert "lab3/2025-03 = desktop" in ground("reconcile")
    assert ground.history("lab3") == [f"lab3/2025-03: desktop {ground.head('desktop')[:7]}"]
    assert ground.releases("log", "-1", "--format=%an <%ae>", "lab3") == "Ada Lovelace <ada@example.org>"
    assert ground("reconcile") == "nothing to publish"


def test_several_tags_are_released_in_their_order(ground: Ground) -> None:
    for number in range(9, 12):
        ground.edit("desktop", str(number))
        ground.git("desktop", "tag", "-a", f"lab3/{number}", "-m", f"number {number}")
    ground("reconcile")
    assert [line.partition(":")[0] for line in ground.history("lab3")] == ["lab3/11", "lab3/10", "lab3/9"]
    assert ground.runs("lab3")["desktop"] == ground.head("desktop")


def test_numbers_go_on_after_the_highest(ground: Ground) -> None:
    ground.git("desktop", "tag", "-a", "lab3/41", "-m", "x")
    assert ground.json("push", "desktop", "lab3", "-n")["tag"] == "lab3/42"
    ground("reconcile")
    ground.edit("desktop", "x")
    ground("push", "desktop", "lab3", "--yes")
    assert ground.history("lab3")[0].startswith("lab3/42:")


def test_a_tag_from_before_the_channel_waits_for_it(bare: Ground) -> None:
    bare.prototype("desktop")
    bare.git("desktop", "tag", "-a", "lab3/1", "-m", "early")
    bare("reconcile")
    assert bare.json("channel", "create", "lab3", "--prototype", "desktop")["waiting"] == ["lab3/1 in desktop"]
    assert "lab3/1 = desktop" in bare("reconcile")


def test_a_packed_tag_is_released_once(ground: Ground) -> None:
    ground.git("desktop", "tag", "-a", "lab3/1", "-m", "x")
    ground.git("desktop", "pack-refs", "--all", "--prune")
    ground("reconcile")
    ground.git("desktop", "pack-refs", "--all", "--prune")
    ground("gc", "desktop")
    assert ground("reconcile") == "nothing to publish"
    assert len(ground.history("lab3")) == 1


def test_a_deleted_tag_that_comes_back_is_not_released_again(ground: Ground) -> None:
    ground("push", "desktop", "lab3", "--yes")
    tag = ground.git("desktop", "rev-parse", "lab3/1")
    ground.edit("desktop", "second")
    ground("push", "desktop", "lab3", "--yes")
    ground.git("desktop", "tag", "-d", "lab3/1")
    ground.git("desktop", "update-ref", "refs/tags/lab3/1", tag)
    assert ground("reconcile") == "nothing to publish"
    assert ground.runs("lab3")["desktop"] == ground.head("desktop")


def test_a_dry_reconcile_says_what_it_would_do(ground: Ground) -> None:
    ground.git("desktop", "tag", "-a", "lab3/1", "-m", "x")
    assert ground("reconcile", "-n") == f"would release lab3/1: desktop {ground.head('desktop')[:7]}"
    assert not (ground.site / "site.git" / "refs" / "heads" / "lab3").exists()


def test_an_overtaken_tag_is_never_released(ground: Ground) -> None:
    """A tag that hooks would have refused: it came while they were off."""
    ground.edit("desktop", "second")
    ground.git("desktop", "tag", "-a", "lab3/5", "-m", "five")
    ground("reconcile")
    ground.git("desktop", "-c", "core.hooksPath=/dev/null", "tag", "-a", "lab3/4", "-m", "four", "main~1")
    done = ground.json("reconcile")
    assert done["overtaken"] == [{"repository": "desktop", "tag": "lab3/4", "by": "lab3/5"}]
    assert len(ground.history("lab3")) == 1


def test_a_release_keeps_its_commit_from_gc(ground: Ground) -> None:
    ground("push", "desktop", "lab3", "--yes")
    commit = ground.head("desktop")
    assert ground.git("desktop", "rev-parse", "refs/gitstate/released/lab3/1") == commit


# --- layers and promotion ---------------------------------------------------------------------------------------------


def test_layers_enter_at_main_and_then_stand_until_they_are_pushed(ground: Ground) -> None:
    ground.layer("lab/lab3")
    ground.layer("base")
    first = ground.head("lab/lab3")
    ground("push", "desktop", "lab3", "--yes")
    assert ground.runs("lab3") == {
        "desktop": ground.head("desktop"),
        "base": ground.head("base"),
        "lab/lab3": first,
    }
    second = ground.edit("lab/lab3", "second")
    ground.edit("desktop", "x")
    ground("push", "desktop", "lab3", "--yes")
    assert ground.runs("lab3")["lab/lab3"] == first
    assert ground("push", "lab/lab3", "lab3", "--yes").startswith("lab3/3 = ")
    assert ground.runs("lab3")["lab/lab3"] == second
    assert ground.head("lab/lab3", "lab3/3") == second


def test_a_layer_cannot_come_before_its_prototype(ground: Ground) -> None:
    ground.layer("lab/lab3")
    assert "first its prototype" in ground.fails(10, "push", "lab/lab3", "lab3", "--yes")
    ground.git("lab/lab3", "-c", "core.hooksPath=/dev/null", "tag", "-a", "lab3/1", "-m", "x")
    ground.git("desktop", "-c", "core.hooksPath=/dev/null", "tag", "-a", "lab3/2", "-m", "x")
    ground("reconcile")
    assert [line.partition(" ")[0] for line in ground.history("lab3")] == ["lab3/1:", "lab3/2:"]


def test_what_another_channel_runs_is_promoted_with_its_layers(ground: Ground) -> None:
    ground("channel", "create", "test", "--prototype", "desktop")
    ground.layer("base")
    ground("push", "desktop", "test", "--yes")
    ground("push", "desktop", "lab3", "--yes")
    ground.edit("base", "better")
    ground.edit("desktop", "better")
    ground("push", "desktop", "test", "--yes")
    ground("push", "base", "test", "--yes")
    ground.edit("desktop", "not tested")
    assert ground.runs("lab3") != ground.runs("test")
    ground("push", "desktop", "lab3", "--from", "test", "--yes")
    assert ground.runs("lab3") == ground.runs("test")
    assert "Gitstate-From: test/3" in ground.git("desktop", "cat-file", "-p", "lab3/2")


def test_a_layer_alone_is_promoted(ground: Ground) -> None:
    ground("channel", "create", "test", "--prototype", "desktop")
    ground.layer("base")
    ground("push", "desktop", "lab3", "--yes")
    ground.edit("desktop", "new")
    ground("push", "desktop", "test", "--yes")
    ground.edit("base", "new")
    ground("push", "base", "test", "--yes")
    before = ground.runs("lab3")
    ground("push", "base", "lab3", "--from", "test", "--yes")
    assert ground.runs("lab3") == before | {"base": ground.runs("test")["base"]}


def test_layers_of_a_signed_channel_enter_by_their_own_tag(bare: Ground) -> None:
    """What enters at main is signed by nobody."""
    bare.prototype("desktop")
    bare.layer("base")
    bare("channel", "create", "lab3", "--prototype", "desktop", "--signed")
    bare("channel", "create", "open", "--prototype", "desktop")
    assert sorted(bare.json("push", "desktop", "lab3", "-n")["commits"]) == ["desktop"]
    assert sorted(bare.json("push", "desktop", "open", "-n")["commits"]) == ["base", "desktop"]


def test_a_layer_that_is_gone_leaves(ground: Ground) -> None:
    ground.layer("base")
    ground("push", "desktop", "lab3", "--yes")
    shutil.rmtree(ground.repository("base"))
    ground.edit("desktop", "x")
    ground("push", "desktop", "lab3", "--yes")
    assert ground.runs("lab3") == {"desktop": ground.head("desktop")}
    assert "base leaves" in ground.releases("log", "-1", "--format=%B", "lab3")


def test_a_layer_that_cannot_be_read_stops_it(ground: Ground) -> None:
    ground.layer("base")
    ground("push", "desktop", "lab3", "--yes")
    before = ground.runs("lab3")
    ground.edit("desktop", "x")
    (ground.repository("base") / "HEAD").unlink()
    assert "is not a git repository" in ground.fails(5, "push", "desktop", "lab3", "--yes")
    assert ground.runs("lab3") == before


# --- rollback ---------------------------------------------------------------------------------------------------------


def test_a_rollback_restores_prototype_and_layers(ground: Ground) -> None:
    ground.layer("base")
    ground("push", "desktop", "lab3", "--yes")
    old = ground.runs("lab3")
    ground.edit("base", "bad")
    ground("push", "base", "lab3", "--yes")
    ground.edit("desktop", "worse")
    ground("push", "desktop", "lab3", "--yes")
    assert ground("rollback", "lab3", "1").startswith("lab3 runs lab3/1 again, as lab3/4")
    assert ground.runs("lab3") == old
    assert ground.releases("rev-parse", "lab3^{tree}") == ground.releases("rev-parse", "lab3~3^{tree}")
    assert ground.releases("log", "-1", "--format=%B", "lab3").splitlines()[-1] == "Gitstate-Rollback: lab3/1"
    assert ground("reconcile") == "nothing to publish"


def test_to_go_back_again_is_to_go_back_further(ground: Ground) -> None:
    commits = [ground.head("desktop")]
    ground("push", "desktop", "lab3", "--yes")
    for text in ("second", "third"):
        commits.append(ground.edit("desktop", text))
        ground("push", "desktop", "lab3", "--yes")
    ground("rollback", "lab3")
    assert ground.runs("lab3")["desktop"] == commits[1]
    ground("rollback", "lab3")
    assert ground.runs("lab3")["desktop"] == commits[0]
    assert "nothing ran before lab3/1" in ground.fails(10, "rollback", "lab3")
    ground("rollback", "lab3", "lab3/3")
    assert ground.runs("lab3")["desktop"] == commits[2]
    ground("rollback", "lab3")
    assert ground.runs("lab3")["desktop"] == commits[1]


def test_a_rollback_makes_the_export_again(ground: Ground) -> None:
    ground("push", "desktop", "lab3", "--yes")
    export = ground.site / "exports" / "desktop" / ground.head("desktop")
    ground.edit("desktop", "second")
    ground("push", "desktop", "lab3", "--yes")
    shutil.rmtree(export)
    ground("rollback", "lab3")
    assert (export / "etc" / "hostname").read_text() == "desktop\n"


def test_numbers_are_not_reused_after_a_rollback(ground: Ground) -> None:
    ground("push", "desktop", "lab3", "--yes")
    ground.edit("desktop", "second")
    ground("push", "desktop", "lab3", "--yes")
    ground("rollback", "lab3")
    ground.edit("desktop", "third")
    ground("push", "desktop", "lab3", "--yes")
    assert [line.partition(":")[0] for line in ground.history("lab3")] == ["lab3/4", "lab3/3", "lab3/2", "lab3/1"]
    assert ground("rollback", "lab3", "-n").startswith("lab3 would run lab3/1 again")


# --- channels ---------------------------------------------------------------------------------------------------------


def test_a_removed_channel_leaves_its_history_and_its_numbers(ground: Ground) -> None:
    ground("push", "desktop", "lab3", "--yes")
    ground("channel", "remove", "lab3", "--yes")
    assert ground("channel", "list") == ""
    assert ground("reconcile") == "nothing to publish"
    ground.prototype("kiosk")
    ground("channel", "create", "lab3", "--prototype", "kiosk")
    assert ground.json("channel", "show", "lab3")["current"] is None
    assert ground("reconcile") == "nothing to publish"
    ground("push", "kiosk", "lab3", "--yes")
    assert ground.runs("lab3") == {"kiosk": ground.head("kiosk")}
    assert ground.releases("tag").split() == ["lab3/1", "lab3/2"]
    assert "nothing ran before" in ground.fails(10, "rollback", "lab3")


def test_a_channel_cannot_take_a_tags_name(bare: Ground) -> None:
    bare.prototype("desktop")
    bare.git("desktop", "tag", "lab3")
    assert "has a tag lab3" in bare.fails(12, "channel", "create", "lab3", "--prototype", "desktop")


def test_a_prototype_that_a_channel_releases_stays(ground: Ground) -> None:
    assert "desktop is what lab3 releases" in ground.fails(4, "prototype", "remove", "desktop", "--yes")
    ground("channel", "remove", "lab3", "--yes")
    ground("prototype", "remove", "desktop", "--yes")


def test_the_list_and_the_page_of_a_channel(ground: Ground) -> None:
    ground("push", "desktop", "lab3", "-m", "as installed", "--yes")
    (row,) = ground("channel", "list").splitlines()[1:]
    assert re.match(r"lab3 +desktop +1 +[0-9a-f]{7} ", row)
    page = ground("channel", "show", "lab3")
    assert "as installed" in page
    (one,) = ground.json("channel", "list")["channels"]
    assert one["current"]["commits"] == {"desktop": ground.head("desktop")}


def test_the_history_is_an_ordinary_repository(ground: Ground, tmp_path: Path) -> None:
    for text in ("a", "b"):
        ground.edit("desktop", text)
        ground("push", "desktop", "lab3", "--yes")
    assert ground.releases("fsck", "--strict") in ("", "notice: HEAD points to an unborn branch (main)")
    git(tmp_path, "clone", "-q", "--branch", "lab3", str(ground.site / "site.git"), "copy")
    assert ground.releases("log", "--oneline", "lab3", "--", "prototype/desktop").count("\n") == 1


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
def test_what_only_looks_leaves_no_trace(ground: Ground, words: tuple[str, ...]) -> None:
    ground("channel", "create", "test", "--prototype", "desktop")
    for text in ("a", "b"):
        ground.edit("desktop", text)
        ground("push", "desktop", "lab3", "--yes")
    ground.edit("desktop", "c")
    ground.git("desktop", "tag", "-a", "lab3/9", "-m", "waits")
    ground("channel", "list")
    before = listing(ground.site)
    said = ground(*words, *([] if words[-1] in ("list",) or "show" in words else ["-n"]))
    assert said or words == ("layer", "list")
    assert listing(ground.site) == before
