"""What else has no place in history: files known by their path, each with a look at its content.

A rule looks for the secret itself (a hash, a value after ``password =``), so that what packages install, with everything
commented out or left empty, is no alarm.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

Finder = Callable[[bytes], str]
"""Why this content is refused, in words; empty if it isn't."""


@dataclass(frozen=True, slots=True)
class Secret:
    """One rule. ``paths`` are patterns of globs.py; ``hint`` is what to do besides --allow."""

    rule: str
    paths: tuple[bytes, ...]
    find: Finder
    hint: str


def _always(why: str) -> Finder:
    return lambda data: why


def _where(why: str, *expressions: bytes) -> Finder:
    """For text in which any of ``expressions`` is found; ``^`` is the start of a line."""
    search = re.compile(b"|".join(b"(?:" + one + b")" for one in expressions), re.MULTILINE).search
    return lambda data: why if search(data) else ""


def _assigned(why: str, keys: bytes, value: bytes = rb"[^\s#\"']") -> Finder:
    """For lines that give one of ``keys`` a value: ``key = value``, ``key=value``, ``key: "value"``."""
    return _where(why, rb"^[ \t]*(?:- )?(?:" + keys + rb")[ \t]*[=:][ \t]*[\"']?" + value)


# --- passwords to log in with ---------------------------------------------------------------------------------------

_HASH = re.compile(rb"[!*]*(?:\$[0-9A-Za-z][0-9A-Za-z-]*\$.{8,}|_?[./0-9A-Za-z]{13}|_[./0-9A-Za-z]{19})", re.DOTALL)
_PASSWD_FIELDS: Final = 7
_SHADOW_FIELDS: Final = 9


def _is_hash(field: bytes) -> bool:
    """crypt(3)'s forms. Locked by ``!`` in front it is still a hash that can be cracked, and unlocked again."""
    return field[-1:] not in (b"", b"!", b"*") and _HASH.fullmatch(field) is not None


def _accounts(data: bytes) -> Iterable[list[bytes]]:
    """The lines of passwd(5) and its kin; those of NIS (``+::::::``) carry no password of their own."""
    lines = (line.split(b":") for line in data.split(b"\n") if not line.startswith((b"+", b"-", b"#")))
    return (fields for fields in lines if len(fields) > 1 and fields[0])


def _name(field: bytes) -> str:
    return ascii(field[:32].decode("utf-8", "replace")).strip("'\"")


def _hashes(data: bytes) -> str:
    names = [_name(fields[0]) for fields in _accounts(data) if _is_hash(fields[1])]
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"the password hash of {names[0]}{more}" if names else ""


def _logins(data: bytes) -> str:
    """passwd and shadow: an empty field there is a login without a password. In group files it means nothing."""
    empty = [
        _name(fields[0])
        for fields in _accounts(data)
        if not fields[1] and len(fields) in (_PASSWD_FIELDS, _SHADOW_FIELDS)
    ]
    return _hashes(data) or (f"{empty[0]} can log in without a password" if empty else "")


def _old_hashes(data: bytes) -> str:
    """opasswd: ``user:uid:count:hash,hash``."""
    return "the hashes of old passwords" if any(_is_hash(field) for field in re.split(rb"[:,\n]", data)) else ""


# --- other forms ----------------------------------------------------------------------------------------------------

_EMPTY_MACHINE_ID: Final = (b"", b"uninitialized")
_PPP_WORD = re.compile(rb"\"[^\"\n]*\"|[^\s\"]+")
_PPP_NO_SECRET: Final = (b'""', b'"*"', b"*")
_PPP_SECRET_WORD: Final = 2


def _machine_id(data: bytes) -> str:
    return "" if data.strip() in _EMPTY_MACHINE_ID else "the identity of one machine"


def _ppp(data: bytes) -> str:
    """``client server secret addresses``; Debian's file comes with ``""`` and ``"*"``."""
    for line in data.split(b"\n"):
        words = _PPP_WORD.findall(line)
        if len(words) > _PPP_SECRET_WORD and line.lstrip()[:1] != b"#" and words[2] not in _PPP_NO_SECRET:
            return "the password of a PPP account"
    return ""


def _keytab(data: bytes) -> str:
    return "Kerberos keys" if data[:2] in (b"\5\2", b"\5\1") and len(data) > 2 else ""


_KEY_44 = rb"[A-Za-z0-9+/]{43}="
_AGAIN = "each machine makes its own again"

SECRETS: Final = (
    Secret(
        "host-key",
        (b"etc/ssh/ssh_host_*_key", b"etc/dropbear/dropbear_*_host_key", b"etc/tinyssh/sshkeydir/.*.sk"),
        _always("the ssh host key of one machine"),
        "remove it: every machine needs its own, and `gitstate prepare` will remove it for you",
    ),
    Secret(
        "machine-id",
        (b"etc/machine-id", b"var/lib/dbus/machine-id"),
        _machine_id,
        "empty it with `truncate -s 0`: every machine needs its own, and `gitstate prepare` will empty it for you",
    ),
    Secret(
        "random-seed",
        (
            b"var/lib/systemd/random-seed",
            b"var/lib/urandom/random-seed",
            b"var/lib/random-seed",
            b"var/lib/misc/random-seed",
            b"var/lib/seedrng/*",
            b"boot/**/loader/random-seed",
            b"efi/loader/random-seed",
        ),
        _always("the random seed of one machine"),
        f"remove it: {_AGAIN}",
    ),
    Secret(
        "machine-secret",
        (
            b"var/lib/systemd/credential.secret",
            b"var/lib/NetworkManager/secret_key",
            b"var/lib/ubuntu-advantage/private/**",
        ),
        _always("a secret made for one machine"),
        f"remove it: {_AGAIN}",
    ),
    Secret(
        "login-password",
        (b"etc/passwd*", b"etc/shadow*", b"var/backups/passwd.bak", b"var/backups/shadow.bak"),
        _logins,
        "lock it with `usermod -p '*' NAME` (`passwd -l` keeps the hash), in backup copies too",
    ),
    Secret(
        "login-password",
        (
            b"etc/group*",
            b"etc/gshadow*",
            b"var/backups/group.bak",
            b"var/backups/gshadow.bak",
            b"**/.htpasswd",
            b"**/htpasswd",
        ),
        _hashes,
        "remove the hash (of a group: `gpasswd -r NAME`)",
    ),
    Secret("login-password", (b"etc/security/opasswd",), _old_hashes, "empty it with `truncate -s 0`"),
    Secret(
        "login-password",
        (b"root/*-ks.cfg",),
        _where("a password of the installation", rb"^[ \t]*(?:rootpw|user|bootloader)\b[^\n]*[ =\"']\$[0-9a-z]+\$"),
        "remove it: nothing reads it after the installation",
    ),
    Secret(
        "login-password",
        (b"etc/grub.d/*", b"boot/**/grub.cfg", b"boot/**/user.cfg"),
        _where("GRUB's password hash", rb"grub\.pbkdf2\.sha512\.[0-9]{1,9}\.[0-9A-Fa-f]{32}"),
        "take it out: clients boot from the network, without this GRUB",
    ),
    Secret(
        "shared-key",
        (b"**/*.keytab", b"**/.k5.*"),
        _keytab,
        "move it out of the prototype: a machine's keytab belongs to that machine",
    ),
    Secret(
        "shared-key",
        (
            b"etc/munge/munge.key",
            b"etc/corosync/authkey",
            b"etc/pacemaker/authkey",
            b"etc/cryptsetup-keys.d/*.key",
            b"crypto_keyfile.bin",
            b"etc/credstore/*",
        ),
        _always("a secret key or credential"),
        "move it out of the prototype: who has it can pass for any machine that has it",
    ),
    Secret(
        "shared-key",
        (b"etc/bind/*.key", b"etc/rndc.key", b"etc/ceph/*.keyring", b"etc/chrony*/**", b"etc/chrony.keys", b"etc/ntp*/*.keys"),
        _where(
            "a shared key",
            rb"^[ \t]*secret[ \t]+\"?[A-Za-z0-9+/]{8}",
            rb"^[ \t]*key[ \t]*=[ \t]*[A-Za-z0-9+/]{16}",
            rb"^[0-9]{1,10}[ \t]+(?:M|MD5|SHA[0-9]*|AES[0-9]*)[ \t]+\S",
        ),
        "move it out of the prototype",
    ),
    Secret(
        "vpn-key",
        (b"etc/wireguard/*", b"etc/systemd/network/**"),
        _where(
            "a WireGuard key",
            rb"^[ \t]*(?i:PrivateKey|PresharedKey)[ \t]*=[ \t]*" + _KEY_44,
        ),
        "keep it in a file that only that machine has, and name it there (PrivateKeyFile=, or `PostUp = wg set …`)",
    ),
    Secret(
        "vpn-key",
        (b"etc/wireguard/*private*", b"etc/wireguard/*.key", b"etc/wireguard/*.psk"),
        _where("a WireGuard key", rb"\A" + _KEY_44 + rb"\s*\Z"),
        "move it out of the prototype: every machine needs its own",
    ),
    Secret(
        "vpn-key",
        (b"etc/ipsec.secrets", b"etc/ipsec.d/*.secrets", b"etc/swanctl/**"),
        _where(
            "a VPN's secret",
            rb"^[^#\n]*:[ \t]*(?:PSK|EAP|XAUTH|NTLM|PIN)[ \t]+[^\s#]",
            rb"^[ \t]*secret[\w-]*[ \t]*=[ \t]*[^\s#]",
        ),
        "move it out of the prototype",
    ),
    Secret(
        "network-password",
        (b"etc/NetworkManager/system-connections/*",),
        _where(
            "the password of a network connection",
            rb"^(?:[\w-]+[ -])?(?:psk|password|password-raw|secret|pin|preshared-key|wep-key[0-3])[ \t]*=[ \t]*\S",
            rb"^private-key[ \t]*=[ \t]*" + _KEY_44,
        ),
        "let the machine or the user keep it (NetworkManager: psk-flags=1)",
    ),
    Secret(
        "network-password",
        (b"etc/wpa_supplicant/*", b"etc/wpa_supplicant.conf", b"etc/netplan/*.yaml"),
        _assigned(
            "the password of a network connection",
            rb"\w{0,40}psk|sae_password|(?:client-key-)?password|wep_key[0-3]|private_key_passwd",
            rb"(?!ext:)[^\s#\"']",
        ),
        "move it out of the prototype",
    ),
    Secret(
        "network-password",
        (b"var/lib/iwd/**", b"var/lib/connman/**", b"etc/network/interfaces", b"etc/network/interfaces.d/**"),
        _where(
            "the password of a network connection",
            rb"^(?:Passphrase|PreSharedKey|SAE-PT-Group[0-9]+|[\w-]*Password)[ \t]*=[ \t]*\S",
            rb"^[ \t]*(?:wpa-(?:psk|password|private-key-passwd)|wireless-key[0-9]?)[ \t]+\S",
        ),
        "move it out of the prototype",
    ),
    Secret(
        "network-password",
        (b"var/lib/bluetooth/**/info",),
        _where("the key of a Bluetooth device", rb"^\[(?:LinkKey|[\w]*LongTermKey|IdentityResolvingKey)\]"),
        "remove it: the pairing belongs to one machine",
    ),
    Secret("stored-password", (b"etc/ppp/*-secrets",), _ppp, "move it out of the prototype"),
    Secret(
        "stored-password",
        (b"etc/apt/auth.conf", b"etc/apt/auth.conf.d/*", b"**/.netrc", b"**/.git-credentials"),
        _where(
            "the password of an account elsewhere",
            rb"^(?![ \t]*#)[^\n]*\bpassword[ \t]+[^\s#]",
            rb"^[ \t]+password[ \t]+[^\s#]",
            rb"^[a-z]+://[^/\s:@]*:[^/\s@]+@",
        ),
        "move it out of the prototype",
    ),
    Secret(
        "stored-password",
        (b"etc/ldap.secret", b"etc/pam_ldap.secret", b"etc/libnss-ldap.secret"),
        _always("the password of a directory account"),
        "use an account without a password, or the machine's keytab",
    ),
    Secret(
        "stored-password",
        (
            b"etc/nslcd.conf",
            b"etc/pam_ldap.conf",
            b"etc/libnss-ldap.conf",
            b"etc/sssd/**",
            b"etc/mysql/debian.cnf",
            b"etc/iscsi/*.conf",
            b"var/cache/debconf/passwords.dat",
        ),
        _where(
            "a stored password",
            rb"^[ \t]*(?:bindpw|rootpw)[ \t]+[^\s#]",
            rb"^[ \t]*(?:ldap_default_authtok|password|[\w.]+\.password(?:_in)?)[ \t]*=[ \t]*[^\s#]",
            rb"^Value:[ \t]*\S",
        ),
        "use an account without a password, or the machine's keytab",
    ),
    Secret(
        "stored-password",
        (b"etc/fstab", b"etc/fstab.d/*"),
        _where("the password of a network share", rb"^[ \t]*[^\s#][^\n]*[ \t,](?:password|pass|passwd)=[^\s,]"),
        "use credentials=FILE with a file that only that machine has, or Kerberos (sec=krb5)",
    ),
    Secret(
        "stored-password",
        (b"etc/exim4/passwd.client", b"etc/postfix/sasl_passwd", b"etc/postfix/sasl/passwd"),
        _where("the password of a mail account", rb"^[ \t]*[^\s#][^\n:]*[:\s][^\n:]*:\S"),
        "move it out of the prototype",
    ),
    Secret(
        "stored-password",
        (b"var/lib/samba/private/*.tdb", b"var/lib/samba/*.tdb", b"etc/samba/*.tdb"),
        _where("Samba's passwords", rb"SECRETS/MACHINE_PASSWORD|\bUSER_[^\0]{1,64}\0"),
        "leave the domain and delete the accounts in the prototype: a machine joins by itself",
    ),
)
