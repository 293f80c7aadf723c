"""How we come to a server, and what is said when we don't: against a real slapd."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gitstate.core.errors import ConfigError, GitstateError, HostError, LockedError, UnreachableError, UsageError
from gitstate.directory import Client, Directory, Kind, open_directory
from gitstate.directory.check import check
from gitstate.directory.git.backend import LdifDirectory
from gitstate.directory.ldap import transaction
from gitstate.directory.ldap.connection import Connection
from gitstate.store.site import Site
from tests.directory.harness import ADA, Place, choose_ldap, machine, machines
from tests.lab.ldap import GITSTATE, OURS, PASSWORD, SUFFIX, Server, ldap_server, postdate
from tests.support import needs

pytestmark = needs("git", "slapd")


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file with the right password."""
    path = tmp_path / "secret"
    path.write_text(f"{PASSWORD}\n")
    path.chmod(0o600)
    return path


def put_and_read(site: Site) -> None:
    open_directory(site).change([machine(1)], [], ADA, "put")
    assert dict(open_directory(site).clients()) == {"lab3-01": machine(1)}


def refusal(directory: Directory) -> GitstateError:
    """What is said of it: one line, with a hint."""
    with pytest.raises(GitstateError) as caught:
        directory.clients()
    assert caught.value.hint
    assert "\n" not in f"{caught.value}"
    assert f'"{PASSWORD}"' not in str(caught.value)
    return caught.value


# --- logging in -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["ldapi", "ldaps", "starttls", "plain"])
def test_simple_bind(site: Site, slapd: Server, secret: Path, how: str) -> None:
    uri = {"ldapi": slapd.ldapi, "ldaps": slapd.ldaps}.get(how, slapd.ldap)
    tls = {"ca": str(slapd.ca)} if how in ("ldaps", "starttls") else {}
    starttls = how == "starttls" or None
    choose_ldap(site, slapd, uri=uri, external=None, bind=GITSTATE, password_file=str(secret), starttls=starttls, **tls)
    put_and_read(site)


def test_external_by_the_socket(site: Site, slapd: Server) -> None:
    choose_ldap(site, slapd)
    put_and_read(site)


def test_external_by_a_certificate(site: Site, slapd: Server) -> None:
    files = {
        "ca": str(slapd.ca),
        "certificate": str(slapd.place / "client.pem"),
        "key": str(slapd.place / "client.key"),
    }
    choose_ldap(site, slapd, uri=slapd.ldaps, **files)
    put_and_read(site)


def test_a_password_from_systemd(site: Site, slapd: Server, secret: Path) -> None:
    choose_ldap(site, slapd, external=None, bind=GITSTATE, password_credential="secret")
    put_and_read(Site(site.path, credentials=secret.parent))
    said = refusal(open_directory(site))
    assert isinstance(said, ConfigError)
    assert "CREDENTIALS_DIRECTORY" in said.message


def test_anonymous_reads(site: Site, slapd: Server) -> None:
    choose_ldap(site, slapd)
    put_and_read(site)
    choose_ldap(site, slapd, external=None)
    assert list(open_directory(site).clients()) == ["lab3-01"]
    with pytest.raises(HostError, match="lab3-02") as caught:
        open_directory(site).change([machine(2)], [], ADA, "x")
    assert "write access" in caught.value.hint or "read-only" in caught.value.message
    assert list(open_directory(site).clients()) == ["lab3-01"]


# --- passwords --------------------------------------------------------------------------------------------------------


def test_a_wrong_password(site: Site, slapd: Server, secret: Path) -> None:
    secret.write_text("wrong")
    choose_ldap(site, slapd, external=None, bind=GITSTATE, password_file=str(secret))
    said = refusal(open_directory(site))
    assert isinstance(said, UnreachableError)
    assert f"wrong password for {GITSTATE}" in said.message
    assert str(secret) in said.hint


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        (b"secret", 0o640, "others can read the password"),
        (b"secret", 0o604, "others can read the password"),
        (b"", 0o600, "holds no password"),
        (b"\nsecret", 0o600, "holds no password"),
        (b"\xff\xfe", 0o600, "holds no password"),
        (None, 0o600, "No such file"),
    ],
)
def test_a_bad_password_file(
    site: Site, slapd: Server, secret: Path, content: bytes | None, mode: int, words: str
) -> None:
    secret.unlink()
    if content is not None:
        secret.write_bytes(content)
        secret.chmod(mode)
    choose_ldap(site, slapd, external=None, bind=GITSTATE, password_file=str(secret))
    said = refusal(open_directory(site))
    assert isinstance(said, ConfigError)
    assert words in said.message


# --- servers that don't answer ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["schema", "map", "split"])
def test_down(site: Site, slapd: Server, mode: str) -> None:
    uri = f"ldapi://{str(slapd.place / 'nobody').replace('/', '%2F')}"
    choose_ldap(site, slapd, mode, uri=[uri, "ldap://127.0.0.1:1"])
    if mode == "split":  # asks nothing while nobody is assigned
        LdifDirectory(site).change([Client("lab3-01")], [], ADA, "assigned")
    said = refusal(open_directory(site))
    assert isinstance(said, UnreachableError)
    assert said.code == 13
    assert uri in said.message
    assert "ldap://127.0.0.1:1" in said.message
    assert "is slapd running" in said.hint


def test_the_second_when_the_first_is_down(site: Site, slapd: Server) -> None:
    choose_ldap(site, slapd, uri=["ldap://127.0.0.1:1", slapd.ldapi])
    put_and_read(site)


def test_it_comes_back_while_we_work(site: Site) -> None:
    with ldap_server() as server:
        choose_ldap(site, server)
        directory = open_directory(site)
        directory.change([machine(1)], [], ADA, "put")
        with server.stopped():
            assert isinstance(refusal(directory), UnreachableError)
        assert list(directory.clients()) == ["lab3-01"]
        server.stop()
        server.start()
        assert list(directory.clients()) == ["lab3-01"]


@pytest.mark.parametrize("how", ["ldapi", "ldaps", "starttls"])
def test_stuck(site: Site, slapd: Server, how: str) -> None:
    uri = {"ldapi": slapd.ldapi, "ldaps": slapd.ldaps, "starttls": slapd.ldap}[how]
    choose_ldap(site, slapd, uri=uri, external=None, starttls=how == "starttls" or None, ca=str(slapd.ca), timeout=1)
    assert dict(open_directory(site).clients()) == {}
    started = time.monotonic()
    with slapd.stuck():
        said = refusal(open_directory(site))
    assert time.monotonic() - started < 5
    assert isinstance(said, UnreachableError)


def test_slow(site: Site, slapd: Server) -> None:
    choose_ldap(site, slapd, timeout=10)
    Place(site).put(machine(1))
    directory = open_directory(site)
    with slapd.stuck():
        assert slapd.process is not None
        with subprocess.Popen(["sh", "-c", f"sleep 1.2; kill -CONT {slapd.process.pid}"]):
            assert dict(directory.clients()) == {"lab3-01": machine(1)}


def test_stuck_in_the_middle(site: Site, slapd: Server) -> None:
    choose_ldap(site, slapd, timeout=1)
    directory = open_directory(site)
    directory.change([machine(1)], [], ADA, "put")
    with slapd.stuck():
        said = refusal(directory)
    assert isinstance(said, UnreachableError)
    assert "no answer" in said.message or "Timed out" in said.message


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("starttls", [None, True])
def test_an_expired_certificate(site: Site, starttls: bool | None) -> None:
    with ldap_server(days=-1) as server:
        uri = server.ldap if starttls else server.ldaps
        choose_ldap(site, server, uri=uri, starttls=starttls, external=None, ca=str(server.ca))
        said = refusal(open_directory(site))
    assert isinstance(said, UnreachableError)
    assert "expired" in said.message
    assert "renew" in said.hint


def test_a_clock_that_is_behind(site: Site) -> None:
    with ldap_server() as server:
        server.stop()
        postdate(server.place)
        server.start()
        choose_ldap(site, server, uri=server.ldaps, external=None, ca=str(server.ca))
        said = refusal(open_directory(site))
    assert isinstance(said, UnreachableError)
    assert "not yet valid" in said.message
    assert "clock" in said.hint


def test_a_certificate_of_somebody_else(site: Site, slapd: Server, tmp_path: Path) -> None:
    for uri, starttls in ((slapd.ldaps, None), (slapd.ldap, True)):
        choose_ldap(site, slapd, uri=uri, starttls=starttls, external=None)
        said = refusal(open_directory(site))
        assert isinstance(said, UnreachableError)
        assert "certificate" in said.message
        assert "ca in [directory]" in said.hint


def test_another_name(site: Site, slapd: Server) -> None:
    choose_ldap(site, slapd, uri=f"ldaps://127.0.0.2:{slapd.tls_port}", external=None, ca=str(slapd.ca))
    assert isinstance(refusal(open_directory(site)), UnreachableError)


@pytest.mark.parametrize("key", ["ca", "certificate"])
def test_no_such_file(site: Site, slapd: Server, key: str) -> None:
    files = {"certificate": str(slapd.ca), "key": str(slapd.ca)} if key == "certificate" else {}
    choose_ldap(site, slapd, uri=slapd.ldaps, external=None, **{**files, key: "/nowhere/file.pem"})
    said = refusal(open_directory(site))
    assert isinstance(said, ConfigError)
    assert "/nowhere/file.pem" in said.message


# --- servers that don't fit -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stock() -> Iterator[Server]:
    """A server without our schema."""
    with ldap_server(schema=False) as server:
        yield server


def test_no_schema(site: Site, stock: Server) -> None:
    choose_ldap(site, stock)
    for attempt in (
        lambda: open_directory(site).clients(),
        lambda: open_directory(site).client("lab3-01"),
        lambda: open_directory(site).channels(),
        lambda: open_directory(site).change([machine(1)], [], ADA, "put"),
    ):
        with pytest.raises(ConfigError, match="doesn't know gitstate's schema") as caught:
            attempt()
        assert OURS.replace(".schema", ".ldif") in caught.value.hint
        assert "ldapadd" in caught.value.hint


def test_map_needs_no_schema(site: Site, stock: Server) -> None:
    stock.clear()
    choose_ldap(site, stock, "map")
    put_and_read(site)


def test_no_such_base(site: Site, slapd: Server) -> None:
    choose_ldap(site, slapd, base="dc=elsewhere,dc=org")
    said = refusal(open_directory(site))
    assert isinstance(said, ConfigError)
    assert "dc=elsewhere,dc=org" in said.message


def test_read_only(site: Site) -> None:
    with ldap_server() as server:
        choose_ldap(site, server)
        open_directory(site).change(machines(2), [], ADA, "put")
        server.stop()
        file = server.place / "slapd.conf"
        file.write_text(file.read_text().replace("database mdb\n", "database mdb\nreadonly on\n"))
        server.start()
        assert len(open_directory(site).clients()) == 2
        with pytest.raises(HostError, match="read-only") as caught:
            open_directory(site).change([machine(3)], ["lab3-01"], ADA, "x")
        assert caught.value.hint
        assert len(open_directory(site).clients()) == 2


def test_limits_of_the_server_are_no_limit_to_us(site: Site) -> None:
    with ldap_server(extra=["sizelimit 100"]) as server:
        choose_ldap(site, server)
        Place(site).put(*machines(300))
        assert len(open_directory(site).clients()) == 300
        choose_ldap(site, server, external=None)
        said = refusal(open_directory(site))
        assert isinstance(said, HostError)
        assert "limits" in said.hint


# --- others at the same time ------------------------------------------------------------------------------------------


def test_an_entry_that_changes_while_we_write(site: Site, slapd: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between our look and our write: the assertion control. What was written before it is taken back."""
    choose_ldap(site, slapd)
    before = Place(site).put(*machines(120))
    commit = transaction.commit

    def late(*arguments: object) -> None:
        slapd.connect().modify_s(f"cn=lab3-100,ou=clients,{SUFFIX}", [(0, "description", [b"by hand"])])
        commit(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(transaction, "commit", late)
    new = [_live(number) for number in range(1, 119)]
    with pytest.raises(LockedError, match="lab3-100"):
        open_directory(site).change(new, ["lab3-00"], ADA, "x")
    assert list(open_directory(site).clients().values()) == sorted(machines(120), key=lambda one: one.name)
    assert open_directory(site).revision() != before
    monkeypatch.undo()
    open_directory(site).change(new, ["lab3-00"], ADA, "again")
    entry = slapd.connect().search_s(f"cn=lab3-100,ou=clients,{SUFFIX}", 0)[0][1]
    assert entry["description"] == [b"by hand"]
    assert entry["gitstateKind"] == [b"live"]


def _live(number: int) -> Client:
    return replace(machine(number), kind=Kind.LIVE)


def test_a_server_that_dies_in_the_middle(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The change is made: whoever reads sees all of it, and the next one who writes finishes it."""
    with ldap_server() as server:
        choose_ldap(site, server)
        Place(site).put(*machines(150))
        begin, count = Connection._begin, 0

        def dying(self: Connection, opened: object, one: object) -> int:
            nonlocal count
            count += 1
            if count == 70:
                server.stop()
            return begin(self, opened, one)  # type: ignore[arg-type]

        monkeypatch.setattr(Connection, "_begin", dying)
        new = [replace(_live(number), pin=None, channel="lab3") for number in range(150)]
        with pytest.raises(UnreachableError, match="of 150 entries are written") as caught:
            open_directory(site).change(new, [], ADA, "all live")
        assert "finishes" in caught.value.hint
        monkeypatch.undo()
        server.start()
        found = server.connect().search_s(SUFFIX, 2, "(gitstateKind=live)")
        assert 0 < len(found) < 150
        assert {one.kind.value for one in open_directory(site).clients().values()} == {"live"}
        assert len(open_directory(site).find({"kind": "diskless"})) == 0
        assert len(open_directory(site).find({"kind": "live"})) == 150
        assert open_directory(site).client("lab3-149") == new[149]
        assert dict(open_directory(site).followers("lab3")) == {Kind.LIVE: 150}
        open_directory(site).change([machine(200)], [], ADA, "next")
        assert len(server.connect().search_s(SUFFIX, 2, "(gitstateKind=live)")) == 150
        assert len(open_directory(site).clients()) == 151


@pytest.mark.parametrize("point", [1, 2, 30, 59, 60])
@pytest.mark.parametrize(("mode", "is_live"), [("schema", "gitstateKind=live"), ("map", "bootFile=gitstate:kind=live")])
def test_killed_in_the_middle(site: Site, slapd: Server, mode: str, is_live: str, point: int) -> None:
    """kill -9 before the write number POINT: all of it for whoever reads, and the next change finishes it."""
    choose_ldap(site, slapd, mode)
    Place(site).put(*machines(60))
    new = [replace(_live(number), pin=None) for number in range(59)]
    child = os.fork()
    if not child:
        begin, count = Connection._begin, 0

        def dying(self: Connection, opened: object, one: object) -> object:
            nonlocal count
            count += 1
            if count == point:
                os.kill(os.getpid(), signal.SIGKILL)
            return begin(self, opened, one)  # type: ignore[arg-type]

        Connection._begin = dying  # type: ignore[assignment,method-assign]
        open_directory(site).change(new, ["lab3-59"], ADA, "all live")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    expected = {one.name: one for one in new}
    assert dict(open_directory(site).clients()) == expected
    problems = check(open_directory(site)).problems
    assert "half done" in problems[0]
    assert "all live (Ada Lovelace" in problems[0]
    open_directory(site).finish()
    assert check(open_directory(site)).problems == ()
    assert dict(open_directory(site).clients()) == expected
    assert len(slapd.connect().search_s(SUFFIX, 2, f"({is_live})")) == 59


# --- hostile words ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["*", "lab3-*", "lab3-01)(cn=*", "x)(|(objectClass=*", "\\2a", "\0", "a,ou=x", "ü"])
@pytest.mark.parametrize(
    "key", ["name", "macs", "ips", "kind", "channel", "pin", "workload", "classes", "layers", "state", "maintains"]
)
def test_what_stands_in_a_filter_is_a_value(place: Place, key: str, text: str) -> None:
    place.put(*machines(3))
    assert dict(place.open().find({key: text})) == {}


@pytest.mark.parametrize("text", ["*", "lab3-01)(cn=*", "lab3-01,ou=clients", "cn=lab3-01", "\0"])
def test_a_name_is_a_name(place: Place, text: str) -> None:
    place.put(*machines(3))
    directory = place.open()
    for attempt in (
        lambda: directory.client(text),
        lambda: directory.change([], [text], ADA, "x"),
        lambda: directory.netgroup(text),
    ):
        with pytest.raises(GitstateError) as caught:
            attempt()
        assert caught.value.code in (2, 10)
    if "\0" not in text:
        assert directory.last_change(text) is None
    assert len(place.open().clients()) == 3


def test_find(place: Place) -> None:
    place.put(*machines(4), replace(machine(5), kind=Kind.LIVE, channel="kiosk", classes=("hp", "nvidia")))
    directory = place.open()
    assert list(directory.find({"macs": machine(2).macs[0]})) == ["lab3-02"]
    assert list(directory.find({"ips": machine(2).ips[0]})) == ["lab3-02"]
    assert list(directory.find({"kind": "live", "channel": "kiosk"})) == ["lab3-05"]
    assert len(directory.find({"kind": "diskless"})) == 4
    assert list(directory.find({"classes": "nvidia"})) == ["lab3-05"]
    assert len(directory.find({"pin": "desktop@v1"})) == 5
    assert list(directory.find({"channel": "Kiosk"})) == []
    assert list(directory.find({"state": "overlay", "name": "lab3-03"})) == ["lab3-03"]


def test_nothing_secret_is_on_our_command_line() -> None:
    assert PASSWORD not in Path(f"/proc/{os.getpid()}/cmdline").read_text()


def test_an_address_of_a_machine_that_is_no_client(site: Site, slapd: Server) -> None:
    for mode in ("schema", "map"):
        slapd.clear()
        connection = slapd.connect()
        connection.add_s(f"ou=hosts,{SUFFIX}", [("objectClass", b"organizationalUnit"), ("ou", b"hosts")])
        host = [
            ("objectClass", [b"device", b"ipHost"]),
            ("cn", b"printer"),
            ("ipHostNumber", machine(1).ips[0].encode()),
        ]
        connection.add_s(f"cn=printer,ou=hosts,{SUFFIX}", host)
        choose_ldap(site, slapd, mode, clients=f"ou=hosts,{SUFFIX}")
        with pytest.raises(UsageError, match="printer has it"):
            open_directory(site).change([machine(1)], [], ADA, "x")
