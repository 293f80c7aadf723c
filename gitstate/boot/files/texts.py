"""Which files of text change: rendered where something may have changed, compared, and only then written.

A *unit* is what is rendered together, such as the scripts of one client. One whose digest is that of the last run,
and whose files are as they were written then, isn't rendered, and its files aren't read.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import Final

from gitstate.boot.files.state import State, Unit
from gitstate.boot.options import Dhcp, Options
from gitstate.boot.plan import BootChannel, BootClient, Image, Maintained
from gitstate.boot.render import ETC_FILES, MARK, Renderer
from gitstate.core.errors import ConfigError, HostError, RefusedError
from gitstate.core.output import TFTP, OutputRoot, Stamp, new_digest, stamp
from gitstate.core.wording import some_of

FIRST: Final = f"{TFTP}/boot"
CHANNELS: Final = f"{TFTP}/boot/channel"
MACHINES: Final = f"{TFTP}/boot/mac"
LOADERS: Final = ("undionly.kpxe", "snponly.efi", "ipxe.efi", "snponly-arm64.efi", "ipxe-arm64.efi")
"""Of iPXE's programs those that network cards' firmware loads."""
_NEEDED: Final = ("undionly.kpxe", "snponly.efi")
_HEAD: Final = 1024
"""How far into a file its header may stand (bytes)."""


@dataclass(frozen=True, slots=True)
class File:
    """A file to be written: what is there now, None if nothing is, and what shall be there."""

    path: str
    unit: str
    old: bytes | None
    new: bytes


@dataclass(frozen=True, slots=True)
class Stale:
    """A file that we wrote, that nothing asks for any more, and what is in it."""

    path: str
    old: bytes


@dataclass(frozen=True, slots=True)
class Texts:
    """What is to be written, in this order, and removed. ``units`` hold what stays: files to be written lack there."""

    files: tuple[File, ...]
    stale: tuple[Stale, ...]
    units: Mapping[str, Unit]
    unchanged: tuple[str, ...]
    kept: tuple[str, ...]
    """Boot loaders that somebody else put there."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A unit as it should be: ``render`` makes its files. Files that don't ``bear`` our mark are others' programs."""

    key: str
    digest: str
    render: Callable[[], Mapping[str, bytes]]
    bear: bool = True


class Comparer:
    """Compares units with the disk. Files of others are collected, to be named all at once."""

    def __init__(self, output: OutputRoot, state: State) -> None:
        self._output = output
        self._known = state.units
        self._foreign: list[str] = []
        self._wanted: set[str] = set()
        self.units: dict[str, Unit] = {}
        self.files: list[File] = []
        self.unchanged: list[str] = []
        self.kept: list[str] = []

    def compare(self, wanted: Wanted) -> None:
        """Compare one unit. Raises ConfigError for a text without a header."""
        known = self._known.get(wanted.key)
        if known and known.digest == wanted.digest and self._all_untouched(known.files) and _is_whole(known, wanted):
            self.units[wanted.key] = known
            self._wanted.update(known.files)
            self.unchanged += known.files
            return
        unit = self.units[wanted.key] = Unit(wanted.digest, {})
        for path, new in wanted.render().items():
            self._wanted.add(path)
            if wanted.bear and not bears_mark(new):
                raise ConfigError(f"{path} would have no header", f"let its template say in a comment: {MARK}")
            self._compare_file(path, new, wanted, unit, known)

    def _all_untouched(self, files: Mapping[str, Stamp]) -> bool:
        return all(self._output.is_untouched(path, written) for path, written in files.items())

    def _compare_file(self, path: str, new: bytes, wanted: Wanted, unit: Unit, known: Unit | None) -> None:
        status = self._output.lstat(path)
        if status is None:
            self.files.append(File(path, wanted.key, None, new))
            return
        if not stat.S_ISREG(status.st_mode):
            self._foreign.append(path)
            return
        old = self._output.read(path)
        if old == new and self._output.has_rights(path, status):
            content = new_digest()
            content.update(new)
            unit.files[path] = stamp(status, content.hexdigest())
            self.unchanged.append(path)
        elif old == new or bears_mark(old) or _wrote(known, path, status):
            self.files.append(File(path, wanted.key, old, new))
        elif wanted.bear:
            self._foreign.append(path)
        else:
            self.kept.append(path)

    def refuse_foreign(self) -> None:
        """Raise RefusedError if there are files of others where ours should be."""
        if self._foreign:
            where = some_of([self._output.absolute(path) for path in self._foreign])
            raise RefusedError(f"not written by gitstate: {where}", "move what stands there away, and run it again")

    def stale(self) -> Iterator[Stale]:
        """Files that we wrote and that nothing asks for any more."""
        candidates = [path for path in ETC_FILES if path not in self._wanted]
        for folder in (FIRST, CHANNELS, MACHINES):
            ours = (f"{folder}/{name}" for name in self._output.names(folder) if name.endswith(".ipxe"))
            candidates += [path for path in ours if path not in self._wanted]
        for path in candidates:
            status = self._output.lstat(path)
            if status and stat.S_ISREG(status.st_mode) and bears_mark(self._output.read(path, _HEAD)):
                yield Stale(path, self._output.read(path))


def _wrote(known: Unit | None, path: str, status: os.stat_result) -> bool:
    """Whether the file is one that we wrote."""
    written = known.files.get(path) if known else None
    return written is not None and written.looks_like(status)


def _is_whole(known: Unit, wanted: Wanted) -> bool:
    """Whether all files of a unit were written: a boot loader of somebody else's is looked at every time."""
    return wanted.bear or bool(known.files)


def bears_mark(text: bytes) -> bool:
    """Whether the header says that we wrote it."""
    return MARK.lower().encode() in text[:_HEAD].lower()


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that the texts are made from; ``loaders`` is where iPXE's programs stand on this machine."""

    site: Path
    uuid: str
    options: Options
    images: Sequence[Image]
    clients: Sequence[BootClient]
    channels: Sequence[BootChannel]
    loaders: Path
    maintained: Sequence[Maintained] = ()


def plan(inputs: Inputs, output: OutputRoot, state: State) -> Texts:
    """What changes. Raises ConfigError, RefusedError, HostError."""
    comparer = _compared(chain(_common_units(inputs, output), _units(inputs)), output, state)
    return _texts(comparer, comparer.units, tuple(comparer.stale()))


def plan_some(inputs: Inputs, output: OutputRoot, state: State) -> Texts:
    """What changes of these snapshots, channels and clients alone; all else stays as it is.

    Raises ConfigError, RefusedError.
    """
    comparer = _compared(_units(inputs), output, state)
    return _texts(comparer, {**state.units, **comparer.units}, ())


def _compared(units: Iterable[Wanted], output: OutputRoot, state: State) -> Comparer:
    comparer = Comparer(output, state)
    for wanted in units:
        comparer.compare(wanted)
    comparer.refuse_foreign()
    return comparer


def _texts(comparer: Comparer, units: Mapping[str, Unit], stale: tuple[Stale, ...]) -> Texts:
    files = tuple(sorted(comparer.files, key=lambda file: _rank(file.path)))
    return Texts(files, stale, units, tuple(comparer.unchanged), tuple(comparer.kept))


def _rank(path: str) -> int:
    """The order of writing: what is named by others comes before them."""
    if path.startswith("etc/"):
        return 2
    if path.startswith(f"{MACHINES}/"):
        return 5
    if path.startswith(f"{CHANNELS}/"):
        return 4
    if path.startswith(f"{FIRST}/"):
        return 3 if path.endswith(".ipxe") else 1
    return 0


def _basis(inputs: Inputs) -> tuple[str, Callable[[], Renderer]]:
    """The digest of what all texts depend on, and what renders them, made when it is wanted."""
    common = digest(str(inputs.site), inputs.uuid, inputs.options, *_templates(inputs.site))
    return common, cache(lambda: Renderer(inputs.site, inputs.uuid, inputs.options))


def _common_units(inputs: Inputs, output: OutputRoot) -> Iterator[Wanted]:
    """What there is one of."""
    common, renderer = _basis(inputs)
    files = partial(_rendered, renderer, Renderer.common_files, inputs.maintained)
    yield Wanted("common", digest(common, *inputs.maintained), files)
    yield from _loaders(inputs.options, output, inputs.loaders)
    if inputs.options.dhcp is Dhcp.OWN:
        hosts = digest(common, [(client.name, client.macs, client.ips) for client in inputs.clients])
        yield Wanted("hosts", hosts, partial(_rendered, renderer, Renderer.hosts_files, inputs.clients))


def _units(inputs: Inputs) -> Iterator[Wanted]:
    """Those of snapshots, channels and clients."""
    common, renderer = _basis(inputs)
    for image in inputs.images:
        files = partial(_rendered, renderer, Renderer.image_files, image)
        yield Wanted(f"image {image.path}", digest(common, image), files)
    for channel in inputs.channels:
        files = partial(_rendered, renderer, Renderer.channel_files, channel)
        yield Wanted(f"channel {channel.name}", digest(common, channel), files)
    for client in inputs.clients:
        fields = (client.macs, client.prototype, client.commit, client.machine_id, client.ips, client.arguments)
        files = partial(_rendered, renderer, Renderer.client_files, client)
        yield Wanted(f"client {client.name}", digest(common, *fields, client.channel), files)


def _rendered(
    renderer: Callable[[], Renderer], files: Callable[..., Mapping[str, str]], *values: object
) -> Mapping[str, bytes]:
    return {path: text.encode() for path, text in files(renderer(), *values).items()}


def digest(*parts: object) -> str:
    """A short digest of values whose representation tells all of them."""
    return hashlib.blake2b(repr(parts).encode(), digest_size=12).hexdigest()


def _templates(site: Path) -> Iterator[tuple[str, bytes]]:
    """All that texts are rendered by: this district, its templates and the site's own.

    Times would tell nothing: a package may give the same to all files of all its versions.
    """
    for place in (Path(__file__).parents[1], site / "templates"):
        for path in sorted(place.rglob("*")):
            if path.suffix in (".py", ".j2"):
                yield str(path.relative_to(place)), path.read_bytes()


def _loaders(options: Options, output: OutputRoot, source: Path) -> Iterator[Wanted]:
    """iPXE's programs that this machine has. Raises HostError if one is missing without which nothing boots."""
    for name in LOADERS:
        file, path = source / name, f"{FIRST}/{name}"
        try:
            status = file.stat()
        except FileNotFoundError:
            if name in _NEEDED and options.dhcp is not Dhcp.NONE and output.lstat(path) is None:
                raise HostError(f"{file} is missing", "apt-get install ipxe") from None
            continue
        render = partial(_program, path, file)
        yield Wanted(
            f"loader {name}", digest(str(file), status.st_ino, status.st_size, status.st_mtime_ns), render, bear=False
        )


def _program(path: str, file: Path) -> Mapping[str, bytes]:
    return {path: file.read_bytes()}
