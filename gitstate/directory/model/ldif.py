"""Entries as LDIF text (RFC 2849), one in a file."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import dropwhile
from typing import Any, Final

from gitstate.core.errors import ConfigError, UsageError
from gitstate.core.names import host_name
from gitstate.directory.model.client_attributes import FIELDS, client_of, entry_of
from gitstate.directory.model.clients import Client
from gitstate.directory.model.entries import Entry, EntryError
from gitstate.directory.model.record_types import Record, RecordType
from gitstate.directory.model.schema import schema

HINT: Final = "clone directory.git, fix it, and push"
BASE: Final = "ou=clients,o=gitstate"
_LONGEST: Final = 64 * 1024
_CONTROL: Final = re.compile("[\0-\x09\x0b-\x1f\x7f]")
_SAFE: Final = re.compile(rb"(?:(?![ :<])[ -~]+(?<! ))?")  # a value that stands in a line as it is
_SPECIFICATION: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9.-]*)((?:;[^:]*)?):([:<]?) *(.*)")


def client_dn(name: str) -> str:
    """Return the distinguished name of a client."""
    return f"cn={name},{BASE}"


def record_dn(record_type: RecordType[Any], name: str) -> str:
    """Return the distinguished name of a record."""
    return f"cn={name},ou={record_type.folder},o=gitstate"


# --- writing ----------------------------------------------------------------------------------------------------------


def format_client(client: Client, current: Entry | None = None) -> bytes:
    """Return the file of ``client``; other attributes of ``current`` are kept. Raises UsageError."""
    return format_entry(client_dn(client.name), client_entry(client, current))


def client_entry(client: Client, current: Entry | None = None) -> Entry:
    """Return the entry of ``client``; other attributes of ``current`` are kept. Raises UsageError."""
    try:
        if host_name(client.name) != client.name:
            raise EntryError("its name isn't in lower case")
        entry = entry_of(client, current)
        schema().check(entry)
        if client_of(client.name, entry) != client:
            raise EntryError("its values aren't in their canonical form")
    except EntryError as error:
        raise UsageError(f"{client.name!r} can't be recorded: {error.why}", "correct that value") from None
    except UsageError as error:
        raise UsageError(f"{client.name!r} can't be recorded: {error.message}", error.hint) from None
    return entry


def format_record(record_type: RecordType[Record], record: Record, current: Entry | None = None) -> bytes:
    """Return the file of a record; other attributes of ``current`` are kept. Raises UsageError."""
    return format_entry(record_dn(record_type, record.name), record_entry(record_type, record, current))


def record_entry(record_type: RecordType[Record], record: Record, current: Entry | None = None) -> Entry:
    """Return the entry of a record; other attributes of ``current`` are kept. Raises UsageError."""
    try:
        entry = record_type.entry_of(record, current)
        schema().check(entry)
        if record_type.read(record.name, entry) != record:
            raise EntryError("its values aren't in their canonical form")
    except EntryError as error:
        raise UsageError(f"{record.name!r} can't be recorded: {error.why}", "correct that value") from None
    return entry


def format_entry(dn: str, entry: Entry) -> bytes:
    """Return an entry as LDIF, attributes sorted; lines aren't folded, so that diffs are readable."""
    lines = [_line(name, value) for name, values in sorted(entry.items()) for value in values]
    return "".join([_line("dn", dn.encode()), *lines]).encode()


def _line(name: str, value: bytes) -> str:
    if _SAFE.fullmatch(value):
        return f"{name}: {value.decode()}\n"
    return f"{name}:: {b64encode(value).decode()}\n"


# --- reading ----------------------------------------------------------------------------------------------------------


def parse_client(data: bytes, name: str, where: str, above: int = 0) -> tuple[Client, Entry]:
    """Parse the client ``name`` and its entry; ``data`` is the file ``where`` after its first ``above`` lines.

    Raises ConfigError with file and line.
    """
    with _located_errors(data, where, above):
        entry = _entry(data, client_dn(name))
        schema().check(entry)
        return client_of(name, entry), entry


@lru_cache(maxsize=20_000)
def parse_client_entry(data: bytes, name: str, where: str) -> Entry:
    """Parse a client's entry; cached, as a push does it several times. Raises ConfigError."""
    return parse_client(data, name, where)[1]


def parse_record(
    record_type: RecordType[Record], data: bytes, name: str, where: str, above: int = 0
) -> tuple[Record, dict[str, list[bytes]]]:
    """Parse the record ``name`` and its entry from the file ``where``. Raises ConfigError with its line."""
    with _located_errors(data, where, above):
        entry = _entry(data, record_dn(record_type, name))
        schema().check(entry)
        return record_type.read(name, entry), entry


@contextmanager
def _located_errors(data: bytes, where: str, above: int) -> Iterator[None]:
    """Turn EntryError into ConfigError with file and line."""
    try:
        yield
    except EntryError as error:
        line = error.line or line_of(data, error.attribute, error.place)
        raise ConfigError(
            f"{where}, line {above + line}: {error.why}", HINT if not above else "correct the file"
        ) from None


def line_of(data: bytes, attribute: str, place: int) -> int:
    """Return the line of the value at index ``place`` of ``attribute``, or 1."""
    text = data[:_LONGEST].decode(errors="replace").replace("\r\n", "\n")
    found = [number for number, name in _attributes(_unfolded(text)) if name == attribute]
    return (found[place:] or found[:1] or [1])[0]


def line_of_address(data: bytes, name: str, address: str) -> int:
    """Return the line of a client's ``address``, however it is written there."""
    entry = _entry(data, client_dn(name))
    for field in FIELDS:
        for place, value in enumerate(entry.get(field.attribute, ())):
            if field.key in ("macs", "ips") and field.read(value.decode()) == address:
                return line_of(data, field.attribute, place)
    return 1


def _attributes(lines: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Return line number and attribute of every value."""
    named = [(number, line.partition(":")[0]) for number, line in lines]
    known = [(number, schema().attribute(name)) for number, name in named]
    return [(number, one.name) for number, one in known if one is not None]


def _entry(data: bytes, dn: str) -> dict[str, list[bytes]]:
    """Parse the only entry of a file, attributes by their first name. Raises EntryError."""
    head = f"dn: {dn}"
    lines = list(dropwhile(lambda line: line[1] in ("", "version: 1"), _unfolded(_decoded(data))))
    if not lines or lines[0][1].lower() != head.lower():
        raise EntryError(f"the entry begins with {head}", line=lines[0][0] if lines else 1)
    entry: dict[str, list[bytes]] = {}
    is_over = False
    for number, line in lines[1:]:
        if line and is_over:
            raise EntryError("a second entry: a file holds only one", line=number)
        is_over = not line
        if line:
            name, value = _parse_line(number, line)
            entry.setdefault(name, []).append(value)
    return entry


def _decoded(data: bytes) -> str:
    if len(data) > _LONGEST:
        raise EntryError(f"longer than {_LONGEST >> 10} KiB, the limit for an entry", line=1)
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise EntryError("not UTF-8", line=data.count(b"\n", 0, error.start) + 1) from None
    if found := _CONTROL.search(text):
        raise EntryError(f"the control character {found[0]!a}", line=text.count("\n", 0, found.start()) + 1)
    return text


def _unfolded(text: str) -> list[tuple[int, str]]:
    """Return numbered lines, continuation lines joined, without comments."""
    found: list[tuple[int, list[str]]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith(" ") and found:
            found[-1][1].append(line[1:])
        else:
            found.append((number, [line]))
    return [(number, "".join(parts)) for number, parts in found if not parts[0].startswith("#")]


def _parse_line(number: int, line: str) -> tuple[str, bytes]:
    """Return an attribute by its first name, and a value. Raises EntryError if it is unknown or not readable."""
    found = _SPECIFICATION.fullmatch(line)
    if found is None:
        raise EntryError("not of the form 'attribute: value'", line=number)
    name, options, sign, value = found.groups()
    attribute = schema().attribute(name)
    if attribute is None or options:
        what = (
            "change records aren't read" if name == "changetype" else f"there is no attribute {name[:60]}{options[:9]}"
        )
        raise EntryError("a second entry: a file holds only one" if name == "dn" else what, line=number)
    if sign == "<":
        raise EntryError("values from URLs are never read", line=number)
    if sign == ":":
        try:
            return attribute.name, b64decode(value, validate=True)
        except binascii.Error:
            raise EntryError("not base64", line=number) from None
    return attribute.name, value.encode()
