"""secret: per-machine secrets."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final

import click

from gitstate.cli.base.app import Session, command, group
from gitstate.cli.base.output import ago, emit, moment, size, suggest, table
from gitstate.cli.client.options import complete_client, content, existing_clients, names_argument, parsed
from gitstate.cli.client.output import refresh_archives
from gitstate.core import names
from gitstate.core.entry import Kind, Meta
from gitstate.core.errors import NotFoundError, UsageError
from gitstate.core.names import display, octal
from gitstate.directory.selection import ClientNames
from gitstate.machine import secrets
from gitstate.machine.secrets import Secret

_MODE: Final = re.compile("0?[0-7]{3}")
_OWNER: Final = re.compile("([0-9]{1,10}):([0-9]{1,10})")
_LAST_ID: Final = (1 << 32) - 2
_SECOND: Final = 10**9


@group("gitstate secret list", "gitstate secret add lab3-12 /etc/krb5.keytab lab3-12.keytab")
def secret() -> None:
    """Per-machine secrets: host keys, keytabs, certificates.

    They are in SITE/secrets/HOST/, at their paths below that machine's root,
    never in git, and are laid over it after all layers. docs/security.md says
    who else can read them.
    """


_one_host = click.argument("host", callback=parsed(names.host_name), shell_complete=complete_client)


def _path(text: str) -> bytes:
    return secrets.parse_path(os.fsencode(text))


# --- list -------------------------------------------------------------------------------------------------------------


@command("gitstate secret list", "gitstate secret list lab3-12", name="list", group=secret)
@click.argument("host", required=False, callback=parsed(names.host_name), shell_complete=complete_client)
def list_(session: Session, host: str | None) -> None:
    """List the secrets of HOST, or of all machines.

    Their content is not shown.
    """
    found, errors = secrets.listing(session.opened.site, host)
    clients = session.opened.directory.clients()
    heads = ("HOST", "PATH", "MODE", "OWNER", "SIZE", "CHANGED")
    value = {"secrets": [_as_json(one, is_client=one.host in clients) for one in found]}
    emit(session, "secret-list/1", value, table([_row(one) for one in found], heads, colour=session.colour))
    for name in dict.fromkeys(one.host for one in found if one.host not in clients):
        session.observer.notice(f"{name} is not a client")
    for error in errors[1:]:
        session.observer.notice(str(error))
    if errors:
        raise errors[0]
    if not found:
        suggest(session, f"{host} has no secrets" if host else "no machine has secrets")


def _row(one: Secret) -> tuple[str, ...]:
    meta = one.meta
    slash = "/" if meta.kind is Kind.DIRECTORY else ""
    amount = size(one.size) if meta.kind is Kind.FILE else "-"
    when = ago(meta.time // _SECOND) if meta.time is not None else "-"
    return one.host, f"/{display(one.path)}{slash}", f"{meta.mode:04o}", f"{meta.uid}:{meta.gid}", amount, when


def _as_json(one: Secret, *, is_client: bool) -> dict[str, Any]:
    meta = one.meta
    return {
        "host": one.host,
        "client": is_client,
        "path": octal(one.path),
        "type": meta.kind.value,
        "mode": f"{meta.mode:04o}",
        "uid": meta.uid,
        "gid": meta.gid,
        "size": one.size,
        "changed": moment(meta.time // _SECOND) if meta.time is not None else None,
    }


# --- add, remove ------------------------------------------------------------------------------------------------------


def _mode(text: str) -> int:
    if not _MODE.fullmatch(text):
        raise UsageError(f"{text!r} is not a mode", "octal digits without setuid and setgid: 0600, 0640, 0644")
    return int(text, 8)


def _owner(text: str) -> tuple[int, int]:
    match = _OWNER.fullmatch(text)
    if not match or max(map(int, match.groups())) > _LAST_ID:
        raise UsageError(f"{text!r} is not an owner", "UID:GID, as numbers")
    return int(match[1]), int(match[2])


@command(
    "gitstate secret add lab3-12 /etc/krb5.keytab lab3-12.keytab",
    "gitstate secret add lab3-12 /etc/ssl/private/host.key host.key \\\n    --mode 0640 --owner 0:110",
    group=secret,
    writes=True,
)
@_one_host
@click.argument("path", callback=parsed(_path))
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True, dir_okay=False))
@click.option(
    "--mode", metavar="MODE", default="0600", show_default=True, callback=parsed(_mode), help="Mode on the machine."
)
@click.option(
    "--owner",
    metavar="UID:GID",
    default="0:0",
    show_default=True,
    callback=parsed(_owner),
    help="Owner on the machine.",
)
def add(session: Session, host: str, path: bytes, file: Path, mode: int, owner: tuple[int, int]) -> None:
    """Give HOST the file PATH.

    Its content is that of FILE, or of standard input (-). An existing file is
    replaced. With a private ssh host key, its public key is written, too. HOST
    may be a client or become one later.
    """
    site, options = session.opened.site, secrets.load(session.opened.site)
    data = content(file, secrets.LARGEST)
    meta = Meta(Kind.FILE, mode, *owner)
    if host not in session.opened.directory.clients():
        session.observer.notice(f"{host} is not a client")
    if session.dry_run:
        replaced = secrets.preview_add(site, host, path, data, meta)
    else:
        replaced = secrets.add(site, host, path, data, meta, options)
    value = {
        "host": host,
        "path": octal(path),
        "mode": f"{mode:04o}",
        "uid": owner[0],
        "gid": owner[1],
        "size": len(data),
        "replaced": replaced,
        "dry_run": session.dry_run,
    }
    word = ("would replace" if replaced else "would add") if session.dry_run else "replaced" if replaced else "added"
    emit(session, "secret-add/1", value, [f"{host}: {word} /{display(path)}  {mode:04o}  {size(len(data))}"])
    if not session.dry_run:
        refresh_archives(session, [host])


@command(
    "gitstate secret remove lab3-12 /etc/krb5.keytab", "gitstate secret remove lab3-12 --all", group=secret, writes=True
)
@_one_host
@click.argument("path", required=False, callback=parsed(_path))
@click.option("--all", "everything", is_flag=True, help="Remove all secrets of HOST.")
def remove(session: Session, host: str, path: bytes | None, everything: bool) -> None:
    """Remove the secret PATH of HOST, or all of them.

    The machine keeps it until it gets its next archive. ssh host keys that the
    site requires are made again then.
    """
    if (path is None) != everything:
        raise UsageError("PATH is missing", f"name a PATH, or remove all: gitstate secret remove {host} --all")
    try:
        gone = secrets.preview_remove(session.opened.site, host, path)
    except NotFoundError:
        if not session.dry_run:  # an earlier run may have been interrupted before the archive lost it, too
            refresh_archives(session, [host])
        raise
    if not session.dry_run:
        secrets.remove(session.opened.site, host, path)
    value = {"host": host, "paths": [octal(one) for one in gone], "dry_run": session.dry_run}
    word = "would remove" if session.dry_run else "removed"
    emit(session, "secret-remove/1", value, [f"{host}: {word} /{display(one)}" for one in gone])
    if not session.dry_run:
        refresh_archives(session, [host])


# --- ssh host keys ----------------------------------------------------------------------------------------------------


@command("gitstate secret known-hosts >/etc/ssh/ssh_known_hosts", name="known-hosts", group=secret)
@names_argument("HOST...", shell_complete=complete_client)
def known_hosts(session: Session, who: ClientNames) -> None:
    """Print the machines' public ssh host keys.

    The format is that of ssh_known_hosts; each line has a client's names and
    addresses. Without HOST, all clients are printed.
    """
    directory = session.opened.directory
    hosts = existing_clients(session, who) if any(who) else sorted(directory.clients())
    found = secrets.known_hosts(session.opened.site, map(directory.client, hosts))
    value = {"keys": [one._asdict() for one in found]}
    emit(session, "secret-known-hosts/1", value, [f"{','.join(one.names)} {one.key}" for one in found])
    if not found:
        suggest(session, "no ssh host keys yet")


@command("gitstate secret renew lab3-12", "gitstate secret renew 'lab3-[01-24]' -n", group=secret, writes=True)
@names_argument("HOST...", required=True, shell_complete=complete_client)
def renew(session: Session, who: ClientNames) -> None:
    """Make new ssh host keys for HOST.

    All keys that it has are replaced, and those that the site requires are
    added. ssh then warns users who know the machine by its old keys.
    """
    site, options = session.opened.site, secrets.load(session.opened.site)
    directory = session.opened.directory
    hosts = existing_clients(session, who)
    for host in hosts:
        directory.client(host)
    if session.dry_run:
        made = secrets.preview_renew(site, hosts, options)
    else:
        made = secrets.renew(site, hosts, options, session.observer)
    value = {"keys": [{"host": key.host, "type": key.type} for key in made], "dry_run": session.dry_run}
    word = "would make" if session.dry_run else "made"
    types = {host: [key.type for key in made if key.host == host] for host in hosts}
    lines = [f"{host}: {word} {', '.join(kinds)}" for host, kinds in types.items() if kinds]
    emit(session, "secret-renew/1", value, lines)
    if not made:
        suggest(session, "no host keys, and [secrets] host_keys in site.toml requires none")
    elif not session.dry_run:
        refresh_archives(session, hosts)
