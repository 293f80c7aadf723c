"""The files of a Linux system that hold secrets: by path, each with a finder for its content.

A table: the rule's name, patterns of globs.py, a finder of secrets.py, and what to do other than --allow. The first
rule that has the path counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gitstate.tree.policy.secrets import (
    Finder,
    always,
    assigned,
    hashes,
    keytab,
    logins,
    machine_id,
    matching,
    old_hashes,
    ppp,
)


@dataclass(frozen=True, slots=True)
class Secret:
    """One rule. ``paths`` are patterns of globs.py; ``hint`` is what to do other than --allow."""

    rule: str
    paths: tuple[bytes, ...]
    find: Finder
    hint: str


def _paths(text: bytes) -> tuple[bytes, ...]:
    return tuple(text.split())


_KEY_44 = rb"[A-Za-z0-9+/]{43}="
_WIREGUARD = rb"^[ \t]*(?i:PrivateKey|PresharedKey)[ \t]*=[ \t]*" + _KEY_44
_AGAIN = "each machine makes its own again"

SECRETS: Final = (
    Secret(
        "host-key",
        _paths(b"etc/ssh/ssh_host_*_key etc/dropbear/dropbear_*_host_key etc/tinyssh/sshkeydir/.*.sk"),
        always("the ssh host key of one machine"),
        "remove it: every machine needs its own, and `gitstate prepare` removes it for you",
    ),
    Secret(
        "machine-id",
        _paths(b"etc/machine-id var/lib/dbus/machine-id"),
        machine_id,
        "empty it with `truncate -s 0`: every machine needs its own, and `gitstate prepare` will empty it for you",
    ),
    Secret(
        "random-seed",
        _paths(
            b"var/lib/systemd/random-seed var/lib/urandom/random-seed var/lib/random-seed "
            b"var/lib/misc/random-seed var/lib/seedrng/* boot/**/loader/random-seed efi/loader/random-seed"
        ),
        always("the random seed of one machine"),
        f"remove it: {_AGAIN}",
    ),
    Secret(
        "machine-secret",
        _paths(
            b"var/lib/systemd/credential.secret var/lib/NetworkManager/secret_key var/lib/ubuntu-advantage/private/**"
        ),
        always("a secret made for one machine"),
        f"remove it: {_AGAIN}",
    ),
    Secret(
        "login-password",
        _paths(b"etc/passwd* etc/shadow* var/backups/passwd.bak var/backups/shadow.bak"),
        logins,
        "lock it with `usermod -p '*' NAME` (`passwd -l` keeps the hash), in backup copies too",
    ),
    Secret(
        "login-password",
        _paths(b"etc/group* etc/gshadow* var/backups/group.bak var/backups/gshadow.bak **/.htpasswd **/htpasswd"),
        hashes,
        "remove the hash (of a group: `gpasswd -r NAME`)",
    ),
    Secret("login-password", _paths(b"etc/security/opasswd"), old_hashes, "empty it with `truncate -s 0`"),
    Secret(
        "login-password",
        _paths(b"root/*-ks.cfg"),
        matching(
            "a password of the installation",
            rb"^[ \t]*(?:rootpw|user)\b[^\n]*[ =\"']\$[0-9a-z]+\$",
            rb"^[ \t]*rootpw[ \t]+(?:--plaintext[ \t]+)?[^\s#-]",
        ),
        "remove it: nothing reads it after the installation",
    ),
    Secret(
        "login-password",
        _paths(b"etc/grub.d/* boot/**/grub.cfg boot/**/user.cfg"),
        matching("GRUB's password hash", rb"grub\.pbkdf2\.sha512\.[0-9]{1,9}\.[0-9A-Fa-f]{32}"),
        "take it out: clients boot from the network, without this GRUB",
    ),
    Secret(
        "shared-key",
        _paths(b"**/*.keytab **/.k5.*"),
        keytab,
        "move it out of the prototype: a machine's keytab belongs to that machine",
    ),
    Secret(
        "shared-key",
        _paths(
            b"etc/munge/munge.key etc/corosync/authkey etc/pacemaker/authkey etc/cryptsetup-keys.d/*.key "
            b"crypto_keyfile.bin etc/credstore/*"
        ),
        always("a secret key or credential"),
        "move it out of the prototype: who has it can pass for any machine that has it",
    ),
    Secret(
        "shared-key",
        _paths(
            b"etc/bind/*.key etc/rndc.key etc/ceph/*.keyring etc/chrony*/** etc/chrony.keys etc/ntp.keys "
            b"etc/ntp*/*.keys"
        ),
        matching(
            "a shared key",
            rb"^[ \t]*secret[ \t]+\"?[A-Za-z0-9+/]{8}",
            rb"^[ \t]*key[ \t]*=[ \t]*[A-Za-z0-9+/]{16}",
            rb"^[0-9]{1,10}[ \t]+(?:M|MD5|SHA[0-9]*|AES[0-9]*)[ \t]+\S",
        ),
        "move it out of the prototype",
    ),
    Secret(
        "vpn-key",
        _paths(b"etc/wireguard/*private* etc/wireguard/*.key etc/wireguard/*.psk"),
        matching("a WireGuard key", _WIREGUARD, rb"\A" + _KEY_44 + rb"\s*\Z"),
        "move it out of the prototype: every machine needs its own",
    ),
    Secret(
        "vpn-key",
        _paths(b"etc/wireguard/* etc/systemd/network/**"),
        matching("a WireGuard key", _WIREGUARD),
        "keep it in a file that only that machine has, and name it there (PrivateKeyFile=, or `PostUp = wg set …`)",
    ),
    Secret(
        "vpn-key",
        _paths(b"etc/ipsec.secrets etc/ipsec.d/*.secrets etc/swanctl/**"),
        matching(
            "a VPN's secret",
            rb"^[^#\n]*:[ \t]*(?:PSK|EAP|XAUTH|NTLM|PIN)[ \t]+[^\s#]",
            rb"^[ \t]*secret[\w-]*[ \t]*=[ \t]*[^\s#]",
        ),
        "move it out of the prototype",
    ),
    Secret(
        "network-password",
        _paths(b"etc/NetworkManager/system-connections/*"),
        matching(
            "the password of a network connection",
            rb"^(?:[\w-]+[ -])?(?:psk|password|password-raw|secret|pin|preshared-key|wep-key[0-3])[ \t]*=[ \t]*\S",
            rb"^private-key[ \t]*=[ \t]*" + _KEY_44,
        ),
        "let the machine or the user keep it (NetworkManager: psk-flags=1)",
    ),
    Secret(
        "network-password",
        _paths(b"etc/wpa_supplicant/* etc/wpa_supplicant.conf etc/netplan/*.yaml"),
        assigned(
            "the password of a network connection",
            rb"\w{0,40}psk|sae_password|(?:client-key-)?password|wep_key[0-3]|private_key_passwd",
            rb"(?!ext:)[^\s#\"']",
        ),
        "move it out of the prototype",
    ),
    Secret(
        "network-password",
        _paths(b"var/lib/iwd/** var/lib/connman/** etc/network/interfaces etc/network/interfaces.d/**"),
        matching(
            "the password of a network connection",
            rb"^(?:Passphrase|PreSharedKey|SAE-PT-Group[0-9]+|[\w-]*Password)[ \t]*=[ \t]*\S",
            rb"^[ \t]*(?:wpa-(?:psk|password|private-key-passwd)|wireless-key[0-9]?)[ \t]+\S",
        ),
        "move it out of the prototype",
    ),
    Secret(
        "network-password",
        _paths(b"var/lib/bluetooth/**/info"),
        matching("the key of a Bluetooth device", rb"^\[(?:LinkKey|[\w]*LongTermKey|IdentityResolvingKey)\]"),
        "remove it: the pairing belongs to one machine",
    ),
    Secret("stored-password", _paths(b"etc/ppp/*-secrets"), ppp, "move it out of the prototype"),
    Secret(
        "stored-password",
        _paths(b"etc/apt/auth.conf etc/apt/auth.conf.d/* **/.netrc **/.git-credentials"),
        matching(
            "the password of an account elsewhere",
            rb"^(?![ \t]*#)[^\n]*\bpassword[ \t]+[^\s#]",
            rb"^[a-z]+://[^/\s:@]*:[^/\s@]+@",
        ),
        "move it out of the prototype",
    ),
    Secret(
        "stored-password",
        _paths(b"etc/ldap.secret etc/pam_ldap.secret etc/libnss-ldap.secret"),
        always("the password of a directory account"),
        "use an account without a password, or the machine's keytab",
    ),
    Secret(
        "stored-password",
        _paths(
            b"etc/nslcd.conf etc/pam_ldap.conf etc/libnss-ldap.conf etc/sssd/** etc/mysql/debian.cnf "
            b"etc/iscsi/*.conf var/cache/debconf/passwords.dat"
        ),
        matching(
            "a stored password",
            rb"^[ \t]*(?:bindpw|rootpw)[ \t]+[^\s#]",
            rb"^[ \t]*(?:ldap_default_authtok|password|[\w.]+\.password(?:_in)?)[ \t]*=[ \t]*[^\s#]",
            rb"^Value:[ \t]*\S",
        ),
        "use an account without a password, or the machine's keytab",
    ),
    Secret(
        "stored-password",
        _paths(b"etc/fstab"),
        matching("the password of a network share", rb"^[ \t]*[^\s#][^\n]*[ \t,](?:password2?|passwd|pass)=[^\s,]"),
        "use credentials=FILE with a file that only that machine has, or Kerberos (sec=krb5)",
    ),
    Secret(
        "stored-password",
        _paths(b"etc/exim4/passwd.client etc/postfix/sasl_passwd etc/postfix/sasl/passwd"),
        matching("the password of a mail account", rb"^[^\s#:][^\s:]*:[^\s:]+:\S", rb"^[^\s#]\S*[ \t]+[^\s:]+:\S"),
        "move it out of the prototype",
    ),
    Secret(
        "stored-password",
        _paths(b"var/lib/samba/private/*.tdb var/lib/samba/*.tdb etc/samba/*.tdb"),
        matching("Samba's passwords", rb"SECRETS/MACHINE_PASSWORD|\bUSER_[^\0]{1,64}\0"),
        "leave the domain and delete the accounts in the prototype: a machine joins by itself",
    ),
)
