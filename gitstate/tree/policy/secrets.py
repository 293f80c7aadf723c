"""Finders of secrets in the content of known files: each recognises the secret itself.

So a file as a package installs it, with everything commented out or empty, raises no alarm. Expressions are linear: no
two neighbouring repetitions can match the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

from gitstate.core.wording import some_of

Finder = Callable[[bytes], str]
"""Why this content is refused, in words; empty if it isn't."""


def always(why: str) -> Finder:
    return lambda data: why


def matching(why: str, *expressions: bytes) -> Finder:
    """A finder for text that matches any of ``expressions``; ``^`` is the start of a line."""
    search = re.compile(b"|".join(b"(?:" + one + b")" for one in expressions), re.MULTILINE).search
    return lambda data: why if search(data) else ""


def assigned(why: str, keys: bytes, value: bytes = rb"[^\s#\"']") -> Finder:
    """A finder for lines that assign one of ``keys``: ``key = value``, ``key=value``, ``key: "value"``."""
    return matching(why, rb"^[ \t]*(?:- )?(?:" + keys + rb")[ \t]*[=:][ \t]*[\"']?" + value)


# --- passwords to log in with ---------------------------------------------------------------------------------------

_HASH = re.compile(rb"[!*]*(?:\$[0-9A-Za-z][0-9A-Za-z-]*\$\S{8,}|[./0-9A-Za-z]{13}|_[./0-9A-Za-z]{19})")
_PASSWD_FIELDS: Final = 7
_SHADOW_FIELDS: Final = 9


def _is_hash(field: bytes) -> bool:
    """Whether it is a hash of crypt(3). With ``!`` in front it is locked, but can still be cracked, or unlocked."""
    return _HASH.fullmatch(field) is not None


def _accounts(data: bytes) -> Iterable[list[bytes]]:
    """The lines of passwd(5) and similar files; those of NIS (``+::::::``) have no password of their own."""
    lines = (line.split(b":") for line in data.split(b"\n") if not line.startswith((b"+", b"-", b"#")))
    return (fields for fields in lines if len(fields) > 1 and fields[0])


def _name(field: bytes) -> str:
    return ascii(field[:32].decode("utf-8", "replace")).strip("'\"")


def hashes(data: bytes) -> str:
    names = [_name(fields[0]) for fields in _accounts(data) if _is_hash(fields[1])]
    return f"the password hash of {some_of(names, 1)}" if names else ""


def logins(data: bytes) -> str:
    """passwd and shadow: an empty field allows a login without a password, unlike in group files."""
    empty = [
        _name(fields[0])
        for fields in _accounts(data)
        if not fields[1] and len(fields) in (_PASSWD_FIELDS, _SHADOW_FIELDS)
    ]
    return hashes(data) or (f"{empty[0]} can log in without a password" if empty else "")


def old_hashes(data: bytes) -> str:
    """opasswd: ``user:uid:count:hash,hash``."""
    fields = [field for line in data.split(b"\n") for field in line.split(b":")[3:]]
    return "the hashes of old passwords" if any(_is_hash(one) for field in fields for one in field.split(b",")) else ""


# --- other forms ----------------------------------------------------------------------------------------------------

_EMPTY_MACHINE_ID: Final = (b"", b"uninitialized")
_PPP_WORD = re.compile(rb"\"[^\"\n]*\"|[^\s\"]+")
_PPP_NO_SECRET: Final = (b'""', b'"*"', b"*")
_PPP_SECRET_WORD: Final = 2


def machine_id(data: bytes) -> str:
    return "" if data.strip() in _EMPTY_MACHINE_ID else "the identity of one machine"


def ppp(data: bytes) -> str:
    """``client server secret addresses``; Debian's file comes with ``""`` and ``"*"``."""
    for line in data.split(b"\n"):
        words = _PPP_WORD.findall(line)
        if len(words) > _PPP_SECRET_WORD and line.lstrip()[:1] != b"#" and words[2] not in _PPP_NO_SECRET:
            return "the password of a PPP account"
    return ""


def keytab(data: bytes) -> str:
    return "Kerberos keys" if data[:2] in (b"\5\2", b"\5\1") and len(data) > 2 else ""
