"""Where each change of a machine belongs: to its prototype, to a layer, or nowhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from gitstate.core.entry import Kind, Meta
from gitstate.core.names import OPAQUE, WHITEOUT, display, join
from gitstate.machine.render.compose import Composition
from gitstate.machine.render.image import Image
from gitstate.machine.render.models import Action, Decision, ReadBlob

_LOCAL: Final = b"local"


class Target(NamedTuple):
    """What becomes of one change.

    ``path`` is that in ``repository``. ``removes`` and ``hides`` are further paths there: what goes, and what gets a
    whiteout. ``is_there`` is False for what was removed on the machine. ``note`` tells people of what isn't obvious.
    """

    repository: str
    path: bytes
    is_there: bool = True
    removes: tuple[bytes, ...] = ()
    hides: bytes | None = None
    note: str = ""


class LeftOut(NamedTuple):
    """A change that is recorded nowhere, and why."""

    path: bytes
    why: str


WHITEOUT_FILE: Final = Meta(Kind.FILE, 0o644, time=0)
"""What a whiteout is in a layer: an empty file, whoever makes it and whenever."""


@dataclass(frozen=True, slots=True)
class Places:
    """What a machine runs, as far as it says to whom its files belong.

    ``secrets`` are the paths of its own secrets, which no layer holds.
    """

    host: str
    prototype: str
    image: Image
    composition: Composition
    secrets: frozenset[bytes]
    read: ReadBlob

    @property
    def host_layer(self) -> str:
        return f"host/{self.host}"

    def of(self, path: bytes, *, is_there: bool) -> Target | LeftOut:
        """Where the file, link or device at a path belongs, or what was removed there."""
        if path in self.secrets or _listed(path) in self.secrets:
            return LeftOut(path, "it is a secret of this machine: gitstate secret on the server changes it")
        path, decision = self._decision(path)
        if decision is None:
            return Target(self.prototype, path, is_there)
        match decision.action:
            case Action.LAY:
                return self._of_layer(path, decision, is_there=is_there)
            case Action.RENDER:
                note = f"{display(decision.source)} of {decision.layer} makes it: recorded for this machine alone"
                return self._of_host(path, note, is_there=is_there)
            case Action.MERGE:
                return self._of_accounts(path, decision, is_there=is_there)
            case Action.HIDE:
                return self._of_hidden(path, decision) if is_there else Target(self.prototype, path, is_there=False)
            case Action.DIRECTORY:
                if is_there:
                    return self._of_host(path, f"{decision.layer} has a directory there", is_there=True)
                return Target(self.prototype, path, is_there=False)

    def _decision(self, path: bytes) -> tuple[bytes, Decision | None]:
        """What layers decided at a path; ``etc/local/motd`` is ``etc/motd`` where the state ``local`` moved it."""
        decisions = self.composition.decisions
        if path not in decisions and (listed := _listed(path)) in decisions:
            return listed, decisions[listed]
        return path, decisions.get(path)

    def _of_layer(self, path: bytes, decision: Decision, *, is_there: bool) -> Target:
        if is_there:
            return Target(decision.layer, decision.source)
        below = decision.lower is not None or self.image.at(path) is not None
        above, _, name = decision.source.rpartition(b"/")
        return Target(
            decision.layer,
            decision.source,
            is_there=False,
            hides=join(above, WHITEOUT + name) if below else None,
            note="something lower shows there, so it is hidden" if below else "",
        )

    def _of_host(self, path: bytes, note: str, *, is_there: bool) -> Target:
        above, _, name = path.rpartition(b"/")
        hides = None if is_there else join(above, WHITEOUT + name)
        return Target(self.host_layer, path, is_there, hides=hides, note=note)

    def _of_hidden(self, path: bytes, decision: Decision) -> Target:
        """A file where a layer hides one: it takes the whiteout's place."""
        above, _, name = decision.source.rpartition(b"/")
        if name.startswith(WHITEOUT) and name != OPAQUE:
            return Target(decision.layer, join(above, name.removeprefix(WHITEOUT)), removes=(decision.source,))
        return self._of_host(path, f"{decision.layer} hides all that is there", is_there=True)

    def _of_accounts(self, path: bytes, decision: Decision, *, is_there: bool) -> Target | LeftOut:
        if not is_there:
            return LeftOut(path, "accounts can't be removed as a file")
        if any(one.is_template for one in decision.chain() if one.action is Action.MERGE):
            return LeftOut(path, f"a template of {decision.layer} adds lines to it: edit the prototype or the layer")
        return Target(self.prototype, path, note="without the lines that layers add")

    def is_merged(self, path: bytes) -> bool:
        """Whether layers add lines to the account file ``path``."""
        decision = self.composition.decisions.get(path)
        return decision is not None and decision.action is Action.MERGE

    def account_lines(self, path: bytes, text: bytes) -> bytes:
        """A machine's account file without what layers made of it: their accounts are as in the image, or aren't."""
        decision = self.composition.decisions[path]
        merged = [(one.layer, one.entry.oid) for one in decision.chain() if one.action is Action.MERGE and one.entry]
        theirs = {_key(line) for layer, oid in merged for line in self.read(layer, oid).splitlines()}
        found = self.image.read(self.image.resolve(path) or path)
        own = {_key(line): line for line in found[1].splitlines(keepends=True)} if found else {}
        kept = (own.get(_key(line), b"") if _key(line) in theirs else line for line in text.splitlines(keepends=True))
        return b"".join(kept)


def _listed(path: bytes) -> bytes:
    """Where a file would be if the state ``local`` hadn't moved it; ``path`` itself outside such directories."""
    above, _, name = path.rpartition(b"/")
    outer, _, directory = above.rpartition(b"/")
    return join(outer, name) if directory == _LOCAL else path


def _key(line: bytes) -> bytes:
    return line.partition(b":")[0].strip()
