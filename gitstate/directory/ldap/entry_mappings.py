"""A client <-> a server's entry: with our classes, or with stock attributes alone."""

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
    """How entries of clients look."""

    @property
    def base_filter(self) -> str:
        """The filter for those who may be clients."""

    @property
    def attributes(self) -> tuple[str, ...]:
        """What is read of each."""

    @property
    def follower_attributes(self) -> tuple[str, ...]:
        """The attributes that tell which channel a client follows, if it isn't pinned, and of what kind it is."""

    @property
    def name_attributes(self) -> tuple[str, ...]:
        """The attributes that tell a client and its name."""

    def client_of(self, name: str, entry: Entry) -> Client:
        """The client that ``entry`` tells of. Raises EntryError."""

    def entry_of(self, client: Client, current: Entry | None) -> dict[str, list[bytes]]:
        """Its entry; what ``current`` holds besides stays."""

    def is_client(self, entry: Entry) -> bool:
        """Whether it is more to us than a host."""

    def stripped(self, entry: Entry) -> dict[str, list[bytes]]:
        """What is left of a host that is no client any more."""

    def wanted(self, key: str, value: str) -> str:
        """The filter for those whose ``key`` is ``value``."""


def entry_mapping(options: LdapOptions) -> EntryMapping:
    """The form of a site's entries."""
    return StockMapping(options.places) if options.mode is Mode.MAP else SchemaMapping()


def any_of(parts: Iterable[str]) -> str:
    """A filter that fits where one of ``parts`` does."""
    return f"(|{''.join(parts)})"


def equals(attribute: str, value: str) -> str:
    """A filter for one value, whatever stands in it."""
    return f"({attribute}={escape_filter_chars(value)})"


HOST_FILTER: Final = any_of(equals(CLASS, name) for name in _HOSTS[:3])
"""Machines, clients or not."""


def name_of(dn: str, entry: Entry) -> str:
    """The short name of a host: its name in the tree, else the first that it has."""
    if dn[:3].lower() == "cn=" and not set('\\+"') & set(head := dn[3:].partition(",")[0]):
        name = head
    else:
        parts = [value for kind, value, _ in str2dn(dn)[0] if kind.lower() == "cn"]
        values = entry.get("cn", ())
        name = parts[0] if parts else values[0].decode("utf-8", "replace") if values else ""
    return name.lower().partition(".")[0]


def _classes(entry: Entry) -> set[bytes]:
    return {one.lower() for one in entry.get(CLASS, ())}


def _structure_kept(entry: dict[str, list[bytes]], current: Entry | None) -> dict[str, list[bytes]]:
    """A host that has another structural class keeps it: nothing can change that."""
    if current is not None and b"device" not in _classes(current):
        entry[CLASS] = [one for one in entry[CLASS] if one != b"device"]
    return entry


class SchemaMapping:
    """Entries with the class gitstateClient."""

    base_filter = equals(CLASS, CLIENT)
    attributes = (CLASS, "cn", *(field.attribute for field in FIELDS))
    follower_attributes = ("gitstateKind", "gitstateChannelName", "gitstatePin")
    name_attributes = (CLASS, "cn")

    def client_of(self, name: str, entry: Entry) -> Client:
        return client_attributes.client_of(name, {**entry, "cn": [name.encode()]})

    def entry_of(self, client: Client, current: Entry | None) -> dict[str, list[bytes]]:
        return _structure_kept(client_attributes.entry_of(client, current), current)

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
    """Entries of stock classes: the values that these have no attribute for stand in one that they have."""

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
        ours = client_attributes.entry_of(client, self._stock(current or {}))
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
        return _structure_kept(entry, current)

    def is_client(self, entry: Entry) -> bool:
        return any(self._values(entry, field) for field in self._fields)

    def stripped(self, entry: Entry) -> dict[str, list[bytes]]:
        return self._stock(entry)

    def _stock(self, entry: Entry) -> dict[str, list[bytes]]:
        """An entry without what we put there."""
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
    """What makes ``new`` of ``old``: values to be deleted, so that a change by somebody else is noticed, and added."""
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
    """``current`` with what differs between ``old`` and ``new``, whether or not some of it is so already."""
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
