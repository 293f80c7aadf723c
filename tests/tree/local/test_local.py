"""Files made writable, mended and taken back, in live trees of the test's own; and runs that are killed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from gitstate.core.errors import ConfigError, ConflictError, HostError, NotFoundError
from gitstate.tree import local
from gitstate.tree.local import ConflictPolicy, Original, Plan, State, Trees
from tests.support import needs, root_only

pytestmark = root_only

FSTAB, KEY = b"etc/fstab", b"etc/ssl/private/key file"


@dataclass
class Harness:
    """A prototype's live tree, and the base layer's."""

    live: Path
    base: Path
    trees: Trees

    def add(self, *paths: bytes, policy: ConflictPolicy = ConflictPolicy.ASK) -> Plan:
        return self._do(local.add(self.trees, paths, policy))

    def fix(self, *paths: bytes, policy: ConflictPolicy = ConflictPolicy.ASK) -> Plan:
        return self._do(local.fix(self.trees, paths, policy))

    def remove(self, *paths: bytes) -> Plan:
        return self._do(local.remove(self.trees, paths))

    def _do(self, plan: Plan) -> Plan:
        local.apply(plan, self.trees)
        return plan

    def states(self) -> dict[bytes, tuple[str, str]]:
        return {file.path: (str(file.state), str(file.original)) for file in local.files(self.trees)}

    def upgrade(self, path: bytes, text: str) -> None:
        """What a package manager does: the new file by one rename."""
        place = self.live / os.fsdecode(path)
        new = place.with_name("new")
        new.write_text(text)
        new.rename(place)


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Harness]:
    live, base = tmp_path / "live", tmp_path / "base"
    (live / "etc/ssl/private").mkdir(parents=True)
    base.mkdir()
    (live / "etc/ssl/private").chmod(0o710)
    os.chown(live / "etc/ssl/private", 0, 42)
    (live / "etc/fstab").write_text("old\n")
    key = live / os.fsdecode(KEY)
    key.write_text("key\n")
    os.chown(key, 1, 42)
    key.chmod(0o640)
    os.utime(key, ns=(5, 1_000_000_000_123_456_789))
    os.setxattr(key, "user.why", b"test")
    with local.open_trees(live, base) as trees:
        yield Harness(live, base, trees)


def listing(*roots: Path) -> dict[str, object]:
    """All that stands below: kind, mode, owner, content."""
    found: dict[str, object] = {}
    for root in roots:
        for path in sorted(root.rglob("*")):
            about = path.lstat()
            what = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else None
            found[str(path)] = (about.st_mode, about.st_uid, about.st_gid, what)
    return found


def test_a_file_becomes_a_link_and_its_original_a_file_of_base(harness: Harness) -> None:
    before = (harness.live / "etc/fstab").stat()
    harness.add(FSTAB, KEY)
    assert (harness.live / "etc/fstab").readlink() == Path("local/fstab")
    assert (harness.live / "etc/fstab").read_text() == (harness.base / "etc/fstab").read_text() == "old\n"
    assert (harness.live / "etc/local/fstab").stat().st_ino == before.st_ino
    assert harness.states() == {FSTAB: ("ok", "same"), KEY: ("ok", "same")}
    text = (harness.live / "etc/gitstate/local").read_text()
    assert [line for line in text.splitlines() if line[0] != "#"] == ["/etc/fstab", "/etc/ssl/private/key\\040file"]


def test_metadata_goes_with_it(harness: Harness) -> None:
    harness.add(KEY)
    for path in (harness.live / "etc/ssl/private/local/key file", harness.base / "etc/ssl/private/key file"):
        about = path.stat()
        assert (about.st_mode & 0o7777, about.st_uid, about.st_gid) == (0o640, 1, 42)
        assert about.st_mtime_ns == 1_000_000_000_123_456_789
        assert os.getxattr(path, "user.why") == b"test"
    for path in (harness.live / "etc/ssl/private/local", harness.base / "etc/ssl/private"):
        about = path.stat()
        assert (about.st_mode & 0o7777, about.st_gid) == (0o710, 42)


@needs("setfacl", "getfacl")
def test_acls_go_with_it(harness: Harness) -> None:
    subprocess.run(["setfacl", "-m", "u:1000:rw", harness.live / "etc/fstab"], check=True)
    harness.add(FSTAB)
    acl = subprocess.run(["getfacl", "-n", harness.base / "etc/fstab"], capture_output=True, text=True, check=True)
    assert "user:1000:rw-" in acl.stdout


def test_again_there_is_nothing_to_do(harness: Harness) -> None:
    harness.add(FSTAB)
    before = listing(harness.live, harness.base)
    assert not harness.add(FSTAB)
    assert not harness.fix()
    assert listing(harness.live, harness.base) == before


def test_a_package_s_new_file_becomes_the_original(harness: Harness) -> None:
    harness.add(FSTAB, KEY)
    harness.upgrade(FSTAB, "new\n")
    assert harness.states()[FSTAB] == ("replaced", "other")
    plan = harness.fix()
    assert (plan.kept, harness.states()[FSTAB]) == ((), ("ok", "same"))
    assert (harness.live / "etc/fstab").is_symlink()
    assert (harness.base / "etc/fstab").read_text() == (harness.live / "etc/local/fstab").read_text() == "new\n"


@pytest.mark.parametrize(("policy", "text"), [(ConflictPolicy.KEEP, "mine\n"), (ConflictPolicy.REPLACE, "new\n")])
def test_what_was_changed_in_base_goes_only_if_one_says_so(harness: Harness, policy: ConflictPolicy, text: str) -> None:
    harness.add(FSTAB)
    (harness.base / "etc/fstab").write_text("mine\n")
    assert not harness.fix()
    harness.upgrade(FSTAB, "new\n")
    before = listing(harness.live, harness.base)
    with pytest.raises(ConflictError, match="/etc/fstab"):
        harness.fix()
    assert listing(harness.live, harness.base) == before
    plan = harness.fix(policy=policy)
    assert plan.kept == ((FSTAB,) if policy is ConflictPolicy.KEEP else ())
    assert (harness.base / "etc/fstab").read_text() == text
    assert (harness.live / "etc/fstab").read_text() == "new\n"


@pytest.mark.parametrize(("policy", "text"), [(ConflictPolicy.KEEP, "theirs\n"), (ConflictPolicy.REPLACE, "old\n")])
def test_another_prototype_s_original_is_a_conflict(harness: Harness, policy: ConflictPolicy, text: str) -> None:
    (harness.base / "etc").mkdir()
    (harness.base / "etc/fstab").write_text("theirs\n")
    before = listing(harness.live, harness.base)
    with pytest.raises(ConflictError):
        harness.add(KEY, FSTAB)
    assert listing(harness.live, harness.base) == before, "all or nothing"
    harness.add(KEY, FSTAB, policy=policy)
    assert (harness.base / "etc/fstab").read_text() == text


def test_a_template_in_base_is_the_original(harness: Harness) -> None:
    (harness.base / "etc").mkdir()
    (harness.base / "etc/fstab.j2").write_text("{{ host }}\n")
    harness.add(FSTAB)
    assert harness.states()[FSTAB] == ("ok", "template")
    assert not (harness.base / "etc/fstab").exists()


def test_missing_and_dangling_are_mended(harness: Harness) -> None:
    harness.add(FSTAB, KEY)
    (harness.live / "etc/fstab").unlink()
    (harness.live / "etc/ssl/private/local/key file").unlink()
    assert {path: state for path, (state, _) in harness.states().items()} == {FSTAB: "missing", KEY: "dangling"}
    harness.fix()
    assert {state for state, _ in harness.states().values()} == {"ok"}
    shutil.rmtree(harness.live / "etc/local")
    (harness.live / "etc/fstab").unlink()
    harness.fix(FSTAB)
    assert (harness.live / "etc/fstab").read_text() == "old\n"


def test_what_is_lost_on_both_sides_is_told(harness: Harness) -> None:
    harness.add(FSTAB)
    shutil.rmtree(harness.live / "etc/local")
    (harness.base / "etc/fstab").unlink()
    with pytest.raises(NotFoundError, match="no copy"):
        harness.fix()


def test_a_directory_that_a_package_took_with_it_is_told_and_the_file_can_be_taken_off(harness: Harness) -> None:
    harness.add(KEY, FSTAB)
    shutil.rmtree(harness.live / "etc/ssl")
    assert harness.states()[KEY][0] == "missing"
    with pytest.raises(NotFoundError, match="the directory of /etc/ssl/private/key"):
        harness.fix()
    harness.remove(KEY)
    assert harness.states() == {FSTAB: ("ok", "same")}
    assert not (harness.live / "etc/ssl").exists()


def test_taken_back_the_tree_is_as_it_was(harness: Harness) -> None:
    before = listing(harness.live)
    harness.add(FSTAB, KEY)
    harness.remove(FSTAB)
    assert harness.states().keys() == {KEY}
    harness.remove(KEY)
    shutil.rmtree(harness.live / "etc/gitstate")
    assert listing(harness.live) == before
    assert (harness.base / "etc/fstab").read_text() == "old\n"


def test_without_a_base_layer_there_is_a_hint(harness: Harness) -> None:
    with local.open_trees(harness.live, None) as trees, pytest.raises(NotFoundError) as caught:
        local.add(trees, [FSTAB])
    assert "gitstate layer create base" in caught.value.hint


# --- hostile trees ----------------------------------------------------------------------------------------------------


def test_a_link_is_not_made_of_what_is_no_file(harness: Harness, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("outside\n")
    (harness.live / "etc/elsewhere").symlink_to(tmp_path / "outside")
    (harness.live / "etc/folder").mkdir()
    os.mkfifo(harness.live / "etc/fifo")
    before = listing(harness.live, harness.base)
    for name in (b"etc/elsewhere", b"etc/folder", b"etc/fifo"):
        with pytest.raises(ConflictError):
            harness.add(name)
    with pytest.raises(NotFoundError):
        harness.add(b"etc/nowhere")
    assert listing(harness.live, harness.base) == before


@pytest.mark.parametrize("inside", ["etc", "etc/gitstate"])
def test_no_symlink_is_followed(harness: Harness, tmp_path: Path, inside: str) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/fstab").write_text("outside\n")
    place = harness.live / inside
    if place.exists():
        shutil.rmtree(place)
    place.symlink_to(tmp_path / "outside")
    with pytest.raises(HostError), local.open_trees(harness.live, harness.base) as trees:
        local.apply(local.add(trees, [FSTAB]), trees)
    assert {path.name: path.read_text() for path in (tmp_path / "outside").iterdir()} == {"fstab": "outside\n"}


def test_local_must_be_a_directory_of_ours(harness: Harness, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (harness.live / "etc/local").symlink_to(tmp_path / "outside")
    with pytest.raises(ConflictError):
        harness.add(FSTAB)
    (harness.live / "etc/local").unlink()
    (harness.live / "etc/local").mkdir()
    (harness.live / "etc/local/other").touch()
    with pytest.raises(ConflictError, match="other"):
        harness.add(FSTAB)
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to("/nowhere")])
def test_base_must_have_a_file_there(harness: Harness, make: object) -> None:
    (harness.base / "etc").mkdir()
    make(harness.base / "etc/fstab")  # type: ignore[operator]
    with pytest.raises(ConflictError, match="no regular file"):
        harness.add(FSTAB, policy=ConflictPolicy.REPLACE)


def test_a_list_that_is_none_is_told(harness: Harness) -> None:
    (harness.live / "etc/gitstate").mkdir()
    (harness.live / "etc/gitstate/local").write_text("/etc/fstab\n/etc/a b\n")
    with pytest.raises(ConfigError, match="/etc/gitstate/local of the live tree:2: "):
        harness.fix()


def test_what_is_not_listed_is_told(harness: Harness) -> None:
    for act in (harness.fix, harness.remove):
        with pytest.raises(NotFoundError, match="not on the list"):
            act(FSTAB)


# --- killed -----------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Where a process ends that is killed."""


def interrupted(monkeypatch: pytest.MonkeyPatch, call: int) -> Iterator[None]:
    """Every call that changes a tree counts; the given one doesn't happen."""
    seen = 0

    def counted(real: object) -> object:
        def instead(*words: object, **named: object) -> object:
            nonlocal seen
            seen += 1
            if seen == call:
                raise Killed
            return real(*words, **named)  # type: ignore[operator]

        return instead

    with monkeypatch.context() as patch:
        for name in ("rename", "link", "symlink", "unlink", "mkdir", "fchmod", "rmdir"):
            patch.setattr(os, name, counted(getattr(os, name)))
        yield


def kept_texts(harness: Harness) -> set[str]:
    """All that can still be read, in either tree, but the list."""
    roots = (harness.live / "etc", harness.base)
    found = [path for root in roots for path in root.rglob("*") if path.is_file() and path.parent.name != "gitstate"]
    return {path.read_text() for path in found}


@pytest.mark.parametrize("verb", ["add", "fix", "remove"])
def test_killed_anywhere_nothing_is_lost_and_the_next_run_finishes(
    tmp_path: Path, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for call in range(1, 100):
        with _made(tmp_path / str(call), verb) as harness:
            if _killed_at(call, harness, verb, monkeypatch):
                continue
        assert call > 3
        return
    raise AssertionError("never came to an end")


def _killed_at(call: int, harness: Harness, verb: str, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether it came to that call."""
    act = {"add": lambda: harness.add(FSTAB), "fix": harness.fix, "remove": lambda: harness.remove(FSTAB)}[verb]
    before = kept_texts(harness)
    killed = False
    for _ in interrupted(monkeypatch, call):
        try:
            act()
        except Killed:
            killed = True
    texts = kept_texts(harness)
    assert before - ({"old\n"} if verb == "fix" else set()) <= texts, f"{verb}, call {call}"
    with suppress(NotFoundError) if verb == "remove" else nullcontext():  # it may have been done but for its last word
        act()
    current = "old\n" if verb == "add" else "new\n"
    assert (harness.live / "etc/fstab").read_text() == current
    assert (harness.live / "etc/fstab").is_symlink() == (verb != "remove")
    assert (harness.live / "etc/local").exists() == (verb != "remove")
    assert harness.states() == ({} if verb == "remove" else {FSTAB: ("ok", "same")})
    made = [path for path in (harness.live / "etc/local", harness.base / "etc") if path.exists()]
    assert {path.stat().st_mode & 0o777 for path in made} == {0o710}
    assert not list(harness.live.parent.rglob(".gitstate.p*"))
    return killed


@contextmanager
def _made(place: Path, verb: str) -> Iterator[Harness]:
    live, base = place / "live", place / "base"
    (live / "etc").mkdir(parents=True)
    (live / "etc").chmod(0o710)
    base.mkdir()
    (live / "etc/fstab").write_text("old\n")
    with local.open_trees(live, base) as trees:
        harness = Harness(live, base, trees)
        if verb != "add":
            harness.add(FSTAB)
        if verb == "fix":
            harness.upgrade(FSTAB, "new\n")
        elif verb == "remove":
            (live / "etc/fstab").write_text("new\n")
        yield harness


def test_states_have_the_words_of_the_schema() -> None:
    assert [str(state) for state in State] == ["ok", "replaced", "missing", "dangling", "blocked"]
    assert [str(one) for one in Original] == ["same", "other", "template", "none", "blocked"]
