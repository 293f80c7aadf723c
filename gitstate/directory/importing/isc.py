"""ISC dhcpd: ``host`` blocks of dhcpd.conf, ``lease`` blocks of dhcpd.leases. Pure.

A lease file is a log: the last lease of an address is the valid one. Other blocks are searched for these two, other
statements ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from gitstate.core.errors import UsageError
from gitstate.directory.importing.hosts import NO_MAC, NO_NAME, HostList, HostRow, LineNote, addresses, host_row, quoted

NOT_ACTIVE: Final = "lease not active"
BLOCK: Final = re.compile(r"^[ \t]*(?:host|lease|group|subnet6?|shared-network|failover)\b[^{};=\n]*\{", re.MULTILINE)
_ADDRESS: Final = re.compile(r"[0-9.]{7,15}|[0-9a-fA-F:]*:[0-9a-fA-F:]*")
_TOKEN: Final = re.compile(
    r"""(?P<gap>[ \t\r\f\v]+|\#[^\n]*) | (?P<line>\n) | "(?P<text>(?:[^"\\\n]|\\[^\n])*)" | (?P<sign>[{};,])
      | (?P<word>[^\s{};,"\#]+)""",
    re.VERBOSE,
)
_DEEPEST: Final = 100
_LOOKED_UP: Final = "is a name, of which dhcpd asks DNS the address"


class Statement(NamedTuple):
    """The words before a semicolon."""

    line: int
    words: list[str]


@dataclass(slots=True)
class _Block:
    """A block: the words before its brace, and its statements so far."""

    line: int
    words: list[str]
    statements: list[Statement] = field(default_factory=list)

    def last(self, *words: str) -> Statement | None:
        """Return the last statement that begins with ``words``."""
        count = len(words)
        found = (one for one in reversed(self.statements) if tuple(map(str.lower, one.words[:count])) == words)
        return next(found, None)


class _SyntaxError(ValueError):
    """Nothing after this line can be read."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(why)
        self.note = LineNote(line, why)


@dataclass(slots=True)
class _Collector:
    """The hosts and leases read so far, the last of each."""

    result: HostList = field(default_factory=HostList)
    hosts: list[tuple[str, HostRow]] = field(default_factory=list)
    leases: dict[str, HostRow | LineNote] = field(default_factory=dict)

    def add(self, block: _Block) -> None:
        """Add a complete block."""
        kind = block.words[0].lower() if block.words else ""
        try:
            if kind == "host":
                self._add_host(block)
            elif kind == "lease":
                self._add_lease(block)
        except UsageError as error:
            self.result.bad.append(LineNote(block.line, error.message))

    def _add_host(self, block: _Block) -> None:
        declared = block.words[1] if len(block.words) > 1 else ""
        if block.last("dynamic") or block.last("deleted"):
            self.hosts = [(name, one) for name, one in self.hosts if name != declared]
        if block.last("deleted"):
            return
        hardware = block.last("hardware", "ethernet")
        if hardware is None:
            self.result.left_out.append(LineNote(block.line, NO_MAC))
            return
        own = block.last("option", "host-name")
        fixed = [one for one in (block.last("fixed-address"), block.last("fixed-address6")) if one]
        words = [(one.line, word) for one in fixed for word in one.words[1:]]
        values = addresses([_only(hardware, 2)], [word for _, word in words if _ADDRESS.fullmatch(word)])
        self.hosts.append((declared, host_row(block.line, _only(own, 2) if own else declared, values)))
        looked_up = [(line, word) for line, word in words if not _ADDRESS.fullmatch(word)]
        self.result.ignored += [LineNote(line, f"{quoted(word)} {_LOOKED_UP}") for line, word in looked_up]

    def _add_lease(self, block: _Block) -> None:
        ip = _only(Statement(block.line, block.words), 1)
        hardware, name = block.last("hardware", "ethernet"), block.last("client-hostname")
        state = block.last("binding", "state")
        if (state is not None and state.words[2:] != ["active"]) or block.last("abandoned"):
            self._put(ip, LineNote(block.line, NOT_ACTIVE))
        elif hardware is None:
            self._put(ip, LineNote(block.line, NO_MAC))
        elif name is None or not _only(name, 1):
            self._put(ip, LineNote(block.line, NO_NAME))
        else:
            self.leases.pop(ip, None)  # also if the rest is invalid
            self._put(ip, host_row(block.line, _only(name, 1), addresses([_only(hardware, 2)], [ip]), lease=True))

    def _put(self, ip: str, lease: HostRow | LineNote) -> None:
        self.leases.pop(ip, None)  # ordered by the last lease of each
        self.leases[ip] = lease

    def finish(self) -> HostList:
        """Return the valid hosts and leases, in the order of their lines."""
        found = self.result
        found.rows = [one for _, one in self.hosts]
        for one in self.leases.values():
            if isinstance(one, HostRow):
                found.rows.append(one)
            else:
                found.left_out.append(one)
        found.rows.sort(key=lambda one: one.line)
        found.left_out.sort(key=lambda one: one.line)
        return found


def read(text: str) -> HostList:
    """Read the machines of a configuration or a lease file."""
    collector = _Collector()
    try:
        for block in _blocks(text, collector.result):
            collector.add(block)
    except _SyntaxError as error:
        collector.result.bad.append(error.note)
    return collector.finish()


def _only(statement: Statement, place: int) -> str:
    """Return the word at ``place``, which must be the last. Raises UsageError."""
    if len(statement.words) != place + 1:
        raise UsageError(f"{quoted(' '.join(statement.words))} must have exactly one value")
    return statement.words[place]


class _Parser:
    """Builds statements and blocks from tokens."""

    def __init__(self, result: HostList) -> None:
        self._result = result
        self._open = [_Block(1, [])]
        self._words: list[str] = []
        self._begun = 1

    def word(self, line: int, word: str) -> None:
        """Add a word to the current statement."""
        if not self._words:
            self._begun = line
        self._words.append(word)

    def begin(self, line: int) -> None:
        """Open a block. Raises _SyntaxError."""
        if len(self._open) > _DEEPEST:
            raise _SyntaxError(line, f"blocks are nested more than {_DEEPEST} deep")
        self._open.append(_Block(self._begun if self._words else line, self._words))
        self._words = []

    def end(self) -> None:
        """End the current statement."""
        if self._words[:1] == ["include"]:
            self._result.left_out.append(LineNote(self._begun, f"{quoted(' '.join(self._words))} is not read"))
        if self._words:
            self._open[-1].statements.append(Statement(self._begun, self._words))
        self._words = []

    def close(self, line: int) -> _Block:
        """Close the innermost block and return it. Raises _SyntaxError."""
        if len(self._open) == 1 or self._words:
            raise _SyntaxError(line, "unmatched }" if len(self._open) == 1 else "missing ; before }")
        return self._open.pop()

    def finish(self) -> None:
        """Raise _SyntaxError for an unfinished block or statement."""
        if len(self._open) > 1:
            raise _SyntaxError(self._open[-1].line, "unmatched {")
        if self._words:
            raise _SyntaxError(self._begun, f"{quoted(' '.join(self._words))} is not ended by ;")


def _blocks(text: str, result: HostList) -> Iterator[_Block]:
    """Yield every block, inner ones first. Raises _SyntaxError."""
    parser = _Parser(result)
    for line, is_sign, word in _tokens(text):
        if not is_sign:
            parser.word(line, word)
        elif word == "{":
            parser.begin(line)
        elif word == ";":
            parser.end()
        elif word == "}":
            yield parser.close(line)
    parser.finish()


def _tokens(text: str) -> Iterator[tuple[int, bool, str]]:
    """Yield each token's line, whether it is a sign, and its text. Raises _SyntaxError."""
    line, at = 1, 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _SyntaxError(line, 'unmatched "')
        at = match.end()
        if match["line"]:
            line += 1
        elif match["sign"]:
            yield line, True, match["sign"]
        elif match["gap"] is None:
            yield line, False, match["word"] if match["word"] is not None else match["text"]
