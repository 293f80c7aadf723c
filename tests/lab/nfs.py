"""A real NFS server (Ganesha, version 4 only) for one directory, and what a client sees through it.

Nothing of it stands outside its temporary directory: its own port on the loopback address, its recovery and
Kerberos directories, log and configuration. It needs no rpcbind and no D-Bus; without D-Bus it can't be asked about
its clients.
"""

from __future__ import annotations

import pickle
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.lab.nfs_reader import Tree
from tests.support import PROJECT, require, require_root

START_SECONDS = 10
_READY = "NFS SERVER INITIALIZED"
_READER = "from tests.lab.nfs_reader import main; main()"


@dataclass(frozen=True)
class NfsServer:
    """A server that runs, as `nfs_server` gives it."""

    export: Path
    pseudo: str
    port: int
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """What libnfs and its programs (nfs-ls, nfs-cat) call the export."""
        return f"nfs://127.0.0.1{self.pseudo}?version=4&nfsport={self.port}"

    def read_tree(self, below: bytes = b"") -> Tree:
        """Everything below a directory of the export, read by libnfs, by its path as bytes; see `nfs_reader`.

        In a process of its own, because libnfs takes one version 4 mount each.
        """
        done = subprocess.run(
            [sys.executable, "-c", _READER, self.url],
            cwd=PROJECT,
            input=below,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            complaint = done.stderr.decode(errors="backslashreplace").strip()
            raise RuntimeError(f"cannot read {self.url}: {complaint}\n{tail(self.log)}")
        tree: Tree = pickle.loads(done.stdout)
        return tree


@contextmanager
def nfs_server(export: Path, *, pseudo: str = "/root", read_only: bool = True) -> Iterator[NfsServer]:
    """Serve a directory until the block ends.

    Attributes are not cached, or edits of the directory would be served stale for a minute. The server is
    killed rather than asked to stop, which takes it two seconds and saves nothing: it keeps nothing.
    """
    require("ganesha.nfsd")
    require_root()
    if not export.is_dir() or '"' in str(export) or not str(export).isprintable():
        raise ValueError(f"Ganesha cannot export {str(export)!r}")
    with tempfile.TemporaryDirectory(prefix="gitstate-nfs-") as own:
        place = Path(own)
        port = _free_port()
        process = _start(place, _configuration(place, port, export.resolve(), pseudo, read_only))
        try:
            _wait(process, place / "log")
            yield NfsServer(export, pseudo, port, place / "log", process)
        finally:
            process.kill()
            process.wait()


def tail(log: Path, lines: int = 30) -> str:
    """The end of a log, for a message; an empty one says so."""
    text = log.read_text(errors="backslashreplace") if log.exists() else ""
    return "\n".join(text.splitlines()[-lines:]) or f"{log.name} is empty"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _start(place: Path, configuration: str) -> subprocess.Popen[bytes]:
    (place / "recovery").mkdir()
    (place / "ganesha.conf").write_text(configuration)
    command = ["ganesha.nfsd", "-F", "-L", "log", "-f", "ganesha.conf", "-p", "pid"]
    words = [word if word.startswith("-") or word == "ganesha.nfsd" else str(place / word) for word in command]
    with open(place / "output", "wb") as output:
        return subprocess.Popen(words, cwd=place, stdin=subprocess.DEVNULL, stdout=output, stderr=output)


def _wait(process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when the server takes requests; a server that ends or stays silent is an error with its last words."""
    deadline = time.monotonic() + START_SECONDS
    while not (log.exists() and _READY in log.read_text(errors="replace")):
        if process.poll() is not None or time.monotonic() > deadline:
            state = "is not ready" if process.returncode is None else f"ended with {process.returncode}"
            words = "\n".join((tail(log), tail(log.with_name("output"))))
            raise RuntimeError(f"ganesha.nfsd {state} within {START_SECONDS} s:\n{words}")
        time.sleep(0.01)


def _configuration(place: Path, port: int, export: Path, pseudo: str, read_only: bool) -> str:
    return f"""
NFS_CORE_PARAM {{
    Protocols = 4; NFS_Port = {port}; Bind_addr = 127.0.0.1;
    Enable_NLM = false; Enable_RQUOTA = false; fsid_device = true; mount_path_pseudo = true;
}}
NFS_KRB5 {{ Active_krb5 = false; CCacheDir = "{place}/kerberos"; }}
NFSv4 {{ Graceless = true; RecoveryBackend = fs; RecoveryRoot = "{place}/recovery"; Only_Numeric_Owners = true; }}
EXPORT_DEFAULTS {{
    Access_Type = {"RO" if read_only else "RW"}; Squash = No_Root_Squash; SecType = sys; Transports = TCP;
    Attr_Expiration_Time = 0;
}}
EXPORT {{ Export_Id = 1; Path = "{export}"; Pseudo = "{pseudo}"; FSAL {{ Name = VFS; }} }}
"""
