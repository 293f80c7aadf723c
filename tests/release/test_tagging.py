"""gitstate tag: names a snapshot, also where git knows nobody's name; git reads it back."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.harness import plant
from tests.gitstate_command import Site, make_site
from tests.support import needs, root_only

pytestmark = [root_only, needs("git", "setfacl", "setcap")]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "EMAIL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    plant(tmp_path / "root")
    site = make_site(tmp_path / "site")
    site.run("prototype", "create", "desktop", "--live", str(tmp_path / "root"))
    site.run("checkin", "desktop", "-m", "as installed\n\nmore")
    return site


def content(site: Site, name: str) -> str:
    command = ["git", f"--git-dir={site.repository('desktop')}", "cat-file", "tag", name]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_tag_needs_no_identity_and_holds_the_digest_of_the_manifest(site: Site) -> None:
    site.run("tag", "desktop", "v1", "-m", "for the kiosks", "--author", "Ada <ada@example.org>")
    digest = hashlib.sha256(site.run("manifest", "desktop", "v1").stdout.encode()).hexdigest()
    head, _, text = content(site, "v1").partition("\n\n")
    assert "tagger Ada <ada@example.org> " in head
    assert text == f"for the kiosks\n\nManifest-SHA256: {digest}\n"
    site.run("tag", "desktop", "v2")
    assert content(site, "v2").partition("\n\n")[2].startswith("as installed\n\nManifest-SHA256: ")


def test_a_tag_of_a_channel_is_released(site: Site) -> None:
    site.run("channel", "create", "lab3", "--prototype", "desktop")
    assert "reconcile" in site.run("tag", "desktop", "lab3/2026-03").stderr
    site.run("reconcile")
    assert "lab3/2026-03" in site.run("channel", "show", "lab3").stdout


@pytest.mark.parametrize(
    ("name", "code"), [("v1", 12), ("a..b", 2), ("a b", 2), ("-d", 2), ("", 2), ("x.lock", 2), ("v1/x", 5)]
)
def test_what_is_no_name_for_a_new_tag(site: Site, name: str, code: int) -> None:
    site.run("tag", "desktop", "v1")
    before = content(site, "v1")
    site.refuses(code, "tag", "desktop", "--", name, naming=name)
    assert content(site, "v1") == before
