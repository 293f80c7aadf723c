"""Manifests as other programs read them: NetBSD mtree and bsdtar."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gitstate.core.entry import KIND_BY_FORMAT, Entry, Kind, Meta
from gitstate.tree.manifest import MAX_ID, Content, format_directory, format_full
from tests.strategies import FILES, NAMES, OWNS, SECOND
from tests.support import needs, root_only

OWN: Final = Meta(Kind.DIRECTORY, 0o755, time=0)
USER: Final = (b"user.x", b"y")


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("manifest")


ODD_NAMES: Final = [
    *(b"a", b"d", b"*", b"?", b"[", b"[ad]", b"[!a]", b"a*", b"a?", b"ab", b"\\*b", b"back\\slash", b"back\\101"),
    *(b"%41", b"]", b"#x", b" x", b"x ", b"a\nb", b"\n", b"x=y", b"\xff\xfe", b"type=dir", b"...", b"..x", b"-rf"),
    *(b"\x01", b"~", b"$HOME", b"{a,d}", b"a:b", b"n" * 255, b"\n" * 60, "é".encode(), b"optional", b"\\"),
    *(b"\\134",),
]  # fmt: skip


def read(directory: Path) -> Iterator[tuple[bytes, Meta, Content]]:
    """A directory as `format_full` wants it, by plain system calls."""
    top = os.fsencode(directory)
    for base, subdirectories, files in os.walk(top):
        subdirectories.sort()
        links = [name for name in subdirectories if os.path.islink(os.path.join(base, name))]
        for path in [base, *(os.path.join(base, name) for name in sorted(files + links))]:
            status = os.lstat(path)
            kind = KIND_BY_FORMAT[stat.S_IFMT(status.st_mode)]
            device = (os.major(status.st_rdev), os.minor(status.st_rdev)) if status.st_rdev else None
            meta = Meta(kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns, device)
            if kind is Kind.FILE:
                data = Path(os.fsdecode(path)).read_bytes()
                content = Content(len(data), hashlib.sha256(data).hexdigest())
                meta = meta._replace(xattrs=(USER,))
            else:
                content = Content(target=os.readlink(path) if kind is Kind.SYMLINK else b"")
            yield os.path.relpath(path, top) if path != top else b"", meta, content


def mtree(manifest: str, directory: Path) -> str:
    """What NetBSD mtree says of the directory, and its exit code unless that is 0."""
    done = subprocess.run(["mtree", "-p", directory], input=manifest.encode(), capture_output=True, check=False)
    said = (done.stdout + done.stderr).decode(errors="backslashreplace")
    return said + (f"exit code {done.returncode}" if done.returncode else "")


def fill(top: Path) -> None:
    """Odd names, every type, times and owners at their limits, and a long target."""
    top.mkdir()
    for directory in (b"", b"odd *dir\n", b"odd *dir\n/[ad]"):
        place = os.path.join(os.fsencode(top), directory)
        os.makedirs(place, exist_ok=True)
        for name in ODD_NAMES:
            path = os.path.join(place, b"in-" + name if len(name) < 250 and directory else name)
            if not os.path.lexists(path):
                with open(path, "wb") as file:
                    file.write(name)
    os.symlink(b"tar get\n#*=\\\xff", top / "link")
    os.symlink(b"x" * 4000, top / "long-link")
    os.mkfifo(top / "fifo")
    os.mknod(top / "character", stat.S_IFCHR | 0o600, os.makedev(4, 64))
    os.mknod(top / "block", stat.S_IFBLK | 0o600, os.makedev(259, 2**20 - 1))
    os.mkdir(top / "sub")
    (top / "sub" / "file").write_bytes(b"content")
    os.chown(top / "fifo", MAX_ID, MAX_ID)
    for mode, name in ((0o7777, "*"), (0, "?"), (0o4755, "[")):
        os.chmod(top / name, mode)
    for seconds, name in ((-1, "a"), (-(2**31), "link"), (2**33, "fifo"), (0, "sub")):
        os.utime(top / name, ns=(seconds * SECOND + 1, seconds * SECOND + 1), follow_symlinks=False)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    fill(tmp_path / "tree")
    return tmp_path / "tree"


@needs("mtree")
@root_only
def test_mtree_finds_no_difference_to_a_full_manifest(tree: Path) -> None:
    manifest = "".join(format_full(read(tree), [[b"sub/file", b"a"]]))
    assert mtree(manifest, tree) == ""
    assert f" size=7 sha256={hashlib.sha256(b'content').hexdigest()}\n" in manifest
    assert manifest.splitlines()[:2] == ["#mtree", "#gitstate 1"]
    assert manifest.endswith("#gitstate-links ./a ./sub/file\n")
    assert "#gitstate ./\\052 xattr.user.x=eQ==\n" in manifest


SPOILERS: Final[dict[str, Callable[[Path], object]]] = {
    "content": lambda top: (top / "sub/file").write_bytes(b"CONTENT"),
    "size": lambda top: (top / "sub/file").write_bytes(b"content\n"),
    "mode": lambda top: os.chmod(top / "[ad]", 0o600),
    "setuid": lambda top: os.chmod(top / "[", 0o755),
    "uid": lambda top: os.chown(top / "sub/file", 1, -1),
    "gid": lambda top: os.chown(top / "fifo", -1, 1),
    "directory's mode": lambda top: os.chmod(top / "sub", 0o700),
    "directory's time": lambda top: os.utime(top / "sub", ns=(SECOND, SECOND)),
    "time": lambda top: os.utime(top / "a", ns=(0, 0)),
    "link's time": lambda top: os.utime(top / "link", ns=(0, 0), follow_symlinks=False),
    "target": lambda top: (os.unlink(top / "link"), os.symlink(b"tar get\n#*=\\\xfe", top / "link")),
    "long target": lambda top: (os.unlink(top / "long-link"), os.symlink(b"x" * 3999 + b"y", top / "long-link")),
    "device": lambda top: (os.unlink(top / "block"), os.mknod(top / "block", stat.S_IFBLK | 0o600, os.makedev(259, 1))),
    "type": lambda top: (os.unlink(top / "fifo"), os.mkdir(top / "fifo")),
    "missing": lambda top: os.unlink(top / "?"),
    "extra": lambda top: (top / "sub/extra").write_bytes(b""),
    "missing directory": lambda top: (os.unlink(top / "sub/file"), os.rmdir(top / "sub")),
}


@needs("mtree")
@root_only
@pytest.mark.parametrize("what", SPOILERS)
def test_mtree_finds_a_spoilt_tree(tree: Path, what: str) -> None:
    manifest = "".join(format_full(read(tree), []))
    times = {path: path.lstat().st_mtime_ns for path in [tree, *tree.rglob("*")]}
    SPOILERS[what](tree)
    for path, time in times.items() if "time" not in what else ():
        if os.path.lexists(path):
            os.utime(path, ns=(time, time), follow_symlinks=False)
    assert mtree(manifest, tree) != ""  # what is missing or extra is printed, but ends with exit code 0


@needs("mtree")
@settings(max_examples=40)
@given(
    names=st.lists(
        st.one_of(NAMES, st.text("ab*?[]\\!-", min_size=1, max_size=4).map(str.encode)),
        min_size=1,
        max_size=8,
        unique=True,
    )
)
@example(names=[b"*", b"?", b"a", b"[a]", b"[!a]", b"\\*", b"[", b"]"])
def test_mtree_tells_any_names_apart(workshop: Path, names: list[bytes]) -> None:
    top = workshop / "names"
    subprocess.run(["rm", "-rf", top], check=True)
    top.mkdir()
    for number, name in enumerate(names):
        with open(os.path.join(os.fsencode(top), name), "wb") as file:
            file.write(b"%d" % number)
    assert mtree("".join(format_full(read(top), [])), top) == ""


def bsdtar(*arguments: str, stdin: bytes) -> subprocess.CompletedProcess[bytes]:
    # Its output is the locale's: in C every byte of a name comes out by itself.
    command = ["env", "LC_ALL=C", "bsdtar", "--numeric-owner", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, check=False)


@needs("bsdtar")
@settings(max_examples=40)
@given(own=OWNS, files=FILES, root=st.booleans())
def test_bsdtar_lists_every_record(own: Meta, files: list[Entry], root: bool) -> None:
    """It knows neither oid nor xattr: it says so, lists all the same, and ends with 1."""
    done = bsdtar("-tvf", "-", stdin=format_directory(own, files, root=root))
    foreign = re.compile(rb"bsdtar: (Unrecognized key (oid|xattr\.\S*)=\S*|Error exit delayed from previous errors\.)")
    assert [line for line in done.stderr.splitlines() if not foreign.fullmatch(line)] == []
    assert done.returncode == int(any(entry.oid or entry.meta.xattrs for entry in files) or bool(own.xattrs))
    letters = {"file": "-", "dir": "d", "link": "l", "char": "c", "block": "b", "fifo": "p"}
    expected = [
        (
            stat.filemode({"file": stat.S_IFREG}.get(meta.kind.value, 0) | meta.mode)[1:],
            letters[meta.kind.value],
            str(meta.uid),
            str(meta.gid),
            f"{meta.device[0]},{meta.device[1]}" if meta.device else "0",
        )
        for meta in [own, *(entry.meta for entry in files)]
    ]
    listed = [line.decode("ascii").split() for line in done.stdout.splitlines()]
    assert [(words[0][1:], words[0][0], words[2], words[3], words[4]) for words in listed] == expected


@needs("bsdtar")
def test_bsdtar_reads_names_and_times() -> None:
    files = [
        Entry(b"#x=\\ y", Meta(Kind.FILE, 0o4711, 1, 2, -SECOND // 2)),
        Entry(b"far", Meta(Kind.FILE, 0o644, 0, 0, 2**34 * SECOND + 123456789)),
        Entry(b"long ago", Meta(Kind.FIFO, 0o644, 0, 0, -(2**34) * SECOND)),
    ]
    done = bsdtar("-tvf", "-", stdin=format_directory(OWN, files, root=True))
    assert done.stderr == b""
    words = [line.decode("ascii").split(maxsplit=8) for line in done.stdout.splitlines()]
    assert [(line[5:8], line[8]) for line in words] == [
        (["Jan", "1", "1970"], "."),
        (["Dec", "31", "1969"], "#x=\\\\ y"),
        (["May", "30", "2514"], "far"),
        (["Aug", "4", "1425"], "long ago"),
    ]


@needs("bsdtar")
@root_only
def test_bsdtar_makes_an_archive_of_a_full_manifest(tree: Path) -> None:
    manifest = "".join(format_full(read(tree), [])).encode()
    listed = bsdtar("-tf", "-", stdin=manifest)
    assert (listed.returncode, listed.stderr) == (0, b"")
    assert len(listed.stdout.splitlines()) == sum(1 for _ in read(tree))
