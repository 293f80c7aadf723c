"""What one machine gets: a composition with its templates rendered, accounts merged and owners found."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from gitstate.core.entry import Kind, Meta
from gitstate.core.names import octal
from gitstate.machine.render.accounts import Lines, ids, merge_accounts
from gitstate.machine.render.compose import Composition, is_plain
from gitstate.machine.render.image import Image
from gitstate.machine.render.models import ACCOUNTS, Action, Blob, Decision, LayerError, ReadBlob, RenderedEntry
from gitstate.tree.snapshot import PLAIN_DIRECTORY

if TYPE_CHECKING:
    from gitstate.machine.render.templates import Templates

_SECRET: Final = frozenset({b"shadow", b"gshadow"})
_OWNERS: Final = {"uid": b"etc/passwd", "gid": b"etc/group"}


class Finisher:
    """Finishes the compositions of one image; what machines have in common is worked out once."""

    def __init__(self, image: Image, read: ReadBlob) -> None:
        self._image = image
        self._read = read
        self._merged: dict[tuple[bytes, tuple[tuple[str, bytes], ...]], bytes] = {}
        self._ids: dict[bytes, dict[bytes, int]] = {}

    @cached_property
    def _templates(self) -> Templates:
        from gitstate.machine.render.templates import Templates  # jinja2 takes as long to load as the rest of a command

        return Templates(self._read)

    def finish(self, composition: Composition, facts: Mapping[str, Any], who: str) -> list[RenderedEntry]:
        """All that the machine ``who`` gets, parents first. Raises LayerError, ConflictError, RefusedError."""
        return _Finishing(self, composition, {**facts, "vars": composition.vars}, who).run()

    def accounts(self, path: bytes) -> tuple[Meta, bytes]:
        """An account file of the image; an empty one where it has none."""
        real = self._image.real(path)
        found = self._image.read(real) if real else None
        name = path.rpartition(b"/")[2]
        return found or (Meta(Kind.FILE, 0o600 if name in _SECRET else 0o644, time=0), b"")

    def ids(self, text: bytes) -> dict[bytes, int]:
        """Ids by name."""
        if text not in self._ids:
            self._ids[text] = ids(text)
        return self._ids[text]

    def merge(self, path: bytes, marks: list[Decision], texts: list[Lines]) -> bytes:
        """The image's file with the lines of layers."""
        name = path.rpartition(b"/")[2].decode()
        key = path, tuple((one.layer, part.text) for one, part in zip(marks, texts, strict=True))
        if key not in self._merged:
            image = Lines(f"{self._image}: {octal(path)}", self.accounts(path)[1])
            self._merged[key] = merge_accounts(name, image, texts)
        return self._merged[key]


class _Finishing:
    """One machine."""

    def __init__(self, finisher: Finisher, composition: Composition, facts: Mapping[str, Any], who: str) -> None:
        self._finisher = finisher
        self._image = finisher._image
        self._composition = composition
        self._commits = composition.commits
        self._facts = facts
        self._who = who
        self._accounts: dict[bytes, bytes] = {}
        self._skipped: list[bytes] = []

    def run(self) -> list[RenderedEntry]:
        marks = self._composition.marks
        for path in sorted(ACCOUNTS & marks.keys()):
            if marks[path].act is Action.MERGE:
                self._accounts[path] = self._merge(path, marks[path])
        found = []
        for path in sorted(marks):
            item = self._item(path, marks[path])
            if item is not None:
                found.append(item)
        return self._without_emptied(found) if self._skipped else found

    def _without_emptied(self, items: list[RenderedEntry]) -> list[RenderedEntry]:
        """``items`` without the directories that would hold nothing, for templates skipped all that is in them."""
        emptied = {path[: one.start()] for path in self._skipped for one in re.finditer(b"/", path)}
        kept, needed = [], set()
        for item in reversed(items):
            is_made = item.meta is not None and item.meta.kind is Kind.DIRECTORY and not item.covers
            if item.path in needed or item.path not in emptied or not is_made or self._image.at(item.path) is not None:
                kept.append(item)
                needed.add(item.path.rpartition(b"/")[0])
        return kept[::-1]

    def _item(self, path: bytes, mark: Decision) -> RenderedEntry | None:
        """What the machine gets at a path, by ``mark`` or, where its template skips the file, by what is under it."""
        commit = self._commits[mark.layer]
        if mark.act is Action.DIRECTORY:
            directory = self._directory(path, mark, commit)
            return self._owned(directory, mark) if directory is not None else None
        if mark.act is Action.HIDE:
            hides = not self._is_covered(path) and self._image.at(path) is not None
            return RenderedEntry(path, None, None, mark.layer, commit, covers=True) if hides else None
        assert mark.entry is not None
        meta = mark.entry.meta
        content: Blob | bytes | None = Blob(mark.layer, mark.entry.oid) if mark.entry.oid else None
        if mark.act is Action.RENDER:
            content = self._render(mark)
            if content is None:
                self._skipped.append(path)
                return self._item(path, mark.under) if mark.under is not None else None
        elif mark.act is Action.MERGE:
            meta, content = self._merged_meta(path, mark), self._accounts[path]
        covers = mark.under is not None and self._has_directory(path)
        return self._owned(RenderedEntry(path, meta, content, mark.layer, commit, covers), mark)

    def _directory(self, path: bytes, mark: Decision, commit: bytes) -> RenderedEntry | None:
        there = None if self._is_covered(path) else self._image.at(path)
        is_directory = there is not None and there.meta.kind is Kind.DIRECTORY
        own = mark.entry.meta if mark.entry is not None else PLAIN_DIRECTORY
        if there is not None and is_directory and is_plain(own):
            return RenderedEntry(path, there.meta, None, mark.layer, commit, covers=True) if mark.covers else None
        return RenderedEntry(
            path, own, None, mark.layer, commit, covers=there is not None and (mark.covers or not is_directory)
        )

    def _has_directory(self, path: bytes) -> bool:
        """Whether the image has a directory where a layer, which has hidden it, has something else."""
        there = None if self._is_covered(path) else self._image.at(path)
        return there is not None and there.meta.kind is Kind.DIRECTORY

    def _is_covered(self, path: bytes) -> bool:
        marks = self._composition.marks
        while path:
            path = path.rpartition(b"/")[0]
            mark = marks.get(path)
            if mark is not None and (mark.covers or mark.act is not Action.DIRECTORY):
                return True
        return False

    # --- content ---

    def _render(self, mark: Decision) -> bytes | None:
        layers = self._composition.layers
        return self._finisher._templates.render(layers, mark.layer, mark.source, self._facts, self._who)

    def _merge(self, path: bytes, latest: Decision) -> bytes:
        marks = list(reversed(list(_merging(latest))))
        return self._finisher.merge(path, marks, [self._lines(one) for one in marks])

    def _lines(self, mark: Decision) -> Lines:
        assert mark.entry is not None
        where = f"{self._who}: {mark.layer} {self._commits[mark.layer].hex()[:7]}: {octal(mark.source)}"
        if mark.is_template:
            return Lines(where, self._render(mark) or b"")
        return Lines(where, self._finisher._read(mark.layer, mark.entry.oid))

    def _merged_meta(self, path: bytes, latest: Decision) -> Meta:
        meta = self._finisher.accounts(path)[0]
        times = [mark.entry.meta.time or 0 for mark in _merging(latest) if mark.entry]
        return meta._replace(time=max([meta.time or 0, *times]))

    # --- owners ---

    def _owned(self, item: RenderedEntry, mark: Decision) -> RenderedEntry:
        """``item`` with the ids of the names that its record has."""
        meta = item.meta
        assert meta is not None
        if not (meta.uname or meta.gname) or mark.entry is None:
            return item
        uid = self._id_of("uid", meta.uname, mark) if meta.uname else meta.uid
        gid = self._id_of("gid", meta.gname, mark) if meta.gname else meta.gid
        return item._replace(meta=meta._replace(uid=uid, gid=gid, uname=b"", gname=b""))

    def _id_of(self, what: str, name: bytes, mark: Decision) -> int:
        path = _OWNERS[what]
        text = self._accounts[path] if path in self._accounts else self._finisher.accounts(path)[1]
        found = self._finisher.ids(text).get(name)
        if found is None:
            kind = "user" if what == "uid" else "group"
            where = f"{self._who}: {mark.layer} {self._commits[mark.layer].hex()[:7]}: {octal(mark.source)}"
            hint = f"gitstate knows those of its {path.decode()} and of layers' {path.decode()}.merge"
            raise LayerError(f"{where}: {self._image} has no {kind} {octal(name)}", hint)
        return found


def _merging(latest: Decision) -> Iterator[Decision]:
    """The marks that a merged file is made of, the latest first."""
    return (mark for mark in latest.chain() if mark.act is Action.MERGE)
