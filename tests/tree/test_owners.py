"""Owners by name in layers: set by a command, kept by check-ins, gone when the live tree's owner changes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from gitstate.core.errors import ConflictError, UsageError
from gitstate.core.signature import Signature
from gitstate.store.site import Site as Place
from gitstate.tree import owners
from gitstate.tree.owners import NOBODY, Owner
from tests.gitstate_command import Site, git, make_site
from tests.support import needs, root_only

pytestmark = [root_only, needs("git")]

NAME = "lab/lab3"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A layer with files, a directory that isn't looked into, a hard link, a symlink and a fifo."""
    site = make_site(tmp_path / "site")
    site.run("layer", "create", NAME)
    live = site.path / "live" / NAME
    for path in ("etc/cups/a", "etc/cups/b", "etc/shadowed/c"):
        (live / path).parent.mkdir(parents=True, exist_ok=True)
        (live / path).write_text(f"{path}\n")
    (live / "tmp").mkdir()
    os.link(live / "etc/cups/a", live / "etc/link")
    os.mkfifo(live / "etc/fifo")
    (live / "etc/symlink").symlink_to("cups")
    site.run("checkin", NAME, "-m", "first")
    return site


def live(site: Site) -> Path:
    return site.path / "live" / NAME


def records(site: Site, directory: str) -> dict[str, list[str]]:
    """The words of each record, times and ids aside."""
    path = f"{directory}/.gitstate".lstrip("/")
    text = git(site.path / "layers" / f"{NAME}.git", "show", f"main:{path}")
    lines = (line.split() for line in text.splitlines() if line[:1] not in "#/")
    return {words[0]: [one for one in words[1:] if not one.startswith(("time=", "oid="))] for words in lines}


def nothing_to_do(site: Site) -> None:
    """With the stat cache and without it, nothing has changed."""
    for _ in range(2):
        found = site.json("status", NAME)
        assert (found["changes"], found["links"]) == ([], [])
        assert "nothing to check in" in site.out("status", NAME)
        (site.path / "layers" / f"{NAME}.git" / "gitstate" / "cache").unlink(missing_ok=True)
    site.run("fsck")
    assert site.run("verify", NAME, "main", str(live(site))).returncode == 0


def test_names_are_set(site: Site) -> None:
    tree = git(site.path / "layers" / f"{NAME}.git", "rev-parse", "main^{tree}")
    assert site.out("layer", "owner", NAME, "lp:cups", "/etc/cups/b", "-n") == "lp:cups  /etc/cups/b"
    assert git(site.path / "layers" / f"{NAME}.git", "rev-parse", "main^{tree}") == tree
    site.run("layer", "owner", NAME, "lp:cups", "/etc/cups/b", "etc/fifo", "--author", "Ada <ada@example.org>")
    site.run("layer", "owner", NAME, ":lp", "etc", "tmp", "-m", "the printer's")
    assert records(site, "etc/cups")["b"] == ["uname=lp", "gname=cups"]
    assert records(site, "etc/cups")["a"] == []
    assert records(site, "etc")["fifo"] == ["type=fifo", "uname=lp", "gname=cups"]
    assert records(site, "etc")["."] == ["type=dir", "mode=0755", "gname=lp"]
    assert records(site, "tmp")["."] == ["type=dir", "mode=0755", "gname=lp"]
    log = git(site.path / "layers" / f"{NAME}.git", "log", "--format=%an: %s")
    assert log.splitlines()[1] == "Ada: owner lp:cups: /etc/cups/b and 1 more"
    assert "owner 0:0 -> lp:cups" in site.out("diff", NAME, "main~2", "main")
    nothing_to_do(site)
    done = site.run("layer", "owner", NAME, "lp:cups", "/etc/cups/b")
    assert (done.stdout, done.stderr.partition(":")[0]) == ("", NAME)
    assert len(log.splitlines()) == 3


def test_only_records_change(site: Site) -> None:
    site.run("layer", "owner", NAME, "-R", "lp", "/")
    changed = git(site.path / "layers" / f"{NAME}.git", "diff", "--name-only", "main~1", "main").splitlines()
    assert changed == [".gitstate", "etc/.gitstate", "etc/cups/.gitstate", "etc/shadowed/.gitstate", "tmp/.gitstate"]
    nothing_to_do(site)
    site.run("layer", "owner", NAME, "-R", "-", "/")
    assert git(site.path / "layers" / f"{NAME}.git", "diff", "--name-only", "main~2", "main") == ""


def test_hard_links_stay_together(site: Site) -> None:
    assert site.out("layer", "owner", NAME, "lp", "/etc/cups/a").splitlines() == ["lp  /etc/cups/a", "lp  /etc/link"]
    nothing_to_do(site)


def test_a_checkin_keeps_names(site: Site) -> None:
    site.run("layer", "owner", NAME, "-R", "lp:cups", "/")
    (live(site) / "etc/cups/a").write_text("edited\n")
    (live(site) / "new").write_text("replaced\n")
    (live(site) / "new").rename(live(site) / "etc/cups/b")
    (live(site) / "etc/cups/new").write_text("new\n")
    os.chmod(live(site) / "etc/shadowed/c", 0o600)
    words = {one["path"]: one["details"] for one in site.json("status", NAME)["changes"]}
    assert all("owner" not in " ".join(found) for path, found in words.items() if path != "etc/cups/new")
    site.run("checkin", NAME, "-m", "edits")
    assert records(site, "etc/cups") == {
        ".": ["type=dir", "mode=0755", "uname=lp", "gname=cups"],
        "a": ["uname=lp", "gname=cups"],
        "b": ["uname=lp", "gname=cups"],
        "new": [],
    }
    assert records(site, "etc/shadowed")["c"] == ["mode=0600", "uname=lp", "gname=cups"]
    assert records(site, "etc")["symlink"][-2:] == ["uname=lp", "gname=cups"]
    assert records(site, "tmp")["."][-2:] == ["uname=lp", "gname=cups"]
    nothing_to_do(site)


def test_who_changes_the_owner_means_the_number(site: Site) -> None:
    site.run("layer", "owner", NAME, "-R", "lp:cups", "/")
    os.chown(live(site) / "etc/cups/b", 7, -1)
    os.chown(live(site) / "etc/shadowed", -1, 9)
    os.chown(live(site) / "tmp", 7, 9)
    text = site.out("status", NAME)
    for line in ("owner lp:cups -> 7:cups", "owner lp:cups -> lp:9", "owner lp:cups -> 7:9"):
        assert line in text
    site.run("checkin", NAME, "-m", "numbers")
    assert records(site, "etc/cups")["b"] == ["uid=7", "gname=cups"]
    assert records(site, "etc/shadowed")["."] == ["type=dir", "mode=0755", "gid=9", "uname=lp"]
    assert records(site, "tmp")["."] == ["type=dir", "mode=0755", "uid=7", "gid=9"]
    os.chown(live(site) / "etc/cups/b", 0, -1)
    site.run("checkin", NAME, "-m", "root's again")
    assert records(site, "etc/cups")["b"] == ["gname=cups"]
    nothing_to_do(site)


def test_something_else_in_its_place_has_no_name(site: Site) -> None:
    site.run("layer", "owner", NAME, "lp", "/etc/cups/b", "/etc/shadowed")
    (live(site) / "etc/cups/b").unlink()
    (live(site) / "etc/cups/b").symlink_to("a")
    shutil.rmtree(live(site) / "etc/shadowed")
    (live(site) / "etc/shadowed").write_text("a file now\n")
    site.run("checkin", NAME, "-m", "others")
    assert not any("name=" in word for word in [*records(site, "etc/cups")["b"], *records(site, "etc")["shadowed"]])


def test_what_waits_in_the_live_tree_stays_there(site: Site) -> None:
    (live(site) / "etc/cups/b").write_text("not checked in\n")
    site.run("layer", "owner", NAME, "lp", "/etc/cups/b")
    found = {one["path"]: one["details"] for one in site.json("status", NAME)["changes"]}
    assert list(found) == ["etc/cups/b"]
    site.run("checkin", NAME, "-m", "and now it is")
    assert records(site, "etc/cups")["b"] == ["uname=lp"]


def test_machines_get_the_image_s_ids(site: Site, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/passwd").write_text("lp:x:77:7::/:/bin/false\n")
    (root / "etc/group").write_text("cups:x:88:\n")
    site.run("prototype", "create", "desktop", "--live", str(root))
    site.run("checkin", "desktop", "-m", "first")
    site.run("layer", "owner", NAME, "lp:cups", "/etc/cups/b")
    site.run("client", "add", "lab3-1", "--pin", "desktop@main")
    site.run("layer", "render", "lab3-1", "--to", str(tmp_path / "to"))
    status = (tmp_path / "to/etc/cups/b").stat()
    assert (status.st_uid, status.st_gid) == (77, 88)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((NAME, "lp:lp"), 2),
        ((NAME, "7", "/etc/cups/b"), 2),
        ((NAME, "lp:7", "/etc/cups/b"), 2),
        ((NAME, ":", "/etc/cups/b"), 2),
        ((NAME, "l p", "/etc/cups/b"), 2),
        ((NAME, "lp", "/etc/nothing"), 10),
        ((NAME, "lp", "/etc/../etc"), 2),
        (("lab/lab4", "lp", "/etc/cups/b"), 10),
        (("lp", "/etc/cups/b"), 10),
    ],
)
def test_what_is_refused(site: Site, words: tuple[str, ...], code: int) -> None:
    before = git(site.path / "layers" / f"{NAME}.git", "rev-parse", "main")
    site.run("layer", "owner", *words, code=code)
    assert git(site.path / "layers" / f"{NAME}.git", "rev-parse", "main") == before


def test_prototypes_are_numeric(site: Site, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    site.run("prototype", "create", "desktop", "--live", str(tmp_path / "root"))
    assert "desktop is a prototype" in site.run("layer", "owner", "desktop", "lp", "/etc", code=2).stderr


def test_inside_the_live_tree_the_layer_is_left_out(site: Site) -> None:
    site.run("layer", "owner", "lp", "/etc/cups/b", cwd=live(site))
    assert records(site, "etc/cups")["b"] == ["uname=lp"]


def test_a_layer_that_moved_meanwhile(site: Site) -> None:
    repository = Place.open(site.path).repository(NAME)
    plan = owners.plan(repository, Owner(b"lp", None), [b"etc/cups/b"])
    site.run("layer", "owner", NAME, "lp", "/etc")
    who = Signature("A <a@b>", 0, "+0000")
    with pytest.raises(ConflictError):
        owners.apply(plan, repository, who, who, "late")


def test_owners_are_parsed() -> None:
    assert owners.parse(b"lp") == Owner(b"lp", None)
    assert owners.parse(b"lp:") == Owner(b"lp", None)
    assert owners.parse(b":lp") == Owner(None, b"lp")
    assert owners.parse(b"-") == NOBODY
    assert [str(owners.parse(text)) for text in (b"a", b"a:b", b":b", b"-")] == ["a", "a:b", ":b", "-"]
    for text in (b"", b":", b"0", b"a:0", b"a b", b"a\n", b"-x", b"a:b:c"):
        with pytest.raises(UsageError):
            owners.parse(text)


# --- the policy of a layer ------------------------------------------------------------------------------------------


def test_a_layer_s_policy_stands_in_its_root(site: Site) -> None:
    """A file etc/gitstate/policy.toml of a layer is for machines, and asks nothing of the layer."""
    (live(site) / "policy.toml").write_text('version = 1\n[record]\nskip = ["*.bak"]\n[refuse]\npaths = ["keys/*"]\n')
    (live(site) / "etc/gitstate").mkdir()
    (live(site) / "etc/gitstate/policy.toml").write_text('version = 1\n[refuse]\npaths = ["**/*"]\n')
    (live(site) / "x.bak").write_text("x\n")
    changes = site.json("checkin", NAME, "-m", "policy")["changes"]
    assert {one["path"] for one in changes} == {"policy.toml", "etc", "etc/gitstate", "etc/gitstate/policy.toml"} | {
        one["path"] for one in changes if one["path"] in (".", "")
    }
    (live(site) / "keys").mkdir()
    (live(site) / "keys/x").write_text("x\n")
    assert "/keys/x (the policy file refuses this path)" in site.run("checkin", NAME, "-m", "x", code=4).stderr
    (live(site) / "policy.toml").write_text('version = 1\n[record]\nskip = ["*.toml"]\n')
    said = site.run("checkin", NAME, "-m", "x", code=7).stderr
    assert all(words in said for words in (f"{live(site)}/policy.toml", "line 2", "leaves out policy.toml"))


def test_a_push_to_a_layer_is_asked_by_its_own_policy(site: Site, tmp_path: Path) -> None:
    (live(site) / "policy.toml").write_text('version = 1\n[refuse]\npaths = ["keys/*"]\n')
    site.run("checkin", NAME, "-m", "policy")
    site.run("clone", NAME, str(tmp_path / "clone"))
    (tmp_path / "clone/keys").mkdir()
    (tmp_path / "clone/keys/x").write_text("x\n")
    git(tmp_path / "clone", "add", "-A")
    git(tmp_path / "clone", "-c", "user.name=A", "-c", "user.email=a@b", "commit", "-q", "-m", "keys")
    with pytest.raises(AssertionError, match="policy refuses /keys/x"):
        git(tmp_path / "clone", "push", "-q", "origin", "HEAD:refs/heads/other")


def test_a_change_of_owners_whose_git_was_killed_between_two_refs(site: Site) -> None:
    repository = site.path / "layers" / f"{NAME}.git"
    before = git(repository, "rev-parse", "main")
    site.run("layer", "owner", NAME, "lp", "/etc/cups/b")
    (repository / "refs" / "gitstate" / "live").write_text(before)
    nothing_to_do(site)
    (live(site) / "etc/cups/a").write_text("more\n")
    site.run("checkin", NAME, "-m", "second")
    assert records(site, "etc/cups")["b"] == ["uname=lp"]
