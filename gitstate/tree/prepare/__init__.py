"""A live tree made fit to boot: cleaned of what belongs to one machine, with the boot hook in its initrds.

`plan` only looks; `apply` does what the plan lists. Every step is whole or not done at all, and a second run finds
nothing to do, so a run that was killed is finished by the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gitstate.core.errors import HostError
from gitstate.core.fs import DescriptorTree, open_descriptor_tree
from gitstate.core.monitor import Observer
from gitstate.tree.prepare import configure, debian, initrd, tidy
from gitstate.tree.prepare import tree_files as carried
from gitstate.tree.prepare.debian import Kernel
from gitstate.tree.prepare.steps import Concern, Step

__all__ = ["Concern", "Done", "Kernel", "Plan", "Step", "apply", "plan"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done: packages installed first, then the steps in order, then initrds made.

    With ``install``, what comes after it is as the tree stands before.
    """

    live: Path
    install: tuple[str, ...]
    steps: tuple[Step, ...]
    kernels: tuple[Kernel, ...]
    name: str = ""

    def __bool__(self) -> bool:
        return bool(self.install or self.steps or self.kernels)


@dataclass(frozen=True, slots=True)
class Done:
    """What was done, in the plan's terms; ``kernels`` are those whose initrd came out otherwise than it was."""

    installed: tuple[str, ...]
    steps: tuple[Step, ...]
    kernels: tuple[Kernel, ...]

    def __bool__(self) -> bool:
        return bool(self.installed or self.steps or self.kernels)

    @property
    def concerns(self) -> set[Concern]:
        """What was touched."""
        return {step.concern for step in self.steps} | ({Concern.INITRD} if self.kernels else set())


def plan(live: Path, *, install: bool = False, name: str = "") -> Plan:
    """Look what has to be done in the live tree of the prototype ``name``.

    Raises HostError for a tree that can't be prepared, or lacks packages.
    """
    with open_descriptor_tree(live) as tree:
        debian.check(tree, live)
        lacking = debian.missing(tree)
        if lacking and not install:
            packages = " ".join(lacking)
            command = f"apt-get install --no-install-recommends {packages}"
            raise HostError(
                f"{live} lacks what a boot needs, or has it half installed: {packages}",
                f"gitstate prepare --install does it; so does, in a chroot, {command}",
            )
        return _plan(tree, live, tuple(lacking), name)


def _plan(tree: DescriptorTree, live: Path, lacking: tuple[str, ...], name: str) -> Plan:
    written = [*configure.plan(tree), *carried.plan(tree, name)]
    steps = (*tidy.plan(tree), *written, *configure.plan_stamps(tree))
    kernels = debian.kernels(tree)
    hook_is_new = any(step.concern is Concern.HOOK for step in written)
    return Plan(live, lacking, steps, tuple(kernels if hook_is_new else initrd.outdated(tree, kernels)), name)


def apply(todo: Plan, observer: Observer) -> Done:
    """Do it. Raises HostError, StorageError."""
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
    return Done(installed, (*todo.steps, *stamps), tuple(one.kernel for one in made if one.changed))
