"""Create prototypes (adopt or copy a directory, unpack a tarball or an image, run mmdebstrap, fork), and remove them.

A live tree is made in a temporary directory, whose lock keeps the name; the repository is renamed last, which makes the
prototype exist.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from gitstate.core import fs, process
from gitstate.core.errors import HostError, LockedError, NotFoundError, UsageError
from gitstate.core.monitor import Observer
from gitstate.core.names import repo_name, visible
from gitstate.core.wording import counted
from gitstate.store import MAIN, Repository
from gitstate.store.lock import exclusive, wait_for_lock
from gitstate.store.site import Site
from gitstate.tree import export, tarball
from gitstate.tree.checkin import LIVE
from gitstate.tree.oci import Image, find_image, unpack
from gitstate.tree.overlay.layers import require_directory
from gitstate.tree.own_data import OwnData, check_overlap

DEFAULT_VARIANT: Final = "important"
_HALF_REPOSITORIES: Final = ("prototypes/.*.partial", "layers/.*.partial", "layers/*/.*.partial")
_MOVED: Final = "moved"
"""A file that says which tree got the live tree's name, by device and inode: until the repository has its own, it is
nobody's."""


@dataclass(frozen=True, slots=True)
class Source:
    """What a new prototype is made from. At most one of the first four is set; none: an empty live tree.

    ``copy`` is a directory, a tarball, or holds images, of which ``image`` names one. ``fork`` is a prototype's name
    and a revision of it; ``suite`` goes to mmdebstrap with ``include`` and ``variant``.
    """

    adopt: Path | None = None
    copy: Path | None = None
    fork: tuple[str, str] | None = None
    suite: str | None = None
    include: Sequence[str] = field(default=())
    variant: str = DEFAULT_VARIANT
    mirrors: Sequence[str] = field(default=())
    image: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A prototype to be created: its repository, its live tree, and where that comes from."""

    site: Site
    name: str
    repository: Path
    live: Path
    source: Source
    image: Image | None = None

    def describe(self) -> list[str]:
        """What ``apply`` will do, a line each."""
        source = self.source
        made = f"make {self.live}"
        if source.adopt:
            lines = [f"adopt {self.live} in place"]
            if OwnData(self.site.path).lies_in(self.live):
                lines += [f"leave {self.site.path} out, which lies in it"]
        elif self.image:
            named = f" {visible(self.image.name)}" if self.image.name else ""
            layers = counted(len(self.image.layers), "layer")
            lines = [f"{made} from the image{named} in {source.copy}, {layers}"]
        elif source.copy:
            lines = [f"{made} from {source.copy}"]
        elif source.fork:
            lines = [f"{made} from {source.fork[0]}@{source.fork[1]}, with its history"]
        elif source.suite:
            lines = [f"{made} by mmdebstrap: {source.suite} ({source.variant}) {' '.join(source.include)}".rstrip()]
        else:
            lines = [f"{made}, empty"]
        return [*lines, f"make {self.repository}"]


def plan(site: Site, name: str, source: Source) -> Plan:
    """Plan a prototype. Raises UsageError, NotFoundError, HostError."""
    live = source.adopt.absolute() if source.adopt is not None else site.live_path(name)
    plan = Plan(site, name, site.repository_path(repo_name(name)), live, source)
    _check_name_is_free(plan)
    if source.adopt is not None and not fs.has_directory(live):
        raise HostError(f"{live} is not a directory", "--live adopts an existing root file system")
    if source.adopt is not None:
        OwnData(site.path).check(live)
        check_overlap(site, live)
    if source.copy is not None and fs.is_free(source.copy):
        raise NotFoundError(f"{source.copy} doesn't exist", "--from takes a directory, a tarball or PROTOTYPE[@REV]")
    if source.copy is not None and source.copy.is_dir() and OwnData(site.path).lies_in(source.copy):
        hint = f"adopt it, and the site is left out (--live {source.copy}), or make a tarball without it"
        raise UsageError(f"the site {site.path} lies in {source.copy}, and would be copied with its secrets", hint)
    if source.fork is not None:
        site.repository(source.fork[0]).resolve(source.fork[1])
    return replace(plan, image=_image(source))


def _image(source: Source) -> Image | None:
    """The image that ``--from`` means. Raises UsageError if one is named where there is none, DamagedError."""
    image = find_image(source.copy, source.image) if source.copy is not None else None
    if image is None and source.image is not None:
        raise UsageError(f"{source.copy} holds no images", "leave out the @NAME")
    return image


def _check_name_is_free(plan: Plan) -> None:
    if not fs.is_free(plan.repository):
        raise UsageError(f"there is a prototype {plan.name} already", "gitstate prototype show shows it")
    if plan.source.adopt is None and not fs.is_free(plan.live) and not _is_left(plan):
        hint = f"adopt it (--live {plan.live}) or remove it"
        raise UsageError(f"{plan.live} is in the way and belongs to no prototype", hint)


def _place(plan: Plan) -> Path:
    """Where the new tree is made."""
    return plan.site.live_path(plan.name).with_name(f".{plan.name}.partial")


def _is_left(plan: Plan) -> bool:
    """Whether the live tree is that of a creation which was killed before its repository had its name."""
    try:
        status = plan.live.lstat()
        return (_place(plan) / _MOVED).read_text() == f"{status.st_dev} {status.st_ino}"
    except (FileNotFoundError, NotADirectoryError):
        return False


def apply(plan: Plan, observer: Observer) -> Repository:
    """Create the prototype. If anything fails, nothing of it is left.

    The site is locked to take the name and to publish, not meanwhile: an installation takes minutes. Raises LockedError
    if another command is creating one of that name.
    """
    with _reserved_name(plan) as place:
        for path in (plan.repository, plan.site.live_path(plan.name), plan.site.exports_path(plan.name)):
            fs.remove_tree(_removed_path(path))  # left by a killed command
        tree = plan.live if plan.source.adopt is not None else place / plan.name
        base = _fill(plan, tree, observer)
        with wait_for_lock(plan.site.lock):
            _check_name_is_free(plan)
            _publish(plan, tree, base)
    return Repository(plan.repository)


@contextmanager
def _reserved_name(plan: Plan) -> Iterator[Path]:
    """An empty directory for the new tree. Its parent's lock keeps the name; that comes and goes under the site's lock.

    Not its own: an export into it takes that.
    """
    place = _place(plan)
    busy = f"a prototype {plan.name} is being created by another command"
    is_ours = False
    with ExitStack() as stack:
        try:
            with plan.site.lock():
                _check_name_is_free(plan)
                if place.is_dir() and not place.is_symlink():
                    with exclusive(place, busy):
                        if _is_left(plan):
                            fs.remove_tree(plan.live)
                is_ours = True
                fs.remove_tree(place)
                with fs.usual_umask():
                    (place / "live").mkdir(mode=0o711, parents=True)  # apt's own user reads below it
                stack.enter_context(exclusive(place, busy))
            try:
                yield place / "live"
            finally:
                fs.remove_tree(place / "live")  # takes long
        finally:
            if is_ours:
                with wait_for_lock(plan.site.lock):
                    stack.close()
                    _clear(plan)


def _clear(plan: Plan) -> None:
    """Remove what was made, unless somebody else makes one of that name now. The caller has locked the site."""
    place = _place(plan)
    if place.is_dir():
        with suppress(LockedError), exclusive(place, f"{place} is in use"):
            if fs.is_free(plan.repository) and _is_left(plan):
                fs.remove_tree(plan.live)
            fs.remove_tree(place)


def _publish(plan: Plan, tree: Path, base: bytes | None) -> None:
    """Make the repository, and give the live tree its name. ``base`` is the commit that a fork starts from."""

    def fill(repository: Repository) -> None:
        if base is not None:
            _fork_history(plan, base, repository)
        if tree != plan.live:
            status = tree.lstat()
            fs.write_file(_place(plan) / _MOVED, f"{status.st_dev} {status.st_ino}".encode())
            os.rename(tree, plan.live)
            fs.sync_directory(plan.live.parent)

    Repository.create(plan.repository, live=plan.live, fill=fill)


def _fill(plan: Plan, tree: Path, observer: Observer) -> bytes | None:
    """Make the live tree's content; for a fork, the commit that it equals."""
    source = plan.source
    if source.adopt is not None:
        return None
    if source.fork is not None:
        repository = plan.site.repository(source.fork[0])
        commit = repository.resolve(source.fork[1])
        observer.phase("export")
        exports = plan.site.exports_path(source.fork[0])
        export.apply(export.plan(repository, commit, exports, tree), observer)
        return commit
    with fs.usual_umask():  # where an archive names a directory's content alone, tar makes the directory
        tree.mkdir(mode=0o755)
        if source.suite is not None:
            _mmdebstrap(source, tree, observer)
        elif plan.image is not None:
            unpack(plan.image, tree, observer)
        elif source.copy is not None:
            _copy(source.copy, tree, observer)
            _unpack_inner(tree, observer)
    return None


def _unpack_inner(tree: Path, observer: Observer) -> None:
    """If a compressed tarball was that of an image, the tree that the image makes takes its place."""
    image = find_image(tree)
    if image is not None:
        packed = tree.with_name(f".{tree.name}.image")
        os.rename(tree, packed)
        tree.mkdir(mode=0o755)
        unpack(replace(image, where=packed), tree, observer)
        fs.remove_tree(packed)


def _copy(source: Path, tree: Path, observer: Observer) -> None:
    """Copy a directory by cp, a tarball by tar: both keep all metadata, and tar writes only inside ``tree``."""
    observer.phase(f"copy {source.name}")
    if source.is_dir():
        argv = ["cp", "--archive", "--one-file-system", "--reflink=auto", "--", f"{source}/.", str(tree)]
        process.run(argv, wrapper=process.ENDS_WITH_US)
    else:
        tarball.unpack(source, tree)


def _mmdebstrap(source: Source, tree: Path, observer: Observer) -> None:
    observer.phase(f"mmdebstrap {source.suite}")
    include = [f"--include={','.join(source.include)}"] if source.include else []
    # Not --quiet: that would leave out what apt complains about.
    argv = ["mmdebstrap", f"--variant={source.variant}", *include, str(source.suite), str(tree), *source.mirrors]
    process.run(argv, wrapper=process.enclosed())


def _fork_history(plan: Plan, commit: bytes, repository: Repository) -> None:
    assert plan.source.fork is not None
    origin = plan.site.repository(plan.source.fork[0])
    refs = [f"{commit.hex()}:{MAIN}", f"{commit.hex()}:{LIVE}"]
    origin.git("push", "--quiet", "--no-verify", str(repository.path), *refs)


def clear_killed(site: Site) -> None:
    """Remove what killed creations left, unless somebody is creating that name now. Raises LockedError."""
    with site.lock():  # under it repositories get their names
        partial = [site.path / ".site.partial", site.path / ".directory.partial"]
        partial += [path for pattern in _HALF_REPOSITORIES for path in site.path.glob(pattern)]
        for path in partial:
            fs.remove_tree(path)
        for place in (site.path / "live").glob(".*.partial"):
            repository = site.path / "prototypes" / f"{place.stem.removeprefix('.')}.git"
            if repository.exists() or not (place / _MOVED).exists():
                with suppress(LockedError), exclusive(place, f"{place} is in use"):
                    fs.remove_tree(place)


# --- removing -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Removal:
    """What removing a prototype deletes. An adopted live tree is kept, and not listed.

    ``renamed`` is what an interrupted removal has taken out of the way already, by the names that it had.
    """

    name: str
    repository: Path
    paths: tuple[Path, ...]
    renamed: tuple[Path, ...]


def plan_removal(site: Site, name: str) -> Removal:
    """Plan to remove a prototype. Raises NotFoundError, HostError while anything is mounted below it."""
    missing = NotFoundError(f"no prototype {name}", "gitstate prototype list shows what there is")
    return _plan_removal(site, repo_name(name), missing)


def plan_layer_removal(site: Site, name: str) -> Removal:
    """Plan to remove a layer. Raises NotFoundError, HostError while anything is mounted below it."""
    return _plan_removal(site, name, NotFoundError(f"no layer {name}", "gitstate layer list shows what there is"))


def _plan_removal(site: Site, name: str, missing: NotFoundError) -> Removal:
    repository = site.repository_path(name)
    candidates = (site.live_path(name), site.exports_path(name), repository)
    renamed = tuple(one for one in candidates if not fs.is_free(_removed_path(one)))
    if not fs.has_directory(repository) and not renamed:
        raise missing
    paths = [one for one in candidates if not fs.is_free(one)] if fs.has_directory(repository) else []
    if paths and not renamed:
        require_directory(Repository(repository, name))
    for one in [*paths, *map(_removed_path, renamed)]:
        mounted = fs.mounts_below(one)
        if mounted:
            raise HostError(f"{mounted[0]} is a mount point", "unmount it first: nothing was removed")
    return Removal(name, repository, tuple(paths), renamed)


def apply_removal(removal: Removal, observer: Observer) -> None:
    """Delete what the plan lists. All is renamed first, the repository last: until then the removal can be repeated."""
    if removal.paths:
        with Repository(removal.repository).lock(f"the removal of {removal.name}"):
            for path in removal.paths:
                fs.remove_tree(_removed_path(path))
                os.rename(path, _removed_path(path))
    for path in {*removal.renamed, *removal.paths}:
        observer.phase(f"remove {path.name}")
        fs.remove_tree(_removed_path(path), observer.advance)


def _removed_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.removed")
