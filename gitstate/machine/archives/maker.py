"""The archives of machines that run one snapshot with layers: what each depends on, and its content."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

from gitstate.core.errors import ConfigError
from gitstate.core.monitor import Observer
from gitstate.directory import Client, Directory, HardwareClass
from gitstate.machine import layers as choosing
from gitstate.machine import secrets
from gitstate.machine.archives import content as archive
from gitstate.machine.archives import pack
from gitstate.machine.hardware import match as hardware
from gitstate.machine.hardware.reports import Reports
from gitstate.machine.layers import Classes
from gitstate.machine.render import Batch, RenderContext
from gitstate.store.site import Site


class Maker:
    """Makes the archives of machines that run one snapshot with layers; ``commits`` are those of a release.

    With ``observer`` a secret that can't be laid is told and left out; else it is an error.
    """

    def __init__(
        self,
        site: Site,
        directory: Directory,
        prototype: str,
        commits: Mapping[str, bytes],
        clients: Iterable[Client],
        observer: Observer | None = None,
    ) -> None:
        self._site = site
        self._directory = directory
        self._options = choosing.load(site)
        self._clients = {client.name: client for client in clients}
        self._secret_options = secrets.load(site)
        self._prototype = (prototype, commits[prototype])
        self._observer = observer
        self._layers = {name: oid for name, oid in commits.items() if name != prototype}

    @cached_property
    def _hardware(self) -> dict[str, dict[str, Any]]:
        """What machines have reported of themselves."""
        reports = Reports(self._site).all()
        return {host: dict(reports[host]) for host in reports if host in self._clients}

    @cached_property
    def _batch(self) -> Batch:
        entries = self._directory.entries(self._clients) if self._layers else {}
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
    def _secret(self) -> dict[str, secrets.Secrets]:
        """The secrets of those machines that have any."""
        hosts = self._clients.keys() & set(secrets.hosts(self._site))
        return {host: secrets.machine_secrets(self._site, host, self._secret_options) for host in sorted(hosts)}

    def ensure_host_keys(self, observer: Observer) -> None:
        """Let machines that people reach by ssh have host keys of their own. Raises ConfigError."""
        if self._secret_options.host_keys and secrets.has_sshd(self._batch.image):
            options = secrets.options_for(self._batch.image, self._secret_options)
            secrets.ensure_host_keys(self._site, self._clients, options, observer)

    @property
    def is_needed(self) -> bool:
        """Whether machines get anything: a site without layers needs no archives."""
        return bool(self._layers or self._secret)

    def keys(self, *, anyway: bool = False) -> dict[str, str]:
        """What each machine's archive is made from, by its name. Raises NotFoundError, ConfigError.

        ``anyway``: where the release has archives already its boot file asks for everybody's, needed or not.
        """
        needed = anyway or self.is_needed
        return {host: self._key(client) for host, client in self._clients.items()} if needed else {}

    def _key(self, client: Client) -> str:
        return pack.key(self._batch, client, self._unknown_of(client), self._secrets_of(client.name).digest)

    def content(self, host: str) -> Iterator[bytes]:
        """The archive of a machine, in entries. Raises GitstateError that names machine, layer, commit and file."""
        client = self._clients[host]
        packed = pack.pack(self._batch, client, self._unknown_of(client))
        secret, image = self._secrets_of(host), self._batch.image.at
        return archive.write(secrets.apply_secrets(packed, secret, image, host, self._secret_fault))

    def _secret_fault(self, error: ConfigError) -> None:
        if self._observer is None:
            raise error
        self._observer.notice(f"left out: {error.message}; {error.hint}")

    def _secrets_of(self, host: str) -> secrets.Secrets:
        return self._secret.get(host, secrets.Secrets())

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
