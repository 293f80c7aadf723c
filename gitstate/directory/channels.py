"""A channel as everything inside sees it: what its clients follow, and what that is just now."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from gitstate import fs
from gitstate.errors import NotFound
from gitstate.site import Site
from gitstate.store import Signature


@dataclass(frozen=True, slots=True)
class Channel:
    """What clients follow: the releases of one prototype and its layers.

    ``signed``: only signed tags are released. ``author`` made it, ``created`` seconds since the epoch. ``release`` and
    ``commit`` (of the prototype) tell what runs now; releases themselves are the truth.
    """

    name: str
    prototype: str
    signed: bool = False
    author: str = ""
    created: int = 0
    release: str | None = None
    commit: str | None = None


def no_such_channel(name: str, channels: Iterable[str]) -> NotFound:
    """The error for a name that no channel has, with the nearest that one has."""
    import difflib  # only who errs waits for it

    near = difflib.get_close_matches(name, channels, n=3, cutoff=0.6)
    hint = f"did you mean {', '.join(near)}?" if near else "gitstate channel list shows what there is"
    return NotFound(f"no channel {name}", hint)


class Interim:
    """Till the directory has them."""

    def __init__(self, site: Site) -> None:
        self._file = site.path / "channels.json"

    def channels(self) -> Mapping[str, Channel]:
        if not self._file.exists():
            return {}
        return {name: Channel(**one) for name, one in json.loads(self._file.read_text()).items()}

    def change_channels(
        self,
        put: Iterable[Channel],
        remove: Iterable[str],
        author: Signature,
        message: str,
        committer: Signature | None = None,
    ) -> str:
        found = {**self.channels(), **{one.name: one for one in put}}
        for name in remove:
            del found[name]
        text = json.dumps({name: asdict(found[name]) for name in sorted(found)})
        fs.write_file(self._file, text.encode())
        return text
