"""Servers told of their new configuration: by systemd where it runs, else as well as can be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitstate.boot import files as publish
from gitstate.boot.files import services, state
from gitstate.boot.files.services import Outcome, ReloadResult
from gitstate.boot.render import ETC_FILES
from tests.boot.files.harness import Harness
from tests.support import needs, root_only

pytestmark = [root_only, needs("git")]

ETC = Path("/etc")
DNSMASQ = "etc/gitstate/dnsmasq.conf"
HOSTS = "etc/gitstate/dnsmasq.hosts"
NGINX = "etc/nginx/conf.d/gitstate.conf"
EXPORTS = "etc/exports.d/gitstate.exports"
UNIT = "etc/systemd/system/gitstate-dnsmasq.service"
GANESHA = "etc/gitstate/ganesha.conf"


class Machine:
    """Programs of the system's, which only write down how they are called, and fail if a file says so."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.log = place / "log"
        self.log.touch()
        (place / "bin").mkdir()
        for name in ("systemctl", "nginx", "exportfs"):
            program = place / "bin" / name
            program.write_text(
                f'#!/bin/sh\necho {name} "$@" >>{self.log}\n'
                f"if [ $1 = is-active ] && [ -e {place}/$2.stopped ]; then echo inactive; exit 3; fi\n"
                "if [ $1 = is-active ]; then echo active; fi\n"
                f"if [ -e {place}/{name}.fails ] && [ $1 != is-active ]; then echo 'it is broken' >&2; exit 1; fi\n"
            )
            program.chmod(0o755)

    def calls(self) -> list[str]:
        """How they were called since the last time, questions aside."""
        lines = self.log.read_text().splitlines()
        self.log.write_text("")
        return [line for line in lines if "is-active" not in line and "daemon-reload" not in line]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    place = tmp_path / "machine"
    place.mkdir()
    machine = Machine(place)
    monkeypatch.setenv("PATH", f"{place / 'bin'}:{os.environ['PATH']}")
    (place / "systemd").mkdir()
    monkeypatch.setattr(services, "SYSTEMD", place / "systemd")
    return machine


def outcomes(*paths: str) -> dict[str, str]:
    return {told.server: told.outcome.value for _, told in services.reload(paths, ETC)}


@pytest.mark.parametrize(
    ("paths", "calls"),
    [
        ([DNSMASQ], ["systemctl restart gitstate-dnsmasq"]),
        ([HOSTS], ["systemctl reload gitstate-dnsmasq"]),
        ([HOSTS, DNSMASQ], ["systemctl restart gitstate-dnsmasq"]),
        ([NGINX], ["systemctl reload nginx"]),
        ([EXPORTS], ["exportfs -ra"]),
        ([GANESHA], ["systemctl restart gitstate-ganesha"]),
        ([UNIT, DNSMASQ], ["systemctl restart gitstate-dnsmasq"]),
        ([], []),
        (["tftp/boot/boot.ipxe"], []),
    ],
)
def test_under_systemd(machine: Machine, paths: list[str], calls: list[str]) -> None:
    assert set(outcomes(*paths).values()) <= {"done"}
    assert machine.calls() == calls


def test_what_does_not_run_is_not_told(machine: Machine) -> None:
    (machine.place / "nginx.stopped").touch()
    assert outcomes(NGINX, DNSMASQ) == {"nginx": "not running", "dnsmasq": "done"}
    assert machine.calls() == ["systemctl restart gitstate-dnsmasq"]


def test_a_server_of_ours_that_does_not_run_is_started(machine: Machine) -> None:
    (machine.place / "gitstate-dnsmasq.stopped").touch()
    assert outcomes(UNIT, DNSMASQ) == {"dnsmasq": "done"}
    assert machine.calls() == ["systemctl enable --now gitstate-dnsmasq"]


def test_what_fails_is_named_and_the_others_are_told(machine: Machine) -> None:
    (machine.place / "exportfs.fails").touch()
    told = dict(services.reload([EXPORTS, NGINX], ETC))
    assert told[EXPORTS] == ReloadResult("nfs", ("exportfs", "-ra"), Outcome.FAILED, "exportfs: it is broken")
    assert told[NGINX].outcome is Outcome.DONE


def test_without_systemd(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """nginx and the kernel are told if they run; of the others it is said how."""
    (machine.place / "systemd").rmdir()
    told = {one.server: one for _, one in services.reload(ETC_FILES, ETC)}
    assert {one.outcome for one in told.values()} == {Outcome.BY_HAND}
    assert told["dnsmasq"].command == ("dnsmasq", "--conf-file=/etc/gitstate/dnsmasq.conf")
    assert told["ganesha"].command == ("pkill", "-HUP", "ganesha.nfsd")
    assert machine.calls() == []
    pid = machine.place / "nginx.pid"
    pid.write_text(f"{os.getpid()}\n")
    monkeypatch.setattr(services, "_NGINX_PID", pid)
    assert outcomes(NGINX) == {"nginx": "done"}
    assert machine.calls() == ["nginx -s reload"]
    pid.write_text("4194305\n")
    assert outcomes(NGINX) == {"nginx": "by hand"}


def test_every_file_of_a_server_has_a_reader() -> None:
    assert [path for path in ETC_FILES if not services.servers([path])] == []
    assert services.servers(ETC_FILES) == ["dnsmasq", "ganesha", "nfs", "nginx"]


# --- after writing ----------------------------------------------------------------------------------------------------


def test_only_who_reads_what_changed_is_told(harness: Harness, machine: Machine) -> None:
    publish.reload(harness.write())
    assert sorted(machine.calls()) == [
        *("exportfs -ra", "systemctl reload nginx", "systemctl restart gitstate-dnsmasq"),
    ]
    harness.add("one", 1, "desktop@two")
    assert publish.reload(harness.write()) == []
    harness.configure(http_port=8080)
    assert [one.server for one in publish.reload(harness.write())] == ["nginx"]
    assert machine.calls() == ["systemctl reload nginx"]


def test_a_push_never_tells_the_nfs_server(harness: Harness, machine: Machine) -> None:
    for nfs in ("kernel", "ganesha"):
        harness.configure(nfs=nfs)
        publish.reload(harness.write())
        machine.calls()
        (harness.live / "pushed").write_text(nfs)
        harness.add("one", 1, f"desktop@{harness.check_in()}")
        plan = harness.write()
        assert plan.exports
        assert publish.reload(plan) == []
        assert machine.calls() == []


def test_who_was_not_told_is_remembered(harness: Harness, machine: Machine) -> None:
    """Until somebody tells them, in whatever run."""
    harness.write()
    assert harness.write().pending == {UNIT, DNSMASQ, NGINX, EXPORTS}
    (machine.place / "exportfs.fails").touch()
    plan = harness.write()
    assert not plan
    assert {one.server: one.outcome.value for one in publish.reload(plan)} == {
        "dnsmasq": "done",
        "nfs": "failed",
        "nginx": "done",
    }
    assert state.load(harness.site.path).pending == {EXPORTS}
    (machine.place / "exportfs.fails").unlink()
    assert [one.server for one in publish.reload(harness.write())] == ["nfs"]
    assert harness.write().pending == frozenset()
    assert publish.reload(harness.write()) == []
