"""The initrds of a live tree: whether they are what they would be if made now, and making them."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gitstate.core import cpio
from gitstate.core.errors import GitstateError, StorageError
from gitstate.core.fs import DescriptorTree
from gitstate.core.monitor import Observer
from gitstate.core.names import display
from gitstate.tree.prepare import chroot as inside
from gitstate.tree.prepare.debian import STATUS, Kernel

_STAMPS: Final = b"var/lib/gitstate/initrd"
"""A line for each kernel: its version, the digest of what its initrd was made from, and of the initrd."""

_CONTENTS: Final = (
    b"etc/initramfs-tools",
    b"etc/ld.so.conf.d",
    b"etc/modprobe.d",
    b"etc/modules-load.d",
    b"etc/udev",
    b"etc/console-setup",
    b"usr/lib/gitstate/boot",
)
_FILES: Final = (STATUS, b"etc/crypttab", b"etc/default/keyboard", b"etc/ld.so.conf", b"etc/modules", b"etc/os-release")
_NEEDED: Final = ("nfs", "nfsv3", "nfsv4", "overlay")
_HOOK: Final = b"scripts/gitstate"
_MODULE: Final = re.compile(rb"(?:.*/)?([^/]+)\.ko(?:\.[a-z0-9]+)?", re.DOTALL)
# No time in an initrd is later than this, so that two made of the same files are equal.
_EPOCH: Final = "SOURCE_DATE_EPOCH=0"


@dataclass(frozen=True, slots=True)
class Made:
    """What became of one initrd."""

    kernel: Kernel
    changed: bool


def outdated(tree: DescriptorTree, kernels: Iterable[Kernel]) -> list[Kernel]:
    """Those whose initrd is missing, is not the one that we made, or would come out otherwise now."""
    stamps = _stamps(tree)
    return [kernel for kernel in kernels if stamps.get(kernel.version, "") != _stamp(tree, kernel)]


def make(tree: DescriptorTree, live: Path, kernel: Kernel, observer: Observer) -> Made:
    """Make one, look into it, and put it in its place in one step. Raises StorageError."""
    observer.phase(f"initrd of {kernel.version}", unit="files")
    above, _, name = kernel.initrd.rpartition(b"/")
    fresh = above + b"/." + name + b".gitstate"
    if tree.lstat(fresh):
        tree.remove(fresh)
    try:
        inside.run(live, (_EPOCH, "mkinitramfs", "-v", "-o", f"/{os.fsdecode(fresh)}", kernel.version), observer)
        _check(tree, kernel, fresh)
        changed = not tree.is_file(kernel.initrd) or _digest(tree, fresh) != _digest(tree, kernel.initrd)
        if changed:
            tree.rename(fresh, kernel.initrd)
    finally:
        if tree.lstat(fresh):
            tree.remove(fresh)
    _remember(tree, kernel)
    return Made(kernel, changed)


def _check(tree: DescriptorTree, kernel: Kernel, fresh: bytes) -> None:
    """mkinitramfs is content with less than a boot needs."""
    modules, hook = set(), False
    try:
        for member in cpio.members(tree.pieces(fresh)):
            hook |= member.path == _HOOK
            if match := _MODULE.fullmatch(member.path):
                modules.add(_module_name(match[1]))
    except GitstateError as error:
        error.message = f"the new initrd of {kernel.version}: {error.message}"
        raise
    if not hook:
        raise StorageError(
            f"the new initrd of {kernel.version} has no boot hook", "is there another MODULES or BUSYBOX in conf.d?"
        )
    for line in (tree.read(kernel.modules + b"/modules.builtin") or b"").splitlines():
        if match := _MODULE.fullmatch(line):
            modules.add(_module_name(match[1]))
    if lacking := [name for name in _NEEDED if name not in modules]:
        raise StorageError(
            f"kernel {kernel.version} has no module {', '.join(lacking)}",
            "install a kernel of the distribution, or remove this one: it can't boot by NFS",
        )


def _module_name(name: bytes) -> str:
    return display(name.replace(b"-", b"_"))


# --- stamps -----------------------------------------------------------------------------------------------------------


def _stamps(tree: DescriptorTree) -> dict[str, str]:
    text = (tree.read(_STAMPS) or b"").decode("ascii", "replace")
    return {words[0]: line for line in text.splitlines() if (words := line.split())}


def _stamp(tree: DescriptorTree, kernel: Kernel) -> str | None:
    """None if there is no initrd."""
    if not tree.is_file(kernel.initrd):
        return None
    return f"{kernel.version} {_ingredients(tree, kernel)} {_digest(tree, kernel.initrd)}"


def _remember(tree: DescriptorTree, kernel: Kernel) -> None:
    stamps = _stamps(tree)
    stamps[kernel.version] = _stamp(tree, kernel) or ""
    there = [line for version, line in sorted(stamps.items()) if tree.is_file(b"boot/initrd.img-" + version.encode())]
    text = "".join(f"{line}\n" for line in there).encode()
    if tree.read(_STAMPS) != text:
        tree.write(_STAMPS, text, 0o644)


def _digest(tree: DescriptorTree, path: bytes) -> str:
    digest = hashlib.sha256()
    for piece in tree.pieces(path):
        digest.update(piece)
    return digest.hexdigest()


def _ingredients(tree: DescriptorTree, kernel: Kernel) -> str:
    """A digest of what an initrd is made from, as far as no package brings it: those stand in dpkg's status."""
    digest = hashlib.sha256()
    for line in _described(tree, kernel):
        digest.update(line)
    return digest.hexdigest()


def _described(tree: DescriptorTree, kernel: Kernel) -> Iterator[bytes]:
    for path in (*_FILES, kernel.modules + b"/modules.dep", kernel.modules + b"/modules.order"):
        yield from _whole(tree, path)
    for above in _CONTENTS:
        for path, found in tree.walk(above):
            yield b"%o %s\n" % (found.st_mode, path)
            if stat.S_ISREG(found.st_mode):
                yield from _whole(tree, path)
    for above in (b"usr/lib/firmware", kernel.modules + b"/updates"):
        for path, found in tree.walk(above):
            if not stat.S_ISDIR(found.st_mode):
                yield b"%d %d %s\n" % (found.st_size, found.st_mtime_ns, path)


def _whole(tree: DescriptorTree, path: bytes) -> Iterator[bytes]:
    yield b"%s %s\n" % (path, hashlib.sha256(tree.read(path) or b"").digest())
