"""tag: names a snapshot."""

from __future__ import annotations

import click

from gitstate.cli.base.app import Session, command, complete_repository, complete_revision
from gitstate.cli.base.output import emit, suggest
from gitstate.core.errors import UsageError
from gitstate.release import tagging


@command(
    "gitstate tag desktop v1 -m 'for the kiosks'",
    "gitstate tag desktop lab3/2026-03 main~1 -m 'as of March'",
    writes=True,
)
@click.argument("repo", shell_complete=complete_repository)
@click.argument("name")
@click.argument("rev", required=False, shell_complete=complete_revision)
@click.option("-m", "--message", metavar="TEXT", help="What the snapshot is good for [the commit's first line].")
@click.option("--author", metavar="NAME", help="Author of the tag: 'Name <mail>'.")
@click.option("--sign", is_flag=True, help="Sign the tag with your key, as git tag -s does.")
def tag(
    session: Session, repo: str, name: str, rev: str | None, message: str | None, author: str | None, sign: bool
) -> None:
    """Name snapshot REV of REPO by the annotated tag NAME.

    REV is main by default. The tag's message holds the SHA-256 of the
    snapshot's manifest. A tag CHANNEL/VERSION requests a release.
    """
    if message is not None and not message.strip():
        raise UsageError("the message is empty", "without -m it is the first line of the commit's")
    planned = tagging.plan(session.opened, repo, name, rev or "main")
    who = session.author(author)
    if not session.dry_run:
        text = message or planned.repository.snapshot(planned.commit).subject
        tagging.apply(planned, text, who, session.observer, sign=sign)
    value = {
        "repository": repo,
        "tag": name,
        "commit": planned.commit.hex(),
        "channel": planned.channel,
        "dry_run": session.dry_run,
    }
    word = "would name" if session.dry_run else "names"
    emit(session, "tag/1", value, [f"{repo}: {name} {word} {planned.commit.hex()[:7]}"])
    if planned.channel and not session.dry_run:
        suggest(session, "next: gitstate reconcile releases it")
