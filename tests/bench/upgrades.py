"""Real updates for the growth bench: a Debian root, and upgrades of it in the order in which Debian made them.

The root is installed from the stable release alone; what was published since, as security and stable updates, is
fetched once and kept beside it, one directory for each source package.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.corpus import SUITE
from tests.bench.measure import BenchError, run_untimed
from tests.bench.trees import remove

_MIRROR: Final = "http://deb.debian.org"
_RELEASE: Final = f"deb {_MIRROR}/debian {SUITE} main\n"
_UPDATES: Final = f"deb {_MIRROR}/debian {SUITE}-updates main\ndeb {_MIRROR}/debian-security {SUITE}-security main\n"
_VARIANT: Final = "important"
# A desktop with some servers, of packages that are updated often.
_PACKAGES: Final = (
    "linux-image-amd64 initramfs-tools openssh-server xfce4 lightdm firefox-esr thunderbird chromium vlc inkscape eog "
    "imagemagick ghostscript hplip openjdk-17-jre 7zip unzip zip antiword mutt mkvtoolnix apache2 "
    "libapache2-mod-php8.2 postgresql-client mariadb-client bind9-dnsutils rsync rsyslog parted ntfs-3g git git-lfs jq "
    "redis-server memcached nginx-light gstreamer1.0-plugins-bad gstreamer1.0-plugins-good python3-lxml "
    "python3-django python3-aiohttp python3-git python3-httplib2 python3-urwid libdbi-perl libnet-dns-perl "
    "libdatetime-timezone-perl libio-compress-perl spice-vdagent xdg-dbus-proxy libarchive-tools"
)
# ar(5): the first member's time, which dpkg-deb takes from the changelog.
_TIME_AT: Final = slice(24, 36)
_IN_ROOT: Final = (
    'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && mount -t tmpfs tmpfs "$0/tmp" && '
    '{ [ "$DEBS" = "" ] || { mkdir "$0/tmp/debs" && cp "$DEBS"/*.deb "$0/tmp/debs"; }; } && exec chroot "$0" "$@"'
)


@dataclass(frozen=True, slots=True)
class Upgrade:
    """The packages of one source, upgraded together."""

    name: str
    debs: Path

    @property
    def size(self) -> int:
        """Bytes to download."""
        return sum(deb.stat().st_size for deb in self.debs.glob("*.deb"))


@dataclass(frozen=True, slots=True)
class History:
    """A root as a tarball, and what happens to it."""

    root: Path
    upgrades: tuple[Upgrade, ...]


def find(named: str | None, roots: Path, say: Callable[[str], None]) -> History:
    """The history in the directory ``named``; without a name the one that is made here, once. Raises BenchError."""
    if named is not None:
        return load(Path(named))
    kept = roots / f"{_key()}.upgrades"
    if not kept.exists():
        say("a root and its upgrades are fetched; this takes minutes, once")
        partial = kept.with_name(f".{os.getpid()}.{kept.name}")
        try:
            _make(partial)
            partial.rename(kept)
        finally:
            remove(partial)
    return load(kept)


def load(directory: Path) -> History:
    """``DIR/root.tar`` and ``DIR/upgrades/NUMBER-NAME/*.deb``. Raises BenchError."""
    root = directory / "root.tar"
    upgrades = [Upgrade(path.name, path) for path in sorted((directory / "upgrades").glob("*"))]
    if not root.is_file() or not upgrades:
        raise BenchError(f"{directory}: no root.tar, or no upgrades/NUMBER-NAME/*.deb")
    return History(root, tuple(upgrades))


def apply(root: Path, upgrade: Upgrade) -> None:
    """Install an upgrade in a root by its own apt."""
    install = "exec apt-get -qq -y -o Dpkg::Options::=--force-confold install --no-install-recommends /tmp/debs/*.deb"
    in_root(root, "sh", "-c", install, debs=upgrade.debs)


def in_root(root: Path, *command: str, debs: Path | None = None) -> str:
    """Run a command in a root with mounts that nobody else sees; ``debs`` are copied to its /tmp/debs."""
    variables = {
        "DEBIAN_FRONTEND": "noninteractive",
        "DEBS": str(debs or ""),
        "LC_ALL": "C.UTF-8",
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    }
    own_mounts = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    return run_untimed([*own_mounts, "sh", "-c", _IN_ROOT, str(root), *command], variables)


def start_nothing(root: Path) -> None:
    """Maintainer scripts start no servers in this root."""
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)


def _key() -> str:
    text = f"{_RELEASE} {_UPDATES} {_VARIANT} {' '.join(sorted(_PACKAGES.split()))}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _make(directory: Path) -> None:
    remove(directory)
    directory.mkdir(parents=True)
    tarball, root = directory / "root.tar", directory / "root"
    include = f"--include={','.join(_PACKAGES.split())}"
    run_untimed(["mmdebstrap", "--quiet", f"--variant={_VARIANT}", include, SUITE, str(tarball), _RELEASE], os.environ)
    unpack_root(tarball, root)
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    (root / "etc/apt/sources.list").write_text(_RELEASE + _UPDATES)
    for words in (["update"], ["--download-only", "dist-upgrade"]):
        in_root(root, "apt-get", "-qq", "-y", *words)
    sort_by_source(sorted((root / "var/cache/apt/archives").glob("*.deb")), directory / "upgrades")
    remove(root)


def unpack_root(tarball: Path, root: Path) -> None:
    """Unpack a root with all that makes it one."""
    root.mkdir()
    tar = ["tar", "-x", "-p", "--numeric-owner", "--xattrs", "--xattrs-include=*"]
    run_untimed([*tar, "-f", str(tarball), "-C", str(root)], os.environ)


def sort_by_source(debs: list[Path], target: Path) -> None:
    """Move packages into a directory for each source, numbered by the time at which the source was published."""
    groups: dict[str, list[Path]] = {}
    for deb in debs:
        shown = run_untimed(["dpkg-deb", "--show", "--showformat=${source:Package}", str(deb)], os.environ)
        groups.setdefault(shown, []).append(deb)
    order = sorted(groups, key=lambda name: (max(_published(deb) for deb in groups[name]), name))
    for number, name in enumerate(order, 1):
        directory = target / f"{number:03}-{name}"
        directory.mkdir(parents=True)
        for deb in groups[name]:
            deb.rename(directory / deb.name)


def _published(deb: Path) -> int:
    with open(deb, "rb") as file:
        return int(file.read(_TIME_AT.stop)[_TIME_AT])
