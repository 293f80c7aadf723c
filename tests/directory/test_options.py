"""``[directory]``: what may stand there; parser and schema agree."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from gitstate.core.documents import Source
from gitstate.core.errors import ConfigError
from gitstate.directory import open_directory
from gitstate.directory.git.backend import LdifDirectory
from gitstate.directory.options import LdapOptions, Login, MapTable, Mode, Place, options_of
from gitstate.store.site import Site
from tests.support import PROJECT

LDAP: Mapping[str, Any] = {"backend": "ldap", "uri": "ldapi:///", "base": "dc=example,dc=org"}
SIMPLE: Mapping[str, Any] = {**LDAP, "bind": "cn=x,dc=y", "password_file": "/etc/secret"}


def parse(table: object) -> LdapOptions | None:
    return options_of(Source("site.toml", {"directory": table}))


def schema_takes(table: object) -> bool:
    schema = json.loads((PROJECT / "schemas" / "site.schema.json").read_text())
    whole = {"version": 1, "uuid": "851020a9-92b3-42ab-97bf-e550162833c1", "directory": table}
    return Draft202012Validator(schema).is_valid(whole)


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"backend": "ldif"},
        LDAP,
        {**LDAP, "uri": ["ldaps://a.example.org:6360", "ldap://[fd77::1]/"]},
        {**LDAP, "uri": "ldapi://%2Frun%2Fslapd%2Fldapi", "external": True},
        {**SIMPLE, "uri": "ldap://ldap.example.org", "starttls": True, "ca": "/etc/ssl/ca.pem", "timeout": 3},
        {**SIMPLE, "uri": "ldap://127.0.0.1:3890"},
        {**LDAP, "bind": "cn=a\\,b,dc=y", "password_credential": "ldap"},
        {**LDAP, "mode": "map", "map": {"channel": "description: gs-", "layer": "bootFile:layer="}},
        {**LDAP, "mode": "split", "clients": "ou=hosts, dc=example, dc=org", "netgroups": "ou=x,dc=y"},
        {**LDAP, "certificate": "/a", "key": "/b", "external": True, "channels": "ou=c,dc=y"},
    ],
    ids=str,
)
def test_what_may_be(table: dict[str, Any]) -> None:
    assert schema_takes(table)
    assert (parse(table) is None) == (table.get("backend") != "ldap")


@pytest.mark.parametrize(
    ("table", "key", "by_schema"),
    [
        ([], "", True),
        ({"backend": "nis"}, ".backend", True),
        ({"uri": "ldapi:///"}, ".uri", True),
        ({"backend": "ldap", "base": "dc=y"}, ".uri", True),
        ({"backend": "ldap", "uri": "ldapi:///"}, ".base", True),
        ({**LDAP, "uri": []}, ".uri", True),
        ({**LDAP, "uri": "http://x"}, ".uri", True),
        ({**LDAP, "uri": "ldap://x y"}, ".uri", True),
        ({**LDAP, "uri": "ldap://user:pw@x"}, ".uri", True),
        ({**LDAP, "uri": 3}, ".uri", True),
        ({**LDAP, "base": "example.org"}, ".base", True),
        ({**LDAP, "base": "dc=x\n"}, ".base", True),
        ({**LDAP, "base": "dc=a+cn=b"}, ".base", True),
        ({**LDAP, "mode": "none"}, ".mode", True),
        ({**LDAP, "colour": 1}, ".colour", True),
        ({**LDAP, "timeout": 0}, ".timeout", True),
        ({**LDAP, "timeout": True}, ".timeout", True),
        ({**LDAP, "ca": "ca.pem"}, ".ca", True),
        ({**LDAP, "starttls": "yes"}, ".starttls", True),
        ({**LDAP, "starttls": True}, ".starttls", False),
        ({**LDAP, "password_file": "/x"}, ".password_file", False),
        ({**LDAP, "bind": "cn=x"}, ".bind", False),
        ({**SIMPLE, "password_credential": "x"}, ".bind", False),
        ({**SIMPLE, "uri": "ldap://ldap.example.org"}, ".uri", False),
        ({**SIMPLE, "external": True}, ".password_file", False),
        ({**LDAP, "external": True, "bind": "cn=x"}, ".bind", False),
        ({**LDAP, "certificate": "/x"}, ".certificate", False),
        ({**LDAP, "map": {}}, ".map", False),
        ({**LDAP, "mode": "map", "map": 3}, ".map", True),
        ({**LDAP, "mode": "map", "map": {"colour": "a:b"}}, ".map.colour", True),
        ({**LDAP, "mode": "map", "map": {"kind": "bootFile"}}, ".map.kind", True),
        ({**LDAP, "mode": "map", "map": {"kind": "bootParameter: x"}}, ".map.kind", False),
        ({**LDAP, "mode": "map", "map": {"kind": "macAddress: x"}}, ".map.kind", False),
        ({**LDAP, "mode": "map", "map": {"kind": "bootFile: gitstate:"}}, ".map.kind", False),
    ],
    ids=str,
)
def test_what_may_not_be(table: dict[str, Any], key: str, by_schema: bool) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(table)
    assert re.match(rf"site\.toml: directory{re.escape(key)}(?!\w)", caught.value.message), caught.value.message
    assert caught.value.hint
    assert schema_takes(table) != by_schema


def test_what_it_means() -> None:
    found = parse({**SIMPLE, "mode": "map", "map": {"channel": "description: gs-"}})
    assert found is not None
    assert (found.login, found.mode, found.uris) == (Login.SIMPLE, Mode.MAP, ("ldapi:///",))
    assert found.places == {**MapTable().places(), "channel": Place("description", "gs-")}
    assert (found.clients, found.channels) == ("ou=clients,dc=example,dc=org", "ou=channels,dc=example,dc=org")
    anonymous = parse(LDAP)
    assert anonymous is not None
    assert anonymous.login is Login.ANONYMOUS
    assert anonymous.places["channel"] == Place("bootFile", "gitstate:channel=")


def test_a_fault_names_the_file(site: Site) -> None:
    assert isinstance(open_directory(site), LdifDirectory)
    site.file.write_text(site.file.read_text() + '[directory]\nbackend = "nis"\n')
    with pytest.raises(ConfigError, match=r"site\.toml") as caught:
        open_directory(site)
    assert "directory.backend is 'nis'" in caught.value.message
