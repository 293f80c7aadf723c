"""Machine archives, ``tftp/archives/CHANNEL/VERSION/HOST.cpio``: a folder for each release, and from what it was made.

An archive whose key was that of an earlier one is that one: a further link to it. The keys stand beside the archives in
a file that is root's alone, as what they are made from may be secret. A file counts as written only if inode, size and
time are still those, with its rights.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from gitstate.core.monitor import SILENT, Observer
from gitstate.core.output import TFTP, OutputRoot, Stamp, is_temporary, temporary_name
from gitstate.core.state_file import StateFormat, to_json

FOLDER: Final = f"{TFTP}/archives"
_KEYS: Final = ".keys"
_KEYS_MODE: Final = 0o600
_FORMAT: Final = StateFormat("archives", 3)
_SUFFIX: Final = ".cpio"
_PART: Final = "-in-part"
"""Behind the key of an archive of which something was left out: whoever looks again makes it again, and tells it."""

Content = Callable[[str], Iterable[bytes]]


_Written = tuple[int, int, int, str]
_Known = Mapping[str, tuple[str, _Written]]
"""Of each host the key of its archive, and the stamp of the file; as JSON has them, as of most nothing is asked."""


class Inputs(NamedTuple):
    """What all archives of a release are made from: snapshot, layers' commits by name, and a digest of the rest.

    Where they are those of an earlier release, keys are, too; where a few layers differ, those of other machines are.
    """

    prototype: str
    layers: Mapping[str, str]
    rest: str


class Recorded(NamedTuple):
    """What stands in a folder: its inputs, None if that isn't known, and the keys by host."""

    inputs: Inputs | None
    keys: Mapping[str, str]


NOTHING: Final = Recorded(None, {})
"""Of archives that are made for the first time."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of one folder: hosts whose archives stay, are linked from ``donor``, are to be made, or go.

    ``added`` are those that have none there yet; ``left`` are names of files that a killed run left.
    """

    folder: str
    donor: str | None
    keys: Mapping[str, str]
    kept: Mapping[str, _Written]
    linked: Mapping[str, _Written]
    made: tuple[str, ...]
    removed: tuple[str, ...]
    added: frozenset[str]
    left: tuple[str, ...]
    is_new: bool
    inputs: Inputs | None = None
    is_recorded: bool = True
    """Whether ``inputs`` stand there, or need not."""

    def __bool__(self) -> bool:
        if self.linked or self.made or self.removed or self.left:
            return True
        return bool(self.keys) and (self.is_new or not self.is_recorded)


def folder_of(channel: str, version: str) -> str:
    """Where the archives of a release stand."""
    return f"{FOLDER}/{channel}/{version}"


def folders(output: OutputRoot) -> list[str]:
    """The directories of archives: of all, of each channel, of each release that has some."""
    found = [FOLDER]
    for above in (FOLDER, *_below(output, FOLDER)):
        found += _below(output, above)
    return found


def _below(output: OutputRoot, folder: str) -> list[str]:
    entries = output.names(folder).items()
    return [f"{folder}/{name}" for name, status in entries if stat.S_ISDIR(status.st_mode) and not is_temporary(name)]


def plan(
    output: OutputRoot,
    channel: str,
    version: str,
    donor: str | None,
    keys: Mapping[str, str],
    only: Iterable[str] | None = None,
    inputs: Inputs | None = None,
) -> Plan:
    """What there is to do for a release whose hosts' archives have ``keys``; ``donor`` is an earlier version.

    Of a folder that is there ``only`` some hosts may be looked at: the others' archives stay as they are. ``inputs``
    are recorded with the keys of all.
    """
    folder = folder_of(channel, version)
    is_new = output.directory(folder) is None
    before, known = _read(output, folder)
    left: tuple[str, ...] = ()
    if only is None or is_new:
        standing = set(hosts(output, folder))  # listed once, which many calls of lstat are not
        looked_at = standing | known.keys() | keys.keys()
        left = tuple(name for name in output.names(folder) if is_temporary(name))
    else:
        looked_at = set(only)
        standing = {host for host in looked_at | keys.keys() if output.lstat(_path(folder, host))}
    kept = _current(output, folder, known, keys)
    others = {host: key for host, key in keys.items() if host not in kept}
    earlier = folder_of(channel, donor) if donor and donor != version else None
    linked = {}
    if earlier and others:
        output.names(earlier)
        linked = _current(output, earlier, _read(output, earlier)[1], others)
    beside = {host: one for host, one in known.items() if host not in looked_at}
    wanted = {host: key for host, (key, _) in beside.items()} | dict(keys)
    return Plan(
        folder=folder,
        donor=earlier,
        keys=wanted,
        kept=kept | {host: written for host, (_, written) in beside.items()},
        linked=linked,
        made=tuple(host for host in others if host not in linked),
        removed=tuple(sorted((standing & looked_at) - wanted.keys())),
        added=frozenset(keys.keys() - standing),
        left=left,
        is_new=is_new,
        inputs=inputs,
        is_recorded=inputs is None or before == inputs,
    )


def _current(output: OutputRoot, folder: str, known: _Known, keys: Mapping[str, str]) -> dict[str, _Written]:
    """The stamps of the hosts' archives in a folder that are as they were written, from what ``keys`` say."""
    return {host: known[host][1] for host, key in keys.items() if _is_current(output, folder, host, key, known)}


def _is_current(output: OutputRoot, folder: str, host: str, key: str, known: _Known) -> bool:
    one = known.get(host)
    return one is not None and one[0] == key and output.is_untouched(_path(folder, host), Stamp(*one[1]))


def _path(folder: str, host: str) -> str:
    return f"{folder}/{host}{_SUFFIX}"


def hosts(output: OutputRoot, folder: str) -> Iterator[str]:
    """The machines that have an archive in a folder."""
    return (
        name.removesuffix(_SUFFIX) for name in output.names(folder) if name.endswith(_SUFFIX) and not is_temporary(name)
    )


# --- what they were made from -----------------------------------------------------------------------------------------


def recorded(output: OutputRoot, channel: str, version: str) -> Recorded:
    """What is known of a release's archives; nothing if there are none."""
    inputs, known = _read(output, folder_of(channel, version))
    return Recorded(inputs, {host: key for host, (key, _) in known.items() if not key.endswith(_PART)})


def _read(output: OutputRoot, folder: str) -> tuple[Inputs | None, _Known]:
    """Inputs and keys of a folder; none if there is no file of them, or one that is damaged."""
    status = output.lstat(f"{folder}/{_KEYS}")
    if status is None or not stat.S_ISREG(status.st_mode) or stat.S_IMODE(status.st_mode) != _KEYS_MODE:
        return None, {}
    with output.open(f"{folder}/{_KEYS}") as file:
        body = _FORMAT.decode(file)
    if body is None:
        return None, {}
    inputs, known = json.loads(body)
    return Inputs(*inputs) if inputs else None, known


def damaged(output: OutputRoot) -> list[str]:
    """The archives that are gone or changed, a line each; ``output`` reads content. Raises OSError."""
    folders = [
        folder_of(channel, version)
        for channel in _names(output, FOLDER)
        for version in _names(output, f"{FOLDER}/{channel}")
    ]
    found = [
        _path(folder, host)
        for folder in folders
        for host, (_, written) in _read(output, folder)[1].items()
        if not output.is_untouched(_path(folder, host), Stamp(*written))
    ]
    return [f"{output.absolute(path)} isn't as it was written" for path in sorted(found)]


def _names(output: OutputRoot, folder: str) -> list[str]:
    return sorted(name for name, status in output.names(folder).items() if stat.S_ISDIR(status.st_mode))


# --- doing it ---------------------------------------------------------------------------------------------------------


def apply(
    plan: Plan,
    output: OutputRoot,
    content: Content,
    observer: Observer,
    is_whole: Callable[[str], bool] = lambda host: True,
) -> None:
    """Bring the folder about: a new one appears as a whole, in an old one each archive is replaced. Raises OSError.

    ``content`` makes a host's archive; what it raises leaves everything as it was. ``is_whole`` says of one that was
    made whether nothing was left out.
    """
    if not plan:
        return
    above, _, name = plan.folder.rpartition("/")
    folder = f"{above}/{temporary_name(name)}" if plan.is_new else plan.folder
    output.make(above)
    output.remove_tree(f"{above}/{temporary_name(name)}")
    output.make(folder)
    for one in plan.left:
        output.remove(f"{folder}/{one}")
    try:
        _fill(plan, folder, output, content, observer, is_whole)
        if plan.is_new:
            output.sync()
            output.rename_directory(folder, plan.folder)
        else:
            _replace(plan, output)
    except BaseException as error:
        if plan.is_new:
            output.remove_tree(folder)
        else:
            _discard(plan, output)
        if isinstance(error, OSError):
            error.filename = output.absolute(plan.folder)  # it knows of a descriptor at most
        raise
    output.sync_directories([plan.folder, _path(plan.folder, "")])


def _fill(
    plan: Plan,
    folder: str,
    output: OutputRoot,
    content: Content,
    observer: Observer,
    is_whole: Callable[[str], bool],
) -> None:
    """Stage what is new, and the keys; in a new folder everything takes its place at once."""
    stamps = dict(plan.kept)
    observer.phase("machine archives", len(plan.made) + len(plan.linked), "machines")
    for host, written in plan.linked.items():
        assert plan.donor is not None
        link = output.link if plan.is_new else output.stage_link
        link(_path(folder, host), _path(plan.donor, host))
        stamps[host] = written
        observer.advance()
    for host in plan.made:
        stamps[host] = output.stage(_path(folder, host), content(host))
        observer.advance()
    in_part = {host for host in plan.made if not is_whole(host)}
    keys = {host: (key + _PART * (host in in_part), stamps[host]) for host, key in plan.keys.items()}
    output.stage(f"{folder}/{_KEYS}", [_FORMAT.encode([to_json((plan.inputs, keys))])], _KEYS_MODE)
    output.sync()
    if plan.is_new:
        for host in plan.made:
            output.commit(_path(folder, host))
        output.commit(f"{folder}/{_KEYS}")


def _replace(plan: Plan, output: OutputRoot) -> None:
    """The keys go last: killed before, an archive that was replaced is made once more."""
    for host in (*plan.linked, *plan.made):
        output.commit(_path(plan.folder, host))
    for host in plan.removed:
        output.remove(_path(plan.folder, host))
    output.commit(f"{plan.folder}/{_KEYS}")


def _discard(plan: Plan, output: OutputRoot) -> None:
    for host in (*plan.linked, *plan.made):
        output.discard(_path(plan.folder, host))
    output.discard(f"{plan.folder}/{_KEYS}")


def remove_versions(output: OutputRoot, channel: str, stay: Iterable[str]) -> list[str]:
    """Remove the folders of a channel's releases but those that ``stay``; the versions that went."""
    above = f"{FOLDER}/{channel}"
    staying = set(stay)
    gone = [name for name in output.names(above) if name not in staying]
    for name in gone:
        output.remove_tree(f"{above}/{name}")
    return gone


def remove_hosts(output: OutputRoot, channel: str, version: str, stay: Collection[str]) -> None:
    """Remove the archives of a release but those of the hosts that ``stay``. Raises OSError."""
    gone = [host for host in hosts(output, folder_of(channel, version)) if host not in stay]
    if gone:
        apply(plan(output, channel, version, None, {}, gone), output, lambda host: (), SILENT)
