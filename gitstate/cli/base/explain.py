"""``gitstate help``: the help of any command, as other programs have it."""

from __future__ import annotations

import click

from gitstate.cli.base.app import Session, app, command
from gitstate.cli.base.output import emit


def _complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    found = _find(context.params.get("words") or ())[1]
    names = found.list_commands(context) if isinstance(found, click.Group) else []
    return [name for name in names if name.startswith(incomplete)]


@command("gitstate help", "gitstate help client add", name="help")
@click.argument("words", metavar="[COMMAND]...", nargs=-1, shell_complete=_complete)
def help_(session: Session, words: tuple[str, ...]) -> None:
    """Show the help of COMMAND, or the list of all commands.

    The same as COMMAND --help.
    """
    context, found = _find(words)
    text = found.get_help(context)
    emit(session, "help/1", {"command": context.command_path, "help": text}, text.splitlines())


def _find(words: tuple[str, ...]) -> tuple[click.Context, click.Command]:
    """The command that ``words`` name. Raises click.UsageError with the nearest."""
    context = click.Context(app, info_name="gitstate", **app.context_settings)
    found: click.Command = app
    for word in words:
        if not isinstance(found, click.Group):
            raise click.UsageError(f"{context.command_path} has no commands below it", context)
        name, below, _ = found.resolve_command(context, [word])
        assert below is not None
        found, context = below, click.Context(below, parent=context, info_name=name)
    return context, found
