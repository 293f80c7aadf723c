"""Objects of several directories: the repository's own, alternates, a quarantine."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gitstate.core.errors import DamagedError
from gitstate.store.objects import Type
from gitstate.store.repository import Repository
from tests.testing.git import Git


def put(git: Git, content: bytes, *, packed: bool = False) -> bytes:
    oid = git("hash-object", "-w", "--stdin", stdin=content).strip()
    if packed:
        git("pack-objects", "-q", str(git.path / "objects/pack/pack"), stdin=oid + b"\n")
        git("prune-packed")
    return bytes.fromhex(oid.decode())


def lend(git: Git, *lines: bytes) -> None:
    info = git.path / "objects" / "info"
    info.mkdir(exist_ok=True)
    (info / "alternates").write_bytes(b"".join(line + b"\n" for line in lines))


@pytest.mark.parametrize("packed", [False, True], ids=["loose", "packed"])
@pytest.mark.parametrize(
    "line",
    [
        lambda path: os.fsencode(path),
        lambda path: b"../../" + os.fsencode(path.parent.name) + b"/objects",
        lambda path: b'# a comment\n\n"' + os.fsencode(path) + b'"',
    ],
    ids=["absolute", "relative", "quoted"],
)
def test_objects_of_alternates_are_read(tmp_path: Path, line: Callable[[Path], bytes], packed: bool) -> None:
    ours, theirs = Git.create(tmp_path / "ours.git"), Git.create(tmp_path / "the irs.git")
    oid = put(theirs, b"theirs", packed=packed)
    lend(ours, line(theirs.path / "objects"))
    assert ours("cat-file", "blob", oid.hex()) == b"theirs"
    repository = Repository(ours.path)
    assert repository.typed(oid) == (Type.BLOB, b"theirs")
    assert repository.size_of(oid) == 6
    assert repository.has_packed(oid) is packed


def test_alternates_of_alternates_are_read_and_a_circle_ends(tmp_path: Path) -> None:
    one, two, three = (Git.create(tmp_path / name) for name in ("one.git", "two.git", "three.git"))
    lend(one, b"../../two.git/objects")
    lend(two, b"../../three.git/objects", b"../../nowhere/objects")
    lend(three, b"../../one.git/objects")
    repository = Repository(one.path)
    assert repository.read(put(three, b"far")) == b"far"
    with pytest.raises(DamagedError) as caught:
        repository.read(bytes(20))
    assert bytes(20).hex() in caught.value.message


@pytest.mark.parametrize("packed", [False, True], ids=["loose", "packed"])
def test_a_further_directory_is_read_by_who_asked_for_it_alone(tmp_path: Path, packed: bool) -> None:
    ours, quarantine = Git.create(tmp_path / "ours.git"), Git.create(tmp_path / "quarantine.git")
    own, pushed = put(ours, b"own"), put(quarantine, b"pushed", packed=packed)
    repository = Repository(ours.path)
    wider = repository.including(quarantine.path / "objects")
    assert (wider.read(own), wider.read(pushed)) == (b"own", b"pushed")
    with pytest.raises(DamagedError):
        repository.read(pushed)
