"""Names of files as commands print them: as they are for people, octal in JSON, raw with -z."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.gitstate_command import Site, make_site
from tests.support import needs, root_only

pytestmark = [root_only, needs("git")]

NAME = "srv/Grüße an Zoë"
OCTAL = r"srv/Gr\303\274\303\237e\040an\040Zo\303\253"
HOSTILE = b"srv/\xe2\x80\xaetxt.exe \x1b[2J\\"
SHOWN = r"srv/\342\200\256txt.exe \033[2J\134"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A prototype that was checked in without the two names; the live tree has them."""
    root = tmp_path / "root"
    (root / "srv").mkdir(parents=True)
    site = make_site(tmp_path / "site")
    site.run("prototype", "create", "desktop", "--live", str(root))
    site.run("checkin", "desktop", "-m", "empty")
    for name in (os.fsencode(NAME), HOSTILE):
        path = os.fsencode(root) + b"/" + name
        with open(path, "wb") as file:
            file.write(b"x\n")
        os.chmod(path, 0o600)
    return site


def test_status(site: Site) -> None:
    lines = {line[3:].partition("  ")[0] for line in site.out("status", "desktop").splitlines()}
    assert lines >= {NAME, SHOWN}
    assert OCTAL in {one["path"] for one in site.json("status", "desktop")["changes"]}
    assert set(site.out("status", "desktop", "-z").split("\0")) >= {NAME}


def test_history(site: Site) -> None:
    site.run("checkin", "desktop", "-m", "names")
    for words in (("show", "desktop"), ("diff", "desktop", "HEAD~1", "HEAD")):
        out = site.out(*words)
        assert f"+++ b/{NAME}" in out
        assert f"\nA  {NAME}  " in out
        assert f"\nA  {SHOWN}  " in out
    assert NAME in site.out("log", "desktop", "--name-only").splitlines()
    assert OCTAL in {one["path"] for one in site.json("show", "desktop")["commits"][0]["changes"]}


def test_verify(site: Site, tmp_path: Path) -> None:
    site.run("checkin", "desktop", "-m", "names")
    assert NAME in site.out("verify", "desktop", "HEAD~1", str(tmp_path / "root"), code=1)


def test_a_refusal_proposes_a_pattern(site: Site, tmp_path: Path) -> None:
    key = tmp_path / "root" / "srv" / "a*b ü.key"
    key.write_text("AGE-SECRET-KEY-1" + "Q" * 58 + "\n")
    said = site.run("checkin", "desktop", "-m", "x", code=4).stderr
    assert "/srv/a*b ü.key" in said
    assert r"--allow 'srv/a\052b ü.key'" in said
    site.run("checkin", "desktop", "-m", "x", "--allow", r"srv/a\052b ü.key", "--because", "a test")
