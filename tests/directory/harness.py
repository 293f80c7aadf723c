"""What the tests share: a place, clients to put there, any client at all, and a clone edited by hand."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import tomlkit
from hypothesis import strategies as st

from gitstate.core.names import LAYER_KINDS, Pin
from gitstate.core.signature import Signature
from gitstate.directory import STATES, Client, Directory, Kind, open_directory
from gitstate.directory.model.client_attributes import entry_of
from gitstate.directory.model.clients import normalized
from gitstate.store.site import Site
from tests.lab.ldap import SUFFIX, Server

ADA: Final = Signature("Ada Lovelace <ada@example.org>", 1_700_000_000, "+0100")


@dataclass(frozen=True)
class Place:
    """A site and its directory."""

    site: Site
    backend: str = "ldif"

    def open(self) -> Directory:
        """The directory as another process would open it."""
        return open_directory(self.site)

    def put(self, *clients: Client, message: str = "put") -> str:
        """Put clients there as somebody else would; the new revision."""
        directory = self.open()
        directory.change(clients, [], ADA, message)
        return directory.revision()

    @property
    def repository(self) -> Path:
        """The embedded directory's repository."""
        return self.site.directory_path


def choose_ldap(site: Site, server: Server, mode: str = "schema", **values: object) -> None:
    """Give a site the LDAP backend, on the server's socket as whoever we are unless ``values`` say something else."""
    given: dict[str, object] = {"uri": server.ldapi, "base": SUFFIX, "external": True, "mode": mode, **values}
    document = tomlkit.parse(site.file.read_text())
    document["directory"] = {"backend": "ldap", **{key: value for key, value in given.items() if value is not None}}
    site.file.write_text(tomlkit.dumps(document))


def machine(number: int, lab: str = "lab3") -> Client:
    """A client of its own name and addresses."""
    high, low = divmod(number, 250)
    return Client(
        f"{lab}-{number:02}",
        macs=(f"52:54:00:00:{high:02x}:{low:02x}",),
        ips=(f"10.77.{high}.{low + 1}",),
        pin=Pin("desktop", "v1"),
    )


def entry_of_machine() -> list[tuple[str, list[bytes]]]:
    """What python-ldap adds one by."""
    return list(entry_of(machine(1)).items())


def machines(count: int) -> list[Client]:
    """Several of them."""
    return [machine(number) for number in range(count)]


# --- any client -------------------------------------------------------------------------------------------------------

LABELS: Final = st.one_of(
    st.sampled_from(["a", "x1", "a-b", "lab3-12", "a" * 63, "1a", "dn", "version"]),
    st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True),
).filter(lambda name: not name.isdigit())
MACS: Final = (
    st.binary(min_size=6, max_size=6).filter(lambda raw: not raw[0] & 1 and any(raw)).map(lambda raw: raw.hex(":"))
)
IPS: Final = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).filter(
    lambda one: not (one.is_multicast or one.is_unspecified or one.is_loopback)
)
WORDS: Final = st.one_of(
    st.sampled_from(["x", "nvidia", "a.b", "A_1", "v1+2"]),
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_+-]{0,30}", fullmatch=True),
)
PINS: Final = st.builds(
    Pin,
    WORDS.filter(lambda word: word not in LAYER_KINDS),
    st.sampled_from(["v1", "main~2", "HEAD^{}", "x@{1}", "a" * 200]),
)


@st.composite
def clients(draw: st.DrawFn) -> Client:
    """Any client, with a liking for the limits."""
    return normalized(
        Client(
            draw(LABELS),
            tuple(draw(st.lists(MACS, max_size=3))),
            tuple(str(one) for one in draw(st.lists(IPS, max_size=3))),
            draw(st.sampled_from(Kind)),
            draw(st.none() | WORDS),
            draw(st.none() | PINS),
            draw(st.none() | WORDS),
            tuple(draw(st.lists(WORDS, max_size=3))),
            tuple(f"{draw(st.sampled_from(LAYER_KINDS))}/{word}" for word in draw(st.lists(WORDS, max_size=3))),
            draw(st.sampled_from(STATES)),
        )
    )


# --- by hand ----------------------------------------------------------------------------------------------------------


@contextmanager
def clone(place: Place, directory: Path) -> Iterator[Path]:
    """A clone to edit by hand; what stands in it at the end is committed and pushed by plain git."""
    git = ["git", "-c", "user.name=Eve", "-c", "user.email=eve@example.org", "-C", str(directory)]
    subprocess.run(["git", "clone", "-q", str(place.repository), str(directory)], check=True, capture_output=True)
    yield directory
    for words in (["add", "-A"], ["commit", "-q", "-m", "by hand"], ["push", "-q", "origin", "HEAD:main"]):
        subprocess.run([*git, *words], check=True, capture_output=True)


def files(root: Path) -> Iterable[Path]:
    """The files of clients in a clone."""
    return sorted(path for path in root.rglob("*.ldif") if ".git" not in path.parts)


def log(place: Place, *words: str) -> str:
    """What plain git says of the directory's history."""
    done = subprocess.run(
        ["git", f"--git-dir={place.repository}", "log", *words],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ,
    )
    return done.stdout


def complaints(place: Place) -> str:
    """What git's own check finds wrong."""
    words = ["git", f"--git-dir={place.repository}", "fsck", "--strict", "--full", "--no-dangling", "--no-progress"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    said = [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("notice:")]
    return "\n".join(said) + (f"exit code {done.returncode}" if done.returncode else "")
