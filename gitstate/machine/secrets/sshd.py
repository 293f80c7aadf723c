"""What the sshd of a root asks for: its configuration as sshd_config(5) tells it, with the files that it includes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Final

from gitstate.machine.render.image import Image

SSH_FOLDER: Final = b"etc/ssh"
_CONFIGURATION: Final = SSH_FOLDER + b"/sshd_config"
_SERVERS: Final = (b"usr/sbin/sshd", b"usr/bin/sshd")
_LINE: Final = re.compile(rb"^[ \t]*(HostKey|Include)(?:[ \t]*=[ \t]*|[ \t]+)([^\n]*)$", re.IGNORECASE | re.MULTILINE)
_ARGUMENT: Final = re.compile(rb'"([^"]*)"|([^ \t\r"]+)')
_KEY: Final = re.compile(rb"/etc/ssh/ssh_host_([a-z0-9]+)_key")
_DEEPEST: Final = 16
"""Includes within includes, as sshd has it (SERVCONF_MAX_DEPTH)."""
_MOST_FILES: Final = 1000


def has_sshd(image: Image) -> bool:
    """Whether machines with this root let people in by ssh."""
    return any(image.resolve(path) and image.at(image.resolve(path) or b"") for path in _SERVERS)


def host_key_types(image: Image) -> set[str]:
    """The types of host keys in ``/etc/ssh`` that the sshd of this root names; none if it takes what there is.

    No symlink and no Include leads out of the root.
    """
    values = _settings(image, _CONFIGURATION, 0, [_MOST_FILES])
    return {found[1].decode() for value in values if (found := _KEY.fullmatch(value))}


def _settings(image: Image, path: bytes, depth: int, left: list[int]) -> Iterator[bytes]:
    """The values of all HostKey lines; ``left`` is how many files may still be read."""
    place = image.resolve(path)
    found = image.read(place) if place else None
    left[0] -= 1
    if found is None or depth > _DEEPEST or left[0] < 0:
        return
    for keyword, text in _LINE.findall(found[1]):
        values = list(_arguments(text))
        if keyword.lower() == b"hostkey":
            yield from values[:1]
            continue
        for pattern in values:
            for below in _matches(image, pattern if pattern.startswith(b"/") else SSH_FOLDER + b"/" + pattern):
                yield from _settings(image, below, depth + 1, left)


def _arguments(text: bytes) -> Iterator[bytes]:
    for quoted, plain in _ARGUMENT.findall(text):
        if plain.startswith(b"#"):
            return
        yield quoted or plain


def _matches(image: Image, pattern: bytes) -> list[bytes]:
    """The paths that a pattern of glob(7) stands for, in lexical order."""
    found = [b""]
    for part in pattern.strip(b"/").split(b"/"):
        if not re.search(rb"[*?\[]", part):
            found = [path + b"/" + part for path in found]
            continue
        found = [
            path + b"/" + name
            for path in found
            for name in image.names(image.resolve(path))
            if fnmatchcase(name, part) and name.startswith(b".") <= part.startswith(b".")
        ]
    return found
