"""Layers are rendered for the machines that a change concerns, once, whether or not machines boot from the site."""

from __future__ import annotations

import itertools
import json
import stat
from collections.abc import Iterator

import pytest

from gitstate.core.monitor import SILENT
from gitstate.core.signature import Signature
from gitstate.machine.archives.maker import Maker
from gitstate.release import push
from gitstate.release.opened import OpenedSite
from tests.release.harness import Harness
from tests.support import needs, root_only

pytestmark = [root_only, needs("git")]

WHO = Signature("Ada <ada@example.org>", 1_700_000_000, "+0000")
ISSUE = "{% if host == 'lab3-13' and workload is defined %}{{ printer }}{% endif %}\n"
_NUMBERS = itertools.count()


@pytest.fixture(params=["archives", "none"])
def site(boots: Harness, request: pytest.FixtureRequest) -> Harness:
    """Three machines of a channel that runs a layer, in a site from which they boot, or don't; a layer of one's own."""
    if request.param == "none":
        settings = boots.site / "site.toml"
        settings.write_text(settings.read_text().partition("\n[boot]\n")[0])
    live = boots.layer("lab/lab3")
    (live / "etc/issue.j2").write_text(ISSUE)
    boots("checkin", "lab/lab3", "-m", "issue")
    boots("client", "add", "lab3-[13-14]", "--channel", "lab3")
    boots("push", "desktop", "lab3", "--yes")
    boots.layer("host/lab3-14")
    boots("push", "host/lab3-14", "lab3", "--yes")
    return boots


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The machines that are rendered from now on, in this process, each as often as it is."""
    found: list[str] = []
    content = Maker.content

    def counted(maker: Maker, host: str) -> Iterator[bytes]:
        found.append(host)
        return content(maker, host)

    monkeypatch.setattr(Maker, "content", counted)
    return found


def _edited(harness: Harness, repository: str) -> str:
    harness.edit(repository, f"{repository} {next(_NUMBERS)}\n")
    return repository


def planned(harness: Harness, repository: str) -> push.Push:
    return push.plan(OpenedSite.open(harness.site), repository, "lab3", None, None, WHO, SILENT)


def pushes(harness: Harness, repository: str) -> push.Pushed:
    pushed = push.apply(planned(harness, repository), "pushed", (WHO, WHO), SILENT)
    assert pushed.made
    assert not pushed.problems
    return pushed


@pytest.mark.slow
def test_of_a_thousand_machines_one_is_rendered_and_once(site: Harness, rendered: list[str]) -> None:
    site("client", "add", "lab3-[0015-1011]", "--channel", "lab3")
    pushes(site, _edited(site, "lab/lab3"))
    assert len(rendered) == len(set(rendered)) == 1000
    rendered.clear()
    plan = planned(site, _edited(site, "host/lab3-14"))
    assert push.preview(plan, SILENT) == 1
    assert rendered == ["lab3-14"]
    rendered.clear()
    push.apply(plan, "pushed", (WHO, WHO), SILENT)
    assert rendered == ["lab3-14"]


def test_whoever_a_change_concerns_is_rendered(site: Harness, rendered: list[str]) -> None:
    boots = (site.site / "tftp/archives").exists()
    site("client", "add", "lab3-15", "--channel", "lab3")
    site("client", "set", "lab3-12", "--workload", "kiosk")
    pushes(site, _edited(site, "host/lab3-14"))
    assert sorted(rendered) == (["lab3-14"] if boots else ["lab3-12", "lab3-14", "lab3-15"]), "others were at once"
    rendered.clear()
    site("client", "remove", "lab3-15")
    pushes(site, _edited(site, "host/lab3-14"))
    assert rendered == ["lab3-14"]
    rendered.clear()
    site("rollback", "lab3", "1")
    pushes(site, "host/lab3-14")
    assert rendered == ["lab3-14"]
    rendered.clear()
    site.edit("desktop", "new\n", "srv/plain")
    pushes(site, "desktop")
    assert sorted(rendered) == ["lab3-12", "lab3-13", "lab3-14"]


def test_what_was_rendered_is_root_s_alone_and_lost_without_harm(site: Harness, rendered: list[str]) -> None:
    state = site.site / "site.git/gitstate/rendered"
    if (site.site / "tftp/archives").exists():
        assert not state.exists(), "it stands beside the archives"
        return
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    state.write_bytes(state.read_bytes()[:-9])
    pushes(site, _edited(site, "host/lab3-14"))
    assert sorted(rendered) == ["lab3-12", "lab3-13", "lab3-14"]
    site("channel", "create", "lab4", "--prototype", "desktop")
    site("client", "add", "lab4-1", "--channel", "lab4")
    site("push", "desktop", "lab4", "--yes")
    assert json.loads(state.read_bytes().partition(b"\n")[2]).keys() == {"lab3", "lab4"}
    site("client", "remove", "lab4-1")
    site("channel", "remove", "lab4", "--yes")
    pushes(site, _edited(site, "host/lab3-14"))
    assert json.loads(state.read_bytes().partition(b"\n")[2]).keys() == {"lab3"}


# --- errors -----------------------------------------------------------------------------------------------------------


def test_an_error_stops_the_push_before_there_is_a_tag(site: Harness) -> None:
    release = site.releases("rev-parse", "lab3")

    def check(repository: str, said: str) -> None:
        for way in ("-n", "--yes", "--yes"):
            assert said in site.fails(7, "push", repository, "lab3", way)
        assert not site.git(repository, "tag", "--list", "lab3/3")
        assert site.releases("rev-parse", "lab3") == release

    site.edit("lab/lab3", "{% if host == 'lab3-13' %}{{ printer }}{% endif %}\n", "etc/issue.j2")
    check("lab/lab3", "lab3-13: lab/lab3")
    site.edit("host/lab3-14", "no account\n", "etc/passwd.merge")
    check("host/lab3-14", "etc/passwd.merge")
    secret = site.site / "secrets/lab3-12/etc/key"
    secret.parent.mkdir(mode=0o700, parents=True)
    secret.write_text("x\n")
    secret.chmod(0o666)
    check("host/lab3-14", "etc/key has mode 0666")
    secret.unlink()
    site("class", "set", "nvidia", "10de:*:03")
    (site.layer("class/nvidia") / "etc/xorg.conf.j2").write_text("{{ printer }}\n")
    site("checkin", "class/nvidia", "-m", "wrong")
    check("class/nvidia", "etc/xorg.conf.j2, line 1: 'printer' is undefined")


def test_a_client_s_change_that_a_template_does_not_bear_stops_the_next_push(site: Harness) -> None:
    change = ("client", "set", "lab3-13", "--workload", "kiosk")
    if (site.site / "tftp/archives").exists():
        site.fails(7, *change)
        return
    site(*change)
    _edited(site, "host/lab3-14")
    for _ in range(2):
        assert "etc/issue.j2, line 1: 'printer' is undefined" in site.fails(7, "push", "host/lab3-14", "lab3", "--yes")
    assert not site.git("host/lab3-14", "tag", "--list", "lab3/3")
    site("client", "set", "lab3-13", "--no-workload")
    site("push", "host/lab3-14", "lab3", "--yes")
