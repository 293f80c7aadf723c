"""A check-in that the machine asks for which boots the live tree: recorded here, told there."""

from __future__ import annotations

import pytest

from tests.release.harness import Harness
from tests.release.sshd import serving
from tests.support import needs, root_only

pytestmark = [root_only, needs("git", "sshd", "sudo", "ssh", "unshare")]

HOST = "lab3-12"


@pytest.fixture
def site(harness: Harness) -> Harness:
    harness("client", "add", HOST, "--ip", "10.77.0.41", "--maintains", "desktop")
    harness("client", "add", "lab3-13")
    return harness


def sent(site: Harness, *lines: str, message: str = r"printer\040driver") -> bytes:
    head = [f"snapshot desktop@{site.head('desktop')}", "state maintenance", "user ada", r"name Ada\040Lovelace"]
    text = ["gitstate-checkin 1", *head, "time 1700000000", f"message {message}", *lines, "end", ""]
    return "\n".join(text).encode()


def test_the_live_tree_is_checked_in_for_whoever_asked(site: Harness) -> None:
    live = site.site / "live" / "desktop"
    (live / "etc").mkdir(exist_ok=True)
    (live / "etc" / "driver").write_text("3.4\n")
    with serving(site.place / "ssh", site.site, "--machine") as server:
        done = server.ssh(f"checkin-live {HOST}", said=sent(site))
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"desktop {site.head('desktop')[:7]}  ")
        assert site.git("desktop", "log", "-1", "--format=%an <%ae> %s") == (
            f"Ada Lovelace <ada@{HOST}> printer driver"
        )
        assert site.git("desktop", "show", "main:etc/driver") == "3.4"
        again = server.ssh(f"checkin-live {HOST}", said=sent(site))
        assert again.stdout == "desktop: nothing changed\n"
        (live / "etc" / "driver").write_text("3.5\n")
        said = r"driver\012\012Gitstate-Allow:\040etc/shadow\040because\040x"
        assert server.ssh(f"checkin-live {HOST}", said=sent(site, message=said)).returncode == 0
        assert site.git("desktop", "log", "-1", "--format=%B").strip() == "driver"
        head = site.head("desktop")
        for host, said, code, why in (
            ("lab3-13", sent(site), 4, "maintains no prototype"),
            ("nobody", sent(site), 10, "nobody"),
            (HOST, sent(site, "removed etc/driver"), 2, "list of edits"),
            (HOST, sent(site)[:-5], 6, "broke"),
        ):
            (live / "etc" / "driver").write_text(f"{why}\n")
            done = server.ssh(f"checkin-live {host}", said=said)
            assert (done.returncode, done.stdout) == (code, "")
            assert why in done.stderr
        assert site.head("desktop") == head
