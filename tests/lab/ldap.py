"""A real slapd, ready in 60 ms, with a CA of its own: ldapi, ldap with StartTLS, ldaps."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import ldap
from ldap.controls import SimplePagedResultsControl
from ldap.ldapobject import LDAPObject

from tests.support import PROJECT, require

SUFFIX: Final = "dc=example,dc=org"
ADMIN: Final = f"cn=admin,{SUFFIX}"
GITSTATE: Final = f"cn=gitstate,{SUFFIX}"
PASSWORD: Final = "secret"
STOCK: Final = tuple(f"/etc/ldap/schema/{name}.schema" for name in ("core", "cosine", "nis"))
OURS: Final = str(PROJECT / "schemas" / "gitstate.schema")
_READY: Final = 20


@dataclass
class Server:
    """A slapd that runs; ``admin`` may do anything, ``gitstate`` write below the suffix."""

    place: Path
    port: int
    tls_port: int
    process: subprocess.Popen[bytes] | None = None
    words: list[str] = field(default_factory=list)

    @property
    def ldapi(self) -> str:
        """Its socket."""
        return f"ldapi://{str(self.place / 'socket').replace('/', '%2F')}"

    @property
    def ldap(self) -> str:
        """Its port."""
        return f"ldap://127.0.0.1:{self.port}"

    @property
    def ldaps(self) -> str:
        """Its port with TLS from the first byte."""
        return f"ldaps://127.0.0.1:{self.tls_port}"

    @property
    def ca(self) -> Path:
        """Who signed its certificate."""
        return self.place / "ca.pem"

    def connect(self) -> LDAPObject:
        """As the administrator."""
        connection = ldap.initialize(self.ldapi)
        connection.simple_bind_s(ADMIN, PASSWORD)
        return connection

    def clear(self) -> None:
        """Leave the suffix, and who may write below it."""
        connection = self.connect()
        control = SimplePagedResultsControl(True, size=500, cookie="")
        names: list[str] = []
        while True:
            number = connection.search_ext(
                SUFFIX, ldap.SCOPE_SUBTREE, "(objectClass=*)", ["1.1"], serverctrls=[control]
            )
            _, rows, _, controls = connection.result3(number)
            names += [dn for dn, _ in rows]
            control.cookie = controls[0].cookie
            if not control.cookie:
                break
        for dn in sorted(names, key=lambda name: -name.count(",")):
            if dn not in (SUFFIX, GITSTATE):
                connection.delete_s(dn)
        connection.unbind_s()

    def start(self) -> None:
        """Run it, and return when it answers."""
        log = open(self.place / "log", "ab")  # noqa: SIM115
        with log:
            self.process = subprocess.Popen(self.words, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + _READY
        while True:
            try:
                self.connect().unbind_s()
                return
            except ldap.SERVER_DOWN:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self.place / "log").read_text()) from None
                time.sleep(0.005)

    def stop(self) -> None:
        """End it; it can be started again."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            self.process.wait(20)
            self.process = None

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Down for a while."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def stuck(self) -> Iterator[None]:
        """It takes connections, and never answers."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)  # until all of its threads have stopped
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


@contextmanager
def ldap_server(
    place: Path | None = None,
    *,
    schema: bool = True,
    extra: Sequence[str] = (),
    head: Sequence[str] = (),
    days: int = 30,
    sync: bool = False,
) -> Iterator[Server]:
    """A slapd with an empty suffix; ``extra`` are lines of its database's configuration, ``head`` lines before it.

    ``days`` is for how long its certificate is valid; with ``sync`` it writes as safely as a server does that isn't a
    test's.
    """
    require("slapd", "openssl")
    with tempfile.TemporaryDirectory(prefix="gitstate-ldap-", dir=place) as made:
        server = Server(Path(made), _free_port(), _free_port())
        make_certificates(server.place, days)
        _configure(server, schema=schema, head=head, extra=[*extra, *(() if sync else ("dbnosync",))])
        server.start()
        try:
            _fill(server)
            yield server
        finally:
            server.stop()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _configure(server: Server, *, schema: bool, head: Sequence[str], extra: Sequence[str]) -> None:
    place = server.place
    (place / "db").mkdir()
    lines = [f"include {file}" for file in (*STOCK, *((OURS,) if schema else ()))]
    lines += [
        "modulepath /usr/lib/ldap",
        "moduleload back_mdb",
        f"TLSCACertificateFile {place}/ca.pem",
        f"TLSCertificateFile {place}/server.pem",
        f"TLSCertificateKeyFile {place}/server.key",
        "TLSVerifyClient try",
        f'authz-regexp "gidNumber=.*uidNumber={os.geteuid()},cn=peercred,cn=external,cn=auth" "{GITSTATE}"',
        f'authz-regexp "cn=gitstate-client" "{GITSTATE}"',
        *head,
        "database mdb",
        f'suffix "{SUFFIX}"',
        f"directory {place}/db",
        "maxsize 268435456",
        f'rootdn "{ADMIN}"',
        f"rootpw {PASSWORD}",
        "index objectClass,cn,macAddress,ipHostNumber eq",
        "index entryCSN eq",
        *(("index gitstateChannelName,gitstateKind eq",) if schema else ()),
        *extra,
        f'access to attrs=userPassword by anonymous auth by dn.exact="{GITSTATE}" none by * none',
        f'access to dn.subtree="{SUFFIX}" by dn.exact="{GITSTATE}" write by * read',
        f'limits dn.exact="{GITSTATE}" size=unlimited time=unlimited',
    ]
    (place / "slapd.conf").write_text("\n".join([*lines, ""]))
    urls = f"{server.ldapi} ldap://127.0.0.1:{server.port} ldaps://127.0.0.1:{server.tls_port}"
    server.words = ["slapd", "-d", "0", "-f", str(place / "slapd.conf"), "-h", urls]


def _fill(server: Server) -> None:
    connection = server.connect()
    top = [("objectClass", [b"organization", b"dcObject"]), ("o", b"Example"), ("dc", b"example")]
    connection.add_s(SUFFIX, top)
    account = [("objectClass", [b"applicationProcess", b"simpleSecurityObject"]), ("cn", b"gitstate")]
    connection.add_s(GITSTATE, [*account, ("userPassword", PASSWORD.encode())])
    connection.unbind_s()


def make_certificates(place: Path, days: int = 30) -> None:
    """``ca.pem``, ``server.pem`` for localhost, ``client.pem`` for ``gitstate-client``, valid for ``days``."""
    names = place / "names"
    names.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    _openssl(place, "req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=lab CA", "-days", "30")
    for name, subject in (("server", "localhost"), ("client", "gitstate-client")):
        _openssl(place, "req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={subject}")
        until = ["-days", str(days)]
        extensions = ["-extfile", "names"] if name == "server" else []
        signing = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"]
        _openssl(place, "x509", "-req", "-in", f"{name}.csr", *signing, "-out", f"{name}.pem", *until, *extensions)


def postdate(place: Path) -> None:
    """``server.pem`` anew, valid from 2098 on: what a clock that is behind makes of any new certificate."""
    lines = ["[ca]", "default_ca=lab", "[lab]", "database=index", "serial=serial", "new_certs_dir=.", "policy=any"]
    (place / "signing").write_text("\n".join([*lines, "default_md=sha256", "[any]", "commonName=supplied", ""]))
    (place / "index").touch()
    (place / "serial").write_text("01\n")
    files = ["-in", "server.csr", "-out", "server.pem", "-cert", "ca.pem", "-keyfile", "ca.key", "-extfile", "names"]
    dates = ["-startdate", "20980101000000Z", "-enddate", "20990101000000Z"]
    _openssl(place, "ca", "-batch", "-notext", "-config", "signing", *files, *dates)


def _openssl(place: Path, *words: str) -> None:
    done = subprocess.run(["openssl", *words], cwd=place, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
