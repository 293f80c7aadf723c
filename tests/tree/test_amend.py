"""A message asked for in an editor, and a check-in that replaces the last one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gitstate_command import Site, make_site
from tests.support import root_only

pytestmark = root_only


@pytest.fixture
def live(tmp_path: Path) -> Path:
    live = tmp_path / "live"
    (live / "etc").mkdir(parents=True)
    (live / "etc" / "motd").write_text("one\n")
    return live


@pytest.fixture
def site(tmp_path: Path, live: Path) -> Site:
    site = make_site(tmp_path / "site")
    site.run("prototype", "create", "p", "--live", str(live))
    site.run("checkin", "p", "-m", "one")
    (live / "etc" / "motd").write_text("two\n")
    return site


def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, code: int = 0) -> Path:
    """An editor that keeps what it is shown, and writes ``text`` (None: leaves it as it is)."""
    shown = tmp_path / "shown file"
    program = tmp_path / "editor of ours"
    write = "" if text is None else f"; open(sys.argv[1], 'w').write({text!r})"
    lines = f"import sys; open({str(shown)!r}, 'w').write(open(sys.argv[1]).read()){write}; sys.exit({code})"
    program.write_text(f"#!{sys.executable}\n{lines}\n")
    program.chmod(0o755)
    monkeypatch.setenv("GIT_EDITOR", f"'{program}'")
    return shown


def subjects(site: Site) -> list[str]:
    return site.git("p", "log", "--format=%s", "main").splitlines()


def test_the_editor_shows_the_change(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = editor(tmp_path, monkeypatch, "# a comment\nTwo.\n\nAnd why.\n# M etc/motd\n")
    site.run("checkin", "p")
    assert "# M  etc/motd   content" in shown.read_text()
    assert site.git("p", "log", "-1", "--format=%B", "main").strip() == "Two.\n\nAnd why."
    shown.unlink()
    assert "nothing changed" in site.out("checkin", "p")
    assert not shown.exists()


@pytest.mark.parametrize(("text", "code", "ends"), [("# nothing\n\n", 0, 1), (None, 0, 1), ("Two\n", 3, 5)])
def test_without_a_message_nothing_is_recorded(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, code: int, ends: int
) -> None:
    editor(tmp_path, monkeypatch, text, code)
    done = site.run("checkin", "p", code=ends)
    assert subjects(site) == ["one"]
    if code:
        assert "GIT_EDITOR" in done.stderr


def test_a_message_is_kept_if_the_check_in_fails(
    site: Site, live: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What policy refuses came while it was written."""
    editor(tmp_path, monkeypatch, "A long story.\n")
    monkeypatch.setenv(
        "GIT_EDITOR", f"mkdir {live}/etc/ssh; echo key >{live}/etc/ssh/ssh_host_rsa_key; " + os.environ["GIT_EDITOR"]
    )
    said = site.run("checkin", "p", code=4).stderr
    kept = site.repository("p") / "gitstate" / "CHECKIN_EDITMSG"
    assert f"the message is kept in {kept}" in said
    assert kept.read_text() == "A long story.\n"


def test_a_script_gets_no_editor_that_waits_for_a_terminal(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = editor(tmp_path, monkeypatch, "Two\n")
    monkeypatch.setenv("EDITOR", os.environ["GIT_EDITOR"])
    monkeypatch.delenv("GIT_EDITOR")
    site.run("checkin", "p", code=2)
    assert not shown.exists()


def test_what_would_be_refused_is_told_before_anybody_writes(
    site: Site, live: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = editor(tmp_path, monkeypatch, "Two\n")
    (live / "etc" / "ssh").mkdir()
    (live / "etc" / "ssh" / "ssh_host_rsa_key").write_text("key\n")
    site.run("checkin", "p", code=4)
    assert not shown.exists()
    site.run("checkin", "p", "--json", code=2)


def test_amend(site: Site, live: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site.run("checkin", "p", "-m", "two")
    (live / "etc" / "motd").write_text("three\n")
    shown = editor(tmp_path, monkeypatch, None)
    site.run("checkin", "p", "--amend", "-n")
    site.run("checkin", "p", "--amend")
    assert shown.read_text().startswith("two\n")
    assert subjects(site) == ["two", "one"]
    assert site.git("p", "show", "main:etc/motd") == "three\n"
    site.run("checkin", "p", "--amend", "-m", "another message")
    assert subjects(site) == ["another message", "one"]
    assert "nothing to check in" in site.out("status", "p")
    subprocess.run(["git", "-C", str(site.repository("p")), "fsck", "--strict"], check=True, capture_output=True)


def test_a_check_in_made_while_the_message_is_written_is_not_amended(
    site: Site, live: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a hook of a package manager makes one: it would be gone with its message."""
    site.run("checkin", "p", "-m", "two")
    editor(tmp_path, monkeypatch, "Two.\n")
    other = f"echo x >{live}/etc/new; {sys.executable} -m gitstate checkin p -m apt; "
    monkeypatch.setenv("GIT_EDITOR", other + os.environ["GIT_EDITOR"])
    assert "another check-in" in site.run("checkin", "p", "--amend", code=12).stderr
    assert subjects(site) == ["apt", "two", "one"]


def test_the_first_check_in_can_be_amended(site: Site) -> None:
    site.run("checkin", "p", "--amend", "-m", "first")
    assert subjects(site) == ["first"]


def test_allowances_stay(site: Site, live: Path) -> None:
    (live / "key.pem").write_text("-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----\n")
    site.run("checkin", "p", "-m", "two", "--allow", "key.pem", "--because", "a test")
    site.run("checkin", "p", "--amend", "-m", "three")
    assert "Gitstate-Allow: key.pem because a test" in site.git("p", "log", "-1", "--format=%B", "main")


@pytest.mark.parametrize("ref", ["refs/tags/v1", "refs/heads/side", "refs/gitstate/released/lab3/1"])
def test_what_others_have_is_not_amended(site: Site, ref: str) -> None:
    site.run("checkin", "p", "-m", "two")
    site.git("p", "update-ref", ref, "main")
    for words in (("-m", "three"), ("-m", "three", "-n")):
        assert "part of" in site.run("checkin", "p", "--amend", *words, code=12).stderr
    assert subjects(site) == ["two", "one"]


def test_what_somebody_pushed_is_not_amended(site: Site) -> None:
    site.run("checkin", "p", "-m", "two")
    site.git("p", "update-ref", "-m", "push", "refs/heads/main", "main~1")
    site.run("checkin", "p", "--amend", "-m", "three", code=12)
