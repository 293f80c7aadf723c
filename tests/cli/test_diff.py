"""diff between any two things: prototypes, snapshots, live trees, machines."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gitstate_command import Site, make_site
from tests.support import needs, root_only

pytestmark = [root_only, needs("git")]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Prototypes desktop and kiosk, which has its history from desktop, each with an edit in its live tree."""
    place = tmp_path_factory.mktemp("diff")
    site = make_site(place / "site")
    site.run("prototype", "create", "desktop")
    live = site.path / "live"
    (live / "desktop" / "etc").mkdir()
    (live / "desktop" / "etc" / "motd").write_text("desktop\n")
    (live / "desktop" / "etc" / "same").write_text("same\n")
    site.run("checkin", "desktop", "-m", "first")
    site.run("prototype", "create", "kiosk", "--from", "desktop")
    (live / "kiosk" / "etc" / "motd").write_text("kiosk\n")
    (live / "kiosk" / "etc" / "same").chmod(0o600)
    site.run("checkin", "kiosk", "-m", "kiosk")
    (live / "desktop" / "etc" / "edited").write_text("desktop, not checked in\n")
    (live / "kiosk" / "etc" / "edited").write_text("kiosk, not checked in\n")
    yield site
    shutil.rmtree(place)


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        (("desktop@HEAD", "kiosk@HEAD"), ["M etc/motd", "M etc/same"]),
        (("desktop@HEAD", "kiosk@HEAD~1"), []),
        (("desktop@HEAD", "kiosk"), ["A etc/edited", "M etc/motd", "M etc/same"]),
        (("desktop", "kiosk@HEAD"), ["D etc/edited", "M etc/motd", "M etc/same"]),
        (("desktop", "kiosk"), ["M etc/edited", "M etc/motd", "M etc/same"]),
        (("kiosk@HEAD~1", "kiosk@HEAD"), ["M etc/motd", "M etc/same"]),
        (("desktop@HEAD", "kiosk@HEAD", "--", "etc/motd"), ["M etc/motd"]),
        (("desktop@HEAD", "kiosk@HEAD", "etc/same"), ["M etc/same"]),
        (("desktop", "HEAD"), ["A etc/edited"]),
    ],
)
def test_two_repositories(site: Site, words: tuple[str, ...], changes: list[str]) -> None:
    found = json.loads(site.out("--json", "diff", *words))
    assert [f"{one['status']} {one['path']}" for one in found["changes"] if one["path"] != "etc"] == changes
    assert found["other"] == ("kiosk" if words[0].startswith("desktop") and words[1] != "HEAD" else None)
    site.run("diff", "--exit-code", *words, code=1 if changes else 0)


def test_git_and_we_agree(site: Site, tmp_path: Path) -> None:
    """git's own diff of both commits in one repository."""
    git = ["git", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    for name in ("desktop", "kiosk"):
        subprocess.run([*git, "fetch", "-q", str(site.repository(name)), f"main:{name}"], check=True)
    argv = [*git, "diff", "desktop", "kiosk", "--", ":(exclude)*.gitstate"]
    plain = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    said = site.out("diff", "desktop@HEAD", "kiosk@HEAD")
    assert said == f"{plain}\nmetadata\nM  etc/same  mode 0644 -> 0600"
    assert "2 files" not in site.out("diff", "--stat", "desktop@HEAD", "kiosk@HEAD")


def test_a_branch_of_the_first_comes_before_a_repository(site: Site) -> None:
    site.git("desktop", "branch", "kiosk", "main")
    try:
        assert site.json("diff", "desktop", "kiosk")["other"] is None
    finally:
        site.git("desktop", "branch", "-D", "kiosk")


@pytest.mark.parametrize(
    ("words", "code", "naming"),
    [
        (("desktop@", "kiosk@HEAD"), 2, "desktop@"),
        (("desktop@nope", "kiosk@HEAD"), 10, "nope"),
        (("nope@HEAD", "kiosk@HEAD"), 10, "nope"),
        (("--cached", "desktop@HEAD", "kiosk@HEAD"), 2, "--cached"),
        (("pc-1", "pc-2"), 10, "pc-1"),
    ],
)
def test_what_cant_be(site: Site, words: tuple[str, ...], code: int, naming: str) -> None:
    site.refuses(code, "diff", *words, naming=naming)


def test_two_machines(site: Site) -> None:
    """Their snapshots without what layers hide on both, then their layers."""
    for name, motd in (("lab3", "three\n"), ("lab4", "four\n")):
        site.run("layer", "create", f"lab/{name}")
        (site.path / "live" / "lab" / name / "etc").mkdir()
        (site.path / "live" / "lab" / name / "etc" / "motd").write_text(motd)
        site.run("checkin", f"lab/{name}", "-m", name)
    settings = site.path / "site.toml"
    settings.write_text(settings.read_text().partition("[boot]")[0])
    for channel in ("desktop", "kiosk"):
        site.run("channel", "create", channel, "--prototype", channel)
        site.run("push", channel, channel, "--yes")
    site.run("client", "add", "lab3-1", "lab3-2", "--channel", "desktop")
    site.run("client", "add", "lab4-1", "--channel", "kiosk")
    found = site.json("diff", "lab3-1", "lab4-1")
    assert [one["path"] for one in found["snapshots"]["changes"] if one["path"] != "etc"] == ["etc/same"]
    assert [(one["path"], one["old"]["layer"], one["new"]["layer"]) for one in found["layers"]] == [
        ("etc/motd", "lab/lab3", "lab/lab4")
    ]
    assert "   -three" in site.out("diff", "lab3-1", "LAB4-1").splitlines()
    assert json.loads(site.out("--json", "diff", "lab3-1", "lab4-1", "--", "etc/same"))["layers"] == []
    site.run("diff", "--exit-code", "lab3-1", "lab4-1", code=1)
    site.run("diff", "--exit-code", "lab3-1", "lab3-2")
    assert "no client lab3-3" in site.run("diff", "lab3-1", "lab3-3", code=10).stderr
    site.run("client", "set", "lab3-2", "--pin", "desktop@main")
    pinned = site.json("diff", "lab3-2", "lab4-1")
    assert [one["path"] for one in pinned["snapshots"]["changes"] if one["path"] != "etc"] == ["etc/motd", "etc/same"]
    assert [(one["path"], one["old"]) for one in pinned["layers"]] == [("etc/motd", None)]
