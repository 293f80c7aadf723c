"""Wrong names and wrong places: a line, a hint and the documented exit code."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.damage.harness import Harness, forced_removal, looks
from tests.fork_server import ForkServer
from tests.support import needs, root_only

pytestmark = [root_only, needs("rsync", "setpriv")]


# --- command lines --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(own_disk: Path, fork_server: ForkServer) -> Iterator[Harness]:
    """A site with a prototype of two snapshots, for commands that change nothing."""
    path = own_disk / "bad-input"
    path.mkdir()
    harness = Harness(path, fork_server).begin()
    (harness.live / "file").write_text("one\n")
    harness.check_in("one")
    harness.git("tag", "v1")
    harness.git("tag", "release-2024")
    (harness.live / "file").write_text("two\n")
    harness.check_in("two")
    (path / "file").write_text("a file\n")
    (path / "full").mkdir()
    (path / "full" / "file").touch()
    os.symlink("nowhere", path / "dangling")
    yield harness
    forced_removal(path)


LINES = [
    # code, words (@ is the harness's directory)
    (2, "nonsense"),
    (2, "checkn p"),
    (2, "checkin p"),
    (2, "checkin p -m"),
    (2, "checkin p -m m --nonsense"),
    (2, "checkin p q -m m"),
    (2, "export"),
    (2, "export p HEAD more"),
    (2, "verify"),
    (2, "prototype nonsense"),
    (2, "prototype create"),
    # names
    (2, "prototype create ../q"),
    (2, "prototype create a/b"),
    (2, "prototype create .hidden"),
    (2, "prototype create q.git"),
    (2, "prototype create q.lock"),
    (2, "prototype create base"),
    (2, "prototype create lab"),
    (2, "prototype create --  -q"),
    (2, "prototype create /etc"),
    (2, "prototype create " + "q" * 101),
    (2, "prototype create q\nq"),
    (2, "prototype create q\x1b[2J"),
    (2, "prototype create p"),
    (2, "export ../p"),
    (2, "export nonsense/x"),
    (2, "checkin ../p -m m"),
    (2, "checkin nonsense/q -m m"),
    (2, "status ../../etc"),
    # repositories that don't exist
    (10, "export q"),
    (10, "status q"),
    (10, "checkin q -m m"),
    (10, "manifest q"),
    (10, "verify q"),
    (10, "log q"),
    (10, "show q"),
    (10, "diff q"),
    (10, "clone q @/new"),
    (10, "fsck q"),
    (10, "gc q"),
    (10, "prototype show q"),
    (10, "prototype remove q --yes"),
    (10, "export lab/lab3"),
    # revisions
    (10, "export p nonsense"),
    (10, "export p v2"),
    (10, "export p HEAD~5"),
    (10, "export p 0000000000000000000000000000000000000000"),
    (10, "export p HEAD:file"),
    (10, "export p main..v1"),
    (10, "export p :/nothing"),
    (10, "export p @{99}"),
    (10, "export p \udcff"),
    (10, "export p x\ny"),
    (10, "export p " + "x" * 5000),
    (10, "manifest p nonsense"),
    (10, "verify p nonsense @/full"),
    (10, "prototype create q --from p@nonsense"),
    (10, "prototype create q --from nonsense"),
    (10, "prototype create q --from @/nonsense"),
    (10, "prototype create q --from @/nonsense.tar"),
    (2, "prototype create q --from ''"),
    # targets
    (2, "export p HEAD --to @/full"),
    (2, "export p HEAD --to @/file"),
    (2, "export p HEAD --to @/dangling"),
    (2, "export p HEAD --to /"),
    (5, "export p HEAD --to @/file/below"),
    (10, "export p HEAD --to /proc/nonsense"),
    (2, "clone p @/full"),
    (2, "clone p @/file"),
    (10, "verify p HEAD @/nonsense"),
    (10, "verify p HEAD @/file"),
    (10, "verify p HEAD"),
    # live trees
    (5, "status p --live @/nonsense"),
    (5, "status p --live @/file"),
    (5, "status p --live @/dangling"),
    (5, "status p --live @/new\nline"),
    (5, "checkin p -m m --live @/nonsense"),
    (5, "checkin p -m m --live @/file"),
    (5, "prototype create q --live @/nonsense"),
    (5, "prototype create q --live @/file"),
    (2, "prototype create q --live @/full --from p"),
    (2, "prototype create q --include less"),
    (2, "status --live @/dangling"),
    (2, "checkin -m m"),
    # messages, authors, branches, allowances
    (2, "checkin p -m ''"),
    (2, "checkin p -m ' \n '"),
    (2, "checkin p -m m --author nonsense"),
    (2, "checkin p -m m --author 'a<b> <c@d>'"),
    (2, "checkin p -m m --branch ''"),
    (2, "checkin p -m m --branch ../x"),
    (2, "checkin p -m m --branch a..b"),
    (2, "checkin p -m m --branch a.lock"),
    (2, "checkin p -m m --branch a/"),
    (2, "checkin p -m m --branch 'a b'"),
    (2, "checkin p -m m --branch a.lock/b"),
    (2, "checkin p -m m --branch a/.b"),
    (2, "checkin p -m m --branch " + "b" * 300),
    (2, "checkin p -m m --allow etc/x"),
    (2, "checkin p -m m --because why"),
    (2, "checkin p -m m --allow ../x --because why"),
    (2, "checkin p -m m --allow x --because ' '"),
    (2, "checkin p -m m --allow x --because 'two\nlines'"),
    (2, "checkin p -m m --allow 'a**b' --because why"),
    # git's own words
    (2, "log p --nonsense"),
    (2, "prototype remove p"),
]


@pytest.mark.parametrize("json", [False, True], ids=["plain", "json"])
@pytest.mark.parametrize(
    ("code", "line"), LINES, ids=[line[:60].encode("unicode_escape").decode() for _, line in LINES]
)
def test_a_wrong_command_line(site: Harness, code: int, line: str, json: bool) -> None:
    before = looks(site.site / "live"), site.git("for-each-ref")
    words = [word.replace("@/", f"{site.path}/") for word in split(line)]
    said = site(*(["--json"] if json else []), *words).told(code)
    assert said.err.startswith("{") == json
    assert (looks(site.site / "live"), site.git("for-each-ref")) == before
    assert not (site.site / "prototypes" / "q.git").exists()
    assert sorted(path.name for path in site.path.iterdir()) == ["dangling", "file", "full", "site"]


def split(line: str) -> list[str]:
    """Words at blanks; what stands in single quotes is one."""
    return [quoted if quoted or not plain else plain for quoted, plain in re.findall(r"'([^']*)'|([^ ]+)", line)]


def test_the_nearest_names_are_suggested(site: Harness) -> None:
    for wrong, right in (("v2", "v1"), ("maine", "main"), ("release-2025", "release-2024")):
        assert right in site("export", "p", wrong).told(10).err
    assert "checkin" in site("chekin", "p").told(2).err


def test_nothing_is_checked_in_yet(bare: Harness) -> None:
    bare.begin()
    for words in (("export", "p"), ("manifest", "p"), ("verify", "p", "HEAD", bare.live), ("diff", "p")):
        assert "checkin" in bare(*words).told(10).err
    bare("fsck", "p").well()
    bare("gc", "p").well()
    bare("prototype", "show", "p").well()
    bare("status", "p").well()
    bare("clone", "p", bare.path / "clone").well()


# --- sites ----------------------------------------------------------------------------------------------------------


def test_sites_that_are_none(bare: Harness) -> None:
    place = bare.path

    def told(code: int, site: Path, *words: str) -> None:
        bare.site = site
        bare(*words).told(code)

    told(10, place / "nonsense", "prototype", "list")
    told(10, place, "fsck")
    (place / "file").touch()
    told(10, place / "file", "status", "p")
    told(2, place / "file", "init")
    told(2, place, "init")
    made = place / "made"
    bare.site = made
    bare("init").well()
    told(2, made, "init")
    for text in ("version = 2\n", "version = 'x'\n", "nonsense", "[", "\0", "", "version = 1979-05-27\n"):
        (made / "site.toml").write_text(text)
        told(7, made, "prototype", "list")
    (made / "site.toml").write_bytes(b"\xff\xfe")
    told(7, made, "prototype", "list")
    (made / "site.toml").unlink()
    (made / "site.toml").mkdir()
    told(7, made, "prototype", "list")


def test_a_site_without_its_directories(bare: Harness) -> None:
    bare.begin()
    for name in ("exports", "live", "prototypes"):
        shutil.rmtree(bare.site / name)
        create = ("prototype", "create", f"q{name}")
        for words in (("prototype", "list"), ("fsck",), ("status", "p"), ("export", "p"), create):
            said = bare(*words)
            assert said.code in (0, 5, 10), said
            if said.code:
                said.told(5, 10)
