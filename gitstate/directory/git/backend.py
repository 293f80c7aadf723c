"""The embedded backend: LDIF files in ``directory.git``, a commit for each change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Container, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from gitstate.core import fs
from gitstate.core.errors import ConfigError, DamagedError, LockedError, UsageError
from gitstate.core.signature import Signature
from gitstate.directory.git import cache
from gitstate.directory.git import history as past
from gitstate.directory.git.cache import CachedClients
from gitstate.directory.git.records import read_records, replace_records
from gitstate.directory.git.tree import compare, edits_of_clients, find, folders, path_of
from gitstate.directory.model.clients import (
    Client,
    Kind,
    find_duplicate_address,
    matches,
    no_such_client,
    normalized,
    refuse_duplicate_addresses,
)
from gitstate.directory.model.entries import Entry
from gitstate.directory.model.record_types import CLASSES, Record, RecordType
from gitstate.directory.protocol import Directory, LastChange
from gitstate.store import MAIN, Commit, Repository, Type, write_objects
from gitstate.store.edit import NewObjects, edit_tree
from gitstate.store.site import Site

_NOTHING: Final = CachedClients(b"", MappingProxyType({}))
_NAME: Final = "directory"
_RENDERED: Final = ("clients", CLASSES.folder)
"""What machine archives are made from."""


def _where(name: str) -> str:
    return f"directory.git: {path_of(name)}"


def _merged(known: Mapping[str, Client], gone: Container[str], new: Mapping[str, Client]) -> dict[str, Client]:
    """Return ``known`` without ``gone`` and with ``new``, sorted by name."""
    kept = {name: one for name, one in known.items() if name not in gone}
    return dict(sorted({**kept, **new}.items()))


class LdifDirectory(Directory):
    """The directory of a site without LDAP; created by the first change, empty until then."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._opened: Repository | None = None
        self._known = _NOTHING
        self._seen: bytes | None = None
        self._has_read = False

    # --- reading ---

    def clients(self) -> Mapping[str, Client]:
        """Return all clients by name, sorted. Raises ConfigError with file and line, DamagedError."""
        return MappingProxyType(self._read_clients(self._look()).clients)

    def client(self, name: str) -> Client:
        """Return one client. Raises NotFoundError with similar names."""
        clients = self._read_clients(self._look()).clients
        if name not in clients:
            raise no_such_client(name, clients)
        return clients[name]

    def find(self, wanted: Mapping[str, str]) -> Mapping[str, Client]:
        """Return the clients with the ``wanted`` values."""
        return {name: one for name, one in self.clients().items() if matches(one, wanted)}

    def followers(self, channel: str) -> Mapping[Kind, int]:
        """Count the clients of each kind that follow a channel."""
        return Counter(one.kind for one in self.find({"channel": channel}).values() if one.pin is None)

    def entries(self, names: Collection[str] | None = None) -> Mapping[str, Entry]:
        """Return the entry of each client's file."""
        from gitstate.directory.model.ldif import parse_client_entry

        tree = self._look()
        if self._opened is None or tree is None:
            return {}
        read = self._opened.read
        files = compare(read, None, tree).files if names is None else find(read, tree, names)
        return {name: parse_client_entry(read(blob), name, _where(name)) for name, blob in sorted(files.items())}

    def netgroup(self, name: str) -> list[str]:
        """Return the machines of a netgroup from this host's name service."""
        from gitstate.directory import netgroups

        return netgroups.hosts(name)

    def revision(self) -> str:
        """Return the commit; empty before the first change."""
        self._look()
        return self._seen.hex() if self._seen else ""

    def clients_state(self) -> str:
        """Return the objects of both folders, which a change of a channel leaves as they are."""
        tree = self._look()
        if self._opened is None or tree is None:
            return ""
        return " ".join(f"{name} {oid.hex()}" for name, oid in folders(self._opened.read, tree, _RENDERED))

    def last_change(self, name: str) -> LastChange | None:
        """Return the last commit of the client's file; None if there is none."""
        repository = self._repository()
        return past.last_change(repository, name) if repository else None

    def client_on(self, name: str, when: int) -> Client:
        """Return the client as it was ``when``. Raises NotFoundError, ConfigError."""
        return past.client_on(self._repository(), name, when)

    def _repository(self) -> Repository | None:
        if self._opened is None and fs.has_directory(self._site.directory_path):
            self._opened = Repository.open(self._site.directory_path, _NAME)
        return self._opened

    def _look(self) -> bytes | None:
        """Read the current root tree; from here on a change by anybody else is noticed."""
        repository = self._repository()
        self._seen = repository.ref(MAIN) if repository else None
        self._has_read = True
        return repository.snapshot(self._seen).tree if repository and self._seen else None

    @property
    def _cache(self) -> Path:
        return self._caches / "clients"

    def _read_clients(self, tree: bytes | None) -> CachedClients:
        """Return the clients of a root tree; only files that differ from the known ones are parsed."""
        if tree is None:
            self._known = _NOTHING
        elif tree != self._known.tree:
            known = cache.load(self._cache) or self._known
            if tree != known.tree:
                known = self._renewed(known, tree)
                cache.save(self._cache, known)
            self._known = known
        return self._known

    def _renewed(self, known: CachedClients, tree: bytes) -> CachedClients:
        assert self._opened is not None
        read = self._opened.read
        try:
            difference = compare(read, known.tree or None, tree)
        except (ConfigError, DamagedError):  # the old tree may be gone with a repack; the new one speaks for itself
            if not known.tree:
                raise
            return self._renewed(_NOTHING, tree)
        from gitstate.directory.model.ldif import parse_client  # python-ldap takes longer to load than all clients

        found = {name: parse_client(read(blob), name, _where(name))[0] for name, blob in difference.files.items()}
        clients = _merged(known.clients, difference.gone, found)
        self._refuse_clash(clients, tree)
        return CachedClients(tree, clients)

    def _refuse_clash(self, clients: Mapping[str, Client], tree: bytes) -> None:
        """Raise ConfigError, with file and line, if two clients have one address."""
        clash = find_duplicate_address(clients.values())
        if clash is None:
            return
        from gitstate.directory.model.ldif import HINT, line_of_address

        assert self._opened is not None
        blob = find(self._opened.read, tree, [clash.second])[clash.second]
        line = line_of_address(self._opened.read(blob), clash.second, clash.address)
        raise ConfigError(f"{_where(clash.second)}, line {line}: {clash.address} is {clash.first}'s already", HINT)

    # --- how it is ---

    def about(self) -> str:
        """Return where the clients are stored."""
        return str(self._site.directory_path)

    def problems(self) -> list[str]:
        """Return nothing: an invalid file is an error for every reader."""
        return []

    def finish(self) -> None:
        """Nothing to finish: a commit is atomic."""

    # --- channels and hardware classes ---

    def records(self, record_type: RecordType[Record]) -> dict[str, Record]:
        """Return all records by name, sorted. Raises ConfigError with file and line, DamagedError."""
        tree = self._look()
        return read_records(record_type, self._opened.read, tree, self._caches) if self._opened and tree else {}

    @property
    def _caches(self) -> Path:
        return self._site.directory_path / "gitstate"

    def change_records(
        self,
        record_type: RecordType[Record],
        put: Iterable[Record],
        remove: Iterable[str],
        author: Signature,
        message: str,
        committer: Signature | None = None,
    ) -> None:
        """One commit, all or nothing; see ``Directory.change_records``."""
        self._opened = repository = self._repository() or self._site.directory_repository()
        with repository.lock(f"a change of {record_type.folder}"):
            tree = self._look()
            objects = NewObjects()
            root = replace_records(record_type, repository.read, tree, put, remove, objects)
            if root is not None:
                self._seen = self._commit(root, objects, author, committer or author, message)

    # --- writing ---

    def change(
        self,
        put: Iterable[Client],
        remove: Iterable[str],
        author: Signature,
        message: str,
        committer: Signature | None = None,
        extra: Mapping[str, Entry] | None = None,
    ) -> None:
        """One commit, all or nothing; see ``Directory.change``."""
        changed = {client.name: normalized(client) for client in put}
        if not message.strip():
            raise UsageError("a change wants a message", "-m MSG")
        self._opened = repository = self._repository() or self._site.directory_repository()
        with repository.lock("a change of clients"):
            seen, has_read = self._seen, self._has_read
            tree = self._look()
            if has_read and seen != self._seen:
                raise LockedError("the directory has changed since it was read", "run the command again")
            known = self._read_clients(tree)
            gone = set(remove)
            for name in sorted(gone):
                if name not in known.clients:
                    raise no_such_client(name, known.clients)
            clients = _merged(known.clients, gone, changed)
            refuse_duplicate_addresses(clients.values(), changed)
            objects = NewObjects()
            files = self._files(known, changed, gone - changed.keys(), tree, objects, extra or {})
            if files:
                root = edit_tree(repository.read, tree, edits_of_clients(files), objects)
                self._seen = self._commit(root, objects, author, committer or author, message)
                self._known = CachedClients(root, clients)
                cache.save(self._cache, self._known)

    def _commit(self, root: bytes, objects: NewObjects, author: Signature, committer: Signature, message: str) -> bytes:
        """Commit ``root`` on top of the commit read last; return the new one."""
        assert self._opened is not None
        parents = [self._seen] if self._seen else []
        commit = objects.add(Type.COMMIT, Commit(root, parents, author, committer, message).encode())
        write_objects(self._opened, objects, [(MAIN, commit, self._seen)], message.strip().splitlines()[0][:60])
        return commit

    def _files(
        self,
        known: CachedClients,
        changed: Mapping[str, Client],
        gone: Iterable[str],
        tree: bytes | None,
        objects: NewObjects,
        extra: Mapping[str, Entry],
    ) -> dict[str, bytes | None]:
        """Return the blob of each changed file, None for a removed one. Unknown attributes of an entry stay."""
        from gitstate.directory.model.ldif import format_client, parse_client

        assert self._opened is not None
        read = self._opened.read
        current = find(read, tree, changed.keys() & known.clients.keys())
        files: dict[str, bytes | None] = dict.fromkeys(gone)
        for name, client in changed.items():
            had = current.get(name)
            if known.clients.get(name) != client or name in extra:
                entry = extra.get(name) or (parse_client(read(had), name, _where(name))[1] if had else None)
                blob = objects.add(Type.BLOB, format_client(client, entry))
                if blob != had:
                    files[name] = blob
        return files
