"""gitstate's command line without the wait for Python's imports: a process that has them and forks for each command.

What runs is the real ``gitstate.cli.main`` in a process of its own; only the interpreter's start is saved. Commands may
run at the same time.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import io
import json
import os
import pkgutil
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.damage import fault_injection
from tests.damage.fault_injection import Fault

_PATIENCE = 120
"""Seconds after which a command with a fault in it is taken to hang."""
_MOST = 1 << 30
_HEEDED_AT_START = ("HOME", "LANG", "LC_", "LD_", "LOCPATH", "MALLOC_", "PYTHON", "XDG_")
"""Beginnings of variables that the loader, Python, the C library and libgit2 read when they start, and never again."""


class ForkServer:
    """Forks commands until it is closed."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._at_start = _heeded_at_start(environment)
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.fork_server", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                env=environment,
                cwd=environment["PYTHONPATH"],
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for pytest
            )

    def can_run_in(self, environment: Mapping[str, str]) -> bool:
        """Whether a command with this environment is the same forked as started anew."""
        return _heeded_at_start(environment) == self._at_start

    def run(
        self,
        words: list[str],
        cwd: str | Path,
        fault: Fault | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        errors: str = "replace",
    ) -> tuple[int, str, str]:
        """Exit code (negative for a signal), standard output and standard error of ``gitstate *words``.

        ``environment``: None for that of the server. ``errors``: for what is no UTF-8 in the output.
        """
        order = {
            "words": [os.fsencode(word).hex() for word in words],
            "cwd": os.fsencode(os.path.abspath(cwd)).hex(),
            "umask": _umask(),
            "fault": fault,
            "environment": None if environment is None else [os.fsencode(part).hex() for part in _flat(environment)],
        }
        with os.fdopen(os.memfd_create("order"), "w+b", buffering=0) as file:
            file.write(json.dumps(order).encode())
            (out, to_out), (err, to_err), (code, to_code) = os.pipe(), os.pipe(), os.pipe()
            socket.send_fds(self._control, [b"run"], [file.fileno(), to_out, to_err, to_code])
            for descriptor in (to_out, to_err, to_code):
                os.close(descriptor)
        said = _read_all(out, err, code)
        assert said[2], "the fork server is gone"
        text = [io.TextIOWrapper(io.BytesIO(part), "utf-8", errors).read() for part in said[:2]]
        return int(said[2]), text[0], text[1]

    def close(self) -> None:
        """End the process."""
        self._control.close()
        self._process.wait()


def _heeded_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_HEEDED_AT_START)}


def _flat(environment: Mapping[str, str]) -> list[str]:
    return [part for pair in environment.items() for part in pair]


def _umask() -> int:
    """Ours; asking the kernel in the usual way would set it for a moment, in all threads."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Umask:")).split()[1], 8)


def _read_all(*descriptors: int) -> list[bytes]:
    """What comes out of all of these pipes until they end."""
    found: dict[int, list[bytes]] = {descriptor: [] for descriptor in descriptors}
    with selectors.DefaultSelector() as ready:
        for descriptor in descriptors:
            ready.register(descriptor, selectors.EVENT_READ)
        while ready.get_map():
            for key, _ in ready.select():
                data = os.read(key.fd, 1 << 16)
                found[key.fd].append(data)
                if not data:
                    ready.unregister(key.fd)
                    os.close(key.fd)
    return [b"".join(found[descriptor]) for descriptor in descriptors]


# --- the process ------------------------------------------------------------------------------------------------------


def _serve(control: socket.socket) -> None:
    """Fork a command for each order, and write its exit code when it has ended; at last nobody can order any more."""
    running: dict[int, tuple[int, int]] = {}
    ready = selectors.DefaultSelector()
    ready.register(control, selectors.EVENT_READ)
    while True:
        for key, _ in ready.select():
            if key.fd in running:
                ready.unregister(key.fd)
                child, answer = running.pop(key.fd)
                _, status = os.waitpid(child, 0)
                os.write(answer, b"%d" % os.waitstatus_to_exitcode(status))
                os.close(answer)
                os.close(key.fd)
                continue
            message, descriptors, *_ = socket.recv_fds(control, 16, 4, socket.MSG_CMSG_CLOEXEC)
            if not message:
                return
            child = os.fork()
            if not child:
                _become(*descriptors)
            *others, answer = descriptors
            for descriptor in others:
                os.close(descriptor)
            handle = os.pidfd_open(child)
            running[handle] = (child, answer)
            ready.register(handle, selectors.EVENT_READ)


def _become(order_file: int, out: int, err: int, _answer: int) -> None:
    """Be the command, to its end."""
    order: dict[str, Any] = json.loads(os.pread(order_file, _MOST, 0))
    os.setsid()  # who kills our process group kills us and our children
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    if order["environment"] is not None:
        parts = [os.fsdecode(bytes.fromhex(part)) for part in order["environment"]]
        os.environ.clear()
        os.environ.update(zip(parts[::2], parts[1::2], strict=True))
        time.tzset()
    os.umask(order["umask"])
    os.chdir(bytes.fromhex(order["cwd"]))
    sys.argv = ["gitstate", *[os.fsdecode(bytes.fromhex(word)) for word in order["words"]]]
    code = 70
    try:
        if order["fault"]:
            signal.alarm(_PATIENCE)
            fault_injection.inject(order["fault"])
        importlib.import_module("gitstate.cli").main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 70
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _import_all() -> None:
    """All of gitstate, and with it what it needs of others."""
    package = importlib.import_module("gitstate")
    for module in pkgutil.walk_packages(package.__path__, "gitstate."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    gc.collect()
    gc.freeze()  # or each command's first look for garbage would copy all of it


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as _control:
        _control.set_inheritable(False)
        _import_all()
        _serve(_control)
