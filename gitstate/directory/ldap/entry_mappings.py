"""Clients to and from LDAP entries: with our schema, or with stock attributes only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

from ldap.dn import str2dn
from ldap.filter import escape_filter_chars

from gitstate.directory.model import client_attributes
from gitstate.directory.model.client_attributes import FIELDS, Field
from gitstate.directory.model.clients import DEFAULT_STATE, Client, Kind
from gitstate.directory.model.entries import Entry, EntryError
from gitstate.directory.model.schema import schema
from gitstate.directory.options import LdapOptions, Mode, Place

CLASS: Final = "objectClass"
CLIENT: Final = "gitstateClient"
_DEFAULTS: Final = {"kind": str(Kind.DISKLESS), "state": DEFAULT_STATE}
_HOSTS: Final = ("device", "ipHost", "ieee802Device", CLIENT)
_BOOTABLE: Final = "bootableDevice"
_BOOTS: Final = {"bootfile", "bootparameter"}
_BY_KEY: Final = {field.key: field for field in FIELDS}


class EntryMapping(Protocol):
    """How a client is stored in an LDAP entry."""

    @property
    def base_filter(self) -> str:
        """The filter for entries that may be clients."""

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attributes to read."""

    @property
    def follower_attributes(self) -> tuple[str, ...]:
        """The attributes that hold a client's channel, pin and kind."""

    @property
    def name_attributes(self) -> tuple[str, ...]:
        """The attributes that identify a client and its name."""

    def client_of(self, name: str, entry: Entry) -> Client:
        """Return the client of ``entry``. Raises EntryError."""

    def entry_of(self, client: Client, current: Entry | None) -> dict[str, list[bytes]]:
        """Return the client's entry; other attributes of ``current`` stay."""

    def is_client(self, entry: Entry) -> bool:
        """Whether the entry is a client, not only a host."""

    def stripped(self, entry: Entry) -> dict[str, list[bytes]]:
        """Return the entry without gitstate's attributes."""

    def wanted(self, key: str, value: str) -> str:
        """Return the filter for clients whose ``key`` is ``value``."""


def entry_mapping(options: LdapOptions) -> EntryMapping:
    """Return the mapping that the options ask for."""
    return StockMapping(options.places) if options.mode is Mode.MAP else SchemaMapping()


def any_of(parts: Iterable[str]) -> str:
    """Return a filter that matches if one of ``parts`` does."""
    return f"(|{''.join(parts)})"


def equals(attribute: str, value: str) -> str:
    """Return a filter for one value, escaped."""
    return f"({attribute}={escape_filter_chars(value)})"


HOST_FILTER: Final = any_of(equals(CLASS, name) for name in _HOSTS[:3])
"""Filter for hosts, clients or not."""


def name_of(dn: str, entry: Entry) -> str:
    """Return a host's short name: that of its DN, else its first ``cn``."""
    if dn[:3].lower() == "cn=" and not set('\\+"') & set(head := dn[3:].partition(",")[0]):
        name = head
    else:
        parts = [value for kind, value, _ in str2dn(dn)[0] if kind.lower() == "cn"]
        values = entry.get("cn", ())
        name = parts[0] if parts else values[0].decode("utf-8", "replace") if values else ""
    return name.lower().partition(".")[0]


def _classes(entry: Entry) -> set[bytes]:
    return {one.lower() for one in entry.get(CLASS, ())}


def _with_structural_class(entry: dict[str, list[bytes]], current: Entry | None) -> dict[str, list[bytes]]:
    """A host keeps its structural class: LDAP doesn't allow changing it."""
    if current is not None and b"device" not in _classes(current):
        entry[CLASS] = [one for one in entry[CLASS] if one != b"device"]
    return entry


class SchemaMapping:
    """Entries of class gitstateClient."""

    base_filter = equals(CLASS, CLIENT)
    attributes = (CLASS, "cn", *(field.attribute for field in FIELDS))
    follower_attributes = ("gitstateKind", "gitstateChannelName", "gitstatePin")
    name_attributes = (CLASS, "cn")

    def client_of(self, name: str, entry: Entry) -> Client:
        return client_attributes.client_of(name, {**entry, "cn": [name.encode()]})

    def entry_of(self, client: Client, current: Entry | None) -> dict[str, list[bytes]]:
        return _with_structural_class(client_attributes.entry_of(client, current), current)

    def is_client(self, entry: Entry) -> bool:
        return CLIENT.lower().encode() in _classes(entry)

    def stripped(self, entry: Entry) -> dict[str, list[bytes]]:
        kept = {name: list(values) for name, values in entry.items() if not name.lower().startswith("gitstate")}
        kept[CLASS] = [one for one in entry[CLASS] if one.lower() != CLIENT.lower().encode()]
        return kept

    def wanted(self, key: str, value: str) -> str:
        if key == "name":
            return equals("cn", value)
        attribute = _BY_KEY[key].attribute
        if _DEFAULTS.get(key) == value.lower():
            return any_of([equals(attribute, value), f"(!({attribute}=*))"])
        return equals(attribute, value)


class StockMapping:
    """Entries of stock classes: values that these have no attribute for are stored in a configured one."""

    def __init__(self, places: Mapping[str, Place]) -> None:
        self._places = dict(places)
        self._fields = [_BY_KEY[key] for key in places]
        mapped = tuple(dict.fromkeys(place.attribute for place in places.values()))
        # Not by prefix: bootFile, as most stock attributes, has no rule for a part of a value.
        self.base_filter = any_of(f"({attribute}=*)" for attribute in mapped)
        self.attributes = (CLASS, "cn", "macAddress", "ipHostNumber", *mapped)
        self.follower_attributes = mapped
        self.name_attributes = ("cn", *mapped)

    def client_of(self, name: str, entry: Entry) -> Client:
        found: dict[str, list[bytes]] = {"cn": [name.encode()], CLASS: [CLIENT.encode()]}
        for attribute in ("macAddress", "ipHostNumber"):
            found[attribute] = list(entry.get(attribute, ()))
        for field in self._fields:
            values = self._values(entry, field)
            if len(values) > 1 and not field.many:
                place = self._places[field.key]
                raise EntryError(f"{place.attribute}: {place.prefix} stands there twice", place.attribute)
            found[field.attribute] = values
        return client_attributes.client_of(name, found)

    def _values(self, entry: Entry, field: Field) -> list[bytes]:
        prefix = self._places[field.key].prefix.encode()
        values = entry.get(self._places[field.key].attribute, ())
        return [one[len(prefix) :] for one in values if one.startswith(prefix)]

    def entry_of(self, client: Client, current: Entry | None) -> dict[str, list[bytes]]:
        ours = client_attributes.entry_of(client, self._stock_values(current or {}))
        entry = {name: values for name, values in ours.items() if not name.startswith("gitstate")}
        classes = {one for one in ours[CLASS] if one != CLIENT.encode()}
        for field in self._fields:
            place = self._places[field.key]
            new = [place.prefix.encode() + one for one in ours.get(field.attribute, ())]
            if new:
                entry[place.attribute] = [*entry.get(place.attribute, ()), *new]
            if place.attribute.lower() in _BOOTS and new:
                classes.add(_BOOTABLE.encode())
        entry[CLASS] = sorted(classes)
        return _with_structural_class(entry, current)

    def is_client(self, entry: Entry) -> bool:
        return any(self._values(entry, field) for field in self._fields)

    def stripped(self, entry: Entry) -> dict[str, list[bytes]]:
        return self._stock_values(entry)

    def _stock_values(self, entry: Entry) -> dict[str, list[bytes]]:
        """The entry without the values that gitstate put there."""
        kept: dict[str, list[bytes]] = {}
        for name, values in entry.items():
            prefixes = tuple(
                place.prefix.encode() for place in self._places.values() if place.attribute.lower() == name.lower()
            )
            if left := [one for one in values if not prefixes or not one.startswith(prefixes)]:
                kept[name] = left
        if not {name.lower() for name in kept} & _BOOTS:
            kept[CLASS] = [one for one in kept.get(CLASS, ()) if one.lower() != _BOOTABLE.lower().encode()]
        return kept

    def wanted(self, key: str, value: str) -> str:
        if key == "name":
            return equals("cn", value)
        if key not in self._places:
            return equals(_BY_KEY[key].attribute, value)
        if _DEFAULTS.get(key) == value.lower():
            return ""  # those that say nothing are so, too; whoever asks looks at what comes
        return equals(self._places[key].attribute, self._places[key].prefix + value)


# --- what differs -----------------------------------------------------------------------------------------------------


def difference(old: Entry, new: Entry) -> list[tuple[int, str, list[bytes]]]:
    """Return modifications from ``old`` to ``new``.

    Values are deleted by value: the server refuses if somebody else has changed them.
    """
    from ldap import MOD_ADD, MOD_DELETE

    found: list[tuple[int, str, list[bytes]]] = []
    for name in sorted({*old, *new}):
        before, after = old.get(name, ()), new.get(name, ())
        if before == after:
            continue
        same = _sameness(name)
        had, has = {same(one) for one in before}, {same(one) for one in after}
        if gone := [one for one in before if same(one) not in has]:
            found.append((MOD_DELETE, name, gone))
        if come := [one for one in after if same(one) not in had]:
            found.append((MOD_ADD, name, come))
    return found


def _sameness(name: str) -> Any:
    known = schema().attribute(name)
    return bytes.lower if name in (CLASS, "cn") or (known is not None and known.ignores_case) else bytes


def rebased(current: Entry, old: Entry, new: Entry) -> dict[str, list[bytes]]:
    """Return ``current`` with the difference of ``old`` and ``new`` applied, unless it is already."""
    result = {name: list(values) for name, values in current.items()}
    for name in {*old, *new}:
        same = _sameness(name)
        known = schema().attribute(name)
        if known is not None and known.single and old.get(name) != new.get(name):
            values = list(new.get(name, ()))
        else:
            gone = {same(one) for one in old.get(name, ())} - {same(one) for one in new.get(name, ())}
            values = [one for one in result.get(name, ()) if same(one) not in gone]
            have = {same(one) for one in values}
            values += [one for one in new.get(name, ()) if same(one) not in have]
        if values:
            result[name] = values
        else:
            result.pop(name, None)
    return result
