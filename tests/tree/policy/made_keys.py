"""Private keys and what looks like one, built from their ASN.1: none is real or even a sample."""

from __future__ import annotations

import base64


def der(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    size = bytes([len(body)]) if len(body) < 128 else b"\x82" + len(body).to_bytes(2, "big")
    return bytes([tag]) + size + body


def integer(value: int) -> bytes:
    return der(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def sequence(*parts: bytes) -> bytes:
    return der(0x30, *parts)


def oid(text: str) -> bytes:
    return der(6, bytes.fromhex(text))


def octets(size: int) -> bytes:
    return der(4, bytes(range(1, size + 1)))


BIG = 2**1023 + 12345
ALGORITHM = sequence(oid("2b6570"))
PASSWORD_BASED = sequence(oid("2a864886f70d01050d"), sequence(integer(2048)))
SHROUDED = oid("2a864886f70d010c0a0102")

PKCS8 = sequence(integer(0), ALGORITHM, octets(34))
PKCS1 = sequence(integer(0), *(integer(BIG + number) for number in range(8)))
SEC1 = sequence(integer(1), octets(32), der(0xA0, oid("2a8648ce3d030107")), der(0xA1, der(3, b"\0" * 66)))
DSA = sequence(integer(0), *(integer(BIG + number) for number in range(5)))
ENCRYPTED = sequence(PASSWORD_BASED, octets(64))
PKCS12 = sequence(integer(3), sequence(oid("2a864886f70d010701"), der(0xA0, sequence(SHROUDED, octets(64)))))

CERTIFICATE = sequence(sequence(der(0xA0, integer(2)), integer(BIG), ALGORITHM), ALGORITHM, der(3, b"\0" * 65))
PUBLIC_RSA = sequence(integer(BIG), integer(65537))
PUBLIC = sequence(ALGORITHM, der(3, b"\0" * 33))
DH_PARAMETERS = sequence(integer(BIG), integer(2))
DIGEST = sequence(sequence(oid("608648016503040201"), der(5)), octets(32))
TRUST_STORE = sequence(integer(3), sequence(oid("2a864886f70d010701"), der(0xA0, octets(64))))
OPENSSH = b"openssh-key-v1\0" + bytes(200)


def pem(label: str, body: bytes, headers: str = "", end: str = "") -> bytes:
    lines = base64.encodebytes(body).decode()
    return f"-----BEGIN {label}-----\n{headers}{lines}-----END {end or label}-----\n".encode()


PEM = pem("PRIVATE KEY", PKCS8)
PEM_BODY = base64.b64encode(PKCS8).decode()
TRADITIONAL = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\n"
PUTTY = (
    b"PuTTY-User-Key-File-3: ssh-ed25519\r\nEncryption: none\r\nComment: x\r\nPublic-Lines: 1\r\nAAAAC3Nz\r\n"
    b"Private-Lines: 1\r\nAAAAIEJyaWFu\r\nPrivate-MAC: 00\r\n"
)
STATIC = f"-----BEGIN OpenVPN Static key V1-----\n{('ab' * 16 + chr(10)) * 16}-----END OpenVPN Static key V1-----\n"
DNSSEC = b"Private-key-format: v1.3\nAlgorithm: 13 (ECDSAP256SHA256)\nPrivateKey: GU6SnQ/Ou+xC5RumuIUIuJZteXT2z0O/\n"
