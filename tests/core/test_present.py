"""Only ENOENT is absence: whatever else stands at a path, or keeps us from looking, is an error."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from gitstate.core import fs
from gitstate.core.errors import ConfigError, GitstateError, HostError, UsageError
from tests.support import PROJECT, needs, root_only


@contextmanager
def bound(path: Path) -> Iterator[None]:
    """A socket at ``path``, whose name has to be short."""
    here = os.getcwd()
    os.chdir(path.parent)
    try:
        with closing(socket.socket(socket.AF_UNIX)) as one:
            one.bind(path.name)
            yield
    finally:
        os.chdir(here)


def make_socket(path: Path) -> None:
    with bound(path):
        pass


def make_below_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("a file")


def make_below_link(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))
    path.parent.symlink_to("elsewhere")
    path.write_text("version = 1\n")


KINDS: dict[str, Callable[[Path], None]] = {
    "a symlink": lambda path: (path.with_name("real").write_text("version = 1\n"), path.symlink_to("real"))[1],
    "a symlink that leads nowhere": lambda path: path.symlink_to("nothing"),
    "a symlink to itself": lambda path: path.symlink_to(path.name),
    "a directory": lambda path: path.mkdir(),
    "a fifo": lambda path: os.mkfifo(path),
    "a socket": make_socket,
    "below a file": make_below_file,
    "below a symlink": make_below_link,
}
"""What may stand where a configuration file of a tree should."""

kinds = pytest.mark.parametrize("kind", KINDS)


@kinds
def test_a_file_of_a_live_tree_is_a_file_or_absent(tmp_path: Path, kind: str) -> None:
    (tmp_path / "etc").mkdir()
    root = fs.open_tree(tmp_path)
    with fs.open_descriptor_tree(tmp_path) as tree:
        assert fs.read_below(root, b"etc/policy.toml", 100, "x") is None
        assert tree.configuration(b"etc/policy.toml") is None
        KINDS[kind](tmp_path / "etc/policy.toml")
        with pytest.raises(ConfigError, match="/srv/x is no regular file"):
            fs.read_below(root, b"etc/policy.toml", 100, "/srv/x")
        with pytest.raises(ConfigError, match="/etc/policy"):
            tree.configuration(b"etc/policy.toml")
    os.close(root)


def test_absence_goes_up_to_the_root(tmp_path: Path) -> None:
    root = fs.open_tree(tmp_path)
    assert fs.read_below(root, b"a/b/c", 100, "x") is None
    (tmp_path / "c").write_text("text")
    assert fs.read_below(root, b"c", 100, "x") == b"text"
    os.close(root)


@kinds
def test_a_file_of_a_site(tmp_path: Path, kind: str) -> None:
    """The site is root's own, and a symlink in it is followed, but must lead somewhere."""
    (tmp_path / "site").mkdir()
    path = tmp_path / "site/site.toml"
    assert fs.read_file(path) is None
    KINDS[kind](path)
    if kind in ("a symlink", "below a symlink"):
        assert fs.read_file(path) == b"version = 1\n"
    else:
        with pytest.raises(GitstateError) as caught:
            fs.read_file(path)
        assert caught.value.code in (ConfigError.code, HostError.code)
        assert str(path) in caught.value.message


@pytest.mark.parametrize("kind", ["a symlink that leads nowhere", "a symlink to itself", "a fifo", "below a file"])
def test_a_directory_of_a_site(tmp_path: Path, kind: str) -> None:
    (tmp_path / "site").mkdir()
    path = tmp_path / "site/prototypes"
    assert not fs.has_directory(path)
    assert fs.list_names(path) == []
    assert fs.is_free(path)
    KINDS[kind](path)
    for look in (fs.has_directory, fs.list_names):
        with pytest.raises(HostError, match=str(path)):
            look(path)
    if kind != "below a file":
        assert not fs.is_free(path)
        with pytest.raises(UsageError):
            fs.require_empty(path, "hint")


def test_what_lies_below_a_link_that_leads_nowhere_is_not_absent(tmp_path: Path) -> None:
    """A disk that isn't mounted, with the exports of all prototypes on it."""
    (tmp_path / "exports").symlink_to("disk/exports")
    for look in (fs.has_directory, fs.list_names, fs.read_file):
        with pytest.raises(GitstateError, match=f"{tmp_path}/exports is a symlink that leads nowhere"):
            look(tmp_path / "exports/desktop/x")
    (tmp_path / "disk/exports").mkdir(parents=True)
    assert not fs.has_directory(tmp_path / "exports/desktop/x")


def test_a_directory_that_is_another_disks(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "exports").symlink_to("disk")
    (tmp_path / "disk/b").touch()
    (tmp_path / "disk/a").touch()
    assert fs.list_names(tmp_path / "exports") == ["a", "b"]


@root_only
@needs("setpriv")
def test_what_others_may_not_read_is_not_absent(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o700)
    (tmp_path / "closed/file").write_text("secret")
    (tmp_path / "file").write_text("secret")
    (tmp_path / "file").chmod(0o600)
    for above in (tmp_path, *list(tmp_path.parents)[:2]):
        above.chmod(0o755)
    lines = [
        f"fs.has_directory(Path({str(tmp_path / 'closed/x')!r}))",
        f"fs.list_names(Path({str(tmp_path / 'closed')!r}))",
    ]
    lines += [f"fs.is_free(Path({str(tmp_path / 'closed/x')!r}))", f"fs.read_file(Path({str(tmp_path / 'file')!r}))"]
    script = "import sys\nfrom pathlib import Path\nfrom gitstate.core import fs\n" + "".join(
        f"try:\n    print({line})\nexcept Exception as error:\n    print(error.code, error.message)\n" for line in lines
    )
    words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-c", script]
    done = subprocess.run(
        words, env={**os.environ, "PYTHONPATH": str(PROJECT)}, capture_output=True, text=True, check=False
    )
    if "No module named" in done.stderr or done.returncode:
        pytest.skip("uid 65534 can't run this Python")
    assert [line.startswith("5 ") and line.endswith("Permission denied") for line in done.stdout.splitlines()] == [
        True
    ] * 4
