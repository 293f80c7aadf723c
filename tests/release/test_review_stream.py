"""What a machine sends is not believed: each of these is refused, and nothing is recorded."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from tests.fork_server import ForkServer
from tests.release.harness import Harness, begin
from tests.release.sshd import serving
from tests.support import needs, root_only

HOST = "lab3-12"
MESSAGE = r"a\033\012\012Gitstate-Allow:\040etc/shadow\040because\040x"
EMPTY = hashlib.sha256(b"").hexdigest()


@pytest.fixture
def site(harness: Harness) -> Harness:
    harness("client", "add", HOST, "--mac", "52:54:00:12:34:56", "--channel", "lab3")
    return harness


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory, fork_server: ForkServer) -> Harness:
    """A site that is shared by all that record nothing in it."""
    harness = begin(tmp_path_factory.mktemp("untouched"), fork_server)
    harness.prototype("desktop")
    harness("client", "add", HOST, "--mac", "52:54:00:12:34:56")
    return harness


def entry(path: str, data: bytes = b"x\n", kind: str = "f", mode: str = "0644", what: str | None = None) -> str:
    """A line of the list."""
    digest = hashlib.sha256(data).hexdigest() if kind == "f" else "-"
    return f"entry {len(data)} 1700000000.123456789 1:1:1 {kind} {mode} 0 0 {what or digest} {path}"


def stream(site: Harness, *lines: str, data: bytes = b"", snapshot: str | None = None, **words: str) -> bytes:
    head = {"snapshot": snapshot or f"desktop@{site.head('desktop')}", "user": "ada", "time": "1700000000"} | words
    text = ["gitstate-checkin 1", *(f"{key} {value}" for key, value in head.items()), *lines, "end", ""]
    return "\n".join(text).encode() + data


def receive(site: Harness, sent: bytes, host: str = HOST, code: int = 0) -> str:
    file = site.place / "sent"
    file.write_bytes(sent)
    said = site.run("review", "receive", host, str(file), code=code)
    return said.out + said.err


def nothing_recorded(site: Harness) -> None:
    for name in ("desktop",):
        assert site.git(name, "for-each-ref", "refs/heads/checkin/") == ""
        assert list((site.repository(name) / "gitstate").glob("scratch-*")) == []
        assert site.git(name, "fsck", "--strict", "--unreachable") == ""


def test_a_good_one(site: Harness) -> None:
    said = receive(site, stream(site, entry("etc/motd"), data=b"x\n", message="hello", name=r"Ada\040L"))
    assert "desktop: 1 change over" in said
    assert "the clock of lab3-12 is" in said
    (review,) = site.git("desktop", "branch", "--list", "checkin/*", "--format=%(refname:short)").split()
    assert site.git("desktop", "log", "-1", "--format=%an <%ae> %s", review) == "Ada L <ada@lab3-12> hello"
    assert not review.endswith("/20231114T221320Z"), "the server's clock names it"
    assert site.git("desktop", "show", f"{review}:etc/motd") == "x"


BAD = [
    pytest.param([entry("../etc/passwd")], b"x\n", 4, "leads out", id="out"),
    pytest.param([entry("/etc/passwd")], b"x\n", 4, "leads out", id="absolute"),
    pytest.param([entry(r"etc/\056\056/x")], b"x\n", 4, "leads out", id="octal"),
    pytest.param([entry("etc//x")], b"x\n", 2, "no path", id="empty name"),
    pytest.param([entry("./x")], b"x\n", 2, "no path", id="dot"),
    pytest.param([entry(r"a\000b")], b"x\n", 2, "no path", id="nul"),
    pytest.param([entry("a" * 256)], b"x\n", 2, "too long", id="long name"),
    pytest.param([entry("a/" * 300 + "b")], b"x\n", 2, "too long", id="deep"),
    pytest.param([entry("dev/sda", b"", "b", "0660", "8:0")], b"", 4, "block device 8:0", id="disk"),
    pytest.param([entry("dev/mem", b"", "c", "0660", "1:1")], b"", 4, "character device 1:1", id="memory"),
    pytest.param([entry("etc/gone", b"", "c", "0000", "0:0")], b"", 4, "character device 0:0", id="whiteout"),
    pytest.param([entry("l", b"", "l", "0777", "etc"), entry("l/x")], b"x\n", 4, "no directory", id="below a link"),
    pytest.param(["removed etc", entry("etc/x")], b"x\n", 4, "no directory", id="below removed"),
    pytest.param([entry("x"), entry("x")], b"x\nx\n", 2, "twice", id="twice"),
    pytest.param([entry("x"), "removed x"], b"x\n", 2, "both removed and there", id="both"),
    pytest.param([entry("x")], b"y\n", 6, "changed while it was sent", id="digest"),
    pytest.param([entry("x")], b"x", 6, "the connection broke", id="short"),
    pytest.param([entry("x")], b"x\n\n", 6, "more than the list says", id="long"),
    pytest.param([entry("x", mode="9999")], b"x\n", 2, "wrong", id="mode"),
    pytest.param([entry("x", mode="77777")], b"x\n", 2, "too large", id="large mode"),
    pytest.param([entry("x", kind="s")], b"", 2, "no kind", id="socket"),
    pytest.param([entry("x", kind="l", what=r"a\000b")], b"", 14, "NUL", id="target"),
    pytest.param(["entry 99999999999 1 1:1:1 f 0644 0 0 " + EMPTY + " x"], b"", 2, "too large", id="size"),
    pytest.param([entry("x", b""), "xattr x security.ima=0sAAAA"], b"", 2, "attributes", id="xattr"),
    pytest.param([entry("x", b""), "xattr x security.capability=0s!"], b"", 2, "base64", id="base64"),
    pytest.param(["layer lab/lab9 " + "ab" * 20], b"", 10, "doesn't have", id="layer"),
    pytest.param(["layer ../../x " + "ab" * 20], b"", 2, "", id="layer path"),
    pytest.param(["something else"], b"", 2, "unknown", id="word"),
    pytest.param(["layer desktop " + "ab" * 20], b"", 2, "no layer", id="prototype as layer"),
    pytest.param(["removed x"] * 500_001, b"", 2, "more than 500,000 lines", id="lines"),
    pytest.param(["time " + "9" * 4000], b"", 2, "message or time", id="time"),
    pytest.param([entry("x", b""), "xattr x security.capability=0sAAAA"], b"", 14, "capabilities", id="capability"),
    pytest.param([entry("x", b""), "xattr x system.posix_acl_default=0sAAAA"], b"", 14, "directory", id="acl"),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "data", "code", "what"), BAD)
def test_refused(untouched: Harness, lines: list[str], data: bytes, code: int, what: str) -> None:
    said = receive(untouched, stream(untouched, *lines, data=data), code=code)
    assert what in said
    nothing_recorded(untouched)


def test_what_the_server_does_not_have(site: Harness) -> None:
    assert "runs what this server doesn't have" in receive(site, stream(site, snapshot=f"desktop@{'ab' * 20}"), code=10)
    receive(site, stream(site, snapshot=f"other@{'ab' * 20}"), code=10)
    receive(site, stream(site, snapshot="desktop@main"), code=2)
    assert "no client nobody" in receive(site, stream(site), "nobody", code=10)
    receive(site, b"", code=2)
    receive(site, b"gitstate-checkin 2\n", code=2)
    receive(site, b"gitstate-checkin 1\nuser x\n", code=6)
    receive(site, b"gitstate-checkin 1\n" + b"x" * (200 << 10), code=2)
    nothing_recorded(site)


def test_an_author_is_no_more_than_a_name(site: Harness) -> None:
    receive(site, stream(site, entry("x"), data=b"x\n", user=r"a\076\012b", name=r"\074x\076\012y", message=MESSAGE))
    review = site.git("desktop", "branch", "--list", "checkin/*", "--format=%(refname:short)")
    assert site.git("desktop", "log", "-1", "--format=%an|%ae", review) == "xy|root@lab3-12"
    assert "Gitstate-Allow" not in site.git("desktop", "log", "-1", "--format=%B", review)
    site("review", "drop", review)
    receive(site, stream(site, entry("x"), data=b"x\n", message=r"\040" + MESSAGE.partition(r"\012\012")[2]))
    review = site.git("desktop", "branch", "--list", "checkin/*", "--format=%(refname:short)")
    assert "Gitstate-Allow" not in site.git("desktop", "log", "-1", "--format=%B", review)


def waiting(site: Harness, repository: str = "desktop") -> dict[str, str]:
    """Commits of reviews by their names."""
    lines = site.git(repository, "for-each-ref", "--format=%(refname:short) %(objectname)", "refs/heads/checkin/")
    return dict(line.split() for line in lines.splitlines())


def test_no_review_stands_on_another(site: Harness) -> None:
    receive(site, stream(site, entry("usr/bin/x", mode="4755"), data=b"x\n"))
    ((name, commit),) = waiting(site).items()
    second = stream(site, entry("etc/motd"), data=b"x\n", snapshot=f"desktop@{commit}")
    assert "in no branch and no tag" in receive(site, second, code=10)
    site("review", "drop", name)
    receive(site, second, code=10)
    assert waiting(site) == {}


def test_reviews_of_one_second_have_names_of_their_own(site: Harness) -> None:
    (site.layer("lab/lab3") / "etc/cups.conf").write_text("3\n")
    site("checkin", "lab/lab3", "-m", "files")
    layer = f"layer lab/lab3 {site.head('lab/lab3')}"
    receive(site, stream(site, entry("etc/motd"), data=b"x\n"))
    (name,) = waiting(site)
    for second in range(1, 4):
        taken = f"{name[:-3]}{(int(name[-3:-1]) + second) % 60:02}Z"
        if taken not in waiting(site):
            site.git("desktop", "branch", taken, name)
    receive(site, stream(site, layer, entry("etc/cups.conf"), data=b"x\n"))
    assert not waiting(site, "lab/lab3").keys() & waiting(site).keys()


def test_a_machine_cannot_fill_the_server(site: Harness) -> None:
    for number in range(100):
        site.git("desktop", "branch", f"checkin/{HOST}/20250312T14{number // 60:02}{number % 60:02}Z")
    said = receive(site, stream(site, entry("etc/motd"), data=b"x\n"), code=4)
    assert "100 reviews of lab3-12 wait already" in said


def test_an_account_file_fits_into_memory(site: Harness) -> None:
    layer = site.layer("lab/lab3")
    (site.site / "live/desktop/etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    site("checkin", "desktop", "-m", "accounts")
    (layer / "etc/passwd.merge").write_text("lab:x:900:900::/:/bin/sh\n")
    site("checkin", "lab/lab3", "-m", "accounts")
    words = f"layer lab/lab3 {site.head('lab/lab3')}"
    data = b"a:x:1:1::/:/bin/sh\n" * (1 << 20)
    assert "16 MiB" in receive(site, stream(site, words, entry("etc/passwd", data), data=data), code=4)
    assert waiting(site) == {}


def test_a_secret_where_the_state_local_has_it(site: Harness) -> None:
    secret = site.site / "secrets/lab3-12/etc/wifi"
    for place in (secret.parent.parent, secret.parent):
        place.mkdir(mode=0o700, parents=True)
    (site.site / "secrets").chmod(0o700)
    secret.write_text("x\n")
    secret.chmod(0o600)
    for path in ("etc/wifi", "etc/local/wifi"):
        assert "is a secret of this machine" in receive(site, stream(site, entry(path), data=b"x\n"), code=4)


def test_what_is_shown_moves_no_cursor(site: Harness) -> None:
    data = b"\tone\n\x1b[2K\x1b[8mhidden\r\n\xc2\x9b31m\xff\n"
    receive(site, stream(site, entry("etc/motd", data), data=data, message=r"a\033b"))
    (name,) = waiting(site)
    shown = site("review", "show", name)
    assert "+\tone\n" in shown
    assert r"+\033[2K\033[8mhidden\015" in shown
    assert r"+\302\23331m\377" in shown
    assert "\x1b" not in shown + site("review", "list")


def test_what_gives_rights_is_told_before_it_is_merged(site: Harness) -> None:
    capability = "xattr usr/bin/y security.capability=0sAQAAAgAgAAAAAAAAAAAAAAAAAAA="
    lines = [
        entry("dev/null", b"", "c", "0666", "1:3"),
        entry("etc/motd", mode="0755"),
        entry("usr/bin/x", mode="4755"),
    ]
    receive(site, stream(site, *lines, entry("usr/bin/y", mode="2755"), capability, data=b"x\n" * 3))
    (name,) = waiting(site)
    for words in (("show", name), ("merge", name, "-n"), ("merge", name)):
        assert site.run("review", *words).err.splitlines()[:3] == [
            "note: /dev/null of desktop: a device",
            "note: /usr/bin/x of desktop: setuid",
            "note: /usr/bin/y of desktop: setgid, capabilities",
        ]


def test_a_directory_above_brings_its_time_alone(site: Harness) -> None:
    (site.site / "live/desktop/etc").chmod(0o700)
    site("checkin", "desktop", "-m", "private")
    receive(site, stream(site, "above 0 1700000000.500000000 2:1:1 d 0777 7 8 - etc", entry("etc/motd"), data=b"x\n"))
    (name,) = waiting(site)
    assert "M  etc" not in site("review", "show", name)
    site("review", "drop", name)
    receive(site, stream(site, "entry 0 1700000000.500000000 2:1:1 d 0777 7 8 - etc", entry("etc/motd"), data=b"x\n"))
    (name,) = waiting(site)
    assert "M  etc" in site("review", "show", name)


@pytest.mark.parametrize("path", ["etc/x.j2", "etc/passwd.merge", "etc/.wh.shadow"])
def test_no_file_of_a_machine_becomes_a_layers_template(site: Harness, path: str) -> None:
    site.layer("lab/lab3")
    receive(site, stream(site, entry(path), data=b"x\n"))
    (name,) = waiting(site)
    assert "in a layer, such a name is no file's" in site.fails(12, "review", "merge", name, "--to", "lab/lab3")
    site("review", "merge", name)


def test_branches_that_are_no_reviews(site: Harness) -> None:
    for name in ("lab3-12/20259999T999999Z", "-x/20250312T140900Z", "lab3-12/x"):
        site.git("desktop", "update-ref", f"refs/heads/checkin/{name}", "main")
    assert site.json("review", "list")["reviews"] == []


@root_only
@needs("sshd", "sudo", "ssh", "unshare")
def test_by_ssh_with_a_key_of_machines(site: Harness) -> None:
    sent = stream(site, entry("etc/motd", b"y" * 3_000_000), data=b"y" * 3_000_000)
    with serving(site.place / "ssh", site.site, "--machine") as server:
        assert server.ssh("git-upload-pack 'desktop'").returncode == 2
        assert server.ssh(f"checkin {HOST}", sent[: len(sent) // 2]).returncode == 6
        nothing_recorded(site)
        words = [*server.environment["GIT_SSH_COMMAND"].split(), "pusher@127.0.0.1", f"checkin {HOST}"]
        with subprocess.Popen(words, stdin=subprocess.PIPE, env=dict(os.environ), start_new_session=True) as client:
            os.write(client.stdin.fileno(), sent[:1_000])  # type: ignore[union-attr]
            client.kill()
        done = server.ssh(f"checkin {HOST}", sent)
        assert (done.returncode, "desktop: 1 change over" in done.stdout) == (0, True), done
    assert len(site.git("desktop", "for-each-ref", "refs/heads/checkin/").splitlines()) == 1


def test_a_large_file_is_never_in_memory_as_a_whole(site: Harness, tmp_path: Path) -> None:
    data = os.urandom(1 << 20) * 40
    receive(site, stream(site, entry("srv/big", data), data=data))
    review = site.git("desktop", "branch", "--list", "checkin/*", "--format=%(refname:short)")
    assert site.git("desktop", "cat-file", "-s", f"{review}:srv/big") == str(len(data))
