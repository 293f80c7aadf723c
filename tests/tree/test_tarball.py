"""Tarballs that aren't whole, where tar itself finds nothing wrong: nothing is made of them."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.gitstate_command import Site, make_site
from tests.support import needs, root_only

pytestmark = [root_only, needs("git", "tar")]

_BLOCK: Final = 512
_SIZES: Final = (0, 1, 700, 5000, 1024)
_BLOCKS: Final = [1 + -(-size // _BLOCK) for size in _SIZES]
_MEMBERS: Final = sum(_BLOCKS) * _BLOCK
"""Bytes of all members, without the archive's end."""
_BORDERS: Final = [sum(_BLOCKS[:count]) * _BLOCK for count in range(len(_SIZES))]


@pytest.fixture(scope="module")
def whole() -> bytes:
    """Five files, the last one all zeros; made by Python, so that tar isn't its own judge."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for number, size in enumerate(_SIZES):
            member = tarfile.TarInfo(f"file{number}")
            member.size = size
            archive.addfile(member, io.BytesIO(bytes(size) if number == 4 else b"x" * size))
    return stream.getvalue()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path / "site")


def created(site: Site, tmp_path: Path, content: bytes, code: int, name: str = "t.tar") -> str:
    """What is said when a prototype is made from ``content``. After a refusal nothing of it is there."""
    (tmp_path / name).write_bytes(content)
    said = site.run("prototype", "create", "one", "--from", str(tmp_path / name), code=code).stderr
    if code:
        assert said.startswith(f"gitstate: {tmp_path / name}: ")
        assert [path.name for part in ("live", "prototypes") for path in (site.path / part).iterdir()] == []
    return said


def packed(program: Sequence[str], content: bytes) -> bytes:
    return subprocess.run(program, input=content, capture_output=True, check=True).stdout


def test_cut_between_members(site: Site, tmp_path: Path, whole: bytes) -> None:
    for border in _BORDERS:
        said = created(site, tmp_path, whole[:border], 14)
        assert f"cut off after {border} bytes" in said
    created(site, tmp_path, whole[:_MEMBERS], 14)
    created(site, tmp_path, whole[: _MEMBERS + _BLOCK - 1], 14)


def test_cut_elsewhere(site: Site, tmp_path: Path, whole: bytes) -> None:
    for length in (1, _BLOCK - 1, _BORDERS[2] + 1, _BORDERS[3] + _BLOCK, _MEMBERS - 1):
        created(site, tmp_path, whole[:length], 14)


def test_cut_behind_its_end(site: Site, tmp_path: Path, whole: bytes) -> None:
    """All members are there: no padding is needed, and one block of zeros marks the end."""
    for number, length in enumerate((_MEMBERS + _BLOCK, _MEMBERS + 2 * _BLOCK, len(whole) - 1)):
        (tmp_path / "t.tar").write_bytes(whole[:length])
        site.run("prototype", "create", f"whole{number}", "--from", str(tmp_path / "t.tar"))
        made = site.path / f"live/whole{number}"
        assert {path.name: path.stat().st_size for path in made.iterdir()} == {
            f"file{number}": size for number, size in enumerate(_SIZES)
        }


@pytest.mark.parametrize("program", ["gzip", "zstd", "xz", "bzip2"])
@needs("gzip", "zstd", "xz", "bzip2")
def test_compressed_in_pieces_and_cut_between_two(site: Site, tmp_path: Path, whole: bytes, program: str) -> None:
    """Members of gzip, frames of zstd, streams of xz: to the program that unpacks them, fewer are as good."""
    pieces = [packed([program], whole[: _BORDERS[3]]), packed([program], whole[_BORDERS[3] :])]
    said = created(site, tmp_path, pieces[0], 14)
    assert f"cut off after {_BORDERS[3]} bytes" in said
    created(site, tmp_path, b"".join(pieces)[:-3], 14)
    created(site, tmp_path, b"".join(pieces), 0)
    assert len(list((site.path / "live/one").iterdir())) == len(_SIZES)


def test_zeros_in_place_of_a_header(site: Site, tmp_path: Path, whole: bytes) -> None:
    """tar takes them for the end, and leaves out the rest without a word."""
    for first, count in ((1, 1), (2, 2), (2, 7)):
        holed = bytearray(whole)
        start = _BORDERS[first]
        holed[start : start + count * _BLOCK] = bytes(count * _BLOCK)
        created(site, tmp_path, bytes(holed), 14)


def test_two_archives_in_one_file(site: Site, tmp_path: Path, whole: bytes) -> None:
    assert "goes on behind its end" in created(site, tmp_path, whole + whole, 14)
    assert "goes on behind its end" in created(site, tmp_path, whole + whole[:_BLOCK], 14)


def test_nothing_at_all(site: Site, tmp_path: Path) -> None:
    assert "cut off after 0 bytes" in created(site, tmp_path, b"", 14)
    with tarfile.open(tmp_path / "empty.tar", "w"):
        pass
    created(site, tmp_path, (tmp_path / "empty.tar").read_bytes(), 0)


def test_a_name_cannot_pass_for_a_mark(site: Site, tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("block 7: ** Block of NULs **\n"))
    created(site, tmp_path, stream.getvalue()[:_BLOCK], 14)


def test_more_complaints_than_a_pipe_holds(site: Site, tmp_path: Path) -> None:
    """tar warns of each time in the future; nobody waits for somebody who waits for him."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for number in range(1500):
            member = tarfile.TarInfo(f"{'long' * 20}{number}")
            member.mtime = 1 << 33
            archive.addfile(member)
    created(site, tmp_path, stream.getvalue(), 0)
