"""What python-ldap raises, in words: what is wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import ldap

from gitstate.core import network
from gitstate.core.data import data_file
from gitstate.core.errors import ConfigError, GitstateError, HostError, LockedError, UnreachableError, UsageError
from gitstate.directory.options import LdapOptions

DOWN: Final = (ldap.SERVER_DOWN, ldap.CONNECT_ERROR, ldap.TIMEOUT, ldap.UNAVAILABLE, ldap.BUSY)
"""After these the next server is asked."""
_START_TLS: Final = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037"
"""The request for it (RFC 4511, 4.14), as message 1."""
_NO_CONTACT: Final = "Can't contact LDAP server: "
_READ_ONLY: Final = (ldap.UNWILLING_TO_PERFORM, ldap.REFERRAL)
_CHANGED: Final = (
    ldap.ASSERTION_FAILED,
    ldap.ALREADY_EXISTS,
    ldap.NO_SUCH_ATTRIBUTE,
    ldap.TYPE_OR_VALUE_EXISTS,
)
_NO_SCHEMA: Final = (ldap.UNDEFINED_TYPE, ldap.INVALID_SYNTAX, ldap.OBJECT_CLASS_VIOLATION)
_WORDS: Final[tuple[tuple[tuple[type[ldap.LDAPError], ...], type[GitstateError], str, str], ...]] = (
    (_READ_ONLY, HostError, ": it is read-only", "name the server that may be written to first in uri"),
    (
        (ldap.INSUFFICIENT_ACCESS, ldap.STRONG_AUTH_REQUIRED),
        HostError,
        "",
        "give our name write access: docs/directory.md has the rule for slapd",
    ),
    ((ldap.NO_SUCH_OBJECT,), ConfigError, "", "is base in [directory] of site.toml the server's suffix?"),
    ((ldap.INVALID_DN_SYNTAX,), ConfigError, "", "see base, clients and bind in [directory] of site.toml"),
    (
        (ldap.SIZELIMIT_EXCEEDED, ldap.ADMINLIMIT_EXCEEDED, ldap.TIMELIMIT_EXCEEDED),
        HostError,
        "",
        "the server's limits are too low for our name: see olcLimits in docs/directory.md",
    ),
    (
        (ldap.OBJECT_CLASS_VIOLATION, ldap.CONSTRAINT_VIOLATION, ldap.INVALID_SYNTAX),
        UsageError,
        "",
        "the server's schema has no place for that value",
    ),
)


def error_text(error: ldap.LDAPError) -> str:
    """The server's or the library's own words, in one line."""
    details: Any = error.args[0] if error.args else {}
    if not isinstance(details, dict):
        return " ".join(str(details).split())[:200]
    parts = [details.get("desc") or type(error).__name__.lower().replace("_", " "), details.get("info")]
    return ": ".join(dict.fromkeys(" ".join(str(part).split())[:200] for part in parts if part))


def unreachable_reason(uri: str, error: ldap.LDAPError | OSError, certificate: str | None, seconds: int) -> str:
    """Why a server can't be reached; ``certificate`` says what is wrong with that."""
    if isinstance(error, ldap.TIMEOUT | TimeoutError):
        return f"{uri}: no answer within {seconds} s"
    if isinstance(error, OSError):
        return f"{uri}: {error.strerror or error}"
    if certificate:
        return f"{uri}: its certificate is refused: {certificate}"
    return f"{uri}: {error_text(error).removeprefix(_NO_CONTACT)}"


def certificate_fault(uri: str, options: LdapOptions) -> str | None:
    """What is wrong with the server's certificate. Raises OSError if it doesn't answer.

    libldap with GnuTLS doesn't say why TLS fails, and waits for ever for a server that is stuck in the middle of it.
    """
    parts = urlsplit(uri)
    if parts.hostname is None or (parts.scheme != "ldaps" and not options.starttls):
        return None
    opening = b"" if parts.scheme == "ldaps" else _START_TLS
    port = parts.port or (636 if parts.scheme == "ldaps" else 389)
    return network.tls_fault(parts.hostname, port, Path(options.ca) if options.ca else None, opening, options.timeout)


def hint_for(reasons: list[str]) -> str:
    """What to do when no server can be reached."""
    words = " ".join(reasons).lower()
    if "expired" in words:
        return "renew the server's certificate; or is our clock ahead?"
    if "not yet valid" in words:
        return "is our clock behind? date tells"
    if "mismatch" in words:
        return "name the server in uri as its certificate does"
    if "certificate" in words:
        return "does ca in [directory] of site.toml name the authority that signed the server's certificate?"
    if "no answer" in words:
        return "is slapd stuck, or the network? timeout in [directory] of site.toml says how long we wait"
    return "is slapd running? uri in [directory] of site.toml says where it is looked for"


@contextmanager
def translate_errors(uri: str, what: str) -> Iterator[None]:
    """Errors of python-ldap as ours; ``what`` was done with the server at ``uri``."""
    try:
        yield
    except ldap.LDAPError as error:
        raise translated(error, uri, what) from None


def translated(error: ldap.LDAPError, uri: str, what: str) -> GitstateError:
    """What ``error`` means to whoever runs a command."""
    words = f"{uri}: {what}: {error_text(error)}"
    if isinstance(error, ldap.TIMEOUT):
        return UnreachableError(f"{uri}: {what}: no answer in time", hint_for(["no answer"]))
    if isinstance(error, DOWN):
        return UnreachableError(words, hint_for([words]))
    if isinstance(error, _CHANGED):
        return LockedError(f"{what}: the entry has changed meanwhile ({error_text(error)})", "run the command again")
    if isinstance(error, _NO_SCHEMA) and "gitstate" in error_text(error):
        return schema_missing(uri)
    for kinds, fault, more, hint in _WORDS:
        if isinstance(error, kinds):
            return fault(f"{words}{more}", hint)
    return HostError(words, "the server's log tells more")


def schema_missing(uri: str) -> ConfigError:
    """The server doesn't know our classes."""
    file = data_file("schemas", "gitstate.ldif")
    hint = f"load it there: ldapadd -Y EXTERNAL -H ldapi:/// -f {file}"
    return ConfigError(f"{uri}: the server doesn't know gitstate's schema", hint)
