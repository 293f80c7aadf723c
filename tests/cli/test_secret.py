"""`gitstate secret` as it is typed: what reaches the machine's directory, what is refused, what is never printed."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.harness import listing
from tests.gitstate_command import Site, make_site
from tests.support import PROJECT, needs, root_only

pytestmark = [root_only, needs("ssh-keygen")]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = make_site(tmp_path / "site")
    with (site.path / "site.toml").open("a") as settings:
        settings.write('[layers]\ndomain = "example.org"\n')
    for number in (12, 13):
        site.run("client", "add", f"lab3-{number}", "--ip", f"10.77.0.{number}")
    return site


def piped(site: Site, data: bytes, *words: str, code: int = 0) -> str:
    """``secret add`` with a standard input; all that is said."""
    done = subprocess.run(
        [sys.executable, "-m", "gitstate", "secret", "add", *words],
        input=data,
        env={**os.environ, "GITSTATE_SITE": str(site.path), "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return (done.stdout + done.stderr).decode()


def kept(site: Site, path: str, host: str = "lab3-12") -> Path:
    return site.path / "secrets" / host / path


def test_what_is_added_reaches_the_machine_and_nobody_else(site: Site) -> None:
    said = piped(site, b"hunter2\n", "lab3-12", "/etc/app/token", "-", "--mode", "0640", "--owner", "0:42")
    assert "lab3-12: added /etc/app/token  0640  8 B" in said
    file = kept(site, "etc/app/token")
    status = file.stat()
    assert (file.read_bytes(), stat.S_IMODE(status.st_mode), status.st_gid) == (b"hunter2\n", 0o640, 42)
    assert stat.S_IMODE(kept(site, ".").stat().st_mode) == 0o700
    assert "replaced" in piped(site, b"hunter3\n", "lab3-12", "etc/app/token", "-")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    everything = site.out("secret", "list") + site.run("secret", "list", "--json").stdout
    assert "hunter" not in everything
    assert "/etc/app/token" in everything
    assert site.run("client", "show", "lab3-12").stdout.count("hunter") == 0
    assert [*(site.path / "secrets" / "lab3-12").rglob("*partial*")] == []


def test_a_dry_run_writes_nothing(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    piped(site, b"x", "lab3-12", "/etc/x", "-")
    before = listing(tmp_path)
    for words in (
        ("add", "lab3-12", "/etc/y", str(tmp_path / "file")),
        ("add", "lab3-13", "/etc/y", str(tmp_path / "file")),
        ("remove", "lab3-12", "/etc/x"),
        ("remove", "lab3-12", "--all"),
        ("renew", "lab3-[12-13]"),
    ):
        assert "would" in site.out("secret", *words, "-n")
        assert listing(tmp_path) == before


def test_what_is_refused(site: Site, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    file = str(tmp_path / "x")
    for words, code in (
        (("add", "lab3-12", "/etc/../../x", file), 2),
        (("add", "lab3-12", "/", file), 2),
        (("add", "..", "/etc/x", file), 2),
        (("add", "lab3-12", "/etc/x", file, "--mode", "4755"), 2),
        (("add", "lab3-12", "/etc/x", file, "--mode", "0602"), 7),
        (("add", "lab3-12", "/etc/x", file, "--owner", "root"), 2),
        (("add", "lab3-12", "/etc/x", file, "--owner", "4294967295:0"), 2),
        (("add", "lab3-12", "/etc/x", str(tmp_path / "nothing")), 10),
        (("remove", "lab3-12"), 2),
        (("remove", "lab3-12", "/etc/x", "--all"), 2),
        (("remove", "lab3-12", "/etc/x"), 10),
        (("remove", "lab3-12", "--all"), 10),
        (("renew", "lab3-99"), 10),
        (("known-hosts", "lab3-99"), 10),
    ):
        site.run("secret", *words, code=code)
    assert not kept(site, "etc/x").exists()
    piped(site, bytes((1 << 20) + 1), "lab3-12", "/etc/x", "-", code=7)
    (tmp_path / "rsa").write_text("-----BEGIN RSA PRIVATE KEY-----\n")
    piped(site, b"\5\2keys", "lab3-12", "/etc/krb5.keytab", "-", "--mode", "0644", code=7)
    assert list((site.path / "secrets").rglob("*")) == []


def test_what_makes_all_of_them_unusable_is_taken_back(site: Site) -> None:
    for number in range(4):
        piped(site, bytes(1 << 20), "lab3-12", f"/etc/{number}", "-")
    assert "lab3-12" in piped(site, b"more", "lab3-12", "/etc/4", "-", code=7)
    assert not kept(site, "etc/4").exists()
    piped(site, b"less", "lab3-12", "/etc/3", "-")
    assert kept(site, "etc/3").read_bytes() == b"less"


def test_a_file_where_a_directory_is_wanted(site: Site) -> None:
    piped(site, b"x", "lab3-12", "/etc/x", "-")
    assert "etc/x" in piped(site, b"x", "lab3-12", "/etc/x/y", "-", code=2)
    assert "etc" in piped(site, b"x", "lab3-12", "/etc", "-", code=2)


def test_removing_leaves_no_empty_directories(site: Site) -> None:
    piped(site, b"x", "lab3-12", "/etc/a/x", "-")
    piped(site, b"x", "lab3-12", "/etc/y", "-")
    assert site.out("secret", "remove", "lab3-12", "/etc/a/x") == "lab3-12: removed /etc/a/x"
    assert sorted(os.listdir(kept(site, "etc"))) == ["y"]
    site.run("secret", "remove", "lab3-12", "/etc")
    assert os.listdir(site.path / "secrets") == []


def test_a_fault_is_told_and_the_others_are_listed(site: Site) -> None:
    for host in ("lab3-12", "lab3-13"):
        piped(site, b"x", host, "/etc/x", "-")
    kept(site, "etc/x").chmod(0o4755)
    done = site.run("secret", "list", code=7)
    assert "lab3-13  /etc/x" in done.stdout
    assert "lab3-12/etc/x" in done.stderr
    assert "4755" in done.stderr


def test_who_is_no_client_is_told(site: Site) -> None:
    assert "lab9-1" in piped(site, b"x", "lab9-1", "/etc/x", "-")
    assert "lab9-1" in site.run("secret", "list").stderr
    assert [one["client"] for one in site.json("secret", "list")["secrets"]] == [False]


def test_known_hosts_is_what_ssh_reads(site: Site, tmp_path: Path) -> None:
    site.run("secret", "renew", "lab3-[12-13]")
    (tmp_path / "known").write_text(site.out("secret", "known-hosts") + "\n")
    for name in ("lab3-12", "lab3-12.example.org", "10.77.0.12"):
        found = subprocess.run(
            ["ssh-keygen", "-F", name, "-f", str(tmp_path / "known")], capture_output=True, text=True, check=True
        ).stdout
        public = kept(site, "etc/ssh/ssh_host_ed25519_key.pub").read_text().split()
        assert " ".join(public[:2]) in found
    assert len(site.out("secret", "known-hosts", "lab3-13").splitlines()) == 2


def test_a_host_key_of_ones_own(site: Site, tmp_path: Path) -> None:
    """Its public half follows it, whatever stood there before."""
    site.run("secret", "renew", "lab3-12")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    site.run("secret", "add", "lab3-12", "/etc/ssh/ssh_host_ed25519_key", str(tmp_path / "key"))
    public = (tmp_path / "key.pub").read_text().split()
    assert kept(site, "etc/ssh/ssh_host_ed25519_key.pub").read_text().split()[:2] == public[:2]
    assert public[1] in site.out("secret", "known-hosts")
    (tmp_path / "key").write_text("no key\n")
    site.run("secret", "add", "lab3-12", "/etc/ssh/ssh_host_ed25519_key", str(tmp_path / "key"))
    assert not kept(site, "etc/ssh/ssh_host_ed25519_key.pub").exists()


def test_a_removed_client_leaves_its_secrets(site: Site) -> None:
    piped(site, b"x", "lab3-12", "/etc/x", "-")
    site.run("client", "remove", "lab3-12")
    assert kept(site, "etc/x").exists()
    assert "lab3-12" in site.run("secret", "list").stderr


# --- with releases ----------------------------------------------------------------------------------------------------


@pytest.fixture
def released(site: Site, tmp_path: Path) -> Site:
    """A channel with one release, whose root has an sshd."""
    for path in ("etc/motd", "usr/sbin/sshd"):
        (tmp_path / "root" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / path).write_text(f"{path}\n")
    (tmp_path / "root" / "sbin").symlink_to("usr/sbin")
    site.run("prototype", "create", "desktop", "--live", str(tmp_path / "root"))
    site.run("checkin", "desktop", "-m", "first")
    site.run("channel", "create", "lab3", "--prototype", "desktop")
    site.run("client", "set", "lab3-12", "--channel", "lab3")
    return site


def test_a_push_makes_host_keys_once(released: Site, tmp_path: Path) -> None:
    released.run("push", "desktop", "lab3", "--yes", "-n")
    assert not kept(released, ".").exists()
    released.run("push", "desktop", "lab3", "--yes")
    before = released.out("secret", "known-hosts")
    assert len(before.splitlines()) == 2
    assert not kept(released, ".", "lab3-13").exists()  # which follows nothing
    released.run("client", "set", "lab3-13", "--channel", "lab3")
    (tmp_path / "root/etc/motd").write_text("changed\n")
    released.run("checkin", "desktop", "-m", "second")
    released.run("push", "desktop", "lab3", "--yes")
    assert released.out("secret", "known-hosts", "lab3-12") == before
    assert len(released.out("secret", "known-hosts", "lab3-13").splitlines()) == 2


def test_a_site_without_host_keys(released: Site) -> None:
    with (released.path / "site.toml").open("a") as settings:
        settings.write("[secrets]\nhost_keys = []\n")
    released.run("push", "desktop", "lab3", "--yes")
    assert os.listdir(released.path / "secrets") == []


def test_a_root_without_sshd_needs_none(released: Site, tmp_path: Path) -> None:
    (tmp_path / "root/usr/sbin/sshd").unlink()
    released.run("checkin", "desktop", "-m", "no sshd")
    released.run("push", "desktop", "lab3", "--yes")
    assert os.listdir(released.path / "secrets") == []


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/etc/motd/x", "/etc/motd"),
        ("/usr/sbin", "/usr/sbin"),
        ("/sbin/sshd/x", "/usr/sbin/sshd"),
        ("/run/x", "/run/x"),
    ],
)
def test_a_secret_in_the_way_is_left_out_and_named(released: Site, path: str, place: str) -> None:
    """Nobody else's release waits for it."""
    piped(released, b"x", "lab3-12", path, "-")
    pushed = released.run("push", "desktop", "lab3", "--yes", code=3)
    (line,) = [line for line in pushed.stderr.splitlines() if line.startswith("gitstate: ")]
    assert f"secrets/lab3-12{path}: " in line
    assert place in line
    assert released.json("channel", "show", "lab3")["current"] is not None
