"""checkin of an overlay's upper directory, or of a layer's tar file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gitstate.cli.base.app import Session
from gitstate.cli.tree.changes import unread_error
from gitstate.cli.tree.recorded import report
from gitstate.core import settings
from gitstate.tree import upper as engine
from gitstate.tree.recording import Allowance, branch_name


@dataclass(frozen=True)
class Asked:
    """The options that both kinds share, as given."""

    message: str
    branch: str
    author: str | None
    allow: tuple[Allowance, ...]
    base: str | None


def checkin(session: Session, name: str, asked: Asked, upper: Path | None, tar: str | None) -> None:
    """Record what was edited on a snapshot elsewhere."""
    repository = session.opened.repository(name)
    edits = engine.Edits(
        repository=repository,
        base=repository.resolve(asked.base or "main"),
        upper=upper or Path(),
        branch=branch_name(asked.branch),
        message=asked.message,
        author=session.author(asked.author, repository.path),
        committer=settings.committer(),
        allow=asked.allow,
    )
    with ExitStack() as stack:
        if tar is not None:
            stream = stack.enter_context(_stream(tar))
            edits = stack.enter_context(engine.unpacked(edits, stream))
        refusal, result = None, None
        if session.dry_run:
            rehearsal = engine.rehearse(edits, session.observer)
            found, refusal = rehearsal.status, rehearsal.refusal
        else:
            result = engine.record(edits, session.observer)
            found = result.status
    report(session, name, upper or Path(tar or "-"), edits.branch, found, result)
    if refusal is not None:
        raise refusal
    if found.findings.unrecorded:
        raise unread_error(found)


@contextmanager
def _stream(name: str) -> Iterator[BinaryIO]:
    if name == "-":
        yield sys.stdin.buffer
        return
    with open(name, "rb") as file:
        yield file
