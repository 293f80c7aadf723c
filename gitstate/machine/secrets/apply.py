"""Secrets over what layers make of a machine: the secret wins, at the place to which the machine's symlinks lead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from gitstate.core.entry import Kind, Meta
from gitstate.core.errors import ConfigError
from gitstate.core.names import display, join
from gitstate.machine.render.image import ImageEntry
from gitstate.machine.render.models import Archive, ArchiveEntry, Layout
from gitstate.machine.render.paths import PathError, resolve_symlinks
from gitstate.machine.secrets.tree import Secrets

_MOUNTED_AT_BOOT: Final = (b"proc", b"sys", b"run", b"dev")
_PRIVATE: Final = Meta(Kind.DIRECTORY, 0o700)

Fault = Callable[[ConfigError], None]
Look = Callable[[bytes], ImageEntry | None]
"""What the image has at a path whose directories are no symlinks: ``Image.at``."""


def raise_fault(error: ConfigError) -> None:
    """Stop at a secret that can't be laid."""
    raise error


def apply_secrets(archive: Archive, secrets: Secrets, image: Look, host: str, fault: Fault = raise_fault) -> Archive:
    """``archive`` with the secrets of ``host`` laid last, over every variant, too.

    ``fault`` is told what can't be laid, and either raises it or leaves that secret out.
    """
    if not secrets.entries:
        return archive
    root = _Root(archive.layout, image, f"secrets/{host}")
    found = {one.path: one for one in root.placed(secrets, fault)}
    variants = (replace(one, layout=_reapplied(one.layout, found, host, fault)) for one in archive.variants)
    return replace(archive, layout=_with_entries(archive.layout, found), variants=tuple(variants))


def _with_entries(layout: Layout, found: dict[bytes, ArchiveEntry]) -> Layout:
    laid = {one.path: one for one in layout.entries} | found
    return replace(layout, entries=tuple(laid.values()))


def _reapplied(layout: Layout, found: dict[bytes, ArchiveEntry], host: str, fault: Fault) -> Layout:
    """A class's layout, which is laid over the common one: what it does to a secret's place is done before."""
    laid = {one.path: one for one in layout.entries}
    gone = {*layout.removed, *layout.opaque}
    again = {}
    for path, one in found.items():
        above = [*_above(path)]
        files = [place for place in above if place in laid and laid[place].meta.kind is not Kind.DIRECTORY]
        if files:
            fault(_in_the_way(f"secrets/{host}", path, files[0]))
        elif path in laid or path in gone or any(place in gone for place in above):
            again[path] = one
    return _with_entries(layout, again) if again else layout


def _above(path: bytes) -> Iterator[bytes]:
    while b"/" in path:
        path = path.rpartition(b"/")[0]
        yield path


def _in_the_way(where: str, path: bytes, place: bytes) -> ConfigError:
    return ConfigError(f"{where}/{display(path)}: /{display(place)} of this machine is no directory", "move the secret")


class _Root:
    """What the machine has at every path: its image, and what the common layout does to it."""

    def __init__(self, layout: Layout, image: Look, where: str) -> None:
        self._entries = {one.path: one for one in layout.entries}
        self._implied = {path for one in layout.entries for path in _above(one.path)}
        self._removed = frozenset(layout.removed)
        self._opaque = frozenset(layout.opaque)
        self._image = image
        self._where = where

    def placed(self, secrets: Secrets, fault: Fault) -> Iterator[ArchiveEntry]:
        """The secrets at the paths where they really go, directories before what is in them."""
        for path in secrets.private:
            try:
                place = self._place(path)
            except ConfigError:
                continue  # told of each secret in it
            if self._look(place)[0] is None:
                yield ArchiveEntry(place, _PRIVATE)
        taken: dict[bytes, bytes] = {}
        for one in secrets.entries:
            try:
                place = self._place(one.path)
                self._refuse(one, place)
                if place in taken:
                    both = f"{display(taken[place])} and {display(one.path)}"
                    raise ConfigError(f"{self._where}: {both} are both /{display(place)}", "remove one of them")
            except ConfigError as error:
                fault(error)
                continue
            taken[place] = one.path
            yield replace(one, path=place)

    def _refuse(self, one: ArchiveEntry, place: bytes) -> None:
        if place.partition(b"/")[0] in _MOUNTED_AT_BOOT:
            what = f"{self._where}/{display(one.path)}: nobody would see /{display(place)}"
            raise ConfigError(what, "it is mounted over at boot: move the secret")
        kind, _ = self._look(place)
        if one.meta.kind is Kind.DIRECTORY:
            if kind not in (None, Kind.DIRECTORY):
                raise _in_the_way(self._where, one.path, place)
        elif kind is Kind.DIRECTORY:
            raise ConfigError(
                f"{self._where}/{display(one.path)}: /{display(place)} of this machine is a directory",
                "move the secret",
            )

    def _place(self, path: bytes) -> bytes:
        """Where a path really is: the symlinks among its directories followed, inside the root."""
        here = b""
        *above, name = path.split(b"/")
        for part in above:
            try:
                here = resolve_symlinks(here, part, self._target)
            except PathError as way:
                raise _in_the_way(self._where, path, way.args[0]) from None
            if self._look(here)[0] not in (None, Kind.DIRECTORY):
                raise _in_the_way(self._where, path, here)
        return join(here, name)

    def _target(self, path: bytes) -> bytes | None:
        kind, target = self._look(path)
        return target if kind is Kind.SYMLINK else None

    def _look(self, path: bytes) -> tuple[Kind | None, bytes]:
        """What stands there, by its kind; a symlink's target."""
        if not path:
            return Kind.DIRECTORY, b""
        if path in self._entries:
            return self._entries[path].meta.kind, self._entries[path].content
        if path in self._implied:
            return Kind.DIRECTORY, b""
        found = None if self._is_gone(path) else self._image(path)
        return (found.meta.kind, found.target) if found else (None, b"")

    def _is_gone(self, path: bytes) -> bool:
        """Whether layers hide what the image has at ``path``."""
        if path in self._removed:
            return True
        for place in _above(path):
            if place in self._removed or place in self._opaque:
                return True
            if place in self._entries and self._entries[place].meta.kind is not Kind.DIRECTORY:
                return True
        return b"" in self._opaque
