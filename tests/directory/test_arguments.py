"""Words that would mean something to LDAP, in every argument of every command: refused, and nothing comes of them."""

from __future__ import annotations

from pathlib import Path

from tests.directory.harness import Place, machines
from tests.fork_server import ForkServer
from tests.support import needs, root_only

pytestmark = [root_only, needs("git", "slapd")]

WORDS = ("*", "lab3-01)(cn=*", "x)(|(objectClass=*", "cn=lab3-01,ou=clients", "\\2a", "lab3-0\x1b[31m1")
VALUES = ("--mac", "--ip", "--kind", "--channel", "--pin", "--workload")
COMMANDS = (
    *(("client", "add", "new", option, "WORD") for option in (*VALUES, "--layer", "--state")),
    *(("client", "set", "lab3-01", option, "WORD") for option in (*VALUES, "--layer", "--state")),
    *(("client", "list", option, "WORD") for option in (*VALUES, "--prototype", "--class")),
    *(("client", verb, "WORD") for verb in ("add", "show", "remove")),
    *(("client", verb, "@WORD") for verb in ("add", "list", "remove")),
    ("client", "set", "WORD", "--workload", "kiosk"),
    ("client", "set", "@WORD", "--workload", "kiosk"),
    ("client", "adopt", "WORD", "lab3-01", "--force"),
    ("client", "adopt", "52:54:00:00:00:99", "WORD", "--force"),
    ("channel", "create", "WORD", "--prototype", "desktop"),
    ("channel", "create", "lab4", "--prototype", "WORD"),
    ("channel", "show", "WORD"),
    ("channel", "remove", "WORD", "--yes"),
    ("push", "WORD", "lab3", "--yes"),
    ("push", "desktop", "WORD", "--yes"),
    ("push", "desktop", "lab3", "--from", "WORD", "--yes"),
    ("rollback", "WORD"),
    ("rollback", "lab3", "WORD"),
)


def test_they_are_values_or_refused(place: Place, fork_server: ForkServer, tmp_path: Path) -> None:
    def run(*words: str) -> tuple[int, str, str]:
        code, out, errors = fork_server.run(["--site", str(place.site.path), *words], tmp_path)
        return code, out, errors

    for words in (("prototype", "create", "desktop"), ("checkin", "desktop", "-m", "x")):
        assert run(*words)[0] == 0
    assert run("channel", "create", "lab3", "--prototype", "desktop")[0] == 0
    place.put(*machines(3))
    before = run("directory", "export")
    for command in COMMANDS:
        for hostile in WORDS:
            words = [part.replace("WORD", hostile) for part in command]
            code, out, errors = run(*words)
            assert (code, out) in ((2, ""), (10, "")), (words, code, out, errors)
            assert len(errors.splitlines()) == 2, errors
            assert "\x1b" not in errors
    for hostile in ("*", "x)(|(objectClass=*", "o=x\nobjectClass: top", "o=x,"):
        code, out, errors = run("directory", "export", "--base", hostile)
        assert (code, out, len(errors.splitlines())) == (2, "", 2), hostile
    for hostile in WORDS[1:-1]:
        assert run("client", "list", "-z", hostile) == (0, "", ""), hostile
    assert run("directory", "export") == before
    assert run("directory", "check")[0] == 0
