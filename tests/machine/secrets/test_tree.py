"""Machines' secrets as they are read: hostile trees, metadata, the digest."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gitstate.core.entry import ACL_ACCESS, Kind
from gitstate.core.errors import ConfigError, UsageError
from gitstate.machine.secrets import Options, Secrets, machine_secrets
from gitstate.store.site import Site
from tests.machine.secrets.harness import HOST, OPTIONS, plant, read
from tests.support import needs, root_only

pytestmark = root_only


def test_nothing_is_there(site: Site) -> None:
    assert read(site) == Secrets()
    (site.path / "secrets" / HOST / "etc").mkdir(parents=True)
    assert read(site) == Secrets()


@needs("setfacl")
def test_owner_mode_time_and_acl_are_those_of_the_files(site: Site) -> None:
    keytab = plant(site, "etc/krb5.keytab", b"\5\2keys", 0o640)
    os.chown(keytab, 0, 42)
    subprocess.run(["setfacl", "-m", "u:33:r", keytab], check=True)
    os.utime(keytab, ns=(0, 1234567890123456789))
    (keytab.parent / "link").symlink_to("/etc/passwd")
    found = {one.path: one for one in read(site).entries}
    assert sorted(found) == [b"etc/krb5.keytab", b"etc/link"]
    one = found[b"etc/krb5.keytab"]
    assert (one.content, one.meta.mode, one.meta.uid, one.meta.gid) == (b"\5\2keys", 0o640, 0, 42)
    assert one.meta.time == 1234567890123456789
    assert [name for name, _ in one.meta.xattrs] == [ACL_ACCESS]
    assert (found[b"etc/link"].meta.kind, found[b"etc/link"].content) == (Kind.SYMLINK, b"/etc/passwd")


def test_plain_directories_say_nothing_and_others_do(site: Site) -> None:
    file = plant(site, "a/b/c/d/secret")
    for path, mode in ((file.parents[0], 0o750), (file.parents[1], 0o700), (file.parents[2], 0o755)):
        path.chmod(mode)
    file.parents[3].chmod(0o700)
    found = read(site)
    laid = {one.path: one.meta for one in found.entries}
    assert laid[b"a/b/c/d"].mode == 0o750
    assert laid[b"a/b/c/d"].time is None
    assert found.private == (b"a", b"a/b/c")
    assert set(laid) == {b"a/b/c/d", b"a/b/c/d/secret"}


def test_any_name_is_read(site: Site) -> None:
    plant(site, "etc/a\nb \\")
    assert [one.path for one in read(site).entries] == [b"etc/a\nb \\"]


def test_what_a_killed_add_left_is_no_secret(site: Site) -> None:
    plant(site, "etc/.gitstate.partial")
    assert read(site) == Secrets()


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (lambda file: file.write_bytes(b"other\n"), False),
        (lambda file: file.chmod(0o400), False),
        (lambda file: os.chown(file, 1, 0), False),
        (lambda file: os.utime(file, ns=(0, 1)), False),
        (lambda file: file.rename(file.with_name("other")), False),
        (lambda file: file.parent.chmod(0o700), False),
        (lambda file: file.parent.chmod(0o750), False),
        (lambda file: (file.parent / "empty").write_bytes(b""), False),
        (lambda file: os.utime(file.parent), True),
        (lambda file: file.read_bytes(), True),
    ],
)
def test_the_digest_changes_with_content_and_metadata(site: Site, change: Callable[[Path], object], same: bool) -> None:
    file = plant(site, "etc/secret")
    plant(site, "etc/secret", host="lab3-13")
    before = read(site).digest
    change(file)
    assert (read(site).digest == before) == same


def test_the_digest_tells_nothing_to_other_sites(site: Site) -> None:
    plant(site, "etc/secret")
    other = machine_secrets(site, HOST, Options("11111111-1111-1111-1111-111111111111"))
    assert other.digest != read(site).digest
    assert other.entries == read(site).entries


# --- hostile, or mistaken ---------------------------------------------------------------------------------------------


def _device(site: Site) -> None:
    os.mknod(plant(site, "etc/x").with_name("node"), stat.S_IFCHR | 0o600, os.makedev(1, 3))


def _fifo(site: Site) -> None:
    os.mkfifo(plant(site, "etc/x").with_name("fifo"))


def _socket(site: Site) -> None:
    file = plant(site, "etc/x")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(file.with_name("socket")))


def _many(site: Site) -> None:
    for number in range(1001):
        plant(site, f"many/{number}")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_device, "etc/node is no file, directory or symlink"),
        (_fifo, "etc/fifo is no file, directory or symlink"),
        (_socket, "etc/socket is no file, directory or symlink"),
        (lambda site: plant(site, "etc/sh", mode=0o4755), "etc/sh has mode 4755"),
        (lambda site: plant(site, "etc/sh", mode=0o2755), "etc/sh has mode 2755"),
        (lambda site: plant(site, "etc/open", mode=0o602), "etc/open has mode 0602"),
        (lambda site: plant(site, "etc/krb5.keytab", b"\5\2k", 0o644), "holds Kerberos keys"),
        (lambda site: plant(site, "etc/big", bytes((1 << 20) + 1)), "etc/big is larger than 1 MiB"),
        (lambda site: [plant(site, f"etc/{n}", bytes(1 << 20)) for n in range(5)], "holds more than 4 MiB"),
        (_many, "is more than 1000 entries"),
        (lambda site: plant(site, "/".join("x" * 70)), "lies too deep"),
        (lambda site: plant(site, "etc/a\nb", mode=0o4700), r"etc/a\012b has mode 4700"),
    ],
)
def test_what_no_machine_may_get(site: Site, make: Callable[[Site], object], said: str) -> None:
    make(site)
    with pytest.raises(ConfigError) as fault:
        read(site)
    assert said in fault.value.message
    assert "\n" not in str(fault.value)


def test_the_largest_that_fits(site: Site) -> None:
    for number in range(4):
        plant(site, f"etc/{number}", bytes(1 << 20))
    assert len(read(site).entries) == 4


def test_a_certificate_may_be_read_by_all(site: Site) -> None:
    plant(site, "etc/ssl/host.pem", b"-----BEGIN CERTIFICATE-----\n", 0o644)
    assert len(read(site).entries) == 1


def test_no_symlink_is_followed(site: Site, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("x")
    plant(site, "etc/x")
    (site.path / "secrets" / HOST / "out").symlink_to(tmp_path / "outside")
    assert sorted(one.path for one in read(site).entries) == [b"etc/x", b"out"]
    (site.path / "secrets" / "lab3-13").symlink_to(tmp_path / "outside")
    with pytest.raises(ConfigError, match="is no directory"):
        read(site, "lab3-13")


def test_secrets_that_others_can_read(site: Site) -> None:
    plant(site, "etc/x")
    (site.path / "secrets").chmod(0o755)
    with pytest.raises(ConfigError, match="has mode 0755"):
        read(site)


@pytest.mark.parametrize("name", ["..", ".new", "a/b", ""])
def test_names_that_lead_elsewhere(site: Site, name: str) -> None:
    with pytest.raises(UsageError):
        machine_secrets(site, name, OPTIONS)
