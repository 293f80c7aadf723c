"""The conversion of a client from and to an entry, for all backends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from gitstate.core import names
from gitstate.core.errors import UsageError
from gitstate.directory.model import clients as model
from gitstate.directory.model.clients import Client
from gitstate.directory.model.entries import Entry, EntryError


class Field(NamedTuple):
    """The attribute for ``key`` of a client, the parser of its values, and the auxiliary class that allows it."""

    attribute: str
    key: str
    read: Callable[[str], object]
    many: bool = False
    auxiliary: str = "gitstateClient"


FIELDS: Final = (
    Field("macAddress", "macs", names.mac_address, True, "ieee802Device"),
    Field("ipHostNumber", "ips", names.ip_address, True, "ipHost"),
    Field("gitstateKind", "kind", model.client_kind),
    Field("gitstateChannelName", "channel", model.channel_name),
    Field("gitstatePin", "pin", names.pin),
    Field("gitstateWorkload", "workload", model.workload_name),
    Field("gitstateHardwareClass", "classes", model.class_name, True),
    Field("gitstateLayer", "layers", model.layer_name, True),
    Field("gitstateState", "state", model.state_mode),
    Field("gitstateMaintains", "maintains", model.prototype_name),
)
_READERS: Final = {field.attribute: field.read for field in FIELDS}
_NAME: Final = "cn"
_CLASS: Final = "objectClass"
_CLIENT: Final = "gitstateClient"
_CLASS_OF_CLIENTS: Final = _CLIENT.lower().encode()
_STRUCTURAL: Final = "device"
_OURS: Final = {_NAME, _CLASS, *(field.attribute for field in FIELDS)}
_LONGEST: Final = 400
_CLASSES: Final = {field.auxiliary for field in FIELDS}


def entry_of(client: Client, current: Entry | None = None) -> dict[str, list[bytes]]:
    """Return the entry of ``client``; other attributes of ``current`` are kept."""
    current = current or {}
    entry = {name: list(values) for name, values in current.items() if name not in _OURS}
    classes = {_STRUCTURAL, _CLIENT}
    for field in FIELDS:
        value = getattr(client, field.key)
        values = value if field.many else () if value is None else (value,)
        if values:
            entry[field.attribute] = [str(one).encode() for one in values]
            classes.add(field.auxiliary)
    name = client.name.encode()
    entry[_NAME] = [name, *(one for one in current.get(_NAME, ()) if one.lower() != name)]
    ours = {one.lower() for one in (_STRUCTURAL, *_CLASSES)}
    others = [one for one in current.get(_CLASS, ()) if one.decode("ascii", "replace").lower() not in ours]
    entry[_CLASS] = sorted([*(one.encode() for one in classes), *others])
    return entry


def client_of(name: str, entry: Entry) -> Client:
    """Read the client ``name`` from its entry. Raises EntryError."""
    if _CLASS_OF_CLIENTS not in {one.lower() for one in entry.get(_CLASS, ())}:
        raise EntryError(f"the class {_CLIENT} is missing", _CLASS)
    if name.encode() not in {one.lower() for one in entry.get(_NAME, ())}:
        raise EntryError(f"{_NAME} is not {name}", _NAME)
    values: dict[str, Any] = {}
    for attribute, key, _, many, _ in FIELDS:
        given = entry.get(attribute)
        if given:
            try:
                found = [_read(attribute, value) for value in given]
            except EntryError:
                raise _placed(attribute, given) from None
            values[key] = tuple(found) if many else found[0]
    return model.normalized(Client(name, **values))


@lru_cache(1 << 16)
def _read(attribute: str, value: bytes) -> object:
    if len(value) > _LONGEST:
        raise EntryError(f"{attribute} is longer than {_LONGEST} bytes")
    try:
        return _READERS[attribute](value.decode())
    except UnicodeDecodeError:
        raise EntryError(f"{attribute} is not UTF-8") from None
    except UsageError as error:
        raise EntryError(f"{attribute}: {error}") from None


def _placed(attribute: str, values: Sequence[bytes]) -> EntryError:
    """Return the error of the first invalid value, with its index."""
    for place, value in enumerate(values):
        try:
            _read(attribute, value)
        except EntryError as error:
            return EntryError(error.why, attribute, place)
    raise AssertionError(f"{attribute} can be read")
