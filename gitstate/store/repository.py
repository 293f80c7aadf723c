"""One repository: reads objects, publishes packs, moves refs by compare-and-swap; one writer at a time."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Final

from gitstate.core import fs, git, process
from gitstate.core.errors import ConfigError, GitstateError, HostError, LockedError, NotFoundError, RefusedError
from gitstate.core.failures import ProgramError, ProgramRefusedError
from gitstate.core.names import LAYER_KINDS
from gitstate.store import configuration, hooks, revisions, stale_locks
from gitstate.store.lock import lock_repository, recorded, scratch, settle_records
from gitstate.store.objects import Tag, Type, parse_commit, parse_tag
from gitstate.store.odb import Objects
from gitstate.store.refs import LoggedMove, last_move, list_refs, read_ref, read_refs, short_names
from gitstate.store.staging import Move, Staging

_LOCKING: Final = frozenset(("commit-graph", "index-pack", "pack-refs", "prune", "repack", "tag", "update-ref"))
"""The commands of git that make lock files."""
MAIN: Final = "refs/heads/main"
ZERO: Final = "0" * 40
_NEW: Final = ("--initial-branch=main", "--object-format=sha1", "--template=")
"""git's own defaults change: git 3 makes SHA-256 repositories. Its files of refs are chosen by a variable."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A commit as a command shows it; ids raw, ``when`` the committer's seconds since the epoch."""

    oid: bytes
    tree: bytes
    parents: tuple[bytes, ...]
    author: str
    when: int
    message: str

    @property
    def subject(self) -> str:
        """The first line of the message."""
        return self.message.partition("\n")[0]


class Repository(Objects):
    """A bare repository, created by gitstate or compatible."""

    def __init__(self, path: Path, name: str | None = None) -> None:
        super().__init__(path)
        self.name = name or path.name.removesuffix(".git")

    # --- making and opening ---

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        live: Path | None = None,
        hooked: bool = True,
        fill: Callable[[Repository], None] = lambda repository: None,
    ) -> Repository:
        """Create a bare repository atomically: it takes its name when it is complete and ``fill`` is done with it.

        ``hooked`` if people push to it. The caller holds a lock, under which leftovers of killed runs are removed.
        Raises StorageError, HostError.
        """
        partial = path.with_name(f".{path.stem}.partial")
        fs.remove_tree(partial)
        try:
            repository = cls._create(partial, live, hooked)
            for name, value in configuration.values(path).items():
                repository.configure(name, value)
            fill(repository)
            os.rename(partial, path)
        finally:
            fs.remove_tree(partial)
        fs.sync_directory(path.parent)
        return cls(path)

    @classmethod
    def _create(cls, path: Path, live: Path | None, hooked: bool) -> Repository:
        process.run(git.command("init", "--quiet", "--bare", *_NEW, str(path)))
        repository = cls(path)
        if live is not None:
            repository.configure("gitstate.live", str(live))
        (path / "info").mkdir(exist_ok=True)
        (path / "info" / "attributes").write_text(configuration.ATTRIBUTES)
        repository.private.mkdir(mode=0o700, exist_ok=True)
        if hooked:
            hooks.install(path)
        path.chmod(0o700)
        return repository

    @classmethod
    def open(cls, path: Path, name: str) -> Repository:
        """The repository at ``path``, called ``name`` in errors. Raises NotFoundError, HostError, ConfigError."""
        if not fs.has_directory(path):
            raise NotFoundError(f"no repository {name}", "gitstate prototype list shows what there is")
        repository = cls(path, name)
        repository._check_readable()
        return repository

    def _check_readable(self) -> None:
        objects = f"{self.path}/objects"
        if fs.is_free(f"{self.path}/HEAD") or not fs.has_directory(objects):
            raise HostError(f"{self.path} is not a git repository", "restore it from a clone or a backup")
        fs.has_directory(f"{objects}/pack")  # git calls what it may not enter no repository
        if self.path.stat().st_uid != os.geteuid():
            hint = "its configuration and hooks would run as you: chown -R it"
            raise HostError(f"{self.path} is another user's", hint)
        configuration.refuse_foreign(self.settings, self.name)

    @cached_property
    def settings(self) -> Mapping[str, str]:
        """The repository's own configuration, keys in lower case. Raises ConfigError."""
        path = self.path / "config"
        with suppress(OSError):
            plain = configuration.read_plain(path.read_bytes().decode(errors="surrogateescape"))
            if plain is not None:
                return plain
        try:
            listed = process.run(git.command("config", "--null", "--list", "--file", str(path)))
        except ProgramError as error:
            raise ConfigError(f"{path}: {error.message}", "fix it with an editor") from None
        pairs = (item.partition("\n") for item in listed.decode(errors="surrogateescape").split("\0") if item)
        return {key.lower(): value for key, _, value in pairs}

    def configure(self, name: str, value: str) -> None:
        """Set one value of the repository's configuration."""
        process.run(git.command("config", "--file", str(self.path / "config"), name, value))
        self.__dict__.pop("settings", None)

    def renew(self, *, hooked: bool = False) -> None:
        """Give an older or moved repository today's configuration and, if it has any or ``hooked``, hooks.

        Raises ConfigError, StorageError, OSError.
        """
        for name, value in configuration.missing(self.path, self.settings).items():
            self.configure(name, value)
        if hooked or fs.has_directory(self.path / "hooks"):
            hooks.install(self.path)

    def outdated(self) -> list[str]:
        """What ``renew`` would change in a repository with hooks: settings, and hooks. Raises ConfigError, OSError."""
        return [*configuration.missing(self.path, self.settings), *hooks.outdated(self.path)]

    @property
    def private(self) -> Path:
        """The directory of gitstate's own files in this repository: lock, stat cache, staged packs."""
        return self.path / "gitstate"

    @property
    def is_layer(self) -> bool:
        """Whether it holds a layer, by its path: ``layers/base.git`` or ``layers/KIND/NAME.git``."""
        return self.path.name == "base.git" or self.path.parent.name in LAYER_KINDS

    @property
    def live(self) -> Path | None:
        """The live tree in which this repository is edited, if any."""
        recorded = self.settings.get("gitstate.live")
        return Path(recorded) if recorded else None

    # --- commits and refs ---

    def resolve(self, revision: str) -> bytes:
        """The commit that ``revision`` names, in git's own syntax. Raises NotFoundError with the nearest names."""
        return revisions.resolve(self, revision, self.name)

    def identify(self, revision: str) -> bytes | None:
        """The object of a plain revision; None if only git can tell. Raises DamagedError."""
        return revisions.identify(self, revision)

    def names(self) -> list[str]:
        """Short names of branches and tags. Raises DamagedError."""
        return short_names(self.path)

    def ref(self, name: str) -> bytes | None:
        """The commit of a full ref name, None if there is no such ref. Raises DamagedError."""
        oid = read_ref(self.path, name)
        return None if oid is None else self.commit(oid)[0]

    def last_move(self, name: str) -> LoggedMove | None:
        """The last line of a ref's log, which may tell of a move that never happened; None if there is none."""
        return last_move(self.path, name)

    def snapshot(self, oid: bytes) -> Snapshot:
        """The commit ``oid``. Raises DamagedError."""
        oid, data = self.commit(oid)
        commit = parse_commit(data)
        return Snapshot(
            oid=oid,
            tree=commit.tree,
            parents=commit.parents,
            author=commit.text(commit.author),
            when=commit.when,
            message=commit.text(commit.message),
        )

    def first_parents(self, oid: bytes, most: int) -> Iterator[bytes]:
        """``oid`` and its ancestors by first parent, at most ``most``."""
        current: bytes | None = oid
        while current is not None and most > 0:
            yield current
            parents = self.snapshot(current).parents
            current, most = (parents[0] if parents else None), most - 1

    def merge_base(self, one: bytes, other: bytes) -> bytes | None:
        """The commit that two commits began as, by git's own judgement; None if they have none in common."""
        done = process.finish(git.on(self.path, "merge-base", one.hex(), other.hex()), accept=range(2))
        return bytes.fromhex(done.output.decode()) if done.output else None

    def move_refs(self, moves: Sequence[Move], reason: str) -> None:
        """Move refs all or none, each from its old to its new commit (old None: must not exist), running git's hooks.

        Raises LockedError if one of them is at another commit or is being moved, RefusedError if a hook says no,
        StorageError if it can't be written. Where git moved some and failed, the rest is moved, and git's complaint is
        a warning.
        """
        done = any(new != old and self.object_at(name) == new for name, new, old in moves)
        try:
            try:
                self._update_refs(moves, reason)
            except GitstateError as error:
                rest = [move for move in moves if self.object_at(move[0]) != move[1]]
                if done or len(rest) == len(moves):  # what somebody else moved there isn't ours to finish
                    raise
                self._update_refs(rest, reason)  # git moves one after the other, and couldn't write a log, perhaps
                warnings.warn(error.message, stacklevel=2)
        except ProgramError as error:
            if any(self.ref(name) not in (old, new) for name, new, old in moves):
                raise LockedError(error.message, "somebody moved it meanwhile: run the command again") from None
            if isinstance(error, ProgramRefusedError):
                raise RefusedError(error.message, f"one of {self.path}/hooks said no") from None
            raise

    def _update_refs(self, moves: Sequence[Move], reason: str) -> None:
        lines = [f"update {name} {new.hex()} {old.hex() if old else ZERO}\n" for name, new, old in moves]
        if lines:
            self.git("update-ref", "-m", reason, "--stdin", stdin="".join(lines).encode())

    def git(
        self,
        *arguments: str | bytes,
        stdin: bytes = b"",
        variables: Mapping[str, str] | None = None,
        config: Mapping[str, str] | None = None,
        personal: bool = False,
    ) -> bytes:
        """Run git on this repository, once more if another git's lock was in its way; return what it prints.

        No configuration counts but the repository's and ``config``; if ``personal``, the caller's as well. Raises
        ProgramError, StorageError, HostError, and LockedError for a lock that stays.
        """
        argv = git.on(self.path, *arguments, config=config)
        run = partial(process.run, argv, stdin=stdin, variables=variables, personal=personal)
        if arguments[0] not in _LOCKING:
            return run()
        settle_records(self.private, lambda: not stale_locks.clear_idle(self.path))
        with recorded(self.private):
            try:
                return run()
            except ProgramError as error:
                if not stale_locks.is_in_the_way(error.said):
                    raise
                stale_locks.clear_older_than_boot(self.path)
                stale_locks.wait(self.path, error.message)
            return run()

    def all_snapshots(self) -> Iterator[tuple[bytes, bytes]]:
        """Commit and root tree of everything that any ref reaches, newest first."""
        for line in self.git("log", "--all", "--format=%H %T").splitlines():
            commit, tree = line.split()
            yield bytes.fromhex(commit.decode()), bytes.fromhex(tree.decode())

    def tags(self) -> list[str]:
        """Short names of tags, sorted. Raises DamagedError."""
        found = list_refs(self.path)
        return [name.removeprefix("refs/tags/") for name in found if name.startswith("refs/tags/")]

    def refs(self, prefix: str) -> dict[str, bytes]:
        """The refs that begin with ``prefix``, sorted, with their objects; tags aren't peeled. Raises DamagedError."""
        return read_refs(self.path, prefix)

    def object_at(self, name: str) -> bytes | None:
        """The object of a full ref name, tags not peeled; None if there is no such ref. Raises DamagedError."""
        return read_ref(self.path, name)

    def tag(self, oid: bytes) -> Tag | None:
        """The annotated tag ``oid``; None if it is no tag. Raises DamagedError."""
        kind, data = self.typed(oid)
        return parse_tag(data) if kind is Type.TAG else None

    def clone(self, directory: Path) -> None:
        """Clone into ``directory``, set up so that git converts no byte and records are readable in diffs.

        It takes its name when it is complete, unless that is a mount point; what a killed run left is removed. Raises
        UsageError, StorageError.
        """
        fs.require_empty(directory, "clone into a new one")
        if directory.is_mount():  # it can't be replaced
            self._clone(directory)
            return
        directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = directory.stat().st_mode & 0o7777 if directory.exists() else 0o700  # git makes etc/shadow world-readable
        partial = directory.with_name(f".{directory.name}.gitstate-clone")
        fs.remove_tree(partial)
        try:
            partial.mkdir(mode=0o700)
            self._clone(partial)
            partial.chmod(mode)
            os.rename(partial, directory)
        finally:
            fs.remove_tree(partial)

    def _clone(self, directory: Path) -> None:
        # Hard links would let a chown of the clone reach the repository's own packs.
        options = ("--quiet", "--template=", "--no-hardlinks", "--no-checkout")
        process.run(git.command("clone", *options, str(self.path), str(directory)))
        (directory / ".git" / "info").mkdir()
        (directory / ".git" / "info" / "attributes").write_text(configuration.CLONE_ATTRIBUTES)
        for name, value in configuration.FOR_CLONES.items():
            process.run(git.command("-C", str(directory), "config", name, value))
        if self.ref(MAIN) is not None:
            process.run(git.command("-C", str(directory), "reset", "--quiet", "--hard"))

    # --- maintenance ---

    def fsck(self) -> list[str]:
        """The complaints of ``git fsck --strict``."""
        options = ["--strict", "--full", "--no-dangling", "--no-progress"]
        said = process.complaints(git.on(self.path, "fsck", *options))
        return [line for line in said if not line.startswith("notice:")]

    def size(self) -> int:
        """Bytes that the repository takes on disk."""
        return sum(path.lstat().st_blocks * 512 for path in self.path.rglob("*"))

    # --- writing ---

    @contextmanager
    def lock(self, command: str) -> Iterator[None]:
        """Be the only writer. Raises LockedError naming who is; clears what killed writers left, and git's files."""
        with lock_repository(self.path, self.private, command):
            stale_locks.clear_temporary(self.path)
            self.renew()
            yield

    def scratch(self) -> AbstractContextManager[Path]:
        """A directory for this process alone, removed at the end; if it is killed, by the next lock."""
        return scratch(self.private)

    @contextmanager
    def staging(self) -> Iterator[Staging]:
        """A place to stage packs, removed with whatever was not published."""
        with self.scratch() as directory:
            staging = Staging(directory, self.path / "objects", self.move_refs)
            try:
                yield staging
            finally:
                staging.close()
