"""Annotated tags as git stores them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from gitstate.core.errors import DamagedError
from gitstate.core.signature import Signature
from gitstate.store.objects import Type

_TAG: Final = re.compile(
    rb"object (?P<target>[0-9a-f]{40})\ntype (?P<kind>commit|tree|blob|tag)\ntag (?P<name>[^\n]*)\n"
    rb"(?:tagger (?P<who>[^\n]*?>) ?(?P<when>[0-9]{1,15})? ?(?P<offset>[+-][0-9]{4})?\n)?"
    rb"(?:[^\n]+\n)*\n?(?P<text>.*)",
    re.DOTALL,
)
_SIGNED: Final = re.compile(
    r"^-----BEGIN (?:PGP SIGNATURE|PGP MESSAGE|SSH SIGNATURE|SIGNED MESSAGE)-----$", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Tag:
    """An annotated tag; ``name`` is the one inside, not that of its ref. ``message`` is without the signature."""

    target: bytes
    kind: Type
    name: str
    tagger: Signature
    message: str
    is_signed: bool


def parse_tag(data: bytes) -> Tag:
    """Parse a tag object. Raises DamagedError."""
    found = _TAG.fullmatch(data)
    if found is None:
        raise DamagedError("a tag object is malformed", "run: gitstate fsck")
    text = found["text"].decode("utf-8", "replace")
    signature = _SIGNED.search(text)
    return Tag(
        target=bytes.fromhex(found["target"].decode()),
        kind=Type[found["kind"].decode().upper()],
        name=found["name"].decode("utf-8", "replace"),
        tagger=Signature(
            (found["who"] or b"nobody <>").decode("utf-8", "replace"),
            int(found["when"] or 0),
            (found["offset"] or b"+0000").decode(),
        ),
        message=text[: signature.start()] if signature else text,
        is_signed=signature is not None,
    )
