"""Real git as a judge: one repository, objects put into it as they are, and what git says of them."""

from __future__ import annotations

import hashlib
import subprocess
import zlib
from collections.abc import Sequence
from pathlib import Path

WORDS = {1: b"commit", 2: b"tree", 3: b"blob", 4: b"tag"}
EMPTY_TREE = bytes.fromhex("4b825dc642cb6eb9a060e54bf8d69288fbee4904")


class Git:
    """git on one repository; ``config`` are settings for every command."""

    def __init__(self, path: Path, config: Sequence[str] = ()) -> None:
        self.path = path
        self._settings = [word for setting in config for word in ("-c", setting)]

    @classmethod
    def create(cls, path: Path, config: Sequence[str] = (), *, bare: bool = True) -> Git:
        """A new repository with the branch ``main``; ``path`` is its .git if it isn't bare."""
        kind = ["--bare", str(path)] if bare else [str(path.parent)]
        subprocess.run(["git", "init", "-q", "-b", "main", "--template=", *kind], check=True)
        return cls(path, config)

    def ask(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run git; whatever it says is for the caller to judge."""
        command = ["git", f"--git-dir={self.path}", *self._settings, *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, check=False)

    def __call__(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """Run git, which must succeed; its output."""
        done = self.ask(*arguments, stdin=stdin)
        assert done.returncode == 0, (arguments, done.stderr[-2000:])
        return done.stdout

    def complaints(self, *arguments: str, stdin: bytes = b"") -> str:
        """All that git says to both streams, and its exit code unless that is 0; empty for a satisfied git."""
        done = self.ask(*arguments, stdin=stdin)
        said = (done.stdout + done.stderr).decode(errors="backslashreplace")
        return said + (f"exit code {done.returncode}" if done.returncode else "")

    def fsck(self) -> str:
        """What ``git fsck --strict`` complains of."""
        return self.complaints("fsck", "--strict", "--full", "--no-dangling", "--no-progress")

    def put(self, kind: int, data: bytes) -> bytes:
        """Store an object loose, unchecked: newer git's hash-object refuses what fsck would report."""
        whole = b"%s %d\0%s" % (WORDS[kind], len(data), data)
        oid = hashlib.sha1(whole, usedforsecurity=False)
        place = self.path / "objects" / oid.hexdigest()[:2] / oid.hexdigest()[2:]
        place.parent.mkdir(exist_ok=True)
        if not place.exists():
            place.write_bytes(zlib.compress(whole, 1))
        return oid.digest()

    def commit(self, tree: bytes, *parents: bytes, message: bytes = b"x\n") -> bytes:
        """Store a commit; moves no ref."""
        lines = [b"tree " + tree.hex().encode(), *(b"parent " + oid.hex().encode() for oid in parents)]
        lines += [b"author A <a@example.com> 1 +0000", b"committer A <a@example.com> 1 +0000", b"", message]
        return self.put(1, b"\n".join(lines))
