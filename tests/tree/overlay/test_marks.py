"""Marks in an upper directory that mean something else, or that nobody here knows: refused by name, never guessed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.support import needs, root_only
from tests.tree.overlay.harness import Below, Overlay

pytestmark = [needs("git", "mount"), root_only]


@pytest.fixture(scope="module")
def below(tmp_path_factory: pytest.TempPathFactory) -> Below:
    return Below(tmp_path_factory.mktemp("below"))


@pytest.fixture
def upper(below: Below, tmp_path: Path) -> Path:
    """An upper directory with a file and a directory, never mounted."""
    made = Overlay(below, tmp_path / "overlay").upper
    (made / "etc").mkdir()
    (made / "etc/hosts").write_bytes(b"x" * 99)
    return made


def mark(path: Path, name: str, value: bytes) -> None:
    os.setxattr(path, f"trusted.overlay.{name}", value)


def linked_with_an_index(below: Below, upper: Path) -> None:
    overlay = Overlay(below, upper.parent / "indexed", ("index=on",))
    with overlay.mounted() as shown:
        (shown / "a/one").write_text("edited\n")
    upper.rename(upper.with_name("old"))
    overlay.upper.rename(upper)


CASES: Final[dict[str, tuple[Callable[[Below, Path], None], str]]] = {
    "a whiteout that is an attribute": (
        lambda below, upper: mark(upper / "etc/hosts", "whiteout", b"y"),
        "/etc/hosts: it is a whiteout that is an attribute of a file",
    ),
    "a directory of such whiteouts": (
        lambda below, upper: mark(upper / "etc", "opaque", b"x"),
        "/etc: it holds whiteouts that are attributes of files",
    ),
    "an attribute of a newer kernel": (
        lambda below, upper: mark(upper / "etc/hosts", "tomorrow", b"y"),
        "/etc/hosts: its attribute overlay.tomorrow isn't known here",
    ),
    "a directory moved from nowhere": (
        lambda below, upper: mark(upper / "etc", "redirect", b"/never"),
        "/etc: it was moved from /never, which the snapshot below doesn't have",
    ),
    "a directory moved out": (
        lambda below, upper: mark(upper / "etc", "redirect", b"/../x"),
        "/etc: its attribute overlay.redirect is no path: /../x",
    ),
    "metadata of a file of another size": (
        lambda below, upper: mark(upper / "etc/hosts", "metacopy", b""),
        "/etc/hosts: its content is that of a file which the snapshot below doesn't have",
    ),
    "a hard link of which other names may be changed, too": (
        linked_with_an_index,
        "/a/one: it is a hard link of a mount with index=on",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_marks_that_are_not_understood(below: Below, upper: Path, case: str) -> None:
    make, naming = CASES[case]
    make(below, upper)
    before = below.site.git("desktop", "for-each-ref")
    said = below.site.refuses(5, "checkin", "desktop", "-m", "x", "--upper", str(upper), naming=naming)
    assert "--live DIR" in said
    assert below.site.git("desktop", "for-each-ref") == before


def test_notes_of_the_kernel_are_not_recorded(below: Below, tmp_path: Path) -> None:
    overlay = Overlay(below, tmp_path / "overlay", ("index=off",))
    with overlay.mounted() as shown:
        (shown / "a/b/c/three").write_text("edited\n")
        wanted = below.merged_tree(shown)
    assert any(name.startswith("trusted.overlay.") for name in os.listxattr(overlay.upper / "a/b/c/three"))
    assert below.upper_tree(overlay.upper) == wanted


def test_attributes_that_an_overlay_in_the_overlay_set(below: Below, tmp_path: Path) -> None:
    overlay = Overlay(below, tmp_path / "overlay", ("userxattr", "index=off"))
    with overlay.mounted() as shown:
        os.setxattr(shown / "etc/hosts", "user.overlay.redirect", b"inner")
        assert "user.overlay.overlay.redirect" in os.listxattr(overlay.upper / "etc/hosts")
        assert below.upper_tree(overlay.upper) == below.merged_tree(shown)
    overlay = Overlay(below, tmp_path / "other", ("index=off",))
    with overlay.mounted() as shown:
        os.setxattr(shown / "etc/hosts", "user.overlay.redirect", b"outer")
        assert below.upper_tree(overlay.upper) == below.merged_tree(shown)


def test_an_upper_directory_is_no_part_of_the_site(below: Below) -> None:
    below.site.refuses(2, "checkin", "desktop", "-m", "x", "--upper", str(below.site.path / "prototypes"))
    below.site.refuses(10, "checkin", "desktop", "-m", "x", "--upper", str(below.place / "nothing"))
