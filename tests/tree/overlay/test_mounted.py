"""The judge: whatever was done on a real overlay, its upper directory gives the tree that a walk of all of it gives."""

from __future__ import annotations

import itertools
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gitstate.core.errors import GitstateError
from tests.support import needs, root_only
from tests.tree.overlay.harness import Below, Overlay, remove

pytestmark = [needs("git", "mount"), root_only]

_number = itertools.count()

MODES: Final = (
    ("redirect_dir=off", "metacopy=off", "index=off"),
    ("redirect_dir=on", "metacopy=on", "index=off"),
    ("redirect_dir=on", "metacopy=off", "index=off"),
    ("userxattr", "index=off"),
)


@pytest.fixture(scope="module")
def below(tmp_path_factory: pytest.TempPathFactory) -> Below:
    """Made once; no test changes it."""
    return Below(tmp_path_factory.mktemp("below"))


def places(root: Path) -> list[Path]:
    """All that the tree shows, sorted."""
    return sorted(root.rglob("*"), key=os.fsencode)


def write(one: Path, other: Path, n: int) -> None:
    if one.is_file():
        one.write_text(f"new {n}\n")


def append(one: Path, other: Path, n: int) -> None:
    if one.is_file() and not one.is_symlink():
        with open(one, "a") as file:
            file.write(f"more {n}\n")


def open_only(one: Path, other: Path, n: int) -> None:
    if one.is_file():
        open(one, "r+").close()


def chmod(one: Path, other: Path, n: int) -> None:
    if not one.is_symlink():
        one.chmod((0o600, 0o755, 0o4711, 0o2770)[n % 4])


def chown(one: Path, other: Path, n: int) -> None:
    os.chown(one, n % 3, n % 5, follow_symlinks=False)


def set_time(one: Path, other: Path, n: int) -> None:
    os.utime(one, ns=(0, n * 10**8), follow_symlinks=False)


def set_attribute(one: Path, other: Path, n: int) -> None:
    if stat.S_IFMT(one.lstat().st_mode) in (stat.S_IFREG, stat.S_IFDIR):
        os.setxattr(one, f"user.n{n % 2}", str(n).encode())


def delete(one: Path, other: Path, n: int) -> None:
    remove(one)


def create(one: Path, other: Path, n: int) -> None:
    directory = one if one.is_dir() and not one.is_symlink() else one.parent
    (directory / f"new-{n % 4}").write_text(f"{n}\n")


def make_directory(one: Path, other: Path, n: int) -> None:
    directory = one if one.is_dir() and not one.is_symlink() else one.parent
    (directory / f"dir-{n % 3}").mkdir(exist_ok=True)
    (directory / f"dir-{n % 3}" / "in").write_text("in\n")


def symlink(one: Path, other: Path, n: int) -> None:
    remove(one)
    one.symlink_to(f"to-{n}")


def link(one: Path, other: Path, n: int) -> None:
    directory = other if other.is_dir() and not other.is_symlink() else other.parent
    if not one.is_dir() or one.is_symlink():
        os.link(one, directory / f"link-{n}", follow_symlinks=False)


def rename(one: Path, other: Path, n: int) -> None:
    os.rename(one, other)


def move(one: Path, other: Path, n: int) -> None:
    directory = other if other.is_dir() and not other.is_symlink() else other.parent
    shutil.move(one, directory / f"moved-{n % 2}")


def file_for_directory(one: Path, other: Path, n: int) -> None:
    remove(one)
    one.write_text(f"instead {n}\n")


def directory_for_file(one: Path, other: Path, n: int) -> None:
    remove(one)
    one.mkdir()
    (one / "instead").write_text(f"{n}\n")


def again(one: Path, other: Path, n: int) -> None:
    if one.is_dir() and not one.is_symlink():
        names = [path.name for path in one.iterdir()]
        shutil.rmtree(one)
        one.mkdir()
        for name in names[: n % 3]:
            (one / name).write_text(f"again {n}\n")


def fifo(one: Path, other: Path, n: int) -> None:
    os.mkfifo(one.parent / f"fifo-{n}")


def device(one: Path, other: Path, n: int) -> None:
    os.mknod(one.parent / f"device-{n}", stat.S_IFCHR | 0o600, os.makedev(1, n))


Edit = Callable[[Path, Path, int], None]

EDITS: Final[list[Edit]] = [
    write, append, open_only, chmod, chown, set_time, set_attribute, delete, create, make_directory, symlink, link,
    rename, move, file_for_directory, directory_for_file, again, fifo, device,
]  # fmt: skip

Steps = list[tuple[Edit, int, int, int]]

STEPS: Final = st.lists(
    st.tuples(st.sampled_from(EDITS), st.integers(0, 60), st.integers(0, 60), st.integers(0, 9)), min_size=1, max_size=8
)


def apply(shown: Path, steps: Steps) -> Iterator[str]:
    """Do each step on the paths that there are; what can't be done is left out."""
    for edit, one, other, number in steps:
        there = places(shown)
        if not there:
            return
        source, target = there[one % len(there)], there[other % len(there)]
        try:
            edit(source, target, number)
        except (OSError, shutil.Error) as error:
            yield f"{edit.__name__} {source.relative_to(shown)} {target.relative_to(shown)}: {error}"
        else:
            yield f"{edit.__name__} {source.relative_to(shown)} {target.relative_to(shown)}"


def outcome(tree_of: Callable[[Path], bytes], directory: Path) -> bytes | type[GitstateError]:
    """A tree, or how both ways refuse: a directory ``etc`` that is a file holds no policy."""
    try:
        return tree_of(directory)
    except GitstateError as error:
        return type(error)


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: "-".join(mode))
@settings(max_examples=int(os.environ.get("OVERLAY_EXAMPLES", "12")), suppress_health_check=[HealthCheck.too_slow])
@given(first=STEPS, then=STEPS)
def test_the_upper_directory_and_the_whole_tree_are_one_snapshot(
    below: Below, mode: tuple[str, ...], first: Steps, then: Steps
) -> None:
    overlay = Overlay(below, below.place / f"overlay-{next(_number)}", mode)
    try:
        with overlay.mounted() as shown:
            done = list(apply(shown, first))
        with overlay.mounted() as shown:
            done += apply(shown, then)
            if "userxattr" not in mode:  # there a device has another inode number until the next mount
                assert outcome(below.upper_tree, overlay.upper) == outcome(below.merged_tree, shown), done
        with overlay.mounted() as shown:
            from_all = outcome(below.merged_tree, shown)
            assert outcome(below.upper_tree, overlay.upper) == from_all, done
        if "userxattr" not in mode:
            assert outcome(below.upper_tree, overlay.upper) == from_all, f"unmounted, {done}"
    finally:
        shutil.rmtree(overlay.upper.parent)


def test_what_moves_with_a_directory_is_under_the_policy_of_its_new_path(below: Below) -> None:
    overlay = Overlay(below, below.place / f"overlay-{next(_number)}", ("redirect_dir=on", "metacopy=on", "index=off"))
    with overlay.mounted() as shown:
        os.rename(shown / "var", shown / "a/var")
        os.rename(shown / "a/b", shown / "tmp/b")
        os.rename(shown / "a/d", shown / "var")
        wanted = below.merged_tree(shown)
    assert below.upper_tree(overlay.upper) == wanted
    shutil.rmtree(overlay.upper.parent)
