"""Recognise private keys by parsing, so that programs and manuals that only mention keys are not refused.

Every search reads each byte a fixed number of times: files may be hostile.
"""

from __future__ import annotations

import binascii
import re
from typing import Final

_PEM_BEGIN = re.compile(
    rb"-{4,5} ?BEGIN ("
    rb"(?:[A-Z0-9]+ ){0,3}(?:PRIVATE|SECRET) KEY(?: BLOCK)?"
    rb"|OpenVPN Static key V1"
    rb"|OpenVPN tls-crypt-v2 (?:client|server) key"
    rb") ?-{4,5}"
)
_PEM_END = re.compile(rb"-{4,5} ?END ([A-Za-z0-9 -]{1,80}?) ?-{4,5}")
_AROUND_LINES: Final = b" \t\r\"',;#>*"

_OPENSSH: Final = b"openssh-key-v1\0"
_SSH2: Final = b"\x3f\x6f\xf9\xeb"
_PGP_SECRET_KEY_TAGS: Final = frozenset((0x94, 0x95, 0x96, 0x97, 0xC5))
_OPENVPN_STATIC_SIZE: Final = 256

_PUTTY = re.compile(rb"^Private-Lines: ?[1-9][0-9]{0,4}\r?\n([A-Za-z0-9+/]{4,}={0,2})\r?$", re.MULTILINE)
_DNSSEC = re.compile(rb"^(?:Private\w*|Key): ?[A-Za-z0-9+/]{8}", re.MULTILINE)
_GNUPG_AGENT = re.compile(rb"^Key: ?\((?:protected-)?private-key\b", re.MULTILINE)
_GNUPG_AGENT_CANONICAL: Final = (b"(11:private-key(", b"(21:protected-private-key(")
_AGE = re.compile(rb"AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58}")
_TOR: Final = b"== ed25519v1-secret: "


def find(data: bytes) -> str:
    """The kind of private key that ``data`` is or contains; empty for none."""
    return _by_beginning(data) or _in_pem(data) or _in_text(data)


def _by_beginning(data: bytes) -> str:
    if data[:1] == b"0":
        return _in_der(data, named=False)
    if data.startswith(b"PuTTY-User-Key-File-"):
        return "a PuTTY private key" if _PUTTY.search(data) else ""
    if data.startswith(b"Private-key-format: v"):
        return "a DNSSEC private key" if _DNSSEC.search(data) else ""
    if data.startswith(_GNUPG_AGENT_CANONICAL):
        return "a GnuPG private key"
    return "a Tor private key" if data.startswith(_TOR) and len(data) > len(_TOR) + 32 else ""


def _in_text(data: bytes) -> str:
    if _AGE.search(data):
        return "an age private key"
    return "a GnuPG private key" if _GNUPG_AGENT.search(data) else ""


# --- PEM and similar forms --------------------------------------------------------------------------------------------


def _in_pem(data: bytes) -> str:
    if b"BEGIN " not in data:
        return ""
    for begin in _PEM_BEGIN.finditer(data):
        dashes = data.find(b"----", begin.end())
        end = _PEM_END.match(data, dashes) if dashes >= 0 else None
        if end and end[1] == begin[1] and (found := _block(begin[1], data[begin.end() : dashes])):
            return found
    return ""


def _block(label: bytes, body: bytes) -> str:
    """``body`` may be indented, quoted or commented out, or all in one line with ``\\n`` between, as in JSON."""
    unescaped = body.replace(rb"\r", b"").replace(rb"\n", b"\n").replace(rb"\/", b"/")
    lines = [line.strip(_AROUND_LINES) for line in unescaped.split(b"\n")]
    headers = [line for line in lines if b":" in line]
    payload = b"".join(line for line in lines if b":" not in line and not line.startswith(b"="))
    try:
        if label == b"OpenVPN Static key V1":
            return "an OpenVPN static key" if len(binascii.unhexlify(payload)) == _OPENVPN_STATIC_SIZE else ""
        return _decoded(label, headers, binascii.a2b_base64(payload))
    except binascii.Error:
        return ""


def _decoded(label: bytes, headers: list[bytes], raw: bytes) -> str:
    if label.startswith(b"OpenVPN"):
        return "an OpenVPN key" if len(raw) >= 64 else ""
    if label.startswith(b"PGP"):
        return "a PGP secret key" if raw[:1] and raw[0] in _PGP_SECRET_KEY_TAGS and len(raw) > 32 else ""
    if raw.startswith(_OPENSSH):
        return "an OpenSSH private key"
    if raw.startswith(_SSH2) or (len(raw) >= 32 and any(b"ENCRYPTED" in header for header in headers)):
        return "an encrypted private key"
    return _in_der(raw, named=True)


# --- DER ------------------------------------------------------------------------------------------------------------

_INTEGER: Final = 0x02
_OCTETS: Final = 0x04
_OID: Final = 0x06
_SEQUENCE: Final = 0x30
_PASSWORD_BASED = (b"\x2a\x86\x48\x86\xf7\x0d\x01\x05", b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01")
_PKCS12_KEY_BAG = re.compile(rb"\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x0a\x01[\x01\x02]")
_RSA_NUMBERS: Final = 9
_DSA_NUMBERS: Final = 6

_Element = tuple[int, bytes]


def _in_der(data: bytes, *, named: bool) -> str:
    """The kind of key in DER. ``named``: a PEM label says that it is a private key; else the algorithm must."""
    outer = _elements(data)
    if len(outer) != 1 or outer[0][0] != _SEQUENCE:
        return ""
    parts = _elements(outer[0][1])
    tags = bytes(tag for tag, _ in parts)
    if tags[:2] == bytes((_SEQUENCE, _OCTETS)) and len(tags) == 2:
        return "an encrypted private key" if named or _algorithm(parts[0]).startswith(_PASSWORD_BASED) else ""
    if tags[:1] != bytes((_INTEGER,)):
        return ""
    version = parts[0][1]
    if version == b"\x03":
        return "a PKCS #12 file with a private key" if _PKCS12_KEY_BAG.search(data) else ""
    return "a private key" if version in (b"\0", b"\1") and _is_key(tags[1:], parts) else ""


def _is_key(tags: bytes, parts: list[_Element]) -> bool:
    """Whether what follows the version is PKCS #8, SEC 1 (elliptic curves), PKCS #1 (RSA) or OpenSSL's DSA."""
    if tags[:2] == bytes((_SEQUENCE, _OCTETS)):
        return bool(_algorithm(parts[1]))
    if tags[:1] == bytes((_OCTETS,)):
        return all(tag & 0xE0 == 0xA0 for tag in tags[1:]) and len(parts[1][1]) >= 16
    numbers = len(tags) - len(tags.lstrip(bytes((_INTEGER,))))
    is_rsa = numbers == _RSA_NUMBERS - 1 and tags[numbers:] in (b"", bytes((_SEQUENCE,)))
    return is_rsa or (numbers == _DSA_NUMBERS - 1 and not tags[numbers:])


def _algorithm(part: _Element) -> bytes:
    """The object identifier that a sequence begins with; empty if it doesn't."""
    inner = _elements(part[1])
    return inner[0][1] if inner and inner[0][0] == _OID else b""


def _elements(data: bytes, most: int = 16) -> list[_Element]:
    """The elements that make up ``data`` exactly; empty if they don't, or if there are more than ``most``."""
    found: list[_Element] = []
    at = 0
    while at < len(data):
        if len(found) == most or at + 2 > len(data):
            return []
        tag, length, at = data[at], data[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            if not 1 <= size <= 4:
                return []
            length, at = int.from_bytes(data[at : at + size], "big"), at + size
        if at + length > len(data):
            return []
        found.append((tag, data[at : at + length]))
        at += length
    return found
