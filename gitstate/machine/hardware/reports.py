"""What machines reported of their hardware: in ``site.git`` under a ref of its own, a commit for each change."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from gitstate.core.errors import DamagedError, UsageError
from gitstate.core.names import host_name
from gitstate.core.signature import Signature
from gitstate.machine.hardware import probe
from gitstate.store import Commit, Repository, Type, write_objects
from gitstate.store.edit import NewObjects, edit_tree
from gitstate.store.lock import exclusive
from gitstate.store.objects import FILE
from gitstate.store.site import Site

REF: Final = "refs/gitstate/facts"
_SUFFIX: Final = b".json"


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
        if not self._site.releases_path.is_dir():
            return {}
        items = self._items(self._site.releases())
        return {name.removesuffix(_SUFFIX).decode("latin-1"): oid for name, oid in items.items()}

    def _items(self, repository: Repository) -> dict[bytes, bytes]:
        tip = repository.ref(REF)
        items = repository.tree(repository.snapshot(tip).tree) if tip else ()
        return {item.name: item.oid for item in items if item.name.endswith(_SUFFIX)}

    # --- writing ---

    def put(self, host: str, report: Mapping[str, Any], who: tuple[Signature, Signature]) -> bool:
        """Keep the report of ``host``, by author and committer ``who``; False if it is no news. Raises StorageError.

        Who publishes holds the lock of ``site.git`` for as long as exports take; a machine that boots can't wait so
        long, and nobody else moves this ref (docs/decisions/0008-reports-of-hardware.md).
        """
        if host_name(host) != host:
            raise UsageError(f"{host!r} is not a host name in lower case", "as gitstate client list has it")
        if not self.is_news(host, report):
            return False
        repository = self._site.releases()
        repository.private.mkdir(mode=0o700, exist_ok=True)
        with exclusive(repository.private):
            if not self.is_news(host, report):
                return False
            self._write(repository, host, report, who)
        return True

    def is_news(self, host: str, report: Mapping[str, Any]) -> bool:
        """Whether a report tells more than what is kept of ``host``; what can't be read any more is no obstacle."""
        try:
            old = self.get(host)
        except DamagedError:
            return True
        return probe.has_changed(old, {**report, "host": host})

    def _write(
        self, repository: Repository, host: str, report: Mapping[str, Any], who: tuple[Signature, Signature]
    ) -> None:
        objects, tip = NewObjects(), repository.ref(REF)
        blob = objects.add(Type.BLOB, f"{json.dumps({**report, 'host': host}, indent=1)}\n".encode())
        old = repository.snapshot(tip).tree if tip else None
        tree = edit_tree(repository.read, old, {host.encode() + _SUFFIX: (FILE, blob)}, objects)
        commit = Commit(tree, [tip] if tip else [], *who, f"{host} reports its hardware").encode()
        write_objects(repository, objects, [(REF, objects.add(Type.COMMIT, commit), tip)], f"report: {host}")
