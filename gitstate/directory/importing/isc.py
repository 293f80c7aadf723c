"""ISC dhcpd's language: ``host`` blocks of dhcpd.conf, ``lease`` blocks of dhcpd.leases. Pure.

A lease file is a journal: of several leases of one address the last counts. Any other block is looked through for
these two, any other statement passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from gitstate.core.errors import UsageError
from gitstate.directory.importing.lists import NAMELESS, WITHOUT_MAC, HostList, LineNote, Row, addresses, quoted, row

NOT_ACTIVE: Final = "lease not active"
_ADDRESS: Final = re.compile(r"[0-9.]{7,15}|[0-9a-fA-F:]*:[0-9a-fA-F:]*")
_TOKEN: Final = re.compile(
    r"""(?P<gap>[ \t\r\f\v]+|\#[^\n]*) | (?P<line>\n) | "(?P<text>(?:[^"\\\n]|\\[^\n])*)" | (?P<sign>[{};,])
      | (?P<word>[^\s{};,"\#]+)""",
    re.VERBOSE,
)
_DEEPEST: Final = 100


class Statement(NamedTuple):
    """Words up to a semicolon."""

    line: int
    words: list[str]


@dataclass(slots=True)
class _Block:
    """Braces with what stands in front of them and, so far, inside."""

    line: int
    words: list[str]
    statements: list[Statement] = field(default_factory=list)

    def said(self, *words: str) -> Statement | None:
        """The last statement that begins so."""
        count = len(words)
        found = (one for one in reversed(self.statements) if tuple(map(str.lower, one.words[:count])) == words)
        return next(found, None)


class _BrokenError(ValueError):
    """From this line on nothing can be understood."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(why)
        self.remark = LineNote(line, why)


@dataclass(slots=True)
class _Journal:
    """What has been read: the last of each counts."""

    listing: HostList = field(default_factory=HostList)
    hosts: list[tuple[str, Row]] = field(default_factory=list)
    leases: dict[str, Row | LineNote] = field(default_factory=dict)

    def enter(self, block: _Block) -> None:
        """Take what a closed block says."""
        kind = block.words[0].lower() if block.words else ""
        try:
            if kind == "host":
                self._enter_host(block)
            elif kind == "lease":
                self._enter_lease(block)
        except UsageError as fault:
            self.listing.bad.append(LineNote(block.line, fault.message))

    def _enter_host(self, block: _Block) -> None:
        declared = block.words[1] if len(block.words) > 1 else ""
        if block.said("dynamic") or block.said("deleted"):
            self.hosts = [(name, one) for name, one in self.hosts if name != declared]
        if block.said("deleted"):
            return
        hardware = block.said("hardware", "ethernet")
        if hardware is None:
            self.listing.left_out.append(LineNote(block.line, WITHOUT_MAC))
            return
        own = block.said("option", "host-name")
        fixed = block.said("fixed-address")
        ips = [word for word in (fixed.words[1:] if fixed else []) if _ADDRESS.fullmatch(word)]
        values = addresses([_only(hardware, 2)], ips)
        self.hosts.append((declared, row(block.line, _only(own, 2) if own else declared, values)))

    def _enter_lease(self, block: _Block) -> None:
        ip = _only(Statement(block.line, block.words), 1)
        hardware, name = block.said("hardware", "ethernet"), block.said("client-hostname")
        state = block.said("binding", "state")
        if (state is not None and state.words[2:] != ["active"]) or block.said("abandoned"):
            self._put(ip, LineNote(block.line, NOT_ACTIVE))
        elif hardware is None:
            self._put(ip, LineNote(block.line, WITHOUT_MAC))
        elif name is None or not _only(name, 1):
            self._put(ip, LineNote(block.line, NAMELESS))
        else:
            self.leases.pop(ip, None)  # even if what follows fails
            self._put(ip, row(block.line, _only(name, 1), addresses([_only(hardware, 2)], [ip]), lease=True))

    def _put(self, ip: str, what: Row | LineNote) -> None:
        self.leases.pop(ip, None)  # its place is that of the last one
        self.leases[ip] = what

    def close(self) -> HostList:
        """All that counts."""
        found = self.listing
        found.rows = [one for _, one in self.hosts]
        for one in self.leases.values():
            if isinstance(one, Row):
                found.rows.append(one)
            else:
                found.left_out.append(one)
        found.rows.sort(key=lambda one: one.line)
        found.left_out.sort(key=lambda one: one.line)
        return found


def read(text: str) -> HostList:
    """The machines of a configuration or of a lease file."""
    journal = _Journal()
    try:
        for block in _blocks(text, journal.listing):
            journal.enter(block)
    except _BrokenError as broken:
        journal.listing.bad.append(broken.remark)
    return journal.close()


def _only(statement: Statement, place: int) -> str:
    """The one word at the end of a statement. Raises UsageError."""
    if len(statement.words) != place + 1:
        raise UsageError(f"{quoted(' '.join(statement.words))} says not one thing")
    return statement.words[place]


class _Reader:
    """Statements and blocks, as their words come."""

    def __init__(self, listing: HostList) -> None:
        self._listing = listing
        self._opened = [_Block(1, [])]
        self._words: list[str] = []
        self._begun = 1

    def word(self, line: int, word: str) -> None:
        """One more of a statement."""
        if not self._words:
            self._begun = line
        self._words.append(word)

    def begin(self, line: int) -> None:
        """An opening brace. Raises _Broken."""
        if len(self._opened) > _DEEPEST:
            raise _BrokenError(line, f"more than {_DEEPEST} blocks in each other")
        self._opened.append(_Block(self._begun if self._words else line, self._words))
        self._words = []

    def end(self) -> None:
        """A semicolon."""
        if self._words[:1] == ["include"]:
            self._listing.left_out.append(LineNote(self._begun, f"{quoted(' '.join(self._words))} isn't followed"))
        if self._words:
            self._opened[-1].statements.append(Statement(self._begun, self._words))
        self._words = []

    def close(self, line: int) -> _Block:
        """A closing brace. Raises _Broken."""
        if len(self._opened) == 1 or self._words:
            raise _BrokenError(line, "a } too many" if len(self._opened) == 1 else "a } where a ; should be")
        return self._opened.pop()

    def finish(self) -> None:
        """Raise _Broken if anything is open."""
        if len(self._opened) > 1:
            raise _BrokenError(self._opened[-1].line, "a { without its }")
        if self._words:
            raise _BrokenError(self._begun, f"{quoted(' '.join(self._words))} has no end")


def _blocks(text: str, listing: HostList) -> Iterator[_Block]:
    """Every block, the inner ones first. Raises _Broken."""
    reader = _Reader(listing)
    for line, is_sign, word in _tokens(text):
        if not is_sign:
            reader.word(line, word)
        elif word == "{":
            reader.begin(line)
        elif word == ";":
            reader.end()
        elif word == "}":
            yield reader.close(line)
    reader.finish()


def _tokens(text: str) -> Iterator[tuple[int, bool, str]]:
    """Line, whether it is a sign, and the sign or word. Raises _Broken."""
    line, at = 1, 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _BrokenError(line, 'a " without its other')
        at = match.end()
        if match["line"]:
            line += 1
        elif match["sign"]:
            yield line, True, match["sign"]
        elif match["gap"] is None:
            yield line, False, match["word"] if match["word"] is not None else match["text"]
