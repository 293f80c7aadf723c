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


def test_an_index_of_version_1_is_made_anew(tmp_path: Path) -> None:
    git = Git.create(tmp_path / "r.git", ["pack.indexVersion=1"])
    oids = [put(git, content, packed=True) for content in (b"one", b"two")]
    indexes = sorted((git.path / "objects/pack").glob("*.idx"))
    assert [index.read_bytes()[:4] == b"\xfftOc" for index in indexes] == [False, False]
    repository = Repository(git.path)
    assert [repository.read(oid) for oid in oids] == [b"one", b"two"]
    assert sorted((git.path / "objects/pack").glob("*.idx")) == indexes
    assert all(index.read_bytes().startswith(b"\xfftOc\0\0\0\2") for index in indexes)
    assert not list((git.path / "objects/pack").glob("tmp_*"))
    git("verify-pack", *map(str, indexes))


@pytest.mark.parametrize("place", [0, 1030, -30, -1], ids=["fan-out", "entry", "pack's checksum", "checksum"])
def test_a_damaged_index_of_version_1_is_damage(tmp_path: Path, place: int) -> None:
    git = Git.create(tmp_path / "r.git", ["pack.indexVersion=1"])
    oid = put(git, b"one", packed=True)
    (index,) = (git.path / "objects/pack").glob("*.idx")
    data = bytearray(index.read_bytes())
    data[place] ^= 1
    index.chmod(0o600)
    index.write_bytes(data)
    with pytest.raises(DamagedError):
        Repository(git.path).read(oid)
    assert index.read_bytes() == data
