"""The list of a prototype's writable files: ``etc/gitstate/local`` in its tree, a path in each line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gitstate.core.errors import ConfigError, UsageError
from gitstate.core.names import display, from_octal, octal, tree_path

LIST: Final = b"etc/gitstate/local"
DIRECTORY: Final = b"local"
_HEADER: Final = (
    b"# Files that machines may write: each is a link into the directory `local` beside it.\n"
    b"# Written by `gitstate local`. One path per line; unusual characters are in octal (\\040).\n"
)
_MAX_BYTES: Final = 256 << 10
_MAX_NAME: Final = 255
_MAX_PATH: Final = 4000
_OWN_FILE_SYSTEMS: Final = frozenset({b"proc", b"sys", b"dev", b"run", b"tmp"})
_ACCOUNTS: Final = frozenset(b"etc/" + name for name in b"passwd group shadow gshadow subuid subgid".split())
_LAYER_FILES: Final = frozenset({b"policy.toml", b"layer.toml", b"vars.toml"})


def local_directory(path: bytes) -> bytes:
    """The directory that the link at ``path`` leads into."""
    parent, slash, _ = path.rpartition(b"/")
    return parent + slash + DIRECTORY


def content_path(path: bytes) -> bytes:
    """Where the content of a writable file is."""
    return local_directory(path) + b"/" + path.rpartition(b"/")[2]


def link_target(path: bytes) -> bytes:
    """The target of the link at ``path``."""
    return DIRECTORY + b"/" + path.rpartition(b"/")[2]


def parse_path(text: bytes) -> bytes:
    """Parse a path for the list. Raises UsageError."""
    path = tree_path(text)
    objection = _objection(path)
    if objection:
        raise UsageError(f"/{display(path)} can't be a link into {DIRECTORY.decode()}: {objection[0]}", objection[1])
    return path


def _objection(path: bytes) -> tuple[str, str] | None:
    parts = path.split(b"/")
    name = parts[-1]
    if not path or len(path) > _MAX_PATH or any(len(part) > _MAX_NAME for part in parts):
        return "it names no file", "write it from the root: /etc/fstab"
    if DIRECTORY in parts[-2:]:
        return "it is or would be in such a directory", "name the link, not its target"
    if parts[0] in _OWN_FILE_SYSTEMS or path.startswith(b"var/tmp/"):
        return "machines have a separate file system there", "it can be written without being listed"
    if path in _ACCOUNTS:
        return "it holds accounts", "a layer adds to them: NAME.merge"
    if path in _LAYER_FILES or path.startswith(b"etc/gitstate/") or name.startswith((b".gitstate", b".wh.")):
        return "the name is gitstate's own", "choose another name for it"
    if name.endswith((b".j2", b".merge")):
        return "in a layer such a name is an instruction", "choose another name for it"
    return None


def parse(text: bytes | None, where: str) -> list[bytes]:
    """The sorted paths of a list; none if there is no list. Raises ConfigError with the line."""
    if text is None:
        return []
    if len(text) > _MAX_BYTES:
        raise ConfigError(f"{where}: longer than {_MAX_BYTES >> 10} KiB", "write one path per line")
    found = set()
    for number, line in enumerate(text.split(b"\n"), 1):
        if not line or line.startswith(b"#"):
            continue
        try:
            found.add(_line(line))
        except ValueError as error:
            raise ConfigError(f"{where}:{number}: {error}", "write /etc/fstab; unusual characters in octal") from None
    return sorted(found)


def _line(line: bytes) -> bytes:
    raw = from_octal(line)
    try:
        path = parse_path(raw)
    except UsageError as fault:
        raise ValueError(fault.message) from None
    if raw != b"/" + path:
        raise ValueError(f"{line[:60]!r} is not written as paths are")
    return path


def text(paths: Iterable[bytes]) -> bytes:
    """The text of the list."""
    return _HEADER + b"".join(b"/%s\n" % octal(path).encode() for path in sorted(paths))
