"""What machines reported of their hardware: in ``site.git`` under a ref of its own, a commit for each change."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from gitstate.core import fs
from gitstate.core.errors import DamagedError, UsageError
from gitstate.core.names import host_name
from gitstate.core.signature import Signature
from gitstate.machine.hardware import probe
from gitstate.machine.hardware.probe import Running
from gitstate.store import Commit, Repository, Type, write_objects
from gitstate.store.edit import NewObjects, edit_tree
from gitstate.store.lock import exclusive
from gitstate.store.objects import FILE
from gitstate.store.site import Site

REF: Final = "refs/gitstate/facts"
_SUFFIX: Final = b".json"
_RUNNING: Final = b".running"


class _Parsed(Mapping[str, Mapping[str, Any]]):
    """Reports by host, each parsed when somebody asks for it."""

    def __init__(self, repository: Repository, blobs: Mapping[str, bytes]) -> None:
        self._repository = repository
        self._blobs = blobs
        self._known: dict[str, Mapping[str, Any]] = {}

    def __getitem__(self, host: str) -> Mapping[str, Any]:
        if host not in self._known:
            self._known[host] = _parsed(host, self._repository.read(self._blobs[host]))
        return self._known[host]

    def __iter__(self) -> Iterator[str]:
        return iter(self._blobs)

    def __len__(self) -> int:
        return len(self._blobs)


def _parsed(host: str, data: bytes) -> Mapping[str, Any]:
    try:
        return MappingProxyType(probe.parse_report(data))
    except UsageError as fault:
        hint = "let the machine report again, or gitstate client report HOST FILE"
        raise DamagedError(f"site.git, {REF}: {host}.json: {fault.message}", hint) from None


def _parsed_running(data: bytes) -> Running:
    try:
        return probe.parse_running(data)
    except UsageError as fault:
        hint = "let the machines report again: gitstate probe --report"
        raise DamagedError(f"site.git, {REF}: {fault.message}", hint) from None


class Reports:
    """The last report of each machine."""

    def __init__(self, site: Site) -> None:
        self._site = site

    # --- reading ---

    def all(self) -> Mapping[str, Mapping[str, Any]]:
        """Reports by host; each is parsed when it is asked for, and raises Damaged then."""
        blobs = self.blobs()
        return _Parsed(self._site.releases(), blobs) if blobs else {}

    def get(self, host: str) -> Mapping[str, Any] | None:
        """The last report of ``host``. Raises DamagedError."""
        return self.all().get(host)

    def blobs(self) -> dict[str, bytes]:
        """The object of each report, by host, in the order of a git tree."""
        if not fs.has_directory(self._site.releases_path):
            return {}
        items = self._items(self._site.releases())
        return {name.removesuffix(_SUFFIX).decode("latin-1"): oid for name, oid in items.items()}

    def _items(self, repository: Repository) -> dict[bytes, bytes]:
        return {name: oid for name, oid in self._tree(repository).items() if name.endswith(_SUFFIX)}

    def _tree(self, repository: Repository) -> dict[bytes, bytes]:
        tip = repository.ref(REF)
        items = repository.tree(repository.snapshot(tip).tree) if tip else ()
        return {item.name: item.oid for item in items}

    def running(self) -> dict[str, Running]:
        """What machines reported to run, by host: the same for many, so each text is read once. Raises DamagedError."""
        if not fs.has_directory(self._site.releases_path):
            return {}
        repository = self._site.releases()
        blobs = {name: oid for name, oid in self._tree(repository).items() if name.endswith(_RUNNING)}
        texts = {oid: _parsed_running(repository.read(oid)) for oid in set(blobs.values())}
        return {name.removesuffix(_RUNNING).decode("latin-1"): texts[oid] for name, oid in blobs.items()}

    # --- writing ---

    def put(
        self, host: str, report: Mapping[str, Any], who: tuple[Signature, Signature], running: Running | None = None
    ) -> bool:
        """Keep the report of ``host``, by author and committer ``who``; False if it is no news. Raises StorageError.

        Who publishes holds the lock of ``site.git`` for as long as exports take; a machine that boots can't wait so
        long, and nobody else moves this ref (docs/decisions/0008-reports-of-hardware.md).
        """
        if host_name(host) != host:
            raise UsageError(f"{host!r} is not a host name in lower case", "as gitstate client list has it")
        if not self._changes(host, report, running):
            return False
        repository = self._site.releases()
        repository.private.mkdir(mode=0o700, exist_ok=True)
        with exclusive(repository.private):
            changes = self._changes(host, report, running)
            if changes:
                self._write(repository, host, changes, who)
        return bool(changes)

    def _changes(self, host: str, report: Mapping[str, Any], running: Running | None) -> dict[bytes, bytes]:
        """The files to write, by name."""
        files: dict[bytes, bytes] = {}
        if self.is_news(host, report):
            files[host.encode() + _SUFFIX] = f"{json.dumps({**report, 'host': host}, indent=1)}\n".encode()
        if running is not None and self._kept_running(host) != probe.encode_running(running):
            files[host.encode() + _RUNNING] = probe.encode_running(running)
        return files

    def _kept_running(self, host: str) -> bytes | None:
        if not fs.has_directory(self._site.releases_path):
            return None
        repository = self._site.releases()
        oid = self._tree(repository).get(host.encode() + _RUNNING)
        return repository.read(oid) if oid else None

    def is_news(self, host: str, report: Mapping[str, Any]) -> bool:
        """Whether a report tells more than what is kept of ``host``; what can't be read any more is no obstacle."""
        try:
            old = self.get(host)
        except DamagedError:
            return True
        return probe.has_changed(old, {**report, "host": host})

    def _write(
        self, repository: Repository, host: str, files: Mapping[bytes, bytes], who: tuple[Signature, Signature]
    ) -> None:
        objects, tip = NewObjects(), repository.ref(REF)
        blobs = {name: (FILE, objects.add(Type.BLOB, data)) for name, data in files.items()}
        old = repository.snapshot(tip).tree if tip else None
        tree = edit_tree(repository.read, old, blobs, objects)
        what = "its hardware" if host.encode() + _SUFFIX in files else "what it runs"
        commit = Commit(tree, [tip] if tip else [], *who, f"{host} reports {what}").encode()
        write_objects(repository, objects, [(REF, objects.add(Type.COMMIT, commit), tip)], f"report: {host}")
