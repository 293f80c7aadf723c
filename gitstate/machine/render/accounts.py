"""Account files are merged, line by line and by key: no layer replaces them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from gitstate.core.errors import ConflictError
from gitstate.machine.render.models import LayerError
from gitstate.tree.manifest import MAX_ID

_FIELDS: Final = {"passwd": 7, "group": 4, "shadow": 9, "gshadow": 4, "subuid": 3, "subgid": 3}
_RANGES: Final = frozenset({"subuid", "subgid"})
_JOINED: Final = frozenset({"group", "gshadow"})
_HINT: Final = "docs/layers.md tells what .merge files may say"


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines of an account file, and who wrote them, as errors name it."""

    where: str
    text: bytes


def merge_accounts(name: str, image: Lines, layers: Sequence[Lines]) -> bytes:
    """The file ``name`` (``passwd``) of the image with the lines of ``layers``, the lowest first.

    Every line of the image stays, comments and repeated ones, too. A line of a layer takes the place of the first with
    its name, and must have its id; members are joined. Ranges of subordinate ids are added, as an account may have
    several. Raises LayerError for lines that are none, ConflictError for ids that clash.
    """
    lines = _split(image.text)
    places: dict[bytes, int] = {}
    for place, line in enumerate(lines):
        places.setdefault(_key(name, line), place)
    old = len(lines)
    for part in layers:
        seen: dict[bytes, bytes] = {}
        for where, line in _layer_lines(name, part):
            key = _key(name, line)
            if name not in _JOINED and seen.setdefault(key, line) != line:
                raise ConflictError(f"{where}: {_text(key)} has another line before this one", "keep one of them")
            if key in places:
                lines[places[key]] = _joined(name, lines[places[key]], line, where)
            else:
                places[key] = len(lines)
                lines.append(line)
    _check_ids(name, lines, old, [part.where for part in layers])
    return b"".join(line + b"\n" for line in lines)


def _split(text: bytes) -> list[bytes]:
    """Lines of an image's file, whatever they hold."""
    return text.removesuffix(b"\n").split(b"\n") if text else []


def _layer_lines(name: str, part: Lines) -> Iterator[tuple[str, bytes]]:
    """The lines that count, and where each stands. Raises LayerError."""
    for number, line in enumerate(part.text.splitlines(), 1):
        if line.strip() and not line.startswith(b"#"):
            where = f"{part.where}, line {number}"
            _check(name, line, where)
            yield where, line


def _key(name: str, line: bytes) -> bytes:
    """What two lines of a file have in common that are about the same thing; of ranges all."""
    return line if name in _RANGES else line.partition(b":")[0]


def _text(name: bytes) -> str:
    return name.decode(errors="replace")


def _check(name: str, line: bytes, where: str) -> None:
    """Raise LayerError for what is no line of the file ``name``."""
    fields = line.split(b":")
    key = fields[0]
    if len(fields) != _FIELDS[name]:
        raise LayerError(f"{where}: {len(fields)} fields; {name} has {_FIELDS[name]}", _HINT)
    if not key or key.startswith((b"+", b"-")) or any(one <= 0x20 or one == 0x7F for one in key) or b"/" in key:
        raise LayerError(f"{where}: a name is missing, or none", _HINT)
    if b"\0" in line or b"\r" in line:
        raise LayerError(f"{where}: no line of an account file", _HINT)
    for place in _numbers(name):
        if not fields[place].isdigit() or int(fields[place]) > MAX_ID:
            raise LayerError(f"{where}: {fields[place][:20].decode(errors='replace')!r} is no number", _HINT)


def _numbers(name: str) -> tuple[int, ...]:
    return {"passwd": (2, 3), "group": (2,), "subuid": (1, 2), "subgid": (1, 2)}.get(name, ())


def _joined(name: str, old: bytes, new: bytes, where: str) -> bytes:
    """What becomes of a line whose key is there already. Raises ConflictError."""
    before, after = old.split(b":"), new.split(b":")
    if name in ("passwd", "group") and before[2:3] != after[2:3]:
        key, was, now = (one.decode(errors="replace") for one in (after[0], before[2], after[2]))
        raise ConflictError(f"{where}: {key} has the id {was} already, not {now}", "give it that one, or another name")
    if name in ("group", "gshadow") and len(before) == len(after):
        after[3] = _members(before[3], after[3])
        if name == "gshadow":
            after[2] = _members(before[2], after[2])
    return b":".join(after)


def _members(first: bytes, second: bytes) -> bytes:
    return b",".join(dict.fromkeys(one for one in (first + b"," + second).split(b",") if one))


def _check_ids(name: str, lines: Sequence[bytes], old: int, wheres: Sequence[str]) -> None:
    """Raise ConflictError if a line that layers brought, from ``old`` on, takes what another name has."""
    taken: dict[int, bytes] = {}
    ranges: list[tuple[int, int, bytes]] = []
    for place, line in enumerate(lines):
        fields = line.split(b":")
        key = fields[0]
        if name in ("passwd", "group") and len(fields) > 2 and fields[2].isdigit():
            other = taken.setdefault(int(fields[2]), key)
            if other != key and place >= old:
                raise _clash(name, key, other, f"the id {int(fields[2])}", wheres)
        elif name in _RANGES and len(fields) == 3 and fields[1].isdigit() and fields[2].isdigit():
            first, last = int(fields[1]), int(fields[1]) + int(fields[2])
            for low, high, other in ranges:
                if place >= old and other != key and first < high and low < last:
                    raise _clash(name, key, other, f"the range {first}:{last - first}", wheres)
            ranges.append((first, last, key))


def _clash(name: str, key: bytes, other: bytes, what: str, wheres: Iterable[str]) -> ConflictError:
    return ConflictError(
        f"{', '.join(wheres)}: {_text(key)} wants {what}, which {_text(other)} has in {name}", "give it a free one"
    )


def ids(text: bytes) -> dict[bytes, int]:
    """Ids by name, of a passwd or group file."""
    found: dict[bytes, int] = {}
    for line in text.splitlines():
        fields = line.split(b":")
        if len(fields) > 2 and fields[2].isdigit() and int(fields[2]) <= MAX_ID:
            found.setdefault(fields[0], int(fields[2]))
    return found
