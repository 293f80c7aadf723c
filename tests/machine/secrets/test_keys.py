"""ssh host keys: made once, whole or not at all, and what ssh-keygen says of them."""

from __future__ import annotations

import os
import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gitstate.core.errors import ConfigError
from gitstate.core.monitor import SILENT
from gitstate.machine import secrets
from gitstate.machine.render.image import Image
from gitstate.machine.secrets import Options
from gitstate.machine.secrets.sshd import host_key_types
from gitstate.store.site import Site
from tests.machine.render.harness import Bench, link
from tests.machine.secrets.harness import HOST, OPTIONS, key_files, plant, read
from tests.support import PROJECT, needs, root_only

pytestmark = [root_only, needs("ssh-keygen")]

FILES = ["ssh_host_ecdsa_key", "ssh_host_ecdsa_key.pub", "ssh_host_ed25519_key", "ssh_host_ed25519_key.pub"]


_RSA = b"HostKey /etc/ssh/ssh_host_rsa_key\n"


def ensure(site: Site, *hosts: str, options: Options = OPTIONS) -> int:
    return len(secrets.ensure_host_keys(site, hosts, options, SILENT))


def public_half(private: Path) -> list[bytes]:
    """The public key that ssh-keygen finds in a private one."""
    return subprocess.run(["ssh-keygen", "-y", "-f", private], check=True, capture_output=True).stdout.split()[:2]


def judged(site: Site, host: str = HOST) -> int:
    """How many keys there are; each has its public half and the right modes."""
    place = site.path / "secrets" / host / "etc" / "ssh"
    private = [name for name in key_files(site, host) if not name.endswith(".pub")]
    for name in private:
        assert (place / f"{name}.pub").read_bytes().split()[:2] == public_half(place / name)
        modes = [stat.S_IMODE((place / one).stat().st_mode) for one in (name, f"{name}.pub")]
        assert modes == [0o600, 0o644]
    return len(private)


def test_keys_are_made_once(site: Site) -> None:
    assert secrets.missing_keys(site, [HOST], OPTIONS) == ((HOST, "ed25519"), (HOST, "ecdsa"))
    assert ensure(site, HOST, "lab3-13") == 4
    assert key_files(site) == FILES
    assert judged(site) == 2
    assert stat.S_IMODE((site.path / "secrets" / HOST).stat().st_mode) == 0o700
    before = read(site)
    assert [(one.meta.mode, one.meta.uid) for one in before.entries] == [(0o600, 0), (0o644, 0)] * 2
    assert before.entries[1].content.split()[2] == b"root@lab3-12"
    assert before.entries[0].content != read(site, "lab3-13").entries[0].content
    assert ensure(site, HOST, "lab3-13") == 0
    assert read(site) == before
    assert not (site.path / "secrets" / ".new").exists()


def test_a_key_that_is_there_is_kept(site: Site) -> None:
    ensure(site, HOST)
    (site.path / "secrets" / HOST / "etc/ssh/ssh_host_ecdsa_key").unlink()
    kept = read(site).entries[1:]
    assert ensure(site, HOST) == 1
    ed25519 = [one for one in read(site).entries if b"ed25519" in one.path]
    assert ed25519 == [one for one in kept if b"ed25519" in one.path]
    assert judged(site) == 2


def test_the_site_chooses_the_types(site: Site) -> None:
    assert ensure(site, HOST, options=Options("", ())) == 0
    assert ensure(site, HOST, options=Options("", ("rsa",))) == 1
    assert key_files(site) == ["ssh_host_rsa_key", "ssh_host_rsa_key.pub"]


def test_only_machines_with_an_sshd_need_keys() -> None:
    assert not secrets.has_sshd(Image(None, "", b""))


@pytest.mark.parametrize(
    ("config", "types"),
    [
        ("", ("ed25519", "ecdsa")),
        ("#HostKey /etc/ssh/ssh_host_rsa_key\n", ("ed25519", "ecdsa")),
        ("HostKey /etc/ssh/ssh_host_rsa_key\nHostKey /etc/ssh/ssh_host_ecdsa_key\n", ("ed25519", "ecdsa")),
        ("Port 22\n  hostkey\t/etc/ssh/ssh_host_rsa_key \n", ("ed25519", "ecdsa", "rsa")),
        ('HostKey="/etc/ssh/ssh_host_rsa_key"\nHostKey /etc/ssh/ssh_host_dsa_key\n', ("ed25519", "ecdsa", "rsa")),
        ("HostKey /root/ssh_host_rsa_key\n", ("ed25519", "ecdsa")),
    ],
)
def test_an_sshd_that_wants_none_of_the_site_s_types_gets_its_own(config: str, types: tuple[str, ...]) -> None:
    image = Bench({"etc": {"ssh": {"sshd_config": config.encode()}}}).image
    assert secrets.options_for(image, OPTIONS).host_keys == types


@pytest.mark.parametrize(
    ("config", "rest", "asked"),
    [
        ("Include /etc/ssh/sshd_config.d/*.conf\n", {"sshd_config.d": {"10-keys.conf": _RSA}}, True),
        ("include sshd_config.d/1*.conf more # other\n", {"sshd_config.d": {"10-keys.conf": _RSA}}, True),
        ('Include "sshd_config.d/[!a-z]?-keys.conf"\n', {"sshd_config.d": {"10-keys.conf": _RSA}}, True),
        ("Include */*.conf\n", {"sshd_config.d": {"10-keys.conf": _RSA}}, True),
        ("Include one\n", {"one": b"Include two\n", "two": _RSA}, True),
        ("Include one # two\n", {"two": _RSA}, False),
        ("Include sshd_config.d/*\n", {"sshd_config.d": {".hidden": _RSA, "other": b"Port 22\n"}}, False),
        ("Include one\n", {"one": b"Include one\nInclude sshd_config\n" + _RSA}, True),
        ("#Include one\nIncludes one\n", {"one": _RSA}, False),
        ("Include sshd_config.d\n", {"sshd_config.d": {"one": _RSA}}, False),
        ("Include ../../etc/../../one\n", {}, False),
    ],
)
def test_an_sshd_asks_in_files_that_it_includes(config: str, rest: dict[str, Any], asked: bool) -> None:
    image = Bench({"etc": {"ssh": {"sshd_config": config.encode(), **rest}}}).image
    assert ("rsa" in secrets.options_for(image, OPTIONS).host_keys) == asked


@pytest.mark.parametrize("target", ["/etc/keys.conf", "../keys.conf", "../../../../../../etc/keys.conf"])
def test_no_link_among_them_leads_out_of_the_root(tmp_path: Path, target: str) -> None:
    """What a link names is looked for in the root: the server's own file of that name is nobody's."""
    outside = tmp_path / "keys.conf"
    outside.write_bytes(_RSA)
    for place, asked in ((target, True), (str(outside), False)):
        files = {"sshd_config": b"Include one\n", "one": link(place.encode())}
        image = Bench({"etc": {"ssh": files, "keys.conf": _RSA}}).image
        assert ("rsa" in secrets.options_for(image, OPTIONS).host_keys) == asked


@needs("sshd", "ssh-keygen", "unshare")
def test_sshd_itself_reads_the_same(tmp_path: Path) -> None:
    """``sshd -T``, with an /etc/ssh of its own, names the keys that we find."""
    ssh = tmp_path / "ssh"
    (ssh / "sshd_config.d").mkdir(parents=True)
    files = {
        "sshd_config": b'Include = "/etc/ssh/sshd_config.d/*.conf" extra\nHostKey /etc/ssh/ssh_host_rsa_key # mine\n',
        "sshd_config.d/10-a.conf": b"\tINCLUDE more/*\n",
        "sshd_config.d/.hidden.conf": b"HostKey /etc/ssh/ssh_host_ecdsa_key\n",
        "extra": b"hostkey=/etc/ssh/ssh_host_ed25519_key\n",
    }
    for name, content in files.items():
        (ssh / name).write_bytes(content)
    for kind in ("rsa", "ed25519", "ecdsa"):
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", ssh / f"ssh_host_{kind}_key"], check=True)
    place = f"mount --bind {ssh} /etc/ssh; mount -t tmpfs none /run; mkdir /run/sshd; $(command -v sshd) -T"
    said = subprocess.run(["unshare", "-m", "sh", "-ec", place], check=True, capture_output=True, text=True).stdout
    read = {line.split("_")[-2] for line in said.splitlines() if line.startswith("hostkey ")}
    tree: dict[str, Any] = {"sshd_config.d": {}}
    for name, content in files.items():
        (tree["sshd_config.d"] if "/" in name else tree)[name.rpartition("/")[2]] = content
    assert host_key_types(Bench({"etc": {"ssh": tree}}).image) == read == {"rsa", "ed25519"}


def test_without_a_configuration_the_site_s_types_are_enough() -> None:
    assert secrets.options_for(Bench({}).image, OPTIONS) == OPTIONS


def test_something_else_stands_there(site: Site) -> None:
    plant(site, "etc/ssh", b"a file")
    with pytest.raises(ConfigError, match="ssh_host_ed25519_key: Not a directory"):
        ensure(site, HOST)
    assert not (site.path / "secrets" / ".new").exists()


def test_no_symlink_leads_keys_out(site: Site, tmp_path: Path) -> None:
    (site.path / "secrets" / HOST / "etc").mkdir(parents=True)
    (site.path / "secrets" / HOST / "etc" / "ssh").symlink_to(tmp_path)
    with pytest.raises(ConfigError):
        ensure(site, HOST)
    assert sorted(os.listdir(tmp_path)) == ["site"]


def test_renewed_keys_are_others(site: Site) -> None:
    ensure(site, HOST, options=Options("", ("rsa", "ed25519")))
    before = {one.path: one.content for one in read(site).entries}
    assert len(secrets.renew(site, [HOST], OPTIONS, SILENT)) == 3  # rsa, though the site wants none any more
    after = {one.path: one.content for one in read(site).entries}
    assert before.keys() < after.keys()
    assert all(after[path] != content for path, content in before.items())
    assert judged(site) == 3


def test_public_keys(site: Site) -> None:
    ensure(site, HOST)
    found = list(secrets.public_keys(site, [HOST, "lab3-13"]))
    assert [host for host, _ in found] == [HOST] * 2
    private = site.path / "secrets" / HOST / "etc/ssh/ssh_host_ed25519_key"
    assert found[0][1].encode().split() == public_half(private)


@pytest.mark.slow
def test_a_thousand_machines(site: Site) -> None:
    """Their first push waits a few seconds for keys, any later one for none; reading them all takes no time."""
    hosts = [f"lab{number // 40}-{number % 40:02d}" for number in range(1000)]
    assert ensure(site, *hosts) == 2000
    assert ensure(site, *hosts) == 0
    started = time.process_time()
    found = [secrets.machine_secrets(site, host, OPTIONS) for host in hosts]
    assert time.process_time() - started < 2
    assert len({one.digest for one in found}) == 1000


# --- kill -9 ----------------------------------------------------------------------------------------------------------

PROGRAM = """
import sys
from gitstate.core.monitor import SILENT
from gitstate.machine import secrets
from gitstate.store.site import Site
from pathlib import Path
site = Site(Path(sys.argv[1]))
options = secrets.Options("")
print("begin", flush=True)
made = (secrets.renew if sys.argv[2] == "renew" else secrets.ensure_host_keys)(site, sys.argv[3:], options, SILENT)
print("end", flush=True)
"""


@pytest.mark.parametrize("verb", ["make", "renew"])
def test_killed_at_any_moment(site: Site, verb: str) -> None:
    """No key without its other half, no key that isn't whole; the next run makes what is missing."""
    hosts = [f"h{number}" for number in range(12)]
    if verb == "renew":
        ensure(site, *hosts)
    draw, killed, partly = random.Random(6), 0, 0
    for _ in range(12):
        if verb == "make" and not secrets.missing_keys(site, hosts, OPTIONS):
            for host in hosts:
                secrets.remove(site, host, None)
        child = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(site.path), verb, *hosts],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
            start_new_session=True,
        )
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(draw.uniform(0, 0.12))
        os.killpg(child.pid, signal.SIGKILL)
        killed += b"end" not in child.stdout.read()
        child.wait()
        child.stdout.close()
        there = sum(judged(site, host) for host in hosts)
        partly += 0 < there < 2 * len(hosts) or (site.path / "secrets" / ".new").exists()
    assert killed
    assert partly
    ensure(site, *hosts)
    assert [judged(site, host) for host in hosts] == [2] * len(hosts)
    assert not (site.path / "secrets" / ".new").exists()


def test_two_at_once_make_each_key_once(site: Site) -> None:
    """Who comes second waits, and finds them made."""
    hosts = [f"h{number}" for number in range(30)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    argv = [sys.executable, "-c", PROGRAM.replace('"end"', "len(made)"), str(site.path), "make", *hosts]
    both = [subprocess.Popen(argv, stdout=subprocess.PIPE, env=environment, text=True) for _ in range(2)]
    said = [child.communicate()[0].split() for child in both]
    assert sorted(said) == [["begin", "0"], ["begin", "60"]]
    assert [judged(site, host) for host in hosts] == [2] * len(hosts)


def test_killed_between_the_two_halves(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The public half alone is no key, and the next run makes a pair."""
    from gitstate.core.fs import DescriptorTree

    class Killed(BaseException):
        pass

    real = DescriptorTree.move

    def move(self: DescriptorTree, old: bytes, new: bytes) -> None:
        if not new.endswith(b".pub"):
            raise Killed
        real(self, old, new)

    monkeypatch.setattr(DescriptorTree, "move", move)
    with pytest.raises(Killed):
        ensure(site, HOST)
    assert key_files(site) == ["ssh_host_ed25519_key.pub"]
    assert judged(site) == 0
    monkeypatch.undo()
    assert ensure(site, HOST) == 2
    assert judged(site) == 2
