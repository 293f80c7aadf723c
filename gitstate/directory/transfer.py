"""Export and import of the whole directory as LDIF."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gitstate.core.errors import ConfigError
from gitstate.core.signature import Signature
from gitstate.directory.model.channels import Channel
from gitstate.directory.model.classes import HardwareClass
from gitstate.directory.model.clients import Client, refuse_duplicate_addresses
from gitstate.directory.model.entries import Entry
from gitstate.directory.model.ldif import client_dn, format_entry, parse_client, parse_record, record_dn
from gitstate.directory.model.record_types import CHANNELS, CLASSES, RECORD_TYPES, Record, RecordType
from gitstate.directory.protocol import Directory

BASE: Final = "o=gitstate"
_CLASS: Final = re.compile(rb"^objectclass: *(gitstate(?:Client|Channel|Class))$", re.IGNORECASE | re.MULTILINE)
_TYPES_BY_CLASS: Final = {one.object_class.lower().encode(): one for one in RECORD_TYPES.values()}
_NAME: Final = re.compile(r"dn: *cn=([A-Za-z0-9._+-]{1,100}) *(?:,.*)?", re.IGNORECASE)
_WORDS: Final = ("channel", "hardware class", "client")
_CHANGE: Final = "gitstateLastChange"


# --- export -----------------------------------------------------------------------------------------------------------


def export_entries(directory: Directory, base: str = BASE) -> Iterator[str]:
    """Yield the directory's entries, parents first, each ended by an empty line."""
    for name in ("clients", *RECORD_TYPES):
        entry = {"objectClass": [b"organizationalUnit"], "ou": [name.encode()]}
        yield _text(format_entry(f"ou={name},{base}", entry))
    yield from _records_of(CHANNELS, directory.channels(), base)
    yield from _records_of(CLASSES, directory.classes(), base)
    for name, entry_ in directory.entries().items():
        yield _text(format_entry(f"cn={name},ou=clients,{base}", entry_))


def _records_of(record_type: RecordType[Record], records: Mapping[str, Record], base: str) -> Iterator[str]:
    for name, record in records.items():
        yield _text(format_entry(f"cn={name},ou={record_type.folder},{base}", record_type.entry_of(record, None)))


def _text(data: bytes) -> str:
    return data.decode().rstrip("\n") + "\n"


# --- import -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Content:
    """The records of an LDIF text; ``others`` counts the entries that are none of gitstate's."""

    clients: Mapping[str, tuple[Client, Entry]]
    channels: Mapping[str, Channel]
    classes: Mapping[str, HardwareClass]
    others: int = 0


def parse(data: bytes, where: str) -> Content:
    """Parse the records of an LDIF text, below any base. Raises ConfigError with file and line."""
    clients: dict[str, tuple[Client, Entry]] = {}
    records: dict[str, dict[str, Any]] = {folder: {} for folder in RECORD_TYPES}
    others = 0
    for above, record in _records(data.removeprefix(BOM_UTF8).replace(b"\r\n", b"\n")):
        kinds = _CLASS.findall(record)
        if not kinds:
            others += 1
            continue
        name, lines, rest = _head(record, where, above)
        record_type = None if b"gitstateclient" in map(bytes.lower, kinds) else _TYPES_BY_CLASS[kinds[0].lower()]
        if record_type is None:
            name = name.lower()
            twice = name in clients
            client, entry = parse_client(
                b"dn: %s\n%s" % (client_dn(name).encode(), rest), name, where, above + lines - 1
            )
            clients[name] = client, {key: values for key, values in entry.items() if key != _CHANGE}
        else:
            twice = name in records[record_type.folder]
            dn = record_dn(record_type, name).encode()
            records[record_type.folder][name], _ = parse_record(
                record_type, b"dn: %s\n%s" % (dn, rest), name, where, above + lines - 1
            )
        if twice:
            word = record_type.word if record_type else "client"
            raise ConfigError(f"{where}, line {above + 1}: a second {word} {name}", "leave one of them")
    refuse_duplicate_addresses((client for _, (client, _) in sorted(clients.items())), ())
    return Content(
        dict(sorted(clients.items())),
        CHANNELS.by_name(records[CHANNELS.folder].values()),
        CLASSES.by_name(records[CLASSES.folder].values()),
        others,
    )


def _records(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield each entry of a text, and the number of lines before it."""
    start: list[bytes] = []
    first = 0
    for number, line in enumerate([*data.split(b"\n"), b""]):
        if line:
            if not start:
                first = number
            start.append(line)
        elif start:
            if any(not one.startswith(b"#") and one != b"version: 1" for one in start):
                yield first, b"\n".join(start)
            start = []


def _head(record: bytes, where: str, above: int) -> tuple[str, int, bytes]:
    """Return the name in an entry's dn, the number of lines up to it, and the lines after it."""
    lines = record.split(b"\n")
    number = 0
    while lines[number].startswith((b"#", b" ", b"version: 1")):
        number += 1
    dn = lines[number]
    number += 1
    while number < len(lines) and lines[number].startswith(b" "):
        dn += lines[number][1:]
        number += 1
    found = _NAME.fullmatch(dn.decode("utf-8", "replace"))
    if found is None:
        raise ConfigError(f"{where}, line {above + number}: the entry begins with dn: cn=NAME,…", "correct the file")
    return found[1], number, b"\n".join(lines[number:])


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """The changes that bring a directory to the content of a text; ``new`` are those of what isn't there yet."""

    directory: Directory
    clients: tuple[Client, ...]
    extra: Mapping[str, Entry]
    removed_clients: tuple[str, ...]
    channels: tuple[Channel, ...]
    removed_channels: tuple[str, ...]
    classes: tuple[HardwareClass, ...]
    removed_classes: tuple[str, ...]
    new: frozenset[tuple[str, str]]

    def describe(self) -> list[tuple[str, str, str]]:
        """Return each change: add, set or remove; client, channel or hardware class; and its name."""
        records: tuple[Sequence[Channel | HardwareClass | Client], ...] = (self.channels, self.classes, self.clients)
        put = zip(_WORDS, records, strict=True)
        removed = zip(_WORDS, (self.removed_channels, self.removed_classes, self.removed_clients), strict=True)
        changed = [(word, one.name) for word, found in put for one in found]
        return [
            *(("add" if one in self.new else "set", *one) for one in changed),
            *(("remove", word, name) for word, names in removed for name in names),
        ]


def plan_import(directory: Directory, content: Content, *, replace: bool) -> ImportPlan:
    """Plan to import ``content``; with ``replace``, also to remove all else."""
    clients, channels, classes = directory.entries(), directory.channels(), directory.classes()
    new = {name: pair for name, pair in content.clients.items() if not _same(clients.get(name), pair[1])}
    return ImportPlan(
        directory,
        tuple(client for client, _ in new.values()),
        {name: entry for name, (_, entry) in new.items()},
        tuple(sorted(clients.keys() - content.clients.keys())) if replace else (),
        tuple(one for name, one in content.channels.items() if channels.get(name) != one),
        tuple(sorted(channels.keys() - content.channels.keys())) if replace else (),
        tuple(one for name, one in content.classes.items() if classes.get(name) != one),
        tuple(sorted(classes.keys() - content.classes.keys())) if replace else (),
        frozenset(
            (word, name)
            for word, there, wanted in zip(
                _WORDS, (channels, classes, clients), (content.channels, content.classes, content.clients), strict=True
            )
            for name in wanted.keys() - there.keys()
        ),
    )


def _same(current: Entry | None, entry: Entry) -> bool:
    return current is not None and _sets(current) == _sets(entry)


def _sets(entry: Entry) -> dict[str, frozenset[bytes]]:
    return {
        name: frozenset(one.lower() for one in values) if name == "objectClass" else frozenset(values)
        for name, values in entry.items()
    }


def apply(plan: ImportPlan, author: Signature, committer: Signature, message: str) -> None:
    """Import channels before clients, which refer to them, and remove them after. Can be repeated when interrupted."""
    directory = plan.directory
    if plan.channels:
        directory.change_channels(plan.channels, (), author, message, committer)
    if plan.classes or plan.removed_classes:
        directory.change_classes(plan.classes, plan.removed_classes, author, message, committer)
    directory.clients()
    directory.change(plan.clients, plan.removed_clients, author, message, committer, plan.extra)
    if plan.removed_channels:
        directory.change_channels((), plan.removed_channels, author, message, committer)
