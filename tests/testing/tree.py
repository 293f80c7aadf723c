"""Makes the entries of a test tree by system calls, and gives them their looks at the end."""

import hashlib
import os
import stat
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

SECOND = 10**9
LAST_ID = 2**32 - 2
"""The largest owner: 2^32-1 means "leave as it is" to chown."""


@dataclass(frozen=True)
class Look:
    """What an entry is apart from name and content; None is the default, or a time drawn from the name."""

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
            when = time_drawn_from(path) if look.mtime_ns is None else look.mtime_ns
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


def time_drawn_from(path: bytes) -> int:
    """A time between 2001 and 2023 with nanoseconds, a function of the name alone."""
    return 10**18 + int.from_bytes(hashlib.sha256(path).digest()[:8], "big") % (7 * 10**17)


def _dress(place: bytes, look: Look) -> None:
    """Owner, mode, ACL, capability: chown drops setuid and capabilities, an ACL sets the group's bits."""
    found = os.lstat(place)
    os.chown(place, *look.owner, follow_symlinks=False)
    if not stat.S_ISLNK(found.st_mode):
        default = 0o755 if stat.S_ISDIR(found.st_mode) else 0o644
        os.chmod(place, default if look.mode is None else look.mode)
    if look.acl:
        run("setfacl", *look.acl, "--", place)
    for name, value in look.xattrs.items():
        os.setxattr(place, name, value, follow_symlinks=False)
    if look.capability:
        run("setcap", *look.capability, place)


def run(*command: str | bytes, **environment: str) -> str:
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
