"""What a failed call or program means: the documented class and exit code, 14 for damage alone and 70 for nothing."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from gitstate.core import failures, process
from gitstate.core.errors import (
    ConfigError,
    DamagedError,
    GitstateError,
    HostError,
    LockedError,
    NotFoundError,
    RefusedError,
    StorageError,
    UsageError,
)

SYSTEM: dict[type[GitstateError], str] = {
    StorageError: "ENOSPC EDQUOT EFBIG EIO EREMOTEIO EUCLEAN EBADMSG ESTALE",
    HostError: "EROFS EMFILE ENFILE ENOMEM EAGAIN EPERM EACCES EEXIST ENOTDIR EISDIR ENOTEMPTY ELOOP ENXIO EBUSY"
    " ETXTBSY EXDEV ENAMETOOLONG EINVAL EOPNOTSUPP ENOSYS ECONNREFUSED ETIMEDOUT ENETUNREACH ECANCELED EPROTO",
    UsageError: "E2BIG",
    NotFoundError: "ENOENT",
}
CALLS = [(name, kind) for kind, names in SYSTEM.items() for name in names.split()]


@pytest.mark.parametrize(("name", "kind"), CALLS)
def test_a_failed_call_has_a_class_and_a_hint(name: str, kind: type[GitstateError]) -> None:
    number = getattr(errno, name)
    found = failures.of_system(OSError(number, os.strerror(number), "/srv/x"))
    assert type(found) is kind
    assert found.message == f"/srv/x: {os.strerror(number)}"
    assert found.hint


def test_no_failed_call_is_damage_or_a_bug() -> None:
    for number in errno.errorcode:
        assert failures.of_system(OSError(number, os.strerror(number))).code in (2, 5, 6, 10)
    assert failures.of_system(OSError("odd")).code == 5


def test_both_names_of_a_rename_are_told() -> None:
    found = failures.of_system(OSError(errno.EXDEV, "Invalid cross-device link", b"/srv/\xff", None, "/var/y"))
    assert found.message == "/srv/\udcff -> /var/y: Invalid cross-device link"
    assert failures.of_system(OSError(errno.EIO, "bad", "name"), "/srv").message == "/srv: bad"


# --- programs ---------------------------------------------------------------------------------------------------------

TOLD: list[tuple[str, int, str, type[GitstateError]]] = [
    ("git", 128, "fatal: unable to write loose object file: No space left on device", StorageError),
    ("git", 128, "error: file write error: Disk quota exceeded", StorageError),
    ("git", 128, "fatal: cannot read pack: Input/output error", StorageError),
    ("git", 128, "error: unable to create temporary file: Read-only file system", HostError),
    ("git", 128, "error: insufficient permission: Permission denied", HostError),
    ("git", 128, "warning: unable to access '/root/.gitconfig': Permission denied\nfatal: no", HostError),
    ("git", 128, "fatal: could not open 'x': Too many open files", HostError),
    ("git", 128, "fatal: Out of memory, malloc failed: Cannot allocate memory", HostError),
    ("git", 128, "error: cannot fork() for index-pack: Resource temporarily unavailable", HostError),
    ("git", 128, "fatal: transport 'file' not allowed", HostError),
    ("git", 128, "git@example.org: Permission denied (publickey).\nfatal: Could not read from remote", HostError),
    ("git", 128, "fatal: unable to access 'http://x/': Failed to connect: Connection refused", HostError),
    ("git", 128, "fatal: detected dubious ownership in repository at '/srv/x.git'", HostError),
    ("git", 128, "hooks/pre-receive: 9: exec: /opt/x: not found\nfatal: ref updates aborted by hook", HostError),
    ("git", 128, "fatal: ref updates aborted by hook", RefusedError),
    ("git", 1, " ! [remote rejected] main -> main (pre-receive hook declined)", RefusedError),
    ("git", 128, "fatal: update_ref failed: cannot lock ref 'a/b': 'a' exists; cannot create 'a/b'", HostError),
    ("git", 128, "fatal: cannot mkdir x: File exists", HostError),
    ("git", 128, "fatal: Unable to create '/srv/x.git/refs/heads/main.lock': File exists.", LockedError),
    ("git", 128, "fatal: cannot lock ref 'm': is at 0123abc but expected 4567def", LockedError),
    ("git", 128, "fatal: bad config line 3 in file /srv/x.git/config", ConfigError),
    ("git", 128, "fatal: bad boolean config value 'perhaps' for 'core.bare'", ConfigError),
    ("git", 128, "fatal: bad revision 'mian'", NotFoundError),
    ("git", 129, "error: unknown option `nonsense'\nusage: git log", UsageError),
    ("git", 128, "fatal: unable to read tree 0123456789", DamagedError),
    ("git", 128, "error: packfile x.pack does not match index", DamagedError),
    ("git", 128, "fatal: loose object 01 (stored in x) is corrupt", DamagedError),
    ("git", 128, "fatal: something that no version of git has said yet", HostError),
    ("git", -9, "", HostError),
    ("git", 137, "", HostError),
    ("git", 128, "error: pack-objects died of signal 9", HostError),
    ("git", -signal.SIGBUS, "", StorageError),
    ("git", -signal.SIGXFSZ, "", StorageError),
    ("tar", 2, "tar: big: Wrote only 2048 of 10240 bytes\ntar: Exiting with failure status", StorageError),
    ("tar", 2, "tar: dev/null: Cannot mknod: Operation not permitted", HostError),
    ("tar", 2, "tar (child): zstd: Cannot exec: No such file or directory", HostError),
    ("tar", 2, "tar: This does not look like a tar archive", DamagedError),
    ("tar", 2, "tar: Unexpected EOF in archive", DamagedError),
    ("cp", 1, "cp: error reading 'x': Input/output error", StorageError),
    ("ssh-keygen", 255, 'Saving key "/x" failed: No space left on device', StorageError),
    ("mmdebstrap", 25, "E: mmdebstrap failed to run", HostError),
]


@pytest.mark.parametrize(("program", "code", "said", "kind"), TOLD)
def test_a_failed_program_has_a_class_and_a_hint(program: str, code: int, said: str, kind: type[GitstateError]) -> None:
    found = failures.of_program([program, "--quiet", "do"], code, said)
    assert isinstance(found, kind)
    assert found.code == kind.code
    assert found.hint
    assert ("gitstate fsck" in found.hint) is (kind is DamagedError and program == "git")


_FETCH = "Failed to fetch http://deb.test/x.deb  404  Not Found [IP: 192.0.2.1 80]"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (f"E: {_FETCH}\nE: Unable to fetch some archives", f"{_FETCH}; Unable to fetch some archives"),
        ("I: a\nE: Unable to locate package x", "Unable to locate package x"),
        (
            "dpkg: error processing package x (--configure):\nE: Sub-process dpkg returned an error code (1)",
            "dpkg: error processing package x (--configure):; Sub-process dpkg returned an error code (1)",
        ),
    ],
)
def test_a_failed_bootstrap_says_what_apt_said(said: str, reason: str) -> None:
    wrapped = f"Get:1 x\n{said}\nE: setup failed: E: apt-get --yes install x failed\nE: mmdebstrap failed to run\n"
    found = failures.of_program(["mmdebstrap", "--variant=minbase", "bookworm"], 25, wrapped)
    assert found.message == f"mmdebstrap bookworm: {reason}"
    assert "mirror" in found.hint


def test_words_of_the_system_in_a_name_mean_nothing() -> None:
    found = failures.of_program(
        ["git", "add"], 128, "fatal: pathspec 'No space left on device' did not match any files"
    )
    assert type(found) is failures.ProgramNotFoundError


def run(*words: str, limits: Callable[[], None] | None = None, cwd: Path | None = None) -> GitstateError:
    done = subprocess.run(words, capture_output=True, check=False, preexec_fn=limits, cwd=cwd)
    assert done.returncode
    return process.failed(words, done.returncode, done.stderr)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "--quiet", "--bare", str(tmp_path / "r.git")], check=True)
    return tmp_path / "r.git"


def test_what_git_itself_says(repository: Path) -> None:
    git = partial(run, "git", f"--git-dir={repository}")
    assert git("show-ref", "--nonsense").code == UsageError.code
    assert git("rev-parse", "--verify", "mian").code == NotFoundError.code
    assert git("-c", "protocol.file.allow=never", "fetch", "--upload-pack=true", f"{repository}").code == HostError.code
    assert git("fetch", "http://127.0.0.1:1/x").code == HostError.code
    (repository / "config").write_text("[core\n")
    assert git("log").code == ConfigError.code


def test_a_name_in_the_way_of_git(repository: Path) -> None:
    blob = subprocess.run(
        ["git", f"--git-dir={repository}", "hash-object", "-w", "--stdin"], input=b"", capture_output=True, check=True
    ).stdout.decode()
    (repository / "refs/tags/v").mkdir()
    (repository / "refs/tags/v/x").write_text(blob)
    found = run("git", f"--git-dir={repository}", "update-ref", "refs/tags/v", blob.strip())
    assert found.code == HostError.code
    (repository / "refs/tags/w.lock").touch()
    assert run("git", f"--git-dir={repository}", "update-ref", "refs/tags/w", blob.strip()).code == LockedError.code


def test_a_file_cut_off_by_a_limit(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(os.urandom(300_000))
    subprocess.run(["tar", "-C", str(tmp_path), "-cf", str(tmp_path / "big.tar"), "big"], check=True)
    small = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (100_000, 100_000))
    (tmp_path / "out").mkdir()
    found = run("tar", "-C", str(tmp_path / "out"), "-xf", str(tmp_path / "big.tar"), limits=small)
    assert found.code == StorageError.code


def test_a_program_that_can_t_start(tmp_path: Path) -> None:
    (tmp_path / "odd").write_text("no program")
    with pytest.raises(HostError) as caught:
        process.run([str(tmp_path / "odd")])
    assert caught.value.hint
    with pytest.raises(UsageError, match="Argument list too long"):
        process.run(["git", "log", *["x" * 100_000] * 30])
    with pytest.raises(HostError, match="program not found"):
        process.run(["no-such-program"])


def test_a_child_killed_by_a_signal() -> None:
    with pytest.raises(HostError, match="Killed"):
        process.run(["sh", "-c", "kill -9 $$"])
    with pytest.raises(HostError, match="Killed"), process.reading(["sh", "-c", "kill -9 $$"]) as lines:
        assert not lines.read()
    with pytest.raises(HostError, match="Terminated"):
        process.complaints(["sh", "-c", "kill -15 $$"])


def test_a_checker_that_couldn_t_look_found_nothing() -> None:
    with pytest.raises(StorageError):
        process.complaints(["sh", "-c", "echo 'error: pack: Input/output error' >&2; exit 2"])
    assert process.complaints(["sh", "-c", "echo 'missing blob 01'; exit 2"]) == ["missing blob 01"]
