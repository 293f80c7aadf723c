"""gc: few packs, each object compressed well once, nothing dropped that somebody may need."""

from __future__ import annotations

import os
import random
import subprocess
import time
from pathlib import Path
from typing import Final

import pytest

from gitstate.core.errors import LockedError
from gitstate.store import repack
from gitstate.store.objects import Type, object_id
from gitstate.store.repository import MAIN, Repository
from tests.store.harness import commit, stage
from tests.support import needs

pytestmark = needs("git")

WEEKS: Final = 7 * 24 * 3600
SENTENCES: Final = [b"%d sheep are counted, and %d are left. " % (number, number * 7) for number in range(3000)]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.create(tmp_path / "desktop.git")


def collect(repository: Repository, *, aggressive: bool = False) -> repack.Size:
    with repository.lock("gc"):
        return repack.apply(repository, repack.plan(repository, aggressive=aggressive))


def packs(repository: Repository) -> dict[str, int]:
    """Names and inodes: what is written again has another."""
    return {path.name: path.stat().st_ino for path in (repository.path / "objects/pack").glob("*.pack")}


def text(seed: int, size: int) -> bytes:
    """Something that deflates well, the better the harder one tries."""
    chance = random.Random(seed)
    return b"".join(chance.choices(SENTENCES, k=size // 40))


def noise(seed: int, size: int = 100_000) -> bytes:
    return random.Random(seed).randbytes(size)


def add(repository: Repository, seed: int, size: int = 100_000) -> bytes:
    """A snapshot with a new file that doesn't shrink."""
    return commit(repository, {"noise": noise(seed, size)})


def unreachable(repository: Repository, data: bytes) -> bytes:
    """What a check-in leaves that was killed before its ref moved: a pack that nothing names."""
    with repository.staging() as staging:
        stage(staging, {"lost": data})
        staging.publish([], "killed")
    return object_id(Type.BLOB, data)


def age(repository: Repository, weeks: int) -> None:
    """As if nothing had been written for so long."""
    then = time.time() - weeks * WEEKS
    for path in (repository.path / "objects").rglob("*"):
        os.utime(path, (then, then))


def has(repository: Repository, oid: bytes) -> bool:
    command = ["git", f"--git-dir={repository.path}", "cat-file", "-e", oid.hex()]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def sound(repository: Repository) -> None:
    """git finds nothing wrong, and an old reader as well as a new one reads every snapshot."""
    assert repository.fsck() == []
    for reader in (repository, Repository.open(repository.path, "desktop")):
        for oid in reader.first_parents(reader.ref(MAIN) or b"", 1000):
            for item in reader.tree(reader.snapshot(oid).tree):
                assert object_id(Type.BLOB, reader.read(item.oid)) == item.oid


def test_garbage_is_collected_and_history_kept(repository: Repository) -> None:
    commits = [commit(repository, {"a": b"%d" % number * 1000}) for number in range(5)]
    assert len(packs(repository)) == 5
    assert collect(repository).packs == len(packs(repository)) == 1
    sound(repository)
    assert list(repository.first_parents(commits[-1], 10)) == commits[::-1]


def test_nothing_to_collect(repository: Repository) -> None:
    assert collect(repository).packs == 0
    sound_size = repository.size()
    assert repack.plan(repository) == repack.Plan(sound_size, 0, 0, False)


def test_what_was_compressed_is_left_alone(repository: Repository) -> None:
    """The large pack of the first night isn't written again for the small ones of the nights after it."""
    add(repository, 1, 3_000_000)
    assert repack.plan(repository).fresh == 1
    collect(repository)
    (first,) = packs(repository).items()
    assert repack.plan(repository).fresh == 0
    collect(repository)
    assert packs(repository) == dict([first])
    for night in range(5):
        add(repository, 10 + night, 50_000)
        assert repack.plan(repository).fresh == 1
        collect(repository)
        assert first in packs(repository).items()
        assert len(packs(repository)) <= 3
    sound(repository)


def test_packs_are_joined_when_the_small_ones_have_grown(repository: Repository) -> None:
    add(repository, 1, 500_000)
    collect(repository)
    counts = []
    for night in range(30):
        add(repository, 10 + night, 50_000)
        counts.append(collect(repository).packs)
    assert max(counts) <= 4
    assert 1 in counts[:10]
    sound(repository)


def test_a_compressed_pack_is_smaller(repository: Repository) -> None:
    commit(repository, {name: text(seed, 300_000) for seed, name in enumerate("abc")})
    before = repository.size()
    assert collect(repository).size < 0.95 * before


def test_the_level_is_not_the_users(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else every gc would compress all of it again."""
    repository.configure("core.compression", "0")
    commit(repository, {"a": text(1, 300_000)})
    collect(repository)
    assert repack.plan(repository).fresh == 0
    assert repository.size() < 200_000


def test_deltas_between_snapshots(repository: Repository) -> None:
    content = noise(1, 1_000_000)
    for number in range(4):
        commit(repository, {"a": content[: 1000 * number] + b"edit" + content[1000 * number :]})
    assert collect(repository).size < 1_200_000
    commit(repository, {"a": content[:77] + content})
    assert collect(repository).size < 2_300_000
    sound(repository)
    assert collect(repository, aggressive=True).size < 1_200_000
    sound(repository)


def test_large_files_end_in_few_packs(repository: Repository) -> None:
    """A check-in streams each into a pack of its own."""
    large = [noise(seed, 40 << 20) for seed in (1, 2)]
    with repository.staging() as staging:
        for data in large:
            pieces = iter([data, b""])
            staging.stream(len(data), lambda pieces=pieces: next(pieces), lambda oid: False)
        made = stage(staging, dict(zip("ab", large, strict=True)))
        staging.publish([(MAIN, made, None)], "test")
    assert len(packs(repository)) == 3
    collect(repository)
    assert len(packs(repository)) == 1
    sound(repository)


def test_loose_objects_are_packed(repository: Repository) -> None:
    add(repository, 1)
    collect(repository)
    git = ["git", f"--git-dir={repository.path}", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    words = ["commit-tree", "-p", "main", "-m", "m", "main^{tree}"]
    made = subprocess.run([*git, *words], capture_output=True, check=True).stdout.decode().strip()
    subprocess.run([*git, "update-ref", "refs/heads/main", made], check=True)
    assert repository.git("count-objects") != b"0 objects, 0 kilobytes\n"
    collect(repository)
    assert repository.git("count-objects") == b"0 objects, 0 kilobytes\n"
    sound(repository)


def test_a_pack_that_somebody_keeps_stays(repository: Repository) -> None:
    add(repository, 1)
    (kept,) = packs(repository).items()
    keep = repository.path / "objects/pack" / kept[0].replace(".pack", ".keep")
    keep.write_text("receive-pack 1 on elsewhere\n")
    add(repository, 2)
    assert repack.plan(repository).packs == 1
    for aggressive in (False, True):
        collect(repository, aggressive=aggressive)
        assert kept in packs(repository).items()
        assert len(packs(repository)) == 2
    keep.unlink()
    collect(repository)
    assert len(packs(repository)) == 1
    sound(repository)


def half_written(repository: Repository, pid: int) -> Path:
    path = repository.path / "objects/pack" / f".tmp-{pid}-pack-{'0' * 40}.pack"
    path.write_bytes(b"PACK")
    return path


def test_what_a_killed_repack_left_is_cleared(repository: Repository) -> None:
    """A gigabyte that nobody would ever miss, and over which git fails."""
    add(repository, 1)
    with subprocess.Popen(["true"]) as child:
        child.wait()
    paths = [half_written(repository, pid) for pid in (child.pid, os.getpid())]
    with pytest.warns(UserWarning, match=paths[0].name):
        collect(repository)
    assert not any(path.exists() for path in paths)
    sound(repository)


def test_a_pack_that_a_killed_repack_had_not_indexed_is_indexed(repository: Repository) -> None:
    """It may hold what is nowhere else; what stands beside a pack that has gone may not."""
    add(repository, 1)
    collect(repository)
    (pack,) = (repository.path / "objects/pack").glob("*.pack")
    pack.with_suffix(".idx").unlink()
    stray = [pack.with_name(f"pack-{'1' * 40}{suffix}") for suffix in (".idx", ".rev", ".mtimes")]
    for path in stray:
        path.touch()
    with pytest.warns(UserWarning, match=stray[0].name):
        collect(repository)
    assert not any(path.exists() for path in stray)
    sound(repository)


def test_somebody_elses_repack_goes_first(repository: Repository) -> None:
    add(repository, 1)
    with subprocess.Popen(["git", "cat-file", "--batch"], stdin=subprocess.PIPE, cwd=repository.path) as other:
        path = half_written(repository, other.pid)
        while Path(f"/proc/{other.pid}/comm").read_text() != "git\n":  # a new program gets its name after it started
            time.sleep(0.001)
        with pytest.raises(LockedError, match="desktop") as caught:
            collect(repository)
        assert f"pid {other.pid}" in caught.value.hint
        assert path.exists()
        other.communicate()
    with pytest.warns(UserWarning, match=path.name):
        collect(repository)
    assert not path.exists()


# --- what nothing reaches -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("aggressive", [False, True])
def test_what_nothing_reaches_stays_for_two_weeks(repository: Repository, aggressive: bool) -> None:
    add(repository, 1)
    lost = unreachable(repository, b"lost")
    collect(repository, aggressive=aggressive)
    assert has(repository, lost)
    age(repository, 1)
    add(repository, 2)
    collect(repository, aggressive=aggressive)
    assert has(repository, lost)
    sound(repository)


@pytest.mark.parametrize("aggressive", [False, True])
def test_and_goes_then(repository: Repository, aggressive: bool) -> None:
    add(repository, 1)
    lost = unreachable(repository, noise(7, 500_000))
    age(repository, 3)
    size = repository.size()
    collect(repository, aggressive=aggressive)
    assert not has(repository, lost)
    assert repository.size() < size - 400_000
    sound(repository)


def test_what_was_set_aside_goes_too(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """First it is set aside with its time, later it is dropped, though nothing else is to be done."""
    add(repository, 1)
    lost = unreachable(repository, b"lost")
    age(repository, 1)
    collect(repository)
    collect(repository)
    assert has(repository, lost)
    monkeypatch.setattr(repack, "GRACE", "6.days.ago")
    collect(repository)
    assert not has(repository, lost)
    sound(repository)


def test_a_branch_that_went_takes_its_pack_along_in_the_end(repository: Repository) -> None:
    add(repository, 1)
    with repository.staging() as staging:
        side = stage(staging, {"side": noise(5, 500_000)})
        staging.publish([("refs/heads/side", side, None)], "test")
    collect(repository)
    subprocess.run(["git", f"--git-dir={repository.path}", "update-ref", "-d", "refs/heads/side"], check=True)
    age(repository, 3)
    collect(repository, aggressive=True)
    assert not has(repository, side)
    sound(repository)
