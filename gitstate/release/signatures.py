"""Who signed a tag: git checks it, against the site's own list of signers and its own key ring."""

from __future__ import annotations

from pathlib import Path

from gitstate.core import process
from gitstate.core.errors import RefusedError
from gitstate.store import Repository
from gitstate.store.site import Site


def signers(site: Site) -> Path:
    """Who may sign by ssh: the form of ssh-keygen(1), ALLOWED SIGNERS."""
    return site.path / "allowed_signers"


def revoked(site: Site) -> Path:
    """Keys that no longer count, whatever the list of signers says; needn't exist."""
    return site.path / "revoked_signers"


def keyring(site: Site) -> Path:
    """GnuPG's directory with the keys of those who may sign by gpg, and no others."""
    return site.path / "gnupg"


def verify(site: Site, repository: Repository, tag: bytes, name: str) -> None:
    """Raise RefusedError unless the tag object ``tag`` is signed by somebody whom the site allows to."""
    settings = {
        "gpg.program": "gpg",
        "gpg.minTrustLevel": "undefined",
        "gpg.ssh.program": "ssh-keygen",
        "gpg.ssh.allowedSignersFile": str(signers(site)),
    }
    if revoked(site).exists():
        settings["gpg.ssh.revocationFile"] = str(revoked(site))
    options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
    argv = ["git", *options, f"--git-dir={repository.path}", "verify-tag", tag.hex()]
    try:
        process.run(argv, variables={"GNUPGHOME": str(keyring(site)), "LC_ALL": "C"})
    except process.ProgramError as error:
        if error.tells_of_damage:
            raise
        hint = f"sign it (git tag -s) with a key of {signers(site)}, or of the key ring in {keyring(site)}"
        raise RefusedError(f"{name} is signed by nobody who may: {_why(error.said)}", hint) from None


def _why(said: str) -> str:
    """git's or its helper's last word."""
    lines = [line.removeprefix("error: ").strip() for line in said.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
