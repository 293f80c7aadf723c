"""Make a live tree bootable: remove what belongs to one machine, install the boot hook, make initrds.

`plan` only reads; `apply` does what the plan lists. Every step is atomic, and a second run finds nothing to do, so the
next run finishes one that was killed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gitstate.core.errors import HostError
from gitstate.core.fs import DescriptorTree, open_descriptor_tree
from gitstate.core.monitor import Observer
from gitstate.store import Repository
from gitstate.tree.prepare import configure, debian, initrd, tidy, tree_files
from gitstate.tree.prepare.debian import Kernel
from gitstate.tree.prepare.steps import Concern, Step


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do: install packages, then the steps in order, then make initrds.

    With ``install``, the rest is planned for the tree as it is before.
    """

    live: Path
    install: tuple[str, ...]
    steps: tuple[Step, ...]
    kernels: tuple[Kernel, ...]
    name: str = ""

    def __bool__(self) -> bool:
        return bool(self.install or self.steps or self.kernels)


@dataclass(frozen=True, slots=True)
class Result:
    """What was done; ``kernels`` are those whose initrd has changed."""

    installed: tuple[str, ...]
    steps: tuple[Step, ...]
    kernels: tuple[Kernel, ...]

    def __bool__(self) -> bool:
        return bool(self.installed or self.steps or self.kernels)

    @property
    def concerns(self) -> set[Concern]:
        """The concerns of all that was done."""
        return {step.concern for step in self.steps} | ({Concern.INITRD} if self.kernels else set())


def plan(live: Path, *, install: bool = False, name: str = "") -> Plan:
    """Find what has to be done in the live tree of the prototype ``name``.

    Raises HostError for a tree that can't be prepared, or lacks packages.
    """
    with open_descriptor_tree(live) as tree:
        debian.check(tree, live)
        missing = debian.missing(tree)
        if missing and not install:
            packages = " ".join(missing)
            command = f"apt-get install --no-install-recommends {packages}"
            hint = f"run gitstate prepare --install, or in a chroot: {command}"
            raise HostError(f"{live}: packages needed to boot are missing or half installed: {packages}", hint)
        return _plan(tree, live, tuple(missing), name)


def _plan(tree: DescriptorTree, live: Path, missing: tuple[str, ...], name: str) -> Plan:
    written = [*configure.plan(tree), *tree_files.plan(tree, name)]
    steps = (*tidy.plan(tree), *written, *configure.plan_stamps(tree))
    kernels = debian.kernels(tree)
    hook_changed = any(step.concern is Concern.HOOK for step in written)
    return Plan(live, missing, steps, tuple(kernels if hook_changed else initrd.outdated(tree, kernels)), name)


def prepare(repository: Repository, live: Path, observer: Observer, *, install: bool, name: str) -> Result:
    """Plan and apply under the repository's lock. Raises HostError, StorageError, LockedError."""
    with repository.lock("prepare"):
        return apply(plan(live, install=install, name=name), observer)


def apply(todo: Plan, observer: Observer) -> Result:
    """Carry out the plan. Raises HostError, StorageError."""
    installed = todo.install
    if installed:
        debian.install(todo.live, installed, observer)
        todo = plan(todo.live, name=todo.name)
    with open_descriptor_tree(todo.live) as tree:
        observer.phase("prepare", len(todo.steps), "steps")
        for step in todo.steps:
            step.apply(tree)
            observer.advance()
        made = [initrd.make(tree, todo.live, kernel, observer) for kernel in todo.kernels]
        stamps = tuple(configure.plan_stamps(tree))  # mkinitramfs may have made something in /usr
        for step in stamps:
            step.apply(tree)
    return Result(installed, (*todo.steps, *stamps), tuple(one.kernel for one in made if one.changed))
