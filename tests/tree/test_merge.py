"""Records merge by entry: what one side changed is taken, what both changed is named, order never matters."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from gitstate.core.entry import Entry, Kind, Meta
from gitstate.tree.manifest import NO_RECORDS, Records, format_directory, parse_directory
from gitstate.tree.merge import merge_records
from tests.gitstate_command import git, make_site
from tests.support import PROJECT, needs, root_only

OWN = Meta(Kind.DIRECTORY, 0o755, time=1)
metas = st.builds(
    Meta,
    kind=st.just(Kind.FILE),
    mode=st.sampled_from([0o644, 0o600, 0o4755]),
    uid=st.sampled_from([0, 7]),
    gid=st.sampled_from([0, 42]),
    time=st.integers(0, 3),
    device=st.none(),
    xattrs=st.sampled_from([(), ((b"user.a", b"1"),), ((b"user.a", b"2"), (b"user.b", b""))]),
    uname=st.sampled_from([b"", b"lp"]),
    gname=st.sampled_from([b"", b"mail"]),
)
sides = st.dictionaries(st.sampled_from([b"a", b"b", b"c"]), metas).map(
    lambda found: Records(OWN, {name: Entry(name, meta, b"\1\2\3\4") for name, meta in sorted(found.items())})
)


def read(text: bytes) -> dict[bytes, Entry]:
    return parse_directory(text, "merged", root=False).entries


@given(base=sides, side=sides)
def test_what_one_side_made_is_taken_whole(base: Records, side: Records) -> None:
    for ours, theirs in ((side, base), (base, side), (side, side)):
        merged = merge_records(base, ours, theirs)
        assert merged.conflicts == []
        assert read(merged.text) == dict(side.entries)


@given(base=sides, ours=sides, theirs=sides)
def test_both_ways_round_agree_but_for_conflicts(base: Records, ours: Records, theirs: Records) -> None:
    one, other = merge_records(base, ours, theirs), merge_records(base, theirs, ours)
    assert set(one.conflicts) == set(other.conflicts)
    for name in read(one.text).keys() | read(other.text).keys():
        if name not in one.conflicts:
            assert read(one.text)[name] == read(other.text)[name]


def test_different_keywords_of_one_entry_join() -> None:
    def side(**changes: object) -> Records:
        meta = Meta(Kind.FILE, 0o644, time=1)._replace(**changes)  # type: ignore[arg-type]
        return Records(OWN, {b"f": Entry(b"f", meta, b"\0\0\0\1")})

    merged = merge_records(side(), side(mode=0o600, time=5), side(gid=42, time=9))
    assert merged.conflicts == []
    assert read(merged.text)[b"f"].meta == Meta(Kind.FILE, 0o600, 0, 42, 9)
    clash = merge_records(side(), side(mode=0o600), side(mode=0o640))
    assert clash.conflicts == [b"f"]
    assert read(clash.text)[b"f"].meta.mode == 0o600


def test_an_oid_that_both_sides_changed_is_dropped() -> None:
    def side(oid: bytes) -> Records:
        return Records(OWN, {b"f": Entry(b"f", Meta(Kind.FILE, 0o4755, time=1), oid)})

    merged = merge_records(side(b"\0\0\0\1"), side(b"\0\0\0\2"), side(b"\0\0\0\3"))
    assert read(merged.text)[b"f"].oid == b""


def test_no_base() -> None:
    side = Records(OWN, {b"f": Entry(b"f", Meta(Kind.FILE, 0o600, time=1))})
    assert merge_records(NO_RECORDS, side, side).text == format_directory(OWN, side.entries.values(), root=False)


@root_only
@needs("git")
def test_git_merges_records_with_our_driver(tmp_path: Path) -> None:
    """Neighbouring lines changed on two branches: a conflict for text, none for records."""
    live = tmp_path / "live"
    (live / "etc").mkdir(parents=True)
    for name in ("a", "b", "c"):
        (live / "etc" / name).write_text(f"{name}\n")
    site = make_site(tmp_path / "site")
    site.run("prototype", "create", "desktop", "--live", str(live))
    site.run("checkin", "desktop", "-m", "base")
    (live / "etc/a").chmod(0o600)
    site.run("checkin", "desktop", "-m", "a is secret", "--branch", "side")
    (live / "etc/a").chmod(0o644)
    os.chown(live / "etc/b", 0, 42)
    site.run("checkin", "desktop", "-m", "b is of shadow")

    command = tmp_path / "bin" / "gitstate"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nPYTHONPATH={PROJECT} exec {sys.executable} -m gitstate "$@"\n')
    command.chmod(0o755)
    clone = tmp_path / "clone"
    site.run("clone", "desktop", str(clone))
    git(clone, "config", "user.name", "Eve")
    git(clone, "config", "user.email", "eve@example.org")
    environment = {**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}"}
    merge = ["git", "-C", str(clone), "merge", "--quiet", "--no-edit", "origin/side"]
    done = subprocess.run(merge, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    git(clone, "push", "--quiet", "origin", "HEAD:main")
    export = Path(site.out("export", "desktop"))
    found = {name: (export / "etc" / name).stat() for name in ("a", "b", "c")}
    assert {name: (oct(one.st_mode & 0o7777), one.st_gid) for name, one in found.items()} == {
        "a": ("0o600", 0),
        "b": ("0o644", 42),
        "c": ("0o644", 0),
    }
