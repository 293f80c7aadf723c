"""Refs, read by ourselves (gitrepository-layout(5)): loading libgit2 takes longer than most commands.

Anything unusual is left to git, which has the last word on what a revision means.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from gitstate.core import fs
from gitstate.core.errors import DamagedError

_DEEPEST: Final = 5  # git's own limit for refs that name refs
_ID: Final = re.compile(rb"([0-9a-f]{40})\s*")
_SYMBOLIC: Final = re.compile(rb"ref:\s*(refs/[^\0\s]+)\s*")
_PACKED: Final = re.compile(rb"(?:#[^\n]*|\^[0-9a-f]{40}|(?P<id>[0-9a-f]{40}) (?P<name>[^\n]+))\n")
_LOG_LINE: Final = re.compile(rb"([0-9a-f]{40}) ([0-9a-f]{40}) [^\n]*?\t([^\n]*)\n")
_LOG_END: Final = 1 << 13
"""Bytes: as much of a log as surely holds its last line."""
_PLACES: Final = ("refs/{}", "refs/tags/{}", "refs/heads/{}")
_REFUSED: Final = re.compile(r"\.\.|//|/\.|\.lock(/|$)|[/.]$")
_PLAIN: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+-]{0,199}")


def read_ref(repository: Path, name: str) -> bytes | None:
    """The raw id of ``HEAD`` or of a full ref name; None if there is no such ref. Raises DamagedError."""
    asked = name
    for _ in range(_DEEPEST):
        text = _loose(repository, name)
        if text is None:
            return _packed(repository).get(name)
        if found := _ID.fullmatch(text):
            return bytes.fromhex(found[1].decode())
        symbolic = _SYMBOLIC.fullmatch(text)
        if symbolic is None or _REFUSED.search(name := os.fsdecode(symbolic[1])):
            break
    hint = "run: gitstate fsck, then git update-ref to the commit it should name"
    raise DamagedError(f"the ref {asked} is broken", hint)


def _loose(repository: Path, name: str) -> bytes | None:
    try:
        return (repository / name).read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


class LoggedMove(NamedTuple):
    """A line of a ref's log: raw ids (twenty zeros: there was no such ref), and the reason that git was given."""

    old: bytes
    new: bytes
    reason: str


def last_move(repository: Path, name: str) -> LoggedMove | None:
    """The last line of the log of a full ref name; None if there is none, or if it is cut short.

    git writes the line before it moves the ref, so it may tell of a move that never happened.
    """
    try:
        with open(repository / "logs" / name, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_END))
            end = file.read()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    found = _LOG_LINE.fullmatch(end[end.rfind(b"\n", 0, -1) + 1 :])
    if found is None:
        return None
    old, new = (bytes.fromhex(found[group].decode()) for group in (1, 2))
    return LoggedMove(old, new, found[3].decode(errors="replace"))


def _packed(repository: Path) -> dict[str, bytes]:
    text = fs.read_file(f"{repository}/packed-refs") or b""
    found, end = {}, 0
    for line in _PACKED.finditer(text):
        if line.start() != end:
            break
        end = line.end()
        if line["name"]:
            found[os.fsdecode(line["name"])] = bytes.fromhex(line["id"].decode())
    if end != len(text):
        raise DamagedError("packed-refs is broken", "run: gitstate fsck, then take the file from a clone or a backup")
    return found


def list_refs(repository: Path) -> list[str]:
    """The full names of all refs, sorted. Raises DamagedError."""
    return sorted({*_loose_names(repository, "refs"), *_packed(repository)})  # git packs first, then it removes


def short_names(repository: Path) -> list[str]:
    """The short names of branches and tags. Raises DamagedError."""
    found = list_refs(repository)
    return [name.split("/", 2)[2] for name in found if name.startswith(("refs/heads/", "refs/tags/"))]


def read_refs(repository: Path, prefix: str) -> dict[str, bytes]:
    """The refs whose full names begin with ``prefix``, sorted, with their raw ids. Raises DamagedError."""
    loose = {}
    for name in _loose_names(repository, prefix.rpartition("/")[0]):
        if name.startswith(prefix) and (oid := read_ref(repository, name)) is not None:
            loose[name] = oid
    packed = {name: oid for name, oid in _packed(repository).items() if name.startswith(prefix)}
    return dict(sorted((packed | loose).items()))


def _loose_names(repository: Path, directory: str) -> Iterator[str]:
    try:
        entries = list(os.scandir(f"{repository}/{directory}"))
    except FileNotFoundError:  # git has just removed the last ref of it
        return
    for entry in entries:
        name = f"{directory}/{entry.name}"
        if entry.is_dir():
            yield from _loose_names(repository, name)
        elif not _REFUSED.search(name):
            yield name


def plain_name(repository: Path, word: str) -> bytes | None:
    """The object of ``HEAD``, a ref, or a tag or branch by its short name; None: ask git. Raises DamagedError."""
    if word in ("HEAD", "@"):
        return read_ref(repository, "HEAD")
    if not _PLAIN.fullmatch(word) or _REFUSED.search(word):
        return None
    if word.startswith("refs/"):
        return read_ref(repository, word)
    if (repository / word).is_file():
        return None
    found = (read_ref(repository, place.format(word)) for place in _PLACES)
    return next((oid for oid in found if oid is not None), None)
