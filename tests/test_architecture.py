"""The districts and rooms of docs/design.md, held by parsing: one direction, one owner for each power, no big files."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from graphlib import CycleError, TopologicalSorter
from itertools import accumulate
from operator import itemgetter
from pathlib import PurePosixPath
from typing import Final

import pytest

from tests.support import PROJECT

# From the ground up: a district uses itself and the districts before it, a room the rooms before it in its district.
# Lines as in docs/design.md.
DISTRICTS: Final = {
    district: rooms.split()
    for district, rooms in {
        "core": """
            errors failures data names wording documents signature entry monitor environment git process settings fs
            state_file output network compression cpio tar worker templates
        """,
        "store": """
            objects edit reader deltas odb packs staging hooks configuration lock stale_locks refs revisions
            repository small repack site_file site
        """,
        "tree": """
            limits manifest change policy snapshot edits merge combine own_data live_root package_manager scan recording
            overlay checkin standing owners export full_manifest verify history restore update live tarball upper oci
            bootstrap prototypes maintenance mounts prepare local shell
        """,
        "directory": "model options netgroups protocol selection check git plan transfer ldap importing",
        "machine": "layers hardware render secrets archives",
        "boot": "checks options request templates plan render group files doctor creation",
        "release": """
            models log opened content requests difference archives publishing refresh
            boot_files reconcile channels tagging push rollback gate status integrity doctor state_at machines
            renaming layers review
        """,
        "cli": "base client layer site release tree",
    }.items()
}

# What reaches outside Python, and the only rooms that may.
OWNERS: Final = {
    "pygit2": ["store"],
    "ldap": ["directory"],
    "ldif": ["directory"],
    "msgspec": ["core/documents"],
    "jinja2": ["core/templates"],
    "deepdiff": ["tree/change"],
    "yaml": ["tree/change"],
    "subprocess": ["core/process"],
    "asyncio.create_subprocess_*": ["core/process"],
    "os.system": ["core/process"],
    "os.popen": ["core/process"],
    "os.exec*": ["core/process"],
    "os.spawn*": ["core/process"],
    "os.posix_spawn*": ["core/process"],
    "ctypes": ["core/fs"],
    "socket.socket": ["core/network"],
    "zstandard": ["core/compression"],
    "os.environ": ["core/environment"],
    "os.environb": ["core/environment"],
    "os.getenv": ["core/environment"],
    "os.getenvb": ["core/environment"],
    "os.putenv": ["core/environment"],
    "os.unsetenv": ["core/environment"],
    "click": ["cli"],
    "sys.exit": ["cli"],
    "SystemExit": ["cli"],
}

GIT_DOOR: Final = "core/git"
"""Where the command line of git begins; its environment is core/environment's."""

BELOW_USE_CASES: Final = (
    "gitstate.store",
    "gitstate.tree.scan",
    "gitstate.machine.render",
    "gitstate.directory.git",
    "gitstate.directory.ldap",
)
"""What the command line doesn't use: it parses, calls a use case and prints."""

FACE: Final = "__init__"
"""A district's own module: other districts may import from it, its rooms may not."""

FILE_LINES: Final = 400
FUNCTION_LINES: Final = 60
# "gitstate/file.py" or "gitstate/file.py function" -> why it is better long.
LONG: Final[dict[str, str]] = {}


def findings(path: str, source: str) -> list[str]:
    """What ``source`` would break as the module ``path``: every breach once, where it comes first."""
    tree = ast.parse(source, path)
    found = [*misplaced(path), *long_parts(path, source, tree), *commands_of_git(path, tree)]
    for line, name in uses(tree, package_of(path)):
        found += [
            (line, message) for message in (*upward(path, name), *below_use_cases(path, name), *borrowed(path, name))
        ]
    first = {message: line for line, message in sorted(found, reverse=True)}
    return [f"{path}:{line}: {message}" for message, line in sorted(first.items(), key=itemgetter(1))]


def package_of(path: str) -> list[str]:
    """The package that relative imports in ``path`` start from."""
    return list(PurePosixPath(path).parent.parts)


def place_of(path: str) -> tuple[str, str]:
    """District and room of a file; the package's own two files stand with cli, at the far end."""
    district, *rest = (part.removesuffix(".py") for part in PurePosixPath(path).parts[1:])
    return ("cli", FACE) if district in (FACE, "__main__") else (district, rest[0] if rest else FACE)


def misplaced(path: str) -> Iterator[tuple[int, str]]:
    district, room = place_of(path)
    if district not in DISTRICTS:
        yield 1, f"{district} is no district"
    elif room not in (FACE, *DISTRICTS[district]):
        yield 1, f"{district}/{room} is no room: give it a place in DISTRICTS, and a line in docs/design.md"


def upward(path: str, name: str) -> Iterator[str]:
    """Whether using the full name ``name`` goes against the order of districts, or of rooms within one."""
    top, *rest = name.split(".")
    if top != "gitstate" or not rest or rest[0] not in DISTRICTS:
        return
    (district, room), target = place_of(path), rest[0]
    order = list(DISTRICTS)
    if district not in order:
        return
    if order.index(target) > order.index(district):
        yield f"{district} uses gitstate.{target}, a later district"
    elif target == district and room in DISTRICTS[district]:
        rooms = DISTRICTS[district]
        if rest[1:] and rest[1] not in rooms:
            yield f"{district}/{room} uses the face of its own district: import from the room"
        elif rest[1:] and rooms.index(rest[1]) > rooms.index(room):
            yield f"{district}/{room} uses {district}/{rest[1]}, a later room"


def below_use_cases(path: str, name: str) -> Iterator[str]:
    """Whether the command line uses ``name`` although use cases should."""
    for prefix in accumulate(name.split("."), "{}.{}".format):
        if place_of(path)[0] == "cli" and prefix in BELOW_USE_CASES:
            yield f"cli uses {prefix}: call a use case"


def borrowed(path: str, name: str) -> Iterator[str]:
    """Whether the full name ``name`` is a power of other rooms."""
    for prefix in accumulate(name.split("."), "{}.{}".format):
        for power, owners in OWNERS.items():
            if fnmatchcase(prefix, power) and not {"/".join(place_of(path)), place_of(path)[0]} & {*owners}:
                yield f"{power} belongs to {', '.join(owners)}"


def commands_of_git(path: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Where a list or tuple begins with the word git."""
    for node in ast.walk(tree):
        if isinstance(node, ast.List | ast.Tuple) and node.elts and "/".join(place_of(path)) != GIT_DOOR:
            first = node.elts[0]
            if isinstance(first, ast.Constant) and first.value in ("git", b"git"):
                yield node.lineno, f"git's command line belongs to {GIT_DOOR}"


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


def test_the_project_keeps_to_its_districts_and_rooms() -> None:
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


def test_districts_and_owners_agree() -> None:
    rooms = {f"{district}/{room}" for district, rooms in DISTRICTS.items() for room in rooms}
    assert len(rooms) == sum(map(len, DISTRICTS.values()))
    assert {owner for owners in OWNERS.values() for owner in owners} <= {*DISTRICTS, *rooms}


def test_every_room_exists() -> None:
    standing = {place_of(path) for path in modules()}
    assert {(district, room) for district, rooms in DISTRICTS.items() for room in rooms} <= standing


def test_no_module_imports_itself_by_way_of_others() -> None:
    names = {path.removesuffix(".py").replace("/", ".").removesuffix(f".{FACE}"): path for path in modules()}
    imports = {path: imported_modules(path, source, names) for path, source in modules().items()}
    try:
        tuple(TopologicalSorter(imports).static_order())
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


def imported_modules(path: str, source: str, names: Mapping[str, str]) -> set[str]:
    """The files that a module imports from, lazy imports too."""
    found = set()
    for _, name in uses(ast.parse(source), package_of(path)):
        known = [prefix for prefix in accumulate(name.split("."), "{}.{}".format) if prefix in names]
        found |= {names[known[-1]]} if known else set()
    return found - {path}


# From here on: the checker itself. A checker that can't fail holds nothing.


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("gitstate/core/names.py", "from gitstate.store import Repository"),
        ("gitstate/core/names.py", "import gitstate.store"),
        ("gitstate/core/names.py", "import gitstate.store as shapes"),
        ("gitstate/core/names.py", "from gitstate import store"),
        ("gitstate/core/names.py", "from .. import store"),
        ("gitstate/core/names.py", "from ..store import Repository"),
        ("gitstate/core/names.py", "import gitstate\ngitstate.store.Repository"),
        ("gitstate/core/names.py", "def f():\n    from gitstate import store"),
        ("gitstate/core/names.py", "if TYPE_CHECKING:\n    from gitstate.store import Repository"),
        ("gitstate/core/names.py", "try:\n    import gitstate.store\nexcept ImportError:\n    pass"),
        ("gitstate/core/names.py", "from importlib import import_module\nimport_module('gitstate.store')"),
        ("gitstate/core/names.py", "__import__('gitstate.store')"),
        ("gitstate/core/fs/read.py", "from ...store import Repository"),
        ("gitstate/core/__init__.py", "from ..store import Repository"),
        ("gitstate/core/settings.py", "from gitstate.cli import main"),
        ("gitstate/core/names.py", "from gitstate.core.entry import Entry"),
        ("gitstate/core/names.py", "from gitstate.core import entry"),
        ("gitstate/tree/scan/tree.py", "from gitstate.tree import checkin"),
        ("gitstate/tree/scan/tree.py", "from ..checkin import record"),
        ("gitstate/boot/files/write.py", "from gitstate import boot\nboot.load()"),
        ("gitstate/boot/files/write.py", "from gitstate.boot import Options"),
    ],
)
def test_what_goes_against_the_order_is_found(path: str, source: str) -> None:
    found = findings(path, source)
    assert len(found) == 1
    assert any(words in found[0] for words in ("a later district", "a later room", "the face of its own district"))


@pytest.mark.parametrize("module", BELOW_USE_CASES)
def test_the_command_line_calls_use_cases_alone(module: str) -> None:
    for source in (f"import {module}", f"def f():\n    from {module} import part"):
        (found,) = findings("gitstate/cli/tree/status.py", source)
        assert module in found
        assert findings("gitstate/release/opened.py", source) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("gitstate/core/entry.py", "from gitstate.core import errors, names"),
        ("gitstate/core/entry.py", "import gitstate.core.names\ngitstate.core.names.octal"),
        ("gitstate/store/packs.py", "from .objects import Blob\nfrom ..core import entry"),
        ("gitstate/store/__init__.py", "from .packs import Pack"),
        ("gitstate/directory/__init__.py", "from . import ldap, git\nldap.connect()"),
        (
            "gitstate/tree/scan/tree.py",
            "from gitstate.tree.scan import cache\nfrom gitstate.store import odb",
        ),
        ("gitstate/cli/__init__.py", "import gitstate\nprint(gitstate.__version__)"),
        ("gitstate/core/settings.py", "from gitstate import __version__"),
        ("gitstate/__main__.py", "import sys\nfrom gitstate.cli import main\nsys.exit(main())"),
        ("gitstate/core/fs/read.py", "import os\nos.lstat(b'x')\nos.environment\nx.environ\nclick = subprocess = 1"),
        ("gitstate/core/errors.py", "import sys\nsys.stderr"),
    ],
)
def test_what_is_in_order_passes(path: str, source: str) -> None:
    assert findings(path, source) == []


@pytest.mark.parametrize("source", ["run(['git', 'gc'])", "a = ('git', *words)", "x = [b'git']\ny = ['git']"])
def test_git_is_run_by_its_door_alone(source: str) -> None:
    for path in ("gitstate/core/process.py", "gitstate/store/repository.py", "gitstate/cli/site/doctor.py"):
        (found,) = findings(path, source)
        assert GIT_DOOR in found
    assert findings("gitstate/core/git.py", source) == []
    assert findings("gitstate/core/names.py", "a = ['digit', 'git']\nb = 'git'") == []


@pytest.mark.parametrize(
    "path",
    ["gitstate/utils.py", "gitstate/utils/__init__.py", "gitstate/store/utils.py", "gitstate/core/utils/text.py"],
)
def test_a_module_without_a_room_is_found(path: str) -> None:
    found = "".join(findings(path, ""))
    assert "is no room" in found or "is no district" in found or path == "gitstate/utils.py"


@pytest.mark.parametrize(
    ("source", "power", "owners"),
    [
        ("import pygit2", "pygit2", ["store"]),
        ("from pygit2.enums import ObjectType", "pygit2", ["store"]),
        ("import ldap.controls", "ldap", ["directory"]),
        ("from ldif import LDIFParser", "ldif", ["directory"]),
        ("def f():\n    import jinja2.sandbox", "jinja2", ["core/templates"]),
        ("if TYPE_CHECKING:\n    from deepdiff import DeepDiff", "deepdiff", ["tree/change"]),
        ("import yaml", "yaml", ["tree/change"]),
        ("import msgspec", "msgspec", ["core/documents"]),
        ("import subprocess", "subprocess", ["core/process"]),
        ("from subprocess import run", "subprocess", ["core/process"]),
        ("import asyncio\nasyncio.create_subprocess_exec('ls')", "asyncio.create_subprocess_*", ["core/process"]),
        ("import os\nos.system('ls')", "os.system", ["core/process"]),
        ("import os\nos.popen('ls')", "os.popen", ["core/process"]),
        ("import os as o\no.execvp('ls', [])", "os.exec*", ["core/process"]),
        ("from os import spawnl", "os.spawn*", ["core/process"]),
        ("import os\nstart = os.posix_spawnp", "os.posix_spawn*", ["core/process"]),
        ("import os\nos.environ['HOME']", "os.environ", ["core/environment"]),
        ("from os import environ as e", "os.environ", ["core/environment"]),
        ("import os\nos.environb.get(b'HOME')", "os.environb", ["core/environment"]),
        ("import os\ndef f(home=os.getenv('HOME')): pass", "os.getenv", ["core/environment"]),
        ("from os import getenvb", "os.getenvb", ["core/environment"]),
        ("import os\nos.putenv('A', 'B')", "os.putenv", ["core/environment"]),
        ("import os\nos.unsetenv('A')", "os.unsetenv", ["core/environment"]),
        ("import click", "click", ["cli"]),
        ("import importlib\nimportlib.import_module('click')", "click", ["cli"]),
        ("import ctypes.util", "ctypes", ["core/fs"]),
        ("import socket\nsocket.socket()", "socket.socket", ["core/network"]),
        ("import zstandard", "zstandard", ["core/compression"]),
        ("import sys\nsys.exit(1)", "sys.exit", ["cli"]),
        ("from sys import exit", "sys.exit", ["cli"]),
        ("raise SystemExit(1)", "SystemExit", ["cli"]),
    ],
)
def test_a_power_is_its_owners_alone(source: str, power: str, owners: list[str]) -> None:
    for district, rooms in DISTRICTS.items():
        for room in rooms:
            owned = district in owners or f"{district}/{room}" in owners
            expected = set() if owned else {f"{power} belongs to {', '.join(owners)}"}
            for path in (f"gitstate/{district}/{room}.py", f"gitstate/{district}/{room}/part.py"):
                assert {finding.split(": ", 1)[1] for finding in findings(path, source)} == expected, path


def test_every_power_has_a_case_above() -> None:
    (cases,) = (mark.args[1] for mark in test_a_power_is_its_owners_alone.pytestmark)  # type: ignore[attr-defined]
    assert {power for _, power, _ in cases} == set(OWNERS)


def test_long_files_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    path = "gitstate/core/names.py"
    assert findings(path, "x = 1\n" * FILE_LINES) == []
    assert findings(path, "x = 1\n" * (FILE_LINES + 1)) == [f"{path}:1: {path} has 401 lines, more than 400"]
    monkeypatch.setitem(LONG, path, "a table")
    assert findings(path, "x = 1\n" * (FILE_LINES + 1)) == []


@pytest.mark.parametrize("head", ["def f():\n", "async def f():\n", "class C:\n  def f():\n", "@a\ndef f():\n"])
def test_long_functions_are_found(head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = "gitstate/core/names.py"
    body = "    x = 1\n"
    assert findings(path, head + body * (FUNCTION_LINES - 1)) == []
    (found,) = findings(path, head + body * FUNCTION_LINES)
    assert found.endswith(f"{path} f has 61 lines, more than 60")
    monkeypatch.setitem(LONG, f"{path} f", "a table")
    assert findings(path, head + body * FUNCTION_LINES) == []
