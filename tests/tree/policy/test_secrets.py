"""Secrets other than private keys, found by path and content."""

from __future__ import annotations

import re

import pytest

from gitstate.tree.policy import Refusal
from gitstate.tree.policy.globs import union
from gitstate.tree.policy.known import SECRETS
from tests.tree.policy.harness import DEFAULT, refused
from tests.tree.policy.made_keys import PEM

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
