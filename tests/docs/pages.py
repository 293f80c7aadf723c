"""The pages that users read, and what stands in them: set-up, console blocks, links, anchors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.support import PROJECT

PAGES: Final = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", PROJECT / "CHANGELOG.md"]

_FENCE: Final = re.compile(r"( *)(`{3,}|~{3,})\s*(\S*)")
_PROMPT: Final = re.compile(r"[#$] ")
_SETUP: Final = re.compile(r"<!--\s*setup:\s*(\S+)\s*(.*?)\s*-->")
_LINK: Final = re.compile(
    r"!?\[(?:[^\[\]]|\[[^\[\]]*\])*\]\(<?([^()\s>]+)>?(?:\s+\"[^\"]*\")?\)|^\[[^\]]+\]:\s+(\S+)", re.M
)
_HEADING: Final = re.compile(r"#{1,6} +(.+?)(?: +#+)?$")


def pages() -> list[Path]:
    """Every page."""
    return [page for page in PAGES if page.exists()] + sorted((PROJECT / "docs").rglob("*.md"))


@dataclass
class Command:
    """A command as it stands in a page: its line, its text without the prompt, the lines below it."""

    line: int
    text: str
    output: list[str] = field(default_factory=list)
    last: int = 0
    """The line after the last one of its output."""


@dataclass(frozen=True)
class Setup:
    """A script of tests/docs/setup with its arguments."""

    name: str
    arguments: list[str]


@dataclass(frozen=True)
class Fence:
    """A fenced block: the number of its first line below the fence, its language, its lines."""

    line: int
    language: str
    lines: list[str]


def fences(text: str) -> Iterator[Fence]:
    """The fenced blocks of a page."""
    end, language, start = "", "", 0
    body: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        found = _FENCE.match(line)
        if not end and found:
            end, language, start, body = found[2], found[3], number + 1, []
        elif end and found and found[2].startswith(end) and not found[3]:
            yield Fence(start, language, body)
            end = ""
        elif end:
            body.append(line)
    if end:
        raise ValueError(f"line {start - 1}: the block has no end")


def prose(text: str) -> str:
    """A page without its blocks, line numbers kept."""
    lines = text.splitlines()
    for fence in fences(text):
        for number in range(fence.line - 2, fence.line + len(fence.lines)):
            lines[number] = ""
    return "\n".join(lines)


def setups(text: str) -> list[Setup]:
    """What the page wants to be there before its first command."""
    return [Setup(found[1], found[2].split()) for found in _SETUP.finditer(prose(text))]


def commands(text: str) -> list[Command]:
    """The commands of all console blocks, in order. Raises ValueError for output without a command."""
    found: list[Command] = []
    for fence in fences(text):
        if fence.language == "console":
            found += _commands(fence)
    return found


def _commands(fence: Fence) -> Iterator[Command]:
    current: Command | None = None
    for number, line in enumerate(fence.lines, fence.line):
        if current is not None and current.text.endswith("\\") and not current.output:
            current.text += "\n" + line.removeprefix("> ")
            current.last = number + 1
        elif _PROMPT.match(line):
            if current is not None:
                yield current
            current = Command(number, line[2:], last=number + 1)
        elif current is None:
            raise ValueError(f"line {number}: a console block begins with a command (# or $ and a blank)")
        else:
            current.output.append(line)
            current.last = number + 1
    if current is not None:
        yield current


def links(text: str) -> Iterator[tuple[int, str]]:
    """The targets of a page's links, with their lines."""
    plain = re.sub(r"`+[^`]*`+", lambda code: re.sub(r"[^\n]", " ", code[0]), prose(text))
    for found in _LINK.finditer(plain):
        yield plain.count("\n", 0, found.start()) + 1, found[1] or found[2]


def anchors(text: str) -> set[str]:
    """What ``#…`` may name in a page, as GitHub makes it from headings."""
    found: set[str] = set()
    for line in prose(text).splitlines():
        if heading := _HEADING.match(line):
            words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).lower()
            slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
            number = 1
            unique = slug
            while unique in found:
                unique, number = f"{slug}-{number}", number + 1
            found.add(unique)
    return found
