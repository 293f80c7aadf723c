"""A snapshot in ``tftp/PROTOTYPE/COMMIT/``: kernel, initrd and the list of what NFS loses; never changed afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from gitstate.boot.files import kernel, restore
from gitstate.boot.files.state import Copied, State
from gitstate.boot.files.wanted import raise_all
from gitstate.boot.options import Options
from gitstate.boot.plan import Image
from gitstate.core.errors import GitstateError
from gitstate.core.monitor import Observer
from gitstate.core.output import TFTP, OutputRoot, Stamp, new_digest, stamp, temporary_name
from gitstate.store import Repository
from gitstate.store.site import Site

KERNEL: Final = "vmlinuz"
INITRD: Final = "initrd.img"
CAPS: Final = "caps.cpio"
_PIECE: Final = 1 << 20

Content = Callable[[], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class Copy:
    """A snapshot whose files are to be written: all of them, or those of them that aren't as they should be.

    ``kept`` are the stamps of the others.
    """

    image: Image
    version: str
    restored: int
    """Entries with capabilities or ACLs."""
    contents: Mapping[str, Content]
    kept: Mapping[str, Stamp]
    is_new: bool


@dataclass(frozen=True, slots=True)
class Images:
    """All snapshots that clients boot; ``copied`` those that stand already."""

    images: tuple[Image, ...]
    copies: tuple[Copy, ...]
    copied: Mapping[str, Copied]


def plan(
    site: Site,
    options: Options,
    wanted: Iterable[tuple[str, bytes]],
    output: OutputRoot,
    state: State,
    observer: Observer,
) -> Images:
    """What is to be copied for the snapshots ``wanted``, by prototype and commit.

    Raises NotFoundError that names every snapshot that can't boot, and why; DamagedError, RefusedError.
    """
    images: list[Image] = []
    copies: list[Copy] = []
    copied: dict[str, Copied] = {}
    problems: list[GitstateError] = []
    for prototype, commit in wanted:
        path = f"{TFTP}/{prototype}/{commit.hex()}"
        known = state.copied.get(path)
        if known and known.nfs == options.nfs_version and all(output.is_untouched(*one) for one in known.files.items()):
            copied[path] = known
            images.append(Image(prototype, commit.hex(), known.epoch, known.has_caps))
            continue
        observer.phase(f"kernel and initrd of {prototype}@{commit.hex()[:7]}")
        try:
            copy = _examine(site.repository(prototype), prototype, commit, options, output)
        except GitstateError as error:
            error.message = f"{prototype}@{commit.hex()[:7]}: {error.message}"
            problems.append(error)
            continue
        images.append(copy.image)
        if copy.kept.keys() >= copy.contents.keys():
            copied[path] = Copied(copy.image.epoch, copy.image.has_caps, options.nfs_version, dict(copy.kept))
        else:
            copies.append(copy)
    raise_all(problems)
    return Images(tuple(images), tuple(copies), copied)


def _examine(repository: Repository, prototype: str, commit: bytes, options: Options, output: OutputRoot) -> Copy:
    """What the snapshot boots with, looked into, and what of it stands already."""
    snapshot = repository.snapshot(commit)
    files = kernel.Files(repository, snapshot.tree)
    found = kernel.find(files)
    text = restore.restore_list(repository, snapshot.tree)
    kernel.check(repository, files, found, options.nfs_version, restores=bool(text))
    contents: dict[str, Content] = {
        KERNEL: lambda: kernel.content(repository, found.kernel),
        INITRD: lambda: kernel.content(repository, found.initrd),
    }
    if text:
        contents[CAPS] = lambda: iter([restore.archive(text, snapshot.when)])
    image = Image(prototype, commit.hex(), snapshot.when, bool(text))
    folder = f"{TFTP}/{image.path}"
    is_new = output.directory(folder) is None
    kept: dict[str, Stamp] = {}
    for name, content in contents.items():
        path = f"{folder}/{name}"
        status = None if is_new else output.lstat(path)
        if status and output.has_rights(path, status) and (digest := _equal(output, path, content())):
            kept[path] = stamp(status, digest)
    by_path = {f"{folder}/{name}": content for name, content in contents.items()}
    return Copy(image, found.version, text.count(b"# file: "), by_path, kept, is_new)


def _equal(output: OutputRoot, path: str, pieces: Iterator[bytes]) -> str | None:
    """The digest of the file at ``path`` if it is what ``pieces`` are together, else None."""
    digest = new_digest()
    with output.open(path) as file:
        for piece in pieces:
            if file.read(len(piece)) != piece:
                return None
            digest.update(piece)
        return None if file.read(1) else digest.hexdigest()


def apply(copy: Copy, nfs_version: str, output: OutputRoot, observer: Observer) -> Copied:
    """Write the files: a new directory appears as a whole, in an old one each file is replaced. Raises OSError."""
    final = f"{TFTP}/{copy.image.path}"
    above, _, name = final.rpartition("/")
    folder = f"{above}/{temporary_name(name)}" if copy.is_new else final
    output.make(above)
    output.remove_tree(f"{above}/{temporary_name(name)}")
    stamps = dict(copy.kept)
    try:
        for path, content in copy.contents.items():
            if path not in stamps:
                own = f"{folder}/{path.rpartition('/')[2]}"
                stamps[path] = output.stage(own, _told(content(), observer))
        output.sync()
        for path in copy.contents.keys() - copy.kept.keys():
            output.commit(f"{folder}/{path.rpartition('/')[2]}")
        if copy.is_new:
            output.sync()
            output.rename_directory(folder, final)
    except BaseException:
        if copy.is_new:
            output.remove_tree(folder)
        else:
            for path in copy.contents:
                output.discard(path)
        raise
    output.sync_directories([*copy.contents, final])
    return Copied(copy.image.epoch, copy.image.has_caps, nfs_version, stamps)


def _told(pieces: Iterator[bytes], observer: Observer) -> Iterator[bytes]:
    for piece in pieces:
        observer.advance(len(piece))
        yield piece
