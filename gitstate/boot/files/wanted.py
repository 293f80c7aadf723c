"""Which snapshot each client boots: pins and channels turned into commits, or all that is wrong with them named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from gitstate.boot.plan import BootChannel, BootClient, Maintained, machine_id
from gitstate.core.errors import ConfigError, GitstateError, NotFoundError
from gitstate.core.names import Pin
from gitstate.core.wording import some_of
from gitstate.store.site import Site

if TYPE_CHECKING:
    from gitstate.directory import Client

MAIN = "main"
"""The branch of a prototype whose tip tells which kernel its live tree has."""


def resolve(site: Site, clients: Iterable[Client], running: Mapping[str, BootChannel]) -> Mapping[Pin, bytes]:
    """The commit of every pin; ``running`` is what channels run.

    Raises NotFoundError that names all clients without a snapshot, and why.
    """
    users: dict[Pin, list[str]] = {}
    channels: dict[str, list[str]] = {}
    without: list[str] = []
    for client in clients:
        if (pin := _pin(client)) is not None:
            users.setdefault(pin, []).append(client.name)
        elif client.channel in running:
            continue
        elif client.channel is not None:
            channels.setdefault(client.channel, []).append(client.name)
        else:
            without.append(client.name)
    commits, problems = _commits(site, users)
    for channel, names in channels.items():
        message = f"channel {channel} of {some_of(names)} has no release"
        problems.append(NotFoundError(message, f"gitstate channel show {channel} tells what it waits for"))
    if without:
        message = f"{some_of(without)} {'have' if len(without) > 1 else 'has'} no snapshot"
        hint = f"gitstate client set {without[0]} --channel NAME, or --pin PROTOTYPE@REV"
        problems.append(NotFoundError(message, hint))
    raise_all(problems)
    return commits


def _pin(client: Client) -> Pin | None:
    """The snapshot that a client is pinned to; of a live tree, that of its last check-in, which has its kernel."""
    return Pin(client.maintains, MAIN) if client.maintains else client.pin


def maintained(site: Site, clients: Iterable[Client]) -> list[Maintained]:
    """The live trees that clients boot. Raises HostError, ConfigError for one that can't be exported to its client."""
    found: dict[str, Maintained] = {}
    problems: list[GitstateError] = []
    for client in clients:
        if client.maintains is None:
            continue
        try:
            one = _maintained(site, client, client.maintains)
        except GitstateError as error:
            problems.append(error)
            continue
        other = found.setdefault(one.prototype, one)
        if other is not one:
            hint = f"gitstate client set {one.client} --no-maintains"
            problems.append(ConfigError(f"{other.client} and {one.client} both maintain {one.prototype}", hint))
    raise_all(problems)
    return list(found.values())


def _maintained(site: Site, client: Client, name: str) -> Maintained:
    from gitstate.tree.checkin import live_tree  # few sites have such a client
    from gitstate.tree.overlay.layers import layers_of

    repository = site.repository(name)
    live = live_tree(repository, None)
    if layers_of(repository) is not None:
        hint = f"gitstate live {name} --mode dir"
        raise ConfigError(f"the live tree of {name} is an overlay, and {client.name} can't boot that by NFS", hint)
    addresses = tuple(address for address in client.ips if ":" not in address)
    if not addresses:
        hint = f"gitstate client set {client.name} --ip ADDRESS: the one that DHCP gives it"
        raise ConfigError(f"{client.name} maintains {name} and has no IPv4 address to which alone it is exported", hint)
    return Maintained(name, client.name, str(live), addresses)


def _commits(site: Site, users: Mapping[Pin, Sequence[str]]) -> tuple[dict[Pin, bytes], list[GitstateError]]:
    """The commits of all pins that can be had, and what is wrong with the others: one git for each prototype."""
    pins: dict[str, list[Pin]] = {}
    for pin in users:
        pins.setdefault(pin.prototype, []).append(pin)
    commits: dict[Pin, bytes] = {}
    problems: list[GitstateError] = []
    for prototype, its in pins.items():
        try:
            repository = site.repository(prototype)
            asked = "".join(f"{pin.revision}^{{commit}}\n" for pin in its)
            said = repository.git("cat-file", "--batch-check=%(objectname)", stdin=asked.encode()).decode().splitlines()
        except GitstateError as error:
            names = [name for pin in its for name in users[pin]]
            problems.append(_with_users(error, names))
            continue
        for pin, answer in zip(its, said, strict=True):
            try:
                commits[pin] = bytes.fromhex(answer) if len(answer) == 40 else repository.resolve(pin.revision)
            except GitstateError as error:
                problems.append(_with_users(error, users[pin]))
    return commits, problems


def _with_users(error: GitstateError, names: Sequence[str]) -> GitstateError:
    error.message = f"{error.message}, which {some_of(names)} should boot"
    return error


def boot_clients(
    uuid: str,
    clients: Iterable[Client],
    commits: Mapping[Pin, bytes],
    running: Mapping[str, BootChannel],
    roots: Mapping[str, str],
) -> list[BootClient]:
    """The clients as the renderers want them. Of one that follows a channel no script changes when that moves.

    ``roots`` has what clients mount that boot a live tree: ``ADDRESS:/PATH``.
    """
    words = {pin: commit.hex() for pin, commit in commits.items()}
    found = []
    for client in clients:
        pin = _pin(client)
        channel = None if pin else running[client.channel or ""]
        found.append(
            BootClient(
                name=client.name,
                macs=client.macs,
                prototype=pin.prototype if pin else "",
                commit=words[pin] if pin else "",
                machine_id=machine_id(uuid, client.name),
                ips=client.ips,
                arguments=_arguments(client, roots.get(client.name)),
                channel=channel.name if channel else None,
            )
        )
    return found


def _arguments(client: Client, root: str | None) -> tuple[str, ...]:
    """What stands behind the snapshot's own words on the kernel line; the last one of a name counts."""
    from gitstate.directory.model.clients import DEFAULT_STATE  # who has clients has that room

    if root is not None:
        return (f"gitstate.root={root}", "gitstate.state=maintenance")
    return () if client.state == DEFAULT_STATE else (f"gitstate.state={client.state}",)


def raise_all(problems: Sequence[GitstateError]) -> None:
    """Raise one error that names all ``problems``, of the first one's class and with its hint."""
    if not problems:
        return
    if len(problems) > 1:
        problems[0].message = some_of([one.message for one in problems], separator="; ")
    raise problems[0]
