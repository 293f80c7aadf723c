"""State files: what earlier runs worked out, kept to save work. Losing one costs time alone.

A file is one line (``gitstate NAME VERSION KEY CHECKSUM``) and a body. The key, in hex, says what the body was made
from, and is ``-`` if that doesn't matter; the checksum is the body's CRC-32.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from gitstate.core import fs

_LONGEST_HEADER = 300


@dataclass(frozen=True, slots=True)
class StateFormat:
    """One kind of state file. ``version`` changes with the body's shape, and when what it holds must be looked at anew.

    Reading gives None for a file that is absent, damaged, of another version or of another key.
    """

    name: str
    version: int

    def _header(self, key: bytes, checksum: int) -> bytes:
        return b"gitstate %s %d %s %08x\n" % (self.name.encode(), self.version, key.hex().encode() or b"-", checksum)

    def encode(self, parts: Sequence[bytes], key: bytes = b"") -> bytes:
        """The file's content; its body is all ``parts``."""
        checksum = 0
        for part in parts:
            checksum = zlib.crc32(part, checksum)
        return b"".join([self._header(key, checksum), *parts])

    def decode(self, file: BinaryIO, key: bytes = b"") -> bytes | None:
        """The body of a file opened without a buffer, which would copy it once more."""
        header = file.readline(_LONGEST_HEADER)
        body = file.read()
        return body if header == self._header(key, zlib.crc32(body)) else None

    def read(self, path: Path, key: bytes = b"") -> bytes | None:
        """The body of the file at ``path``."""
        with suppress(OSError), open(path, "rb", buffering=0) as file:
            return self.decode(file, key)
        return None

    def write(self, path: Path, parts: Sequence[bytes], key: bytes = b"") -> None:
        """Replace the file atomically; root alone may read it. Raises OSError."""
        fs.write_file(path, self.encode(parts, key), 0o600)

    def read_json(self, path: Path, key: bytes = b"") -> Any:
        """The value that ``write_json`` wrote."""
        import json  # a check-in reads and writes none of it

        body = self.read(path, key)
        return None if body is None else json.loads(body)

    def write_json(self, path: Path, value: Any, key: bytes = b"") -> None:
        """Replace the file by ``value``. Raises OSError."""
        self.write(path, [to_json(value)], key)


def to_json(value: Any) -> bytes:
    """``value`` as compact JSON."""
    import json

    return json.dumps(value, separators=(",", ":")).encode()
