"""The schema for servers with cn=config: the same as the other, and a real slapd takes it."""

from __future__ import annotations

import subprocess

import ldap

from tests.directory.harness import entry_of_machine
from tests.directory.olc import TARGET, olc
from tests.lab.ldap import PASSWORD, SUFFIX, ldap_server
from tests.support import needs


def test_it_is_made_of_the_schema() -> None:
    assert TARGET.read_text("utf-8") == olc(), "python -m tests.directory.olc writes it anew"


@needs("slapd", "ldapadd")
def test_a_running_server_takes_it() -> None:
    """As docs/directory.md says, but for who we are: here a password of cn=config."""
    with ldap_server(schema=False, head=["database config", f"rootpw {PASSWORD}"]) as server:
        words = ["ldapadd", "-x", "-H", server.ldapi, "-D", "cn=config", "-w", PASSWORD, "-f", str(TARGET)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        connection = server.connect()
        dn = f"cn=lab3-01,{SUFFIX}"
        connection.add_s(dn, entry_of_machine())
        assert connection.compare_s(dn, "gitstateKind", b"DISKLESS")
        assert connection.search_s(SUFFIX, ldap.SCOPE_SUBTREE, "(gitstatePin=desktop@v1)")
        connection.unbind_s()
