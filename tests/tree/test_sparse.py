"""Sparse files: holes aren't read, and a file that is nearly all hole doesn't cost its apparent size."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from gitstate.core import fs
from gitstate.core.monitor import SILENT
from gitstate.core.signature import Signature
from gitstate.store import Repository
from gitstate.tree import checkin
from tests.support import needs

pytestmark = needs("git")

MIB = 1 << 20
WHO = Signature("Tester <t@example.org>", 1_700_000_000)
HOLE = 40 * MIB


def sparse(path: Path, size: int, written: dict[int, bytes]) -> None:
    with open(path, "wb") as file:
        for offset, data in written.items():
            file.seek(offset)
            file.write(data)
        file.truncate(size)


@pytest.mark.parametrize("seed", range(6))
def test_pieces_are_the_file(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    size = chance.randrange(4 * MIB)
    places = [chance.randrange(size) for _ in range(seed)]
    sparse(tmp_path / "file", size, {place: chance.randbytes(chance.randrange(20_000)) for place in places})
    whole = (tmp_path / "file").read_bytes()
    with open(tmp_path / "file", "rb") as file:
        pieces = list(fs.pieces(file.fileno(), 100_000))
    assert b"".join(pieces) == whole
    assert all(0 < len(piece) <= 100_000 for piece in pieces)


def test_holes_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sparse(tmp_path / "file", HOLE, {10 * MIB: b"x"})
    read: list[int] = []
    real = os.pread

    def counting(descriptor: int, length: int, offset: int) -> bytes:
        read.append(length)
        return real(descriptor, length, offset)

    monkeypatch.setattr(os, "pread", counting)
    with open(tmp_path / "file", "rb") as file:
        assert sum(map(len, fs.pieces(file.fileno(), MIB))) == HOLE
    assert sum(read) <= MIB


class Live:
    """A live tree with a sparse file, its log of logins, and another file."""

    def __init__(self, place: Path) -> None:
        self.tree = place / "live"
        (self.tree / "etc/gitstate").mkdir(parents=True)
        sparse(self.tree / "lastlog", HOLE, {20 * MIB: b"somebody was here"})
        (self.tree / "other").write_text("other\n")
        self.repository = Repository.create(place / "r.git", live=self.tree)

    def check_in(self, *allow: checkin.Allowance) -> list[tuple[bytes, str]]:
        """What wasn't recorded."""
        request = checkin.Request(self.repository, self.tree, "m", WHO, WHO, allow=allow)
        return checkin.record(request, SILENT).status.findings.unrecorded

    def recorded(self) -> set[str]:
        names = self.repository.git("ls-tree", "-r", "--name-only", "main").decode().split()
        return {name for name in names if ".gitstate" not in name}


@pytest.fixture
def live(tmp_path: Path) -> Live:
    return Live(tmp_path)


def test_a_sparse_file_is_recorded_whole(live: Live) -> None:
    assert live.check_in() == []
    oid = live.repository.git("rev-parse", "main:lastlog").decode().strip()
    assert live.repository.git("hash-object", str(live.tree / "lastlog")).decode().strip() == oid


def test_too_large_holes_are_told_and_the_rest_is_recorded(live: Live) -> None:
    os.truncate(live.tree / "lastlog", 423 << 30)
    (named,) = live.check_in()
    assert named[0] == b"lastlog"
    assert "422 GiB" in named[1] or "423 GiB" in named[1]
    assert live.recorded() == {"other"}
    policy = live.tree / "etc/gitstate/policy.toml"
    policy.write_text('version = 1\n[record]\nskip = ["lastlog"]\n')
    assert live.check_in() == []
    os.truncate(live.tree / "lastlog", HOLE)
    policy.unlink()
    assert live.check_in() == []
    assert live.recorded() == {"lastlog", "other"}


def test_what_somebody_allows_is_recorded(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gitstate.tree.scan.content._MOST_HOLES", HOLE // 2)
    assert [path for path, _ in live.check_in()] == [b"lastlog"]
    assert live.check_in(checkin.Allowance(b"lastlog", "a disk of a virtual machine")) == []
    assert live.recorded() == {"lastlog", "other"}
