"""The list of a prototype's writable files: ``etc/gitstate/local`` in its tree, a path in each line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gitstate.core.errors import ConfigError, UsageError
from gitstate.core.names import display, from_octal, octal, tree_path

LIST: Final = b"etc/gitstate/local"
DIRECTORY: Final = b"local"
_HEAD: Final = (
    b"# Files that machines may write: each is a link into the directory `local` beside it.\n"
    b"# `gitstate local` keeps this list. A path in each line, in octal (\\040) what is unusual in it.\n"
)
_LONGEST: Final = 256 << 10
_LONGEST_NAME: Final = 255
_LONGEST_PATH: Final = 4000
_PLACES: Final = frozenset({b"proc", b"sys", b"dev", b"run", b"tmp"})
_ACCOUNTS: Final = frozenset(b"etc/" + name for name in b"passwd group shadow gshadow subuid subgid".split())
_OF_LAYERS: Final = frozenset({b"policy.toml", b"layer.toml", b"vars.toml"})


def beside(path: bytes) -> bytes:
    """The directory into which the link at ``path`` leads."""
    above, slash, _ = path.rpartition(b"/")
    return above + slash + DIRECTORY


def place(path: bytes) -> bytes:
    """Where the content of a writable file stands."""
    return beside(path) + b"/" + path.rpartition(b"/")[2]


def target(path: bytes) -> bytes:
    """What the link at ``path`` holds."""
    return DIRECTORY + b"/" + path.rpartition(b"/")[2]


def writable_path(text: bytes) -> bytes:
    """A path that can be on the list. Raises UsageError."""
    path = tree_path(text)
    why = _why_not(path)
    if why:
        raise UsageError(f"/{display(path)} can't be a link into {DIRECTORY.decode()}: {why[0]}", why[1])
    return path


def _why_not(path: bytes) -> tuple[str, str] | None:
    parts = path.split(b"/")
    name = parts[-1]
    if not path or len(path) > _LONGEST_PATH or any(len(part) > _LONGEST_NAME for part in parts):
        return "it names no file", "write it from the root: /etc/fstab"
    if DIRECTORY in parts[-2:]:
        return "it stands in such a directory, or would be one", "name the link, not what it leads to"
    if parts[0] in _PLACES or path.startswith(b"var/tmp/"):
        return "machines have a file system of their own there", "it can be written without being listed"
    if path in _ACCOUNTS:
        return "it holds accounts", "a layer adds to them: NAME.merge"
    if path in _OF_LAYERS or path.startswith(b"etc/gitstate/") or name.startswith((b".gitstate", b".wh.")):
        return "the name is gitstate's own", "choose another name for it"
    if name.endswith((b".j2", b".merge")):
        return "in a layer that name means what is to be done", "choose another name for it"
    return None


def parse(text: bytes | None, where: str) -> list[bytes]:
    """The paths of a list, sorted; none if there is no list. Raises ConfigError, which names the line."""
    if text is None:
        return []
    if len(text) > _LONGEST:
        raise ConfigError(f"{where}: longer than {_LONGEST >> 10} KiB", "a list of files, a path in each line")
    found = set()
    for number, line in enumerate(text.split(b"\n"), 1):
        if not line or line.startswith(b"#"):
            continue
        try:
            found.add(_line(line))
        except ValueError as error:
            raise ConfigError(f"{where}:{number}: {error}", "such as /etc/fstab, in octal what is unusual") from None
    return sorted(found)


def _line(line: bytes) -> bytes:
    raw = from_octal(line)
    try:
        path = writable_path(raw)
    except UsageError as fault:
        raise ValueError(fault.message) from None
    if raw != b"/" + path:
        raise ValueError(f"{line[:60]!r} is not how that path is written")
    return path


def text(paths: Iterable[bytes]) -> bytes:
    """The list of these paths, as it is written."""
    return _HEAD + b"".join(b"/%s\n" % octal(path).encode() for path in sorted(paths))
