"""Full manifests: a snapshot as one specification for mtree (docs/format.md, section 9)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gitstate.core.entry import Kind, Meta
from gitstate.core.names import octal
from gitstate.tree.manifest.write import HEAD, VERSION, format_links, format_time, format_xattrs


@dataclass(frozen=True, slots=True)
class Content:
    """What a full manifest adds for a file (``size``, ``sha256``) or a symlink (``target``)."""

    size: int = 0
    sha256: str = ""
    target: bytes = b""


def format_full(entries: Iterable[tuple[bytes, Meta, Content]], groups: Iterable[Iterable[bytes]]) -> Iterator[str]:
    """The lines of a full manifest for ``(path, meta, content)`` in tree order, the root's path empty."""
    yield HEAD
    yield VERSION
    for path, meta, content in entries:
        whole = b"./" + path if path else b"."
        yield (
            f"{octal(_as_pattern(whole))} type={meta.kind.value} mode={meta.mode:04o} uid={meta.uid} gid={meta.gid}"
            + _details(meta, content)
        )
        if meta.xattrs:
            yield f"#gitstate {octal(whole)}{format_xattrs(meta.xattrs)}\n"
    for line in format_links(groups).decode("ascii").splitlines():
        yield "#gitstate-links " + " ".join("./" + path for path in line.split(" ")) + "\n"


_has_pattern = re.compile(rb"[*?]|\[[^/]*\]").search
_PATTERN_BYTE = re.compile(rb"[*?[]")


def _as_pattern(path: bytes) -> bytes:
    """``path`` as the pattern that fits it alone: mtree takes names with ``*?[`` for patterns, octal or not."""
    if not _has_pattern(path):
        return path
    return b"/".join(
        _PATTERN_BYTE.sub(rb"[\g<0>]", part.replace(b"\\", rb"\\")) if _has_pattern(part) else part
        for part in path.split(b"/")
    )


def _details(meta: Meta, content: Content) -> str:
    words = "" if meta.time is None else f" time={format_time(meta.time)}"
    if meta.device is not None:
        words += f" device=native,{meta.device[0]},{meta.device[1]}"
    if meta.kind is Kind.FILE:
        words += f" size={content.size} sha256={content.sha256}"
    if meta.kind is Kind.SYMLINK:
        words += f" link={octal(content.target)}"
    return words + "\n"
