"""The archives of machines that run one snapshot with layers: what each depends on, and its content."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property, partial
from typing import Any, Final

from gitstate.core.errors import ConfigError
from gitstate.core.monitor import Observer
from gitstate.directory import Client, Directory, HardwareClass
from gitstate.directory.model.entries import Entry
from gitstate.machine import layers as choosing
from gitstate.machine import secrets
from gitstate.machine.archives import content as archive
from gitstate.machine.archives import pack
from gitstate.machine.archives.files import NOTHING, Inputs, Recorded
from gitstate.machine.hardware import match as hardware
from gitstate.machine.hardware.reports import Reports
from gitstate.machine.layers import Classes
from gitstate.machine.render import Batch, RenderContext
from gitstate.store.site import Site

_FEW: Final = 8
"""Entries that are looked up one by one."""


class Maker:
    """Makes the archives of machines that run one snapshot with layers; ``commits`` are those of a release.

    If ``lenient``, a secret that can't be laid is left out, and told in ``left_out``; else it is an error. ``state`` is
    the directory's ``clients_state``, taken before ``clients`` were read.
    """

    def __init__(
        self,
        site: Site,
        directory: Directory,
        prototype: str,
        commits: Mapping[str, bytes],
        clients: Iterable[Client],
        state: str | None = None,
        *,
        lenient: bool = False,
    ) -> None:
        self._site = site
        self._directory = directory
        self._options = choosing.load(site)
        self._clients = {client.name: client for client in clients}
        self._secret_options = secrets.load(site)
        self._prototype = (prototype, commits[prototype])
        self._lenient = lenient
        self._state = state
        self.left_out: dict[str, dict[str, None]] = {}
        """Why secrets can't be laid, by host: of archives that were made without them."""
        self._layers = {name: oid for name, oid in commits.items() if name != prototype}

    @cached_property
    def _hardware(self) -> Mapping[str, dict[str, Any]]:
        """What machines have reported of themselves."""
        return _Reported(Reports(self._site).all(), self._clients)

    @cached_property
    def _batch(self) -> Batch:
        entries = _Entries(self._directory, self._clients) if self._layers else {}
        context = RenderContext(self._prototype, self._layers, self._options, self._hardware, entries, self._rules)
        return Batch(context, self._site.repository)

    @cached_property
    def _rules(self) -> tuple[HardwareClass, ...]:
        return tuple(self._directory.classes().values())

    @cached_property
    def _unknown(self) -> pack.UnknownClasses:
        classes = tuple((rule.name, hardware.modalias_globs(rule)) for rule in self._rules)
        return pack.UnknownClasses(classes, self._options.classes is Classes.ALL)

    @cached_property
    def _secret_hosts(self) -> frozenset[str]:
        """Those machines that have secrets."""
        return frozenset(self._clients.keys() & set(secrets.hosts(self._site)))

    def ensure_host_keys(self, observer: Observer) -> None:
        """Let machines that people reach by ssh have host keys of their own. Raises ConfigError."""
        if self._secret_options.host_keys and secrets.has_sshd(self._batch.image):
            options = secrets.options_for(self._batch.image, self._secret_options)
            secrets.ensure_host_keys(self._site, self._clients, options, observer)

    @property
    def is_needed(self) -> bool:
        """Whether machines get anything: a site without layers needs no archives."""
        return bool(self._layers or self._secret_hosts)

    def keys(self, *, anyway: bool = False, known: Recorded = NOTHING) -> dict[str, str]:
        """What each machine's archive is made from, by its name. Raises NotFoundError, ConfigError.

        ``anyway``: where the release has archives already its boot file asks for everybody's, needed or not. ``known``:
        what archives were made from before; of those that are made from the same, keys aren't worked out anew.
        """
        needed = anyway or self.is_needed
        keys = self._equal_keys(known) if needed else {}
        return {host: keys.get(host) or self._key(client) for host, client in self._clients.items()} if needed else {}

    @cached_property
    def inputs(self) -> Inputs | None:
        """What all keys depend on; None where that takes as long as to work them out."""
        if self._state is None:
            return None
        reports = {host: oid.hex() for host, oid in Reports(self._site).blobs().items() if host in self._clients}
        stamps = secrets.stamps(self._site, self._secret_hosts)
        parts = [pack.VERSION, self._state, sorted(self._clients), repr(self._options), reports, stamps]
        digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        name, commit = self._prototype
        return Inputs(f"{name} {commit.hex()}", {one: oid.hex() for one, oid in self._layers.items()}, digest)

    def _equal_keys(self, known: Recorded) -> dict[str, str]:
        """The keys of machines that get what they got; only layers' commits may differ."""
        old, new = known.inputs, self.inputs
        if old is None or new is None or (old.prototype, old.rest) != (new.prototype, new.rest):
            return {}
        if old.layers.keys() != new.layers.keys():
            return {}
        changed = {name for name, commit in new.layers.items() if old.layers[name] != commit}
        return {
            host: known.keys[host]
            for host, client in self._clients.items()
            if host in known.keys and not (changed and self._gets(client, changed))
        }

    def _gets(self, client: Client, layers: Collection[str]) -> bool:
        """Whether a machine gets one of ``layers``, or might when its hardware is known."""
        variants = {f"class/{name}" for name, _ in self._unknown_of(client).classes}
        return not variants.isdisjoint(layers) or not set(self._batch.resolve(client).names).isdisjoint(layers)

    def _key(self, client: Client) -> str:
        return pack.key(self._batch, client, self._unknown_of(client), self._secrets_of(client.name).digest)

    def content(self, host: str) -> Iterator[bytes]:
        """The archive of a machine, in entries. Raises GitstateError that names machine, layer, commit and file."""
        client = self._clients[host]
        packed = pack.pack(self._batch, client, self._unknown_of(client))
        secret, image = self._secrets_of(host), self._batch.image.at
        self.left_out.pop(host, None)
        return archive.write(secrets.apply_secrets(packed, secret, image, host, partial(self._secret_fault, host)))

    def _secret_fault(self, host: str, error: ConfigError) -> None:
        if not self._lenient:
            raise error
        self.left_out.setdefault(host, {})[f"{error.message} ({error.hint})"] = None

    def is_whole(self, host: str) -> bool:
        """Whether nothing was left out of the archive that was made last."""
        return host not in self.left_out

    def left_out_texts(self) -> list[str]:
        """Why secrets were left out, a text each."""
        return [text for host in sorted(self.left_out) for text in self.left_out[host]]

    def _secrets_of(self, host: str) -> secrets.Secrets:
        if host not in self._secret_hosts:
            return secrets.Secrets()
        return secrets.machine_secrets(self._site, host, self._secret_options)

    def _unknown_of(self, client: Client) -> pack.UnknownClasses:
        known = client.classes or client.name in self._hardware
        return pack.NO_VARIANTS if known else self._unknown

    def render_without_keeping(self, hosts: Collection[str], observer: Observer) -> None:
        """Make archives and keep none of them. Raises GitstateError."""
        observer.phase("machine archives", len(hosts), "machines")
        for host in hosts:
            for _ in self.content(host):
                pass
            observer.advance()

    def report_missing_layers(self, observer: Observer) -> None:
        """Say which layers somebody named that don't exist."""
        found: Counter[str] = Counter()
        for client in self._clients.values() if self.is_needed else ():
            found.update(f"there is no layer {one.name} ({one.why})" for one in self._batch.resolve(client).missing)
        for text, count in sorted(found.items()):
            observer.notice(f"{text}: {count} machine{'s' if count > 1 else ''}")


class _Reported(Mapping[str, dict[str, Any]]):
    """The reports of some machines, each parsed when somebody asks for it."""

    def __init__(self, reports: Mapping[str, Mapping[str, Any]], hosts: Collection[str]) -> None:
        self._reports = reports
        self._hosts = {host: None for host in reports if host in hosts}

    def __getitem__(self, host: str) -> dict[str, Any]:
        if host not in self._hosts:
            raise KeyError(host)
        return dict(self._reports[host])

    def __iter__(self) -> Iterator[str]:
        return iter(self._hosts)

    def __len__(self) -> int:
        return len(self._hosts)


class _Entries(Mapping[str, Entry]):
    """The directory's entries of some machines: of a few one by one, of more all at once."""

    def __init__(self, directory: Directory, hosts: Collection[str]) -> None:
        self._directory = directory
        self._hosts = hosts
        self._known: dict[str, Entry] = {}
        self._asked = 0

    def __getitem__(self, host: str) -> Entry:
        if host not in self._known and host in self._hosts:
            self._asked += 1
            self._known.update(self._directory.entries([host] if self._asked <= _FEW else self._hosts))
        return self._known[host]

    def __iter__(self) -> Iterator[str]:
        return iter(self._hosts)

    def __len__(self) -> int:
        return len(self._hosts)
