"""Every format ever released stays readable, and says the same."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.gitstate_command import Site, git, make_site
from tests.support import PROJECT, needs, root_only

CORPUS = PROJECT / "tests" / "corpus"
BUNDLES = sorted(CORPUS.glob("format-*.bundle"))


@pytest.fixture(params=BUNDLES, ids=[bundle.stem for bundle in BUNDLES])
def bundle(request: pytest.FixtureRequest) -> Path:
    """One format's repository."""
    found: Path = request.param
    return found


def fetched(site: Site, bundle: Path) -> None:
    """A prototype ``old`` whose history is the bundle's."""
    site.run("prototype", "create", "old")
    git(site.repository("old"), "fetch", "--quiet", str(bundle), "main:main")


def test_every_format_has_its_manifest() -> None:
    assert [bundle.stem for bundle in BUNDLES] == ["format-1"]
    assert all(bundle.with_suffix(".mtree").exists() for bundle in BUNDLES)


@needs("git")
def test_it_reads_as_it_did(tmp_path: Path, bundle: Path) -> None:
    site = make_site(tmp_path / "site")
    fetched(site, bundle)
    assert site.run("manifest", "old").stdout == bundle.with_suffix(".mtree").read_text()
    assert site.out("fsck", "old") == "old: ok"


@root_only
@needs("git", "mtree")
def test_it_exports_as_it_was(tmp_path: Path, bundle: Path) -> None:
    site = make_site(tmp_path / "site")
    fetched(site, bundle)
    export = site.out("export", "old")
    done = subprocess.run(["mtree", "-f", bundle.with_suffix(".mtree"), "-p", export], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"")
    assert site.run("verify", "old").returncode == 0
