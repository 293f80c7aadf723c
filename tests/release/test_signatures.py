"""Signed pushes: by ssh and by gpg, of those who may, of those who may not, and of nobody."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.release.harness import Harness
from tests.support import PROJECT, needs, root_only

pytestmark = [root_only, needs("git", "ssh-keygen", "gpg")]


@dataclass(frozen=True)
class Signer:
    """Somebody with a key; ``words`` make git sign with it."""

    words: tuple[str, ...]
    public: str
    home: Path


def by_ssh(place: Path, name: str) -> Signer:
    key = place / f"{name}-key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(key)], check=True)
    words = ("-c", "gpg.format=ssh", "-c", f"user.signingkey={key}")
    return Signer(words, key.with_suffix(".pub").read_text().strip(), place)


def by_gpg(place: Path, name: str) -> Signer:
    home = place / f"{name}-gnupg"
    home.mkdir(mode=0o700)
    run = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]
    subprocess.run([*run, "--quick-generate-key", f"{name} <{name}@example.org>", "ed25519", "sign"], check=True)
    public = subprocess.run([*run, "--armor", "--export"], check=True, capture_output=True, text=True).stdout
    return Signer(("-c", "gpg.format=openpgp", "-c", f"user.signingkey={name}@example.org"), public, home)


def tag(harness: Harness, signer: Signer | None, name: str, *words: str) -> subprocess.CompletedProcess[str]:
    """An annotated tag by plain git, signed by ``signer``."""
    argv = ["git", "-C", str(harness.repository("desktop")), "-c", "user.name=A", "-c", "user.email=a@b"]
    argv += [*(signer.words if signer else ()), *words, "tag", "-s" if signer else "-a", name, "-m", name]
    environment = {**os.environ, "GNUPGHOME": str(signer.home)} if signer else None
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)


def allow(harness: Harness, signer: Signer, who: str = "ada@example.org") -> None:
    """Enter a key into what the site allows."""
    if signer.public.startswith("ssh-"):
        with open(harness.site / "allowed_signers", "a") as file:
            file.write(f'{who} namespaces="git" {signer.public}\n')
        return
    ring = harness.site / "gnupg"
    ring.mkdir(mode=0o700, exist_ok=True)
    argv = ["gpg", "--homedir", str(ring), "--batch", "--quiet", "--import"]
    subprocess.run(argv, input=signer.public, text=True, check=True)


@pytest.fixture
def signed(bare: Harness) -> Harness:
    """A channel that wants signatures."""
    bare.prototype("desktop")
    bare("channel", "create", "lab3", "--prototype", "desktop", "--signed")
    return bare


MAKERS = pytest.mark.parametrize("make", [by_ssh, by_gpg], ids=["ssh", "gpg"])


@MAKERS
def test_who_may_publishes(signed: Harness, tmp_path: Path, make: type[Signer]) -> None:
    ada = make(tmp_path, "ada")
    allow(signed, ada)
    done = tag(signed, ada, "lab3/1")
    assert done.returncode == 0, done.stderr
    assert "lab3/1 = desktop" in signed("reconcile")


@MAKERS
def test_who_may_not_does_not(signed: Harness, tmp_path: Path, make: type[Signer]) -> None:
    ada, eve = make(tmp_path, "ada"), make(tmp_path, "eve")
    allow(signed, ada)
    done = tag(signed, eve, "lab3/1")
    assert done.returncode
    assert "signed by nobody who may" in done.stderr
    assert tag(signed, eve, "lab3/1", "-c", "core.hooksPath=/dev/null").returncode == 0
    assert "signed by nobody who may" in signed.fails(4, "reconcile")
    assert signed.json("channel", "show", "lab3")["current"] is None
    allow(signed, eve, "eve@example.org")
    assert "lab3/1 = desktop" in signed("reconcile")


def test_an_unsigned_tag_does_not_publish(signed: Harness, tmp_path: Path) -> None:
    allow(signed, by_ssh(tmp_path, "ada"))
    done = tag(signed, None, "lab3/1")
    assert done.returncode
    assert "signed by nobody who may" in done.stderr
    assert tag(signed, None, "lab3/1", "-c", "core.hooksPath=/dev/null").returncode == 0
    assert "signed by nobody who may" in signed.fails(4, "reconcile")
    assert "releases signed tags only" in signed.fails(4, "push", "desktop", "lab3", "--yes")


def test_nobody_may_without_a_list(signed: Harness, tmp_path: Path) -> None:
    for make in (by_ssh, by_gpg):
        assert "signed by nobody who may" in tag(signed, make(tmp_path, "ada"), "lab3/1").stderr


def test_a_channel_that_wants_none_takes_all(harness: Harness, tmp_path: Path) -> None:
    assert tag(harness, by_ssh(tmp_path, "eve"), "lab3/1").returncode == 0
    assert "lab3/1 = desktop" in harness("reconcile")


def test_a_key_that_was_revoked(signed: Harness, tmp_path: Path) -> None:
    ada = by_ssh(tmp_path, "ada")
    allow(signed, ada)
    (signed.site / "revoked_signers").write_text(f"{ada.public}\n")
    assert "signed by nobody who may" in tag(signed, ada, "lab3/1").stderr


def test_a_signature_counts_under_its_own_name_only(signed: Harness, tmp_path: Path) -> None:
    """Who may push but not sign takes a signed tag of yesterday and calls it today's."""
    ada = by_ssh(tmp_path, "ada")
    allow(signed, ada)
    assert tag(signed, ada, "lab3/1").returncode == 0
    signed("reconcile")
    signed.edit("desktop", "second")
    assert tag(signed, ada, "lab3/2").returncode == 0
    signed("reconcile")
    old = signed.git("desktop", "rev-parse", "lab3/1")
    assert "calls itself lab3/1" in signed.refused("desktop", "update-ref", "refs/tags/lab3/3", old)
    signed.git("desktop", "-c", "core.hooksPath=/dev/null", "update-ref", "refs/tags/lab3/3", old)
    assert "calls itself lab3/1" in signed.fails(4, "reconcile")
    assert signed.history("lab3")[0].startswith("lab3/2:")


def test_a_signed_text_that_was_changed(signed: Harness, tmp_path: Path) -> None:
    ada = by_ssh(tmp_path, "ada")
    allow(signed, ada)
    first = signed.head("desktop")
    signed.edit("desktop", "second")
    assert tag(signed, ada, "v1", "-c", "core.hooksPath=/dev/null").returncode == 0
    text = signed.git("desktop", "cat-file", "tag", "v1") + "\n"
    text = text.replace("tag v1", "tag lab3/1").replace(signed.head("desktop"), first)
    argv = ["git", "-C", str(signed.repository("desktop")), "hash-object", "-t", "tag", "-w", "--stdin"]
    oid = subprocess.run(argv, input=text, text=True, capture_output=True, check=True).stdout.strip()
    assert "signed by nobody who may" in signed.refused("desktop", "update-ref", "refs/tags/lab3/1", oid)


def test_push_signs(signed: Harness, tmp_path: Path) -> None:
    ada = by_ssh(tmp_path, "ada")
    allow(signed, ada)
    config = Path(os.environ["GIT_CONFIG_GLOBAL"])
    assert "user.signingkey" in signed.fails(4, "push", "desktop", "lab3", "--sign", "--yes")
    assert not config.read_text()
    for word in (word for word in ada.words if word != "-c"):
        signed.git("desktop", "config", *word.split("=", 1))
    (signed.site / "allowed_signers").rename(signed.site / "allowed")
    assert "signed by nobody who may" in signed.fails(4, "push", "desktop", "lab3", "--sign", "--yes")
    (signed.site / "allowed").rename(signed.site / "allowed_signers")
    said = signed("push", "desktop", "lab3", "--sign", "--yes")
    assert said.startswith("lab3/1 = desktop")
    assert "BEGIN SSH SIGNATURE" in signed.git("desktop", "cat-file", "tag", "lab3/1")


# --- which keys of the ring count -------------------------------------------------------------------------------------


def gpg(home: Path, *words: str, given: str = "") -> str:
    """gpg on a ring, with no questions; what it prints."""
    run = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]
    return subprocess.run([*run, *words], input=given, capture_output=True, text=True, check=True).stdout


def fingerprint(signer: Signer) -> str:
    listed = gpg(signer.home, "--with-colons", "--list-keys").splitlines()
    return next(line.split(":")[9] for line in listed if line.startswith("fpr:"))


@pytest.mark.parametrize("level", [None, 3, 6], ids=["unknown", "never", "ultimate"])
def test_every_key_of_the_ring_counts(signed: Harness, tmp_path: Path, level: int | None) -> None:
    """Nobody has to certify it, and what gpg is told of trust in its owner is about other keys."""
    ada = by_gpg(tmp_path, "ada")
    allow(signed, ada)
    if level is not None:
        gpg(signed.site / "gnupg", "--import-ownertrust", given=f"{fingerprint(ada)}:{level}:\n")
    assert tag(signed, ada, "lab3/1").returncode == 0
    assert "lab3/1 = desktop" in signed("reconcile")


@pytest.mark.parametrize(
    ("how", "said"), [("expired", "Note: This key has expired!"), ("revoked", "WARNING: This key has been revoked")]
)
def test_a_key_that_counts_no_more(signed: Harness, tmp_path: Path, how: str, said: str) -> None:
    """As the ring has it, whatever the signer's own copy says."""
    ada = by_gpg(tmp_path, "ada")
    allow(signed, ada)
    assert tag(signed, ada, "lab3/1").returncode == 0
    assert "lab3/1 = desktop" in signed("reconcile")
    ring, name = signed.site / "gnupg", fingerprint(ada)
    if how == "expired":
        later = tmp_path / "later"
        later.mkdir(mode=0o700)
        gpg(later, "--import", given=gpg(ada.home, "--armor", "--export-secret-keys"))
        gpg(later, "--quick-set-expire", name, "seconds=1")
        time.sleep(2)
        gpg(ring, "--import", given=gpg(later, "--armor", "--export"))
    else:
        certificate = (ada.home / "openpgp-revocs.d" / f"{name}.rev").read_text().replace(":-----BEGIN", "-----BEGIN")
        gpg(ring, "--import", given=certificate)
    assert f"signed by nobody who may: gpg: {said}" in tag(signed, ada, "lab3/2").stderr
    tag(signed, ada, "lab3/2", "-c", "core.hooksPath=/dev/null")
    assert "signed by nobody who may" in signed.fails(4, "reconcile")


def test_only_the_site_s_ring_is_asked(signed: Harness, tmp_path: Path) -> None:
    """Not that of whoever runs the command, though eve has put herself there."""
    ada, eve = by_gpg(tmp_path, "ada"), by_gpg(tmp_path, "eve")
    allow(signed, ada)
    assert tag(signed, eve, "lab3/1", "-c", "core.hooksPath=/dev/null").returncode == 0
    argv = [sys.executable, "-m", "gitstate", "--site", str(signed.site), "reconcile"]
    environment = {**os.environ, "GNUPGHOME": str(eve.home), "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, "signed by nobody who may" in done.stderr) == (4, True)
