"""A real sshd on a port of its own, a user who may do nothing but push, and the one rule of sudo.

All of it in a mount namespace whose /etc has copies of a few files, so that the machine's own stay as they are.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

USER: Final = "pusher"
PATIENCE: Final = 30
_COPIED: Final = ("passwd", "shadow", "group")


@dataclass(frozen=True)
class Server:
    """Where it listens, and how somebody with the key goes there."""

    place: Path
    port: int

    @property
    def environment(self) -> dict[str, str]:
        """git goes by ssh with our key, and ssh knows nobody's settings."""
        words = ["ssh", "-F", "none", "-i", str(self.place / "key"), "-p", str(self.port), *self._options()]
        return {**os.environ, "GIT_SSH_COMMAND": shlex.join(words)}

    def _options(self) -> list[str]:
        known = self.place / "known_hosts"
        settings = ("IdentitiesOnly=yes", f"UserKnownHostsFile={known}", "StrictHostKeyChecking=no", "LogLevel=ERROR")
        return [word for one in (*settings, "SendEnv=GITSTATE_* GIT_* SSH_*") for word in ("-o", one)]

    def url(self, repository: str) -> str:
        """What git calls a repository of the site."""
        return f"ssh://{USER}@127.0.0.1/{repository}"

    def git(self, directory: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """git on the other side."""
        argv = ["git", "-C", str(directory), *words]
        environment = {**self.environment, **variables}
        return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=120)

    def ssh(self, command: str, said: bytes = b"", **variables: str) -> subprocess.CompletedProcess[str]:
        """What somebody asks for who has the key and isn't git, with what is ``said`` on standard input."""
        argv = [*shlex.split(self.environment["GIT_SSH_COMMAND"]), f"{USER}@127.0.0.1", *([command] if command else [])]
        environment = {**os.environ, **variables}
        done = subprocess.run(argv, env=environment, input=said, capture_output=True, check=False, timeout=120)
        return subprocess.CompletedProcess(argv, done.returncode, done.stdout.decode(), done.stderr.decode())


@contextmanager
def serving(place: Path, site: Path, *options: str) -> Iterator[Server]:
    """An sshd for the block's time, whose only user pushes to ``site``; ``options`` are those of serve."""
    place.mkdir()
    place.chmod(0o755)
    program = Path(sys.executable).with_name("gitstate")
    for name in ("key", "host_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place / name)], check=True)
    _write_etc(place, shlex.join([str(program), "--site", str(site), "serve", *options]))
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        port = door.getsockname()[1]
    (place / "sshd_config").write_text(_config(place, port))
    with open(place / "log", "wb") as log:
        argv = ["unshare", "--mount", "--propagation", "private", "sh", "-eu", str(place / "start")]
        process = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        _wait(place, process, port)
        yield Server(place, port)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(PATIENCE)


def _write_etc(place: Path, command: str) -> None:
    """The files that stand in for those of /etc, and the script that puts them there."""
    etc = place / "etc"
    etc.mkdir()
    for name in _COPIED:
        (etc / name).write_bytes(Path("/etc", name).read_bytes())
    with open(etc / "passwd", "a") as file:
        file.write(f"{USER}:x:64999:64999::/:/bin/sh\n")
    with open(etc / "shadow", "a") as file:
        file.write(f"{USER}:*:19000:0:99999:7:::\n")
    with open(etc / "group", "a") as file:
        file.write(f"{USER}:x:64999:\n")
    key = (place / "key.pub").read_text()
    (place / "authorized_keys").write_text(f'command="sudo -n {command}",restrict {key}')
    (etc / "sudoers").write_text(
        f'Defaults env_reset\nDefaults!{command.split()[0]} env_keep += "SSH_ORIGINAL_COMMAND"\n'
        f"root ALL=(ALL:ALL) ALL\n{USER} ALL=(root) NOPASSWD: {command}\n"
    )
    (etc / "sudoers").chmod(0o440)
    binds = [f"mount --bind {etc / name} /etc/{name}" for name in (*_COPIED, "sudoers")]
    start = [*binds, "mount -t tmpfs -o mode=0755 tmpfs /run", "mkdir -m 0755 /run/sshd"]
    start.append(f"install -m 0644 {place / 'authorized_keys'} /run/sshd/keys")  # the user can't enter our own place
    start.append(f"exec {_sshd()} -D -e -f {place / 'sshd_config'}")
    (place / "start").write_text("\n".join(start) + "\n")


def _sshd() -> str:
    return "/usr/sbin/sshd"


def _config(place: Path, port: int) -> str:
    return (
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {place / 'host_key'}\nPidFile none\nUsePAM no\n"
        "AuthorizedKeysFile /run/sshd/keys\nPasswordAuthentication no\nStrictModes no\n"
        "AcceptEnv GITSTATE_* GIT_* SSH_*\n"
    )


def _wait(place: Path, process: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        with socket.socket() as door:
            if not door.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.05)
    raise RuntimeError(f"sshd does not come up: {(place / 'log').read_text()}")
