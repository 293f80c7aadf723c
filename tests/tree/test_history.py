"""log, show and diff on real repositories; plain git is the judge of everything that isn't metadata."""

from __future__ import annotations

import itertools
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from gitstate.core.entry import CAPABILITY, Kind, Meta
from gitstate.core.errors import GitstateError, NotFoundError, UsageError
from gitstate.core.signature import Signature
from gitstate.store import MAIN, Commit, Repository, Staging, Type
from gitstate.tree import history
from gitstate.tree.manifest import format_links
from tests.tree.test_change import Edits, Model, Node, Objects, edited

NET_RAW = ((CAPABILITY, b"\1\0\0\2\0\x20" + bytes(14)),)


class Staged(Objects):
    """Objects that go to a repository."""

    def __init__(self, staging: Staging) -> None:
        super().__init__()
        self.staging = staging

    def add(self, kind: Type, data: bytes) -> bytes:
        return self.staging.add(kind, data)


class History:
    """A repository in which snapshots are made of models."""

    def __init__(self, path: Path) -> None:
        self.repository = Repository.create(path)
        self.clock = itertools.count(1_700_000_000, 60)
        self.models: dict[str, Model] = {}
        self.tip: str | None = None

    def commit(
        self,
        message: str,
        edits: Edits,
        *,
        parents: list[str] | None = None,
        links: Iterable[Iterable[bytes]] = (),
    ) -> str:
        """A snapshot of the (first) parent's model after ``edits``; its id."""
        ids = parents if parents is not None else [self.tip] if self.tip else []
        root: Model = {b"": (Meta(Kind.DIRECTORY, 0o755, time=0), b"")}
        model = edited(self.models[ids[0]] if ids else root, edits)
        with self.repository.staging() as staging:
            objects = Staged(staging)
            objects.links = format_links(links)
            who = Signature("A <a@example.org>", next(self.clock))
            body = Commit(objects.store(model), [bytes.fromhex(oid) for oid in ids], who, who, message)
            new = staging.add(Type.COMMIT, body.encode())
            staging.publish([(MAIN, new, bytes.fromhex(self.tip) if self.tip else None)], message)
        self.tip = new.hex()
        self.models[self.tip] = model
        return self.tip

    def git(self, *arguments: str) -> str:
        """What plain git prints."""
        argv = ["git", f"--git-dir={self.repository.path}", *arguments]
        return subprocess.run(argv, capture_output=True, check=True).stdout.decode()

    def log(self, *arguments: str) -> str:
        return b"".join(history.log(self.repository, arguments)).decode()

    def subjects(self, *arguments: str) -> list[str]:
        return self.log("--format=%s", *arguments).splitlines()

    def show(self, *arguments: str) -> str:
        return b"".join(history.show(self.repository, arguments)).decode()

    def diff(self, *arguments: str, times: bool = False) -> str:
        return b"".join(history.compare(self.repository, arguments).lines(times=times)).decode()


@pytest.fixture
def repo(tmp_path: Path) -> History:
    return History(tmp_path / "desktop.git")


def file(content: str = "one\n", mode: int = 0o644, *, time: int = 0, gid: int = 0) -> Node:
    return Meta(Kind.FILE, mode, 0, gid, time), content.encode()


def with_capability(node: Node) -> Node:
    return node[0]._replace(xattrs=NET_RAW), node[1]


ZERO_DEVICE: Node = (Meta(Kind.CHARACTER, 0o666, time=0, device=(1, 5)), b"")
DIRECTORY: Node = (Meta(Kind.DIRECTORY, 0o755, time=0), b"")


@pytest.fixture
def sample(repo: History) -> History:
    """The history that most tests use."""
    repo.commit(
        "first",
        [
            (b"etc/fstab", file("/dev/sda1 /\n")),
            (b"etc/shadow", file("root:*\n", 0o644)),
            (b"usr/bin/ping", file("ELF\n", 0o755)),
        ],
    )
    repo.commit("scratch", [(b"etc/fstab", file("/dev/sda1 /\n/dev/sdb1 /scratch\n", time=10**9))])
    repo.commit(
        "tighten",
        [
            (b"etc/shadow", file("root:*\n", 0o600, gid=42)),
            (b"usr/bin/ping", with_capability(file("ELF\n", 0o755))),
            (b"dev/zero", ZERO_DEVICE),
        ],
    )
    repo.commit("touch", [(b"etc/fstab", file("/dev/sda1 /\n/dev/sdb1 /scratch\n", time=2 * 10**9))])
    repo.commit("chmod fstab", [(b"etc/fstab", file("/dev/sda1 /\n/dev/sdb1 /scratch\n", 0o600, time=2 * 10**9))])
    return repo


TIGHTENED = """\
metadata
A  dev/zero      char 1:5 mode 0666
M  etc/shadow    mode 0644 -> 0600, owner 0:0 -> 0:42
M  usr/bin/ping  +cap_net_raw=ep
"""

FSTAB = """\
diff --git a/etc/fstab b/etc/fstab
index 011924b..19e89ad 100644
--- a/etc/fstab
+++ b/etc/fstab
@@ -1 +1,2 @@
 /dev/sda1 /
+/dev/sdb1 /scratch
"""

# --- diff ---------------------------------------------------------------------------------------------------


def test_diff_tells_content_by_git_and_metadata_in_words(sample: History) -> None:
    assert sample.diff("main~4", "main~2") == FSTAB + "\n" + TIGHTENED


def test_diff_of_metadata_alone(sample: History) -> None:
    assert sample.diff("main~3..main~2") == TIGHTENED


def test_diff_backwards(sample: History) -> None:
    backwards = TIGHTENED.replace("A  dev", "D  dev").replace("0644 -> 0600", "0600 -> 0644")
    backwards = backwards.replace("0:0 -> 0:42", "0:42 -> 0:0").replace("+cap_net_raw=ep", "-cap_net_raw")
    assert sample.diff("main~2", "main~3") == sample.diff("-R", "main~3", "main~2") == backwards


def test_a_change_of_times_alone_prints_nothing(sample: History) -> None:
    assert sample.diff("main~2", "main~1") == ""
    times = "time 1970-01-01 00:00:01.000000000 -> 1970-01-01 00:00:02.000000000"
    assert sample.diff("main~2", "main~1", times=True) == f"metadata\nM  etc/fstab  {times}\n"


@pytest.mark.parametrize(
    ("arguments", "rows"),
    [
        (["main~4", "main~2", "--", "etc/shadow"], ["M  etc/shadow  mode 0644 -> 0600, owner 0:0 -> 0:42"]),
        (["main~4", "main~2", "--", "/usr"], ["M  usr/bin/ping  +cap_net_raw=ep"]),
        (["main~4", "main~2", "usr"], ["M  usr/bin/ping  +cap_net_raw=ep"]),
        (
            ["main~4", "main~2", "--", "u*ping", "dev/zero"],
            ["A  dev/zero      char 1:5 mode 0666", "M  usr/bin/ping  +cap_net_raw=ep"],
        ),
        (["main~4", "main~2", "--", ":!etc", ":(exclude)dev"], ["M  usr/bin/ping  +cap_net_raw=ep"]),
        (["main~4", "main~2", "--", "nowhere"], []),
        (["--name-only", "main~3", "main~2", "--", "usr"], ["M  usr/bin/ping  +cap_net_raw=ep"]),
        (["-z", "main~3", "main~2"], []),
        (["--raw", "main~3", "main~2"], []),
        (["-s", "main~3", "main~2"], []),
        (["--quiet", "main~3", "main~2"], []),
    ],
)
def test_diff_within_paths(sample: History, arguments: list[str], rows: list[str]) -> None:
    assert sample.diff(*arguments) == ("\n".join(["metadata", *rows, ""]) if rows else "")


def test_diff_stat(sample: History) -> None:
    assert sample.diff("--stat", "main~4", "main~2") == (
        " etc/fstab | 1 +\n 1 file changed, 1 insertion(+)\n\n" + TIGHTENED
    )


def test_diff_words_only_for_what_git_does_not_show(repo: History) -> None:
    repo.commit("first", [(b"old/dir/file", file()), (b"old/setuid", file(mode=0o4755)), (b"old/empty", DIRECTORY)])
    repo.commit(
        "second",
        [
            (b"old", None),
            (b"new/dir/file", file("two\n")),
            (b"new/setuid", file(mode=0o4755)),
            (b"new/empty", DIRECTORY),
            (b"new/odd", (Meta(Kind.DIRECTORY, 0o1777, time=0), b"")),
            (b"new/odd/file", file("three\n")),
        ],
    )
    assert repo.diff("--no-renames", "--name-status", "main~1", "main") == (
        "A\tnew/dir/file\nA\tnew/odd/file\nA\tnew/setuid\nD\told/dir/file\nD\told/setuid\n\n"
        "metadata\n"
        "A  new/empty   dir mode 0755\n"
        "A  new/odd     dir mode 1777\n"
        "A  new/setuid  mode 4755\n"
        "D  old/empty   dir mode 0755\n"
    )


def test_diff_of_types_and_of_the_root(repo: History) -> None:
    repo.commit("first", [(b"a", file("one\n"))])
    repo.commit("second", [(b"a", (Meta(Kind.FIFO, 0o600, time=0), b""))])
    model = repo.models[repo.tip or ""]
    model[b""] = (Meta(Kind.DIRECTORY, 0o700, time=0), b"")
    repo.commit("third", [])
    assert repo.diff("--name-status", "main~2", "main") == (
        "D\ta\n\nmetadata\nM  .  mode 0755 -> 0700\nT  a  type file -> fifo, mode 0644 -> 0600\n"
    )


def test_diff_of_hard_links(repo: History) -> None:
    repo.commit("first", [(b"a", file()), (b"b/c", file()), (b"d", file())])
    repo.commit("second", [], links=[[b"a", b"b/c"]])
    repo.commit("third", [], links=[[b"b/c", b"d"]])
    assert repo.diff("main~2", "main~1") == "metadata\nL  a + b/c  hard links joined\n"
    assert repo.diff("main~1", "main", "--", "d") == "metadata\nL  b/c + d  hard links joined\n"
    assert repo.subjects("--", "d") == ["third", "first"]
    assert repo.subjects("--", "a") == ["third", "second", "first"]


def test_diff_from_the_merge_base(sample: History) -> None:
    base, theirs = sample.git("rev-parse", "main~1").strip(), sample.tip
    sample.commit("beside", [(b"etc/motd", file())], parents=[base])
    assert theirs
    assert sample.diff(f"main...{theirs}") == sample.diff(base, theirs) == "metadata\nM  etc/fstab  mode 0644 -> 0600\n"
    assert sample.diff(f"{theirs}^!") == sample.diff(base, theirs)


def test_sides(sample: History) -> None:
    def tree(revision: str) -> bytes:
        revision += "" if ":" in revision else "^{tree}"
        return bytes.fromhex(sample.git("rev-parse", revision).strip())

    sample.git("-c", "user.name=a", "-c", "user.email=a@b", "tag", "-a", "-m", "x", "v1", "main~2")
    for arguments, expected in [
        ([], (tree("main"), None)),
        (["--", "etc"], (tree("main"), None)),
        (["--stat", "v1"], (tree("v1"), None)),
        (["v1", "main"], (tree("v1"), tree("main"))),
        (["v1..main"], (tree("v1"), tree("main"))),
        (["v1..", "--", "etc"], (tree("v1"), tree("main"))),
        (["main", "^v1"], (tree("v1"), tree("main"))),
        (["v1:etc", "main:etc"], (tree("v1:etc"), tree("main:etc"))),
    ]:
        found = history.compare(sample.repository, arguments)
        assert (found.old, found.new) == expected


@pytest.mark.parametrize(
    ("arguments", "kind", "said"),
    [
        (["main", "main~1", "main~2"], UsageError, "two revisions"),
        (["--cached"], UsageError, "--cached"),
        (["main:etc/fstab", "main~3:etc/fstab"], UsageError, "snapshots"),
        (["mian"], NotFoundError, "mian"),
        (["main", "--", ":(glob)etc/*"], UsageError, "glob"),
        (["main", "--", "../etc"], UsageError, "not a path inside a snapshot"),
        (["main", "main~1", "etc/nothing"], NotFoundError, "no path etc/nothing"),
        (["main~1", "main", "--no-such-flag"], UsageError, "no-such-flag"),
        (["main"], UsageError, "two revisions"),
    ],
)
def test_bad_arguments_of_diff(sample: History, arguments: list[str], kind: type[GitstateError], said: str) -> None:
    with pytest.raises(kind, match=re.escape(said)):
        sample.diff(*arguments)


def test_diff_with_objects_elsewhere(sample: History, tmp_path: Path) -> None:
    """What the live tree has that was never checked in."""
    tip = sample.tip or ""
    model = edited(sample.models[tip], [(b"etc/motd", file("hello\n")), (b"etc/fstab", file("none\n", 0o600))])
    objects = tmp_path / 'odd:"name'
    objects.mkdir()
    with sample.repository.staging() as staging:
        new = Staged(staging).store(model)
        staging.publish_to(objects)

    def against(*arguments: str) -> history.Comparison:
        return history.compare(sample.repository, arguments).with_new(new, objects)

    found = b"".join(against("--stat", "--", "etc").lines())
    assert found == (b" etc/fstab | 3 +--\n etc/motd  | 1 +\n 2 files changed, 2 insertions(+), 2 deletions(-)\n")
    changes = list(against().json())
    assert [(change["status"], change["path"], change["content"]) for change in changes] == [
        ("M", "etc/fstab", True),
        ("A", "etc/motd", True),
    ]
    assert against().differs()
    assert not against("--", "usr").differs()


def test_differs(sample: History) -> None:
    def differs(*arguments: str) -> bool:
        return history.compare(sample.repository, arguments).differs()

    assert differs("main~4", "main~3")
    assert differs("main~3", "main~2")
    assert not differs("main~3", "main~2", "--", "etc/fstab")
    assert not differs("main~2", "main~1")
    assert not differs("main", "main")


# --- show ---------------------------------------------------------------------------------------------------


def test_show_ends_with_metadata(sample: History) -> None:
    head = sample.git("show", "-s", "main~2")
    assert sample.show("main~2") == head + "\n" + TIGHTENED
    assert sample.show("main~3") == sample.git("show", "-s", "main~3") + "\n" + FSTAB
    assert sample.show() == sample.git("show", "-s") + "\nmetadata\nM  etc/fstab  mode 0644 -> 0600\n"
    assert sample.show("main~1") == sample.git("show", "-s", "main~1")
    assert sample.show("-s", "main~2") == head
    assert sample.show("main~2", "main~1") == sample.show("main~2") + "\n" + sample.show("main~1")
    assert sample.show("main~3..main~1") == sample.show("main~1") + "\n" + sample.show("main~2")


def test_show_within_paths(sample: History) -> None:
    head = sample.git("show", "-s", "--oneline", "main~2")
    found = sample.show("--oneline", "main~2", "--", "etc")
    assert found == head + "\nmetadata\nM  etc/shadow  mode 0644 -> 0600, owner 0:0 -> 0:42\n"
    assert sample.show("--oneline", "main~2", "--", "etc/fstab") == ""


def test_show_a_tag_a_file_and_a_directory(sample: History) -> None:
    sample.git("-c", "user.name=a", "-c", "user.email=a@b", "tag", "-a", "-m", "a tag", "v1", "main~2")
    assert sample.show("v1") == sample.git("show", "-s", "v1") + "\n" + TIGHTENED
    assert sample.show("HEAD~2") == sample.show("main~2")
    assert sample.show("main:etc/fstab") == "/dev/sda1 /\n/dev/sdb1 /scratch\n"
    assert sample.show("main:/etc/fstab") == sample.show("main:etc/fstab")
    assert "fstab\n" in sample.show("main:etc")


def merged(repo: History) -> None:
    first = repo.commit("first", [(b"a", file()), (b"b", file()), (b"c", file())])
    ours = repo.commit("ours", [(b"a", file(mode=0o600))])
    theirs = repo.commit("theirs", [(b"b", file(mode=0o600))], parents=[first])
    repo.commit("merge", [(b"b", file(mode=0o600)), (b"c", file(mode=0o640))], parents=[ours, theirs])


def test_a_merge_shows_what_differs_from_both_parents(repo: History) -> None:
    merged(repo)
    assert repo.show("--format=%s") == "merge\n\nmetadata\nM  c  mode 0644 -> 0640\n"
    assert repo.show("--format=%s", "-m").endswith("M  b  mode 0644 -> 0600\nM  c  mode 0644 -> 0640\n")
    assert repo.subjects("--", "c") == ["merge", "first"]
    assert repo.subjects("--", "b") == ["theirs", "first"]
    assert repo.subjects("--first-parent", "--", "b") == ["merge", "first"]
    assert repo.log("--format=%s", "-p", "-1") == "merge\n"
    assert "M  b  mode" in repo.log("--format=%s", "-p", "--first-parent", "-1")


# --- log ----------------------------------------------------------------------------------------------------


def test_log_is_gits_own(sample: History) -> None:
    for arguments in (
        [],
        ["--oneline"],
        ["-2"],
        ["-n", "2", "--skip", "1"],
        ["--graph", "--oneline"],
        ["--since", "2023-11-14 22:14:00", "main"],
        ["--author", "etc", "--all"],
        ["main~3..main"],
        ["--reverse", "--format=%h %s"],
    ):
        assert sample.log(*arguments) == sample.git("log", *arguments)


@pytest.mark.parametrize(
    ("arguments", "subjects"),
    [
        ([], ["chmod fstab", "touch", "tighten", "scratch", "first"]),
        (["--", "etc/fstab"], ["chmod fstab", "scratch", "first"]),
        (["--", "etc/shadow"], ["tighten", "first"]),
        (["--", "/usr/bin/ping"], ["tighten", "first"]),
        (["--", "usr/"], ["tighten", "first"]),
        (["--", "dev"], ["tighten"]),
        (["--", "dev/zero"], ["tighten"]),
        (["--", "*shad*"], ["tighten", "first"]),
        (["--", ".", ":!etc"], ["tighten", "first"]),
        (["--", ":!etc", ":!usr", ":!dev"], ["first"]),
        (["--", "nowhere"], []),
        (["etc/fstab"], ["chmod fstab", "scratch", "first"]),
        (["main~2", "etc/fstab"], ["scratch", "first"]),
        (["main~2", "--", "etc/fstab"], ["scratch", "first"]),
        (["-n", "1", "--", "etc/shadow"], ["tighten"]),
        (["-n1", "--", "etc/shadow"], ["tighten"]),
        (["-1", "--skip=1", "--", "etc/fstab"], ["scratch"]),
        (["--reverse", "-2", "--", "etc/fstab"], ["scratch", "chmod fstab"]),
        (["--max-count", "1", "--reverse", "etc/shadow"], ["tighten"]),
        (["--grep", "first", "--", "etc"], ["first"]),
        (["-S", "scratch"], ["scratch"]),
        (["-S", "mode"], []),
        (["-G", "scratch", "--", "etc"], ["scratch"]),
        (["--follow", "--", "etc/fstab"], ["scratch", "first"]),
        (["-L1,1:etc/fstab", "-s"], ["first"]),
        (["--all", "--not", "main~2", "--", "etc"], ["chmod fstab"]),
    ],
)
def test_log_lists_what_changed_content_or_record(sample: History, arguments: list[str], subjects: list[str]) -> None:
    assert sample.subjects(*arguments) == subjects


def test_log_of_paths_prints_as_git_does(sample: History) -> None:
    for shape in ([], ["--oneline"], ["--pretty=fuller"], ["--format=%h"], ["--pretty=format:%h %s"]):
        ids = sample.git("rev-list", "main~3").split()
        assert sample.log(*shape, "main~3", "--", "etc") == sample.git("log", *shape, "--no-walk=unsorted", *ids)


def test_log_of_many_commits_comes_in_batches(repo: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gitstate.tree.history.commits._BATCH", 7)
    for number in range(20):
        repo.commit(f"number {number}", [(b"etc/fstab", file(mode=0o600 + number % 8)), (b"n", file(str(number)))])
    for shape in ([], ["--oneline"], ["--pretty=format:%s"]):
        assert repo.log(*shape, "--", "etc/fstab") == repo.git("log", *shape)
    lines = history.log(repo.repository, ["-p"])
    assert next(line for line in lines if line)
    lines.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "arguments",
    [
        ["-p"],
        ["--stat"],
        ["-p", "--oneline"],
        ["--stat", "--format=%s"],
        ["-p", "-2", "--reverse"],
        ["--name-status", "--", "etc"],
        ["-u", "--pretty=fuller", "--", "etc/b", "usr"],
        ["-p", "--word-diff", "--author", "A"],
    ],
)
def test_where_no_metadata_changed_content_is_as_git_prints_it(repo: History, arguments: list[str]) -> None:
    repo.commit("first", [(b"etc/a", file()), (b"usr/b", file("b\n", 0o755)), (b"etc/b", file())])
    repo.commit("second", [(b"etc/a", file("two words\n", time=5)), (b"etc/b", file("two\n"))])
    repo.commit("third", [(b"etc/b", None), (b"usr/b", file("c\n", 0o755))])
    ours = [":(exclude,glob)**/.gitstate"]
    expected = repo.git("log", *arguments, *([] if "--" in arguments else ["--", "."]), *ours)
    assert repo.log(*arguments) == expected


def test_log_with_content_tells_metadata_after_each_commit(sample: History) -> None:
    assert sample.log("-p", "--format=%s") == (
        "chmod fstab\n\nmetadata\nM  etc/fstab  mode 0644 -> 0600\n\n"
        "touch\n"
        f"tighten\n\n{TIGHTENED}\n"
        f"scratch\n\n{FSTAB}" + sample.git("show", "--format=%s", "main~4", "--", ".", ":(exclude,glob)**/.gitstate")
    )
    assert sample.log("-p", "--oneline", "-1", "main~2", "--", "usr") == (
        sample.git("log", "--oneline", "-1", "main~2") + "\nmetadata\nM  usr/bin/ping  +cap_net_raw=ep\n"
    )
    assert ".gitstate" not in sample.log("-p", "--stat", "--summary")
    assert sample.log("-p", "-s", "--oneline") == sample.git("log", "--oneline")


def test_graph_with_paths_or_content_is_refused(sample: History) -> None:
    for arguments in (["--graph", "--", "etc"], ["--graph", "-p"]):
        with pytest.raises(UsageError, match="--graph"):
            sample.log(*arguments)


@pytest.mark.parametrize(
    ("arguments", "kind", "said"),
    [
        (["mian"], NotFoundError, "mian"),
        (["mian..main"], NotFoundError, "mian..main"),
        (["nothing", "--", "etc"], NotFoundError, "nothing"),
        (["etc/nothing"], NotFoundError, "etc/nothing"),
        (["etc", "main"], UsageError, "main"),
        (["etc", "main", "--", "usr"], NotFoundError, "etc"),
        (["--no-such-flag"], UsageError, "no-such-flag"),
        (["--no-such-flag", "main"], UsageError, "no-such-flag"),
        (["-n"], UsageError, "-n"),
        (["--since"], UsageError, "--since"),
        (["--date", "iso"], UsageError, "--date=VALUE"),
        (["--date", "main"], UsageError, "--date=VALUE"),
        (["--src-prefix"], UsageError, "--src-prefix=VALUE"),
        (["--glob", "v*"], UsageError, "--glob=VALUE"),
        (["-O", "main", "--", "etc"], UsageError, "-OVALUE"),
        (["--output", "file"], UsageError, "--output"),
        (["--output=file", "-p"], UsageError, "--output"),
        (["--", ":(icase)ETC"], UsageError, "icase"),
    ],
)
def test_bad_arguments_of_log(sample: History, arguments: list[str], kind: type[GitstateError], said: str) -> None:
    with pytest.raises(kind, match=re.escape(said)):
        sample.log(*arguments)


def test_nothing_checked_in(repo: History) -> None:
    for words in (repo.log, repo.show, repo.diff):
        with pytest.raises(NotFoundError, match="gitstate checkin"):
            words()


ODD = [b".git/config", b"GIT~1", b"[", b"a*b", b"-x", b":y", b"new\nline", b"\xff\xfe", b".gitstate", b"back\\slash"]


@pytest.mark.parametrize("name", ODD)
def test_real_names_are_understood(repo: History, name: bytes) -> None:
    path = b"srv/" + name
    repo.commit("first", [(other, file("first\n")) for other in (b"srv/plain", b"srv/axb")])
    repo.commit("come", [(path, file("come\n"))])
    repo.commit("else", [(b"srv/plain", file("else\n"))])
    repo.commit("chmod", [(path, file("come\n", 0o600))])
    repo.commit("time", [(path, file("come\n", 0o600, time=7))])
    repo.commit("go", [(path, None)])
    argument = path.decode(errors="surrogateescape")
    assert repo.subjects("--", f":(literal){argument}") == ["go", "chmod", "come"]
    assert repo.show(f"main~2:{argument}") == "come\n"
    assert "mode 0644 -> 0600\n" in repo.diff("main~3", "main~2", "--", argument)
    assert repo.diff("main~4", "main~3", "--", f":(literal){argument}") == ""


def test_colour(sample: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for words in (history.log, history.show):
        found = b"".join(words(sample.repository, ["-p", "-1", "main~2"], color=True))
        assert b"\x1b[33mcommit " in found
        assert b"\x1b[1mmetadata\x1b[m\n\x1b[32mA\x1b[m  dev/zero " in found
    found = b"".join(history.compare(sample.repository, ["--no-color", "main~4", "main~3"]).lines(color=True))
    assert found == FSTAB.encode()


# --- JSON ---------------------------------------------------------------------------------------------------


def test_log_as_json(sample: History) -> None:
    found = list(history.log_json(sample.repository, ["--oneline", "--", "etc", "usr", "dev"]))
    assert [(commit["subject"], commit["counts"]) for commit in found] == [
        ("chmod fstab", {"A": 0, "M": 1, "D": 0, "T": 0}),
        ("tighten", {"A": 2, "M": 2, "D": 0, "T": 0}),
        ("scratch", {"A": 0, "M": 1, "D": 0, "T": 0}),
        ("first", {"A": 6, "M": 0, "D": 0, "T": 0}),
    ]
    assert found[0]["id"] == sample.tip
    assert found[0]["parents"] == [sample.git("rev-parse", "main~1").strip()]
    assert found[0]["author"] == "A <a@example.org>"
    assert found[0]["when"] == "2023-11-14T22:17:20Z"


def test_show_as_json(sample: History) -> None:
    (found,) = history.show_json(sample.repository, ["main~2", "--", "usr"])
    assert found["subject"] == "tighten"
    assert [(change["path"], change["details"]) for change in found["changes"]] == [
        ("usr/bin/ping", ["+cap_net_raw=ep"])
    ]
    with pytest.raises(UsageError, match="not a commit"):
        list(history.show_json(sample.repository, ["main:etc/fstab"]))


def test_json_holds_the_links(repo: History) -> None:
    repo.commit("first", [(b"a", file()), (b"b", file())])
    repo.commit("second", [], links=[[b"a", b"b"]])
    (found,) = history.show_json(repo.repository, [])
    assert found["changes"] == [{"links": "joined", "parts": [["a"], ["b"]]}]
