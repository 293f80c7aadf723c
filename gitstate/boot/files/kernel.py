"""The kernel of a snapshot and its initrd: which they are, and whether a machine can boot from them.

All paths stay inside the snapshot: its links are followed as the machine that it becomes would follow them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gitstate.core import cpio
from gitstate.core.entry import Entry, Kind
from gitstate.core.errors import GitstateError, NotFoundError
from gitstate.core.names import display, join, octal
from gitstate.store import Repository
from gitstate.tree.snapshot import Lookup

HOOK: Final = b"scripts/gitstate"
RESTORER: Final = b"setfattr"
"""The program by which the hook restores capabilities and ACLs."""

_MODULES: Final = {"3": ("nfs", "nfsv3", "overlay"), "4.2": ("nfs", "nfsv4", "overlay")}
_MODULE: Final = re.compile(rb"(?:usr/)?lib/modules/([^/]+)/(?:.*/)?([^/]+)\.ko(?:\.[a-z0-9]+)?")
_BUILT_IN: Final = re.compile(rb"([^/\n]+)\.ko$", re.MULTILINE)
_KERNEL: Final = re.compile(rb"vmlinuz-(?P<version>.+)")
_LEFT_OVER: Final = re.compile(rb".*(?:\.old|\.bak|~|\.dpkg-[a-z]+|\.rpm[a-z]+)|.*-rescue-.*")
_INITRDS: Final = (b"initrd.img-%b", b"initramfs-%b.img", b"initrd-%b.img", b"initrd-%b")
_MOST_LINKS: Final = 40  # as many as the kernel follows
_LONGEST_LIST: Final = 4 << 20
_PREPARE: Final = "gitstate prepare puts it in order, then check in"


@dataclass(frozen=True, slots=True)
class Boot:
    """What a machine boots: the blobs of kernel and initrd, and the paths where they stand in the snapshot."""

    version: str
    kernel: bytes
    kernel_path: bytes
    initrd: bytes
    initrd_path: bytes


class Files:
    """A snapshot's files by path, links followed inside it."""

    def __init__(self, repository: Repository, tree: bytes) -> None:
        self._repository = repository
        self._look_up = Lookup(repository.read, tree)

    def resolve(self, path: bytes) -> bytes | None:
        """``path`` without links, which may lead nowhere outside; None if there is nothing."""
        todo, done, links = path.split(b"/")[::-1], b"", 0
        while todo:
            part = todo.pop()
            if part == b"..":
                done = done.rpartition(b"/")[0]
            elif part not in (b"", b"."):
                directory = self._look_up.directory(done)
                if directory is None:
                    return None
                entry = directory.files.get(part)
                if entry is not None and entry.meta.kind is Kind.SYMLINK:
                    links += 1
                    if links > _MOST_LINKS:
                        return None
                    target = self._repository.read(entry.oid)
                    todo += target.split(b"/")[::-1]
                    done = b"" if target.startswith(b"/") else done
                elif entry is not None or part in directory.subdirectories:
                    done = join(done, part)
                else:
                    return None
        return done

    def file(self, path: bytes) -> tuple[bytes, Entry] | None:
        """The regular file that ``path`` leads to, and where it stands."""
        real = self.resolve(path)
        entry = self._look_up(real) if real else None
        return (real, entry) if real and entry and entry.meta.kind is Kind.FILE else None

    def names(self, path: bytes) -> list[bytes]:
        """The names of what stands in the directory at ``path``, its directories aside."""
        real = self.resolve(path)
        directory = self._look_up.directory(real) if real is not None else None
        return list(directory.files) if directory else []


def find(files: Files) -> Boot:
    """The newest kernel of ``/boot`` and its initrd; of one without a version in its name, what the links say.

    Raises NotFoundError.
    """
    versions = sorted(
        (match["version"] for name in files.names(b"boot") if (match := _KERNEL.fullmatch(name)) and _counts(name)),
        key=version_order,
        reverse=True,
    )
    for version in versions:
        kernel = files.file(b"boot/vmlinuz-" + version)
        if kernel:
            return _with_initrd(files, kernel, version, [b"boot/" + form % version for form in _INITRDS])
    for link, initrd in ((b"boot/vmlinuz", b"boot/initrd.img"), (b"vmlinuz", b"initrd.img")):
        kernel = files.file(link)
        if kernel:
            return _with_initrd(files, kernel, _version_of(kernel[0]), [initrd])
    hint = "install one in the live tree: apt-get install linux-image-amd64"
    raise NotFoundError("there is no kernel in /boot", hint)


def _counts(name: bytes) -> bool:
    return not _LEFT_OVER.fullmatch(name)


def _version_of(path: bytes) -> bytes:
    """The version that a kernel's own place tells: ``boot/vmlinuz-6.1`` or ``lib/modules/6.1/vmlinuz``."""
    above, _, name = path.rpartition(b"/")
    match = _KERNEL.fullmatch(name)
    return match["version"] if match else above.rpartition(b"/")[2]


def _with_initrd(files: Files, kernel: tuple[bytes, Entry], version: bytes, places: list[bytes]) -> Boot:
    for place in places:
        initrd = files.file(place)
        if initrd:
            return Boot(octal(version), kernel[1].oid, kernel[0], initrd[1].oid, initrd[0])
    raise NotFoundError(f"there is no initrd for /{display(kernel[0])}", _PREPARE)


def check(repository: Repository, files: Files, boot: Boot, nfs_version: str, *, restores: bool) -> None:
    """Look into the initrd. Raises NotFoundError for what a boot by NFS would miss, Opaque, DamagedError.

    ``restores``: there are capabilities or ACLs that the hook must restore.
    """
    where = f"/{display(boot.initrd_path)}"
    modules: dict[bytes, set[bytes]] = {}
    hook = restorer = False
    try:
        for member in cpio.members(content(repository, boot.initrd)):
            if match := _MODULE.fullmatch(member.path):
                modules.setdefault(match[1], set()).add(match[2].replace(b"-", b"_"))
            hook |= member.path == HOOK
            restorer |= member.path.rpartition(b"/")[2] == RESTORER
    except GitstateError as error:
        error.message = f"{where}: {error.message}"
        raise
    if not hook:
        raise NotFoundError(f"{where} has no hook of gitstate ({display(HOOK)})", _PREPARE)
    version = boot.version.encode()
    if modules and version not in modules:
        raise NotFoundError(f"{where} is for kernel {display(min(modules))}, not {boot.version}", _PREPARE)
    there = modules.get(version, set()) | _built_in(repository, files, version)
    if missing := [name for name in _MODULES[nfs_version] if name.encode() not in there]:
        raise NotFoundError(f"{where} has no kernel module {', '.join(missing)}", _PREPARE)
    if restores and not restorer:
        raise NotFoundError(f"{where} has no setfattr, and files have capabilities or ACLs to be restored", _PREPARE)


def _built_in(repository: Repository, files: Files, version: bytes) -> set[bytes]:
    """The modules that the kernel has in itself."""
    found = files.file(b"lib/modules/%b/modules.builtin" % version)
    if found is None:
        return set()
    text = b""
    for piece in content(repository, found[1].oid):
        text += piece
        if len(text) > _LONGEST_LIST:
            break
    return {name.replace(b"-", b"_") for name in _BUILT_IN.findall(text)}


def content(repository: Repository, oid: bytes) -> Iterator[bytes]:
    """A blob in pieces, with little of it in memory where the repository holds it whole. Raises DamagedError."""
    whole = repository.whole(oid)
    if whole is None:
        yield repository.read(oid)
    else:
        yield from whole.chunks()


# --- versions ---------------------------------------------------------------------------------------------------------

_PARTS: Final = re.compile(rb"([^0-9]*)([0-9]*)")
_CANDIDATE: Final = re.compile(rb"-(?=rc[0-9])")


def version_order(version: bytes) -> list[tuple[list[int], int]]:
    """A key that sorts versions as dpkg does (deb-version(7)): 6.1.0-9 < 6.1.0-10, 6.1~rc1 < 6.1, 6.1-rc1 < 6.1."""
    parts = _PARTS.findall(_CANDIDATE.sub(b"~", version))
    return [([*map(_letter_order, letters), 0], int(digits or b"0")) for letters, digits in parts]


def _letter_order(byte: int) -> int:
    if byte == ord("~"):
        return -1
    return byte if chr(byte).isalpha() and byte < 128 else byte + 256
