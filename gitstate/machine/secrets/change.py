"""Secrets added and removed by hand."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from gitstate.core import fs
from gitstate.core.entry import Meta
from gitstate.core.errors import NotFoundError, UsageError
from gitstate.core.failures import is_in_the_way, of_system
from gitstate.core.fs import DescriptorTree
from gitstate.core.monitor import Observer
from gitstate.core.names import display, host_name, tree_path
from gitstate.machine.secrets.keys import (
    Key,
    generate_keys,
    machine_folder,
    missing_keys,
    open_for_writing,
    restore_public_key,
)
from gitstate.machine.secrets.options import KEY_TYPES, Options
from gitstate.machine.secrets.sshd import SSH_FOLDER
from gitstate.machine.secrets.tree import check_secret, folder, machine_secrets
from gitstate.store.site import Site

_HOST_KEY: Final = re.compile(SSH_FOLDER + rb"/ssh_host_[a-z0-9]+_key")


def hosts(site: Site) -> list[str]:
    """The machines that have a directory of secrets, sorted."""
    if not fs.has_directory(folder(site)):
        return []
    with fs.open_descriptor_tree(folder(site)) as secrets:
        return [name.decode("ascii") for name, _ in secrets.names(b"") if _is_host(name)]


def _is_host(name: bytes) -> bool:
    try:
        return host_name(os.fsdecode(name)).encode() == name
    except UsageError:
        return False


def parse_path(text: bytes) -> bytes:
    """A path below a machine's root. Raises UsageError."""
    path = tree_path(text)
    if not path or path.rpartition(b"/")[2].startswith(b".gitstate.partial"):
        raise UsageError(f"'{display(text)}' is no path of a file", "such as /etc/krb5.keytab")
    return path


def add(site: Site, host: str, path: bytes, content: bytes, meta: Meta, options: Options) -> bool:
    """Put a file among the secrets of ``host``; whether there was one. Raises UsageError, ConfigError.

    The public half of an ssh host key is written with it. What would make the machine's secrets unusable is taken
    back.
    """
    check_secret(folder(site) / host_name(host), path, meta, content)
    where = b"%s/%s" % (host_name(host).encode(), path)
    with open_for_writing(site) as secrets:
        machine_folder(secrets, host_name(host))
        before = secrets.read(where), secrets.meta(where)
        _put(secrets, where, content, meta)
        try:
            machine_secrets(site, host, options)
        except Exception:
            _restore(secrets, where, *before)
            raise
        if (
            _HOST_KEY.fullmatch(path)
            and not restore_public_key(site, secrets, where)
            and secrets.lstat(where + b".pub")
        ):
            secrets.remove(where + b".pub")
    return before[0] is not None


def preview_add(site: Site, host: str, path: bytes, content: bytes, meta: Meta) -> bool:
    """What ``add`` would return or, so far as that can be told without writing, raise."""
    check_secret(folder(site) / host_name(host), path, meta, content)
    if not fs.has_directory(folder(site)):
        return False
    with fs.open_descriptor_tree(folder(site)) as secrets:
        return secrets.is_file(b"%s/%s" % (host_name(host).encode(), path))


def _put(secrets: DescriptorTree, where: bytes, content: bytes, meta: Meta) -> None:
    stamped = meta._replace(time=time.time_ns()) if meta.time is None else meta
    try:
        with secrets.directory(where.rpartition(b"/")[0], make=True):
            secrets.put(where, [content], stamped)
    except OSError as error:
        host, _, path = where.partition(b"/")
        what = f"secrets of {host.decode()}: {display(path)}"
        if is_in_the_way(error):
            hint = "is a file where a directory is wanted, or the other way round?"
            raise UsageError(f"{what}: {error.strerror}", hint) from None
        raise of_system(error, what) from None


def _restore(secrets: DescriptorTree, where: bytes, content: bytes | None, meta: Meta | None) -> None:
    if content is not None and meta is not None:
        secrets.put(where, [content], meta)
    else:
        secrets.remove(where)


def preview_remove(site: Site, host: str, path: bytes | None) -> list[bytes]:
    """What ``remove`` removes: the files of a directory, too. Raises NotFoundError."""
    name = host_name(host).encode()
    where = name if path is None else b"%s/%s" % (name, path)
    if fs.has_directory(folder(site)):
        with fs.open_descriptor_tree(folder(site)) as secrets:
            found = secrets.lstat(where)
            if found and stat.S_ISDIR(found.st_mode):
                below = [one for one, status in secrets.walk(where) if not stat.S_ISDIR(status.st_mode)]
                return [one.removeprefix(name + b"/") for one in below]
            if found and path is not None:
                return [path]
    what = f"{host} has no secrets" if path is None else f"{host} has no secret /{display(path)}"
    raise NotFoundError(what, "gitstate secret list shows what there is")


def remove(site: Site, host: str, path: bytes | None) -> None:
    """Remove one secret, or all of a machine's; directories that become empty go, too. Raises NotFoundError."""
    name = host_name(host).encode()
    preview_remove(site, host, path)
    with open_for_writing(site) as secrets:
        where = name if path is None else b"%s/%s" % (name, path)
        if secrets.lstat(where):
            secrets.remove(where)
        while b"/" in where:
            where = where.rpartition(b"/")[0]
            secrets.remove_empty(where)


def renew(site: Site, wanted: Sequence[str], options: Options, observer: Observer) -> tuple[Key, ...]:
    """Make the host keys of machines anew; those that were made. Raises ConfigError, StorageError."""
    with open_for_writing(site) as secrets:
        keys = preview_renew(site, wanted, options)
        generate_keys(site, secrets, keys, observer)
    return keys


def preview_renew(site: Site, wanted: Sequence[str], options: Options) -> tuple[Key, ...]:
    """What ``renew`` would make: keys of every type that a machine has, or that the site wants."""
    every = tuple(Key(host_name(host), kind) for host in wanted for kind in KEY_TYPES)
    absent = set(missing_keys(site, wanted, replace(options, host_keys=KEY_TYPES)))
    return tuple(key for key in every if key.type in options.host_keys or key not in absent)
