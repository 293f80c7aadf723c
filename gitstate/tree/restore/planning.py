"""Find out what a restore takes, reading only: a scan of the paths that are asked for, compared with the target."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache, partial
from typing import Final

from gitstate.core.entry import Directory, Kind, Meta
from gitstate.core.errors import NotFoundError
from gitstate.core.monitor import Observer
from gitstate.core.names import display, join
from gitstate.tree import change
from gitstate.tree.change import Added, Change, LinksChanged, Modified, Removed
from gitstate.tree.checkin import base_of, scan_live
from gitstate.tree.history.arguments import Paths
from gitstate.tree.policy import Policy, Treatment
from gitstate.tree.restore.databases import PathsWithLogs, logs
from gitstate.tree.restore.models import EntryStep, Plan, Request, Steps, TreeStep
from gitstate.tree.restore.standing import moment
from gitstate.tree.scan import sqlite
from gitstate.tree.scan.content import HashOnly
from gitstate.tree.scan.models import Scan
from gitstate.tree.snapshot import Lookup, ReadObject, alike_groups, read_different, read_directory, read_links

_ABSENT: Final = Directory(Meta(Kind.DIRECTORY, 0), {}, {})


def plan(request: Request, observer: Observer) -> Plan:
    """Plan a restore. Raises NotFoundError for a path that is nowhere, HostError, ConfigError, StorageError."""
    repository = request.source
    request = replace(request, paths=PathsWithLogs(request.paths.specs, logs(repository.read, request.target)))
    base = base_of(repository)
    base_tree = repository.snapshot(base).tree if base else None
    linked = _groups_within(read_links(repository.read, request.target), request.paths)
    reached = {path for group in linked for path in group}
    above = {path[:end] for path in reached for end in range(len(path)) if path[end : end + 1] == b"/"}

    def wanted(path: bytes) -> bool:
        return request.paths.may_match(path) or path in reached or path in above

    sink, since = HashOnly(repository.read), moment(request.live)
    scan, policy = scan_live(
        repository,
        request.live,
        base,
        (),
        sink,
        observer,
        wanted=wanted if request.paths else None,
        policy_of=request.target,
    )
    found = plan_after(request, sink.read, base_tree, scan, policy, since)
    _require_matches(request, found)
    return found


def _require_matches(request: Request, found: Plan) -> None:
    """Raise NotFoundError for a path that neither the target nor the live tree has."""
    looks = [Lookup(found.read, tree) for tree in (request.target, found.tree)]
    for spec in request.paths.specs:
        if spec.literal and spec.path and not spec.exclude and not any(_has(look, spec.path) for look in looks):
            hint = f"inside {request.live} paths begin at the current directory, elsewhere at its root"
            raise NotFoundError(f"/{display(spec.path)} is neither in the snapshot nor in the live tree", hint)


def plan_after(request: Request, read: ReadObject, base: bytes | None, scan: Scan, policy: Policy, since: int) -> Plan:
    """Plan a restore after a scan of the paths, which began at ``since`` (``standing.moment``).

    ``base`` is what the live tree was last recorded as.
    """
    planner = _Planner(request, read, base, scan, policy, since)
    planner.run()
    return planner.result()


def changes(found: Plan) -> tuple[list[Change], list[LinksChanged]]:
    """What the restore changes, seen from the live tree, for showing."""
    request, steps = found.request, found.steps
    removed, parents, skipped = set(steps.removals), dict(steps.parents), dict(found.skipped)
    shown = [
        one
        for one in _compare(found.read, found.tree, request)
        if one.path not in skipped and (request.paths.match(one.path) or one.path in parents)
        if not isinstance(one, Removed) or one.path in removed
    ]
    links = change.compare_links(read_links(found.read, found.tree), read_links(found.read, request.target))
    touched = {step.path for step in steps.entries}
    return shown, [link for link in links if any(path in touched for part in link.parts for path in part)]


def _compare(read: ReadObject, tree: bytes, request: Request) -> Iterator[Change]:
    pairs = partial(read_different, read)
    reader = partial(read_directory, read)
    yield from change.compare(reader, tree, request.target, within=request.paths.may_match, read_pair=pairs)


def _has(look_up: Lookup, path: bytes) -> bool:
    return look_up(path) is not None or look_up.directory(path) is not None


def _groups_within(groups: Iterable[tuple[bytes, ...]], paths: Paths) -> list[tuple[bytes, ...]]:
    return [group for group in groups if any(paths.match(path) for path in group)]


class _Planner:
    def __init__(
        self, request: Request, read: ReadObject, base: bytes | None, scan: Scan, policy: Policy, since: int
    ) -> None:
        self._request = request
        self._read = read
        self._scan = scan
        self._policy = policy
        self._since = since
        self._directory = cache(partial(read_directory, read))
        self._live = Lookup(read, scan.tree, self._directory)
        self._target = Lookup(read, request.target, self._directory)
        self._base = Lookup(read, base, self._directory) if base else None
        self._steps = Steps()
        self._kept: list[bytes] = []
        self._skipped: dict[bytes, str] = {}
        self._apart = dict.fromkeys(scan.findings.mounts, "something is mounted there")
        self._apart |= dict.fromkeys(scan.findings.own_data, "it is gitstate's own data")
        self._unread = {path for path, _ in scan.findings.unrecorded}
        self._is_log = logs(read, request.target)
        self._trees: set[bytes] = set()
        self._changed: set[bytes] = set()
        self._groups: dict[bytes, tuple[bytes, ...]] = {}
        self._live_links: dict[bytes, tuple[bytes, ...]] = {}

    # --- what differs ---

    def run(self) -> None:
        """Sort what differs into steps."""
        read, tree, paths = self._read, self._scan.tree, self._request.paths
        recorded = _groups_within(read_links(read, self._request.target), paths)
        self._groups = {path: group for group in alike_groups(self._target, recorded) for path in group}
        self._live_links = {path: group for group in read_links(read, tree) for path in group}
        reader, pairs = self._directory, partial(read_different, read)
        for one in change.compare(reader, tree, self._request.target, within=self._within, read_pair=pairs):
            if why := self._why_left_alone(one.path):
                if paths.match(one.path):
                    self._skipped[one.path] = why
            elif isinstance(one, Removed):
                self._remove(one)
            elif isinstance(one, Added):
                self._add(one.path, one.meta, fresh=True)
            else:
                self._modify(one)
        for path, why in self._scan.findings.unrecorded:
            self._replace_unread(path, why)
        self._join_and_split()
        self._times_of_others()

    def _within(self, path: bytes) -> bool:
        if path.rpartition(b"/")[0] in self._trees:
            return False  # it comes with the directory
        return self._request.paths.may_match(path)

    def _why_left_alone(self, path: bytes) -> str:
        if self._policy.treatment(path, Kind.FILE) is Treatment.SKIP and path:
            return "policy doesn't record it"
        place = path
        while place:
            if place in self._apart:
                return self._apart[place]
            place = place.rpartition(b"/")[0]
            if place and self._policy.treatment(place, Kind.DIRECTORY) is not Treatment.RECORD:
                return "policy doesn't record it"
        return ""

    def _remove(self, one: Removed) -> None:
        if not self._request.paths.match(one.path):
            return
        known = self._base is not None and _has(self._base, one.path)
        is_log = self._is_log(one.path)
        if known or self._request.delete or is_log:
            self._steps.removals.append(one.path)
            if is_log:
                beside = sqlite.shared_memory(one.path)
                self._steps.removals.append(beside)
                self._unread.add(beside)
        else:
            self._kept.append(one.path)

    def _add(self, path: bytes, meta: Meta, *, fresh: bool) -> None:
        paths = self._request.paths
        if meta.kind is not Kind.DIRECTORY:
            if paths.match(path):
                self._make(path)
        elif paths.match(path) and not any(spec.exclude for spec in paths.specs):
            self._trees.add(path)
            above, _, name = path.rpartition(b"/")
            parent = self._target.directory(above)
            assert parent is not None
            self._steps.trees.append(TreeStep(path, parent.subdirectories[name]))
        elif not fresh and not paths.match(path):
            self._apart[path] = f"/{display(path)} is no directory now: restore that"
        else:
            self._steps.parents.append((path, meta))

    def _modify(self, one: Modified) -> None:
        if one.new.kind is Kind.DIRECTORY and one.old.kind is Kind.DIRECTORY:
            if self._request.paths.match(one.path):
                self._steps.directories[one.path] = one.new
        elif one.new.kind is Kind.DIRECTORY:
            self._add(one.path, one.new, fresh=False)
        elif self._request.paths.match(one.path):
            alone = one.path not in self._live_links
            same = one.old.kind is one.new.kind is Kind.FILE and not one.content
            self._make(one.path, in_place=same and alone)

    def _make(self, path: bytes, *, in_place: bool = False) -> None:
        entry = self._target(path)
        assert entry is not None
        self._changed.add(path)
        self._steps.entries.append(EntryStep(path, entry, in_place))

    def _replace_unread(self, path: bytes, why: str) -> None:
        """What couldn't be read is written anew if the target has a file there; a directory is left alone."""
        if not self._request.paths.match(path) or path in self._changed:
            return
        if self._target(path) is not None and self._live(path) is not None:
            self._make(path)
        else:
            self._skipped[path] = why

    # --- hard links ---

    def _join_and_split(self) -> None:
        """Write those anew that are one file in the live tree and two in the target, or the reverse."""
        match = self._request.paths.match
        for group in set(self._live_links.values()):
            classes: dict[tuple[bytes, ...] | None, list[bytes]] = {}
            for path in group:
                classes.setdefault(self._groups.get(path, (path,)), []).append(path)
            staying = max(classes.values(), key=lambda paths: sum(not match(path) for path in paths))
            for paths in classes.values():
                self._renew([path for path in paths if paths is not staying and match(path)])
        for group in set(self._groups.values()):
            alike = [path for path in group if self._is_ready(path)]
            first = next((path for path in alike if not match(path)), alike[0] if alike else b"")
            home = self._live_links.get(first, (first,))
            self._renew([path for path in alike if path not in home and match(path)])

    def _renew(self, paths: list[bytes]) -> None:
        for path in paths:
            is_there = self._live(path) is not None and self._target(path) is not None
            if is_there and path not in self._changed and not self._why_left_alone(path):
                self._make(path)

    # --- the times of directories around ---

    def _times_of_others(self) -> None:
        """A directory in which something is made or removed changes its time; where the names are again those of a
        snapshot, so is the time.
        """
        steps = self._steps
        touched = {path.rpartition(b"/")[0] for path in steps.removals}
        touched |= {step.path.rpartition(b"/")[0] for step in steps.entries if not step.in_place}
        touched |= {
            path.rpartition(b"/")[0]
            for path in (*(one.path for one in steps.trees), *(path for path, _ in steps.parents))
        }
        made = {path for path, _ in steps.parents}
        for path in touched - steps.directories.keys():
            target = self._target.directory(path)
            if target is not None and (path in made or self._request.paths.match(path)):
                steps.directories[path] = target.own
            elif target is not None and (time := self._time_again(path, target)) is not None:
                steps.times[path] = time

    def _time_again(self, path: bytes, target: Directory) -> int | None:
        here = self._live.directory(path)
        names = {
            name for one in (here,) if one for name in _names(one) if not self._request.paths.match(join(path, name))
        }
        names |= {name for name in _names(target) if self._request.paths.match(join(path, name))}
        names |= {kept.rpartition(b"/")[2] for kept in self._kept if kept.rpartition(b"/")[0] == path}
        for one in (self._base.directory(path) if self._base else None, target):
            if one is not None and _names(one) == names:
                return one.own.time
        return None

    def _is_ready(self, path: bytes) -> bool:
        """Whether an entry stands as in the target and stays."""
        here = self._live(path)
        return here is not None and path not in self._changed and here == self._target(path)

    # --- the result ---

    def result(self) -> Plan:
        """The plan."""
        steps = self._steps
        steps.entries.sort(key=lambda step: step.path)
        below = tuple(path + b"/" for path, *_ in steps.trees)
        ready = frozenset(path for path in self._groups if not path.startswith(below) and self._is_ready(path))
        skipped = tuple(sorted(self._skipped.items()))
        kept = tuple(self._kept)
        tree, selinux = self._scan.tree, self._policy.selinux
        unread = frozenset(self._unread)
        return Plan(
            self._request, self._read, tree, self._since, unread, steps, self._groups, ready, kept, skipped, selinux
        )


def _names(directory: Directory) -> set[bytes]:
    return {*directory.files, *directory.subdirectories}
