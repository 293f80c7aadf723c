"""Names, orders and messages: what is pure, and what others write into what we read back."""

from __future__ import annotations

import itertools

import pytest

from gitstate.core.errors import DamagedError, UsageError
from gitstate.core.signature import Signature
from gitstate.release.gate.guard import updates
from gitstate.release.log import next_number, trailers
from gitstate.release.models import Name, PendingTag, ReleaseRequest, natural, number, release_name, version_name
from gitstate.store import Type
from gitstate.store.objects import Tag, parse_tag
from tests.release.harness import Harness
from tests.support import PROJECT, needs, root_only


@pytest.mark.parametrize("text", ["1", "2025-03", "v1.2_3+x", "a" * 100])
def test_versions(text: str) -> None:
    assert version_name(text) == text
    assert release_name(f"lab3/{text}", "lab3") == release_name(text, "lab3") == Name("lab3", text)


@pytest.mark.parametrize("text", ["", "-1", ".x", "a..b", "a/b", "a b", "x.lock", "x.", "ü", "a" * 101, "a\n", "a:b"])
def test_what_is_no_version(text: str) -> None:
    with pytest.raises(UsageError):
        version_name(text)


def test_a_release_of_another_channel() -> None:
    with pytest.raises(UsageError, match="no release of lab4"):
        release_name("lab3/1", "lab4")


def test_numbers() -> None:
    assert [number(text) for text in ("1", "12", "0", "01", "1a", "")] == [1, 12, None, None, None, None]
    assert next_number([]) == 1
    assert next_number(["9", "10", "2025-03", "x"]) == 11


def test_people_read_versions_so() -> None:
    ordered = ["2", "10", "2025-03", "2025-11", "a2", "a10", "b"]
    assert sorted(sorted(ordered), key=natural) == ordered


def asked(version: str, when: int) -> ReleaseRequest:
    signature = Signature("A <a@b>", when)
    tag = Tag(b"\1" * 20, Type.COMMIT, f"lab3/{version}", signature, "", False)
    return ReleaseRequest(PendingTag("desktop", Name("lab3", version), b"\2" * 20), tag)


def test_the_order_of_tags_is_one_order() -> None:
    tags = [asked("2", 9), asked("10", 1), asked("spring", 5), asked("autumn", 7), asked("2025-1", 7)]
    expected = [one.name.version for one in tags[:3]] + ["2025-1", "autumn"]
    for shuffled in itertools.permutations(tags):
        assert [one.name.version for one in sorted(shuffled, key=lambda one: one.order)] == expected


def test_only_the_last_paragraph_speaks_for_us() -> None:
    message = "lab3/1: x\n\nGitstate-Rollback: lab3/9\n\nwords\n\nGitstate-Tag: desktop lab3/1 abc\n"
    assert trailers(message) == {"Gitstate-Tag": "desktop lab3/1 abc"}
    assert trailers("lab3/1: x") == {}


# --- tag objects ------------------------------------------------------------------------------------------------------

HEAD = b"object " + b"1" * 40 + b"\ntype commit\ntag lab3/1\n"


def test_a_tag_object_is_taken_apart() -> None:
    tag = parse_tag(HEAD + b"tagger Ada <a@b> 1700000000 +0100\n\nwords\n\nmore\n")
    assert (tag.name, tag.kind, tag.target) == ("lab3/1", Type.COMMIT, bytes.fromhex("1" * 40))
    assert str(tag.tagger) == "Ada <a@b> 1700000000 +0100"
    assert tag.message == "words\n\nmore\n"
    assert not tag.is_signed


@pytest.mark.parametrize("kind", ["PGP SIGNATURE", "SSH SIGNATURE"])
def test_a_signature_is_no_message(kind: str) -> None:
    text = f"words\n-----BEGIN {kind}-----\nabc\n-----END {kind}-----\n".encode()
    tag = parse_tag(HEAD + b"tagger Ada <a@b> 1 +0000\n\n" + text)
    assert (tag.message, tag.is_signed) == ("words\n", True)


@pytest.mark.parametrize(
    "data", [HEAD, HEAD + b"\n", HEAD + b"tagger Ada <a@b>\n\nx", HEAD + b"tagger <> 5\nx-y z\n\nx"]
)
def test_tags_of_old_programs(data: bytes) -> None:
    assert parse_tag(data).name == "lab3/1"


@pytest.mark.parametrize("data", [b"", b"object 12\n", HEAD.replace(b"commit", b"branch"), b"x" + HEAD])
def test_what_is_no_tag(data: bytes) -> None:
    with pytest.raises(DamagedError):
        parse_tag(data)


# --- what git tells a hook --------------------------------------------------------------------------------------------


def test_lines_of_git() -> None:
    one, none = "1" * 40, "0" * 40
    found = list(updates([f"{none} {one} refs/tags/a b\n", f"{one} {none} refs/heads/x\n"]))
    assert [(update.ref, update.new) for update in found] == [
        ("refs/tags/a b", bytes.fromhex(one)),
        ("refs/heads/x", None),
    ]
    with pytest.raises(UsageError):
        list(updates(["nonsense"]))


@root_only
@needs("git")
def test_a_tags_message_cannot_speak_for_a_release(harness: Harness) -> None:
    message = "words\n\nGitstate-Rollback: lab3/7\nGitstate-Tag: desktop lab3/7 " + "a" * 40
    harness.git("desktop", "tag", "-a", "lab3/1", "-m", message)
    harness("reconcile")
    assert harness("reconcile") == "nothing to publish"
    release = harness.json("channel", "show", "lab3")["current"]
    assert release["rollback"] is None
    tag = harness.git("desktop", "rev-parse", "lab3/1")
    assert (
        harness.releases("log", "-1", "--format=%B", "lab3").splitlines()[-1] == f"Gitstate-Tag: desktop lab3/1 {tag}"
    )


def test_the_unit_watches_what_the_hook_touches() -> None:
    unit = (PROJECT / "hooks" / "systemd" / "gitstate-reconcile.path").read_text()
    hook = (PROJECT / "hooks" / "git" / "reference-transaction").read_text()
    assert "PathChanged=/srv/gitstate/site.git/gitstate/wake" in unit.splitlines()
    assert ':>"$site/site.git/gitstate/wake"' in hook.replace(": >", ":>")
