"""docs/cli.md and docs/gitstate.1, made from the command line itself: ``python -m tests.docs.reference --write``."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from gitstate import __version__
from gitstate.cli.base.app import app
from gitstate.cli.base.help import Command, CommonOption, Group
from gitstate.core.documents.explain import schema
from gitstate.store.site_file import SiteFile
from tests.support import PROJECT

REFERENCE: Final = PROJECT / "docs" / "cli.md"
MAN_PAGE: Final = PROJECT / "docs" / "gitstate.1"

Rows = list[tuple[str, str]]

# --- what isn't said in the code; in Markdown, of which only `code` and [links](x.md) are used ------------------------

ABOUT: Final = (
    "`REPO` is a prototype (`desktop`) or a layer (`lab/lab3`). Inside its live tree it may be omitted. `REV` is a"
    " revision in git's own syntax (`HEAD~1`, a tag, an id), by default `HEAD`. Common options may come before or"
    " after the command.",
    "Results go to standard output; notes, progress and errors to standard error. Progress is shown on a terminal only,"
    " by commands that take a while. `log`, `show` and `diff` use the pager if they don't fit on the terminal.",
    "Names are printed as they are, if they are UTF-8. `\\ooo`, a byte in octal, stands for what isn't, for control and"
    " invisible characters, for `\\` itself, and for spaces that couldn't be seen, at an end of a path or side by side;"
    " in lists of hard links, for any space. [JSON](#json) has octal for more, `-z` for nothing; git"
    " escapes control characters alone in the names that it prints (`log --stat`, heads of diffs).",
)

CODES: Final[Rows] = [
    ("0", "Done. Differences are not an error."),
    (
        "1",
        "There are differences: `verify`; `status` and `diff` with `--exit-code`; `diff -q`. Or you answered no.",
    ),
    ("2", "Usage: a wrong option or name, or options that exclude each other."),
    ("3", "Partly done: the message names what was not done. Files that could not be read keep their last records."),
    ("4", "Refused by [policy](policy.md): nothing was recorded."),
    (
        "5",
        "Environment: no rights, a program is missing or failed, a read-only file system, a limit, a name in the way.",
    ),
    ("6", "Input or output failed, or the disk is full. Nothing is left half done."),
    ("7", "A configuration file or template is wrong, or of a newer version."),
    ("10", "Not found: the site, a repository, a revision, a path."),
    ("11", "Locked by another command, or the branch has moved meanwhile. Try again."),
    ("12", "Conflict: two states that can't be merged without a decision."),
    ("13", "The directory (LDAP) doesn't answer, or denies access."),
    ("14", "Damaged data was found: a broken record, a corrupt pack, a malicious tree."),
    ("70", "An internal error. Report the traceback that `-v` shows."),
    ("130", "Interrupted by Ctrl-C. Nothing is left half done."),
    ("141", "The reader of the output closed it (`| head`)."),
]

VARIABLES: Final[Rows] = [
    ("GITSTATE_SITE", "The site's directory; `--site` wins. The default is `/srv/gitstate`."),
    (
        "GIT_AUTHOR_NAME, GIT_AUTHOR_EMAIL",
        "Author of commits, unless `--author` is given.",
    ),
    (
        "HOME, XDG_CONFIG_HOME, GIT_CONFIG_…",
        "Where git's configuration is: its `user.name` and `user.email` come next. It shapes what `log`, `show` and"
        " `diff` print, and `push --sign` signs by it;"
        " [nothing else depends on it](decisions/0012-one-door-to-git.md). Other `GIT_…` are ignored.",
    ),
    ("SUDO_USER", "Author of commits, if nothing else names one."),
    ("SSH_ORIGINAL_COMMAND", "The command that an ssh client requested, for `gitstate serve`."),
    ("CREDENTIALS_DIRECTORY", "Where systemd puts the password for the directory server."),
    ("NO_COLOR", "No colours if it is set, as with `TERM=dumb` or without a terminal."),
    (
        "GIT_EDITOR, VISUAL, EDITOR",
        "The editor in which `checkin` without `-m` asks for a message; git's `core.editor` is between the first two.",
    ),
    ("PAGER, LESS", "The pager of `log`, `show` and `diff`, and its options."),
    ("TZ", "Time zone of dates for people. JSON is in UTC."),
    ("_GITSTATE_COMPLETE", "Used by shell completion."),
]

SITE_KEYS: Final[Rows] = [
    (key, value["description"])
    for key, value in schema(SiteFile)["$defs"]["SiteFile"]["properties"].items()
    if value.get("type") != "object"
]

REPOSITORY_KEYS: Final[Rows] = [
    ("gitstate.live", "The live tree: an absolute path. Change it if you move the tree."),
    ("gitstate.format", "The version of the on-disk format; a newer one is refused (exit code 7)."),
    ("gc.auto, receive.autogc, maintenance.auto", "Off: only `gitstate gc` repacks."),
    ("core.bigFileThreshold", "32m: larger files are stored whole, so that they can be streamed."),
    ("core.hooksPath", "The repository's own hooks, whatever a pusher's configuration says."),
    ("core.sharedRepository", "false: nobody but the owner gets rights by git."),
    ("pack.indexVersion", "2: the version that gitstate reads."),
    ("transfer.fsckObjects, receive.fsckObjects", "true: pushed objects are checked."),
    (
        "transfer.unpackLimit, receive.unpackLimit",
        "1: a push stays one pack, which git syncs to disk; it doesn't sync loose objects.",
    ),
    ("merge.directoryRenames", "false: git would take a removed and a new empty directory for a rename."),
    ("core.logAllRefUpdates", "true: git's log of each branch's positions."),
    ("mailmap.blob", "Empty: a `.mailmap` in the tree changes no names."),
    ("diff.gitstate.textconv", "How git shows records; set in clones, too."),
    ("merge.gitstate.name, merge.gitstate.driver", "How git merges records; set in clones, too."),
]

JSON: Final = (
    'With `--json` a command prints one object in one line: `{"schema": "NAME/1", …}`. The schema of each is in'
    " [schemas](../schemas), as JSON Schema 2020-12, and is stable: keys may be added; removing one or"
    " changing its meaning makes the next number.",
    "Paths are octal: every byte but `A-Z a-z 0-9 . _ + @ , : ~ / -` is written `\\ooo`, as in records. Paths inside a"
    " snapshot have no leading slash, the root is `.`; paths on the machine are absolute. Ids are 40 hex digits, sizes"
    " bytes, durations seconds, points in time UTC in ISO 8601; times of files are seconds and nanoseconds as in"
    " records.",
    "With `-n` the object is the same, with `dry_run` true. An error is an object on standard error:"
    ' `{"error": {"code": 10, "message": "…", "hint": "…"}}`, and the exit code is `code`'
    " ([schema](../schemas/error.schema.json)). A command that is partly done prints both. Notes and progress are not"
    " printed. `client list --new` ([schema](../schemas/client-list-new.schema.json)), `layer list --shipped`"
    " ([schema](../schemas/layer-shipped.schema.json)), `layer list LAYER`"
    " ([schema](../schemas/layer-clients.schema.json)), `diff` of machines"
    " ([schema](../schemas/machine-diff.schema.json)), `export --oci`"
    " ([schema](../schemas/export-image.schema.json)), `verify --all`"
    " ([schema](../schemas/verify-all.schema.json)) and `status` without a repository"
    " ([schema](../schemas/site-status.schema.json)) have their own shapes.",
)

COMPLETION: Final = (
    ("bash (4.4 or newer)", 'eval "$(_GITSTATE_COMPLETE=bash_source gitstate)"', "~/.bashrc"),
    ("zsh", 'eval "$(_GITSTATE_COMPLETE=zsh_source gitstate)"', "~/.zshrc"),
    ("fish", "_GITSTATE_COMPLETE=fish_source gitstate | source", "~/.config/fish/completions/gitstate.fish"),
)


# --- from the code ----------------------------------------------------------------------------------------------------


def leaves(group: click.Group, path: str = "") -> Iterator[tuple[str, Command]]:
    """Every command that users see, by its words, in the order of the help."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, Group):
            yield from leaves(command, f"{path}{name} ")
        elif isinstance(command, Command) and not command.hidden:
            yield f"{path}{name}", command


def usage(name: str, command: Command) -> str:
    """The usage line."""
    pieces = command.collect_usage_pieces(click.Context(command, info_name=name))
    return " ".join(["gitstate", name, *pieces])


def paragraphs(command: click.Command) -> list[str]:
    """The help text, a line for each paragraph."""
    return [" ".join(part.split()) for part in inspect.cleandoc(command.help or "").split("\n\n")]


def options(command: click.Command) -> Rows:
    """The command's own options and what they mean."""
    return [_row(one) for one in command.params if isinstance(one, click.Option) and not isinstance(one, CommonOption)]


def common_options() -> Rows:
    """The options of every command."""
    rows = [_row(one) for one in app.params if isinstance(one, CommonOption)]
    return [*rows, ("-h, --help", "Show the help of a command and exit.")]


def _row(option: click.Option) -> tuple[str, str]:
    names = ", ".join(option.opts)
    value = "" if option.is_flag else f" {option.metavar}"
    text = (option.help or "").rstrip(".")
    if option.show_default and option.default:
        text += f" [default: {option.default}]"
    if option.required:
        text += " [required]"
    return names + value, text + "."


def schema(name: str) -> str:
    """The schema's file, from docs/."""
    return f"../schemas/{name.replace(' ', '-')}.schema.json"


# --- Markdown ---------------------------------------------------------------------------------------------------------


def markdown() -> str:
    """docs/cli.md."""
    lines = [
        "# The command line",
        "",
        "<!-- Made by `python -m tests.docs.reference --write` from the program's own help. Don't edit. -->",
        "",
        "```",
        "gitstate [OPTIONS] COMMAND [ARGS]...",
        "```",
        "",
        *_wrapped(ABOUT),
        *_table("option", common_options()),
        "All of this is in the manual page, too: `man docs/gitstate.1`.",
        "",
        "| command | |",
        "|---|---|",
        *(f"| [{name}](#gitstate-{name.replace(' ', '-')}) | {paragraphs(one)[0]} |" for name, one in leaves(app)),
        "",
    ]
    for name, command in leaves(app):
        lines += _section(name, command)
    lines += ["## Exit codes", "", *_table("code", CODES)]
    lines += ["## Environment", "", *_table("variable", VARIABLES)]
    lines += ["## Configuration", "", "`site.toml` in the site's directory:", "", *_table("key", SITE_KEYS)]
    lines += ["Each repository's own git configuration (`git -C REPO.git config …`):", ""]
    lines += _table("key", REPOSITORY_KEYS)
    lines += ["What is recorded and what is refused is part of the prototype or layer itself: [policy](policy.md).", ""]
    lines += ["## JSON", "", *_wrapped(JSON)]
    lines += ["## Shell completion", "", "Commands, options, repositories and revisions are completed.", ""]
    lines += ["| shell | line | in |", "|---|---|---|"]
    for shell, line, file in COMPLETION:
        lines += [f"| {shell} | `{line.replace('|', chr(92) + '|')}` | `{file}` |"]
    return "\n".join(lines) + "\n"


def _section(name: str, command: Command) -> Iterator[str]:
    summary, *rest = paragraphs(command)
    yield from (f"## gitstate {name}", "", *_wrapped([summary]), "```", usage(name, command), "```", "")
    yield from _wrapped(rest)
    if rows := options(command):
        yield from _table("option", rows)
    title = "Examples" if len(command.examples) > 1 else "Example"
    yield from (f"{title}:", "", "```sh", *"\n".join(command.examples).splitlines(), "```", "")
    shape = name.replace(" ", "-")
    yield from (f"JSON: [{shape}/1]({schema(name)})", "")


def _table(head: str, rows: Rows) -> Iterator[str]:
    yield from (f"| {head} | |", "|---|---|")
    for key, text in rows:
        keys = ", ".join(f"`{one}`" for one in key.split(", "))
        yield f"| {keys} | {text.replace('|', chr(92) + '|').replace('<', chr(92) + '<')} |"
    yield ""


def _wrapped(texts: tuple[str, ...] | list[str]) -> Iterator[str]:
    """Paragraphs of at most 116 columns; neither code nor a link is broken."""
    for text in texts:
        line = ""
        for word in re.findall(r"(?:`[^`]*`|\[[^\]]*\]\([^)]*\)|\S)+", text):
            if line and len(line) + 1 + len(word) > 116:
                yield line
                line = word
            else:
                line = f"{line} {word}".lstrip()
        yield from (line, "")


# --- roff -------------------------------------------------------------------------------------------------------------


def roff() -> str:
    """docs/gitstate.1."""
    lines = [
        ".\\\" Made by `python -m tests.docs.reference --write` from the program's own help. Don't edit.",
        f'.TH GITSTATE 1 "" "gitstate {__version__}" "gitstate"',
        ".SH NAME",
        "gitstate \\- stateless Linux with git inside: root filesystems as git repositories",
        ".SH SYNOPSIS",
        ".B gitstate",
        "[\\fIOPTIONS\\fR] \\fICOMMAND\\fR [\\fIARGS\\fR]...",
        ".SH DESCRIPTION",
        *_paragraphs(ABOUT),
        ".SH COMMON OPTIONS",
        *_tags(common_options()),
        ".SH COMMANDS",
    ]
    for name, command in leaves(app):
        lines += [f".SS {_plain(usage(name, command))}", *_paragraphs(paragraphs(command)), *_tags(options(command))]
        lines += [".PP", ".EX", *(_plain(line) for line in "\n".join(command.examples).splitlines()), ".EE"]
    lines += [".SH EXIT STATUS", *_tags(CODES), ".SH ENVIRONMENT", *_tags(VARIABLES)]
    lines += [".SH CONFIGURATION", "Keys of \\fIsite.toml\\fR in the site's directory:", *_tags(SITE_KEYS)]
    lines += [".PP", "Keys of each repository's own git configuration:", *_tags(REPOSITORY_KEYS)]
    lines += [".SH JSON", *_paragraphs(JSON), ".SH SHELL COMPLETION"]
    for shell, line, file in COMPLETION:
        lines += [".TP", _plain(f"{shell}, in {file}"), ".EX", _plain(line), ".EE"]
    lines += [".SH FILES"]
    lines += _tags(
        [
            ("/srv/gitstate", "The site, unless `--site` or `GITSTATE_SITE` says otherwise."),
            ("/srv/gitstate/prototypes/NAME.git", "A prototype's repository."),
            ("/srv/gitstate/live/NAME", "Its live tree, unless it was adopted with --live."),
            ("/srv/gitstate/exports/NAME/COMMIT", "An export."),
            ("/srv/gitstate/site.toml", "The site's settings; `[boot]` says how machines boot."),
            ("/srv/gitstate/directory.git", "Which client runs what."),
            ("/srv/gitstate/tftp", "What boot loaders may read."),
            ("/srv/gitstate/secrets/HOST", "Secrets of one machine."),
            ("etc/gitstate/policy.toml", "In a prototype: what is recorded and what is refused."),
            ("policy.toml", "The same, in a layer's root."),
        ]
    )
    lines += [".SH SEE ALSO", ".BR git (1),", ".BR mtree (8),", ".BR mmdebstrap (1)"]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """Text that roff takes literally, a line that may begin with anything."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
    escaped = escaped.replace("'", "\\(aq").replace('"', "\\(dq").replace("~", "\\(ti").replace("^", "\\(ha")
    return f"\\&{escaped}" if escaped.startswith(".") else escaped


def _marked(text: str) -> str:
    """Markdown's code in bold; of a link only its text."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    parts = text.split("`")
    return "".join(f"\\fB{_plain(part)}\\fR" if place % 2 else _prose(part) for place, part in enumerate(parts))


def _prose(text: str) -> str:
    return text.replace("\\", "\\e").replace("…", "...")


def _paragraphs(texts: tuple[str, ...] | list[str]) -> Iterator[str]:
    for text in texts:
        yield from (".PP", _marked(text))


def _tags(rows: Rows) -> Iterator[str]:
    for key, text in rows:
        yield from (".TP", f"\\fB{_plain(key)}\\fR", _marked(text))


def made() -> dict[Path, str]:
    """What the files should hold."""
    return {REFERENCE: markdown(), MAN_PAGE: roff()}


def main() -> None:
    """Write both files, or say which is out of date."""
    stale = [path for path, text in made().items() if not path.exists() or path.read_text("utf-8") != text]
    for path in stale:
        if "--write" in sys.argv[1:]:
            path.write_text(made()[path], "utf-8")
        print(f"{'written' if '--write' in sys.argv[1:] else 'out of date'}: {path}")
    sys.exit(bool(stale) and "--write" not in sys.argv[1:])


if __name__ == "__main__":
    main()
