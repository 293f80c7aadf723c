"""The chapters of a hostile tree about what an entry is, from its name to its attributes."""

import random
import stat
from collections.abc import Callable
from dataclasses import replace

from tests.testing.tree import LAST_ID, SECOND, Look, Tree

MIB = 1 << 20

ODD_NAMES = (
    *rb"""
    # #mtree \ \\ \101 \n x\ % %2e %s ~ ~root - -- -rf --help set unset ... ..foo .x * ? [ [a-z] []] {a,b}
    a*b ! $HOME $(false) `false` ' " ; & | < > type=dir mode=0777 a=b : :(glob)** a:b HEAD refs a.lock @
    @{u} con NUL
    """.split(),
    *(b" ", b" x", b"x ", b"# comment", b"#gitstate 1", b"a\nb", b"\n", b"\n\n", b"..\n", b"a\n..", b"x\n"),
    *(b"a\tb", b"a\rb", b"\x1b[31mred", b"\x7f", b"\x01", b"\xff", b"\xff\xfe", b"\xc3\x28", b"\xed\xa0\x80"),
    *(name.encode() for name in ("na\u00efve", "nai\u0308ve", "\u202egpj.exe", "\ufeffbom", "\U0001f427")),
    *(byte * 255 for byte in (b"x", b"\xff", b"\n", b"\\", b"%", b"*")),
    "\u00e4".encode() * 127,
)

SYMLINKS = {
    b"etc": b"/etc",
    b"root": b"/",
    b"up": b"../../../../../..",
    b"here": b".",
    b"parent": b"..",
    b"absolute": b"/etc/passwd",
    b"relative-out": b"../../../../../../../../etc/passwd",
    b"device": b"/dev/null",
    b"proc": b"/proc/self/root/etc",
    b"dangling": b"nowhere",
    b"self": b"self",
    b"loop-a": b"loop-b",
    b"loop-b": b"loop-a",
    b"there": b"real",
    b"slash": b"there/",
    b"double": b"a//b/./../c",
    b"git": b".git/config",
    b"key": b"type=dir",
    b"hash": b"# x=y",
    b"space": b" ",
    b"newline": b"a\nb",
    b"only-newline": b"\n",
    b"backslash": b"\\101",
    b"non-utf-8": b"\xff\xfe\x80",
    b"long": b"x/" * 2047 + b"x",
    b"long-bytes": b"\xe9" * 4095,
}

USER_XATTRS = {
    b"user.plain": b"value",
    b"user.empty": b"",
    b"user.binary": bytes(range(256)),
    b"user.newline": b"a\nb=c\n",
    b"user.large": b"\xa5" * 3000,
    b"user.a=b": b"=",
    b"user. ": b" ",
    b"user.space in name": b"x",
    b"user.new\nline": b"x",
    b"user.#\\%~,": b"x",
    "user.\u00fc\u20ac\U0001f427".encode(): "\u00fc".encode(),
    b"user.\xff\xfe": b"\xff",
    b"user." + b"n" * 250: b"long name",
    b"user.overlay.opaque": b"y",
    b"user.type=dir mode": b"0777",
}


def _names(tree: Tree) -> None:
    """Every byte but NUL and the slash, and what escapes, patterns and options trip over."""
    every_byte = [bytes([number]) for number in range(1, 256) if number != ord("/")]
    for byte in every_byte:
        tree.file(b"names/inside/a" + byte + b"z", byte)
    for byte in every_byte:
        if byte != b".":
            tree.file(b"names/alone/" + byte)
    for number, name in enumerate(ODD_NAMES):
        tree.file(b"names/files/" + name, b"%d\n" % number)
        tree.file(b"names/directories/" + name + b"/inside", b"%d\n" % number)
        tree.symlink(b"names/links/" + name, name)


def _modes(tree: Tree) -> None:
    """All twelve bits, on files and on directories, empty and not."""
    permissions = (0, 0o1, 0o111, 0o200, 0o400, 0o444, 0o664, 0o777)
    for mode in (*permissions, 0o1644, 0o2644, 0o2755, 0o4644, 0o4711, 0o6755, 0o7777):
        tree.file(b"modes/file-%04o" % mode, b"#!/bin/sh\n", Look(mode=mode))
        tree.directory(b"modes/empty-%04o" % mode, Look(mode=mode))
        tree.directory(b"modes/full-%04o" % mode, Look(mode=mode))
        tree.file(b"modes/full-%04o/inside" % mode, b"x", Look(mode=mode))
    tree.node(b"modes/fifo-0000", stat.S_IFIFO, look=Look(mode=0))
    tree.node(b"modes/fifo-7777", stat.S_IFIFO, look=Look(mode=0o7777))


def _owners(tree: Tree) -> None:
    """Owners at the ends of 16, 31 and 32 bits, on every type."""
    for number in (1, 1000, 65533, 65534, 65535, 65536, 2**31 - 1, 2**31, LAST_ID - 1, LAST_ID):
        look = Look(owner=(number, 0))
        group = Look(owner=(0, number), mode=0o2770)
        tree.file(b"owners/file-%d" % number, b"owned", replace(look, mode=0o4755))
        tree.directory(b"owners/directory-%d" % number, group)
        tree.symlink(b"owners/link-%d" % number, b"file", look)
        tree.node(b"owners/fifo-%d" % number, stat.S_IFIFO, look=replace(look, owner=(number, number)))


def _times(tree: Tree) -> None:
    """Before 1970, after 2038, fractions that rounding or floating point would lose; all that ext4 holds."""
    for when in (
        *(-(2**31) * SECOND, -2 * SECOND - 500_000_000, -SECOND, -999_999_999, -1, 0, 1, 999_999_999, SECOND),
        *((2**31 - 1) * SECOND, 2**31 * SECOND, 2**31 * SECOND + 1, 2**32 * SECOND + 123_456_789),
        *(2**33 * SECOND + 999_999_999, 1_700_000_000_100_000_000, 1_700_000_000_123_456_789),
    ):
        look = Look(mtime_ns=when)
        tree.file(b"times/file%+d" % when, b"then", look)
        tree.directory(b"times/directory%+d" % when, look)
        tree.symlink(b"times/link%+d" % when, b"file", look)
        tree.node(b"times/fifo%+d" % when, stat.S_IFIFO, look=look)


def _hard_links(tree: Tree) -> None:
    """Groups across directories, groups that look alike, and files that look like groups."""
    then = Look(mtime_ns=1_234_567_890_000_000_001)
    tree.file(b"linked/one/three", b"three names\n", replace(then, mode=0o640, owner=(7, 8)))
    tree.link(b"linked/two/three", b"linked/one/three")
    tree.link(b"linked/two/below\nnewline/three\n", b"linked/one/three")
    for group in (b"left", b"right"):
        tree.file(b"linked/one/same-" + group, b"two groups of equal content\n", then)
        tree.link(b"linked/two/same-" + group, b"linked/one/same-" + group)
    tree.file(b"linked/one/friend", b"equal, not linked\n", then)
    tree.file(b"linked/two/friend", b"equal, not linked\n", then)
    tree.file(b"linked/one/empty")
    tree.link(b"linked/one/also empty", b"linked/one/empty")
    tree.file(b"linked/one/.gitignore", b"*\n")
    tree.link(b"linked/two/unescaped", b"linked/one/.gitignore")
    privileged = Look(0o4755, xattrs={b"user.k": b"v"}, acl=("-m", "u:9:r"), capability=("cap_net_raw+ep",))
    tree.file(b"linked/one/privileged", b"#!/bin/sh\n", privileged)
    tree.link(b"linked/two/privileged", b"linked/one/privileged")
    tree.symlink(b"linked/one/symlink", b"../two/three", then)
    tree.link(b"linked/two/symlink", b"linked/one/symlink")
    tree.node(b"linked/one/fifo", stat.S_IFIFO, look=then)
    tree.link(b"linked/two/fifo", b"linked/one/fifo")
    tree.node(b"linked/one/device", stat.S_IFCHR, 1, 3, then)
    tree.link(b"linked/two/device", b"linked/one/device")


def _nodes(tree: Tree) -> None:
    """Device numbers up to the kernel's 12 and 20 bits; 0:0 is what overlayfs takes for a whiteout."""
    ends = ((0, 0), (4095, 0), (1, 1_048_575), (4095, 1_048_575))
    for major, minor in ((1, 3), (5, 1), (255, 255), (256, 256), *ends):
        tree.node(b"nodes/char-%d-%d" % (major, minor), stat.S_IFCHR, major, minor)
        disk = Look(mode=0o660, owner=(0, 6))
        tree.node(b"nodes/block-%d-%d" % (major, minor), stat.S_IFBLK, major, minor, disk)
    tree.node(b"nodes/fifo", stat.S_IFIFO)


def _contents(tree: Tree) -> None:
    """Files that a filter would rewrite, and files of holes: 8 MiB to the eye, a page or two on disk."""
    page = bytes(range(256)) * 16
    tree.file(b"contents/empty")
    tree.file(b"contents/nul", b"\0")
    tree.file(b"contents/no newline", b"no newline")
    tree.file(b"contents/crlf", b"one\r\ntwo\r\n")
    tree.file(b"contents/mixed", b"one\r\ntwo\nthree\rfour")
    tree.file(b"contents/ident", b"$Id$\n$Id: 0123456789 $\n$Format:%H$\n")
    tree.file(b"contents/utf-16", "\ufeffone\ntwo\n".encode("utf-16-le"))
    tree.file(b"contents/conflict", b"<<<<<<< ours\none\n=======\ntwo\n>>>>>>> theirs\n")
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:%064d\nsize 1\n" % 0
    tree.file(b"contents/lfs", pointer)
    tree.file(b"contents/zeros", bytes(MIB))
    tree.file(b"contents/random", random.Random(2).randbytes(3 * MIB + 1))
    tree.sparse(b"contents/hole-all", 8 * MIB, {})
    tree.sparse(b"contents/hole-start", 8 * MIB, {8 * MIB - len(page): page})
    tree.sparse(b"contents/hole-middle", 8 * MIB, {0: page, 8 * MIB - len(page): page})
    tree.sparse(b"contents/hole-end", 8 * MIB, {0: page})
    tree.sparse(b"contents/hole-unaligned", 8 * MIB + 1, {5_000_001: b"xyz"})


def _symlinks(tree: Tree) -> None:
    """Every kind of target, those that lead out of the tree first of all."""
    for name, target in SYMLINKS.items():
        tree.symlink(b"symlinks/" + name, target, Look(owner=(12, 34)))
    tree.file(b"symlinks/real/file", b"behind a link\n")


def _acls(tree: Tree) -> None:
    """Access and default ACLs on every type that can carry one, and masks that hide what they grant."""
    tree.file(b"acls/user", b"x", Look(acl=("-m", "u:1000:rw")))
    tree.file(b"acls/many", b"x", Look(acl=("-m", ",".join(f"u:{n}:r,g:{n}:w" for n in range(100, 130)))))
    last = Look(owner=(LAST_ID, LAST_ID), acl=("-m", f"u:{LAST_ID}:x,g:{LAST_ID}:rwx"))
    tree.file(b"acls/last-id", b"x", last)
    tree.file(b"acls/mask", b"x", Look(mode=0o664, acl=("-m", "u:0:rwx,m::-")))
    tree.file(b"acls/nothing", b"x", Look(acl=("--set", "u::-,g::-,o::-,u:5:-,m::-")))
    tree.file(b"acls/setuid", b"x", Look(mode=0o6750, acl=("-m", "g:50:rx,m::rx")))
    tree.directory(b"acls/access", Look(mode=0o2770, acl=("-m", "g:50:rwx")))
    tree.directory(b"acls/default", Look(acl=("-d", "-m", "u:1000:rwx,o::-")))
    tree.directory(b"acls/both", Look(mode=0o1777, acl=("-m", "u:1:rx,d:u:2:rwx,d:m::r,d:g:3:-")))
    tree.node(b"acls/fifo", stat.S_IFIFO, look=Look(acl=("-m", "u:1000:rw")))
    tree.node(b"acls/device", stat.S_IFCHR, 5, 1, Look(mode=0o620, acl=("-m", "g:5:w")))
    tree.file(b"acls/both/inside", b"made before the default stood\n")
    tree.file(b"acls/name\nand = \xff", b"x", Look(acl=("-m", "u:1000:rw")))


def _capabilities(tree: Tree) -> None:
    """File capabilities of version 2 and, with a root id, of version 3; an empty set is not none at all."""
    for name, words in {
        b"one": ("cap_net_raw+ep",),
        b"several": ("cap_setuid,cap_net_bind_service=eip",),
        b"permitted and inheritable": ("cap_sys_admin=p cap_kill+i",),
        b"all": ("all=p",),
        b"inheritable": ("cap_dac_override+i",),
        b"empty": ("=",),
        b"root-id": ("-n", "1000", "cap_net_raw+ep"),
        b"last-root-id": ("-n", str(LAST_ID), "cap_chown+ei"),
        b"name\nand = \xff": ("cap_net_raw+ep",),
    }.items():
        tree.file(b"capabilities/" + name, b"#!/bin/sh\n", Look(mode=0o755, capability=words))
    everything = Look(0o6711, (42, 43), -1, {b"user.x": b"y"}, ("-m", "u:1:x"), ("cap_net_admin+ep",))
    tree.file(b"capabilities/with everything else", b"#!/bin/sh\n", everything)


def _xattrs(tree: Tree) -> None:
    """User attributes: binary, empty, large, and with names that a record has to escape."""
    for number, (name, value) in enumerate(USER_XATTRS.items()):
        tree.file(b"xattrs/file-%02d" % number, b"x", Look(xattrs={name: value}))
        tree.directory(b"xattrs/directory-%02d" % number, Look(xattrs={name: value}))
    small = {name: value for name, value in USER_XATTRS.items() if len(name) + len(value) < 100}
    tree.file(b"xattrs/many", b"x", Look(xattrs=small))
    tree.file(b"xattrs/many in another order", b"x", Look(xattrs=dict(reversed(small.items()))))


def _empty_directories(tree: Tree) -> None:
    """Directories that exist by their records alone, one inside the other."""
    tree.directory(b"empty/plain")
    tree.directory(b"empty/sticky", Look(mode=0o1777, owner=(0, 50)))
    tree.directory(b"empty/closed", Look(mode=0, owner=(LAST_ID, LAST_ID), mtime_ns=-1))
    tree.directory(b"empty/a/b/c/d/e/f", Look(mode=0o2775))


def wide(tree: Tree, entries: int) -> None:
    """One directory of many entries, among them a directory whose name sorts differently with its slash."""
    for number in range(entries):
        tree.file(b"wide/entry-%06d" % number, b"%d\n" % (number % 7))
    for name in (b"entry-", b"entry.", b"entry0", b"entry-000000.d"):
        tree.file(b"wide/" + name, b"beside a directory\n")
    tree.file(b"wide/entry/inside", b"x")


CHAPTERS: tuple[Callable[[Tree], None], ...] = (
    *(_names, _modes, _owners, _times, _hard_links, _nodes, _contents, _symlinks),
    *(_acls, _capabilities, _xattrs, _empty_directories),
)
