"""The policy: what is never recorded, what is refused, and the file that changes it.

No key in here is real or even a sample: keys are built from their ASN.1 or made by the real programs.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import time
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import jsonschema
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gitstate.core import documents
from gitstate.core.entry import Kind
from gitstate.core.errors import ConfigError, UsageError
from gitstate.core.names import octal
from gitstate.tree.policy import POLICY_PATH, Policy, Refusal, Treatment, parse, remedies, rules
from gitstate.tree.policy.declaration import PolicyFile
from gitstate.tree.policy.globs import literal_parents, translate, union
from gitstate.tree.policy.known import SECRETS
from gitstate.tree.policy.rules import LARGEST, METADATA_ONLY_DIRECTORIES, SKIPPED_FILES
from tests.support import PROJECT, needs

FILE, DIRECTORY, SYMLINK = Kind.FILE, Kind.DIRECTORY, Kind.SYMLINK
RECORD, SKIP, METADATA_ONLY = Treatment
DEFAULT = parse(None, "policy.toml")


def policy(text: str) -> Policy:
    return parse(b"version = 1\n" + text.encode(), "policy.toml")


def refused(path: str, data: bytes, by: Policy = DEFAULT) -> str:
    """The rule that refuses ``data`` at ``path``; empty for none."""
    refusal = by.inspect(path.encode(), data)
    assert refusal is None or by.inspects(path.encode(), len(data))
    return refusal.rule if refusal else ""


# --- never recorded -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "kind", "treatment"),
    [
        ("proc", DIRECTORY, METADATA_ONLY),
        ("proc", SYMLINK, RECORD),
        ("process", DIRECTORY, RECORD),
        ("srv/proc", DIRECTORY, RECORD),
        ("sys", DIRECTORY, METADATA_ONLY),
        ("run", DIRECTORY, METADATA_ONLY),
        ("var/run", DIRECTORY, RECORD),
        ("tmp", DIRECTORY, METADATA_ONLY),
        ("tmp", SYMLINK, RECORD),
        ("tmp", FILE, RECORD),
        ("tmp\n", DIRECTORY, RECORD),
        ("var/tmp", DIRECTORY, METADATA_ONLY),
        ("home/me/tmp", DIRECTORY, RECORD),
        ("dev", DIRECTORY, RECORD),
        ("dev/shm", DIRECTORY, METADATA_ONLY),
        ("dev/pts", DIRECTORY, METADATA_ONLY),
        ("dev/mqueue", DIRECTORY, METADATA_ONLY),
        ("dev/hugepages", DIRECTORY, METADATA_ONLY),
        ("dev/console", Kind.CHARACTER, RECORD),
        ("dev/sda", Kind.BLOCK, RECORD),
        ("dev/initctl", Kind.FIFO, RECORD),
        ("media", DIRECTORY, RECORD),
        ("mnt", DIRECTORY, RECORD),
        ("var/cache/apt", DIRECTORY, RECORD),
        ("var/cache/apt/archives", DIRECTORY, METADATA_ONLY),
        ("var/cache/apt/pkgcache.bin", FILE, SKIP),
        ("var/cache/apt/srcpkgcache.bin", FILE, SKIP),
        ("var/cache/apt/x.bin", DIRECTORY, RECORD),
        ("var/cache/apt/x/y.bin", FILE, RECORD),
        ("usr/lib/firmware/x.bin", FILE, RECORD),
        ("var/lib/apt/lists", DIRECTORY, METADATA_ONLY),
        ("var/lib/apt/extended_states", FILE, RECORD),
        ("var/cache/dnf", DIRECTORY, METADATA_ONLY),
        ("var/cache/libdnf5", DIRECTORY, METADATA_ONLY),
        ("var/cache/yum", DIRECTORY, METADATA_ONLY),
        ("var/cache/PackageKit", DIRECTORY, METADATA_ONLY),
        ("var/cache/zypp", DIRECTORY, METADATA_ONLY),
        ("var/cache/pacman/pkg", DIRECTORY, METADATA_ONLY),
        ("var/lib/pacman/sync", DIRECTORY, METADATA_ONLY),
        ("var/lib/pacman/local", DIRECTORY, RECORD),
        ("var/cache/apk", DIRECTORY, METADATA_ONLY),
        ("var/cache/man", DIRECTORY, RECORD),
        ("var/lib/dpkg/status-old", FILE, SKIP),
        ("var/lib/dpkg/status", FILE, RECORD),
        ("var/cache/ldconfig/aux-cache", FILE, SKIP),
        ("var/lib/docker", DIRECTORY, METADATA_ONLY),
        ("var/lib/dockershim", DIRECTORY, RECORD),
        ("var/lib/containers", DIRECTORY, METADATA_ONLY),
        ("var/x.pid", FILE, SKIP),
        ("var/lib/postgresql/15/main/postmaster.pid", FILE, SKIP),
        ("var/lib/x.pid", DIRECTORY, RECORD),
        ("var/lib/x.pid", SYMLINK, RECORD),
        ("var/lib/x.pids", FILE, RECORD),
        ("usr/share/doc/x.pid", FILE, RECORD),
        ("etc/passwd", FILE, RECORD),
    ],
)
def test_default_treatment(path: str, kind: Kind, treatment: Treatment) -> None:
    assert DEFAULT.treatment(path.encode(), kind) is treatment


def test_a_file_changes_the_treatment() -> None:
    changed = policy("""
        record.skip = ["var/log/**/*.gz", "home/*/.cache", "opt/both"]
        record.metadata_only = ["scratch", "opt/both"]
        record.keep = ["var/lib/docker", "home/root/.cache", "var/lib/dpkg/status-old", "var/log/keep.gz"]
        """)
    expected = {
        ("var/log/a.gz", FILE): SKIP,
        ("var/log/a/b/c.gz", FILE): SKIP,
        ("var/log/c.gz", SYMLINK): SKIP,
        ("var/log/keep.gz", FILE): RECORD,
        ("var/log/a", FILE): RECORD,
        ("home/me/.cache", DIRECTORY): SKIP,
        ("home/root/.cache", DIRECTORY): RECORD,
        ("home/.cache", DIRECTORY): RECORD,
        ("scratch", DIRECTORY): METADATA_ONLY,
        ("scratch", FILE): RECORD,
        ("opt/both", DIRECTORY): SKIP,
        ("var/lib/docker", DIRECTORY): RECORD,
        ("var/lib/containers", DIRECTORY): METADATA_ONLY,
        ("var/lib/dpkg/status-old", FILE): RECORD,
        ("var/x.pid", FILE): SKIP,
    }
    assert {key: changed.treatment(key[0].encode(), key[1]) for key in expected} == expected


# --- private keys ---------------------------------------------------------------------------------------------------


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


# --- other secrets --------------------------------------------------------------------------------------------------

SHA512 = "$6$saltsalt$" + "x" * 86
WG = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk="
PASSWD = "root:x:0:0:root:/root:/bin/bash\ndaemon:*:1:1::/:/usr/sbin/nologin\n+::::::\n"
SHADOW = "root:*:19000:0:99999:7:::\nme:!:19000:0:99999:7:::\nyou:!!:19000::::::\nsync:!*:1::::::\n"
NM = "[wifi]\nssid=x\n[wifi-security]\nkey-mgmt=wpa-psk\npsk-flags=1\n"
WPA = 'ctrl_interface=/run\nnetwork={\n\tssid="x"\n\tkey_mgmt=WPA-PSK\n\t#psk="secret"\n\tpsk=\n}\n'
PPP = '# client server secret\n*\thostname\t""\t*\nguest\thostname\t"*"\t-\n#me * secret *\n'

FOUND = [
    ("host-key", "etc/ssh/ssh_host_rsa_key", "by its name alone"),
    ("host-key", "etc/dropbear/dropbear_ed25519_host_key", "x"),
    ("host-key", "etc/tinyssh/sshkeydir/.ed25519.sk", "x"),
    ("machine-id", "etc/machine-id", "b8c1f1b6f0d04a3c8a9d1f2e3c4b5a69\n"),
    ("machine-id", "var/lib/dbus/machine-id", "b8c1f1b6f0d04a3c8a9d1f2e3c4b5a69\n"),
    ("random-seed", "var/lib/systemd/random-seed", "\0\1"),
    ("random-seed", "var/lib/urandom/random-seed", "x"),
    ("random-seed", "boot/efi/loader/random-seed", "x"),
    ("random-seed", "boot/loader/random-seed", "x"),
    ("machine-secret", "var/lib/systemd/credential.secret", "x"),
    ("machine-secret", "var/lib/NetworkManager/secret_key", "nm-v2:x"),
    ("login-password", "etc/shadow", SHADOW + f"me:{SHA512}:19000:0:99999:7:::\n"),
    ("login-password", "etc/shadow", SHADOW + f"me:!{SHA512}:19000:0:99999:7:::\n"),
    ("login-password", "etc/shadow", SHADOW + f"me:!*{SHA512}:19000:0:99999:7:::\n"),
    ("login-password", "etc/shadow", "me:$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd:1::::::\n"),
    ("login-password", "etc/shadow", "me:$1$salt$qJH7.N4xYta3aEG/dfqo/0:1::::::\n"),
    ("login-password", "etc/shadow", "me:rqXexS6ZhobKA:1::::::\n"),
    ("login-password", "etc/shadow", "me:_J9..rasmBYk8r9AiWNc:1::::::\n"),
    ("login-password", "etc/shadow", SHADOW + "me::19000:0:99999:7:::\n"),
    ("login-password", "etc/shadow-", f"me:{SHA512}:1::::::"),
    ("login-password", "etc/shadow.dpkg-old", f"me:{SHA512}:1::::::"),
    ("login-password", "var/backups/shadow.bak", f"me:{SHA512}:1::::::"),
    ("login-password", "etc/passwd", PASSWD + "me:rqXexS6ZhobKA:1000:1000::/home/me:/bin/sh\n"),
    ("login-password", "etc/passwd", PASSWD + "me::1000:1000::/home/me:/bin/sh\n"),
    ("login-password", "etc/passwd-", PASSWD + f"me:{SHA512}:1000:1000::/home/me:/bin/sh\n"),
    ("login-password", "etc/group", "staff:rqXexS6ZhobKA:50:me\n"),
    ("login-password", "etc/gshadow", f"root:*::\nstaff:{SHA512}::me\n"),
    ("login-password", "etc/gshadow-", f"staff:!{SHA512}::me\n"),
    ("login-password", "etc/security/opasswd", f"me:1000:2:{SHA512},{SHA512}\n"),
    ("login-password", "var/www/.htpasswd", "me:$apr1$saltsalt$0123456789012345678901\n"),
    ("login-password", "root/anaconda-ks.cfg", f"rootpw --iscrypted {SHA512}\n"),
    ("login-password", "root/anaconda-ks.cfg", f'user --name=me --password="{SHA512}" --iscrypted\n'),
    ("login-password", "root/original-ks.cfg", "rootpw --plaintext secret\n"),
    (
        "login-password",
        "etc/grub.d/40_custom",
        f"password_pbkdf2 root grub.pbkdf2.sha512.10000.{'A' * 128}.{'B' * 128}\n",
    ),
    ("shared-key", "etc/krb5.keytab", "\5\2\0\0\0\x3c"),
    ("shared-key", "srv/http.keytab", "\5\2\0\0\0\x3c"),
    ("shared-key", "etc/munge/munge.key", "x"),
    ("shared-key", "etc/cryptsetup-keys.d/data.key", "x"),
    ("shared-key", "etc/credstore/token", "x"),
    (
        "shared-key",
        "etc/bind/rndc.key",
        'key "rndc-key" {\n\talgorithm hmac-sha256;\n\tsecret "c3VwZXJzZWNyZXQ=";\n};\n',
    ),
    ("shared-key", "etc/ceph/ceph.client.admin.keyring", "[client.admin]\n\tkey = AQBSdFhnAAAAABAAc3VwZXJzZWNyZXQ=\n"),
    ("shared-key", "etc/chrony/chrony.keys", "1 MD5 ahs0ohthaechoozo\n"),
    ("shared-key", "etc/ntp.keys", "10 SHA1 ahs0ohthaechoozo\n"),
    ("vpn-key", "etc/wireguard/wg0.conf", f"[Interface]\nPrivateKey = {WG}\n"),
    ("vpn-key", "etc/wireguard/wg0.conf", f"[Peer]\npresharedkey={WG}\n"),
    ("vpn-key", "etc/wireguard/privatekey", WG + "\n"),
    ("vpn-key", "etc/wireguard/wg0.key", WG),
    ("vpn-key", "etc/systemd/network/50-wg0.netdev", f"[WireGuard]\nPrivateKey={WG}\n"),
    ("vpn-key", "etc/ipsec.secrets", '# x\n: PSK "secret"\n'),
    ("vpn-key", "etc/ipsec.d/site.secrets", "me@here %any : EAP secret\n"),
    ("vpn-key", "etc/swanctl/conf.d/site.conf", "secrets {\n ike-1 {\n  secret = 0sFpZAZqEN6Ti9sqt4ZP5EWcqx\n }\n}\n"),
    ("network-password", "etc/NetworkManager/system-connections/x.nmconnection", NM + "psk=secret\n"),
    ("network-password", "etc/NetworkManager/system-connections/x", NM + "[802-1x]\npassword=secret\n"),
    ("network-password", "etc/NetworkManager/system-connections/x", NM + "[vpn-secrets]\nIPSec secret=x\n"),
    ("network-password", "etc/NetworkManager/system-connections/x", NM + f"[wireguard]\nprivate-key={WG}\n"),
    ("network-password", "etc/wpa_supplicant/wpa_supplicant.conf", WPA + 'network={\n\tpsk="secret"\n}\n'),
    ("network-password", "etc/wpa_supplicant/wlan0.conf", 'network={\n password="secret"\n}\n'),
    (
        "network-password",
        "etc/netplan/01.yaml",
        'network:\n  wifis:\n    w:\n      access-points:\n        "x":\n          password: "s"\n',
    ),
    ("network-password", "etc/network/interfaces", "iface wlan0 inet dhcp\n  wpa-psk secret\n"),
    ("network-password", "etc/network/interfaces.d/wlan0", "iface wlan0 inet dhcp\n\twireless-key s:secret\n"),
    ("network-password", "var/lib/iwd/home.psk", "[Security]\nPreSharedKey=00112233\n"),
    ("network-password", "var/lib/connman/wifi_x/settings", "[wifi_x]\nPassphrase=secret\n"),
    ("network-password", "var/lib/bluetooth/00:11/22:33/info", "[General]\nName=x\n[LinkKey]\nKey=00112233\n"),
    ("stored-password", "etc/ppp/chap-secrets", PPP + "me * secret *\n"),
    ("stored-password", "etc/ppp/pap-secrets", PPP + '"me" provider "my secret"\n'),
    ("stored-password", "etc/apt/auth.conf", "machine deb.example.org login me password secret\n"),
    ("stored-password", "etc/apt/auth.conf.d/x.conf", "machine deb.example.org\n  login me\n  password secret\n"),
    ("stored-password", "root/.netrc", "machine x login me password secret\n"),
    ("stored-password", "home/me/.git-credentials", "https://me:secret@example.org\n"),
    ("stored-password", "etc/ldap.secret", "secret"),
    ("stored-password", "etc/nslcd.conf", "binddn cn=x\nbindpw secret\n"),
    ("stored-password", "etc/sssd/sssd.conf", "[domain/x]\nldap_default_authtok = secret\n"),
    ("stored-password", "etc/mysql/debian.cnf", "[client]\nuser     = debian-sys-maint\npassword = secret\n"),
    ("stored-password", "etc/iscsi/iscsid.conf", "node.session.auth.password = secret\n"),
    ("stored-password", "var/cache/debconf/passwords.dat", "Name: slapd/password1\nTemplate: x\nValue: secret\n"),
    ("stored-password", "etc/fstab", "//srv/home /home cifs username=me,password=secret 0 0\n"),
    ("stored-password", "etc/exim4/passwd.client", "mail.example.org:me:secret\n"),
    ("stored-password", "etc/postfix/sasl_passwd", "[mail.example.org]:587  me:secret\n"),
    ("stored-password", "var/lib/samba/private/secrets.tdb", "TDB file\n\0SECRETS/MACHINE_PASSWORD/EXAMPLE\0x"),
    ("stored-password", "var/lib/samba/private/passdb.tdb", "TDB file\n\0USER_me\0x"),
    ("private-key", "etc/ssl/private/ssl-cert-snakeoil.key", PEM.decode()),
    ("private-key", "etc/wireguard/notes", PEM.decode()),
]

NOT_FOUND = [
    ("etc/ssh/ssh_host_rsa_key.pub", "ssh-rsa AAAAB3NzaC1yc2E= root@x\n"),
    ("etc/ssh/ssh_host_rsa_key", ""),
    ("etc/ssh/ssh_known_hosts", "x ssh-rsa AAAAB3NzaC1yc2E=\n"),
    ("root/ssh_host_rsa_key", "not one by its content\n"),
    ("etc/machine-id", ""),
    ("etc/machine-id", "\n"),
    ("etc/machine-id", "uninitialized\n"),
    ("etc/machine-info", "b8c1f1b6f0d04a3c8a9d1f2e3c4b5a69\n"),
    ("etc/hostname", "lab3\n"),
    ("var/lib/systemd/catalog/database", "x"),
    ("var/lib/NetworkManager/timestamps", "x"),
    ("etc/shadow", SHADOW),
    ("etc/shadow", "root:*LK*:1::::::\nnp:NP:1::::::\nx:x:1::::::\nlong:*NOLOGIN*:1::::::\n"),
    ("etc/shadow", "no line of shadow(5)\n\n:::\n"),
    ("etc/passwd", PASSWD),
    ("etc/passwd", PASSWD + "+@netgroup::::::\n-bad::::::\n"),
    ("etc/passwdqc.conf", "min=disabled,24,11,8,7\n"),
    ("etc/group", "root:x:0:\nstaff::50:me\n+:::\n"),
    ("etc/gshadow", "root:*::\nadm:!::me\nbin:::\n"),
    ("etc/security/opasswd", "averylongname:1000:0:\nabcdefghijklm:1:1:*\n"),
    ("etc/security/pwquality.conf", f"# {SHA512}\n"),
    ("var/www/.htpasswd", "# nobody yet\n"),
    ("root/anaconda-ks.cfg", "rootpw --lock\nuser --name=me\n#rootpw secret\n"),
    ("etc/grub.d/01_users", "password_pbkdf2 root ${GRUB2_PASSWORD}\n"),
    ("boot/grub/grub.cfg", "set timeout=5\n"),
    ("etc/krb5.conf", "[libdefaults]\ndefault_keytab_name = /etc/krb5.keytab\n"),
    ("etc/krb5.keytab", "\5\2"),
    ("etc/iscsi/initiatorname.iscsi", "InitiatorName=iqn.1993-08.org.debian:01:b47cf539f9e0\n"),
    (
        "etc/bind/bind.keys",
        'trust-anchors {\n . initial-key 257 3 8 "AwEAAaz/tAm8yTn4Mfeh5eyI96WSVexTBAvkMgJzkKTO";\n};\n',
    ),
    ("etc/chrony/chrony.keys", "#1 MD5 AVeryLongAndRandomPassword\n"),
    ("etc/chrony/chrony.conf", "keyfile /etc/chrony/chrony.keys\nmakestep 1 3\n"),
    ("etc/wireguard/wg0.conf", f"[Interface]\nPostUp = wg set %i private-key /etc/key\n[Peer]\nPublicKey = {WG}\n"),
    ("etc/wireguard/publickey", WG + "\n"),
    ("etc/wireguard/wg0.pub", WG + "\n"),
    ("etc/systemd/network/50-wg0.netdev", "[WireGuard]\nPrivateKeyFile=/run/key\n"),
    ("etc/ipsec.secrets", '# : PSK "secret"\ninclude /var/lib/strongswan/ipsec.secrets.inc\n'),
    ("etc/swanctl/swanctl.conf", "# secrets {\n  # secret =\n# }\ninclude conf.d/*.conf\n"),
    ("etc/NetworkManager/system-connections/x.nmconnection", NM),
    ("etc/NetworkManager/system-connections/x", "[802-1x]\nprivate-key=/etc/ssl/x.pem\npassword-flags=1\n"),
    ("etc/NetworkManager/NetworkManager.conf", "[main]\nplugins=keyfile\n"),
    ("etc/wpa_supplicant/wpa_supplicant.conf", WPA),
    ("etc/wpa_supplicant/x.conf", 'network={\n\tpassword=ext:pw1\n\tpassword="ext:pw1"\n}\n'),
    ("etc/netplan/01.yaml", "network:\n  ethernets:\n    e: {dhcp4: true}\n  # password: x\n"),
    ("etc/network/interfaces", "auto lo\niface lo inet loopback\n# wpa-psk secret\n"),
    ("var/lib/bluetooth/00:11/22:33/info", "[General]\nName=x\n"),
    ("etc/ppp/chap-secrets", PPP),
    ("etc/ppp/options", "asyncmap 0\nauth\n"),
    ("etc/apt/auth.conf", "# machine x login me password secret\n"),
    ("root/.netrc", "machine x login me\n"),
    ("home/me/.git-credentials", "https://me@example.org\n"),
    ("etc/nslcd.conf", "uid nslcd\n#bindpw secret\n"),
    ("etc/sssd/sssd.conf", "[domain/x]\n# ldap_default_authtok = secret\nkrb5_store_password_if_offline = True\n"),
    ("etc/mysql/debian.cnf", "[client]\nhost = localhost\nuser = root\npassword = \n"),
    ("etc/iscsi/iscsid.conf", "#node.session.auth.password = secret\nnode.session.auth.authmethod = None\n"),
    ("var/cache/debconf/passwords.dat", "Name: slapd/password1\nTemplate: x\nValue: \nOwners: slapd\n"),
    ("var/cache/debconf/config.dat", "Name: x\nValue: secret\n"),
    ("etc/fstab", "//srv/home /home cifs credentials=/etc/cred 0 0\n# //x /y cifs password=z\nUUID=x / ext4 rw 0 1\n"),
    (
        "etc/exim4/passwd.client",
        "# password file used when the local exim is authenticating\n### target.mail.server:login:pw\n",
    ),
    ("etc/postfix/main.cf", "relayhost = [mail.example.org]:587\n"),
    ("var/lib/samba/private/secrets.tdb", "TDB file\n\0SECRETS/SID/LAB3\0x"),
    ("var/lib/samba/private/passdb.tdb", "TDB file\n\0INFO/version\0NEXT_RID\0"),
    ("usr/share/doc/samples/shadow", f"me:{SHA512}:1::::::"),
    ("home/me/shadow", f"me:{SHA512}:1::::::"),
]


@pytest.mark.parametrize(("rule", "path", "content"), FOUND)
def test_secrets_are_refused(rule: str, path: str, content: str) -> None:
    assert refused(path, content.encode("latin-1")) == rule
    assert refused(path, b"") == ""
    assert refused("usr/share/doc/" + path, content.encode("latin-1")) == ""


@pytest.mark.parametrize(("path", "content"), NOT_FOUND)
def test_what_is_no_secret_is_not(path: str, content: str) -> None:
    assert refused(path, content.encode("latin-1")) == ""


def test_every_rule_has_a_case() -> None:
    for secret in SECRETS:
        matches = re.compile(union(secret.paths), re.DOTALL).fullmatch
        assert any(secret.rule == rule and matches(path.encode()) for rule, path, _ in FOUND), secret.paths


def test_no_two_rules_share_a_default_path_by_accident() -> None:
    """The first rule with the path counts, so a later one with the same pattern would never be asked."""
    patterns = [pattern for secret in SECRETS for pattern in secret.paths]
    assert len(patterns) == len(set(patterns))


def test_a_refusal_says_what_to_do() -> None:
    refusal = DEFAULT.inspect(b"etc/ssh/ssh_host_rsa_key", b"x")
    assert refusal == Refusal(
        b"etc/ssh/ssh_host_rsa_key",
        "host-key",
        "the ssh host key of one machine",
        "remove it: every machine needs its own, and `gitstate prepare` removes it for you; "
        "or check in with --allow etc/ssh/ssh_host_rsa_key --because TEXT",
    )
    shadow = DEFAULT.inspect(b"etc/shadow", f"me:{SHA512}:1::::::\nyou:{SHA512}:1::::::\n".encode())
    assert shadow is not None
    assert shadow.why == "the password hash of me and 1 more"
    assert SHA512 not in repr(shadow)


def test_a_refusal_is_one_line_whatever_the_names() -> None:
    for path, data in [
        (b"root/a\nb $(x)", PEM),
        (b"etc/shadow", b"a\x1b[1m\rb\xff:" + SHA512.encode() + b":1::::::\n"),
        (b"etc/shadow", b"\xc2\x85\xe2\x80\xa8:" + SHA512.encode() + b":1::::::\n"),
    ]:
        refusal = DEFAULT.inspect(path, data)
        assert refusal is not None
        assert all(text.isascii() and text.isprintable() for text in (refusal.why, refusal.hint))
        assert "$(x)" not in refusal.hint.replace("'", "\0") or "'root/a" in refusal.hint


# --- what the file allows and refuses -------------------------------------------------------------------------------


def test_allow_in_the_file() -> None:
    allowing = policy("""
        allow = [{path = "etc/ssl/*.key", because = "a test"}, {path = "opt/lic/free", because = "it is free"}]
        refuse.paths = ["opt/lic/*", "usr/share/secret"]
        """)
    assert refused("etc/ssl/a.key", PEM, allowing) == ""
    assert not allowing.inspects(b"etc/ssl/a.key", 1)
    assert refused("etc/ssl/private/a.key", PEM, allowing) == "private-key"
    assert refused("opt/lic/a", b"x", allowing) == "policy"
    assert refused("opt/lic/a", b"", allowing) == ""
    assert refused("opt/lic/free", b"x", allowing) == ""
    assert refused("usr/share/secret", b"x", allowing) == "policy"
    assert allowing.inspects(b"usr/share/secret", 1 << 40)
    assert refused("usr/share/other", PEM, allowing) == ""


def test_allow_on_the_command_line() -> None:
    once = DEFAULT.allowing([(b"/etc/ssh/ssh_host_*_key", "a test"), (rb"root/a\052b", "a test")])
    assert once.digest == DEFAULT.digest
    assert refused("etc/ssh/ssh_host_rsa_key", b"x", once) == ""
    assert refused("root/a*b", PEM, once) == ""
    assert refused("root/aXb", PEM, once) == "private-key"
    assert once.allowing([]).selinux is once.selinux
    assert refused("etc/ssh/ssh_host_rsa_key", b"x") == "host-key"
    assert refused("root/a*b", PEM, once.allowing([(b"root/other", "a test")])) == ""


def test_allowing_keeps_the_rules_of_the_file() -> None:
    once = policy('selinux = true\nrecord.skip = ["a"]\nallow = [{path = "b", because = "x"}]').allowing([(b"c", "x")])
    assert once.selinux
    assert once.treatment(b"a", FILE) is SKIP
    assert [refused(path, PEM, once) for path in "bcd"] == ["", "", "private-key"]


@pytest.mark.parametrize(
    ("path", "because"), [(b"a", ""), (b"a", " "), (b"a**", "x"), (b"a\\b", "x"), (b"../a", "x"), (b"", "x")]
)
def test_an_impossible_allowance_is_a_usage_error(path: bytes, because: str) -> None:
    with pytest.raises(UsageError):
        DEFAULT.allowing([(path, because)])


def test_recording_everything() -> None:
    everything = policy('selinux = true\nrecord.skip = ["a"]\nrefuse.paths = ["b"]').recording_everything()
    assert everything.selinux
    for path in (b"a", b"proc", b"var/x.pid", b"var/lib/dpkg/status-old"):
        assert {everything.treatment(path, kind) for kind in Kind} == {RECORD}
    assert not any(everything.inspects(path, 9) for path in (b"b", b"etc/shadow", b"root/x", b"etc/a\nb"))


# --- the digest -----------------------------------------------------------------------------------------------------

DIGESTS = [
    "",
    "selinux = true",
    'record.skip = ["a"]',
    'record.skip = ["a", "b"]',
    'record.skip = ["ab"]',
    'record.metadata_only = ["a"]',
    'record.keep = ["a"]',
    'refuse.paths = ["a"]',
    'allow = [{path = "a", because = "x"}]',
]


def test_the_digest_tells_rules_apart() -> None:
    digests = [policy(text).digest for text in DIGESTS]
    assert len(set(digests)) == len(DIGESTS)
    assert all(len(digest) == 20 for digest in digests)


def test_the_digest_is_of_the_rules_not_of_the_text() -> None:
    assert policy("").digest == DEFAULT.digest == policy("# nothing\nselinux = false").digest
    assert policy('record.skip = ["a", "b"]').digest == policy('record = {skip = ["b", "a", "b"]}').digest
    assert policy('record.metadata_only = ["proc"]').digest == DEFAULT.digest
    one, two = (f'allow = [{{path = "a", because = "{why}"}}]' for why in "xy")
    assert policy(one).digest == policy(two).digest


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("_RULES_VERSION", rules._RULES_VERSION + 1),
        ("METADATA_ONLY_DIRECTORIES", METADATA_ONLY_DIRECTORIES[1:]),
        ("SKIPPED_FILES", SKIPPED_FILES[1:]),
        ("SECRETS", SECRETS[1:]),
    ],
)
def test_the_digest_changes_with_the_defaults(name: str, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, name, value)
    assert Policy(rules.Rules()).digest != DEFAULT.digest


# --- patterns -------------------------------------------------------------------------------------------------------


def matcher(pattern: bytes) -> Callable[[bytes], object]:
    return re.compile(translate(pattern), re.DOTALL).fullmatch


def reference(pattern: bytes, path: bytes) -> bool:
    """What docs/policy.md says, as plainly and slowly as can be."""
    names, parts = pattern.split(b"/"), path.split(b"/")

    @cache
    def rest(i: int, j: int) -> bool:
        if i == len(names):
            return j == len(parts)
        if names[i] == b"**":
            return j < len(parts) if i + 1 == len(names) else any(rest(i + 1, k) for k in range(j, len(parts) + 1))
        return j < len(parts) and reference_name(names[i], parts[j]) and rest(i + 1, j + 1)

    return rest(0, 0)


def reference_name(pattern: bytes, name: bytes) -> bool:
    if not pattern:
        return not name
    if pattern[:1] == b"*":
        return any(reference_name(pattern[1:], name[k:]) for k in range(len(name) + 1))
    if pattern[:1] == b"\\":
        return name[:1] == bytes([int(pattern[1:4], 8)]) and reference_name(pattern[4:], name[1:])
    return bool(name) and (pattern[:1] == b"?" or pattern[:1] == name[:1]) and reference_name(pattern[1:], name[1:])


TOKENS = st.sampled_from([b"a", b"b", b".", b"*", b"?", rb"\141", rb"\052", b"\n", b"\xff"])
PATTERN_NAMES = st.one_of(st.just(b"**"), st.lists(TOKENS, min_size=1, max_size=6).map(b"".join)).filter(
    lambda name: name == b"**" or (b"**" not in name and name not in (b".", b".."))
)
PATTERNS = st.lists(PATTERN_NAMES, min_size=1, max_size=5).map(b"/".join)
NAMES = st.lists(st.sampled_from([b"a", b"b", b".", b"*", b"\n", b"\xff"]), min_size=1, max_size=5).map(b"".join)
PATHS = st.lists(NAMES, min_size=1, max_size=6).map(b"/".join)


@given(PATTERNS, PATHS)
@example(b"**/a/**/b", b"a/a/b")
@example(b"**/a*b/**/**/*", b"aab/x")
@example(b"*a*ab", b"aaab")
@example(b"a/**", b"a")
def test_patterns_match_what_the_manual_says(pattern: bytes, path: bytes) -> None:
    assert bool(matcher(pattern)(path)) == reference(pattern, path)


@given(PATTERNS, st.data())
def test_patterns_match_what_was_made_from_them(pattern: bytes, draw: st.DataObject) -> None:
    names: list[bytes] = []
    for index, name in enumerate(parts := pattern.split(b"/")):
        if name == b"**":
            names += draw.draw(st.lists(NAMES, min_size=int(index + 1 == len(parts)), max_size=3))
        else:
            plain = name.replace(rb"\141", b"a").replace(rb"\052", b"\0").replace(b"?", b"b")
            pieces = plain.split(b"*")
            stars = [draw.draw(st.sampled_from([b"", b"a", b"ba"])) for _ in pieces[1:]]
            made = pieces[0] + b"".join(a + b for a, b in zip(stars, pieces[1:], strict=True))
            names.append(made.replace(b"\0", b"*") or b"a")
    assert matcher(pattern)(b"/".join(names))


@given(st.lists(st.binary(min_size=1).filter(lambda name: not {0, 47} & set(name)), min_size=1).map(b"/".join), PATHS)
def test_an_octal_name_is_a_pattern_of_itself(path: bytes, other: bytes) -> None:
    if {b".", b".."} & set(path.split(b"/")):
        return
    matches = matcher(octal(path).encode())
    assert matches(path)
    assert bool(matches(other)) == (path == other)


@given(st.binary())
def test_any_bytes_are_a_pattern_or_a_value_error(text: bytes) -> None:
    try:
        expression = translate(text)
    except ValueError:
        return
    assert re.compile(expression, re.DOTALL).groups == 0


def test_wildcards_end_at_slashes_and_take_dots() -> None:
    assert matcher(b"a/*")(b"a/.x")
    assert not matcher(b"a/*")(b"a/b/c")
    assert not matcher(b"a?b")(b"a/b")
    assert matcher(b"a??b")("aéb".encode())
    assert not matcher(b"[ab]{c}")(b"a")
    assert matcher(b"[ab]{c}!# ")(b"[ab]{c}!# ")
    assert not matcher(b"A")(b"a")


def test_no_patterns_match_nothing() -> None:
    assert not re.fullmatch(union([]), b"")
    assert not re.fullmatch(union([]), b"x")


def test_literal_parents() -> None:
    assert literal_parents(rb"a/b\052c/d") == [b"a", b"a/b*c"]
    assert literal_parents(b"a/*/c/d") == [b"a"]
    assert literal_parents(b"**/c") == []
    assert literal_parents(b"a") == []


RUNAWAY = [
    (b"*a" * 500 + b"b", b"a" * 4000),
    (b"*" + b"a*" * 500 + b"b", b"a" * 4000),
    (b"?*" * 500 + b"b", b"a" * 4000),
    (b"**/a/" * 200 + b"b", b"a/" * 2000 + b"a"),
    (b"**/*a*/" * 140 + b"b", b"aa/" * 1300 + b"a"),
    (b"**/" * 300 + b"b", b"a/" * 2000 + b"a"),
    (b"a/" * 200 + b"**/" + b"*/" * 300 + b"b", b"a/" * 2000 + b"a"),
    (b"**/" + b"*a*a*a/" * 120 + b"b", b"aaaa/" * 800 + b"a"),
]


@pytest.mark.parametrize(("pattern", "path"), RUNAWAY)
def test_no_pattern_runs_away(pattern: bytes, path: bytes) -> None:
    assert len(pattern) <= 1024
    matches = matcher(pattern)
    start = time.process_time()
    assert not matches(path)
    assert time.process_time() - start < 1


# --- the file -------------------------------------------------------------------------------------------------------

GOOD = [
    "version = 1",
    "version = 1\nselinux = true",
    "version = 1\n[record]\n[refuse]",
    'version = 1\n[record]\nskip = ["a"]\nmetadata_only = ["b/*"]\nkeep = ["c/**", "**/d"]',
    'version = 1\n[refuse]\npaths = ["a b/é", \'caf\\351\', "[x]"]',
    'version = 1\n[[allow]]\npath = "etc/*.key"\nbecause = "it is public"',
    "version = 1\nallow = []",
    'version = 1\n[[allow]]\npath = "a"\nbecause = "ä"\n[[allow]]\npath = "a"\nbecause = " again "',
    f'version = 1\nrecord.skip = ["{"x" * 1024}"]',
    f"version = 1\nrecord.skip = {['a'] * 256}",
    "version = 1\nrecord.skip = ['\\001\\377', '...', '.a', 'a.', '..a/b..', '* ?*']",
]

BAD = [
    ("", "version"),
    ("version = 2", "version 2"),
    ("version = 0", "version is 0, not 1"),
    ("version = true", "version is True, not 1"),
    ('version = "1"', "version is '1', not 1"),
    ("version = [1]", "version"),
    ("version = 1\nselinux = 1", "selinux is 1,"),
    ('version = 1\nselinux = "true"', "selinux is 'true',"),
    ("version = 1\nskip = []", "skip"),
    ("version = 1\nrecord.skipp = []", "record.skipp"),
    ("version = 1\nrefuse.skip = []", "refuse.skip"),
    ("version = 1\n'a\\b' = 1", "a\\\\b"),
    ("version = 1\nrecord = 1", "record is 1,"),
    ("version = 1\nrecord = []", "record"),
    ("version = 1\nrefuse = ['a']", "refuse"),
    ("version = 1\nrecord.skip = 'a'", "record.skip is 'a',"),
    ("version = 1\nrecord.metadata_only = {}", "record.metadata_only"),
    ("version = 1\nrecord.keep = [1]", "record.keep[0] is 1,"),
    ("version = 1\nrefuse.paths = ['a', ['b']]", "refuse.paths[1]"),
    ("version = 1\nrecord.skip = ['a', '']", "record.skip[1] ''"),
    ("version = 1\nrecord.skip = ['/a']", "record.skip[0] '/a'"),
    ("version = 1\nrecord.skip = ['a/']", "record.skip[0] 'a/'"),
    ("version = 1\nrecord.skip = ['a//b']", "record.skip[0] 'a//b'"),
    ("version = 1\nrecord.skip = ['./a']", "record.skip[0] './a'"),
    ("version = 1\nrecord.skip = ['a/../b']", "record.skip[0] 'a/../b'"),
    ("version = 1\nrecord.skip = ['a/..']", "record.skip[0] 'a/..'"),
    ("version = 1\nrecord.skip = ['a**']", "record.skip[0] 'a**'"),
    ("version = 1\nrecord.skip = ['a/**b']", "record.skip[0] 'a/**b'"),
    ("version = 1\nrecord.skip = ['***']", "record.skip[0] '***'"),
    ("version = 1\nrecord.skip = ['a\\b']", "record.skip[0] 'a\\\\b'"),
    ("version = 1\nrecord.skip = ['a\\47']", "record.skip[0] 'a\\\\47'"),
    ("version = 1\nrecord.skip = ['a\\477']", "record.skip[0] 'a\\\\477'"),
    ("version = 1\nrecord.skip = ['a\\']", "record.skip[0] 'a\\\\'"),
    ("version = 1\nrecord.skip = ['a\\057b']", "record.skip[0] 'a\\\\057b'"),
    ("version = 1\nrecord.skip = ['a\\000']", "record.skip[0] 'a\\\\000'"),
    ('version = 1\nrecord.skip = ["a\\u0000"]', "record.skip[0] 'a\\x00'"),
    (f'version = 1\nrecord.skip = ["{"x" * 1025}"]', f"record.skip[0] is '{'x' * 56}..."),
    (f"version = 1\nrecord.skip = {['a'] * 257}", "record.skip is a list of 257,"),
    ("version = 1\nallow = 1", "allow is 1,"),
    ("version = 1\nallow = ['a']", "allow[0] is 'a',"),
    ("version = 1\n[allow]\npath = 'a'\nbecause = 'b'", "allow"),
    ("version = 1\n[[allow]]", "allow[0].path"),
    ("version = 1\n[[allow]]\npath = 'a'", "allow[0].because"),
    ("version = 1\n[[allow]]\nbecause = 'a'", "allow[0].path"),
    ("version = 1\n[[allow]]\npath = 'a'\nbecause = ''", "allow[0].because is '',"),
    ("version = 1\n[[allow]]\npath = 'a'\nbecause = '  '", "allow[0].because is '  ',"),
    ('version = 1\n[[allow]]\npath = "a"\nbecause = "a\\nb"', "allow[0].because is 'a\\nb',"),
    ("version = 1\n[[allow]]\npath = 'a'\nbecause = 1", "allow[0].because is 1,"),
    ("version = 1\n[[allow]]\npath = '/a'\nbecause = 'x'", "allow[0].path '/a'"),
    ("version = 1\n[[allow]]\npath = 'a'\nbecause = 'x'\nuntil = 2030", "allow[0].until"),
    ("version = 1\nallow = [" + "{path = 'a', because = 'x'}, " * 257 + "]", "allow is a list of 257,"),
]

BAD_FOR_PARSE_ONLY = [
    (b"version = 1\nrecord\n", "line 2"),
    (b"version = 1\nversion = 1\n", "line 2"),
    (b"version = 1\n# \xff", "line 2"),
    (b"\xef\xbb\xbfversion = 1", "line 1"),
    (b"version = 1\n" + b"#" * 40_000, "32 KiB"),
    (b"x = " + b"[" * 30_000, "policy.toml"),
    (b"version = " + b"9" * 5_000, "policy.toml"),
    (b"version = 1\na" + b".a" * 1001 + b" = 1", "line 2"),
    (b"version = 1\nrecord.skip = ['**']", "line 2: record leaves out etc"),
    (b"version = 1\nrecord.skip = ['etc/gitstate']", "line 2: record leaves out etc/gitstate"),
    (b"version = 1\n[record]\nmetadata_only = ['e*']", "line 2: record leaves out etc"),
    (b"version = 1\nrecord.skip = ['**/*.toml']", "etc/gitstate/policy.toml"),
    (b"version = 1\nrecord.keep = ['tmp/x']", "line 2: record.keep[0] lies in tmp"),
    (b"version = 1\nrecord.keep = ['a', 'var/lib/docker/**/x']", "record.keep[1] lies in var/lib/docker"),
    (b"version = 1\nrecord = {skip = ['a*'], keep = ['ab/c/d']}", "record.keep[0] lies in ab"),
]


@cache
def schema() -> jsonschema.Draft202012Validator:
    text = (PROJECT / "schemas" / "policy.schema.json").read_text("utf-8")
    jsonschema.Draft202012Validator.check_schema(json.loads(text))
    return jsonschema.Draft202012Validator(json.loads(text))


@pytest.mark.parametrize("text", GOOD)
def test_good_files(text: str) -> None:
    assert isinstance(parse(text.encode(), "policy.toml"), Policy)
    assert schema().is_valid(tomllib.loads(text))


@pytest.mark.parametrize(("text", "words"), BAD)
def test_bad_files(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text.encode(), "/live/policy.toml")
    fault = caught.value
    assert re.match(rf"/live/policy\.toml(, line [1-9]\d*)?: {re.escape(words)}(?![\w.])", fault.message), fault.message
    assert fault.hint
    assert str(fault).isprintable()
    assert not schema().is_valid(tomllib.loads(text))


@pytest.mark.parametrize(("text", "what"), BAD_FOR_PARSE_ONLY)
def test_what_a_schema_can_not_see(text: bytes, what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "policy.toml")
    assert what in caught.value.message
    assert caught.value.hint
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


@given(st.text(alphabet=st.sampled_from("ab./*?\\01237\n\0é "), max_size=12))
@example("a/\n")
@example("**/**")
@example(".\n")
def test_schema_and_parser_agree_on_patterns(text: str) -> None:
    try:
        translate(text.encode())
        is_good = True
    except ValueError:
        is_good = False
    assert schema().is_valid({"version": 1, "refuse": {"paths": [text]}}) == is_good


@given(st.text(alphabet=st.sampled_from("a \n\t\x7f\x1fé"), max_size=5))
def test_schema_and_parser_agree_on_reasons(text: str) -> None:
    try:
        policy(f'allow = [{{path = "a", because = {json.dumps(text)}}}]'.replace("\x7f", "\\u007f"))
        is_good = True
    except ConfigError:
        is_good = False
    assert schema().is_valid({"version": 1, "allow": [{"path": "a", "because": text}]}) == is_good


ODD = st.one_of(
    st.booleans(), st.integers(-1, 3), st.sampled_from(["", "a", "**"]), st.lists(st.integers(), max_size=1)
)
TEXTS = st.one_of(st.sampled_from(["a", "a/*", "**/b", "/a", "", "because"]), ODD)


def tables(*keys: str, values: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    """Tables with some of ``keys``, now and then with a wrong one, or no table at all."""
    known = st.fixed_dictionaries({}, optional={key: st.one_of(values, ODD) for key in keys})
    return st.one_of(known, known, known.map(lambda table: {**table, "other": 1}), ODD)


LISTS = st.lists(TEXTS, max_size=3)
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "version": st.one_of(st.just(1), st.just(1), st.just(1), ODD),
        "selinux": st.one_of(st.booleans(), ODD),
        "record": tables("skip", "metadata_only", "keep", values=LISTS),
        "refuse": tables("paths", values=LISTS),
        "allow": st.one_of(st.lists(tables("path", "because", values=TEXTS), max_size=2), ODD),
        "other": ODD,
    },
)


@given(DOCUMENTS)
def test_schema_and_parser_agree_on_documents(value: dict[str, object]) -> None:
    try:
        documents.parse(PolicyFile, documents.Source("policy.toml", value)).rules()
        is_good = True
    except ConfigError:
        is_good = False
    assert schema().is_valid(value) == is_good


@given(st.one_of(st.binary(), st.text(alphabet="version = 1\n[]{}\"'.#\\r").map(str.encode)))
def test_any_bytes_are_a_policy_or_a_fault(text: bytes) -> None:
    try:
        parse(text, "policy.toml")
    except ConfigError as fault:
        told = str(fault)
    else:
        told = ""
    assert told.isprintable()


@pytest.mark.parametrize(
    "text",
    [
        b"version = 1\n" + b"".join(b"a%d" % number + b".a" * 999 + b" = 1\n" for number in range(16)),
        b"version = 1\na = " + b"{a=" * 10_000,
        b"version = 1\nrecord.skip = " + repr(["*a" * 60 + "b"] * 250).encode(),
        b"version = 1\nrecord.skip = " + repr([f"**/?{number}*x" for number in range(256)]).encode(),
        b"version = 1\nrecord.keep = " + repr(["a/" * 60 + "b"] * 250).encode(),
    ],
)
def test_no_file_takes_long(text: bytes) -> None:
    assert len(text) <= 32 << 10
    start = time.process_time()
    try:
        hostile = parse(text, "policy.toml")
        for _ in range(100):
            hostile.treatment(b"usr/share/" + b"a" * 200, FILE)
    except ConfigError:
        pass
    assert time.process_time() - start < 3


# --- the manual -----------------------------------------------------------------------------------------------------


def test_the_manual_names_every_default_and_every_rule() -> None:
    manual = (PROJECT / "docs" / "policy.md").read_text("utf-8")
    words = set(re.findall(r"`([^`\n]+)`", manual))
    missing = {pattern.decode() for pattern in (*METADATA_ONLY_DIRECTORIES, *SKIPPED_FILES)} - words
    assert not missing
    assert {secret.rule for secret in SECRETS} | {"private-key", "policy"} <= words


def test_the_examples_of_the_manual_are_policies() -> None:
    manual = (PROJECT / "docs" / "policy.md").read_text("utf-8")
    examples = [
        re.sub(r"^  ", "", text, flags=re.MULTILINE) for text in re.findall(r"```toml\n(.*?)```", manual, re.DOTALL)
    ]
    assert len(examples) == 3
    for text in examples:
        parse(text.encode(), "docs/policy.md")
        assert schema().is_valid(tomllib.loads(text))


def test_the_path_of_the_policy_file_is_recorded() -> None:
    assert POLICY_PATH == b"etc/gitstate/policy.toml"
    assert DEFAULT.treatment(POLICY_PATH, FILE) is RECORD


def test_each_refusal_has_its_own_remedy() -> None:
    one = Refusal(b"etc/machine-id", "machine-id", "the identity of one machine", "empty it")
    other = Refusal(b"etc/key", "private-key", "a private key", "move it out")
    assert remedies([one]) == "empty it"
    assert remedies([one, other]).splitlines() == ["/etc/machine-id: empty it", "/etc/key: move it out"]
    assert remedies([other] * 7).splitlines()[4:] == ["/etc/key: move it out", "and 2 more"]
