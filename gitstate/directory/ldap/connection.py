"""One connection to the first server that answers: paged searches, pipelined writes, errors translated."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import ldap
import ldap.sasl
from ldap.controls import SimplePagedResultsControl
from ldap.controls.libldap import AssertionControl
from ldap.filter import escape_filter_chars
from ldap.ldapobject import LDAPObject

from gitstate.core import fs
from gitstate.core.errors import ConfigError, UnreachableError
from gitstate.directory.ldap.errors import (
    DOWN,
    certificate_fault,
    error_text,
    hint_for,
    schema_missing,
    translate_errors,
    translated,
    unreachable_reason,
)
from gitstate.directory.model.entries import Entry
from gitstate.directory.options import LdapOptions, Login

_PAGE: Final = 1000
_ROW: Final = 50  # slapd closes a connection on which more than a hundred wait
Result = TypeVar("Result")


class SearchResult(NamedTuple):
    """An entry and its DN."""

    dn: str
    entry: dict[str, list[bytes]]


class Write(NamedTuple):
    """One entry to be added (no ``modifications``), changed, or removed (None), if it is still as ``csn`` says."""

    dn: str
    modifications: Sequence[tuple[int, str, list[bytes]]] | None
    entry: Entry | None = None
    csn: str | None = None


class Connection:
    """A connection to the first server that answers; opened when needed, reopened once when lost."""

    def __init__(self, options: LdapOptions, credentials: Path | None) -> None:
        self._options = options
        self._credentials = credentials
        self._open: LDAPObject | None = None
        self._uri = options.uris[0]

    @property
    def uri(self) -> str:
        """The server used last."""
        return self._uri

    # --- reading ---

    def search(
        self, base: str, wanted: str, attributes: Sequence[str], scope: int = ldap.SCOPE_SUBTREE
    ) -> list[SearchResult]:
        """Return the entries below ``base`` that match ``wanted``; [] without a base. Raises UnreachableError."""

        def ask(opened: LDAPObject) -> list[SearchResult]:
            return list(self._pages(opened, base, scope, wanted, attributes))

        try:
            return self._with_retry(ask)
        except ldap.NO_SUCH_OBJECT:
            return []
        except ldap.LDAPError as error:
            raise translated(error, self._uri, f"search below {base}") from None

    def _pages(
        self, opened: LDAPObject, base: str, scope: int, wanted: str, attributes: Sequence[str]
    ) -> Iterator[SearchResult]:
        control = SimplePagedResultsControl(True, size=_PAGE, cookie="")
        while True:
            number = opened.search_ext(base, scope, wanted, list(attributes), serverctrls=[control])
            _, rows, _, answers = opened.result3(number, timeout=self._options.timeout)
            yield from (SearchResult(dn, entry) for dn, entry in rows if dn is not None)  # else a reference elsewhere
            cookies = [one.cookie for one in answers if isinstance(one, SimplePagedResultsControl)]
            if not cookies or not cookies[0]:
                return
            control.cookie = cookies[0]

    def who(self) -> str:
        """Return the DN that the server knows us by; empty for an anonymous connection."""
        with translate_errors(self._uri, "ask who we are"):
            found: str = self._with_retry(lambda opened: opened.whoami_s())
        return found.removeprefix("dn:")

    def _with_retry(self, ask: Callable[[LDAPObject], Result]) -> Result:
        """Run ``ask``; once more, on any server, if the connection was lost meanwhile."""
        fresh = self._open is None
        try:
            return ask(self._connected())
        except DOWN as error:
            self.close()
            if fresh or isinstance(error, ldap.TIMEOUT):
                raise
            return ask(self._connected())

    # --- writing ---

    def write(self, writes: Iterable[Write]) -> Iterator[tuple[Write, ldap.LDAPError | None]]:
        """Write several entries at a time; yield each with its error or None, in order."""
        waiting: deque[tuple[Write, int | ldap.LDAPError]] = deque()
        with translate_errors(self._uri, "connect"):
            opened = self._connected()
        for one in writes:
            waiting.append((one, self._begin(opened, one)))
            if len(waiting) >= _ROW:
                yield self._end(opened, waiting)
        while waiting:
            yield self._end(opened, waiting)

    def _begin(self, opened: LDAPObject, one: Write) -> int | ldap.LDAPError:
        try:
            return self._send(opened, one)
        except ldap.LDAPError as error:
            return error
        except AttributeError:  # of python-ldap, for a connection that was closed
            return ldap.SERVER_DOWN({"desc": "the connection was lost"})

    def _send(self, opened: LDAPObject, one: Write) -> int:
        controls = [AssertionControl(True, f"(entryCSN={escape_filter_chars(one.csn)})")] if one.csn else []
        number: int
        if one.entry is not None:
            number = opened.add_ext(one.dn, [(name, list(values)) for name, values in one.entry.items()])
        elif one.modifications is None:
            number = opened.delete_ext(one.dn, serverctrls=controls)
        else:
            number = opened.modify_ext(one.dn, list(one.modifications), serverctrls=controls)
        return number

    def _end(
        self, opened: LDAPObject, waiting: deque[tuple[Write, int | ldap.LDAPError]]
    ) -> tuple[Write, ldap.LDAPError | None]:
        """The result of the oldest pending write."""
        one, number = waiting.popleft()
        if not isinstance(number, int):
            return one, number
        try:
            opened.result3(number, timeout=self._options.timeout)
        except ldap.LDAPError as error:
            if isinstance(error, DOWN):
                self.close()
                for place, (other, _) in enumerate(waiting):  # no answer will come
                    waiting[place] = other, error
            return one, error
        return one, None

    # --- the connection ---

    def close(self) -> None:
        """Close the connection."""
        if self._open is not None:
            opened, self._open = self._open, None
            with suppress(ldap.LDAPError):
                opened.unbind_ext_s()

    def _connected(self) -> LDAPObject:
        if self._open is None:
            self._check_files()
            reasons: list[str] = []
            for uri in self._options.uris:
                self._uri = uri
                certificate = None
                try:
                    certificate = certificate_fault(uri, self._options)
                    self._open = self._connect(uri)
                    break
                except (*DOWN, OSError) as error:
                    reasons.append(unreachable_reason(uri, error, certificate, self._options.timeout))
            else:
                raise UnreachableError(f"the directory can't be reached: {'; '.join(reasons)}", hint_for(reasons))
        return self._open

    def _connect(self, uri: str) -> LDAPObject:
        options = self._options
        opened = ldap.initialize(uri)
        opened.protocol_version = ldap.VERSION3
        opened.set_option(ldap.OPT_REFERRALS, ldap.OPT_OFF)
        opened.set_option(ldap.OPT_NETWORK_TIMEOUT, float(options.timeout))
        opened.set_option(ldap.OPT_TIMEOUT, float(options.timeout))
        if not uri.startswith("ldapi:"):
            self._prepare_tls(opened)
        if options.starttls:
            opened.start_tls_s()
        with _login_errors(uri, options):
            if options.login is Login.EXTERNAL:
                opened.sasl_non_interactive_bind_s("EXTERNAL")
            elif options.login is Login.SIMPLE:
                opened.simple_bind_s(options.bind, self._password())
            else:
                opened.simple_bind_s()
        return opened

    def _check_files(self) -> None:
        for path in (self._options.ca, self._options.certificate, self._options.key):
            if path is not None and fs.read_file(Path(path), 1) is None:
                raise ConfigError(f"{path}: no such file", "see [directory] of site.toml")

    def _prepare_tls(self, opened: LDAPObject) -> None:
        options = self._options
        opened.set_option(ldap.OPT_X_TLS_REQUIRE_CERT, ldap.OPT_X_TLS_DEMAND)
        for option, path in (
            (ldap.OPT_X_TLS_CACERTFILE, options.ca),
            (ldap.OPT_X_TLS_CERTFILE, options.certificate),
            (ldap.OPT_X_TLS_KEYFILE, options.key),
        ):
            if path is not None:
                opened.set_option(option, path)
        try:
            opened.set_option(ldap.OPT_X_TLS_NEWCTX, 0)  # last: it takes what was set before
        except (ValueError, ldap.LDAPError):
            raise ConfigError(
                f"ca, certificate or key in [directory] can't be used: {options.ca or options.certificate}",
                "are they PEM, and do certificate and key belong together?",
            ) from None

    # --- secrets ---

    def _password(self) -> str:
        options = self._options
        if options.password_file is not None:
            return read_secret(Path(options.password_file), private=True)
        assert options.password_credential is not None
        if self._credentials is None:
            raise ConfigError(
                f"systemd gave no credential {options.password_credential}: CREDENTIALS_DIRECTORY is not set",
                "password_file in [directory] of site.toml works everywhere",
            )
        return read_secret(self._credentials / options.password_credential, private=False)


@contextmanager
def _login_errors(uri: str, options: LdapOptions) -> Iterator[None]:
    who = options.bind or options.login
    try:
        yield
    except DOWN:
        raise
    except ldap.INVALID_CREDENTIALS:
        raise UnreachableError(f"{uri}: wrong password for {who}, or no such name", _secret_hint(options)) from None
    except ldap.LDAPError as error:
        hint = "see bind, external and starttls in [directory] of site.toml"
        raise UnreachableError(f"{uri} doesn't let {who} in: {error_text(error)}", hint) from None


def _secret_hint(options: LdapOptions) -> str:
    if options.password_file is not None:
        return f"correct {options.password_file}"
    return "correct the credential that systemd gives" if options.password_credential else "see docs/directory.md"


def read_secret(path: Path, *, private: bool) -> str:
    """Return the first line of a file that only its owner can read. Raises ConfigError."""
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            data = file.read(4096)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", "it holds the password for the directory") from None
    if private and (status.st_mode & 0o077 or status.st_uid not in (0, os.geteuid())):
        mode = stat.S_IMODE(status.st_mode)
        hint = f"chown root {path}; chmod 600 {path}; and change the password"
        raise ConfigError(f"{path} has mode {mode:04o} and owner {status.st_uid}: others can read the password", hint)
    try:
        text = data.partition(b"\n")[0].decode()
    except UnicodeDecodeError:
        text = ""
    if not text or "\0" in text:
        raise ConfigError(f"{path} holds no password", "write it into the first line, in UTF-8")
    return text


def check_schema(connection: Connection, base: str) -> None:
    """Raise ConfigError if the server lacks our schema: its searches would find nothing."""
    if not connection.search(base, "(objectClass=*)", ["1.1"], ldap.SCOPE_BASE):
        hint = "see base and bind in [directory] of site.toml"
        raise ConfigError(f"{connection.uri}: there is no {base}, or we may not read it", hint)
    if not connection.search(base, "(!(gitstateKind=none))", ["1.1"], ldap.SCOPE_BASE):
        raise schema_missing(connection.uri)
