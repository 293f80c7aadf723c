"""A small root of every kind of entry, and the command line as a person or a script runs it."""

from __future__ import annotations

import os
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from gitstate.cli.base.app import app
from tests.gitstate_command import Site
from tests.support import PROJECT
from tests.testing.tree import Look, Tree

GITSTATE: Final = (sys.executable, "-m", "gitstate")
ODD = b"odd/a\nb \\ \xff"
"""A name that JSON can't hold as it is."""


def plant(root: Path) -> None:
    """Some dozens of entries: files, links, devices, a socket, odd names, ACLs, capabilities, attributes."""
    root.mkdir()
    tree = Tree(os.fsencode(root))
    for name in ("hostname", "hosts", "fstab", "passwd", "group", "os-release", "profile", "motd"):
        tree.file(f"etc/{name}".encode(), f"{name}\n".encode() * 3)
    tree.file(b"etc/shadow", b"root:*:19000:0:99999:7:::\n", Look(mode=0o640, owner=(0, 42)))
    tree.symlink(b"bin", b"usr/bin")
    tree.file(b"usr/bin/true", b"#!/bin/sh\n", Look(mode=0o755))
    tree.file(b"usr/bin/sudo", b"#!/bin/sh\nexec\n", Look(mode=0o4755))
    tree.file(b"usr/bin/ping", b"#!/bin/sh\nping\n", Look(mode=0o755, capability=("cap_net_raw+ep",)))
    tree.file(b"usr/bin/perl", b"#!/bin/sh\nperl\n", Look(mode=0o755))
    tree.link(b"usr/bin/perl5", b"usr/bin/perl")
    tree.file(ODD, b"odd\n", Look(xattrs={b"user.k\xff": bytes(range(256))}))
    tree.file(b"srv/shared", b"x", Look(acl=("-m", "u:1000:rw")))
    tree.directory(b"srv/drop", Look(mode=0o1777, acl=("-d", "-m", "g:50:rwx")))
    tree.directory(b"var/empty", Look(mode=0o711, mtime_ns=-500_000_000))
    tree.node(b"dev/null", stat.S_IFCHR, 1, 3, Look(mode=0o666))
    tree.node(b"dev/sda", stat.S_IFBLK, 8, 0, Look(mode=0o660, owner=(0, 6)))
    tree.node(b"dev/initctl", stat.S_IFIFO)
    tree.sparse(b"var/sparse", 1 << 20, {1 << 19: b"x"})
    tree.directory(b"proc")
    tree.directory(b"tmp", Look(mode=0o1777))
    tree.settle()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "var" / "socket"))


def edit(root: Path) -> None:
    """One change of each kind."""
    (root / "etc" / "fstab").write_text("server:/home /home nfs4 ro 0 0\n")
    (root / "etc" / "new").write_text("new\n")
    (root / "etc" / "motd").unlink()
    (root / "etc" / "profile").unlink()
    (root / "etc" / "profile").symlink_to("hosts")
    (root / "usr" / "bin" / "perl5").unlink()
    os.link(root / "usr" / "bin" / "true", root / "usr" / "bin" / "false")
    os.chown(root / "dev" / "sda", 0, 0)
    os.utime(root / "etc" / "group", ns=(0, 0))


def listing(*places: Path) -> dict[str, tuple[int, ...]]:
    """Everything below ``places`` and what would change if it were written to."""
    found = {}
    for place in places:
        for directory, _, files in os.walk(place):
            for path in [directory, *(os.path.join(directory, name) for name in files)]:
                one = os.lstat(path)
                found[path] = (one.st_ino, one.st_mode, one.st_uid, one.st_gid, one.st_size, one.st_mtime_ns)
    return found


def environment(site: Site, **variables: str) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}  # as users have it
    return {**ours, "GITSTATE_SITE": str(site.path), "PYTHONPATH": str(PROJECT), **variables}


def said(site: Site, *words: str, code: int, cwd: Path | None = None) -> str:
    """What a failing command says."""
    return site.run(*words, code=code, cwd=cwd).stderr


def leaves(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command that users see, by its words."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from leaves(command, f"{path}{name} ")
        elif command is not None and not command.hidden:
            yield f"{path}{name}", command


COMMANDS: Final = dict(leaves(app))
