"""``[directory]`` of site.toml; schemas/site.schema.json and the table in docs/directory.md come from here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final

from gitstate.core.documents import Document, FieldError, Meta, Source, about, field, parse, replace
from gitstate.core.errors import UsageError
from gitstate.store.site import Site

_RDN: Final = r"[A-Za-z][A-Za-z0-9-]*=(?:[^\0-\x1f\x7f,+\"<>;\\=#]|\\[ -~])+"
_DN: Final = f"{_RDN}(?:, ?{_RDN})*"
_LOOPBACK: Final = re.compile(r"ldap://(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?/?")

Uri = Annotated[
    str,
    about(
        what="ldaps://HOST, ldap://HOST or ldapi://PATH with / written %2F",
        pattern=r"(?:ldaps?://(?:[A-Za-z0-9][A-Za-z0-9.-]{0,252}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?"
        r"|ldapi://(?:[A-Za-z0-9._~-]|%[0-9A-Fa-f]{2}){0,300})/?",
    ),
]
Name = Annotated[str, about(what="a distinguished name", pattern=_DN, example="dc=example,dc=org")]
File = Annotated[str, about(what="an absolute path", pattern=r"(?:/[^/\0-\x1f\x7f]+)+")]
Credential = Annotated[str, about(what="the name of a credential", pattern="[A-Za-z0-9][A-Za-z0-9._-]{0,99}")]
PlaceText = Annotated[str, about(what="ATTRIBUTE: PREFIX", pattern="[A-Za-z][A-Za-z0-9-]{0,99}: ?[!-~]{0,60}")]


class Backend(StrEnum):
    """Where the directory is."""

    LDIF = "ldif"
    LDAP = "ldap"


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


class MapTable(Document, frozen=True):
    """Where stock entries hold what they have no attribute for; fields are called as those of ``Client``."""

    kind: Annotated[PlaceText, about("Where the kind is.")] = "bootFile: gitstate:kind="
    channel: Annotated[PlaceText, about("Where the channel is.")] = "bootFile: gitstate:channel="
    pin: Annotated[PlaceText, about("Where the pin is.")] = "bootFile: gitstate:pin="
    workload: Annotated[PlaceText, about("Where the workload is.")] = "bootFile: gitstate:workload="
    classes: Annotated[PlaceText, about("Where a class is.")] = field(name="class", default="bootFile: gitstate:class=")
    layers: Annotated[PlaceText, about("Where a layer is.")] = field(name="layer", default="bootFile: gitstate:layer=")
    state: Annotated[PlaceText, about("Where the state is.")] = "bootFile: gitstate:state="
    maintains: Annotated[PlaceText, about("Where the maintained prototype is.")] = "bootFile: gitstate:maintains="

    def __post_init__(self) -> None:
        """Raise FieldError where one value could be read as two."""
        places = self.places()
        keys = dict(zip(self.__struct_fields__, self.__struct_encode_fields__, strict=True))
        for name, place in places.items():
            if place.attribute.lower() == "bootparameter":
                raise FieldError(keys[name], "is bootParameter, by which no server can search", "take bootFile")
            if place.attribute.lower() in ("cn", "objectclass", "macaddress", "iphostnumber"):
                raise FieldError(keys[name], f"is {place.attribute}, which holds something else")
            for other, theirs in places.items():
                same = other != name and theirs.attribute.lower() == place.attribute.lower()
                if same and theirs.prefix.lower().startswith(place.prefix.lower()):
                    raise FieldError(keys[name], f"can't be told from map.{keys[other]}", "give each a prefix")

    def places(self) -> Mapping[str, Place]:
        """The same, parsed."""
        parts = {name: getattr(self, name).partition(":") for name in self.__struct_fields__}
        return {name: Place(attribute, prefix.strip()) for name, (attribute, _, prefix) in parts.items()}


class LdapOptions(Document, frozen=True, kw_only=True):
    """Where the directory is, and how we log in to it."""

    backend: Annotated[Backend, about("In the site (`ldif`), or on an LDAP server. All other keys are for that.")] = (
        Backend.LDIF
    )
    mode: Annotated[
        Mode,
        about(
            "How LDAP is used: with gitstate's classes (`schema`), with stock attributes alone (`map`), or to read"
            " hosts, addresses and netgroups from, with assignments in directory.git (`split`)."
        ),
    ] = Mode.SCHEMA
    uri: Annotated[
        Uri | Annotated[tuple[Uri, ...], Meta(min_length=1, title="a list of them")],
        about("The server, or several, of which the first that answers is used. Required with `ldap`."),
    ] = field(default_factory=tuple)
    base: Annotated[Name, about("The entry below which everything is. Required with `ldap`.")] = ""
    clients: Annotated[Name, about("The entry of clients, or hosts. Without it: ou=clients,BASE.")] = ""
    channels: Annotated[Name, about("The entry of channels. Without it: ou=channels,BASE.")] = ""
    classes: Annotated[Name, about("The entry of hardware classes. Without it: ou=classes,BASE.")] = ""
    netgroups: Annotated[Name, about("The entry of netgroups. Without it: ou=netgroup,BASE.")] = ""
    starttls: Annotated[bool, about("Whether to ask for TLS on ldap://.")] = False
    ca: Annotated[File | None, about("The certificate of the server's authority. Without it: those of the system.")] = (
        None
    )
    certificate: Annotated[File | None, about("Our own certificate.")] = None
    key: Annotated[File | None, about("The key of our certificate.")] = None
    external: Annotated[
        bool, about("Whether to log in as the owner of the socket or of our certificate (SASL EXTERNAL).")
    ] = False
    bind: Annotated[Name, about("Our name, to log in with a password. Without it and `external`: anonymous.")] = ""
    password_file: Annotated[File | None, about("The file whose first line is the password; only we may read it.")] = (
        None
    )
    password_credential: Annotated[Credential | None, about("The systemd credential that is the password.")] = None
    timeout: Annotated[int, Meta(ge=1, le=600), about("For how many seconds we wait for an answer.")] = 10
    map: Annotated[
        MapTable | None, about('With `mode = "map"`: where stock entries hold what they have no attribute for.')
    ] = None

    conditions: ClassVar[Mapping[str, Any]] = {
        "if": {"required": ["backend"], "properties": {"backend": {"const": "ldap"}}},
        "then": {"required": ["uri", "base"]},
        "else": {"propertyNames": {"const": "backend"}},
    }

    def __post_init__(self) -> None:
        """Raise FieldError for keys that exclude or need each other."""
        for key, problem, hint in self._problems():
            raise FieldError(key, problem, hint)

    def _problems(self) -> list[tuple[str, str, str]]:
        if self.backend is Backend.LDIF:
            given = [
                key for key in self.__struct_fields__[1:] if getattr(self, key) not in (_USUAL.get(key), "", (), False)
            ]
            return [(key, 'is for LDAP, and the backend is "ldif"', 'write: backend = "ldap"') for key in given]
        secrets = [key for key in ("password_file", "password_credential") if getattr(self, key)]
        plain = [uri for uri in self.uris if uri.startswith("ldap://")]
        exposed = " ".join(uri for uri in plain if not _LOOPBACK.fullmatch(uri))
        is_simple = self.login is Login.SIMPLE
        either = "write either password_file or password_credential, with bind and without external"
        checks = [
            (not self.uris, "uri", "is missing", 'write: uri = "ldaps://HOST"'),
            (not self.base, "base", "is missing", "such as dc=example,dc=org"),
            (is_simple and len(secrets) != 1, "bind", "needs one password", either),
            (
                is_simple and not self.starttls and exposed,
                "uri",
                f"{exposed}: no TLS for the password",
                "write starttls = true",
            ),
            (not is_simple and secrets, "".join(secrets[:1]), "is of no use", either),
            (self.external and self.bind, "bind", "and external exclude each other", "remove one"),
            (bool(self.certificate) != bool(self.key), "certificate", "and key go together", "write both"),
            (self.starttls and len(plain) < len(self.uris), "starttls", "is for ldap:// only", "ldaps:// has TLS"),
            (self.map and self.mode is not Mode.MAP, "map", f'is for mode = "map", not "{self.mode}"', "remove it"),
        ]
        return [(key, problem, hint) for is_wrong, key, problem, hint in checks if is_wrong]

    @property
    def uris(self) -> tuple[str, ...]:
        """The servers, in order."""
        return (self.uri,) if isinstance(self.uri, str) else self.uri

    @property
    def login(self) -> Login:
        """Who we are to the server."""
        if self.external:
            return Login.EXTERNAL
        return Login.SIMPLE if self.bind else Login.ANONYMOUS

    @property
    def places(self) -> Mapping[str, Place]:
        """Where values of a client stand in a stock entry."""
        return (self.map or MapTable()).places()


_USUAL: Final = {"mode": Mode.SCHEMA, "timeout": 10}


def load(site: Site) -> LdapOptions | None:
    """What ``site.toml`` says; None for the embedded directory. Raises NotFoundError, ConfigError."""
    return options_of(site.source())


def options_of(source: Source) -> LdapOptions | None:
    """The options in a site's settings; None for the embedded directory. Raises ConfigError."""
    options = parse(LdapOptions, source, "directory")
    if options.backend is Backend.LDIF:
        return None
    return replace(
        options,
        clients=options.clients or f"ou=clients,{options.base}",
        channels=options.channels or f"ou=channels,{options.base}",
        classes=options.classes or f"ou=classes,{options.base}",
        netgroups=options.netgroups or f"ou=netgroup,{options.base}",
    )


def distinguished_name(text: str) -> str:
    """A distinguished name, for the command line. Raises UsageError."""
    if not re.fullmatch(_DN, text):
        raise UsageError(f"{text!r} is not a distinguished name", "such as dc=example,dc=org")
    return text
