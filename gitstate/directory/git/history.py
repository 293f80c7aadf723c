"""A client's history in ``directory.git``."""

from __future__ import annotations

from gitstate.core.errors import NotFoundError
from gitstate.directory.git.tree import find, path_of
from gitstate.directory.model.clients import Client
from gitstate.directory.protocol import LastChange
from gitstate.store import MAIN, Repository


def last_change(repository: Repository, name: str) -> LastChange | None:
    """Return the last commit of the client's file; None if there is none."""
    if repository.ref(MAIN) is None:
        return None
    found = repository.git("rev-list", "-1", MAIN, "--", f":(literal){path_of(name)}").decode().strip()
    if not found:
        return None
    commit = repository.snapshot(bytes.fromhex(found))
    return LastChange(found, commit.author, commit.when, commit.message.partition("\n")[0])


def client_on(repository: Repository | None, name: str, when: int) -> Client:
    """Return the client as it was ``when``, in seconds since the epoch. Raises NotFoundError, ConfigError."""
    from gitstate.directory.model.ldif import parse_client  # python-ldap takes longer to load than all clients

    found = b""
    if repository is not None and repository.ref(MAIN) is not None:
        found = repository.git("rev-list", "-1", f"--before={when} +0000", MAIN).strip()
    if repository is not None and found:
        tree = repository.snapshot(bytes.fromhex(found.decode())).tree
        for blob in find(repository.read, tree, [name]).values():
            return parse_client(repository.read(blob), name, f"{path_of(name)} of {found[:7].decode()}")[0]
    raise NotFoundError(f"there was no client {name} then", "its history: git log in directory.git")
