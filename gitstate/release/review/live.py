"""A check-in of a live tree that the machine which boots it asks for: its edits are here already."""

from __future__ import annotations

from typing import BinaryIO

from gitstate.core.errors import RefusedError, UsageError
from gitstate.core.monitor import Observer
from gitstate.core.signature import Signature
from gitstate.release.opened import OpenedSite
from gitstate.release.review.receive import author_of, message_of
from gitstate.release.review.stream import read_head
from gitstate.tree import checkin


def record(
    opened: OpenedSite, host: str, stream: BinaryIO, committer: Signature, observer: Observer
) -> tuple[str, checkin.Result]:
    """Check in the live tree that the machine ``host`` boots; the prototype, and what was recorded.

    Of what the machine sends only who asks, and the message, count. Raises NotFoundError, RefusedError for a machine
    that boots no live tree, and as ``checkin.record``.
    """
    client = opened.directory.client(host)
    head = read_head(stream)
    if client.maintains is None:
        raise RefusedError(f"{client.name} maintains no prototype", "it was booted before that changed: restart it")
    if head.entries or head.removed:
        raise UsageError("a list of edits comes with checkin HOST", "gitstate checkin on the machine sends it")
    repository = opened.site.repository(client.maintains)
    author = Signature(author_of(head, client.name), committer.when, committer.offset)
    live = checkin.live_tree(repository, None)
    request = checkin.Request(repository, live, message_of(head) or f"on {client.name}", author, committer)
    return client.maintains, checkin.record(request, observer)
