"""The NFS test servers: what a client reads is what stands on disk, and nothing is left behind."""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import nfs
from tests.lab.nfs_reader import CHUNK, Seen, Tree
from tests.support import needs, root_only
from tests.testing import hostile

pytestmark = [pytest.mark.lab, root_only, needs("ganesha.nfsd", "nfs-ls", "git", "setfacl", "setcap")]

TYPES = {0o10: "file", 0o4: "dir", 0o12: "link", 0o1: "fifo", 0o2: "char", 0o6: "block", 0o14: "socket"}


@pytest.fixture
def export(tmp_path: Path) -> Iterator[Path]:
    """An empty directory to be served, deleted whatever is in it."""
    directory = tmp_path / "export with a space"
    directory.mkdir()
    yield directory
    hostile.remove(directory)


def on_disk(root: Path) -> Tree:
    """What a client should see, by system calls."""
    tree: Tree = {}
    waiting = [b""]
    while waiting:
        path = waiting.pop()
        place = os.path.join(os.fsencode(root), path) if path else os.fsencode(root)
        tree[path] = look(place)
        if tree[path].type == "dir":
            waiting += [os.path.join(path, name) for name in os.listdir(place)]
    return tree


def look(place: bytes) -> Seen:
    """One entry on disk."""
    found = os.lstat(place)
    content: str | bytes = ""
    if stat.S_ISREG(found.st_mode):
        with open(place, "rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    elif stat.S_ISLNK(found.st_mode):
        content = os.readlink(place)
    return Seen(
        type=TYPES[stat.S_IFMT(found.st_mode) >> 12],
        mode=stat.S_IMODE(found.st_mode),
        uid=found.st_uid,
        gid=found.st_gid,
        size=found.st_size,
        content=content,
        mtime_ns=found.st_mtime_ns,
    )


def differences(root: Path, seen: Tree) -> list[str]:
    """Entry by entry, so that a failure is readable."""
    expected = on_disk(root)
    return [
        f"{path!r}: on disk {expected.get(path)}, by NFS {seen.get(path)}"
        for path in sorted(expected.keys() | seen.keys())
        if expected.get(path) != seen.get(path)
    ]


def test_a_small_tree_is_read_byte_for_byte(export: Path) -> None:
    (export / "directory").mkdir(mode=0o2750)
    (export / "directory/large").write_bytes(os.urandom(3 * CHUNK + 17))
    (export / "closed").write_bytes(b"root reads it\n")
    (export / "closed").chmod(0)
    os.chown(export / "closed", 2**32 - 2, 65534)
    (export / "setuid").touch()
    (export / "setuid").chmod(0o4711)
    (export / "not utf-8 \udcff").symlink_to(b"\xfe\xff".decode(errors="surrogateescape"))
    os.utime(export / "setuid", ns=(0, -1_500_000_001))
    with nfs.nfs_server(export) as server:
        seen = server.read_tree()
        assert differences(export, seen) == []
        assert server.read_tree(b"directory").keys() == {b"", b"large"}
    assert seen[b"setuid"].mode == 0o4711
    assert seen[b"setuid"].mtime_ns == -1_500_000_001


def test_a_hostile_tree_is_read_byte_for_byte(export: Path) -> None:
    hostile.build(export, wide=3000)
    for referral in export.glob("modes/*-1644"):
        referral.chmod(0o1744)
    with nfs.nfs_server(export) as server:
        assert differences(export, server.read_tree()) == []


def test_ganesha_takes_a_sticky_directory_without_x_for_a_referral(export: Path) -> None:
    """Not to be read by any client, and nothing beside it either: a limit of the server, held here to be known."""
    (export / "referral").mkdir()
    (export / "referral").chmod(0o1644)
    with nfs.nfs_server(export) as server, pytest.raises(RuntimeError, match="NFS4ERR_MOVED"):
        server.read_tree()


def test_edits_are_seen_at_once(export: Path) -> None:
    (export / "file").write_bytes(b"before")
    with nfs.nfs_server(export) as server:
        before = server.read_tree()[b"file"]
        (export / "file").write_bytes(b"after")
        after = server.read_tree()[b"file"]
    assert before.content != after.content
    assert after.size == 5


def test_programs_of_libnfs_reach_it(export: Path) -> None:
    (export / "file").write_bytes(b"content")
    with nfs.nfs_server(export, pseudo="/elsewhere") as server:
        server_, rest = server.url.split("?", 1)
        listed = subprocess.run(["nfs-ls", server.url], check=True, capture_output=True, text=True).stdout
        shown = subprocess.run(["nfs-cat", f"{server_}/file?{rest}"], check=True, capture_output=True).stdout
    assert "file" in listed
    assert shown == b"content"


def test_nothing_can_be_written_unless_asked_for(export: Path) -> None:
    (export / "file").write_bytes(b"content")
    for read_only in (True, False):
        with nfs.nfs_server(export, read_only=read_only) as server:
            place, rest = server.url.split("?", 1)
            done = subprocess.run(["nfs-cp", "/etc/hostname", f"{place}/new?{rest}"], capture_output=True, check=False)
        assert (export / "new").exists() is not read_only, done


def test_two_servers_stand_side_by_side_and_leave_nothing(export: Path, tmp_path: Path) -> None:
    (export / "one").touch()
    other = tmp_path / "other"
    other.mkdir()
    (other / "two").touch()
    with nfs.nfs_server(export) as first, nfs.nfs_server(other) as second:
        assert set(first.read_tree()) == {b"", b"one"}
        assert set(second.read_tree()) == {b"", b"two"}
    for server in (first, second):
        assert server.process.returncode is not None
        assert not server.log.parent.exists()
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", server.port)) != 0


def test_a_server_that_does_not_start_says_why(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setattr(nfs, "_free_port", lambda: taken.getsockname()[1])
        with pytest.raises(RuntimeError, match=r"(?s)ganesha.nfsd .*bind"), nfs.nfs_server(export):
            pass


def test_what_cannot_be_exported_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path / 'quo"te'):
        with pytest.raises(ValueError, match="cannot export"), nfs.nfs_server(path):
            pass


def test_an_unreadable_export_is_an_error_with_a_reason(export: Path) -> None:
    with nfs.nfs_server(export) as server, pytest.raises(RuntimeError, match="cannot read"):
        server.read_tree(b"no such directory")
