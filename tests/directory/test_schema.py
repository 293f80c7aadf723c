"""The schema: what a real slapd says of it, and what it says of entries."""

from __future__ import annotations

import re
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import ldap
import ldap.dn
import ldap.schema
import pytest
from hypothesis import HealthCheck, given, settings
from ldap.ldapobject import LDAPObject
from ldap.modlist import addModlist
from ldap.schema import AttributeType, ObjectClass, SubSchema

from gitstate.core.data import data_file
from gitstate.directory.model.client_attributes import FIELDS, entry_of
from gitstate.directory.model.clients import Client
from gitstate.directory.model.entries import EntryError
from gitstate.directory.model.ldif import BASE, client_dn
from gitstate.directory.model.schema import definitions, schema
from tests.directory.harness import clients, machine
from tests.support import PROJECT, needs

KINDS: Final = {"attributetype": "attributeTypes", "objectclass": "objectClasses"}
OURS: Final = PROJECT / "schemas" / "gitstate.schema"
STANDARD: Final = PROJECT / "schemas" / "standard.schema"
REFUSALS: Final = (
    ldap.OBJECT_CLASS_VIOLATION,
    ldap.CONSTRAINT_VIOLATION,
    ldap.INVALID_SYNTAX,
    ldap.TYPE_OR_VALUE_EXISTS,
)
SCHEMAS: Final = Path("/etc/ldap/schema")


def configuration(place: Path) -> Path:
    """A server's configuration with our schema; its database stands in ``place``."""
    (place / "db").mkdir()
    file = place / "slapd.conf"
    includes = [*(SCHEMAS / f"{name}.schema" for name in ("core", "cosine", "nis")), OURS]
    lines = [f"include {path}" for path in includes]
    lines += [
        "modulepath /usr/lib/ldap",
        "moduleload back_mdb",
        "database mdb",
        "suffix o=gitstate",
        "maxsize 67108864",
    ]
    lines += [f"directory {place / 'db'}", "rootdn cn=admin,o=gitstate", "rootpw secret"]
    file.write_text("\n".join([*lines, ""]))
    return file


@needs("slaptest")
def test_a_server_loads_it(tmp_path: Path) -> None:
    done = subprocess.run(
        ["slaptest", "-u", "-f", str(configuration(tmp_path))], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.strip()) == (0, "config file testing succeeded")


@contextmanager
def server(place: Path) -> Iterator[LDAPObject]:
    """A real slapd with our schema, and a connection to it."""
    url = f"ldapi://{str(place / 'socket').replace('/', '%2F')}"
    log = place / "log"
    with open(log, "w") as output:
        process = subprocess.Popen(
            ["slapd", "-d", "0", "-f", str(configuration(place)), "-h", url], stdout=output, stderr=output
        )
    try:
        yield _connected(url, process, log)
    finally:
        process.terminate()
        process.wait(10)


def _connected(url: str, process: subprocess.Popen[bytes], log: Path) -> LDAPObject:
    deadline = time.monotonic() + 20
    while True:
        connection = ldap.initialize(url)
        try:
            connection.simple_bind_s("cn=admin,o=gitstate", "secret")
            return connection
        except ldap.SERVER_DOWN:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.01)


@pytest.mark.lab
@needs("slapd")
def test_a_server_has_the_standard_ones_as_we_do(tmp_path: Path) -> None:
    with server(tmp_path) as connection:
        found = connection.search_s("cn=subschema", ldap.SCOPE_BASE, attrlist=["attributeTypes", "objectClasses"])
    theirs = SubSchema(found[0][1], 0)
    for keyword, text in [*definitions(STANDARD.read_text()), *definitions(OURS.read_text())]:
        kind: Any = AttributeType if keyword == "attributetype" else ObjectClass
        ours = kind(text)
        other = theirs.get_obj(kind, ours.oid)
        assert other is not None, text
        for key in (
            "names",
            "sup",
            "syntax",
            "syntax_len",
            "single_value",
            "equality",
            "substr",
            "kind",
            "must",
            "may",
        ):
            assert getattr(ours, key, None) == getattr(other, key, None), (text, key)


@pytest.mark.lab
@needs("slapd")
def test_a_server_takes_our_entries_and_refuses_what_we_refuse(tmp_path: Path) -> None:
    with server(tmp_path) as connection:
        connection.add_s("o=gitstate", [("objectClass", b"organization"), ("o", b"gitstate")])
        connection.add_s(BASE, [("objectClass", b"organizationalUnit"), ("ou", b"clients")])

        @settings(max_examples=60, suppress_health_check=list(HealthCheck))
        @given(clients())
        def taken(client: Client) -> None:
            connection.add_s(client_dn(client.name), addModlist(entry_of(client)))
            connection.delete_s(client_dn(client.name))

        taken()
        for entry in _wrong():
            with pytest.raises(EntryError):
                schema().check(entry)
            with pytest.raises(REFUSALS):
                connection.add_s(client_dn("lab3-01"), addModlist(entry))


def _wrong() -> list[dict[str, list[bytes]]]:
    """Entries that neither a server nor we take."""
    good = entry_of(machine(1))
    without = {name: values for name, values in good.items() if name != "ipHostNumber"}
    return [
        without,
        good | {"bootFile": [b"pxelinux.0"]},
        good | {"gitstateKind": [b"diskless", b"live"]},
        good | {"gitstateKind": [b"caf\xc3\xa9"]},
        good | {"gitstatePciRule": [b"10de:*"]},
        good | {"macAddress": [b"52:54:00:AA:00:01", b"52:54:00:aa:00:01"]},
        good | {"objectClass": [b"gitstateClient", b"ieee802Device", b"ipHost"]},
        good | {"objectClass": [b"device", b"gitstateChannel", b"gitstateClient", b"ieee802Device", b"ipHost"]},
        good | {"seeAlso": [b"no name"]},
        good | {"serialNumber": [b"a*b"]},
        good | {"description": [b"\xff"]},
    ]


@pytest.mark.parametrize("entry", _wrong(), ids=lambda entry: "")
def test_wrong_entries_are_refused(entry: dict[str, list[bytes]]) -> None:
    schema().check(entry_of(machine(1)))
    with pytest.raises(EntryError):
        schema().check(entry)


def test_what_is_wrong_is_said() -> None:
    good = entry_of(machine(1))
    cases = [
        ({"bootFile": [b"x"]}, "bootFile belongs to none of the entry's classes", ("bootFile", 0)),
        ({"gitstateKind": [b"a", b"b"]}, "gitstateKind has one value only", ("gitstateKind", 1)),
        ({"gitstateLayer": [b"lab/a", b"\x1b[2J"]}, r"is not ASCII text", ("gitstateLayer", 1)),
        ({"objectClass": [b"device", b"toaster"]}, "there is no class 'toaster'", ("objectClass", 1)),
        ({"objectClass": [b"top"]}, "exactly one structural class", ("objectClass", 0)),
        ({"objectClass": []}, "exactly one structural class", ("objectClass", 0)),
        ({"macAddress": [b"aa", b"AA"]}, "macAddress has 'AA' twice", ("macAddress", 1)),
        ({"description": [b"x", b"\xc2\x9b31m"]}, "is not UTF-8 text without control characters", ("description", 1)),
        ({"gitstatePin": [b""]}, "'' is not ASCII text", ("gitstatePin", 0)),
        ({"cn": [b" "]}, "is not UTF-8 text", ("cn", 0)),
    ]
    for change, words, place in cases:
        with pytest.raises(EntryError, match=words) as caught:
            schema().check(good | change)
        assert (caught.value.attribute, caught.value.place) == place
    with pytest.raises(EntryError, match="ipHostNumber is missing"):
        schema().check({name: values for name, values in good.items() if name != "ipHostNumber"})


def test_what_the_standard_allows_is_allowed() -> None:
    extra = {"description": ["größer".encode()], "owner": [b"cn=Ada,o=x"], "serialNumber": [b"A-1"], "l": [b"room 3"]}
    schema().check({**entry_of(machine(1)), **extra})
    classes = [*entry_of(machine(1))["objectClass"], b"bootableDevice"]
    schema().check({**entry_of(machine(1)), "objectClass": classes, "bootFile": [b"x"], "manager": [b"cn=Ada,o=x"]})


# --- the files --------------------------------------------------------------------------------------------------------


def test_every_field_of_a_client_is_an_attribute() -> None:
    assert {field.key for field in FIELDS} | {"name"} == set(Client.__dataclass_fields__)
    for field in FIELDS:
        attribute = schema().attribute(field.attribute.upper())
        assert attribute is not None
        assert (attribute.name, attribute.single) == (field.attribute, not field.many)
    assert schema().attribute("toaster") is None


def test_our_oids_are_of_our_arc_and_used_once() -> None:
    arc = f"2.25.{uuid.UUID('851020a9-92b3-42ab-97bf-e550162833c1').int}."
    parsed = [(keyword, text.split()[1], text) for keyword, text in definitions(OURS.read_text())]
    assert all(oid.startswith(arc) for _, oid, _ in parsed)
    assert len({oid for _, oid, _ in parsed}) == len(parsed)
    assert all("DESC '" in text for _, _, text in parsed)
    names = [re.search(r"NAME '(gitstate\w+)'", text) for _, _, text in parsed]
    assert all(names)
    assert {one[1] for one in names if one} >= {
        "gitstatePrototype",
        "gitstateChannel",
        "gitstateClient",
        "gitstateClass",
    }


def test_openldap_format_is_read() -> None:
    text = (
        "# comment\n\nobjectidentifier a 1.2\nobjectidentifier b a:3\n# ( not this\n"
        "attributetype ( b:4 NAME 'x'\n\tSYNTAX 1.1 )\n\nobjectclass ( 9.8 NAME 'y'\n  MAY x )\n"
    )
    assert list(definitions(text)) == [
        ("attributetype", "( 1.2.3.4 NAME 'x' SYNTAX 1.1 )"),
        ("objectclass", "( 9.8 NAME 'y' MAY x )"),
    ]


def test_python_ldap_reads_the_same_definitions() -> None:
    """Another parser of RFC 4512 is the judge: names, single values and what each class requires and allows."""
    found = [*definitions(STANDARD.read_text()), *definitions(OURS.read_text())]
    theirs = SubSchema({key: [text for kind, text in found if kind == ours] for ours, key in KINDS.items()}, 2)
    for oid in theirs.listall(AttributeType):
        one = theirs.get_obj(AttributeType, oid)
        ours = schema().attribute(one.names[-1].upper())
        assert ours is not None
        assert (ours.name, ours.single) == (one.names[0], bool(one.single_value))
    for oid in theirs.listall(ObjectClass):
        one = theirs.get_obj(ObjectClass, oid)
        must, may = ({every.names[0] for every in some.values()} for some in theirs.attribute_types([oid]))
        if one.kind == 0:
            rules = schema()._rules_of((one.names[0].encode(),))
            assert (rules.must, rules.may) == (must, must | may)


@pytest.mark.parametrize(
    ("dn", "is_right"),
    [
        ("cn=a,o=b", True),
        ("uid=x+cn=y, dc=z", True),
        (r"cn=a\, x,o=b", True),
        ("1.2.3=#04,o=x", True),
        ("cn=a#b", True),
        ("cn=", True),
        ("x", False),
        ("cn=a,", False),
        ("=a", False),
        (r"cn=\zz", False),
        ("cn=#zz", False),
    ],
)
def test_a_distinguished_name_is_judged_as_python_ldap_does(dn: str, is_right: bool) -> None:
    assert ldap.dn.is_dn(dn) == is_right
    entry = {"objectClass": [b"device"], "cn": [b"x"], "owner": [dn.encode()]}
    if is_right:
        schema().check(entry)
    else:
        with pytest.raises(EntryError, match="a distinguished name"):
            schema().check(entry)


def test_the_files_are_found_in_a_checkout() -> None:
    assert data_file("schemas", "gitstate.schema") == OURS


def test_an_entry_keeps_what_others_put_there() -> None:
    current = {
        **entry_of(machine(1)),
        "cn": [b"lab3-01", b"printer"],
        "description": [b"by the window"],
        "bootFile": [b"x"],
        "objectClass": [b"device", b"BOOTABLEDEVICE", b"gitstateclient", b"ieee802Device", b"ipHost", b"top"],
    }
    new = entry_of(replace(machine(1), ips=(), workload="kiosk"), current)
    schema().check(new)
    assert new["cn"] == [b"lab3-01", b"printer"]
    assert new["description"] == [b"by the window"]
    assert new["bootFile"] == [b"x"]
    assert new["objectClass"] == [b"BOOTABLEDEVICE", b"device", b"gitstateClient", b"ieee802Device", b"top"]
    assert "ipHostNumber" not in new
