"""``[directory]`` of site.toml, parsed at the door. schemas/site.schema.json says the same."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from gitstate.core.errors import ConfigError, UsageError
from gitstate.store.site import Site

_SEE: Final = "see docs/directory.md"


class Mode(StrEnum):
    """How a site's LDAP is used: with our classes; with stock attributes; to read hosts from, and nothing else."""

    SCHEMA = "schema"
    MAP = "map"
    SPLIT = "split"


class Login(StrEnum):
    """Who we are to the server."""

    ANONYMOUS = "anonymous"
    SIMPLE = "simple"
    EXTERNAL = "external"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value of a client stands in a stock entry: after ``prefix``, in a value of ``attribute``."""

    attribute: str
    prefix: str


MAPPED: Final = {
    "kind": "kind",
    "channel": "channel",
    "pin": "pin",
    "workload": "workload",
    "classes": "class",
    "layers": "layer",
    "state": "state",
}
"""What a stock entry has no attribute for, by the keys of ``Client``, and its name in ``[directory.map]``."""
DEFAULT_MAP: Final = {key: Place("bootFile", f"gitstate:{word}=") for key, word in MAPPED.items()}


@dataclass(frozen=True, slots=True)
class LdapOptions:
    """Where the directory is, and how we come to it."""

    uris: tuple[str, ...]
    base: str
    clients: str
    channels: str
    classes: str
    netgroups: str
    mode: Mode = Mode.SCHEMA
    starttls: bool = False
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    login: Login = Login.ANONYMOUS
    bind: str = ""
    password_file: Path | None = None
    password_credential: str | None = None
    timeout: int = 10
    map: Mapping[str, Place] = field(default_factory=lambda: DEFAULT_MAP)


class _FieldError(ValueError):
    """What is wrong with which key; ``load`` adds the file."""

    def __init__(self, key: str, what: str, hint: str = _SEE) -> None:
        super().__init__(f"[directory] {key} {what}")
        self.hint = hint


def load(site: Site) -> LdapOptions | None:
    """What ``site.toml`` says; None for the embedded directory. Raises NotFoundError, ConfigError."""
    table = site.settings().get("directory", {})
    try:
        return parse(table)
    except _FieldError as fault:
        raise ConfigError(f"{site.file}: {fault}", fault.hint) from None


def parse(table: object) -> LdapOptions | None:
    """The options of the table ``[directory]``; None for the embedded directory. Raises ValueError."""
    if not isinstance(table, dict):
        raise _FieldError("", "is not a table", "write: [directory], and its keys below")
    given = dict(table)
    backend = given.pop("backend", "ldif")
    if backend not in ("ldif", "ldap"):
        raise _FieldError("backend", f"is {backend!r}", 'one of "ldif", "ldap"')
    if backend == "ldif":
        if given:
            raise _FieldError(min(given), 'says something of LDAP only, and the backend is "ldif"')
        return None
    unknown = given.keys() - _KEYS.keys()
    if unknown:
        raise _FieldError(min(unknown), "is no key of it", f"there are: {', '.join(_KEYS)}")
    values = {key: _KEYS[key](key, value) for key, value in given.items()}
    for key in ("uri", "base"):
        if key not in values:
            raise _FieldError(key, "is missing")
    base = values["base"]
    options = LdapOptions(
        uris=values["uri"],
        base=base,
        clients=values.get("clients", f"ou=clients,{base}"),
        channels=values.get("channels", f"ou=channels,{base}"),
        classes=values.get("classes", f"ou=classes,{base}"),
        netgroups=values.get("netgroups", f"ou=netgroup,{base}"),
        login=_login(values),
        **{key: value for key, value in values.items() if key in _SAME},
    )
    _check(options, values)
    return options


def _login(values: Mapping[str, Any]) -> Login:
    if values.get("external"):
        return Login.EXTERNAL
    return Login.SIMPLE if "bind" in values else Login.ANONYMOUS


def _check(options: LdapOptions, values: Mapping[str, Any]) -> None:
    """Raise _Fault for keys that exclude or need each other."""
    secrets = [key for key in ("password_file", "password_credential") if key in values]
    if options.login is Login.SIMPLE and len(secrets) != 1:
        raise _FieldError("bind", "wants either password_file or password_credential")
    if options.login is Login.SIMPLE and not options.starttls:
        for uri in options.uris:
            if not _is_private(uri):
                raise _FieldError(
                    "uri", f"{uri} would carry the password for all to read", "write starttls = true, or ldaps://"
                )
    if options.login is not Login.SIMPLE and secrets:
        raise _FieldError(secrets[0], "is of no use without bind, or with external = true")
    if options.login is Login.EXTERNAL and options.bind:
        raise _FieldError("bind", "and external exclude each other")
    if (options.certificate is None) != (options.key is None):
        raise _FieldError("certificate", "and key go together")
    if options.starttls and any(not uri.startswith("ldap://") for uri in options.uris):
        raise _FieldError("starttls", "is for ldap:// only", "ldaps:// has TLS, and ldapi:// needs none")
    if "map" in values and options.mode is not Mode.MAP:
        raise _FieldError("map", f'is for mode = "map" only, not "{options.mode}"')


_LOOPBACK: Final = re.compile(r"ldap://(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?/?")


def _is_private(uri: str) -> bool:
    return not uri.startswith("ldap://") or _LOOPBACK.fullmatch(uri) is not None


# --- values -----------------------------------------------------------------------------------------------------------

_URI: Final = re.compile(
    r"(?:ldaps?://(?:[A-Za-z0-9][A-Za-z0-9.-]{0,252}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?"
    r"|ldapi://(?:[A-Za-z0-9._~-]|%[0-9A-Fa-f]{2}){0,300})/?"
)
_RDN: Final = r"[A-Za-z][A-Za-z0-9-]*=(?:[^\0-\x1f\x7f,+\"<>;\\=#]|\\[ -~])+"
_DN: Final = re.compile(f"{_RDN}(?:, ?{_RDN})*")
_PATH: Final = re.compile(r"(?:/[^/\0-\x1f\x7f]+)+")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_MAPPED: Final = re.compile(r"([A-Za-z][A-Za-z0-9-]{0,99}): ?([!-~]{0,60})")
_LONGEST_WAIT: Final = 600


def distinguished_name(text: str) -> str:
    """A distinguished name, for the command line. Raises UsageError."""
    if not _DN.fullmatch(text):
        raise UsageError(f"{text!r} is not a distinguished name", "such as dc=example,dc=org")
    return text


def _text(pattern: re.Pattern[str], what: str) -> Callable[[str, object], str]:
    def read(key: str, value: object) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise _FieldError(key, f"is {value!r}, not {what}")
        return value

    return read


def _path(key: str, value: object) -> Path:
    return Path(_text(_PATH, "an absolute path")(key, value))


def _uris(key: str, value: object) -> tuple[str, ...]:
    given = value if isinstance(value, list) else [value]
    read = _text(_URI, "ldaps://HOST, ldap://HOST or ldapi://PATH with / written %2F")
    if not given:
        raise _FieldError(key, "is an empty list")
    return tuple(read(key, one) for one in given)


def _switch(key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _FieldError(key, f"is {value!r}, not true or false")
    return value


def _seconds(key: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= _LONGEST_WAIT:
        raise _FieldError(key, f"is {value!r}, not a number of seconds from 1 to {_LONGEST_WAIT}")
    return value


def _mode(key: str, value: object) -> Mode:
    if value not in set(Mode):
        raise _FieldError(key, f"is {value!r}", f"one of {', '.join(Mode)}")
    return Mode(str(value))


def _map(key: str, value: object) -> Mapping[str, Place]:
    if not isinstance(value, dict):
        raise _FieldError(key, "is not a table", "write: [directory.map], and its keys below")
    words = {word: name for name, word in MAPPED.items()}
    places = dict(DEFAULT_MAP)
    for word, text in value.items():
        if word not in words:
            raise _FieldError(f"map.{word}", "is no key of it", f"there are: {', '.join(words)}")
        _text(_MAPPED, "ATTRIBUTE: PREFIX, such as bootFile: gitstate:channel=")(f"map.{word}", text)
        attribute, _, prefix = text.partition(":")
        places[words[word]] = Place(attribute, prefix.strip())
    _check_map(places)
    return places


def _check_map(places: Mapping[str, Place]) -> None:
    """Raise _Fault where one value could be read as two."""
    for key, place in places.items():
        if place.attribute.lower() == "bootparameter":
            raise _FieldError(f"map.{MAPPED[key]}", "is bootParameter, by which no server can search", "take bootFile")
        if place.attribute.lower() in ("cn", "objectclass", "macaddress", "iphostnumber"):
            raise _FieldError(f"map.{MAPPED[key]}", f"is {place.attribute}, which holds something else")
        for other, theirs in places.items():
            same = other != key and theirs.attribute.lower() == place.attribute.lower()
            if same and theirs.prefix.lower().startswith(place.prefix.lower()):
                raise _FieldError(f"map.{MAPPED[key]}", f"can't be told from map.{MAPPED[other]}", "give each a prefix")


_KEYS: Final[Mapping[str, Callable[[str, object], Any]]] = {
    "mode": _mode,
    "uri": _uris,
    "base": _text(_DN, "a distinguished name such as dc=example,dc=org"),
    "clients": _text(_DN, "a distinguished name"),
    "channels": _text(_DN, "a distinguished name"),
    "classes": _text(_DN, "a distinguished name"),
    "netgroups": _text(_DN, "a distinguished name"),
    "starttls": _switch,
    "ca": _path,
    "certificate": _path,
    "key": _path,
    "external": _switch,
    "bind": _text(_DN, "a distinguished name"),
    "password_file": _path,
    "password_credential": _text(_NAME, "the name of a credential"),
    "timeout": _seconds,
    "map": _map,
}
_SAME: Final = _KEYS.keys() - {"uri", "base", "clients", "channels", "classes", "netgroups", "external"}
