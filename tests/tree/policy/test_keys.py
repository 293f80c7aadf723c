"""Private keys are refused, and what only looks like one is not.

No key in here is real or even a sample: keys are built from their ASN.1 or made by the real programs.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitstate.tree.policy.known import SECRETS
from gitstate.tree.policy.rules import LARGEST
from tests.support import needs
from tests.tree.policy.harness import DEFAULT, refused
from tests.tree.policy.made_keys import (
    ALGORITHM,
    CERTIFICATE,
    DH_PARAMETERS,
    DIGEST,
    DNSSEC,
    DSA,
    ENCRYPTED,
    OPENSSH,
    PEM,
    PKCS1,
    PKCS8,
    PKCS12,
    PUBLIC,
    PUBLIC_RSA,
    PUTTY,
    SEC1,
    STATIC,
    TRADITIONAL,
    TRUST_STORE,
    der,
    integer,
    oid,
    pem,
    sequence,
)

KEYS = {
    "PKCS #8": PEM,
    "PKCS #1": pem("RSA PRIVATE KEY", PKCS1),
    "SEC 1": pem("EC PRIVATE KEY", SEC1),
    "SEC 1 after its parameters": pem("EC PARAMETERS", oid("2a8648ce3d030107")) + pem("EC PRIVATE KEY", SEC1),
    "DSA": pem("DSA PRIVATE KEY", DSA),
    "encrypted PKCS #8": pem("ENCRYPTED PRIVATE KEY", ENCRYPTED),
    "encrypted, traditional": pem("RSA PRIVATE KEY", bytes(range(64)), TRADITIONAL),
    "OpenSSH": pem("OPENSSH PRIVATE KEY", OPENSSH),
    "ssh.com": b"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nComment: x\n"
    + base64.encodebytes(b"\x3f\x6f\xf9\xeb" + bytes(60))
    + b"---- END SSH2 ENCRYPTED PRIVATE KEY ----\n",
    "PGP": pem("PGP PRIVATE KEY BLOCK", b"\x95" + bytes(90), "Version: 2\n\n").replace(b"-----END", b"=AbCd\n-----END"),
    "PGP, new packets": pem("PGP PRIVATE KEY BLOCK", b"\xc5" + bytes(90), "\n"),
    "after a certificate": pem("CERTIFICATE", CERTIFICATE) + PEM,
    "after a block cut short": PEM[:60] + b"\n" + PEM,
    "CRLF": PEM.replace(b"\n", b"\r\n"),
    "in YAML": b"key: |\n  " + PEM.replace(b"\n", b"\n  "),
    "in JSON": json.dumps({"type": "service_account", "private_key": PEM.decode()}).encode(),
    "in JSON with escaped slashes": json.dumps({"key": PEM.decode()}).replace("/", "\\/").encode(),
    "in a program": b"".join(b'    "%s\\n"\n' % line for line in PEM.splitlines()),
    "commented out": b"# " + PEM.replace(b"\n", b"\n# "),
    "DER": PKCS8,
    "DER that ends like a line": sequence(integer(0), ALGORITHM, der(4, b"\n" * 34)),
    "DER, PKCS #1": PKCS1,
    "DER, encrypted": ENCRYPTED,
    "PKCS #12": PKCS12,
    "PuTTY": PUTTY,
    "OpenVPN": STATIC.encode(),
    "OpenVPN in a profile": b"client\n<tls-auth>\n" + STATIC.encode() + b"</tls-auth>\n",
    "OpenVPN tls-crypt-v2": pem("OpenVPN tls-crypt-v2 client key", bytes(300)),
    "DNSSEC": DNSSEC,
    "GnuPG": b"Created: 20240101T000000\nKey: (protected-private-key (rsa (n #00#)))\n",
    "GnuPG, old": b"(21:protected-private-key(3:rsa(1:n3:abc)))",
    "Tor": b"== ed25519v1-secret: type0 ==\0\0\0" + bytes(64),
    "age": b"# created: 2024-01-01\nAGE-SECRET-KEY-1" + b"QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L" * 2 + b"\n",
}
KEYS["age"] = KEYS["age"][:-7] + b"\n"  # 58 characters

NO_KEYS = {
    "a certificate": pem("CERTIFICATE", CERTIFICATE),
    "a certificate called a key": pem("PRIVATE KEY", CERTIFICATE),
    "a public key": pem("PUBLIC KEY", PUBLIC),
    "a public key called private": pem("PRIVATE KEY", PUBLIC),
    "an RSA public key": pem("RSA PUBLIC KEY", PUBLIC_RSA),
    "DH parameters": pem("DH PARAMETERS", DH_PARAMETERS),
    "a PGP public key": pem("PGP PUBLIC KEY BLOCK", b"\x99" + bytes(90), "\n"),
    "a PGP public key called private": pem("PGP PRIVATE KEY BLOCK", b"\x99" + bytes(90), "\n"),
    "an OpenSSH public key": b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEJyaWFu me@here\n",
    "a program": b'if (strstr(s, "-----BEGIN PRIVATE KEY-----") && strstr(s, "-----END PRIVATE KEY-----")) return 1;',
    "a manual": b"starts with\n-----BEGIN RSA PRIVATE KEY-----\nand ends with\n-----END RSA PRIVATE KEY-----\n",
    "a magic file": b"0\tstring\t-----BEGIN\\ OPENSSH\\ PRIVATE\\ KEY-----\tOpenSSH private key\n",
    "an example with dots": b"-----BEGIN PRIVATE KEY-----\nMIIE...\n-----END PRIVATE KEY-----\n",
    "an empty block": b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
    "a block without an end": PEM[:60],
    "a block with another end": pem("PRIVATE KEY", PKCS8, end="RSA PRIVATE KEY"),
    "a damaged block": pem("PRIVATE KEY", PKCS8[:-4]),
    "random base64": pem("PRIVATE KEY", bytes(range(200))),
    "a short static key": STATIC.replace("ab" * 16 + "\n", "", 1).encode(),
    "a static key that is no hex": STATIC.replace("ab", "xy").encode(),
    "DER certificate": CERTIFICATE,
    "DER public key": PUBLIC,
    "DER RSA public key": PUBLIC_RSA,
    "DER digest": DIGEST,
    "DER cut short": PKCS8[:-1],
    "PKCS #12 with certificates only": TRUST_STORE,
    "text that begins with 0": b"0 some text, and more of it\n",
    "a PuTTY public part": PUTTY[: PUTTY.index(b"Private")],
    "a DNSSEC public key": b"example. IN DNSKEY 257 3 13 GU6SnQ/Ou+xC5RumuIUIuJZteXT2z0O/\n",
    "a GnuPG key on a card": b"(20:shadowed-private-key(3:rsa(1:n3:abc)))",
    "a GnuPG key on a card, new": b"Key: (shadowed-private-key (rsa (n #00#)))\n",
    "a Tor public key": b"== ed25519v1-public: type0 ==\0\0\0" + bytes(32),
    "the word age": b"AGE-SECRET-KEY-1...\n",
}


@pytest.mark.parametrize("name", KEYS)
def test_private_keys_are_refused(name: str) -> None:
    for path in ("root/x", "opt/app/x.pem", "usr/local/lib/x", "usr/etc/x", "lib.d/x"):
        assert refused(path, KEYS[name]) == "private-key"


@pytest.mark.parametrize("name", NO_KEYS)
def test_what_only_looks_like_a_key_is_not(name: str) -> None:
    assert refused("root/x", NO_KEYS[name]) == ""


@pytest.mark.parametrize("name", KEYS)
def test_packaged_samples_are_no_alarm(name: str) -> None:
    for path in ("usr/share/doc/x", "usr/lib/python3/test/x.pem", "lib/x", "lib64/x", "sbin/x", "nix/store/x"):
        assert refused(path, KEYS[name]) == ""


def test_large_files_are_not_searched() -> None:
    assert not DEFAULT.inspects(b"root/x", LARGEST + 1)
    assert DEFAULT.inspects(b"root/x", LARGEST)
    assert refused("root/x", PEM.rjust(LARGEST)) == "private-key"
    assert refused("root/x", PEM.rjust(LARGEST + 1)) == ""
    assert refused("etc/shadow", b"root:$6$salt$0123456789:1::::::\n".ljust(LARGEST + 1)) == "login-password"
    assert DEFAULT.inspects(b"etc/shadow", 1 << 40)


@given(st.binary())
def test_any_content_can_be_inspected(data: bytes) -> None:
    for path in (b"root/x", *(re.sub(rb"\*+", b"x", secret.paths[0]) for secret in SECRETS)):
        DEFAULT.inspect(path, data)


@given(st.sampled_from(sorted(KEYS)), st.data())
def test_damaged_keys_can_be_inspected(name: str, draw: st.DataObject) -> None:
    data = bytearray(KEYS[name])
    start = draw.draw(st.integers(0, len(data)))
    data[start : start + draw.draw(st.integers(0, 8))] = draw.draw(st.binary(max_size=8))
    DEFAULT.inspect(b"root/x", bytes(data))


HOSTILE = {
    "begins": b"-----BEGIN PRIVATE KEY-----" * 40_000,
    "begins and ends": b"-----BEGIN PRIVATE KEY----------END PRIVATE KEY-----" * 20_000,
    "a long label": b"-----BEGIN " + b"A " * 500_000,
    "a long body": b"-----BEGIN PRIVATE KEY-----\n" + b"A" * 1_000_000 + b"\n-----END PRIVATE KEY-----",
    "short lines": b"-----BEGIN PRIVATE KEY-----\n" + b"A\n" * 50_000 + b"-----END PRIVATE KEY-----",
    "dashes": b"-" * LARGEST,
    "nested DER": b"0\x84\0\x0f\xff\xfa" * 170_000,
    "spaces": b" " * LARGEST,
    "line ends": b"\n" * (LARGEST // 4),
    "colons": b":" * LARGEST,
    "colons and spaces": b": " * (LARGEST // 2),
    "words": b"password " * 110_000,
    "assignments": b"password=" * 110_000,
    "letters": b"a" * LARGEST,
    "dollars": b"rootpw $a$" * 100_000,
    "tabs": b"\t" * LARGEST,
    "hash": b"a:" + b"!" * LARGEST,
    "hash of dollars": b"a:$6$" + b"$" * LARGEST,
    "users": b"USER_" * 200_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_content_takes_no_time(name: str) -> None:
    data = HOSTILE[name][:LARGEST]
    for path in [b"root/x", *(re.sub(rb"\*+", b"x", secret.paths[0]) for secret in SECRETS)]:
        start = time.process_time()
        DEFAULT.inspect(path, data)
        assert time.process_time() - start < 2, path


def run(*words: str, directory: Path) -> None:
    subprocess.run(
        words, cwd=directory, check=True, capture_output=True, env={**os.environ, "GNUPGHOME": str(directory)}
    )


@needs("openssl")
def test_openssl(tmp_path: Path) -> None:
    algorithms = {"rsa": ["RSA"], "ec": ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"], "ed": ["ED25519"]}
    for name, words in algorithms.items():
        run("openssl", "genpkey", "-algorithm", *words, "-out", f"{name}.key", directory=tmp_path)
    run("openssl", "pkey", "-in", "rsa.key", "-out", "traditional.key", "-traditional", directory=tmp_path)
    run("openssl", "pkey", "-in", "ec.key", "-out", "sec1.key", "-traditional", directory=tmp_path)
    run("openssl", "pkey", "-in", "rsa.key", "-out", "der.key", "-outform", "DER", directory=tmp_path)
    secret = ["-aes256", "-passout", "pass:x"]
    run("openssl", "pkey", "-in", "rsa.key", "-out", "encrypted.key", *secret, directory=tmp_path)
    run("openssl", "pkcs8", "-topk8", "-in", "rsa.key", "-out", "encrypted-der.key", "-outform", "DER",
        "-passout", "pass:x", directory=tmp_path)  # fmt: skip
    run("openssl", "rsa", "-in", "rsa.key", "-out", "legacy.key", "-traditional", *secret, directory=tmp_path)
    run("openssl", "req", "-x509", "-key", "rsa.key", "-subj", "/CN=x", "-out", "cert.pem", directory=tmp_path)
    run("openssl", "x509", "-in", "cert.pem", "-outform", "DER", "-out", "cert.der", directory=tmp_path)
    run("openssl", "req", "-new", "-key", "rsa.key", "-subj", "/CN=x", "-out", "request.pem", directory=tmp_path)
    run("openssl", "pkey", "-in", "rsa.key", "-pubout", "-out", "public.pem", directory=tmp_path)
    run("openssl", "pkey", "-in", "rsa.key", "-pubout", "-outform", "DER", "-out", "public.der", directory=tmp_path)
    both = ["-passout", "pass:x", "-in", "cert.pem"]
    run("openssl", "pkcs12", "-export", *both, "-inkey", "rsa.key", "-out", "bundle.key", directory=tmp_path)
    run("openssl", "pkcs12", "-export", *both, "-nokeys", "-out", "trust.p12", directory=tmp_path)
    found = {file.name: refused(f"root/{file.name}", file.read_bytes()) for file in tmp_path.iterdir()}
    assert found == {name: "private-key" if name.endswith(".key") else "" for name in found}
    assert len(found) == 16


@needs("ssh-keygen")
def test_ssh_keygen(tmp_path: Path) -> None:
    for kind in ("ed25519", "ecdsa", "rsa"):
        for secret in ("", "secret"):
            name = f"{kind}{secret}"
            run("ssh-keygen", "-q", "-t", kind, "-N", secret, "-C", "", "-f", name, directory=tmp_path)
            run("ssh-keygen", "-q", "-t", kind, "-N", secret, "-m", "PEM", "-f", f"{name}pem", directory=tmp_path)
    found = {file.name: refused(f"root/{file.name}", file.read_bytes()) for file in tmp_path.iterdir()}
    assert found == {name: "" if name.endswith(".pub") else "private-key" for name in found}
    assert len(found) == 24


@needs("gpg", "gpg-agent", "gpgconf")
def test_gpg(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    unlocked = ["gpg", "--batch", "--pinentry-mode", "loopback", "--passphrase", ""]
    try:
        run(*unlocked, "--quick-generate-key", "x@example.org", "ed25519", directory=tmp_path)
        run(*unlocked, "--armor", "--output", "secret.asc", "--export-secret-keys", directory=tmp_path)
        run(*unlocked, "--armor", "--output", "public.asc", "--export", directory=tmp_path)
    finally:
        run("gpgconf", "--kill", "gpg-agent", directory=tmp_path)
    files = [tmp_path / "secret.asc", *(tmp_path / "private-keys-v1.d").iterdir()]
    assert [refused(f"root/{file.name}", file.read_bytes()) for file in files] == ["private-key"] * len(files)
    assert len(files) > 1
    assert refused("root/public.asc", (tmp_path / "public.asc").read_bytes()) == ""
    assert refused("root/pubring.kbx", (tmp_path / "pubring.kbx").read_bytes()) == ""
