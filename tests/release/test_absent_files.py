"""A configuration file that is something else is never "none": check-ins, pushes, tags, layers and boot files."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.core.test_present import KINDS
from tests.gitstate_command import Site, git, make_site
from tests.release.harness import Harness
from tests.support import needs, root_only

pytestmark = [root_only, needs("git")]

REFUSING = 'version = 1\n[refuse]\npaths = ["opt/*.lic"]\n'
POLICIES = {"desktop": "etc/gitstate/policy.toml", "lab/lab3": "policy.toml"}


@pytest.mark.parametrize(("kind", "words"), [*((kind, "checkin -m x") for kind in KINDS), ("a fifo", "status")])
def test_the_policy_of_a_live_tree(tmp_path: Path, kind: str, words: str) -> None:
    site = make_site(tmp_path / "site")
    root = tmp_path / "root"
    (root / "etc/gitstate").mkdir(parents=True)
    site.run("prototype", "create", "desktop", "--live", str(root))
    (root / "opt").mkdir()
    (root / "opt/a.lic").write_text("key")
    KINDS[kind](root / POLICIES["desktop"])
    command, *options = words.split()
    site.refuses(7, command, "desktop", *options, naming=str(root / POLICIES["desktop"]))
    assert not list((site.repository("desktop") / "refs/heads").iterdir())


@pytest.mark.parametrize("kind", ["a symlink", "a directory", "a fifo"])
def test_the_policy_of_a_layer(tmp_path: Path, kind: str) -> None:
    site = make_site(tmp_path / "site")
    site.run("layer", "create", "lab/lab3")
    KINDS[kind](site.path / "live/lab/lab3/policy.toml")
    site.refuses(7, "checkin", "lab/lab3", "-m", "x", naming="policy.toml")


# --- in git -----------------------------------------------------------------------------------------------------------


def put(work: Path, path: str, kind: str) -> None:
    """Something in place of a file, in a clone."""
    place = work / path
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_file():
        place.unlink()
    if kind == "symlink":
        place.with_name("shared.toml").write_text(REFUSING)
        place.symlink_to("shared.toml")
    elif kind == "directory":
        place.mkdir()
        (place / "x").write_text("x")
    elif kind == "file above":
        place.parent.rmdir()
        place.parent.write_text("x")
    else:
        place.parent.rmdir()
        place.parent.symlink_to("other")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("desktop", kind) for kind in ("symlink", "directory", "file above", "symlink above")),
        *(("lab/lab3", kind) for kind in ("symlink", "directory")),
    ],
)
def test_a_pushed_policy_that_is_no_file(harness: Harness, name: str, kind: str) -> None:
    if name != "desktop":
        harness.layer(name)
    work = harness.clone(name)
    (work / "opt").mkdir()
    (work / "opt/a.lic").write_text("key")
    put(work, POLICIES[name], kind)
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", "x")
    done = subprocess.run(
        ["git", "-C", str(work), "push", "origin", "HEAD:main"], capture_output=True, text=True, check=False
    )
    assert done.returncode
    assert "no regular file" in done.stderr
    assert "Traceback" not in done.stderr
    if name == "desktop":  # and what came past the hook isn't released
        harness.git(name, "-c", "core.hooksPath=/dev/null", "fetch", "-q", str(work), "main:refs/heads/odd")
        assert "no regular file" in harness.refused(name, "tag", "-a", "lab3/1", "-m", "x", "odd")


@pytest.mark.parametrize("file", ["vars.toml", "layer.toml"])
@pytest.mark.parametrize("kind", ["symlink", "directory"])
def test_a_layers_own_files(harness: Harness, file: str, kind: str) -> None:
    harness.layer("lab/lab3")
    put(harness.site / "live/lab/lab3", file, kind)
    harness("checkin", "lab/lab3", "-m", "x")
    harness("client", "add", "lab3-1", "--mac", "52:54:00:12:34:56", "--pin", "desktop@main")
    assert f"{file} is no regular file" in harness.fails(7, "layer", "render", "lab3-1")


# --- of the site ------------------------------------------------------------------------------------------------------


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path / "site")


@pytest.mark.parametrize("kind", ["a symlink that leads nowhere", "a directory", "a fifo", "a socket"])
def test_the_settings_of_a_site(site: Site, kind: str) -> None:
    (site.path / "site.toml").unlink()
    KINDS[kind](site.path / "site.toml")
    for words in (["status"], ["prototype", "list"], ["init"]):
        done = site.run(*words, code=2 if words == ["init"] else 5 if kind == "a socket" else 7)
        assert str(site.path) in done.stderr


@pytest.mark.parametrize("folder", ["prototypes", "layers", "secrets"])
@pytest.mark.parametrize("kind", ["a symlink that leads nowhere", "a fifo"])
def test_the_folders_of_a_site(site: Site, folder: str, kind: str) -> None:
    (site.path / folder).rmdir()
    KINDS[kind](site.path / folder)
    words = ["secret", "list"] if folder == "secrets" else ["fsck"]
    site.refuses(5, *words, naming=str(site.path / folder))


def test_a_directory_of_clients_that_leads_nowhere(site: Site) -> None:
    os.symlink("nothing", site.path / "directory.git")
    site.refuses(5, "client", "list", naming="directory.git")


def test_packed_refs_that_are_none(site: Site, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    site.run("prototype", "create", "desktop", "--live", str(tmp_path / "root"))
    site.run("checkin", "desktop", "-m", "x")
    (site.repository("desktop") / "packed-refs").mkdir()
    site.refuses(7, "log", "desktop", "nothing", naming="packed-refs")


@pytest.mark.parametrize("kind", ["a symlink that leads nowhere", "a directory", "a fifo"])
def test_a_list_of_writable_files(site: Site, tmp_path: Path, kind: str) -> None:
    root = tmp_path / "root"
    (root / "etc/gitstate").mkdir(parents=True)
    site.run("prototype", "create", "desktop", "--live", str(root))
    KINDS[kind](root / "etc/gitstate/local")
    site.refuses(7, "local", "list", "desktop", naming="/etc/gitstate/local")
