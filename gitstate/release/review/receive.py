"""Take a check-in from a machine: a commit on a branch of its own in each repository that it concerns.

Nothing is believed of what it says, and nothing changes for others. A connection that breaks leaves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import BinaryIO, Final, NamedTuple

from gitstate.core.entry import Kind
from gitstate.core.errors import NotFoundError, RefusedError, UsageError
from gitstate.core.monitor import Observer
from gitstate.core.names import display, visible
from gitstate.core.signature import Signature
from gitstate.core.wording import counted
from gitstate.machine.render.batch import Batch, RenderContext
from gitstate.machine.render.compose import Composer
from gitstate.machine.secrets.options import load as secret_options
from gitstate.machine.secrets.tree import machine_secrets
from gitstate.release.opened import OpenedSite
from gitstate.release.review.draft import Draft, above
from gitstate.release.review.names import PREFIX, ReviewName, at, of_ref
from gitstate.release.review.reviews import trailers_of
from gitstate.release.review.stream import Head, Sent, contents, read_head
from gitstate.release.review.targets import LeftOut, Places, Target
from gitstate.store import MAIN, Commit, Repository, Type
from gitstate.store.lock import exclusive

_USER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
_NOT_IN_NAMES: Final = re.compile(r"[<>\n\\]")
_TRAILER: Final = "Gitstate-Checkin"
_WRONG_CLOCK: Final = 24 * 3600
_MOST_WAITING: Final = 100
"""Reviews of one machine."""
_LARGEST_ACCOUNTS: Final = 16 << 20
"""Bytes of an account file, which is in memory as a whole."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A check-in that may be received: where each of its changes belongs."""

    opened: OpenedSite
    host: str
    head: Head
    places: Places
    targets: Mapping[bytes, Target]
    left_out: tuple[LeftOut, ...]

    @property
    def repositories(self) -> list[str]:
        """The names of those concerned, the prototype first."""
        names = {target.repository for target in self.targets.values()}
        return sorted(names, key=lambda name: (name != self.places.prototype, name))

    @property
    def notes(self) -> list[str]:
        """What people are told of where changes went."""
        return [f"/{display(path)}: {target.note}" for path, target in self.targets.items() if target.note]


class Part(NamedTuple):
    """A branch that was made: how many entries it changes, over which commit (None for a new layer)."""

    repository: str
    commit: bytes
    base: bytes | None
    files: int


@dataclass(frozen=True, slots=True)
class Received:
    """What a check-in made; ``parts`` is empty if there was nothing to record.

    ``was_there``: an earlier one of the same has made it all.
    """

    name: ReviewName
    parts: tuple[Part, ...]
    left_out: tuple[LeftOut, ...]
    was_there: bool = False


def plan(opened: OpenedSite, host: str, stream: BinaryIO) -> Plan:
    """Read what the machine ``host`` says that it has changed, up to the contents.

    Raises NotFoundError for a host, a snapshot or a layer that there is not, RefusedError if too many of its reviews
    wait already, and as ``read_head``.
    """
    client = opened.directory.client(host)
    _require_room(opened, client.name)
    head = read_head(stream)
    places = _places(opened, client.name, head)
    found: dict[bytes, Target] = {}
    left: list[LeftOut] = []
    there = ((one.path, True) for one in head.entries if one.is_change and one.meta.kind is not Kind.DIRECTORY)
    for path, is_there in (*there, *((path, False) for path in head.removed)):
        target = places.of(path, is_there=is_there)
        if isinstance(target, LeftOut):
            left.append(target)
        else:
            found[path] = target
    for one in head.entries:
        if one.is_change and one.meta.kind is Kind.DIRECTORY:
            found[one.path] = Target(places.prototype, one.path)
    return Plan(opened, client.name, head, places, found, tuple(left))


def _require_room(opened: OpenedSite, host: str) -> None:
    """Who may only check in shouldn't be able to fill the disk."""
    if len(_waiting(opened, host)) >= _MOST_WAITING:
        hint = f"merge or drop some: gitstate review list (checkin/{host}/...)"
        raise RefusedError(f"{_MOST_WAITING} reviews of {host} wait already", hint)


def _waiting(opened: OpenedSite, host: str) -> set[str]:
    """The branches that a machine's reviews have, in whatever repository."""
    repositories = map(opened.site.repository, opened.site.repositories())
    return {ref for one in repositories for ref in one.refs(f"{PREFIX}{host}/")}


def _places(opened: OpenedSite, host: str, head: Head) -> Places:
    prototype, commit = head.snapshot
    if odd := next((name for name in head.layers if "/" not in name and name != "base"), None):
        raise UsageError(f"{visible(odd)} is no layer", "gitstate about on the machine lists those that it has")
    try:
        oid = _base(opened.site.repository(prototype), commit)
        context = RenderContext((prototype, oid), dict(head.layers))
        batch = Batch(context, opened.site.repository)
        for name, layer in head.layers.items():
            _base(opened.site.repository(name), layer.hex())
        composition = Composer(batch.image, batch.blob).compose([batch.layer(name) for name in head.layers])
    except NotFoundError as error:
        hint = "boot it again, with what is released now, and make the edits there"
        raise NotFoundError(f"{host} runs what this server doesn't have: {error.message}", hint) from None
    secrets = machine_secrets(opened.site, host, secret_options(opened.site)).entries
    files = frozenset(one.path for one in secrets if one.meta.kind is not Kind.DIRECTORY)
    return Places(host, prototype, batch.image, composition, files, batch.blob)


def _base(repository: Repository, commit: str) -> bytes:
    """The commit that a machine says it runs. Raises NotFoundError for one that nothing but a review leads to.

    Over such a base a review wouldn't show what the other one does, and would bring it along.
    """
    oid = repository.resolve(commit)
    beside = ("--not", f"--exclude={PREFIX}*", "--all")
    if oid.hex() != commit or repository.git("rev-list", "--max-count=1", commit, *beside):
        raise NotFoundError(f"{commit[:7]} of {repository.name} is in no branch and no tag")
    return oid


def apply(plan: Plan, stream: BinaryIO, committer: Signature, observer: Observer) -> Received:
    """Read the contents, and record all of it. Raises StorageError, RefusedError if policy lets nothing through."""
    with ExitStack() as stack:
        drafts = {name: _draft(plan, name, stack) for name in plan.repositories}
        refused = list(_fill(plan, stream, drafts, observer))
        left = (*plan.left_out, *refused)
        made = {name: tree for name, draft in drafts.items() if (tree := draft.write())}
        if not made and left:
            raise RefusedError(
                f"nothing recorded: {_words(left[0])}", "the server's policy says what may be in history"
            )
        with exclusive(plan.opened.site.path):  # another one of this second must find the name taken
            name, standing = _name(plan, drafts, made, committer)
            new = {one: _commit(plan, drafts[one], made, committer) for one in made if one not in standing}
            for repository, commit in new.items():
                drafts[repository].staging.publish([(name.ref, commit, None)], f"checkin: from {plan.host}")
        commits = standing | new
        parts = [Part(one, commits[one], drafts[one].base, len(drafts[one].changes)) for one in made]
    return Received(name, tuple(parts), left, was_there=len(standing) == len(made) > 0)


def _words(one: LeftOut) -> str:
    return f"/{display(one.path)}: {one.why}"


def _draft(plan: Plan, name: str, stack: ExitStack) -> Draft:
    site = plan.opened.site
    try:
        repository = site.repository(name)
    except NotFoundError:
        if name != plan.places.host_layer:
            raise
        site.create_layer(name)  # without a snapshot no machine gets it
        repository = site.repository(name)
    if name == plan.places.prototype:
        base: bytes | None = plan.places.image.commit
    else:
        base = plan.head.layers.get(name) or repository.ref(MAIN)
    return Draft(repository, base, stack.enter_context(repository.staging()))


# --- contents ---------------------------------------------------------------------------------------------------------


def _fill(plan: Plan, stream: BinaryIO, drafts: Mapping[str, Draft], observer: Observer) -> Iterator[LeftOut]:
    """Put all that was sent into drafts; what policy refuses."""
    observer.phase("receive", len(plan.head.entries))
    for entry, pieces in contents(stream, plan.head.entries):
        observer.advance()
        target = plan.targets.get(entry.path)
        if target is None:
            for _ in pieces:
                pass
        elif refusal := _take_file(plan, entry, pieces, drafts[target.repository], target):
            yield LeftOut(entry.path, refusal)
    for entry in plan.head.entries:
        target = plan.targets.get(entry.path)
        if target is not None and entry.meta.kind is not Kind.FILE:
            _take_other(entry, drafts[target.repository], target)
    for target in plan.targets.values():
        drafts[target.repository].remove(target)
    _take_parents(plan, drafts)


def _take_file(plan: Plan, entry: Sent, pieces: Iterator[bytes], draft: Draft, target: Target) -> str:
    """Stage a file; why it isn't recorded, empty if it is, or is of the kind that nobody wants recorded."""
    size = entry.size
    if not draft.is_recorded(target.path, Kind.FILE):
        for _ in pieces:
            pass
        return ""
    if plan.places.is_merged(entry.path):
        if size > _LARGEST_ACCOUNTS:
            for _ in pieces:
                pass
            return f"an account file of more than {_LARGEST_ACCOUNTS >> 20} MiB"
        data = plan.places.account_lines(entry.path, b"".join(pieces))
        pieces, size = iter((data,)), len(data)
    refusal = draft.file(target.path, entry.meta, pieces, size)
    if refusal is not None:
        return f"{refusal.why} ({refusal.hint.partition('; or check in')[0]})"
    if entry.linked:
        draft.link(target.path, entry.linked)
    return ""


def _take_other(entry: Sent, draft: Draft, target: Target) -> None:
    kind = entry.meta.kind
    if not draft.is_recorded(target.path, kind):
        return
    if kind is Kind.SYMLINK:
        draft.put(target.path, entry.meta, entry.target)
    elif kind is Kind.DIRECTORY:
        draft.directory(target.path, entry.meta, is_change=True)
    else:
        draft.special(target.path, entry.meta)


def _take_parents(plan: Plan, drafts: Mapping[str, Draft]) -> None:
    """Directories above what is recorded: their times, and those that the repository doesn't have."""
    own = {entry.path: entry.meta for entry in plan.head.entries if entry.meta.kind is Kind.DIRECTORY}
    for draft in drafts.values():
        for parent in {parent for path in draft.changes for parent in above(path)}:
            if parent in own and draft.is_recorded(parent, Kind.DIRECTORY):
                draft.directory(parent, own[parent], is_change=False)


# --- branches ---------------------------------------------------------------------------------------------------------


def _name(
    plan: Plan, drafts: Mapping[str, Draft], made: Mapping[str, bytes], committer: Signature
) -> tuple[ReviewName, dict[str, bytes]]:
    """The name of the review, and the commits that a killed or repeated check-in of the same has made already."""
    trailer = f"{_TRAILER}: {plan.head.digest}"
    standing: dict[str, bytes] = {}
    name = None
    for one in made:
        for ref, commit in drafts[one].repository.refs(f"{PREFIX}{plan.host}/").items():
            if one not in standing and trailer in trailers_of(drafts[one].repository.snapshot(commit).message):
                standing[one] = commit
                name = name or of_ref(ref)
    taken, second = _waiting(plan.opened, plan.host), committer.when
    while at(plan.host, second).ref in taken:
        second += 1
    return name or at(plan.host, second), standing


def _commit(plan: Plan, draft: Draft, made: Mapping[str, bytes], committer: Signature) -> bytes:
    message = message_of(plan.head) or f"{counted(len(draft.changes), 'change')} of {plan.host}"
    trailers = [f"{_TRAILER}: {plan.head.digest}", f"Gitstate-Repositories: {' '.join(made)}"]
    text = "\n".join([message, "", *trailers])
    author = Signature(author_of(plan.head, plan.host), committer.when, committer.offset)
    tree = made[draft.repository.name]
    body = Commit(tree, [draft.base] if draft.base else [], author, committer, text).encode()
    return draft.staging.add(Type.COMMIT, body)


def message_of(head: Head) -> str:
    """What was said on the machine, without trailers of ours: Gitstate-Allow would let secrets into history."""
    lines = (line for line in head.message.split("\n") if not line.lstrip().startswith("Gitstate-"))
    return "\n".join(lines).strip()


def author_of(head: Head, host: str) -> str:
    """Whoever typed the command on the machine, as that says."""
    user = head.user if _USER.fullmatch(head.user) else "root"
    name = _NOT_IN_NAMES.sub("", head.name).strip()[:100]
    return f"{name or user} <{user}@{host}>"


def clock_error(plan: Plan, now: int) -> int | None:
    """By how many seconds the machine's clock is wrong, if that is a day or more. Its times are recorded as sent."""
    error = plan.head.clock - now
    return error if abs(error) >= _WRONG_CLOCK else None
