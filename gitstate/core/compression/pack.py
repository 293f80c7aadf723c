"""Packing a stream, so that the same bytes give the same packed bytes."""

from __future__ import annotations

import enum
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Final

_GZIP: Final = 31
"""For zlib: a header of gzip, which has no time and no name."""
_ZSTD_LEVEL: Final = 3


class Compression(enum.Enum):
    """How a stream is packed."""

    GZIP = "gzip"
    ZSTD = "zstd"


def packed(pieces: Iterable[bytes], how: Compression) -> Iterator[bytes]:
    """The pieces packed as one segment, by one thread: others would cut it elsewhere.

    gzip by zlib, not by isal, whose output depends on the processor.
    """
    compressor = _compressor(how)
    for piece in pieces:
        yield compressor.compress(piece)
    yield compressor.flush()


def _compressor(how: Compression) -> Any:
    if how is Compression.GZIP:
        return zlib.compressobj(wbits=_GZIP)
    import zstandard

    return zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True).compressobj()
