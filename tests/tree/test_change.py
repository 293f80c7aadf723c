"""Changes between snapshots: the walk against a model, the words against getcap and getfacl."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitstate.core.entry import ACL_ACCESS, ACL_DEFAULT, CAPABILITY, Directory, Entry, Kind, Meta
from gitstate.core.names import LINKS, RECORDS, from_octal
from gitstate.store.objects import FILE, TreeItem, Type, format_tree, object_id, parse_tree
from gitstate.tree import snapshot
from gitstate.tree.change import (
    Added,
    Change,
    LinksChanged,
    Modified,
    Removed,
    as_json,
    compare,
    compare_links,
    details,
    metadata,
)
from gitstate.tree.manifest import UnreadableError, format_time
from tests.support import needs, root_only

# --- the walk, against a model: a dict of paths -------------------------------------------------------------

Node = tuple[Meta, bytes]
"""Metadata and content; a directory's content is empty."""

Model = dict[bytes, Node]


class Objects(dict[bytes, bytes]):
    """Objects in memory, counting which trees are read as directories."""

    def __init__(self) -> None:
        super().__init__()
        self.trees_read: list[bytes] = []
        self.links = b""

    def add(self, kind: Type, data: bytes) -> bytes:
        oid = object_id(kind, data)
        self[oid] = data
        return oid

    def directory(self, tree: bytes, path: bytes) -> Directory:
        self.trees_read.append(path)
        return snapshot.read_directory(self.__getitem__, tree, path)

    def pair(self, old: bytes, new: bytes, path: bytes) -> tuple[Directory, Directory]:
        return snapshot.read_different(self.__getitem__, old, new, path)

    def edited_by_git(self, tree: bytes, names: set[bytes], bare: bool) -> bytes:
        """The root with files of these names edited; ``bare``: git's entries without any record."""
        items = []
        for item in parse_tree(self[tree]):
            if item.name in names - {RECORDS} and item.mode == FILE:
                item = item._replace(oid=self.add(Type.BLOB, b"edited"))
            if not (bare and item.name == RECORDS):
                items.append(item)
        return self.add(Type.TREE, format_tree(items))

    def store(self, model: Model, path: bytes = b"") -> bytes:
        """The tree id of the directory of ``model`` at ``path``."""
        prefix = path + b"/" if path else b""
        names = sorted(
            key[len(prefix) :] for key in model if key and key.startswith(prefix) and b"/" not in key[len(prefix) :]
        )
        files, subdirectories = [], []
        for name in names:
            meta, content = model[prefix + name]
            if meta.kind is Kind.DIRECTORY:
                subdirectories.append((name, self.store(model, prefix + name)))
            else:
                in_git = meta.kind in (Kind.FILE, Kind.SYMLINK)
                files.append(Entry(name, meta, self.add(Type.BLOB, content) if in_git else b""))
        records, items = snapshot.make_directory(model[path][0], files, subdirectories, root=not path)
        items.append(TreeItem(FILE, RECORDS, self.add(Type.BLOB, records)))
        if self.links and not path:
            items.append(TreeItem(FILE, LINKS, self.add(Type.BLOB, self.links)))
        return self.add(Type.TREE, format_tree(items))


def expected(old: Model, new: Model) -> list[Change]:
    """What ``compare`` must say, from the models alone."""
    found: list[Change] = []
    for path in sorted(old.keys() | new.keys()):
        before, after = old.get(path), new.get(path)
        if before is None:
            assert after is not None
            found.append(Added(path, after[0]))
        elif after is None:
            found.append(Removed(path, before[0]))
        elif before != after:
            both_in_git = [node[0].kind in (Kind.FILE, Kind.SYMLINK) and node[1] for node in (before, after)]
            found.append(Modified(path, before[0], after[0], both_in_git[0] != both_in_git[1]))
    return found


NAMES = st.sampled_from([b"a", b"a-", b"a.b", b"a0", b"b", b"\xff", b".git", b"new\nline", b".gitstate", b"a b"])
TIMES = st.sampled_from([0, -1, 1_700_000_000_123_456_789])
XATTRS = st.sampled_from([(), ((b"user.a", b"1"),), ((b"user.a", b"2"), (b"user.b", b"\0"))])
OWNERS = st.sampled_from([0, 42, 2**32 - 2])
FILES = st.builds(
    lambda mode, uid, time, xattrs, content: (Meta(Kind.FILE, mode, uid, 0, time, None, xattrs), content),
    st.sampled_from([0o644, 0o4755, 0]),
    OWNERS,
    TIMES,
    XATTRS,
    st.sampled_from([b"one", b"two"]),
)
SYMLINKS = st.builds(
    lambda target, time: (Meta(Kind.SYMLINK, 0o777, time=time), target), st.sampled_from([b"a", b"one"]), TIMES
)
DEVICES = st.builds(
    lambda kind, minor: (Meta(kind, 0o600, time=0, device=(1, minor)), b""),
    st.sampled_from([Kind.CHARACTER, Kind.BLOCK]),
    st.integers(0, 1),
)
FIFOS = st.just((Meta(Kind.FIFO, 0o600, time=0), b""))
DIRECTORIES = st.builds(
    lambda mode, gid, time: (Meta(Kind.DIRECTORY, mode, 0, gid, time), b""),
    st.sampled_from([0o755, 0o1777]),
    OWNERS,
    st.one_of(st.none(), TIMES),
)
NODES = st.one_of(FILES, SYMLINKS, DEVICES, FIFOS, DIRECTORIES)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(b"/".join)
Edits = list[tuple[bytes, Node | None]]
EDITS = st.lists(st.tuples(PATHS, st.one_of(st.none(), NODES, NODES)), max_size=12)

EMPTY: Model = {b"": (Meta(Kind.DIRECTORY, 0o755, time=0), b"")}


def edited(model: Model, edits: Edits) -> Model:
    """``model`` after removing (None) or putting nodes, directories above made as needed."""
    result = dict(model)
    for path, node in edits:
        parts = path.split(b"/")
        keeps_content = node is not None and node[0].kind is Kind.DIRECTORY
        for place in range(1, len(parts)):
            above = b"/".join(parts[:place])
            if above not in result or result[above][0].kind is not Kind.DIRECTORY:
                result[above] = (Meta(Kind.DIRECTORY, 0o755, time=0), b"")
        if not keeps_content:
            for key in [key for key in result if key.startswith(path + b"/")]:
                del result[key]
        result.pop(path, None)
        if node is not None:
            result[path] = node
    return result


@given(EDITS, EDITS)
def test_random_edits_are_reported_exactly(first: Edits, second: Edits) -> None:
    old = edited(EMPTY, first)
    new = edited(old, second)
    objects = Objects()
    trees = objects.store(old), objects.store(new)
    assert list(compare(objects.directory, *trees)) == expected(old, new)
    assert list(compare(objects.directory, *trees, read_pair=objects.pair)) == expected(old, new)


@given(EDITS, EDITS, st.sets(NAMES, max_size=4), st.sets(NAMES, max_size=4), st.booleans())
def test_what_plain_git_edited_is_compared_alike(
    first: Edits, second: Edits, before: set[bytes], after: set[bytes], bare: bool
) -> None:
    """Files whose record isn't of their content, or who have none, take the time of their directory."""
    objects = Objects()
    model = edited(EMPTY, first)
    old = objects.edited_by_git(objects.store(model), before, bare)
    new = objects.edited_by_git(objects.store(edited(model, second)), after, bare)
    assert list(compare(objects.directory, old, new, read_pair=objects.pair)) == list(
        compare(objects.directory, old, new)
    )


@pytest.mark.parametrize("line", [b"a size=1", b"a mode=0644 oid=0123456", b"\\9 time=0.000000000", b"b/c", b". x"])
def test_a_damaged_record_of_one_side_is_named_with_its_line(line: bytes) -> None:
    objects = Objects()
    good = objects.store(edited(EMPTY, [(b"a", (Meta(Kind.FILE, 0o644, time=0), b"one"))]))
    text = objects[snapshot.split_tree(objects[good], b"").records or b""]
    bad = objects.add(
        Type.TREE, format_tree([TreeItem(FILE, RECORDS, objects.add(Type.BLOB, text + b"\n" + line + b"\n"))])
    )
    with pytest.raises(UnreadableError) as alone:
        objects.directory(bad, b"")
    with pytest.raises(UnreadableError) as pair:
        objects.pair(good, bad, b"")
    assert pair.value.message == alone.value.message


@given(EDITS)
def test_a_whole_tree_comes_and_goes(edits: Edits) -> None:
    model = edited(EMPTY, edits)
    objects = Objects()
    tree = objects.store(model)
    assert list(compare(objects.directory, None, tree)) == [Added(path, model[path][0]) for path in sorted(model)]
    assert list(compare(objects.directory, tree, None)) == [Removed(path, model[path][0]) for path in sorted(model)]
    assert list(compare(objects.directory, tree, tree)) == []
    assert list(compare(objects.directory, None, None)) == []


@given(EDITS, EDITS, PATHS)
def test_within_a_path_nothing_is_missed(first: Edits, second: Edits, path: bytes) -> None:
    old = edited(EMPTY, first)
    new = edited(old, second)
    objects = Objects()
    trees = objects.store(old), objects.store(new)

    def below(where: bytes) -> bool:
        return (where + b"/").startswith(path + b"/")

    within = compare(objects.directory, *trees, within=lambda where: below(where) or path.startswith(where + b"/"))
    wanted = [change for change in expected(old, new) if below(change.path)]
    assert [change for change in within if below(change.path)] == wanted


def test_equal_trees_are_not_read() -> None:
    old = edited(EMPTY, [(b"etc/fstab", (Meta(Kind.FILE, 0o644, time=0), b"one"))])
    for number in range(20):
        old = edited(old, [(b"usr/%d/file" % number, (Meta(Kind.FILE, 0o644, time=0), b"one"))])
    new = edited(old, [(b"etc/fstab", (Meta(Kind.FILE, 0o644, time=0), b"two"))])
    objects = Objects()
    trees = objects.store(old), objects.store(new)
    assert [change.path for change in compare(objects.directory, *trees)] == [b"etc/fstab"]
    assert objects.trees_read == [b"", b"", b"etc", b"etc"]


def test_depth_has_no_limit() -> None:
    depth = 3000
    objects = Objects()
    path, tree = b"/".join([b"d"] * depth), {}
    for content in (b"one", b"two"):
        leaf = Entry(b"leaf", Meta(Kind.FILE, 0o644, time=0), objects.add(Type.BLOB, content))
        files: list[Entry] = [leaf]
        below: list[tuple[bytes, bytes]] = []
        for level in range(depth, -1, -1):
            records, items = snapshot.make_directory(EMPTY[b""][0], files, below, root=level == 0)
            items.append(TreeItem(FILE, RECORDS, objects.add(Type.BLOB, records)))
            files, below = [], [(b"d", objects.add(Type.TREE, format_tree(items)))]
        tree[content] = below[0][1]
    (change,) = compare(objects.directory, tree[b"one"], tree[b"two"])
    assert change == Modified(path + b"/leaf", leaf.meta, leaf.meta, True)


# --- hard links ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ([], [], []),
        ([[b"a", b"b"]], [[b"b", b"a"]], []),
        ([], [[b"a", b"b"]], ["hard links joined: a + b"]),
        ([[b"b", b"a"]], [], ["hard links split: a | b"]),
        ([[b"a", b"b"]], [[b"a", b"b", b"c"]], ["hard links joined: a = b + c"]),
        ([[b"a", b"b", b"c"]], [[b"a", b"c"]], ["hard links split: a = c | b"]),
        ([[b"a", b"b"], [b"c", b"d"]], [[b"a", b"b", b"c", b"d"]], ["hard links joined: a = b + c = d"]),
        (
            [[b"a", b"b"], [b"c", b"d"]],
            [[b"a", b"c"], [b"b", b"d"]],
            [
                "hard links joined: a + c",
                "hard links joined: b + d",
                "hard links split: a | b",
                "hard links split: c | d",
            ],
        ),
        ([], [[b"x y", b"\xff"]], [r"hard links joined: x\040y + \377"]),
    ],
)
def test_links(old: list[list[bytes]], new: list[list[bytes]], said: list[str]) -> None:
    assert [str(links) for links in compare_links(old, new)] == said


@given(st.lists(st.integers(0, 3), min_size=8, max_size=8), st.lists(st.integers(0, 3), min_size=8, max_size=8))
def test_links_are_reported_both_ways(old: list[int], new: list[int]) -> None:
    """What is joined one way is split the other way, and nothing is said only if the groups are equal."""

    def groups(homes: list[int]) -> list[list[bytes]]:
        found = [[b"%d" % path for path, home in enumerate(homes) if home == group] for group in range(4)]
        return [group for group in found if len(group) > 1]

    there, back = compare_links(groups(old), groups(new)), compare_links(groups(new), groups(old))
    assert {(links.joined, links.parts) for links in there} == {(not links.joined, links.parts) for links in back}
    assert bool(there) == (sorted(groups(old)) != sorted(groups(new)))


# --- words --------------------------------------------------------------------------------------------------

PLAIN = Meta(Kind.FILE, 0o644, time=0)
NET_RAW = b"\1\0\0\2\0\x20" + bytes(14)


def modified(old: Meta, new: Meta, *, content: bool = False) -> Modified:
    return Modified(b"x", old, new, content)


def with_xattr(name: bytes, value: bytes, meta: Meta = PLAIN) -> Meta:
    return meta._replace(xattrs=((name, value),))


def capability(permitted: int, inheritable: int = 0, *, effective: bool = False, rootid: int | None = None) -> bytes:
    magic = (2 if rootid is None else 3) << 24 | effective
    low, high = 2**32 - 1, 32
    words = (permitted & low, inheritable & low, permitted >> high, inheritable >> high)
    return struct.pack("<5I", magic, *words) + (b"" if rootid is None else struct.pack("<I", rootid))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (PLAIN, PLAIN, []),
        (PLAIN, PLAIN._replace(mode=0o600), ["mode 0644 -> 0600"]),
        (PLAIN, PLAIN._replace(mode=0o4755), ["mode 0644 -> 4755"]),
        (PLAIN, PLAIN._replace(mode=0o600, gid=42), ["mode 0644 -> 0600", "owner 0:0 -> 0:42"]),
        (
            Meta(Kind.CHARACTER, 0o666, device=(1, 3)),
            Meta(Kind.CHARACTER, 0o666, device=(1, 5)),
            ["device 1:3 -> 1:5"],
        ),
        (
            Meta(Kind.CHARACTER, 0o666, device=(1, 3)),
            Meta(Kind.BLOCK, 0o666, device=(7, 0)),
            ["type char 1:3 -> block 7:0"],
        ),
        (PLAIN, Meta(Kind.SYMLINK, 0o777, time=0), ["type file -> link"]),
        (Meta(Kind.DIRECTORY, 0o755), Meta(Kind.FIFO, 0o644), ["type dir -> fifo", "mode 0755 -> 0644"]),
        (PLAIN, with_xattr(CAPABILITY, NET_RAW), ["+cap_net_raw=ep"]),
        (with_xattr(CAPABILITY, NET_RAW), PLAIN, ["-cap_net_raw"]),
        (
            with_xattr(CAPABILITY, capability(1 << 13, effective=True)),
            with_xattr(CAPABILITY, capability(1 << 12, effective=True)),
            ["+cap_net_admin=ep", "-cap_net_raw"],
        ),
        (
            with_xattr(CAPABILITY, capability(1 << 13, effective=True)),
            with_xattr(CAPABILITY, capability(1 << 13)),
            ["cap_net_raw=ep -> cap_net_raw=p"],
        ),
        (
            with_xattr(CAPABILITY, capability(1, rootid=1000)),
            with_xattr(CAPABILITY, capability(1, rootid=2000)),
            ["capability rootid 1000 -> 2000"],
        ),
        (
            with_xattr(CAPABILITY, capability(1)),
            with_xattr(CAPABILITY, capability(1, rootid=0)),
            [f"security.capability 0x{capability(1).hex()} -> 0x{capability(1, rootid=0).hex()}"],
        ),
        (PLAIN, with_xattr(CAPABILITY, b"\1\0\0\1\0\x20" + bytes(6)), ["+cap_net_raw=ep"]),
        (PLAIN, with_xattr(CAPABILITY, capability(1 << 40)), ["+cap_checkpoint_restore=p"]),
        (PLAIN, with_xattr(CAPABILITY, capability(1 << 41 | 1 << 63)), ["+41,63=p"]),
        (PLAIN, with_xattr(CAPABILITY, capability(1, 2)), ["+cap_dac_override=i cap_chown+p"]),
        (PLAIN, with_xattr(CAPABILITY, capability(2**41 - 1, effective=True)), ["+=ep"]),
        (with_xattr(CAPABILITY, capability(2**41 - 1)), PLAIN, ["-capabilities"]),
        (PLAIN, with_xattr(CAPABILITY, capability(0)), ["+="]),
        (PLAIN, with_xattr(CAPABILITY, b"\0\0\0\x09rest"), ["+security.capability 0x0000000972657374"]),
        (PLAIN, with_xattr(CAPABILITY, b""), ["+security.capability 0x"]),
        (PLAIN, with_xattr(ACL_ACCESS, b"\2\0\0\0torn"), ["+system.posix_acl_access 0x02000000746f726e"]),
        (PLAIN, with_xattr(b"user.comment", b"new"), ['+user.comment "new"']),
        (with_xattr(b"user.comment", b"old"), PLAIN, ["-user.comment"]),
        (
            with_xattr(b"user.comment", b"old"),
            with_xattr(b"user.comment", b"new"),
            ['user.comment "old" -> "new"'],
        ),
        (PLAIN, with_xattr(b"user.\xff", b'\xc3\xa4"\\'), [r'+user.\377 "ä\"\\"']),
        (PLAIN, with_xattr(b"user.escape", b"\x1b[2J"), ["+user.escape 0sG1sySg=="]),
        (PLAIN, with_xattr(b"user.binary", bytes(range(250, 256))), ["+user.binary 0s+vv8/f7/"]),
        (PLAIN, with_xattr(b"user.long", b"x" * 500), [f'+user.long "{"x" * 59}…"']),
        (PLAIN, with_xattr(b"security.selinux", b"a_u:b_r\0"), ['+security.selinux "a_u:b_r"']),
    ],
)
def test_words(old: Meta, new: Meta, words: list[str]) -> None:
    assert metadata(modified(old, new)) == words
    assert details(modified(old, new, content=True)) == [*words, "content"]


@pytest.mark.parametrize(
    ("meta", "words"),
    [
        (PLAIN, []),
        (PLAIN._replace(mode=0o755), []),
        (PLAIN._replace(mode=0o4755, gid=5), ["mode 4755", "owner 0:5"]),
        (Meta(Kind.SYMLINK, 0o777), []),
        (Meta(Kind.SYMLINK, 0o777, uid=7), ["owner 7:0"]),
        (Meta(Kind.DIRECTORY, 0o755), ["dir mode 0755"]),
        (Meta(Kind.CHARACTER, 0o666, device=(1, 5)), ["char 1:5 mode 0666"]),
        (Meta(Kind.FIFO, 0o600), ["fifo mode 0600"]),
        (with_xattr(CAPABILITY, NET_RAW), ["+cap_net_raw=ep"]),
    ],
)
def test_looks_of_what_came_or_went(meta: Meta, words: list[str]) -> None:
    assert details(Added(b"x", meta)) == details(Removed(b"x", meta)) == words


@pytest.mark.parametrize(
    ("time", "said"),
    [
        (0, "1970-01-01 00:00:00.000000000"),
        (-1, "1969-12-31 23:59:59.999999999"),
        (2**33 * 10**9 + 5, "2242-03-16 12:56:32.000000005"),
        (10**21, "1000000000000.000000000"),
        (None, "none"),
    ],
)
def test_times_are_told_where_asked_for(time: int | None, said: str) -> None:
    change = modified(PLAIN._replace(time=86400 * 10**9), PLAIN._replace(time=time))
    assert change.is_time_only
    assert details(change) == []
    assert details(change, times=True) == [f"time 1970-01-02 00:00:00.000000000 -> {said}"]


@pytest.mark.parametrize(
    "change",
    [
        modified(PLAIN, PLAIN._replace(time=1), content=True),
        modified(PLAIN, PLAIN._replace(time=1, uid=1)),
        Added(b"x", PLAIN),
        Removed(b"x", PLAIN),
    ],
)
def test_more_than_time_is_no_change_of_time_alone(change: Change) -> None:
    assert not change.is_time_only


def test_letters() -> None:
    changes: list[Change] = [Added(b"x", PLAIN), Removed(b"x", PLAIN), modified(PLAIN, PLAIN)]
    letters = [change.letter for change in [*changes, modified(PLAIN, Meta(Kind.FIFO, 0o600))]]
    assert letters == ["A", "D", "M", "T"]


# --- the judges of the words --------------------------------------------------------------------------------


def said_by(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@root_only
@needs("getcap", "setcap")
@pytest.mark.parametrize(
    "asked",
    [
        "cap_net_raw=ep",
        "cap_net_raw,cap_net_admin=ep",
        "cap_chown,cap_checkpoint_restore,cap_bpf=eip",
        "cap_setuid=p",
        "cap_setuid=i",
        "cap_setuid=p cap_setgid=i",
        "cap_setuid=ip cap_setgid=i cap_chown=p",
        "=ep",
        "=p",
    ],
)
def test_getcap_says_the_same(tmp_path: Path, asked: str) -> None:
    file = tmp_path / "file"
    file.touch()
    subprocess.run(["setcap", asked, file], check=True)
    judge_capability(file)


@root_only
@needs("getcap", "setcap")
def test_getcap_says_the_same_of_a_namespace(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    subprocess.run(["setcap", "-n", "1000", "cap_net_raw=ep", file], check=True)
    assert judge_capability(file) == "cap_net_raw=ep [rootid=1000]"


@root_only
@needs("getcap")
@pytest.mark.parametrize("number", range(41))
def test_getcap_gives_every_capability_the_same_name(tmp_path: Path, number: int) -> None:
    file = tmp_path / "file"
    file.touch()
    os.setxattr(file, CAPABILITY, capability(1 << number))
    judge_capability(file)


def judge_capability(file: Path) -> str:
    spoken = said_by("getcap", "-n", file).removeprefix(f"{file} ").strip()
    assert metadata(Added(b"x", with_xattr(CAPABILITY, os.getxattr(file, CAPABILITY)))) == [f"+{spoken}"]
    return spoken


ACLS = ["u:1000:rw", "g:50:r,u:7:---", "u:1000:rwx,m::r", "u:4294967294:x,g:0:w"]


@needs("getfacl", "setfacl")
@pytest.mark.parametrize("acl", ACLS)
def test_getfacl_says_the_same(tmp_path: Path, acl: str) -> None:
    file = tmp_path / "file"
    file.touch(mode=0o640)
    subprocess.run(["setfacl", "-m", acl, file], check=True)
    spoken = getfacl(file)
    added = metadata(Added(b"x", with_xattr(ACL_ACCESS, os.getxattr(file, ACL_ACCESS))))
    assert added == [f"+acl {line}" for line in spoken if not line.startswith(("user::", "other::"))]


@needs("getfacl", "setfacl")
@pytest.mark.parametrize("acl", ACLS)
def test_getfacl_says_the_same_of_default_acls(tmp_path: Path, acl: str) -> None:
    subprocess.run(["setfacl", "-d", "-m", acl, tmp_path], check=True)
    found = with_xattr(ACL_DEFAULT, os.getxattr(tmp_path, ACL_DEFAULT), Meta(Kind.DIRECTORY, 0o755))
    spoken = [line for line in getfacl(tmp_path) if line.startswith("default:")]
    assert metadata(Added(b"x", found)) == ["dir mode 0755", *(f"+acl {line}" for line in spoken)]


@needs("setfacl")
def test_one_acl_entry_among_others(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch(mode=0o640)
    metas = []
    for arguments in (["-m", "u:1000:r,u:7:r"], ["-m", "u:1000:rw"], ["-x", "u:7"]):
        subprocess.run(["setfacl", *arguments, file], check=True)
        metas.append(with_xattr(ACL_ACCESS, os.getxattr(file, ACL_ACCESS)))
    first, second, third = metas
    assert metadata(modified(first, second)) == ["acl user:1000:r-- -> rw-", "acl mask::r-- -> rw-"]
    assert metadata(modified(second, third)) == ["-acl user:7:r--"]
    assert metadata(modified(third, PLAIN)) == ["-acl user:1000:rw-", "-acl group::r--", "-acl mask::rw-"]


def getfacl(path: Path) -> list[str]:
    """The entries without the comments on what the mask leaves of them."""
    lines = said_by("getfacl", "-n", "-c", "-E", "-p", path).splitlines()
    return [line for line in lines if line]


# --- JSON ---------------------------------------------------------------------------------------------------


def test_json_of_a_modified_entry() -> None:
    old = Meta(Kind.CHARACTER, 0o600, 1, 2, -1, (1, 5), ((b"user.x y", b"\xff"),))
    found = as_json(Modified(b"dev/z \xff", old, PLAIN, True))
    assert found == {
        "status": "T",
        "path": r"dev/z\040\377",
        "old": {
            "type": "char",
            "mode": "0600",
            "uid": 1,
            "gid": 2,
            "time": format_time(-1),
            "device": [1, 5],
            "xattrs": {r"user.x\040y": "/w=="},
        },
        "new": {
            "type": "file",
            "mode": "0644",
            "uid": 0,
            "gid": 0,
            "time": "0.000000000",
            "device": None,
            "xattrs": {},
        },
        "content": True,
        "details": details(Modified(b"x", old, PLAIN, True), times=True),
    }
    assert from_octal(found["path"].encode()) == b"dev/z \xff"


def test_json_of_the_rest() -> None:
    added, removed = as_json(Added(b"", PLAIN)), as_json(Removed(b"x", PLAIN))
    assert (added["path"], added["status"], added["old"], bool(added["new"])) == (".", "A", None, True)
    assert (removed["status"], bool(removed["old"]), removed["new"]) == ("D", True, None)
    links = LinksChanged(True, ((b"a", b"b"), (b"c d",)))
    assert as_json(links) == {"links": "joined", "parts": [["a", "b"], [r"c\040d"]]}
