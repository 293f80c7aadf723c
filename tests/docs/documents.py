"""Schemas and tables of keys, made from the declarations of documents: ``python -m tests.docs.documents --write``."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from gitstate.boot.options import Options as BootTable
from gitstate.core.documents import Document
from gitstate.core.documents.explain import expected, phrase, schema
from gitstate.directory.options import LdapOptions
from gitstate.machine.hardware.probe import Report
from gitstate.machine.layers import Options as LayersTable
from gitstate.machine.render.layer_toml import LayerFile
from gitstate.machine.secrets.options import SecretsTable
from gitstate.store.site_file import SiteFile
from gitstate.tree.policy.declaration import PolicyFile
from gitstate.tree.shell import ShellTable
from tests.support import PROJECT

SCHEMAS: Final[dict[str, tuple[type[Document], str]]] = {
    "layer": (LayerFile, "gitstate layer file"),
    "policy": (PolicyFile, "gitstate policy file"),
    "probe": (Report, "gitstate probe"),
    "site": (SiteFile, "gitstate site file"),
}
"""The documents with a schema, by its name, and its title."""

SECTIONS: Final[dict[str, type[Document]]] = {
    "boot": BootTable,
    "directory": LdapOptions,
    "layers": LayersTable,
    "secrets": SecretsTable,
    "shell": ShellTable,
}
"""The tables of the site file."""

TABLES: Final[dict[str, tuple[type[Document], str]]] = {
    "boot": (BootTable, "docs/netboot.md"),
    "directory": (LdapOptions, "docs/directory.md"),
    "layers": (LayersTable, "docs/layers.md"),
    "policy": (PolicyFile, "docs/policy.md"),
    "shell": (ShellTable, "docs/live-edits.md"),
}
"""The documents with a table of keys, by the name in the comment in front of it, and the page."""

_HEAD: Final = "| key | value | default | meaning |\n|---|---|---|---|\n"


def schema_text(name: str) -> str:
    kind, title = SCHEMAS[name]
    whole = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:gitstate:{name}:1",
        **made_of(kind),
        "title": title,
    }
    if kind is SiteFile:
        for key, section in SECTIONS.items():
            whole["properties"][key] = made_of(section)
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def made_of(kind: type[Document]) -> dict[str, Any]:
    """The schema of a document, in one piece."""
    whole = schema(kind)
    found: dict[str, Any] = inlined(whole, whole)
    return (found if kind is Report else without_null(found)) | kind.conditions


def inlined(whole: dict[str, Any], node: Any) -> Any:
    if isinstance(node, list):
        return [inlined(whole, one) for one in node]
    if not isinstance(node, dict):
        return node
    return {key: inlined(whole, value) for key, value in (resolved(whole, node) | node).items() if key[0] != "$"}


def without_null(node: Any) -> Any:
    """A schema for TOML, which has no null: a key that may be None may be left out."""
    if isinstance(node, list):
        return [without_null(one) for one in node]
    if not isinstance(node, dict):
        return node
    found = {key: without_null(value) for key, value in node.items() if key != "default" or value not in (None, "")}
    if {"type": "null"} in found.get("anyOf", ()):
        [other] = [one for one in found.pop("anyOf") if one != {"type": "null"}]
        found = {**other, **found}
    return found


def table(kind: type[Document]) -> str:
    return _HEAD + "".join(rows(made_of(kind), ""))


def rows(node: dict[str, Any], above: str) -> Iterator[str]:
    """A row for each key, those of tables below it by their full names."""
    for name, value in node["properties"].items():
        inner = value if "properties" in value else value.get("items") or {}  # [[allow]]
        if "properties" in inner:
            yield from rows(inner, f"{above}{name}.")
        else:
            default = "required" if name in node["required"] else shown(value.get("default"))
            meaning = phrase(value["description"].rstrip("."))
            yield f"| `{above}{name}` | {expected(value)} | {default} | {meaning} |\n"


def resolved(whole: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = whole["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node
    return found


def shown(default: object) -> str:
    return f"`{json.dumps(default, ensure_ascii=False)}`" if default or default is False else ""


def page_text(page: Path) -> str:
    """The page with its tables as they should be."""
    text = page.read_text("utf-8")
    for name, (kind, place) in TABLES.items():
        if PROJECT / place == page:
            mark = re.compile(rf"(?<=<!-- keys: {name} -->\n\n)(?:\|.*\n)*")
            assert mark.search(text), f"{page} has no comment: keys: {name}"
            text = mark.sub(table(kind).replace("\\", r"\\"), text)
    return text


def made() -> dict[Path, str]:
    """What the files should hold."""
    pages = {PROJECT / place for _, place in TABLES.values()}
    return {PROJECT / "schemas" / f"{name}.schema.json": schema_text(name) for name in SCHEMAS} | {
        page: page_text(page) for page in sorted(pages)
    }


def main() -> None:
    """Write all files, or say which is out of date."""
    is_writing = "--write" in sys.argv[1:]
    stale = {path: text for path, text in made().items() if not path.exists() or path.read_text("utf-8") != text}
    for path, text in stale.items():
        if is_writing:
            path.write_text(text, "utf-8")
        print(f"{'written' if is_writing else 'out of date'}: {path}")
    sys.exit(bool(stale) and not is_writing)


if __name__ == "__main__":
    main()
