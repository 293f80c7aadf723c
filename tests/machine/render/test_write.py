"""What a machine gets, written into a directory."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gitstate.core.entry import Kind, Meta
from gitstate.core.errors import UsageError
from gitstate.machine.render.write import write_entries
from tests.machine.render.harness import PLAIN, Bench, Node, link
from tests.support import root_only

pytestmark = root_only


def standing(path: bytes) -> Meta:
    return PLAIN._replace(mode=0o711)


def made(to: Path, *specs: dict[str, Any]) -> dict[str, str]:
    """Mode and content by path."""
    bench = Bench()
    write_entries(to, bench.items(*specs, host="h"), bench.content, standing)
    found = {}
    for path in sorted(to.rglob("*")):
        status = path.lstat()
        text = os.readlink(path) if path.is_symlink() else path.read_text() if path.is_file() else ""
        found[str(path.relative_to(to))] = f"{stat.filemode(status.st_mode)} {text}".rstrip()
    return found


def test_all_kinds_of_entries(tmp_path: Path) -> None:
    layer = {
        "etc": {
            ".wh.fstab": b"",
            ".wh.skel": b"",
            "skel": b"file",
            "a.j2": Node(b"{{ host }}", 0o4750),
            "l": link(b"x"),
        },
        "srv": {".": PLAIN._replace(mode=0o2775), "fifo": Node(kind=Kind.FIFO)},
        "usr": {"lib": {".wh..wh..opq": b"", "z": b"z"}},
    }
    assert made(tmp_path / "a" / "b", layer) == {
        "etc": "drwx--x--x",
        "etc/.wh.fstab": "-rw-r--r--",
        "etc/.wh.skel": "-rw-r--r--",
        "etc/a": "-rwsr-x--- h",
        "etc/l": "lrwxrwxrwx x",
        "etc/skel": "-rw-r--r-- file",
        "srv": "drwxrwsr-x",
        "srv/fifo": "prw-r--r--",
        "usr": "drwx--x--x",
        "usr/lib": "drwxr-xr-x",
        "usr/lib/.wh..wh..opq": "-rw-r--r--",
        "usr/lib/z": "-rw-r--r-- z",
    }
    assert (tmp_path / "a" / "b" / "srv").stat().st_mtime_ns == 1


def test_siblings_whose_names_begin_alike(tmp_path: Path) -> None:
    spec = {"new": {"a": {"x": b""}, "a-b": {"x": b""}, "a.b": b"", "a\nb": {"c": {"d": b""}}}}
    found = {path for path in made(tmp_path / "to", spec) if path.endswith(("x", "d", "a.b"))}
    assert found == {"new/a\nb/c/d", "new/a/x", "new/a-b/x", "new/a.b"}


def test_the_directory_is_its_owners_alone_and_must_be_empty(tmp_path: Path) -> None:
    assert made(tmp_path / "none") == {}
    assert stat.S_IMODE((tmp_path / "none").stat().st_mode) == 0o700
    for used in (tmp_path, tmp_path / "file", tmp_path / "link"):
        (tmp_path / "file").write_text("")
        (tmp_path / "link").unlink(missing_ok=True)
        (tmp_path / "link").symlink_to(tmp_path / "none")
        with pytest.raises(UsageError, match="not an empty directory"):
            write_entries(used, [], lambda item: b"", standing)


def test_what_stops_half_way_leaves_no_descriptors(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    bench = Bench()
    items = bench.items({"new": {"deep": {"x": b"x"}}})

    def full(item: object) -> bytes:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_entries(tmp_path / "to", items, full, standing)
    assert len(os.listdir("/proc/self/fd")) == before


def test_over_an_image_in_an_overlay_it_is_what_the_machine_gets(tmp_path: Path) -> None:
    image = {
        "etc": {"fstab": b"disk", "motd": b"hello", "skel": {"x": b"x"}, "d": {"old": b"old", "deep": {"y": b"y"}}},
        "usr": {"keep": b"keep"},
    }
    bench = Bench(image)
    layer = {"etc": {".wh.fstab": b"", ".wh.skel": b"", "skel": b"file", "d": {".wh..wh..opq": b"", "new": b"new"}}}
    write(tmp_path / "image", image)
    (tmp_path / "root").mkdir()
    write_entries(tmp_path / "layers", bench.items(layer), bench.content, standing, for_overlay=True)
    lower = f"lowerdir={tmp_path}/layers:{tmp_path}/image"
    subprocess.run(["mount", "-t", "overlay", "machine", "-o", lower, tmp_path / "root"], check=True)
    try:
        found = {str(path.relative_to(tmp_path / "root")) for path in (tmp_path / "root").rglob("*")}
        text = (tmp_path / "root/etc/skel").read_text()
    finally:
        subprocess.run(["umount", tmp_path / "root"], check=True)
    assert (found, text) == ({"etc", "etc/motd", "etc/skel", "etc/d", "etc/d/new", "usr", "usr/keep"}, "file")


def write(place: Path, spec: dict[str, Any]) -> None:
    place.mkdir()
    for name, value in spec.items():
        if isinstance(value, dict):
            write(place / name, value)
        else:
            (place / name).write_bytes(value)
