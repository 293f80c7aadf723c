"""ssh host keys: made once for a machine by ssh-keygen, kept among its secrets.

A key is there when its private half is. Public halves are renamed into place first, private ones last, after all bytes
are on the disk: killed at any moment this leaves no key or a whole one.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, NamedTuple

from gitstate.core import fs, process
from gitstate.core.entry import Kind, Meta
from gitstate.core.errors import ConfigError
from gitstate.core.failures import ProgramError, is_in_the_way, of_system
from gitstate.core.fs import DescriptorTree
from gitstate.core.monitor import Observer
from gitstate.core.names import host_name
from gitstate.machine.render.image import Image
from gitstate.machine.secrets import sshd
from gitstate.machine.secrets.options import KEY_TYPES, Options
from gitstate.machine.secrets.sshd import SSH_FOLDER
from gitstate.machine.secrets.tree import check_private, folder
from gitstate.store.site import Site

_STAGING: Final = b".new"
"""No host has such a name."""


class Key(NamedTuple):
    """One host key of one machine."""

    host: str
    type: str

    @property
    def name(self) -> bytes:
        """Its private half in the machine's ``/etc/ssh``."""
        return b"ssh_host_%s_key" % self.type.encode()

    @property
    def path(self) -> bytes:
        """Its private half from the directory of all secrets."""
        return b"%s/%s/%s" % (self.host.encode(), SSH_FOLDER, self.name)


def options_for(image: Image, options: Options) -> Options:
    """The types that machines with this root get: also those that its sshd asks for, if it wants none of the site's.

    An sshd without a key that it asks for doesn't start, or makes one that is another after each boot.
    """
    asked = sshd.host_key_types(image)
    if not asked or asked & {*options.host_keys}:
        return options
    return replace(options, host_keys=(*options.host_keys, *(kind for kind in KEY_TYPES if kind in asked)))


def missing_keys(site: Site, hosts: Iterable[str], options: Options) -> tuple[Key, ...]:
    """The host keys that machines should have and don't; nothing is written."""
    wanted = [Key(host_name(host), kind) for host in hosts for kind in options.host_keys]
    if not wanted or not fs.has_directory(folder(site)):
        return tuple(wanted)
    with fs.open_descriptor_tree(folder(site)) as secrets:
        return tuple(key for key in wanted if not secrets.is_file(key.path))


def ensure_host_keys(site: Site, hosts: Iterable[str], options: Options, observer: Observer) -> tuple[Key, ...]:
    """Give each of ``hosts`` the host keys that it lacks; those that were made. Raises ConfigError, StorageError.

    Call it for machines whose root has an sshd, for many at once: two processors make 400 machines' in a second.
    """
    left = not fs.is_free(folder(site) / os.fsdecode(_STAGING))  # by a run that was killed
    if not missing_keys(site, wanted := list(hosts), options) and not left:
        return ()
    with open_for_writing(site) as secrets:
        keys = missing_keys(site, wanted, options)  # somebody may have made them while we waited for the lock
        generate_keys(site, secrets, keys, observer)
    return keys


@contextmanager
def open_for_writing(site: Site) -> Iterator[DescriptorTree]:
    """The directory of all secrets, to be changed by us alone; who comes second waits. Raises ConfigError."""
    folder(site).mkdir(mode=0o700, exist_ok=True)
    lock = fs.open_tree(folder(site))
    try:
        check_private(lock, folder(site))
        fcntl.flock(lock, fcntl.LOCK_EX)
        with fs.open_descriptor_tree(folder(site)) as secrets:
            yield secrets
    finally:
        os.close(lock)


def machine_folder(secrets: DescriptorTree, host: str) -> None:
    """Have a directory for one machine's secrets, root's alone."""
    if not secrets.is_directory(host.encode()):
        secrets.make_directory(host.encode(), 0o700)


def generate_keys(site: Site, secrets: DescriptorTree, keys: Sequence[Key], observer: Observer) -> None:
    """Make ``keys`` anew, whatever is there. The caller holds the lock."""
    staging = folder(site) / os.fsdecode(_STAGING)
    fs.remove_tree(staging)
    secrets.make_directory(_STAGING, 0o700)
    try:
        _generate(os.fsdecode(staging), keys, observer)
        _sync(site)
        for key in keys:
            try:
                machine_folder(secrets, key.host)
                _install(secrets, key)
            except (NotADirectoryError, IsADirectoryError, FileExistsError) as error:
                where = f"{folder(site)}/{os.fsdecode(key.path)}"
                if is_in_the_way(error):
                    raise ConfigError(f"{where}: {error.strerror}", "move away what stands there") from None
                raise of_system(error, where) from None
        _sync(site)
    finally:
        fs.remove_tree(staging)


def _staged(key: Key) -> bytes:
    return b"%s.%s" % (key.host.encode(), key.type.encode())


def _generate(staging: str, keys: Sequence[Key], observer: Observer) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def one(key: Key) -> None:
        words = ["-q", "-t", key.type, "-N", "", "-C", f"root@{key.host}", "-f"]
        process.run(["ssh-keygen", *words, f"{staging}/{os.fsdecode(_staged(key))}"])

    observer.phase("host keys", len(keys), "keys")
    pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)))
    try:
        for _ in pool.map(one, keys):
            observer.advance()
    finally:
        pool.shutdown(cancel_futures=True)


def _install(secrets: DescriptorTree, key: Key) -> None:
    """Without the old private half first: it must not stand beside another one's public half."""
    if secrets.lstat(key.path):
        secrets.remove(key.path)
    staged = b"%s/%s" % (_STAGING, _staged(key))
    secrets.move(staged + b".pub", key.path + b".pub")
    secrets.move(staged, key.path)


def _sync(site: Site) -> None:
    descriptor = fs.open_tree(folder(site))
    try:
        fs.sync_file_system(descriptor)
    finally:
        os.close(descriptor)


# --- what others may know ---------------------------------------------------------------------------------------------


def restore_public_key(site: Site, secrets: DescriptorTree, path: bytes) -> bool:
    """Write the public half of the private host key at ``path``; False if that is none that needs no passphrase."""
    try:
        text = process.run(["ssh-keygen", "-y", "-P", "", "-f", f"{folder(site)}/{os.fsdecode(path)}"])
    except ProgramError:
        return False
    private = secrets.lstat(path)
    secrets.put(path + b".pub", [text], Meta(Kind.FILE, 0o644, time=private.st_mtime_ns if private else 0))
    return True


def public_keys(site: Site, hosts: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Hosts with their public keys as ``TYPE BASE64``, in the order of types; nothing for hosts without."""
    if not fs.has_directory(folder(site)):
        return
    with fs.open_descriptor_tree(folder(site)) as secrets:
        for host in hosts:
            for kind in KEY_TYPES:
                text = secrets.configuration(Key(host_name(host), kind).path + b".pub") or b""
                words = text.split()
                if len(words) > 1 and text.isascii():
                    yield host, f"{words[0].decode()} {words[1].decode()}"
