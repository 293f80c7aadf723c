"""Compressed bytes, unpacked piece by piece in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, cast

from gitstate.core.compression.pieces import TRUNCATED, Damaged, Pieces

_PIECE: Final = 256 << 10
_MOST_MEMORY: Final = 128 << 20
"""For a decoder's dictionary or window; the kernel takes no larger window, either."""
_ZSTD_PIECE: Final = 1024
"""zstd can't be told where to stop: four bytes can hold a block of 128 KiB, so these make 32 MiB at most."""


def unpacked(source: Pieces) -> Iterator[bytes] | None:
    """The content of the compressed segment that ``source`` is at; None if it isn't one that can be read.

    When the last piece is taken, ``source`` is behind the segment. Raises DamagedError.
    """
    head = source.peek(_LONGEST_MAGIC)
    return next((unpack(source) for magic, unpack in _READABLE.items() if head.startswith(magic)), None)


def unreadable(source: Pieces) -> str:
    """The name of a compression that can't be read here; empty if ``source`` is at none."""
    head = source.peek(_LONGEST_MAGIC)
    return next((name for magic, name in _UNREADABLE.items() if head.startswith(magic)), "")


def _gzip(source: Pieces) -> Iterator[bytes]:
    from isal import igzip_lib, isal_zlib

    error = cast("type[Exception]", igzip_lib.IsalError)  # its stub calls it an instance
    decoder = isal_zlib.decompressobj(wbits=31)
    while not decoder.eof:
        given = decoder.unconsumed_tail or source.some(_PIECE)
        piece = _decoded(source.damaged, error, decoder.decompress, given, _PIECE)
        if piece:
            yield piece
        elif not given:
            raise source.damaged(TRUNCATED)
    source.give_back(decoder.unused_data)


def _xz(source: Pieces) -> Iterator[bytes]:
    import lzma

    return _by_need(lzma.LZMADecompressor(lzma.FORMAT_XZ, _MOST_MEMORY), lzma.LZMAError, source)


def _lzma(source: Pieces) -> Iterator[bytes]:
    import lzma

    return _by_need(lzma.LZMADecompressor(lzma.FORMAT_ALONE, _MOST_MEMORY), lzma.LZMAError, source)


def _bzip2(source: Pieces) -> Iterator[bytes]:
    import bz2

    return _by_need(bz2.BZ2Decompressor(), OSError, source)


def _by_need(decoder: Any, error: type[Exception], source: Pieces) -> Iterator[bytes]:
    while not decoder.eof:
        given = source.some(_PIECE) if decoder.needs_input else b""
        if decoder.needs_input and not given:
            raise source.damaged(TRUNCATED)
        piece = _decoded(source.damaged, error, decoder.decompress, given, _PIECE)
        if piece:
            yield piece
    source.give_back(decoder.unused_data)


def _zstd(source: Pieces) -> Iterator[bytes]:
    import zstandard

    decoder = zstandard.ZstdDecompressor(max_window_size=_MOST_MEMORY).decompressobj()
    while not decoder.eof:
        given = source.some(_ZSTD_PIECE)
        if not given:
            raise source.damaged(TRUNCATED)
        piece = _decoded(source.damaged, zstandard.ZstdError, decoder.decompress, given)
        if piece:
            yield piece
    source.give_back(decoder.unused_data)


def _decoded(damaged: Damaged, error: type[Exception], decode: Callable[..., bytes], *given: Any) -> bytes:
    try:
        return decode(*given)
    except (error, MemoryError) as fault:
        raise damaged(f"{fault}") from None


_READABLE: Final[Mapping[bytes, Callable[[Pieces], Iterator[bytes]]]] = {
    b"\x1f\x8b": _gzip,
    b"\xfd7zXZ\0": _xz,
    b"\x28\xb5\x2f\xfd": _zstd,
    b"BZh": _bzip2,
    b"\x5d\0\0": _lzma,
}
_LONGEST_MAGIC: Final = 6
_UNREADABLE: Final = {b"\x02\x21\x4c\x18": "lz4", b"\x04\x22\x4d\x18": "lz4", b"\x89LZO\0\r": "lzop"}
