"""Commands and groups: help in sections, examples as written, names suggested, modules imported when needed."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import click

from gitstate.core.wording import did_you_mean, nearest

BY_MEANING: Final[Mapping[str, Sequence[str]]] = {
    "add": ("create", "checkin"),
    "apply": ("push",),
    "archive": ("export",),
    "branch": ("prototype create",),
    "cat": ("show",),
    "bash": ("shell",),
    "check": ("status", "doctor", "fsck", "verify"),
    "checkout": ("export", "clone"),
    "chroot": ("shell", "mount"),
    "ci": ("checkin",),
    "clean": ("gc",),
    "cleanup": ("gc",),
    "commit": ("checkin",),
    "delete": ("remove", "prototype remove", "client remove"),
    "deploy": ("push",),
    "describe": ("show",),
    "edit": ("set",),
    "enter": ("shell",),
    "exec": ("shell",),
    "fork": ("prototype create",),
    "get": ("show",),
    "history": ("log",),
    "host": ("client",),
    "hosts": ("client list",),
    "image": ("prototype", "export"),
    "import": ("client import", "prototype create"),
    "info": ("show", "status"),
    "install": ("prototype create",),
    "list": ("status", "prototype list", "client list"),
    "ls": ("list", "status", "prototype list", "client list"),
    "machine": ("client",),
    "modify": ("set",),
    "mv": ("rename",),
    "new": ("create", "init"),
    "node": ("client",),
    "prune": ("gc",),
    "publish": ("push",),
    "pull": ("reconcile",),
    "record": ("checkin",),
    "release": ("push", "channel show"),
    "remove": ("prototype remove", "client remove"),
    "render": ("layer render",),
    "reset": ("rollback",),
    "restore": ("rollback", "export"),
    "revert": ("rollback",),
    "rm": ("remove", "prototype remove", "client remove"),
    "save": ("checkin",),
    "snapshot": ("checkin",),
    "st": ("status",),
    "sync": ("reconcile",),
    "undo": ("rollback",),
    "unmount": ("umount",),
    "update": ("set", "push"),
    "validate": ("doctor", "fsck"),
}
"""Other programs' words -> our commands of that meaning; of these, those that a group has are suggested."""
PLAIN_GIT: Final[Mapping[str, str]] = {
    "branch": "git -C SITE/prototypes/REPO.git branch",
    "grep": "git -C SITE/prototypes/REPO.git grep PATTERN main",
}
"""What git itself does in our repositories."""


class CommonOption(click.Option):
    """An option that every command takes; help lists it apart from the command's own."""


class HelpWantedError(click.UsageError):
    """A group without a command: its help is the answer."""


class _HelpMixin(click.Command):
    """Help in sections: own options, common options, examples."""

    def __init__(self, *arguments: Any, examples: Sequence[str] = (), **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.examples = tuple(examples)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Let errors know their command, to name its help."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Own options first, then common ones."""
        own: list[tuple[str, str]] = []
        common: list[tuple[str, str]] = []
        for option in self.get_params(ctx):
            record = option.get_help_record(ctx) if isinstance(option, click.Option) else None
            if record is not None:
                everywhere = isinstance(option, CommonOption) or "--help" in option.opts
                (common if everywhere else own).append(record)
        for title, records in (("Options", own), ("Common options", common)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Examples, never wrapped."""
        if self.examples:
            with formatter.section("Examples" if len(self.examples) > 1 else "Example"):
                for line in "\n".join(self.examples).splitlines():
                    formatter.write(f"  {line}\n")


class Command(_HelpMixin):
    """A command with examples."""


class Group(_HelpMixin, click.Group):
    """A group of commands. For an unknown one the nearest is suggested; without one, the help is printed."""

    command_class = Command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Without arguments the help is an error: a script without its command must fail."""
        if not args and not ctx.resilient_parsing:
            raise HelpWantedError(ctx.get_help(), ctx)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Commands first."""
        self.format_commands(ctx, formatter)
        super().format_options(ctx, formatter)

    def shown_commands(self, ctx: click.Context) -> list[str]:
        """The commands that help lists."""
        return self.list_commands(ctx)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that ``args`` begins with. Raises UsageError naming the nearest."""
        known = self.list_commands(ctx)
        if args[0] not in known and not args[0].startswith("-") and not ctx.resilient_parsing:
            meant = [name for name in BY_MEANING.get(args[0], ()) if name.split()[0] in known]
            near = meant or nearest(args[0], self.shown_commands(ctx))
            hint = f"; {did_you_mean(near, '')}" if near else ""
            plain = f"; plain git: {PLAIN_GIT[args[0]]}" if ctx.parent is None and args[0] in PLAIN_GIT else ""
            raise click.UsageError(f"no command {args[0]!r}{hint}{plain}", ctx)
        return super().resolve_command(ctx, args)


class LazyGroup(Group):
    """A group that imports a command only when it is called, which keeps commands quick."""

    def __init__(
        self,
        *arguments: Any,
        modules: Mapping[str, str],
        sections: Mapping[str, Iterable[str]] | None = None,
        **attributes: Any,
    ) -> None:
        super().__init__(*arguments, **attributes)
        self.modules = modules
        """Command -> the module below ``gitstate.cli`` that defines it."""
        self.sections = sections or {"Commands": modules}
        """Heading in the help -> commands."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Commands in their sections, in one column."""
        widest = max(map(len, self.shown_commands(ctx)))
        for title, names in self.sections.items():
            commands = [(name, self.get_command(ctx, name)) for name in names]
            rows = [(name.ljust(widest), one.get_short_help_str(200)) for name, one in commands if one]
            with formatter.section(title):
                formatter.write_dl(rows)

    def shown_commands(self, ctx: click.Context) -> list[str]:
        """The commands that help lists."""
        return [name for names in self.sections.values() for name in names]

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.modules:
            return None
        defined = vars(importlib.import_module(f"gitstate.cli.{self.modules[cmd_name]}"))
        word = cmd_name.replace("-", "_")
        command = defined.get(word) or defined[f"{word}_"]  # list_, import_: not to hide Python's own
        assert isinstance(command, click.Command)
        return command
