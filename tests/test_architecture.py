"""The rooms of docs/design.md, held by parsing: one direction, one owner for each power, no big files."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from fnmatch import fnmatchcase
from itertools import accumulate
from operator import itemgetter
from pathlib import PurePosixPath
from typing import Final

import pytest

from tests.support import PROJECT

# From the ground up: a room uses itself and the rooms before it. Lines as in docs/design.md.
ROOMS: Final = """
errors names monitor
entry manifest change cpio
process fs network overlay
store
site
snapshot policy scan checkin owners export verify history bootstrap
merge migrate
directory
layers render secrets
packages
boot
publish prepare local release review
image
status doctor settings web cli
""".split()  # noqa: SIM905

# What reaches outside Python, and the only rooms that may.
OWNERS: Final = {
    "pygit2": ["store"],
    "ldap": ["directory"],
    "ldif": ["directory"],
    "jinja2": ["layers", "render", "boot"],
    "deepdiff": ["change"],
    "yaml": ["change"],
    "subprocess": ["process"],
    "asyncio.create_subprocess_*": ["process"],
    "os.system": ["process"],
    "os.popen": ["process"],
    "os.exec*": ["process"],
    "os.spawn*": ["process"],
    "os.posix_spawn*": ["process"],
    "ctypes": ["fs"],
    "socket.socket": ["network"],
    "zstandard": ["cpio"],
    "os.environ": ["settings"],
    "os.environb": ["settings"],
    "os.getenv": ["settings"],
    "os.getenvb": ["settings"],
    "os.putenv": ["settings"],
    "os.unsetenv": ["settings"],
    "click": ["cli"],
    "sys.exit": ["cli"],
    "SystemExit": ["cli"],
}

FILE_LINES: Final = 320
FUNCTION_LINES: Final = 60
# "gitstate/file.py" or "gitstate/file.py function" -> why it is better long.
LONG: Final[dict[str, str]] = {}


def findings(path: str, source: str) -> list[str]:
    """What ``source`` would break as the module ``path``: every breach once, where it comes first."""
    tree = ast.parse(source, path)
    found = [*misplaced(path), *long_parts(path, source, tree)]
    for line, name in uses(tree, package_of(path)):
        found += [(line, message) for message in (*upward(path, name), *borrowed(path, name))]
    first = {message: line for line, message in sorted(found, reverse=True)}
    return [f"{path}:{line}: {message}" for message, line in sorted(first.items(), key=itemgetter(1))]


def package_of(path: str) -> list[str]:
    """The package that relative imports in ``path`` start from."""
    return list(PurePosixPath(path).parent.parts)


def room_of(path: str) -> str:
    """The room of a file; the package's own two files stand with cli, at the far end."""
    name = PurePosixPath(path).parts[1].removesuffix(".py")
    return "cli" if name in ("__init__", "__main__") else name


def misplaced(path: str) -> Iterator[tuple[int, str]]:
    if room_of(path) not in ROOMS:
        yield 1, f"{room_of(path)} is no room: give it a place in ROOMS, and a line in docs/design.md"


def upward(path: str, name: str) -> Iterator[str]:
    """Whether using the full name ``name`` goes against the order."""
    top, *rest = name.split(".")
    if top != "gitstate" or not rest or room_of(path) not in ROOMS:
        return
    target = rest[0] if rest[0] in ROOMS else "cli"  # the package's own names, such as gitstate.__version__
    if ROOMS.index(target) > ROOMS.index(room_of(path)):
        yield f"{room_of(path)} uses gitstate.{rest[0]}, of a later room"


def borrowed(path: str, name: str) -> Iterator[str]:
    """Whether the full name ``name`` is a power of other rooms."""
    for prefix in accumulate(name.split("."), "{}.{}".format):
        for power, owners in OWNERS.items():
            if fnmatchcase(prefix, power) and room_of(path) not in owners:
                yield f"{power} belongs to {', '.join(owners)}"


def uses(tree: ast.Module, package: list[str]) -> Iterator[tuple[int, str]]:
    """Every name that a module takes from elsewhere, written in full, wherever it is imported or used."""
    full_names = {"SystemExit": "SystemExit", "__import__": "__import__"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                full_names |= {alias.asname: alias.name} if alias.asname else {top: top}
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            for alias in node.names:
                full = ".".join([*base, *([node.module] if node.module else []), alias.name])
                full_names[alias.asname or alias.name] = full
                yield node.lineno, full
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name):
            if name := written_in_full(node, full_names):
                yield node.lineno, name
        elif isinstance(node, ast.Call):
            yield from imported_by_call(node, full_names)


def written_in_full(node: ast.expr, full_names: dict[str, str]) -> str | None:
    """``a.b.c`` with ``a`` replaced by what it was imported as; None for what isn't an imported name."""
    if isinstance(node, ast.Name):
        return full_names.get(node.id)
    if isinstance(node, ast.Attribute) and (base := written_in_full(node.value, full_names)):
        return f"{base}.{node.attr}"
    return None


def imported_by_call(node: ast.Call, full_names: dict[str, str]) -> Iterator[tuple[int, str]]:
    if written_in_full(node.func, full_names) in ("importlib.import_module", "__import__"):
        for argument in node.args[:1]:
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                yield node.lineno, argument.value


def long_parts(path: str, source: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    for name, line, lines, limit in sizes(path, source, tree):
        if lines > limit and name not in LONG:
            yield line, f"{name} has {lines} lines, more than {limit}"


def sizes(path: str, source: str, tree: ast.Module) -> Iterator[tuple[str, int, int, int]]:
    """Name, first line, length and limit of the file and of each function in it, decorators aside."""
    yield path, 1, len(source.splitlines()), FILE_LINES
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            yield f"{path} {node.name}", node.lineno, length, FUNCTION_LINES


def modules() -> dict[str, str]:
    return {
        str(file.relative_to(PROJECT)): file.read_text("utf-8") for file in sorted((PROJECT / "gitstate").rglob("*.py"))
    }


def test_the_project_keeps_to_its_rooms() -> None:
    found = [finding for path, source in modules().items() for finding in findings(path, source)]
    assert modules()
    assert not found, "\n" + "\n".join(found)


def test_every_exception_is_still_needed() -> None:
    too_long = {
        name
        for path, source in modules().items()
        for name, _, lines, limit in sizes(path, source, ast.parse(source))
        if lines > limit
    }
    assert set(LONG) <= too_long


def test_rooms_and_owners_agree() -> None:
    assert len(ROOMS) == len(set(ROOMS))
    assert {owner for owners in OWNERS.values() for owner in owners} <= set(ROOMS)


# From here on: the checker itself. A checker that can't fail holds nothing.


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("gitstate/names.py", "from gitstate.entry import Entry"),
        ("gitstate/names.py", "import gitstate.entry"),
        ("gitstate/names.py", "import gitstate.entry as shapes"),
        ("gitstate/names.py", "from gitstate import errors, entry"),
        ("gitstate/names.py", "from . import entry"),
        ("gitstate/names.py", "from .entry import Entry"),
        ("gitstate/names.py", "import gitstate\ngitstate.entry.Entry"),
        ("gitstate/names.py", "def f():\n    from gitstate import entry"),
        ("gitstate/names.py", "if TYPE_CHECKING:\n    from gitstate.entry import Entry"),
        ("gitstate/names.py", "try:\n    import gitstate.entry\nexcept ImportError:\n    pass"),
        ("gitstate/names.py", "from importlib import import_module\nimport_module('gitstate.entry')"),
        ("gitstate/names.py", "__import__('gitstate.entry')"),
        ("gitstate/store/packs.py", "from ..site import Site"),
        ("gitstate/store/packs.py", "from .. import site"),
        ("gitstate/store/__init__.py", "from ..site import Site"),
        ("gitstate/store/deep/packs.py", "from ...site import Site"),
        ("gitstate/snapshot.py", "from gitstate.checkin import check_in"),
        ("gitstate/settings.py", "from gitstate.cli import main"),
        ("gitstate/settings.py", "from gitstate import __version__"),
        ("gitstate/settings.py", "from gitstate import *"),
    ],
)
def test_a_later_room_is_found(path: str, source: str) -> None:
    found = findings(path, source)
    assert len(found) == 1
    assert "of a later room" in found[0]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("gitstate/entry.py", "from gitstate import errors, names"),
        ("gitstate/entry.py", "import gitstate.names\ngitstate.names.octal"),
        ("gitstate/store/packs.py", "from .objects import Blob\nfrom . import trees\nfrom .. import entry"),
        ("gitstate/store/__init__.py", "from .packs import Pack"),
        ("gitstate/directory/__init__.py", "from . import ldap, ldif\nldap.connect()"),
        ("gitstate/web/page.py", "from gitstate.status import facts"),
        ("gitstate/cli/__init__.py", "import gitstate\nprint(gitstate.__version__)"),
        ("gitstate/__main__.py", "import sys\nfrom gitstate.cli import main\nsys.exit(main())"),
        ("gitstate/fs.py", "import os\nos.lstat(b'x')\nos.environment\nx.environ\nclick = subprocess = 1"),
        ("gitstate/errors.py", "import sys\nsys.stderr"),
    ],
)
def test_what_is_in_order_passes(path: str, source: str) -> None:
    assert findings(path, source) == []


@pytest.mark.parametrize("path", ["gitstate/utils.py", "gitstate/utils/__init__.py", "gitstate/utils/text.py"])
def test_a_module_without_a_room_is_found(path: str) -> None:
    assert "is no room" in "".join(findings(path, ""))


@pytest.mark.parametrize(
    ("source", "power", "owners"),
    [
        ("import pygit2", "pygit2", ["store"]),
        ("from pygit2.enums import ObjectType", "pygit2", ["store"]),
        ("import ldap.controls", "ldap", ["directory"]),
        ("from ldif import LDIFParser", "ldif", ["directory"]),
        ("def f():\n    import jinja2.sandbox", "jinja2", ["layers", "render", "boot"]),
        ("if TYPE_CHECKING:\n    from deepdiff import DeepDiff", "deepdiff", ["change"]),
        ("import yaml", "yaml", ["change"]),
        ("import subprocess", "subprocess", ["process"]),
        ("from subprocess import run", "subprocess", ["process"]),
        ("import asyncio\nasyncio.create_subprocess_exec('ls')", "asyncio.create_subprocess_*", ["process"]),
        ("import os\nos.system('ls')", "os.system", ["process"]),
        ("import os\nos.popen('ls')", "os.popen", ["process"]),
        ("import os as o\no.execvp('ls', [])", "os.exec*", ["process"]),
        ("from os import spawnl", "os.spawn*", ["process"]),
        ("import os\nstart = os.posix_spawnp", "os.posix_spawn*", ["process"]),
        ("import os\nos.environ['HOME']", "os.environ", ["settings"]),
        ("from os import environ as e", "os.environ", ["settings"]),
        ("import os\nos.environb.get(b'HOME')", "os.environb", ["settings"]),
        ("import os\ndef f(home=os.getenv('HOME')): pass", "os.getenv", ["settings"]),
        ("from os import getenvb", "os.getenvb", ["settings"]),
        ("import os\nos.putenv('A', 'B')", "os.putenv", ["settings"]),
        ("import os\nos.unsetenv('A')", "os.unsetenv", ["settings"]),
        ("import click", "click", ["cli"]),
        ("import importlib\nimportlib.import_module('click')", "click", ["cli"]),
        ("import ctypes.util", "ctypes", ["fs"]),
        ("import socket\nsocket.socket()", "socket.socket", ["network"]),
        ("import zstandard", "zstandard", ["cpio"]),
        ("import sys\nsys.exit(1)", "sys.exit", ["cli"]),
        ("from sys import exit", "sys.exit", ["cli"]),
        ("raise SystemExit(1)", "SystemExit", ["cli"]),
    ],
)
def test_a_power_is_its_owners_alone(source: str, power: str, owners: list[str]) -> None:
    for room in ROOMS:
        expected = [] if room in owners else [f"{power} belongs to {', '.join(owners)}"]
        for path in (f"gitstate/{room}.py", f"gitstate/{room}/part.py"):
            found = {finding.split(": ", 1)[1] for finding in findings(path, source)}
            assert found == set(expected), path


def test_every_power_has_a_case_above() -> None:
    (cases,) = (mark.args[1] for mark in test_a_power_is_its_owners_alone.pytestmark)  # type: ignore[attr-defined]
    assert {power for _, power, _ in cases} == set(OWNERS)


def test_long_files_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    path = "gitstate/names.py"
    assert findings(path, "x = 1\n" * FILE_LINES) == []
    assert findings(path, "x = 1\n" * (FILE_LINES + 1)) == [f"{path}:1: {path} has 321 lines, more than 320"]
    monkeypatch.setitem(LONG, path, "a table")
    assert findings(path, "x = 1\n" * (FILE_LINES + 1)) == []


@pytest.mark.parametrize("head", ["def f():\n", "async def f():\n", "class C:\n  def f():\n", "@a\ndef f():\n"])
def test_long_functions_are_found(head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = "gitstate/names.py"
    body = "    x = 1\n"
    assert findings(path, head + body * (FUNCTION_LINES - 1)) == []
    (found,) = findings(path, head + body * FUNCTION_LINES)
    assert found.endswith(f"{path} f has 61 lines, more than 60")
    monkeypatch.setitem(LONG, f"{path} f", "a table")
    assert findings(path, head + body * FUNCTION_LINES) == []
