"""The files that a root needs on a machine without a disk, ours and changed ones."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from typing import Final

from gitstate.core.data import data_file
from gitstate.core.errors import HostError
from gitstate.core.fs import DescriptorTree
from gitstate.core.names import display
from gitstate.tree.prepare.steps import Concern, MakeDirectory, Remove, Step, Touch, Write, write_if_changed

MOUNT_POINTS: Final = {b"proc": 0o555, b"sys": 0o555, b"dev": 0o755, b"run": 0o755, b"tmp": 0o1777}

_HEADER: Final = "# Written by `gitstate prepare`.\n"
_JOURNAL: Final = f"{_HEADER}# The root is in memory, so the journal is bounded.\n"
_JOURNAL_FILE: Final = f"{_JOURNAL}[Journal]\nStorage=volatile\nRuntimeMaxUse=32M\n"
_SSHD_FILE: Final = f"""\
{_HEADER}# A snapshot has no host keys. A machine makes some before sshd starts, unless those that it brings are enough:
# further ones would be others after each boot, known to nobody, and an RSA key takes seconds.
[Service]
ExecStartPre=
ExecStartPre=/bin/sh -c '/usr/sbin/sshd -t 2>/dev/null || {{ /usr/bin/ssh-keygen -A; exec /usr/sbin/sshd -t; }}'
"""
_SSHD_KEYGEN_FILE: Final = f"""\
{_HEADER}# A machine that brings host keys needs no others.
[Unit]
ConditionPathExistsGlob=!/etc/ssh/ssh_host_*_key
"""
_STAMP_FILE: Final = f"{_HEADER}# Newer than /usr, so that systemd doesn't update its databases at every boot.\n"

_FSTAB: Final = b"etc/fstab"
_COMMENT: Final = b"# gitstate prepare: there may be no disk: "
_LOCAL_DISK: Final = re.compile(rb"(?:UUID|LABEL|PARTUUID|PARTLABEL|ID)=.*|/dev/(?!shm$|fuse$|null$).*", re.DOTALL)
_OPTIONAL: Final = frozenset({b"noauto", b"nofail"})

_BOOT_SCRIPTS: Final = b"usr/lib/gitstate/boot"
_INITRAMFS_TOOLS: Final = b"etc/initramfs-tools"
_CLIENT_SCRIPTS: Final = b"usr/lib/gitstate/client"
_CLIENT_PROGRAM: Final = b"usr/sbin/gitstate"


def plan(tree: DescriptorTree) -> Iterator[Step]:
    """The steps that write them. Raises HostError if they can't be written."""
    yield from _mount_points(tree)
    yield from _fstab(tree)
    yield from write_if_changed(
        tree,
        Write(
            b"etc/systemd/journald.conf.d/gitstate.conf",
            Concern.JOURNAL,
            "in memory, at most 32 MiB",
            _JOURNAL_FILE.encode(),
        ),
    )
    yield from _sshd(tree)
    yield from _hook(tree)
    yield from _client(tree)


def _mount_points(tree: DescriptorTree) -> Iterator[Step]:
    for path, mode in MOUNT_POINTS.items():
        found = tree.lstat(path)
        if found is None:
            yield MakeDirectory(path, Concern.HOOK, "mount point", mode)
        elif not stat.S_ISDIR(found.st_mode):
            raise HostError(f"/{display(path)} of the live tree is no directory", "make it one: it is a mount point")


def _sshd(tree: DescriptorTree) -> Iterator[Step]:
    """Debian's unit makes no keys; the Red Hat family has a unit for each type."""
    for sign, unit, text in (
        (b"usr/sbin/sshd", b"ssh.service", _SSHD_FILE),
        (b"usr/lib/systemd/system/sshd-keygen@.service", b"sshd-keygen@.service", _SSHD_KEYGEN_FILE),
    ):
        if tree.lstat(sign):
            path = b"etc/systemd/system/%s.d/gitstate.conf" % unit
            yield from write_if_changed(tree, Write(path, Concern.SSHD, "makes missing host keys", text.encode()))


# --- fstab ------------------------------------------------------------------------------------------------------------


def _fstab(tree: DescriptorTree) -> Iterator[Step]:
    """Comment out lines for disks: a missing disk delays the boot by 90 s, and ends it in an emergency shell."""
    text = tree.configuration(_FSTAB)
    if text is None:
        return
    lines = text.splitlines(keepends=True)
    changed = [_COMMENT + line if _needs_disk(line) else line for line in lines]
    count = sum(old is not new for old, new in zip(lines, changed, strict=True))
    if count:
        found = tree.lstat(_FSTAB)
        mode = stat.S_IMODE(found.st_mode) if found else 0o644
        points = ", ".join(_mounted_at(line) for line in lines if _needs_disk(line))
        reason = f"comment out disks ({points}); those with nofail stay"
        yield Write(_FSTAB, Concern.FSTAB, reason, b"".join(changed), mode)


def _mounted_at(line: bytes) -> str:
    _, point, kind, *_ = line.split()
    return "swap" if kind == b"swap" else display(point)


def _needs_disk(line: bytes) -> bool:
    words = line.split()
    if len(words) < 3 or words[0].startswith(b"#"):
        return False
    options = words[3].split(b",") if len(words) > 3 else []
    return _LOCAL_DISK.fullmatch(words[0]) is not None and not _OPTIONAL & set(options)


# --- the boot hook ----------------------------------------------------------------------------------------------------


def _hook(tree: DescriptorTree) -> Iterator[Step]:
    """In ``/etc``, where upgrades of kernels find it and no package has a file."""
    parts = {_BOOT_SCRIPTS + b"/" + part.name.encode(): (part, 0o644) for part in data_file("hooks", "boot").iterdir()}
    for name, mode in (("hooks/gitstate", 0o755), ("scripts/gitstate", 0o644), ("conf.d/zz-gitstate", 0o644)):
        parts[_INITRAMFS_TOOLS + b"/" + name.encode()] = (data_file("hooks", "initramfs-tools", name), mode)
    for path, (source, mode) in sorted(parts.items()):
        yield from write_if_changed(tree, Write(path, Concern.HOOK, "the boot hook", source.read_bytes(), mode))
    yield from _stale(tree, _BOOT_SCRIPTS, set(parts), Concern.HOOK)


def _client(tree: DescriptorTree) -> Iterator[Step]:
    """The program of running machines; it isn't in the initrd."""
    parts = {
        _CLIENT_SCRIPTS + b"/" + part.name.encode(): (part, 0o644) for part in data_file("hooks", "client").iterdir()
    }
    parts[_CLIENT_PROGRAM] = (parts.pop(_CLIENT_SCRIPTS + b"/gitstate")[0], 0o755)
    for path, (source, mode) in sorted(parts.items()):
        yield from write_if_changed(tree, Write(path, Concern.CLIENT, "the client program", source.read_bytes(), mode))
    yield from _stale(tree, _CLIENT_SCRIPTS, set(parts), Concern.CLIENT)


def _stale(tree: DescriptorTree, directory: bytes, parts: set[bytes], concern: Concern) -> Iterator[Step]:
    for other, _ in tree.names(directory):
        if directory + b"/" + other not in parts:
            yield Remove(directory + b"/" + other, concern, "from another version")


# --- no update at boot ------------------------------------------------------------------------------------------------


def plan_stamps(tree: DescriptorTree) -> Iterator[Step]:
    """systemd updates its databases if /usr is newer than these files."""
    usr = tree.lstat(b"usr")
    if usr is None:
        return
    later = usr.st_mtime_ns + 10**9
    for path in (b"etc/.updated", b"var/.updated"):
        found = tree.lstat(path)
        if found is None or not stat.S_ISREG(found.st_mode):
            text = _STAMP_FILE.encode()
            yield from write_if_changed(tree, Write(path, Concern.UPDATED, "newer than /usr", text, time=later))
        elif found.st_mtime_ns <= usr.st_mtime_ns:
            yield Touch(path, Concern.UPDATED, "newer than /usr", later)
