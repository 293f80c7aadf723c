"""Deltas (gitformat-pack(5)): an object made of pieces of another one in the same pack, and of new bytes.

libgit2 could read them, but to load it takes as long as a whole ``diff``, it keeps hundreds of megabytes of what it has
read, and it holds the interpreter's lock.
"""

from __future__ import annotations

import threading
import zlib
from collections import OrderedDict
from typing import Final

from gitstate.store.objects import Type, object_id
from gitstate.store.reader import Pack

_OFFSET_DELTA: Final = 6
_NAMED_DELTA: Final = 7
_DEEPEST: Final = 4095  # git makes no longer chains
_KEPT: Final = 32 << 20
_HEAD: Final = 1024
"""Deflated bytes in which a delta's two sizes stand, with the tables before them."""
_SIZES: Final = 20
"""Bytes of these two."""


class Bases:
    """A cache of delta bases, of all packs together: the next delta often has the same one."""

    def __init__(self, most: int = _KEPT) -> None:
        self._kept: OrderedDict[tuple[Pack, int], tuple[Type, bytes]] = OrderedDict()
        self._lock = threading.Lock()
        self._size, self._most = 0, most

    def get(self, pack: Pack, offset: int) -> tuple[Type, bytes] | None:
        """The object at ``offset``, if it is cached."""
        with self._lock:
            found = self._kept.get((pack, offset))
            if found is not None:
                self._kept.move_to_end((pack, offset))
            return found

    def keep(self, pack: Pack, offset: int, kind: Type, data: bytes) -> None:
        """Cache an object, and drop those least recently used."""
        with self._lock:
            if (pack, offset) in self._kept or len(data) > self._most // 4:
                return
            self._kept[pack, offset] = kind, data
            self._size += len(data)
            while self._size > self._most:
                _, (_, forgotten) = self._kept.popitem(last=False)
                self._size -= len(forgotten)


def read_delta(pack: Pack, place: int, oid: bytes, bases: Bases) -> tuple[Type, bytes]:
    """Type and content of the object ``oid``, whose entry at ``place`` in the index is a delta. Raises DamagedError."""
    chain: list[tuple[int, bytes]] = []
    offset = pack.offset(place)
    while (found := bases.get(pack, offset)) is None:
        number, size, start = pack.head(offset)
        if number not in (_OFFSET_DELTA, _NAMED_DELTA):
            found = _kind(pack, number), pack.inflate(start, size)
            bases.keep(pack, offset, *found)
            break
        base, start = (_base_before if number == _OFFSET_DELTA else _base_by_name)(pack, offset, start)
        chain.append((offset, pack.inflate(start, size)))
        offset = base
        if len(chain) > _DEEPEST:
            raise pack.damaged("its deltas have no end")
    kind, data = found
    while chain:
        offset, delta = chain.pop()
        try:
            data = apply(data, delta)
        except (IndexError, ValueError):
            raise pack.damaged("a delta is malformed") from None
        bases.keep(pack, offset, kind, data)
    if object_id(kind, data) != oid:
        raise pack.damaged(f"the object {oid.hex()} is another one")
    return kind, data


def size_of_delta(pack: Pack, place: int) -> int:
    """The size of the object whose entry at ``place`` is a delta: a few bytes may copy many. Raises DamagedError."""
    offset = pack.offset(place)
    number, _, start = pack.head(offset)
    _, start = (_base_before if number == _OFFSET_DELTA else _base_by_name)(pack, offset, start)
    try:
        head = zlib.decompressobj().decompress(pack.raw(start, _HEAD), _SIZES)
        return _number(head, _number(head, 0)[1])[0]
    except (zlib.error, IndexError):
        raise pack.damaged("a delta is malformed") from None


def _kind(pack: Pack, number: int) -> Type:
    try:
        return Type(number)
    except ValueError:
        raise pack.damaged("an entry is of no known type") from None


def _base_before(pack: Pack, offset: int, start: int) -> tuple[int, int]:
    """The offset of a base that is given by its distance, and where the delta's own data begins."""
    distance = -1
    for used, byte in enumerate(pack.raw(start, 10), 1):
        distance = distance + 1 << 7 | byte & 0x7F
        if not byte & 0x80:
            if 0 < distance < offset:
                return offset - distance, start + used
            break
    raise pack.damaged("a delta's base is nowhere")


def _base_by_name(pack: Pack, offset: int, start: int) -> tuple[int, int]:
    """The same for a base that is given by its id."""
    place = pack.find(pack.raw(start, 20))
    if place is None:
        raise pack.damaged("a delta's base is missing")
    return pack.offset(place), start + 20


_SHIFTS: Final = [
    ([8 * bit for bit in range(4) if code & 1 << bit], [8 * bit for bit in range(3) if code & 0x10 << bit])
    for code in range(256)
]
"""By the first byte of a copy instruction: the shifts of the bytes of its start and of its length that follow."""


def apply(base: bytes, delta: bytes) -> bytes:
    """Apply ``delta`` to ``base``. Raises ValueError, IndexError if it is no delta of it."""
    base_size, place = _number(delta, 0)
    size, place = _number(delta, place)
    if base_size != len(base):
        raise ValueError("of another base")
    pieces: list[bytes] = []
    made, end = 0, len(delta)
    while place < end:
        code = delta[place]
        place += 1
        if code & 0x80:
            start = length = 0
            starts, lengths = _SHIFTS[code]
            for shift in starts:
                start |= delta[place] << shift
                place += 1
            for shift in lengths:
                length |= delta[place] << shift
                place += 1
            length = length or 0x10000
            piece = base[start : start + length]
        else:
            length = code
            piece = delta[place : place + length]
            place += length
        made += length
        if not code or len(piece) != length or made > size:
            raise ValueError("out of bounds")
        pieces.append(piece)
    if made != size:
        raise ValueError("of another size")
    return b"".join(pieces)


def _number(delta: bytes, place: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and where it ends."""
    value = shift = 0
    while True:
        byte = delta[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if not byte & 0x80:
            return value, place
