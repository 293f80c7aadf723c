"""What is particular to each mode of using a site's LDAP: entries that others made, hosts that are only read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gitstate.core.errors import ConfigError, NotFoundError, UsageError
from gitstate.core.names import Pin
from gitstate.directory import Client, Directory, Kind, open_directory, plan
from gitstate.directory.check import check
from gitstate.store.site import Site
from tests.directory.harness import ADA, Place, choose_ldap, machine
from tests.lab.ldap import SUFFIX, Server
from tests.support import needs

pytestmark = needs("git", "slapd")

HOSTS = f"ou=hosts,{SUFFIX}"


def host(slapd: Server, name: str, mac: bytes, *more: tuple[str, bytes], classes: tuple[bytes, ...] = ()) -> str:
    """Enter a host as a site does; its place."""
    connection = slapd.connect()
    if not connection.search_s(SUFFIX, 2, "(ou=hosts)"):
        connection.add_s(HOSTS, [("objectClass", b"organizationalUnit"), ("ou", b"hosts")])
    dn = f"cn={name},{HOSTS}"
    values: dict[str, list[bytes]] = {
        "objectClass": [b"device", b"ieee802Device", b"ipHost", *classes],
        "cn": [name.encode(), name.partition(".")[0].encode()] if "." in name else [name.encode()],
        "macAddress": [mac],
        "ipHostNumber": [b"10.0.0." + str(mac[-1]).encode()],
    }
    for key, value in more:
        values.setdefault(key, []).append(value)
    connection.add_s(dn, list(values.items()))
    return dn


def entry(slapd: Server, dn: str) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = slapd.connect().search_s(dn, 0)[0][1]
    return found


def opened(site: Site, slapd: Server, mode: str, **values: object) -> Directory:
    choose_ldap(site, slapd, mode, clients=HOSTS, **values)
    return open_directory(site)


@pytest.mark.parametrize("mode", ["schema", "map"])
def test_a_host_becomes_a_client_and_is_a_host_again(site: Site, slapd: Server, mode: str) -> None:
    dn = host(slapd, "lab3-12.example.org", b"52:54:00:AA:00:01", ("description", b"by the window"))
    before = entry(slapd, dn)
    directory = opened(site, slapd, mode)
    assert dict(directory.clients()) == {}
    new = Client("lab3-12", macs=("52:54:00:aa:00:01",), ips=("10.0.0.49",), channel="lab3")
    directory.change([new], [], ADA, "ours")
    assert dict(open_directory(site).clients()) == {"lab3-12": new}
    after = entry(slapd, dn)
    assert after["macAddress"] == before["macAddress"]
    assert after["description"] == [b"by the window"]
    open_directory(site).change([], ["lab3-12"], ADA, "not ours any more")
    assert dict(open_directory(site).clients()) == {}
    left = entry(slapd, dn)
    assert {key: sorted(values) for key, values in left.items()} == {
        key: sorted(values) for key, values in before.items()
    }


def test_map_uses_stock_attributes(site: Site, slapd: Server) -> None:
    dn = host(slapd, "lab3-12", b"52:54:00:aa:00:01", ("bootFile", b"pxelinux.0"), classes=(b"bootableDevice",))
    directory = opened(site, slapd, "map", map={"workload": "description: workload="})
    directory.change([Client("lab3-12", channel="lab3", workload="kiosk", kind=Kind.LIVE)], [], ADA, "x")
    found = entry(slapd, dn)
    assert set(found["bootFile"]) == {
        b"pxelinux.0",
        b"gitstate:channel=lab3",
        b"gitstate:kind=live",
        b"gitstate:state=overlay",
    }
    assert found["description"] == [b"workload=kiosk"]
    assert list(open_directory(site).find({"channel": "lab3"})) == ["lab3-12"]
    assert list(open_directory(site).find({"workload": "kiosk"})) == ["lab3-12"]
    open_directory(site).change([Client("lab3-12")], [], ADA, "x")
    assert "description" not in entry(slapd, dn)


def test_what_others_write_is_read(site: Site, slapd: Server) -> None:
    host(slapd, "a", b"52:54:00:aa:00:01", ("bootFile", b"gitstate:channel=lab3"), classes=(b"bootableDevice",))
    found = opened(site, slapd, "map").clients()
    assert found["a"].channel == "lab3"
    assert found["a"].kind is Kind.DISKLESS
    assert list(open_directory(site).find({"kind": "diskless"})) == ["a"]


def test_a_value_that_stands_twice(site: Site, slapd: Server) -> None:
    both = (("bootFile", b"gitstate:channel=a"), ("bootFile", b"gitstate:channel=b"))
    host(slapd, "a", b"52:54:00:aa:00:01", *both, classes=(b"bootableDevice",))
    with pytest.raises(ConfigError, match="gitstate:channel= stands there twice"):
        opened(site, slapd, "map").clients()


def test_two_entries_of_one_name(site: Site, slapd: Server) -> None:
    choose_ldap(site, slapd)
    Place(site).put(machine(1))
    connection = slapd.connect()
    connection.add_s(f"ou=more,ou=clients,{SUFFIX}", [("objectClass", b"organizationalUnit"), ("ou", b"more")])
    twin = [("objectClass", [b"device", b"gitstateClient"]), ("cn", b"lab3-01")]
    connection.add_s(f"cn=lab3-01,ou=more,ou=clients,{SUFFIX}", twin)
    for attempt in (
        lambda: open_directory(site).clients(),
        lambda: open_directory(site).client("lab3-01"),
        lambda: open_directory(site).change([machine(1)], [], ADA, "x"),
    ):
        with pytest.raises(ConfigError, match="two entries are lab3-01"):
            attempt()


# --- split ------------------------------------------------------------------------------------------------------------


def test_split(site: Site, slapd: Server) -> None:
    host(slapd, "lab3-01.example.org", b"52:54:00:AA:00:01")
    host(slapd, "lab3-02", b"52:54:00:aa:00:02")
    directory = opened(site, slapd, "split", external=None)
    assert dict(directory.clients()) == {}
    new = Client("lab3-01", channel="lab3", pin=Pin("desktop", "v1"))
    directory.change([new], [], ADA, "assigned")
    joined = replace(new, macs=("52:54:00:aa:00:01",), ips=("10.0.0.49",))
    for one in (directory, open_directory(site)):
        assert dict(one.clients()) == {"lab3-01": joined}
        assert one.client("lab3-01") == joined
        assert dict(one.find({"channel": "lab3"})) == {"lab3-01": joined}
        assert dict(one.find({"macs": "52:54:00:aa:00:01"})) == {"lab3-01": joined}
        assert dict(one.find({"macs": "52:54:00:aa:00:02"})) == {}
    assert b"macAddress" not in (site.directory_path / "gitstate" / "clients").read_bytes()
    planned = plan.plan_set(site, directory, ["lab3-01"], {"workload": "kiosk"})
    plan.apply(planned, ADA, ADA)
    assert open_directory(site).client("lab3-01") == replace(joined, workload="kiosk")
    last = open_directory(site).last_change("lab3-01")
    assert last is not None
    assert last.author == ADA.who
    open_directory(site).change([], ["lab3-01"], ADA, "gone")
    assert dict(open_directory(site).clients()) == {}


def test_split_refuses_what_isnt_ours(site: Site, slapd: Server) -> None:
    host(slapd, "lab3-01", b"52:54:00:aa:00:01")
    directory = opened(site, slapd, "split")
    with pytest.raises(NotFoundError, match="no host lab3-1") as caught:
        directory.change([Client("lab3-1")], [], ADA, "x")
    assert "lab3-01" in caught.value.hint
    with pytest.raises(UsageError, match="is the LDAP server's to say") as refused:
        directory.change([Client("lab3-01", macs=("52:54:00:aa:00:09",))], [], ADA, "x")
    assert "52:54:00:aa:00:01" in refused.value.message
    assert dict(directory.clients()) == {}


def test_split_notices_hosts_that_go(site: Site, slapd: Server) -> None:
    dn = host(slapd, "lab3-01", b"52:54:00:aa:00:01")
    directory = opened(site, slapd, "split")
    directory.change([Client("lab3-01")], [], ADA, "x")
    slapd.connect().delete_s(dn)
    assert directory.client("lab3-01") == Client("lab3-01")
    (problem,) = check(directory).problems
    assert "no host has that name" in problem
    directory.change([replace(directory.client("lab3-01"), kind=Kind.LIVE)], [], ADA, "still ours")


# --- netgroups --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["schema", "map", "split"])
def test_netgroups(site: Site, slapd: Server, mode: str) -> None:
    connection = slapd.connect()
    connection.add_s(f"ou=netgroup,{SUFFIX}", [("objectClass", b"organizationalUnit"), ("ou", b"netgroup")])
    groups = {
        "lab3": ([b"(lab3-01.example.org,-,)", b"(lab3-02,,example.org)"], [b"more"]),
        "more": ([b"(lab3-03,-,-)"], [b"lab3"]),
        "any": ([b"(,ada,)"], []),
        "torn": ([], [b"nowhere"]),
    }
    for name, (triples, members) in groups.items():
        entry = [("objectClass", b"nisNetgroup"), ("cn", name.encode())]
        entry += [("nisNetgroupTriple", triples)] if triples else []  # type: ignore[list-item]
        entry += [("memberNisNetgroup", members)] if members else []  # type: ignore[list-item]
        connection.add_s(f"cn={name},ou=netgroup,{SUFFIX}", entry)
    directory = opened(site, slapd, mode)
    assert list(directory.netgroup("lab3")) == ["lab3-01", "lab3-02", "lab3-03"]
    with pytest.raises(UsageError, match="holds any machine"):
        directory.netgroup("any")
    for name in ("torn", "none"):
        with pytest.raises(NotFoundError, match="no netgroup"):
            directory.netgroup(name)
