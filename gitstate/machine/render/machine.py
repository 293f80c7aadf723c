"""What one machine gets: a composition with its templates rendered, accounts merged and owners found."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from gitstate.core.entry import Kind, Meta
from gitstate.core.names import display
from gitstate.machine.render.accounts import Lines, ids, merge_accounts
from gitstate.machine.render.compose import Composition
from gitstate.machine.render.image import Image
from gitstate.machine.render.models import ACCOUNTS, Action, Blob, Decision, LayerError, ReadBlob, RenderedEntry
from gitstate.machine.render.templates import Templates
from gitstate.tree.snapshot import PLAIN_DIRECTORY

_SECRET: Final = frozenset({b"shadow", b"gshadow"})
_OWNERS: Final = {"uid": b"etc/passwd", "gid": b"etc/group"}


class MachineRenderer:
    """Finishes the compositions of one image; what machines have in common is worked out once."""

    def __init__(self, image: Image, read: ReadBlob) -> None:
        self._image = image
        self._read = read
        self._templates = Templates(read)
        self._merged: dict[tuple[bytes, tuple[tuple[str, bytes], ...]], bytes] = {}
        self._ids: dict[bytes, dict[bytes, int]] = {}

    def finish(self, composition: Composition, facts: Mapping[str, Any], who: str) -> list[RenderedEntry]:
        """All that the machine ``who`` gets, parents first. Raises LayerError, ConflictError, RefusedError."""
        return _Rendering(self, composition, {**facts, "vars": composition.vars}, who).run()

    def accounts(self, path: bytes) -> tuple[Meta, bytes]:
        """An account file of the image; an empty one where it has none."""
        real = self._image.resolve(path)
        found = self._image.read(real) if real else None
        name = path.rpartition(b"/")[2]
        return found or (Meta(Kind.FILE, 0o600 if name in _SECRET else 0o644, time=0), b"")

    def ids(self, text: bytes) -> dict[bytes, int]:
        """Ids by name."""
        if text not in self._ids:
            self._ids[text] = ids(text)
        return self._ids[text]

    def merge(self, path: bytes, decisions: list[Decision], texts: list[Lines]) -> bytes:
        """The image's file with the lines of layers."""
        name = path.rpartition(b"/")[2].decode()
        key = path, tuple((one.layer, part.text) for one, part in zip(decisions, texts, strict=True))
        if key not in self._merged:
            image = Lines(f"{self._image}: {display(path)}", self.accounts(path)[1])
            self._merged[key] = merge_accounts(name, image, texts)
        return self._merged[key]


class _Rendering:
    """One machine."""

    def __init__(self, finisher: MachineRenderer, composition: Composition, facts: Mapping[str, Any], who: str) -> None:
        self._finisher = finisher
        self._image = finisher._image
        self._composition = composition
        self._commits = composition.commits
        self._facts = facts
        self._who = who
        self._accounts: dict[bytes, bytes] = {}
        self._skipped: list[bytes] = []
        self._texts: dict[tuple[str, bytes], bytes | None] = {}
        """What templates make, by layer and path in it."""

    def run(self) -> list[RenderedEntry]:
        decisions = self._composition.decisions
        latest = [decisions[path] for path in sorted(decisions)]
        self._render([one for each in latest for one in (each, *_merged_decisions(each.lower)) if one.is_template])
        for path in sorted(ACCOUNTS & decisions.keys()):
            if decisions[path].action is Action.MERGE:
                self._accounts[path] = self._merge(path, decisions[path])
        found = []
        for path in sorted(decisions):
            item = self._item(path, decisions[path])
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

    def _item(self, path: bytes, decision: Decision) -> RenderedEntry | None:
        """What the machine gets at a path, by ``decision`` or, where its template skips the file, by the lower one."""
        commit = self._commits[decision.layer]
        if decision.action is Action.DIRECTORY:
            directory = self._directory(path, decision, commit)
            return self._owned(directory, decision) if directory is not None else None
        if decision.action is Action.HIDE:
            hides = not self._is_covered(path) and self._image.at(path) is not None
            return RenderedEntry(path, None, None, decision.layer, commit, covers=True) if hides else None
        assert decision.entry is not None
        meta = decision.entry.meta
        content: Blob | bytes | None = Blob(decision.layer, decision.entry.oid) if decision.entry.oid else None
        if decision.action is Action.RENDER:
            content = self._text(decision)
            if content is None:
                self._skipped.append(path)
                return self._item(path, decision.lower) if decision.lower is not None else None
        elif decision.action is Action.MERGE:
            meta, content = self._merged_meta(path, decision), self._accounts[path]
        covers = decision.lower is not None and self._has_directory(path)
        return self._owned(RenderedEntry(path, meta, content, decision.layer, commit, covers), decision)

    def _directory(self, path: bytes, decision: Decision, commit: bytes) -> RenderedEntry | None:
        there = None if self._is_covered(path) else self._image.at(path)
        is_directory = there is not None and there.meta.kind is Kind.DIRECTORY
        if there is not None and is_directory and decision.entry is None:
            return (
                RenderedEntry(path, there.meta, None, decision.layer, commit, covers=True) if decision.covers else None
            )
        own = decision.entry.meta if decision.entry is not None else PLAIN_DIRECTORY
        return RenderedEntry(
            path, own, None, decision.layer, commit, covers=there is not None and (decision.covers or not is_directory)
        )

    def _has_directory(self, path: bytes) -> bool:
        """Whether the image has a directory where a layer, which has hidden it, has something else."""
        there = None if self._is_covered(path) else self._image.at(path)
        return there is not None and there.meta.kind is Kind.DIRECTORY

    def _is_covered(self, path: bytes) -> bool:
        decisions = self._composition.decisions
        while path:
            path = path.rpartition(b"/")[0]
            decision = decisions.get(path)
            if decision is not None and (decision.covers or decision.action is not Action.DIRECTORY):
                return True
        return False

    # --- content ---

    def _text(self, decision: Decision) -> bytes | None:
        """What a template makes, None if it skips the file."""
        if (decision.layer, decision.source) not in self._texts:
            self._render([decision])  # the one below a template that skipped the file
        return self._texts[decision.layer, decision.source]

    def _render(self, decisions: Sequence[Decision]) -> None:
        if decisions:
            wanted = [(one.layer, one.source) for one in decisions]
            self._texts |= self._finisher._templates.render(self._composition.layers, wanted, self._facts, self._who)

    def _merge(self, path: bytes, latest: Decision) -> bytes:
        decisions = list(reversed(list(_merged_decisions(latest))))
        return self._finisher.merge(path, decisions, [self._lines(one) for one in decisions])

    def _lines(self, decision: Decision) -> Lines:
        assert decision.entry is not None
        where = f"{self._who}: {decision.layer} {self._commits[decision.layer].hex()[:7]}: {display(decision.source)}"
        if decision.is_template:
            return Lines(where, self._text(decision) or b"")
        return Lines(where, self._finisher._read(decision.layer, decision.entry.oid))

    def _merged_meta(self, path: bytes, latest: Decision) -> Meta:
        meta = self._finisher.accounts(path)[0]
        times = [decision.entry.meta.time or 0 for decision in _merged_decisions(latest) if decision.entry]
        return meta._replace(time=max([meta.time or 0, *times]))

    # --- owners ---

    def _owned(self, item: RenderedEntry, decision: Decision) -> RenderedEntry:
        """``item`` with the ids of the names that its record has."""
        meta = item.meta
        assert meta is not None
        if not (meta.uname or meta.gname) or decision.entry is None:
            return item
        uid = self._id_of("uid", meta.uname, decision) if meta.uname else meta.uid
        gid = self._id_of("gid", meta.gname, decision) if meta.gname else meta.gid
        return item._replace(meta=meta._replace(uid=uid, gid=gid, uname=b"", gname=b""))

    def _id_of(self, what: str, name: bytes, decision: Decision) -> int:
        path = _OWNERS[what]
        text = self._accounts[path] if path in self._accounts else self._finisher.accounts(path)[1]
        found = self._finisher.ids(text).get(name)
        if found is None:
            kind = "user" if what == "uid" else "group"
            where = (
                f"{self._who}: {decision.layer} {self._commits[decision.layer].hex()[:7]}: {display(decision.source)}"
            )
            hint = f"gitstate knows those of its {path.decode()} and of layers' {path.decode()}.merge"
            raise LayerError(f"{where}: {self._image} has no {kind} {display(name)}", hint)
        return found


def _merged_decisions(latest: Decision | None) -> Iterator[Decision]:
    """The decisions that a merged file is made of, the latest first."""
    return (decision for decision in (latest.chain() if latest else ()) if decision.action is Action.MERGE)
