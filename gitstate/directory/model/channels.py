"""A channel, and its conversion from and to an entry."""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gitstate.core.errors import NotFoundError, UsageError
from gitstate.core.names import repo_name
from gitstate.core.wording import did_you_mean, nearest
from gitstate.directory.model.clients import channel_name
from gitstate.directory.model.entries import Entry, EntryError

_CLASS: Final = "gitstateChannel"
_COMMIT: Final = re.compile("[0-9a-f]{40}")
_RELEASE: Final = re.compile(r"[^/\s]{1,100}/[^/\s]{1,100}")
_TIME: Final = "%Y%m%d%H%M%SZ"
_OURS: Final = frozenset(
    {
        *("cn", "objectClass", "gitstatePrototypeName", "gitstateSigned", "gitstateCreator", "gitstateCreated"),
        *("gitstateRelease", "gitstateCommit"),
    }
)


@dataclass(frozen=True, slots=True)
class Channel:
    """What clients follow: the releases of one prototype and its layers.

    ``signed``: only signed tags are released. ``author`` made it, ``created`` seconds since the epoch. ``release`` and
    ``commit`` (of the prototype) are copies for other readers of the directory; ``site.git`` is authoritative.
    """

    name: str
    prototype: str
    signed: bool = False
    author: str = ""
    created: int = 0
    release: str | None = None
    commit: str | None = None


def no_such_channel(name: str, channels: Iterable[str]) -> NotFoundError:
    """Return the error for an unknown channel, with similar names."""
    hint = did_you_mean(nearest(name, channels), "gitstate channel list shows what there is")
    return NotFoundError(f"no channel {name}", hint)


def entry_of(channel: Channel, current: Entry | None = None) -> dict[str, list[bytes]]:
    """Return the entry of a channel; other attributes of ``current`` are kept."""
    entry = {name: list(values) for name, values in (current or {}).items() if name not in _OURS}
    values = {
        "cn": channel.name,
        "objectClass": _CLASS,
        "gitstatePrototypeName": channel.prototype,
        "gitstateSigned": "TRUE" if channel.signed else "FALSE",
        "gitstateCreator": channel.author,
        "gitstateCreated": time.strftime(_TIME, time.gmtime(channel.created)),
        "gitstateRelease": channel.release,
        "gitstateCommit": channel.commit,
    }
    return entry | {name: [value.encode()] for name, value in values.items() if value}


def channel_of(name: str, entry: Entry) -> Channel:
    """Read the channel ``name`` from its entry. Raises EntryError."""
    if _CLASS.lower().encode() not in {one.lower() for one in entry.get("objectClass", ())}:
        raise EntryError(f"the class {_CLASS} is missing", "objectClass")
    if name.encode() not in entry.get("cn", ()):
        raise EntryError(f"cn is not {name}", "cn")
    texts = {key: values[0].decode("utf-8", "replace") for key, values in entry.items() if values}
    try:
        channel_name(name)
        prototype = repo_name(texts.get("gitstatePrototypeName", ""))
    except UsageError as error:
        raise EntryError(str(error), "gitstatePrototypeName") from None
    release, commit = texts.get("gitstateRelease"), texts.get("gitstateCommit")
    if release is not None and not _RELEASE.fullmatch(release):
        raise EntryError("gitstateRelease is not CHANNEL/VERSION", "gitstateRelease")
    if commit is not None and not _COMMIT.fullmatch(commit):
        raise EntryError("gitstateCommit is not 40 hex digits", "gitstateCommit")
    return Channel(
        name,
        prototype,
        signed=texts.get("gitstateSigned") == "TRUE",
        author=texts.get("gitstateCreator", ""),
        created=_seconds(texts.get("gitstateCreated")),
        release=release,
        commit=commit,
    )


def _seconds(text: str | None) -> int:
    try:
        return calendar.timegm(time.strptime(text, _TIME)) if text else 0
    except ValueError:
        raise EntryError("gitstateCreated is not a time", "gitstateCreated") from None
