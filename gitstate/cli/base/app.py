"""The root of the command line: options that every command takes, and commands imported when they are called."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from gitstate import __version__
from gitstate.cli.base.help import Command, CommonOption, Group, LazyGroup
from gitstate.core import fs, settings
from gitstate.core.errors import GitstateError, HostError, UsageError
from gitstate.core.monitor import Observer
from gitstate.core.signature import Signature
from gitstate.release.opened import OpenedSite

Function = TypeVar("Function", bound=Callable[..., Any])

_SECTIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "Everyday commands": {
        "status": "tree.status",
        "checkin": "tree.checkin",
        "diff": "tree.diff",
        "restore": "tree.restore",
        "update": "tree.update",
        "shell": "tree.shell",
        "mount": "tree.mounts",
        "umount": "tree.mounts",
        "prepare": "tree.prepare",
        "local": "tree.local",
        "live": "tree.live",
    },
    "History": {
        "log": "tree.history",
        "show": "tree.history",
        "blame": "tree.blame",
        "tag": "release.tag",
        "export": "tree.export",
        "verify": "tree.verify",
        "manifest": "tree.verify",
        "clone": "tree.export",
    },
    "Machines": {
        "client": "client.group",
        "class": "client.classes",
        "layer": "layer.group",
        "secret": "client.secret",
        "directory": "client.directory",
        "boot": "site.boot",
    },
    "Releases": {
        "push": "release.push",
        "rollback": "release.push",
        "review": "release.review",
        "channel": "release.channel",
        "reconcile": "release.reconcile",
    },
    "Site": {
        "init": "site.init",
        "prototype": "site.prototype",
        "doctor": "site.doctor",
        "fsck": "site.maintenance",
        "gc": "site.maintenance",
        "help": "base.explain",
    },
}
"""Section of the help -> command -> module, as TOPIC.MODULE; client and layer have such tables of their own."""
_INTERNAL: Final = {"merge-driver": "tree.merge_driver", "serve": "release.serve", "hook": "release.serve"}
_COMMANDS: Final = {name: module for some in (*_SECTIONS.values(), _INTERNAL) for name, module in some.items()}


class ReaderGoneError(Exception):
    """The reader of our output has closed it. Not a BrokenPipeError, which click turns into exit code 1."""


@contextmanager
def _reader() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise ReaderGoneError from None


class _Root(LazyGroup):
    """The program itself; the reader of its output may close it."""

    def make_context(self, *arguments: Any, **attributes: Any) -> click.Context:
        with _reader():
            return super().make_context(*arguments, **attributes)

    def invoke(self, ctx: click.Context) -> Any:
        with _reader():
            return super().invoke(ctx)


class Session:
    """What a command works with, as the common options say, which may be anywhere on the command line."""

    def __init__(self) -> None:
        self.settings = settings.read()
        self.site_option: Path | None = None
        self.json = False
        self.quiet = False
        self.verbose = False
        self.zero = False
        self.dry_run = False

    @property
    def site_path(self) -> Path:
        """The site's directory, whether or not it exists."""
        return self.site_option or self.settings.site

    @cached_property
    def opened(self) -> OpenedSite:
        """The site with its options, directory and releases. Raises NotFoundError, ConfigError."""
        return OpenedSite.open(self.site_path, self.settings.credentials)

    def author(self, given: str | None, repository: Path | None = None) -> Signature:
        """Who makes a commit, in ``repository`` if git's configuration says it for each. Raises UsageError."""
        return settings.author(given, repository or self.opened.site.directory_path)

    @property
    def colour(self) -> bool:
        """Whether to colour standard output."""
        return self.settings.colour and sys.stdout.isatty() and not self.json

    @cached_property
    def observer(self) -> Observer:
        """Progress for people: bars on a terminal, notices elsewhere."""
        from gitstate.cli.base.progress import Bars, Plain

        if sys.stderr.isatty() and not self.quiet and not self.json:
            return Bars()
        return Plain(quiet=self.quiet or self.json)

    @property
    def raw(self) -> bool:
        """Whether only names are printed (``-z``). Raises UsageError if --json is given, too."""
        if self.zero and self.json:
            raise UsageError("-z and --json exclude each other", "JSON has every name in octal")
        return self.zero

    # --- repositories ---

    def name(self, given: str | None) -> str:
        """``given``, or the repository whose live tree is the current directory. Raises UsageError."""
        return given or self.opened.site.repository_of(Path.cwd())

    def take(self, *words: str | None) -> tuple[str, list[str | None]]:
        """REPO, which may be omitted inside a live tree, and the other words, None where omitted. Raises UsageError."""
        given = [word for word in words if word is not None]
        name, rest = self.split(given, given[:1])
        if len(rest) == len(words):  # inside a live tree, and the first of them was meant as REPO
            self.opened.repository(rest[0])
        return name, [*rest, *[None] * (len(words) - 1 - len(rest))]

    def split(self, words: Sequence[str], candidates: Sequence[str]) -> tuple[str, list[str]]:
        """The first of ``candidates`` that names a repository, else the one of the current live tree; and the rest.

        Raises UsageError, NotFoundError.
        """
        rest = list(words)
        for word in candidates:
            with suppress(UsageError):  # not even a name
                if fs.has_directory(self.opened.site.repository_path(word)):
                    rest.remove(word)
                    return word, rest
        try:
            return self.name(None), rest
        except GitstateError:
            for word in candidates[:1]:
                with suppress(UsageError):
                    self.opened.repository(word)
            raise


pass_session = click.make_pass_decorator(Session, ensure=True)


# --- options ----------------------------------------------------------------------------------------------------------


PATH: Final = click.Path(path_type=Path, readable=False)


def _remember(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def remember(context: click.Context, parameter: click.Parameter, value: Any) -> None:
        if value:
            setattr(context.ensure_object(Session), name, value)

    return remember


def _flag(*words: str, name: str, text: str, kind: type[click.Option] = click.Option) -> Callable[[Function], Function]:
    return click.option(*words, name, cls=kind, is_flag=True, expose_value=False, callback=_remember(name), help=text)


def common(function: Function) -> Function:
    """The options of every command."""
    options = [
        click.option(
            "--site",
            "site_option",
            cls=CommonOption,
            metavar="DIR",
            type=PATH,
            expose_value=False,
            callback=_remember("site_option"),
            help="The site's directory [GITSTATE_SITE, /srv/gitstate].",
        ),
        _flag("--json", name="json", text="Print one JSON object.", kind=CommonOption),
        _flag("-q", "--quiet", name="quiet", text="Print results only, no notes and no progress.", kind=CommonOption),
        _flag("-v", "--verbose", name="verbose", text="Show a traceback for internal errors.", kind=CommonOption),
    ]
    for option in reversed(options):
        function = option(function)
    return function


_dry_run_option = _flag("-n", "--dry-run", name="dry_run", text="Show what would be done; write nothing.")
_raw_option = _flag("-z", name="zero", text="Print only names, raw, each ended by NUL.")


def command(
    *examples: str,
    name: str | None = None,
    group: click.Group | None = None,
    writes: bool = False,
    names: bool = False,
    cls: type[Command] = Command,
    **attributes: Any,
) -> Callable[[Callable[..., Any]], Command]:
    """Make a command: a session, the common options, ``-n`` if it writes, ``-z`` if it prints names."""

    def decorate(function: Callable[..., Any]) -> Command:
        own = vars(function).pop("__click_params__", [])
        function = pass_session(function)
        if writes:
            function = _dry_run_option(function)
        if names:
            function = _raw_option(function)
        function = common(function)
        vars(function)["__click_params__"] += own  # click reverses them
        made = click.command(name, cls=cls, examples=examples, **attributes)(function)
        if group is not None:
            group.add_command(made)
        return made

    return decorate


def group(
    *examples: str, name: str | None = None, modules: Mapping[str, str] | None = None
) -> Callable[[Callable[..., Any]], Group]:
    """Make a group of commands, of which ``modules`` are imported when they are called."""

    def decorate(function: Callable[..., Any]) -> Group:
        if modules is None:
            return click.group(name, cls=Group, examples=examples)(common(function))
        return click.group(name, cls=LazyGroup, examples=examples, modules=modules)(common(function))

    return decorate


# --- completion -------------------------------------------------------------------------------------------------------


Completion = Callable[[click.Context, click.Parameter, str], list[str]]


def completion(find: Callable[[Session, Mapping[str, Any]], Iterable[str]]) -> Completion:
    """Complete a word from the names that ``find`` gives for a session and the parameters so far; none on any error."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
        try:
            found = find(context.ensure_object(Session), context.params)
            return [name for name in found if name.startswith(incomplete)]
        except (GitstateError, OSError):
            return []

    return complete


complete_prototype = completion(lambda session, parameters: session.opened.site.prototypes())
complete_channel = completion(lambda session, parameters: session.opened.directory.channels())
complete_repository = completion(lambda session, parameters: session.opened.site.repositories())
complete_revision = completion(
    lambda session, parameters: ["HEAD", *session.opened.repository(session.name(parameters.get("repo"))).names()]
)


def repo_argument(function: Function) -> Function:
    """REPO, which may be omitted inside its live tree."""
    return click.argument("repo", required=False, shell_complete=complete_repository)(function)


def rev_argument(function: Function) -> Function:
    """REV, HEAD by default."""
    return click.argument("rev", required=False, shell_complete=complete_revision)(function)


@click.group(
    cls=_Root,
    modules=_COMMANDS,
    sections=_SECTIONS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    examples=(
        "gitstate init",
        "gitstate prototype create desktop --bootstrap bookworm",
        'gitstate checkin desktop -m "bookworm as installed"',
        "gitstate diff desktop HEAD~1 HEAD",
        "gitstate export desktop HEAD",
    ),
)
@common
@click.version_option(__version__, prog_name="gitstate")
def app() -> None:
    """Stateless Linux with git inside: root filesystems as git repositories.

    REPO is a prototype (desktop) or a layer (lab/lab3); inside its live tree it
    may be left out. REV is a revision in git's own syntax.
    """
    try:
        Path.cwd()
    except FileNotFoundError:
        raise HostError("the current directory doesn't exist any more", "cd to another one") from None
    fs.allow_many_descriptors()
    # Entries make no cycles; looking for them took a tenth of an export's time.
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    gc.enable()
