"""A tree that holds every oddity a root filesystem may hold, made of system calls and outside programs alone.

`build` gives the same tree every time, times included, so that two builds are equal to every judge: that is how
trees are compared that no copying program can copy. It knows nothing of gitstate's code.

What it leaves out on purpose: `trusted.*` and `security.ima` attributes (never recorded), private keys and password
hashes (refused), top directories whose contents are not recorded (`run`, `tmp`, …), and a link `etc -> /etc` in
the top directory, because a test that writes `etc/fstab` would write the machine's own; it stands in `symlinks`.
"""

import hashlib
import os
import random
import stat
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.equipment.mutation import mutate

__all__ = ["CANARY", "LAST_ID", "TOO_DEEP", "build", "mutate", "remove"]

SECOND = 10**9
MIB = 1 << 20
LAST_ID = 2**32 - 2
"""The largest owner: 2^32-1 means "leave as it is" to chown."""

CANARY = Path("/tmp/gitstate-hostile-was-run")
"""Made by the hooks, filters and monitors that nested repositories ask for, if anything obeys them."""

TOO_DEEP = (b"deep-long", b"deep-chain")
"""The top directories that `deep=True` adds: paths beyond PATH_MAX, and 1,100 levels."""


@dataclass(frozen=True)
class Look:
    """What an entry is apart from its name and content; None means the default, or one drawn from its name."""

    mode: int | None = None
    owner: tuple[int, int] = (0, 0)
    mtime_ns: int | None = None
    xattrs: Mapping[bytes, bytes] = field(default_factory=dict)
    acl: Sequence[str] = ()
    capability: Sequence[str] = ()


PLAIN = Look()


class Tree:
    """Makes entries below one directory and gives them their looks when all of them stand.

    Looks come last because every entry made in a directory changes that directory's time, and because writing
    and chown drop capabilities and setuid bits.
    """

    def __init__(self, root: bytes) -> None:
        self.root = root
        self.looks: dict[bytes, Look] = {b"": Look(mode=0o751, owner=(3, 4), mtime_ns=-86399 * SECOND + 1)}

    def directory(self, path: bytes, look: Look = PLAIN) -> None:
        """Make a directory and those above it; a second call only changes its look."""
        above = b""
        for name in path.split(b"/"):
            above = os.path.join(above, name)
            if above not in self.looks:
                os.mkdir(self._place(above))
                self.looks[above] = PLAIN
        self.looks[path] = look

    def file(self, path: bytes, data: bytes = b"", look: Look = PLAIN) -> None:
        """Make a regular file."""
        with open(self._new(path, look), "xb") as file:
            file.write(data)

    def sparse(self, path: bytes, size: int, pieces: Mapping[int, bytes]) -> None:
        """Make a file of holes, with data at the given offsets."""
        with open(self._new(path, PLAIN), "xb") as file:
            file.truncate(size)
            for offset, data in pieces.items():
                file.seek(offset)
                file.write(data)

    def symlink(self, path: bytes, target: bytes, look: Look = PLAIN) -> None:
        """Make a symbolic link."""
        os.symlink(target, self._new(path, look))

    def node(self, path: bytes, kind: int, major: int = 0, minor: int = 0, look: Look = PLAIN) -> None:
        """Make a device, a fifo or a socket: `kind` is one of stat's S_IF constants."""
        os.mknod(self._new(path, look), kind | 0o600, os.makedev(major, minor))

    def link(self, path: bytes, existing: bytes) -> None:
        """Make one more name for an entry, of whatever type."""
        self._make_parent(path)
        os.link(self._place(existing), self._place(path), follow_symlinks=False)

    def adopt(self, path: bytes) -> None:
        """Give default looks to everything another program made below `path`."""
        for found in _below(self._place(path)):
            self.looks.setdefault(os.path.relpath(found, self.root), PLAIN)

    def settle(self) -> None:
        """Give every entry its look; the times last, when nothing is made any more."""
        for path, look in self.looks.items():
            _dress(self._place(path), look)
        for path, look in self.looks.items():
            when = _time_drawn_from(path) if look.mtime_ns is None else look.mtime_ns
            os.utime(self._place(path), ns=(when, when), follow_symlinks=False)

    def _new(self, path: bytes, look: Look) -> bytes:
        self._make_parent(path)
        self.looks[path] = look
        return self._place(path)

    def _make_parent(self, path: bytes) -> None:
        parent = os.path.dirname(path)
        if parent not in self.looks:
            self.directory(parent)

    def _place(self, path: bytes) -> bytes:
        return os.path.join(self.root, path) if path else self.root


def build(root: Path, *, sockets: bool = True, wide: int = 500, deep: bool = False) -> None:
    """Fill the empty directory `root`; needs root, git, setfacl and setcap, and a file system with all of this.

    `sockets=False` leaves the sockets out, as check-in does. `deep=True` adds what only programs that walk by
    directory descriptors can reach; such a tree is deleted with `remove` and not with shutil.
    """
    if os.listdir(root):
        raise ValueError(f"{root} is not empty")
    tree = Tree(os.fsencode(root))
    for chapter in CHAPTERS:
        chapter(tree)
    _wide(tree, wide)
    if sockets:
        tree.node(b"nodes/socket", stat.S_IFSOCK)
        tree.node(b"only-a-socket/socket", stat.S_IFSOCK)
    if deep:
        _deep_long(tree)
        _deep_chain(tree)
    tree.settle()


def remove(root: Path) -> None:
    """Delete a tree of any depth: shutil.rmtree ends at the recursion limit, rm doesn't."""
    subprocess.run(["rm", "-rf", "--one-file-system", "--", root], check=True)


# ---------------------------------------------------------------------------------------------------- looks


def _time_drawn_from(path: bytes) -> int:
    """A time between 2001 and 2023 with nanoseconds, a function of the name alone."""
    return 10**18 + int.from_bytes(hashlib.sha256(path).digest()[:8], "big") % (7 * 10**17)


def _dress(place: bytes, look: Look) -> None:
    """Owner before mode before the rest: chown drops setuid, an ACL sets the group's bits, both drop capabilities."""
    found = os.lstat(place)
    os.chown(place, *look.owner, follow_symlinks=False)
    if not stat.S_ISLNK(found.st_mode):
        default = 0o755 if stat.S_ISDIR(found.st_mode) else 0o644
        os.chmod(place, default if look.mode is None else look.mode)
    if look.acl:
        _run("setfacl", *look.acl, "--", place)
    for name, value in look.xattrs.items():
        os.setxattr(place, name, value, follow_symlinks=False)
    if look.capability:
        _run("setcap", *look.capability, place)


def _run(*command: str | bytes, **environment: str) -> str:
    """An outside program's output; its complaint if it fails."""
    done = subprocess.run(
        command,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{command!r}: {done.stderr.strip()}")
    return done.stdout.strip()


def _below(place: bytes) -> Iterator[bytes]:
    """The paths of a directory and of everything in it, sorted, without recursion."""
    waiting = [place]
    while waiting:
        current = waiting.pop()
        yield current
        if stat.S_ISDIR(os.lstat(current).st_mode):
            waiting += [os.path.join(current, name) for name in sorted(os.listdir(current), reverse=True)]


# ------------------------------------------------------------------------------------------------- chapters


def _names(tree: Tree) -> None:
    """Every byte but NUL and the slash, alone and inside, and what escapes, patterns and options trip over."""
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


ODD_NAMES = (
    *(
        b"#",
        b"#mtree",
        b"#gitstate 1",
        b"# comment",
        b"-",
        b"--",
        b"-rf",
        b"--help",
        b" ",
        b" x",
        b"x ",
        b"set",
        b"unset",
    ),
    *(b"...", b"..foo", b".x", b"\\", b"\\\\", b"\\101", b"\\n", b"x\\", b"%", b"%2e", b"%s", b"~", b"~root"),
    *(b"a\nb", b"\n", b"\n\n", b"..\n", b"a\n..", b"x\n", b"a\tb", b"a\rb", b"\x1b[31mred", b"\x7f", b"\x01"),
    *(b"\xff", b"\xff\xfe", b"\xc3\x28", b"\xed\xa0\x80", b"\xf0\x28\x8c\x28", "na\u00efve".encode()),
    *("nai\u0308ve".encode(), "\u202egpj.exe".encode(), "\ufeffbom".encode(), "\U0001f427".encode()),
    *(
        b"*",
        b"?",
        b"[",
        b"[a-z]",
        b"[]]",
        b"{a,b}",
        b"a*b",
        b"!",
        b"$HOME",
        b"$(false)",
        b"`false`",
        b"'",
        b'"',
        b";",
    ),
    *(
        b"type=dir",
        b"mode=0777",
        b"a=b",
        b":",
        b":(glob)**",
        b"HEAD",
        b"refs",
        b"con",
        b"NUL",
        b"a:b",
        b"a.lock",
        b"@",
    ),
    *(b"x" * 255, b"\xff" * 255, b"\n" * 255, b"\\" * 255, b"%" * 255, b"*" * 255, "\u00e4".encode() * 127),
)


def _modes(tree: Tree) -> None:
    """Twelve bits, on files and on directories, empty and not."""
    for mode in (
        0,
        0o1,
        0o111,
        0o200,
        0o400,
        0o444,
        0o664,
        0o777,
        0o1644,
        0o2644,
        0o2755,
        0o4644,
        0o4711,
        0o6755,
        0o7777,
    ):
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
    privileged = Look(
        mode=0o4755, acl=("-m", "u:9:r"), capability=("cap_net_raw+ep",), xattrs={b"user.k": b"v"}
    )
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
    for major, minor in (
        (1, 3),
        (5, 1),
        (255, 255),
        (256, 256),
        (4095, 1_048_575),
        (1, 1_048_575),
        (4095, 0),
        (0, 0),
    ):
        tree.node(b"nodes/char-%d-%d" % (major, minor), stat.S_IFCHR, major, minor)
        tree.node(
            b"nodes/block-%d-%d" % (major, minor), stat.S_IFBLK, major, minor, Look(mode=0o660, owner=(0, 6))
        )
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
    tree.file(
        b"contents/lfs",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1\n",
    )
    tree.file(b"contents/zeros", bytes(MIB))
    tree.file(b"contents/random", random.Random(2).randbytes(3 * MIB + 1))
    tree.sparse(b"contents/hole-all", 8 * MIB, {})
    tree.sparse(b"contents/hole-start", 8 * MIB, {8 * MIB - len(page): page})
    tree.sparse(b"contents/hole-middle", 8 * MIB, {0: page, 8 * MIB - len(page): page})
    tree.sparse(b"contents/hole-end", 8 * MIB, {0: page})
    tree.sparse(b"contents/hole-unaligned", 8 * MIB + 1, {5_000_001: b"xyz"})


def _symlinks(tree: Tree) -> None:
    """Every kind of target, those that lead out of the tree first of all."""
    for name, target in {
        **{b"etc": b"/etc", b"up": b"../../../../../..", b"root": b"/", b"here": b".", b"parent": b".."},
        **{b"dangling": b"nowhere", b"self": b"self", b"loop-a": b"loop-b", b"loop-b": b"loop-a"},
        **{b"absolute": b"/etc/passwd", b"relative-out": b"../../../../../../../../etc/passwd"},
        **{b"device": b"/dev/null", b"proc": b"/proc/self/root/etc", b"slash": b"there/", b"there": b"real"},
        **{
            b"non-utf-8": b"\xff\xfe\x80",
            b"newline": b"a\nb",
            b"only-newline": b"\n",
            b"space": b" ",
            b"hash": b"# x=y",
        },
        **{b"backslash": b"\\101", b"key": b"type=dir", b"git": b".git/config", b"long": b"x/" * 2047 + b"x"},
        **{b"long-bytes": b"\xe9" * 4095, b"double": b"a//b/./../c"},
    }.items():
        tree.symlink(b"symlinks/" + name, target, Look(owner=(12, 34)))
    tree.file(b"symlinks/real/file", b"behind a link\n")


def _git_words(tree: Tree) -> None:
    """The names git listens to, as files, directories and links, in the top directory and below."""
    for directory in (b"", b"words/", b"words/below\nnewline/", b"etc/"):
        for name, data in GIT_WORDS.items():
            tree.file(directory + name, data)
    for name in (*GIT_WORDS, b".git"):
        tree.file(b"words/directories/" + name + b"/inside", b"x\n")
        tree.directory(b"words/empty/" + name, Look(mode=0o700))
        tree.symlink(b"words/links/" + name, b"../" + name)
        tree.symlink(b"words/links out/" + name, b"/etc/passwd")
    tree.file(b".git", b"gitdir: /nonexistent\n")
    tree.file(b"words/.git", b"gitdir: ../etc/.git\n")
    tree.file(b"words/garbage/.git", b"\0\xff")
    tree.file(b"words/ignored", b"named by every .gitignore\n")


GIT_WORDS = {
    b".gitignore": b"*\n!nothing\n",
    b".gitattributes": b"* text eol=crlf ident filter=evil working-tree-encoding=UTF-16 -diff export-subst\n"
    b"* export-ignore merge=evil diff=evil whitespace=fix\n[attr]evil text\n.gitstate diff=evil merge=ours\n",
    b".gitmodules": b'[submodule "../../x"]\n\tpath = -evil\n\turl = ext::sh -c touch% '
    + os.fsencode(CANARY)
    + b"\n\tupdate = !touch "
    + os.fsencode(CANARY)
    + b"\n",
    b".mailmap": b"Somebody Else <else@example.org> <root@localhost>\nSomebody Else <else@example.org> <>\n",
    b".gitconfig": b"[core]\n\tfsmonitor = touch " + os.fsencode(CANARY) + b"\n",
    b".git-blame-ignore-revs": b"0123456789012345678901234567890123456789\n",
    b".lfsconfig": b"[lfs]\n\turl = https://nonexistent.invalid\n",
}


def _repositories(tree: Tree) -> None:
    """Whole repositories, as etckeeper and checkouts in /opt leave them: with a worktree, bare, and obeyed at a cost."""
    for place in (b"etc", b"opt/source", b"opt/source/nested"):
        tree.file(place + b"/tracked", b"tracked in " + place + b"\n")
        _repository(tree, place + b"/.git", place + b"/tracked")
    _repository(tree, b"srv/bare.git", b"etc/tracked")
    tree.file(
        b"opt/source/.git/hooks/post-commit",
        b"#!/bin/sh\ntouch " + os.fsencode(CANARY) + b"\n",
        Look(mode=0o755),
    )


def _repository(tree: Tree, path: bytes, tracked: bytes) -> None:
    """One repository with one commit of one file.

    It is made by git's plumbing because `git add` writes inode numbers into the index, and two builds would differ.
    """
    place = os.path.join(tree.root, path)
    tree.directory(path, Look(mode=0o700))

    def git(*words: str | bytes) -> str:
        return _run("git", b"--git-dir=" + place, *words, **_QUIET_GIT)

    git("init", "--quiet", "--template=", "--initial-branch=main")
    blob = git("hash-object", "-w", "--no-filters", "--", os.path.join(tree.root, tracked))
    git("update-index", "--add", "--cacheinfo", f"100644,{blob},tracked")
    commit = git("commit-tree", "-m", "a nested history", git("write-tree"))
    git("update-ref", "-m", "commit (initial)", "refs/heads/main", commit)
    with open(os.path.join(place, b"config"), "ab") as config:
        config.write(_EVIL_CONFIG)
    tree.adopt(path)


_QUIET_GIT = {
    **{
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_DEFAULT_HASH": "sha1",
        "LC_ALL": "C",
    },
    **{
        "GIT_AUTHOR_NAME": "Nested",
        "GIT_AUTHOR_EMAIL": "n@example.org",
        "GIT_AUTHOR_DATE": "1234567890 +0000",
    },
    **{
        "GIT_COMMITTER_NAME": "Nested",
        "GIT_COMMITTER_EMAIL": "n@example.org",
        "GIT_COMMITTER_DATE": "1234567890 +0000",
    },
}
_EVIL_CONFIG = "".join(
    f"{section}\n\t{key} = touch {CANARY}\n"
    for section, key in {
        "[core]": "fsmonitor",
        '[filter "evil"]': "clean",
        '[diff "evil"]': "textconv",
        '[merge "evil"]': "driver",
    }.items()
).encode()


def _aliases(tree: Tree) -> None:
    """The names that HFS+ and NTFS take for git's, which `git fsck` and checkout refuse."""
    for number, name in enumerate(GIT_ALIASES):
        tree.file(b"aliases/files/" + name, b"%d\n" % number)
        tree.file(b"aliases/directories/" + name + b"/config", b"%d\n" % number)
        tree.directory(b"aliases/empty/" + name)
        tree.symlink(b"aliases/links/" + name, b"/etc/passwd")


GIT_ALIASES = (
    *(b".GIT", b".Git", b".gIt", b".GITMODULES", b".GitAttributes", b".GITIGNORE", b".MailMap"),
    *(".g\u200cit".encode(), "\u200d.git".encode(), ".git\u200e".encode(), ".gi\ufefft".encode()),
    *(".g\u200cit\u206fmodules".encode(), ".GIT\u202aattributes".encode(), ".\u2060mailmap".encode()),
    *(
        b"git~1",
        b"GIT~1",
        b"Git~1",
        b"git~2",
        b".git ",
        b".git.",
        b".git...",
        b".git . .",
        b".git:",
        b".git:x",
    ),
    *(
        b".git::$INDEX_ALLOCATION",
        b".git::$index_allocation",
        b"git~1 ",
        b"git~1.",
        b"git~1:x",
        b"GIT~1::$DATA",
    ),
    *(
        b".gitmodules ",
        b".gitmodules.",
        b".gitmodules::$DATA",
        b".gitmodules:$DATA",
        b".gitignore ",
        b".mailmap.",
    ),
    *(
        b"gitmod~1",
        b"GITMOD~4",
        b"gitmod~5",
        b"gi7eba~1",
        b"GI7EBA~9",
        b"gi7eba~10",
        b"gi7d29~1",
        b"gitatt~1",
    ),
    *(b"gi250a~1", b"gitign~1", b"maba30~1", b"mailma~1", b"g~000001", b"gi7eb~01"),
    *(
        b"a\\.git",
        b"\\.git",
        b".git\\",
        b".git\\config",
        b"a\\.git\\b",
        b"a\\git~1",
        b"a\\.gitmodules",
        b"..\\x",
        b"..\\",
    ),
    *(
        b"a\\..\\b",
        b"C:\\x",
        b"a\\.GIT ",
        b".git\xff",
        b".git\n",
        b"\n.git",
        b".gitx",
        b".gi",
        b"git",
        b"..git",
    ),
)


def _own_words(tree: Tree) -> None:
    """Real entries that carry the names the format keeps for itself, with records inside that nobody may believe."""
    for directory in (b"", b"own/"):
        for name in OWN_WORDS:
            tree.file(directory + name, _FALSE_RECORDS, Look(mode=0o604, owner=(1, 2)))
    for name in OWN_WORDS:
        tree.file(b"own/directories/" + name + b"/.gitstate", _FALSE_RECORDS)
        tree.directory(b"own/empty/" + name, Look(mode=0o711))
        tree.symlink(b"own/links/" + name, b"/etc/passwd")
    tree.node(b"own/fifo/.gitstate", stat.S_IFIFO)
    tree.file(b"own/fifo/.gitstate=", b"x")


OWN_WORDS = (
    *(
        b".gitstate",
        b".gitstate-links",
        b".gitstate=",
        b".gitstate=x",
        b".gitstate=%2e",
        b".gitstate=%",
        b".gitstate=%zz",
    ),
    *(
        b".gitstate=.git",
        b".gitstate=.gitstate",
        b".gitstate=.gitstate=.gitstate",
        b".gitstate=.gitignore",
        b".gitstated",
    ),
    *(b".gitstate ", b".gitstate\n", b".gitstate\\", b".gitstate~", b".gitstate=\xff", b".GITSTATE"),
    *(b".gitstate" + b"x" * 246, b".gitstate" + b"\xff" * 246, ".gitst\u200cate".encode()),
)
_FALSE_RECORDS = b"#mtree\n#gitstate 1\n/set type=file uid=0 gid=0 mode=06777\n.\n../../etc/passwd mode=0666\n.. type=dir\n"


def _acls(tree: Tree) -> None:
    """Access and default ACLs on every type that can carry one, with masks that hide what the mode seems to say."""
    tree.file(b"acls/user", b"x", Look(acl=("-m", "u:1000:rw")))
    tree.file(b"acls/many", b"x", Look(acl=("-m", ",".join(f"u:{n}:r,g:{n}:w" for n in range(100, 130)))))
    tree.file(
        b"acls/last-id", b"x", Look(acl=("-m", f"u:{LAST_ID}:x,g:{LAST_ID}:rwx"), owner=(LAST_ID, LAST_ID))
    )
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


def _empty_directories(tree: Tree) -> None:
    """Directories that exist by their records alone, one inside the other."""
    tree.directory(b"empty/plain")
    tree.directory(b"empty/sticky", Look(mode=0o1777, owner=(0, 50)))
    tree.directory(b"empty/closed", Look(mode=0, owner=(LAST_ID, LAST_ID), mtime_ns=-1))
    tree.directory(b"empty/a/b/c/d/e/f", Look(mode=0o2775))


def _wide(tree: Tree, entries: int) -> None:
    """One directory of many entries, among them a directory whose name sorts differently with its slash."""
    for number in range(entries):
        tree.file(b"wide/entry-%06d" % number, b"%d\n" % (number % 7))
    for name in (b"entry-", b"entry.", b"entry0", b"entry-000000.d"):
        tree.file(b"wide/" + name, b"beside a directory\n")
    tree.file(b"wide/entry/inside", b"x")


def _deep_long(tree: Tree) -> None:
    """40 levels of 120-byte names: 4,840 bytes, more than a path may have in one system call."""
    _chain(tree, b"deep-long", [b"%03d-" % level + b"n" * 116 for level in range(40)])


def _deep_chain(tree: Tree) -> None:
    """1,100 levels: more than Python's recursion limit, and more than a careless walk may hold open."""
    _chain(tree, b"deep-chain", [b"d"] * 1100)


def _chain(tree: Tree, top: bytes, names: Sequence[bytes]) -> None:
    """A chain of directories made by descriptors, with all that an entry can have at its end.

    A directory's time is set when its only child stands; nothing is made in it any more after that.
    """
    tree.directory(top)
    tree.file(top + b"/linked", b"from the top to the end\n")
    outermost = here = os.open(os.path.join(tree.root, top), os.O_RDONLY | os.O_DIRECTORY)
    for level, name in enumerate(names):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
        os.fchmod(below, 0o755 if level % 3 else 0o2750)
        if here != outermost:
            _set_time(here, level)
            os.close(here)
        here = below
    _end_of_chain(here, outermost)
    _set_time(here, len(names))
    os.close(here)
    os.close(outermost)


def _end_of_chain(here: int, outermost: int) -> None:
    """A file with metadata, a link, a fifo, an empty directory and a second name of a file at the top."""
    file = os.open(b"file", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=here)
    os.write(file, b"at the end\n")
    os.fchown(file, 42, LAST_ID)
    os.fchmod(file, 0o4751)
    os.setxattr(file, b"user.deep", b"\0\xff")
    _set_time(file, -1)
    os.close(file)
    os.symlink(b"../../../../etc", b"link", dir_fd=here)
    os.mkfifo(b"fifo", 0o600, dir_fd=here)
    os.mkdir(b"empty", 0o700, dir_fd=here)
    for name in (b"link", b"fifo", b"empty"):
        os.utime(name, ns=(SECOND, SECOND), dir_fd=here, follow_symlinks=False)
    os.link(b"linked", b"linked", src_dir_fd=outermost, dst_dir_fd=here)


def _set_time(descriptor: int, number: int) -> None:
    when = _time_drawn_from(b"level %d" % number)
    os.utime(descriptor, ns=(when, when))


CHAPTERS: tuple[Callable[[Tree], None], ...] = (
    *(_names, _modes, _owners, _times, _hard_links, _nodes, _contents, _symlinks, _git_words, _repositories),
    *(_aliases, _own_words, _acls, _capabilities, _xattrs, _empty_directories),
)
