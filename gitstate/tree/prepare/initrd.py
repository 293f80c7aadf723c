"""The initrds of a live tree: which are out of date, and how they are made."""

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
from gitstate.core.errors import GitstateError, HostError
from gitstate.core.fs import DescriptorTree
from gitstate.core.monitor import Observer
from gitstate.core.names import display
from gitstate.tree.prepare import chroot
from gitstate.tree.prepare.debian import STATUS, Kernel

_STAMPS: Final = b"var/lib/gitstate/initrd"
"""A line per kernel: version, digest of its initrd's inputs, digest of the initrd."""

_DIRECTORIES: Final = (
    b"etc/initramfs-tools",
    b"etc/ld.so.conf.d",
    b"etc/modprobe.d",
    b"etc/modules-load.d",
    b"etc/udev",
    b"etc/console-setup",
    b"usr/lib/gitstate/boot",
)
_FILES: Final = (STATUS, b"etc/crypttab", b"etc/default/keyboard", b"etc/ld.so.conf", b"etc/modules", b"etc/os-release")
_MODULES: Final = ("nfs", "nfsv3", "nfsv4", "overlay")
_HOOK: Final = b"scripts/gitstate"
_MODULE: Final = re.compile(rb"(?:.*/)?([^/]+)\.ko(?:\.[a-z0-9]+)?", re.DOTALL)
# The latest time in an initrd: the same files make the same initrd.
_EPOCH: Final = "SOURCE_DATE_EPOCH=0"


@dataclass(frozen=True, slots=True)
class Made:
    """An initrd that was made."""

    kernel: Kernel
    changed: bool


def outdated(tree: DescriptorTree, kernels: Iterable[Kernel]) -> list[Kernel]:
    """The kernels whose initrd is missing, isn't ours, or would differ if made now."""
    stamps = _stamps(tree)
    return [kernel for kernel in kernels if stamps.get(kernel.version, "") != _stamp(tree, kernel)]


def make(tree: DescriptorTree, live: Path, kernel: Kernel, observer: Observer) -> Made:
    """Make an initrd, check it, and rename it into place. Raises HostError."""
    observer.phase(f"initrd of {kernel.version}", unit="files")
    directory, _, name = kernel.initrd.rpartition(b"/")
    new = directory + b"/." + name + b".gitstate"
    if tree.lstat(new):
        tree.remove(new)
    try:
        chroot.run(live, (_EPOCH, "mkinitramfs", "-v", "-o", f"/{os.fsdecode(new)}", kernel.version), observer)
        _check(tree, kernel, new)
        changed = not tree.is_file(kernel.initrd) or _digest(tree, new) != _digest(tree, kernel.initrd)
        if changed:
            tree.rename(new, kernel.initrd)
    finally:
        if tree.lstat(new):
            tree.remove(new)
    _write_stamp(tree, kernel)
    return Made(kernel, changed)


def _check(tree: DescriptorTree, kernel: Kernel, new: bytes) -> None:
    """Raise HostError if the boot hook or a module is missing: mkinitramfs doesn't mind."""
    modules, hook = set(), False
    try:
        for member in cpio.members(tree.pieces(new)):
            hook |= member.path == _HOOK
            if match := _MODULE.fullmatch(member.path):
                modules.add(_module_name(match[1]))
    except GitstateError as error:
        error.message = f"the new initrd of {kernel.version}: {error.message}"
        raise
    if not hook:
        hint = "does another file in conf.d set MODULES or BUSYBOX?"
        raise HostError(f"the new initrd of {kernel.version} has no boot hook", hint)
    for line in (tree.read(kernel.modules + b"/modules.builtin") or b"").splitlines():
        if match := _MODULE.fullmatch(line):
            modules.add(_module_name(match[1]))
    if missing := [name for name in _MODULES if name not in modules]:
        hint = "install one of the distribution's kernels, or remove this one: it can't boot over NFS"
        raise HostError(f"kernel {kernel.version} has no module {', '.join(missing)}", hint)


def _module_name(name: bytes) -> str:
    return display(name.replace(b"-", b"_"))


# --- stamps -----------------------------------------------------------------------------------------------------------


def _stamps(tree: DescriptorTree) -> dict[str, str]:
    text = (tree.read(_STAMPS) or b"").decode("ascii", "replace")
    return {words[0]: line for line in text.splitlines() if (words := line.split())}


def _stamp(tree: DescriptorTree, kernel: Kernel) -> str | None:
    """The line of this kernel; None if there is no initrd."""
    if not tree.is_file(kernel.initrd):
        return None
    return f"{kernel.version} {_inputs_digest(tree, kernel)} {_digest(tree, kernel.initrd)}"


def _write_stamp(tree: DescriptorTree, kernel: Kernel) -> None:
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


def _inputs_digest(tree: DescriptorTree, kernel: Kernel) -> str:
    """A digest of the files that an initrd is made from; dpkg's status stands for those of packages."""
    digest = hashlib.sha256()
    for line in _inputs(tree, kernel):
        digest.update(line)
    return digest.hexdigest()


def _inputs(tree: DescriptorTree, kernel: Kernel) -> Iterator[bytes]:
    for path in (*_FILES, kernel.modules + b"/modules.dep", kernel.modules + b"/modules.order"):
        yield from _file_line(tree, path)
    for directory in _DIRECTORIES:
        for path, found in tree.walk(directory):
            yield b"%o %s\n" % (found.st_mode, path)
            if stat.S_ISREG(found.st_mode):
                yield from _file_line(tree, path)
    for directory in (b"usr/lib/firmware", kernel.modules + b"/updates"):
        for path, found in tree.walk(directory):
            if not stat.S_ISDIR(found.st_mode):
                yield b"%d %d %s\n" % (found.st_size, found.st_mtime_ns, path)


def _file_line(tree: DescriptorTree, path: bytes) -> Iterator[bytes]:
    yield b"%s %s\n" % (path, hashlib.sha256(tree.read(path) or b"").digest())
