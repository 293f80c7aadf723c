"""serve and hook: what ssh and git call, not people."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from gitstate.cli.base.app import Session, command
from gitstate.core import process, settings
from gitstate.core.errors import GitstateError, HostError, UsageError
from gitstate.core.names import display
from gitstate.core.wording import counted, some_of
from gitstate.release import reconcile as reconciling
from gitstate.release.gate import guard
from gitstate.release.gate import serve as serving
from gitstate.release.gate.serve import Accepts
from gitstate.release.models import Name


@command(
    'command="sudo -n /usr/local/bin/gitstate serve",restrict ssh-ed25519 AAAA… ada',
    'command="sudo -n /usr/local/bin/gitstate serve --machine",restrict ssh-ed25519 AAAA… lab3',
    hidden=True,
)
@click.option("--report-only", is_flag=True, help="Accept machines' hardware reports, and nothing else.")
@click.option("--machine", is_flag=True, help="Accept machines' reports and check-ins, and nothing else.")
def serve(session: Session, report_only: bool, machine: bool) -> int:
    """Serve a push, a fetch or what a machine says over ssh: the forced command of a key.

    Only the name of one of the site's repositories is taken from the other
    side. A push waits for its release and reports the result. What a machine
    says comes on standard input: its hardware, as gitstate probe prints it
    (report HOST), or edits that were made on it (checkin HOST).
    """
    if report_only and machine:
        raise UsageError("--report-only and --machine exclude each other", "choose one")
    accepts = Accepts.REPORTS if report_only else Accepts.MACHINE if machine else Accepts.ALL
    service = serving.parse(session.opened.site, session.settings.ssh_command, accepts)
    if isinstance(service, serving.CheckIn) and service.is_live:
        return _check_in_live(session, service.host)
    if isinstance(service, serving.CheckIn):
        from gitstate.cli.release.review import receive_checkin

        receive_checkin(session, service.host, sys.stdin.buffer)
        return 0
    if isinstance(service, serving.Report):
        from gitstate.cli.client import report as client_report

        return client_report.receive_report(session, service.host)
    before = serving.tags_of(session.opened.reopened(), service.repository) if service.writes else {}
    name, _, mail = settings.caller().rpartition(" <")  # for the reflog: who came, whatever commits say
    code = process.show(service.argv, variables={"GIT_COMMITTER_NAME": name, "GIT_COMMITTER_EMAIL": mail.rstrip(">")})
    if service.writes and not code:
        after = serving.tags_of(session.opened.reopened(), service.repository)
        pushed = {name: oid for name, oid in after.items() if before.get(name) != oid}
        if pushed:
            return _publish(session, service.repository, pushed)
    return code


def _check_in_live(session: Session, host: str) -> int:
    """Check in the live tree that a machine boots, and tell it; as ``checkin``, 3 for what couldn't be read."""
    from gitstate.release.review import live

    name, result = live.record(session.opened, host, sys.stdin.buffer, settings.committer(), session.observer)
    changes = counted(sum(not one.is_time_only for one in result.status.changes), "change")
    print(f"{name} {result.commit.hex()[:7]}  {changes}" if result.commit else f"{name}: nothing changed")
    if left := result.status.findings.unrecorded:
        _print(f"not recorded: {some_of([f'/{display(path)} ({why})' for path, why in sorted(left)])}")
    return 3 if left else 0


def _publish(session: Session, repository: str, pushed: dict[Name, bytes]) -> int:
    """Publish what was pushed and say on the pusher's terminal how it went; 0 if all is released."""
    from gitstate.cli.release.reconcile import result_lines

    result = reconciling.reconcile(session.opened.reopened(), settings.committer(), session.observer)
    for line in result_lines(result):
        _print(line)
    code = 0
    names = {str(name) for name in pushed} | {name.channel for name in pushed}
    for problem in result.problems:
        if problem.what in names:
            _print(problem.message)
            _print(f"  {problem.error.hint}")
            code = problem.error.code
    if not code and (waiting := serving.not_released(session.opened.reopened(), repository, pushed)):
        _print(f"not released: {', '.join(str(one.name) for one in waiting)}")
        code = 3
    return code


def _print(line: str) -> None:
    print(f"gitstate: {line}", file=sys.stderr)


@command("gitstate hook reference-transaction", hidden=True)
@click.argument("name", type=click.Choice(["reference-transaction", "pre-receive"]))
@click.argument("objects", required=False, type=click.Path(path_type=Path))
def hook(session: Session, name: str, objects: Path | None) -> None:
    """Refuse what git's hooks shall refuse.

    git runs it in the repository, with the refs on standard input.
    """
    process.end_with_reader(sys.stderr.fileno(), b"gitstate: still looking at what is pushed\n")
    here = Path.cwd()
    transaction = list(guard.updates(line.decode("utf-8", "surrogateescape") for line in sys.stdin.buffer))
    try:
        if name == "pre-receive":
            guard.check_push(session.opened.site, here, transaction, _quarantine(here, objects), session.observer)
        else:
            guard.check_tags(session.opened, here, transaction, session.observer)
    except PermissionError as error:
        raise HostError(f"{error.filename}: {error.strerror}", "push by ssh, or as root") from None


def _quarantine(repository: Path, objects: Path | None) -> Path | None:
    """Where git keeps what is being pushed. Raises GitstateError unless that is in the repository."""
    if objects is None or not str(objects) or str(objects) == ".":
        return None
    place = objects.resolve()
    if not place.is_relative_to((repository / "objects").resolve()):
        raise GitstateError(f"{objects} is outside the repository's objects", "only git's hooks call this command")
    return place
