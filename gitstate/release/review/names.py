"""The names of reviews."""

from __future__ import annotations

import calendar
import re
import time
from typing import Final, NamedTuple

from gitstate.core.errors import UsageError
from gitstate.core.names import host_name

PREFIX: Final = "refs/heads/checkin/"
_NAME: Final = re.compile(r"(?:checkin/)?([^/]+)/([0-9]{8}T[0-9]{6}Z)")
_FORMAT: Final = "%Y%m%dT%H%M%SZ"


class ReviewName(NamedTuple):
    """A review: the machine that it came from, and when, by the server's clock: ``20250312T140900Z``."""

    host: str
    when: str

    def __str__(self) -> str:
        return f"checkin/{self.host}/{self.when}"

    @property
    def ref(self) -> str:
        """The branch that it is in each of its repositories."""
        return f"{PREFIX}{self.host}/{self.when}"


def parse(text: str) -> ReviewName:
    """``HOST/TIME``, with or without ``checkin/`` in front. Raises UsageError."""
    found = _NAME.fullmatch(text)
    if found is None:
        raise UsageError(f"{text!r} is no review's name", "HOST/TIME, as gitstate review list has it")
    return ReviewName(host_name(found[1]), found[2])


def of_ref(ref: str) -> ReviewName | None:
    """The review of a branch; None for a branch that is none."""
    if not ref.startswith(PREFIX):
        return None
    try:  # anybody who may push can make such branches
        name = parse(ref.removeprefix("refs/heads/"))
        moment(name)
    except (UsageError, ValueError):
        return None
    return name if name.ref == ref else None


def at(host: str, seconds: int) -> ReviewName:
    """A review of this moment."""
    return ReviewName(host, time.strftime(_FORMAT, time.gmtime(seconds)))


def moment(name: ReviewName) -> int:
    """When a review came, in seconds since the epoch."""
    return calendar.timegm(time.strptime(name.when, _FORMAT))
