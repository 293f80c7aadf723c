"""The schema for checking entries, parsed from the file that LDAP servers load (RFC 4512, section 4.1)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import takewhile
from typing import Final, NamedTuple

from gitstate.core.data import data_file
from gitstate.directory.model.entries import Entry, EntryError, quoted

_FILES: Final = ("standard.schema", "gitstate.schema")
_FLAGS: Final = {"SINGLE-VALUE", "STRUCTURAL", "AUXILIARY", "ABSTRACT"}
_TOKEN: Final = re.compile(r"'[^']*'|[()$]|[^\s()$']+")


# --- syntaxes (RFC 4517), stricter in one point: no control characters ------------------------------------------------

_IA5: Final = re.compile(rb"[ -~]+")
_PRINTABLE: Final = re.compile(rb"[A-Za-z0-9'()+,./:=? -]+")
_OID: Final = re.compile(rb"[A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)*")
_CONTROL: Final = re.compile("[\0-\x1f\x7f-\x9f]")
_RDN: Final = (
    r"(?:[A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)*) *="
    r'(?: *#(?:[0-9A-Fa-f]{2})+ *|(?! *#)(?:[^\\,+";<>]|\\(?:[ "+,;<>#=\\]|[0-9A-Fa-f]{2}))*)'
)
_DN: Final = re.compile(f"{_RDN}(?:[,+] *{_RDN})*")  # RFC 4514, spaces around separators allowed


def _is_text(value: bytes) -> bool:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return False
    return text.strip() != "" and not _CONTROL.search(text)


def _is_dn(value: bytes) -> bool:
    return _is_text(value) and _DN.fullmatch(value.decode()) is not None


def _matches(pattern: re.Pattern[bytes]) -> Callable[[bytes], bool]:
    return lambda value: pattern.fullmatch(value) is not None


_SYNTAXES: Final[dict[str, tuple[str, Callable[[bytes], bool]]]] = {
    "1.3.6.1.4.1.1466.115.121.1.7": ("TRUE or FALSE", _matches(re.compile(rb"TRUE|FALSE"))),
    "1.3.6.1.4.1.1466.115.121.1.24": ("a time such as 20250312140900Z", _matches(re.compile(rb"[0-9]{14}Z"))),
    "1.3.6.1.4.1.1466.115.121.1.12": ("a distinguished name", _is_dn),
    "1.3.6.1.4.1.1466.115.121.1.15": ("UTF-8 text without control characters", _is_text),
    "1.3.6.1.4.1.1466.115.121.1.26": ("ASCII text without control characters", _matches(_IA5)),
    "1.3.6.1.4.1.1466.115.121.1.27": ("a whole number", _matches(re.compile(rb"0|-?[1-9][0-9]{0,17}"))),
    "1.3.6.1.4.1.1466.115.121.1.38": ("a name or an OID", _matches(_OID)),
    "1.3.6.1.4.1.1466.115.121.1.44": ("text of letters, digits and '()+,-./:=?", _matches(_PRINTABLE)),
    "1.3.6.1.1.1.0.1": ("ASCII text without control characters", _matches(_IA5)),
}


# --- the files --------------------------------------------------------------------------------------------------------


def definitions(text: str) -> Iterator[tuple[str, str]]:
    """Keyword and definition of each ``attributetype`` and ``objectclass``, OIDs spelled out."""
    macros: dict[str, str] = {}
    lines = (line for line in text.splitlines() if line.strip() and not line.startswith("#"))
    for statement in re.split(r"\n(?=\S)", "\n".join(lines)):
        keyword, *words = statement.split()
        if words and words[0] == "(":
            words[1] = _spelled_out(words[1], macros)
            yield keyword, " ".join(words)
        elif keyword == "objectidentifier":
            macros[words[0]] = _spelled_out(words[1], macros)


def _spelled_out(oid: str, macros: Mapping[str, str]) -> str:
    name, colon, rest = oid.partition(":")
    return f"{macros[name]}.{rest}" if colon else oid


class _Definition(NamedTuple):
    """An attribute type or an object class: ``values`` of each keyword; flags have none."""

    oid: str
    values: Mapping[str, Sequence[str]]

    @property
    def names(self) -> Sequence[str]:
        return self.values["NAME"]


def _parse_definition(text: str) -> _Definition:
    """Parse ``( OID NAME 'x' SUP y MUST ( a $ b ) STRUCTURAL )``."""
    _, oid, *tokens, _ = _TOKEN.findall(text)
    values: dict[str, list[str]] = {}
    rest = iter(tokens)
    for keyword in rest:
        values[keyword] = [] if keyword in _FLAGS else [one.strip("'") for one in _value(rest)]
    return _Definition(oid, values)


def _value(tokens: Iterator[str]) -> Iterator[str]:
    first = next(tokens)
    if first != "(":
        yield first
        return
    yield from (one for one in takewhile(lambda one: one != ")", tokens) if one != "$")


class Attribute(NamedTuple):
    """An attribute's definition."""

    name: str
    single: bool
    ignores_case: bool
    what: str
    fits: Callable[[bytes], bool]


class _Rules(NamedTuple):
    """The attributes that a set of object classes requires and allows."""

    must: frozenset[str]
    may: frozenset[str]


class Schema:
    """Attributes and classes by name, whatever its case."""

    def __init__(self, texts: Sequence[str]) -> None:
        found = [definition for text in texts for definition in definitions(text)]
        types = _by_name(text for keyword, text in found if keyword == "attributetype")
        self._classes = _by_name(text for keyword, text in found if keyword == "objectclass")
        self._attributes = {name: _attribute(one, types) for name, one in types.items()}
        self._rules: dict[tuple[bytes, ...], _Rules] = {}

    def attribute(self, name: str) -> Attribute | None:
        """The attribute ``name``, None if there is none."""
        return self._attributes.get(name.lower())

    def check(self, entry: Entry) -> None:
        """Raise EntryError unless the entry follows the definitions of its object classes."""
        rules = self._rules_of(tuple(entry.get("objectClass", ())))
        for name, values in entry.items():
            if name not in rules.may:
                raise EntryError(f"{name} belongs to none of the entry's classes", name)
            self._check_values(self._attributes[name.lower()], values)
        missing = rules.must - entry.keys()
        if missing:
            raise EntryError(f"{min(missing)} is missing", "objectClass")

    def _check_values(self, attribute: Attribute, values: Sequence[bytes]) -> None:
        if attribute.single and len(values) > 1:
            raise EntryError(f"{attribute.name} has one value only", attribute.name, 1)
        seen = set()
        for place, value in enumerate(values):
            if not attribute.fits(value):
                raise EntryError(f"{attribute.name}: {quoted(value)} is not {attribute.what}", attribute.name, place)
            same = value.lower() if attribute.ignores_case else value
            if same in seen:
                raise EntryError(f"{attribute.name} has {quoted(value)} twice", attribute.name, place)
            seen.add(same)

    def _rules_of(self, names: tuple[bytes, ...]) -> _Rules:
        """The rules of the classes ``names``. Raises EntryError."""
        rules = self._rules.get(names)
        if rules is None:
            classes = [self._class(name, place) for place, name in enumerate(names)]
            if sum("STRUCTURAL" in one.values for one in classes) != 1:
                # none of ours, and none that we use, is derived from another structural one
                raise EntryError("an entry is of exactly one structural class, such as device", "objectClass")
            must, may = (frozenset(self._allowed(classes, keyword)) for keyword in ("MUST", "MAY"))
            rules = self._rules[names] = _Rules(must, must | may)
        return rules

    def _class(self, name: bytes, place: int) -> _Definition:
        found = self._classes.get(name.decode("ascii", "replace").lower())
        if found is None:
            raise EntryError(f"there is no class {quoted(name)}", "objectClass", place)
        return found

    def _allowed(self, classes: Iterable[_Definition], keyword: str) -> Iterator[str]:
        """Yield the attributes of ``classes``, and of those that they are derived from, by their first names."""
        for one in classes:
            yield from (self._attributes[name.lower()].name for name in one.values.get(keyword, ()))
            yield from self._allowed((self._classes[name.lower()] for name in one.values.get("SUP", ())), keyword)


def _by_name(texts: Iterable[str]) -> dict[str, _Definition]:
    return {name.lower(): one for one in map(_parse_definition, texts) for name in one.names}


def _attribute(one: _Definition, types: Mapping[str, _Definition]) -> Attribute:
    above = one
    while "SYNTAX" not in above.values:
        above = types[above.values["SUP"][0].lower()]
    what, fits = _SYNTAXES[above.values["SYNTAX"][0].partition("{")[0]]
    ignores_case = one.values.get("EQUALITY", [""])[0].startswith("caseIgnore")
    return Attribute(one.names[0], "SINGLE-VALUE" in one.values, ignores_case, what, fits)


@cache
def schema() -> Schema:
    """Return gitstate's schema with the standard definitions that it uses."""
    return Schema([data_file("schemas", name).read_text("utf-8") for name in _FILES])
