"""The machine archive: what is laid over one machine's root, as a further initrd. docs/client.md tells its format.

Pure: data in, bytes out, equal bytes for equal data.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from gitstate.core import cpio
from gitstate.core.cpio import Member
from gitstate.core.entry import ACL_ACCESS, ACL_DEFAULT, CAPABILITY, IN_GIT, Kind, Meta
from gitstate.core.errors import ConfigError
from gitstate.core.names import display, is_word, octal
from gitstate.machine.render.models import GLOB, LONGEST_PATH, UNIT, Archive, ArchiveEntry, Layout, Reload

FOLDER: Final = b"gitstate/machine"

_LETTERS: Final = {
    Kind.FILE: "f",
    Kind.DIRECTORY: "d",
    Kind.SYMLINK: "l",
    Kind.CHARACTER: "c",
    Kind.BLOCK: "b",
    Kind.FIFO: "p",
}
_CARRIED: Final = frozenset({CAPABILITY, ACL_ACCESS, ACL_DEFAULT})
_SECOND: Final = 10**9
_PATTERN: Final = re.compile(r"[A-Za-z0-9*?:_\[\]-]{1,200}")
_KEY: Final = re.compile(r"[A-Z][A-Z0-9_]{0,60}")


def about(host: str, layers: Mapping[str, str]) -> dict[str, str]:
    """The usual lines: ``layers`` are commits by name, the lowest first.

    Which release it belongs to isn't among them: releases whose layers make the same of a machine share its archive.
    """
    return {"HOST": host} | {f"LAYER_{number}": f"{name} {oid}" for number, (name, oid) in enumerate(layers.items(), 1)}


def write(archive: Archive) -> Iterator[bytes]:
    """The archive in chunks. Raises ConfigError for what a machine couldn't be given."""
    names = [one.name for one in archive.variants]
    if wrong := [one for one in names if not is_word(one) or names.count(one) > 1]:
        raise _fault(f"{wrong[0][:60]!r} can't be a hardware class", "letters, digits and . _ + -, each once")
    texts = {
        FOLDER + b"/about": _about(archive.about),
        FOLDER + b"/classes": _classes(archive),
        **_texts(FOLDER, archive.layout),
    }
    members = [*_folders(FOLDER), *_files(FOLDER, archive.layout)]
    if archive.variants:
        members.append(_folder(FOLDER + b"/class"))
    for one in archive.variants:
        place = FOLDER + b"/class/" + one.name.encode()
        texts |= _texts(place, one.layout)
        members += [_folder(place), _folder(place + b"/files"), *_files(place, one.layout)]
    texts[FOLDER + b"/checksums"] = _checksums(texts)
    members += [Member(path, Meta(Kind.FILE, 0o600), text) for path, text in texts.items()]
    return cpio.write(one._replace(meta=_dated(one.meta, archive.when)) for one in members)


def _fault(what: str, hint: str) -> ConfigError:
    return ConfigError(f"machine archive: {what}", hint)


# --- members ----------------------------------------------------------------------------------------------------------


def _dated(meta: Meta, when: int) -> Meta:
    return meta if meta.time is not None else meta._replace(time=when * _SECOND)


def _folder(path: bytes) -> Member:
    return Member(path, Meta(Kind.DIRECTORY, 0o700))


def _folders(path: bytes) -> Iterator[Member]:
    """The directory of a layout, with those above it."""
    parts = path.split(b"/")
    yield from (_folder(b"/".join(parts[: count + 1])) for count in range(len(parts)))
    yield _folder(path + b"/files")


def _files(place: bytes, layout: Layout) -> Iterator[Member]:
    """What is laid, and the directories that it stands in."""
    found: dict[bytes, ArchiveEntry] = {}
    for one in layout.entries:
        _check_path(one.path)
        if one.path in found:
            raise _fault(f"{display(one.path)} comes twice", "this is a bug: tell us")
        if one.meta.kind is not Kind.DIRECTORY and not one.path:
            raise _fault("the root is no directory", "remove the layer's entry")
        if one.meta.device is not None and not (one.meta.device[0] < 1 << 12 and one.meta.device[1] < 1 << 20):
            raise _fault(f"{display(one.path)}: Linux has no such device", "a major of 12 bits, a minor of 20")
        found[one.path] = one
    for path in {above for each in found for above in _above(each)}:
        if path not in found:
            yield Member(place + b"/files/" + path, Meta(Kind.DIRECTORY, 0o755))
        elif found[path].meta.kind is not Kind.DIRECTORY:
            raise _fault(f"{display(path)} is no directory, and has entries", "one layer's file is another's directory")
    for path, one in found.items():
        if path:
            content = one.content if one.meta.kind in IN_GIT else b""
            yield Member(place + b"/files/" + path, one.meta._replace(xattrs=(), uname=b"", gname=b""), content)


def _above(path: bytes) -> Iterator[bytes]:
    while b"/" in path:
        path = path.rpartition(b"/")[0]
        yield path


def _check_path(path: bytes) -> None:
    """Hostile names end here: none leaves the directory that it is laid into."""
    parts = path.split(b"/") if path else []
    if (
        b"\0" in path
        or {b"", b".", b".."} & set(parts)
        or len(path) > LONGEST_PATH
        or max(map(len, parts), default=0) > 255
    ):
        raise _fault(
            f"{display(path[:200])} can't be laid down", f"plain paths below the root, {LONGEST_PATH} bytes at most"
        )


# --- texts ------------------------------------------------------------------------------------------------------------


def _texts(place: bytes, layout: Layout) -> dict[bytes, bytes]:
    """The four lists of a layout by path."""
    hidden = [("w", path) for path in layout.removed] + [("o", path) for path in layout.opaque]
    for _, path in hidden:
        _check_path(path)
    if b"" in (*layout.removed, *layout.opaque):
        raise _fault("the root can't be removed or emptied", "remove the whiteout")
    return {
        place + b"/list": _lines(_listed(one) for one in sorted(layout.entries, key=lambda one: one.path)),
        place + b"/removed": _lines(
            f"{how} {_named(path)}" for how, path in sorted(set(hidden), key=lambda one: one[::-1])
        ),
        place + b"/reload": _lines(_reload(one) for one in layout.reload),
        place + b"/xattrs": _xattrs(layout.entries),
    }


def _lines(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("ascii")


def _named(path: bytes) -> str:
    return octal(path) or "."


def _listed(one: ArchiveEntry) -> str:
    meta = one.meta
    what = "-"
    if meta.kind is Kind.FILE:
        what = hashlib.sha256(one.content).hexdigest()
    elif meta.kind is Kind.SYMLINK:
        what = octal(one.content)
    elif meta.device is not None:
        what = "{}:{}".format(*meta.device)
    return f"{_LETTERS[meta.kind]} {meta.mode:04o} {meta.uid} {meta.gid} {what} {_named(one.path)}"


def _reload(one: Reload) -> str:
    if not GLOB.fullmatch(one.glob):
        raise _fault(f"reload: {ascii(one.glob)[:60]} can't be a pattern", "paths from the root, with * ? and [ ]")
    for unit in one.units:
        if not UNIT.fullmatch(unit):
            raise _fault(f"reload: {ascii(unit)[:60]} can't be a unit", "such as cups.service")
    return " ".join([one.glob.lstrip("/"), *one.units])


def _xattrs(laid: Iterable[ArchiveEntry]) -> bytes:
    """As ``getfattr --dump`` prints it and ``setfattr --restore`` reads it."""
    lines: list[str] = []
    for one in sorted(laid, key=lambda one: one.path):
        carried = [pair for pair in one.meta.xattrs if pair[0] in _CARRIED]
        if carried:
            lines += [f"# file: {_named(one.path)}"]
            lines += [f"{name.decode('ascii')}=0s{base64.b64encode(value).decode()}" for name, value in carried]
            lines.append("")
    return _lines(lines)


def _about(pairs: Mapping[str, str]) -> bytes:
    lines = []
    for key, value in pairs.items():
        if not _KEY.fullmatch(key) or not value.isprintable():
            raise _fault(f"about: {ascii(key)[:60]} makes no line", "upper-case keys, values on one line")
        quoted = value.replace("'", "'\\''")
        lines.append(f"{key}='{quoted}'\n")
    return "".join(lines).encode()


def _classes(archive: Archive) -> bytes:
    """How to choose, then a line for each class: its name and patterns."""
    lines = ["all" if archive.match_all else "first"] if archive.variants else []
    for one in archive.variants:
        for pattern in one.patterns:
            if not _PATTERN.fullmatch(pattern):
                raise _fault(f"class {one.name}: {ascii(pattern)[:60]} can't be a pattern", "such as pci:v000010DEd*")
        lines.append(" ".join([one.name, *one.patterns]))
    return _lines(lines)


def _checksums(texts: Mapping[bytes, bytes]) -> bytes:
    """What ``sha256sum -c`` reads: nothing is laid down unless all of this is there."""
    below = len(FOLDER) + 1
    return _lines(
        f"{hashlib.sha256(text).hexdigest()}  {path[below:].decode()}" for path, text in sorted(texts.items())
    )
