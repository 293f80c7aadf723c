"""The root of the command line: options that every command takes, and commands imported when they are called."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from gitstate import __version__, fs, settings
from gitstate.monitor import Observer
from gitstate.site import Site

Command = TypeVar("Command", bound=Callable[..., Any])

_COMMANDS: Final = {
    "init": "site",
    "prototype": "site",
    "status": "record",
    "checkin": "record",
    "export": "trees",
    "manifest": "trees",
    "verify": "trees",
    "log": "past",
    "show": "past",
    "diff": "past",
    "clone": "past",
    "fsck": "care",
    "gc": "care",
}
"""Command by the module in this room that has it."""


class LazyGroup(click.Group):
    """Commands are imported when they are called: a check-in doesn't wait for the code of all the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"gitstate.cli.{_COMMANDS[cmd_name]}")
        command = getattr(module, cmd_name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            import difflib

            near = difflib.get_close_matches(args[0], _COMMANDS, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise click.UsageError(f"no command {args[0]!r}{hint}", ctx) from None


class Session:
    """What a command works with; the common options say so wherever they stand on the line."""

    def __init__(self) -> None:
        self.given_site: Path | None = None
        self.json = False
        self.quiet = False
        self.verbose = False
        self.zero = False
        self.dry_run = False

    @cached_property
    def settings(self) -> settings.Settings:
        """The environment."""
        return settings.read()

    @property
    def site_path(self) -> Path:
        """Where the site is, whether or not it exists."""
        return self.given_site or self.settings.site

    @cached_property
    def site(self) -> Site:
        """The site. Raises NotFound, ConfigFault."""
        return Site.open(self.site_path)

    @property
    def colour(self) -> bool:
        """Whether to colour standard output."""
        return self.settings.colour and sys.stdout.isatty() and not self.json

    @cached_property
    def observer(self) -> Observer:
        """Who shows progress: bars on a terminal, notices elsewhere."""
        from gitstate.cli.progress import Bars, Plain

        if sys.stderr.isatty() and not self.quiet and not self.json:
            return Bars()
        return Plain(quiet=self.quiet)

    def name(self, given: str | None) -> str:
        """The repository named, or the one whose live tree we stand in. Raises UsageFault."""
        return given or self.site.repository_of(Path.cwd())


pass_session = click.make_pass_decorator(Session, ensure=True)


def _wish(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def remember(context: click.Context, parameter: click.Parameter, value: Any) -> None:
        if value:
            setattr(context.ensure_object(Session), name, value)

    return remember


def common(function: Command) -> Command:
    """The options that every command takes."""
    options = [
        click.option(
            "--site",
            type=click.Path(path_type=Path),
            expose_value=False,
            callback=_wish("given_site"),
            help="The site's directory [GITSTATE_SITE, /srv/gitstate].",
        ),
        click.option("--json", is_flag=True, expose_value=False, callback=_wish("json"), help="Print one JSON object."),
        click.option("-q", "--quiet", is_flag=True, expose_value=False, callback=_wish("quiet"), help="Results only."),
        click.option(
            "-v",
            "--verbose",
            is_flag=True,
            expose_value=False,
            callback=_wish("verbose"),
            help="Tell more; tracebacks.",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def writes(function: Command) -> Command:
    """``-n`` for commands that write."""
    return click.option(
        "-n",
        "--dry-run",
        is_flag=True,
        expose_value=False,
        callback=_wish("dry_run"),
        help="Say what would be done; write nothing.",
    )(function)


def names(function: Command) -> Command:
    """``-z`` for commands that print names."""
    return click.option(
        "-z",
        "zero",
        is_flag=True,
        expose_value=False,
        callback=_wish("zero"),
        help="Names raw, ended by NUL.",
    )(function)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@common
@click.version_option(__version__, prog_name="gitstate")
def app() -> None:
    """Stateless Linux with git inside: root filesystems as git repositories.

    \b
    gitstate init
    gitstate prototype create desktop --bootstrap bookworm --include openssh-server
    gitstate checkin desktop -m "bookworm as installed"
    gitstate diff desktop HEAD~1 HEAD
    gitstate export desktop HEAD
    """
    fs.allow_many_descriptors()
