"""One server's data: the paths of repositories, live trees and exports."""

from __future__ import annotations

import os
import tomllib
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gitstate.core import fs
from gitstate.core.errors import NotFoundError, UsageError
from gitstate.core.names import LAYER_KINDS, layer_word, repo_name
from gitstate.store.lock import exclusive
from gitstate.store.repository import Repository

if TYPE_CHECKING:
    from gitstate.core.documents import Source

SITE_FORMAT: Final = 1
_FOLDERS: Final = {
    "prototypes": 0o700,
    "layers": 0o700,
    "live": 0o700,
    "exports": 0o700,
    "secrets": 0o700,
    "tftp": 0o750,
}
_FILE: Final = "site.toml"
_DEPTH: Final = 3
"""How far below the site its repositories are: layers/KIND/NAME.git."""


@dataclass(frozen=True, slots=True)
class Site:
    """A site's directory. Nothing is read before it is asked for."""

    path: Path
    credentials: Path | None = field(default=None, compare=False, repr=False)
    """systemd's directory of this process's credentials."""

    @classmethod
    def create(cls, path: Path, interface: str | None = None) -> Site:
        """Make a site in a new or empty directory, whose machines boot on ``interface``.

        ``site.toml`` comes last: until then there is no site, and the next call goes on. Raises UsageError if there is
        something else.
        """
        site = cls(path.absolute())
        site.require_unused()
        site.path.mkdir(parents=True, exist_ok=True)
        for left in site.path.glob(f".{_FILE}.*"):
            left.unlink()
        for name, mode in _FOLDERS.items():
            (site.path / name).mkdir(mode=mode, exist_ok=True)
            (site.path / name).chmod(mode)
        site.path.chmod(0o711)
        import tomlkit  # only who writes keeps comments

        document = tomlkit.document()
        document.add(tomlkit.comment("This site's settings; gitstate keeps your comments."))
        document["version"] = SITE_FORMAT
        document["uuid"] = str(uuid.uuid4())
        document["keep"] = 30
        document["keep"].comment("days for which an export stays that nothing uses any more")
        if interface is not None:
            boot = tomlkit.table()
            boot["interface"] = interface
            boot["interface"].comment("where machines boot")
            boot["dhcp"] = "proxy"
            boot["dhcp"].comment('another server gives addresses; "own": we do, with range = ["FIRST", "LAST"]')
            document["boot"] = boot
        fs.write_file(site.file, tomlkit.dumps(document).encode())
        return site

    def require_unused(self) -> None:
        """Raise UsageError unless a site can be made here."""
        if self.path.is_file():
            raise UsageError(f"{self.path} is a file", "choose a new or empty directory: --site DIR")
        if not fs.is_free(self.file):
            raise UsageError(f"{self.path} is a site already", "gitstate prototype list shows what it holds")
        if not all(map(_is_half_made, map(self.path.joinpath, fs.list_names(self.path)))):
            raise UsageError(f"{self.path} is not an empty directory", "choose a new or empty directory: --site DIR")

    @classmethod
    def open(cls, path: Path) -> Site:
        """The site at ``path``. Raises NotFoundError, HostError, ConfigError."""
        site = cls(path.absolute())
        try:
            version = tomllib.loads(site._text().decode()).get("version")
        except ValueError:
            version = None
        if version != SITE_FORMAT:
            site.source()  # says what is wrong
        return site

    def source(self) -> Source:
        """``site.toml``, its tables not checked yet. Raises NotFoundError, ConfigError."""
        from gitstate.core.documents import parse, read_toml
        from gitstate.store.site_file import SiteFile

        source = read_toml(self._text(), str(self.file))
        parse(SiteFile, source)
        return source

    def _text(self) -> bytes:
        text = None if self.path.is_file() else fs.read_file(self.file)
        if text is None:
            hint = "gitstate init makes one; --site or GITSTATE_SITE names another"
            raise NotFoundError(f"{self.path} is not a site", hint)
        return text

    def settings(self) -> Mapping[str, Any]:
        """All of ``site.toml`` as plain values. Raises NotFoundError, ConfigError."""
        values: Mapping[str, Any] = self.source().values
        return values

    def lock(self) -> AbstractContextManager[None]:
        """Be the only one who creates repositories. Raises LockedError."""
        return exclusive(self.path / "prototypes", f"{self.path} is locked by another command")

    @property
    def file(self) -> Path:
        """The site's settings."""
        return self.path / _FILE

    def repository_path(self, name: str) -> Path:
        """The path of the repository ``name``: a prototype, ``base`` or ``KIND/NAME``. Raises UsageError."""
        if name == "base":
            return self.path / "layers" / "base.git"
        kind, slash, rest = name.partition("/")
        if not slash:
            return self.path / "prototypes" / f"{repo_name(name)}.git"
        if kind not in LAYER_KINDS:
            hint = f"a prototype's name, base, or one of {', '.join(LAYER_KINDS)}/NAME"
            raise UsageError(f"{name!r} is no repository's name", hint)
        return self.path / "layers" / kind / f"{repo_name(layer_word(rest))}.git"

    def repository(self, name: str) -> Repository:
        """The repository ``name``. Raises NotFoundError, HostError, ConfigError."""
        return Repository.open(self.repository_path(name), name)

    def create_layer(self, name: str) -> Repository:
        """Create the layer ``name`` with an empty live tree. Raises UsageError, LockedError."""
        path, live = self.repository_path(name), self.live_path(name)
        with self.lock():
            if not fs.is_free(path):
                raise UsageError(f"there is a layer {name} already", "gitstate layer list shows what there is")
            if fs.list_names(live):
                raise UsageError(f"{live} is in the way and belongs to no layer", "move it away")
            path.parent.mkdir(mode=0o700, exist_ok=True)
            live.parent.mkdir(mode=0o700, exist_ok=True)
            with fs.usual_umask():
                live.mkdir(mode=0o755, exist_ok=True)
            return Repository.create(path, live=live)

    def layers(self) -> list[str]:
        """The names of all layers, sorted."""
        above = self.path / "layers"
        names = fs.list_names(above)
        kinds = (kind for kind in LAYER_KINDS if kind in names)
        found = [f"{kind}/{name}" for kind in kinds for name in _repositories(fs.list_names(above / kind))]
        return sorted([*(["base"] if "base.git" in names else []), *found])

    def live_path(self, name: str) -> Path:
        """The path of the live tree of ``name``, unless one was adopted elsewhere."""
        return self.path / "live" / name

    @property
    def releases_path(self) -> Path:
        """The path of the repository of releases."""
        return self.path / "site.git"

    def releases(self) -> Repository:
        """The repository of releases, created if need be. Raises LockedError."""
        return self._open_or_create(self.releases_path)

    @property
    def directory_path(self) -> Path:
        """The path of the repository of the embedded directory."""
        return self.path / "directory.git"

    def directory_repository(self) -> Repository:
        """The repository of the embedded directory, created if need be. Raises LockedError."""
        return self._open_or_create(self.directory_path)

    def _open_or_create(self, path: Path) -> Repository:
        if not fs.has_directory(path):
            with self.lock():
                if not fs.has_directory(path):
                    Repository.create(path, hooked=False)
        return Repository.open(path, path.name)

    @property
    def tftp(self) -> Path:
        """The directory that boot loaders read."""
        return self.path / "tftp"

    @property
    def exports(self) -> Path:
        """The directory of all exports, served by NFS as one."""
        return self.path / "exports"

    def exports_path(self, name: str) -> Path:
        """The directory of the exports of ``name``."""
        return self.exports / name

    def prototypes(self) -> list[str]:
        """The names of all prototypes, sorted."""
        return _repositories(fs.list_names(self.path / "prototypes"))

    def repositories(self) -> Iterator[str]:
        """The names of all repositories: prototypes first."""
        yield from self.prototypes()
        yield from self.layers()

    def name_of(self, repository: Path) -> str | None:
        """The name of the prototype or layer with the repository at ``repository``; None if there is none."""
        place = Path(os.path.realpath(repository))
        for folder in ("prototypes", "layers"):
            above = Path(os.path.realpath(self.path / folder))
            if place.is_relative_to(above) and place.suffix == ".git":
                return str(place.relative_to(above)).removesuffix(".git")
        return None

    def repository_of(self, directory: Path) -> str:
        """The name of the repository whose live tree contains ``directory``. Raises UsageError."""
        here = Path(os.path.realpath(directory))
        for name in self.repositories():
            live = self.repository(name).live
            if live is not None and here.is_relative_to(os.path.realpath(live)):
                return name
        raise UsageError(f"{directory} is in no live tree of {self.path}", "name the repository: gitstate COMMAND REPO")


def site_of(repository: Path) -> Site | None:
    """The site that holds the repository at a path; None for one that is in no site."""
    real = Path(os.path.realpath(repository))
    return next((Site(above) for above in real.parents[:_DEPTH] if not fs.is_free(above / _FILE)), None)


def _is_half_made(path: Path) -> bool:
    """Whether this is what a ``create`` that was interrupted leaves in a site's directory."""
    if path.name in _FOLDERS:
        return not path.is_symlink() and path.is_dir() and not fs.list_names(path)
    return path.name.startswith(f".{_FILE}.") and path.is_file()


def _repositories(names: Iterable[str]) -> list[str]:
    """The repositories among the ``names`` of a directory; one that is being made has a dot in front."""
    return [name.removesuffix(".git") for name in names if name.endswith(".git") and not name.startswith(".")]
