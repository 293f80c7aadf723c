"""Runs the console blocks of a page, in order, in a scratch site, and compares what they print with the page.

``python -m tests.docs.console --write [PAGE …]`` puts the output into the pages where it isn't what it would be. Only
what is another with each run (ids, times, dates, sizes, durations) is masked, on both sides.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from tests.docs.pages import Command, commands, pages, setups
from tests.support import PROJECT

SETUPS: Final = PROJECT / "tests" / "docs" / "setup"
DEFAULT_ROOT: Final = "/srv/roots/desktop"
PATIENCE: Final = 120

_ID: Final = re.compile(r"\b[0-9a-f]{7,64}\b")
_OURS: Final = re.compile(r"(?<![\w.:/~}-])(?=/(?:srv|mnt)(?![\w.-]))")
"""Where a path begins that is led into the scratch directory."""

MASKS: Final = [
    (re.compile(pattern), mask)
    for pattern, mask in (
        (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "UUID"),
        (r"\btime=-?\d+\.\d{9}\b", "time=TIME"),
        (r"\b[0-9a-f]{7,64}\b", "ID"),
        (r"\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} +\d+ \d\d:\d\d:\d\d \d{4} [+-]\d{4}", "DATE"),
        (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z| ?[+-]\d\d:?\d\d)?", "DATE"),
        (r"\b[A-Z][a-z]{2} [ 1-3]\d \d\d:\d\d:\d\d\b", "DATE"),
        (r"\b\d+\.\d+\.\d+-\d+-(?:cloud-)?(?:amd64|arm64)\b", "KERNEL"),
        (r"\b\d+(?:\.\d+)? (?:B|KiB|MiB|GiB|bytes?)\b", "SIZE"),
        (r"\b\d+(?:\.\d+)? (?:ms|s|min)\b", "DURATION"),
    )
]


def masked(text: str) -> str:
    """``text`` without what differs from run to run; blanks at the end of a line don't count."""
    for pattern, mask in MASKS:
        text = pattern.sub(mask, text)
    return "\n".join(line.rstrip() for line in text.splitlines())


@dataclass(frozen=True)
class Scratch:
    """A directory in which a page's ``/srv`` and ``/mnt`` stand."""

    path: Path

    def inside(self, text: str) -> str:
        """``text`` with its paths led into the scratch directory."""
        return _OURS.sub(str(self.path), text).replace("%2Fsrv", f"{self._quoted}%2Fsrv")

    def outside(self, text: str) -> str:
        """``text`` as it would be if the scratch directory were the root."""
        return text.replace(str(self.path), "").replace(self._quoted, "")

    @property
    def _quoted(self) -> str:
        """As it stands in the address of a socket."""
        return quote(str(self.path), safe="")

    @property
    def environment(self) -> dict[str, str]:
        """What the commands see: nothing of the machine's or the user's own."""
        ours = f"{self.path}/bin:{Path(sys.executable).parent}"
        return {
            "PATH": f"{ours}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": f"{self.path}/home",
            "GITSTATE_SITE": f"{self.path}/srv/gitstate",
            "GIT_CONFIG_NOSYSTEM": "1",
            "PYTHONPATH": str(PROJECT),
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "TERM": "dumb",
            "COLUMNS": "80",
            "PAGER": "cat",
        }

    def prepare(self) -> None:
        """An author, a gitstate, and the directories that every machine has."""
        for name in ("srv", "mnt", "home", "bin"):
            (self.path / name).mkdir()
        config = "[user]\n\tname = Ada Lovelace\n\temail = ada@example.org\n[init]\n\tdefaultBranch = main\n"
        (self.path / "home" / ".gitconfig").write_text(config)
        program = self.path / "bin" / "gitstate"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m gitstate "$@"\n')
        program.chmod(0o755)

    def set_up(self, name: str, arguments: Sequence[str]) -> None:
        """Run a script of tests/docs/setup."""
        words = [self.inside(word) for word in arguments or [DEFAULT_ROOT]]
        subprocess.run([SETUPS / name, *words], env=self.environment, cwd=self.path / "home", check=True)

    def run(self, found: Sequence[Command]) -> list[str]:
        """What each command prints, standard error among it. One shell runs them all, so ``cd`` and variables last."""
        lines = ["exec </dev/null"]
        outputs = [self.path / f"output-{number}" for number in range(len(found))]
        for command, output in zip(found, outputs, strict=True):
            text = self.inside(command.text).replace("'", "'\\''")
            lines.append(f"eval '{text}' >'{output}' 2>&1")
        script = "\n".join(lines)
        subprocess.run(
            ["bash", "-c", script], env=self.environment, cwd=self.path / "home", check=False, timeout=PATIENCE
        )
        return [self.outside(output.read_text(errors="replace")) if output.exists() else "" for output in outputs]


def outputs(text: str) -> list[tuple[Command, str]]:
    """The commands of a page and what they print now."""
    found = commands(text)
    path = Path(tempfile.mkdtemp(prefix="gitstate-docs-"))
    path.chmod(0o755)
    try:
        scratch = Scratch(path)
        scratch.prepare()
        for setup in setups(text):
            scratch.set_up(setup.name, setup.arguments)
        return list(zip(found, scratch.run(found), strict=True))
    finally:
        shutil.rmtree(path)


def differences(page: Path) -> list[str]:
    """Where a page shows what isn't printed, or calls one object by two ids."""
    found = []
    name = os.path.relpath(page, PROJECT)
    now = outputs(page.read_text("utf-8"))
    for command, printed in now:
        shown = "\n".join(command.output)
        if masked(shown) != masked(printed):
            found.append(f"{name}:{command.line}: $ {command.text}\n--- the page\n{shown}\n--- now\n{printed}")
    return found or [f"{name}: {one}" for one in mixed_ids(now)]


def mixed_ids(found: Sequence[tuple[Command, str]]) -> list[str]:
    """Ids on a page that don't go together: those of one object that differ, or one id of several objects."""
    meanings: dict[str, set[str]] = {}
    names: dict[str, set[str]] = {}
    for command, printed in found:
        for shown, now in zip(_ID.findall("\n".join(command.output)), _ID.findall(printed), strict=False):
            meanings.setdefault(shown[:7], set()).add(now[:7])
            names.setdefault(now[:7], set()).add(shown[:7])
    return [
        *(f"{', '.join(sorted(some))} are one object" for some in names.values() if len(some) > 1),
        *(f"{one} is several objects" for one, some in meanings.items() if len(some) > 1),
    ]


def rewritten(text: str) -> str:
    """The page with the output of now; what differs by masked parts alone stays as it is, if its ids go together."""
    lines = text.split("\n")
    now = outputs(text)
    differ = {id(command): masked("\n".join(command.output)) != masked(printed) for command, printed in now}
    every = bool(mixed_ids(now)) or any(differ[id(command)] and _ID.search(printed) for command, printed in now)
    for command, printed in reversed(now):
        if every or differ[id(command)]:
            first = command.line + command.text.count("\n")
            lines[first : command.last - 1] = printed.splitlines()
    return "\n".join(lines)


def main() -> None:
    """Check pages, or write them anew."""
    words = sys.argv[1:]
    write = "--write" in words
    chosen = [Path(word) for word in words if word != "--write"] or pages()
    faults = []
    for page in (page for page in chosen if commands(page.read_text("utf-8"))):
        if "<!-- lab: " in page.read_text("utf-8"):
            continue  # tests/lab/netboot_page.py runs it
        if write:
            text = page.read_text("utf-8")
            if (new := rewritten(text)) != text:
                page.write_text(new, "utf-8")
                print(f"written: {page}")
        else:
            faults += differences(page.resolve())
    print("\n".join(faults), end="\n" * bool(faults))
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
