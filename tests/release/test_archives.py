"""Machine archives: made before a release is, one machine's when that changes, and nobody else's."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gitstate.core.errors import ConflictError
from gitstate.core.monitor import SILENT
from gitstate.core.signature import Signature
from gitstate.directory import Client
from gitstate.machine.archives import pack
from gitstate.machine.render import Batch
from gitstate.release import push, reconcile, refresh
from gitstate.release.opened import OpenedSite
from gitstate.store.site import Site
from tests.release.harness import SCRIPT, Harness
from tests.support import needs, root_only

pytestmark = [root_only, needs("git", "gzip", "setfacl", "setcap", "cpio", "sha256sum")]


def unpacked(harness: Harness, host: str, version: int | str, channel: str = "lab3") -> Path:
    """A machine's archive, taken apart by cpio; sha256sum says that its lists are whole."""
    file = harness.site / "tftp/archives" / channel / str(version) / f"{host}.cpio"
    place = harness.place / "unpacked" / channel / str(version) / host
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    subprocess.run(["cpio", "-idm", "--quiet"], input=file.read_bytes(), cwd=place, check=True)
    machine = place / "gitstate/machine"
    subprocess.run(["sha256sum", "-c", "--quiet", "checksums"], cwd=machine, check=True)
    return machine


def inode(harness: Harness, host: str, version: int) -> int:
    return (harness.site / f"tftp/archives/lab3/{version}/{host}.cpio").stat().st_ino


def versions(harness: Harness) -> list[str]:
    return sorted(path.name for path in (harness.site / "tftp/archives/lab3").iterdir())


def report(harness: Harness, host: str, modalias: str) -> None:
    """What the machine's probe says."""
    device = {"slot": "0000:01:00.0", "vendor": f"0x{modalias[9:13].lower()}", "device": f"0x{modalias[18:22].lower()}"}
    value = {
        "schema": "probe/1",
        "host": host,
        "architecture": "x86_64",
        "cpus": 4,
        "memory": 1 << 33,
        "dmi": {},
        "pci": [device | {"class": "0x030000", "modalias": modalias}],
        "network": [],
        "disks": [],
    }
    file = harness.place / f"{host}.json"
    file.write_text(json.dumps(value))
    harness("client", "report", host, str(file))


@pytest.fixture
def layered(boots: Harness) -> Harness:
    """Three machines of a channel that has a layer with a template."""
    live = boots.layer("lab/lab3")
    (live / "etc/issue.j2").write_text("{{ host }} of {{ lab }}\n")
    boots("checkin", "lab/lab3", "-m", "issue")
    boots("client", "add", "lab3-[13-14]", "--channel", "lab3")
    boots("push", "desktop", "lab3", "--yes")
    return boots


def test_a_push_renders_for_each_machine(layered: Harness) -> None:
    for host in ("lab3-12", "lab3-13", "lab3-14"):
        machine = unpacked(layered, host, 1)
        assert (machine / "files/etc/issue").read_text() == f"{host} of lab3\n"
        assert (machine / "files/etc/motd").read_text() == "lab/lab3\n"
        assert f"LAYER_1='lab/lab3 {layered.head('lab/lab3')}'" in (machine / "about").read_text()
    script = (layered.site / SCRIPT).read_text()
    assert "\nset archive ../../archives/lab3/1/${machine}.cpio\n" in script
    assert "gitstate.archive=/archives/lab3/1/%h.cpio\n" in script


def test_only_boot_services_may_read_them_and_what_they_are_made_from_root_alone(layered: Harness) -> None:
    folder = layered.site / "tftp/archives/lab3/1"
    gid = (layered.site / "tftp").stat().st_gid
    for place in (folder, folder.parent, folder.parent.parent):
        assert (stat.S_IMODE(place.stat().st_mode), place.stat().st_gid) == (0o750, gid)
    for file in folder.glob("*.cpio"):
        assert (stat.S_IMODE(file.stat().st_mode), file.stat().st_uid, file.stat().st_gid) == (0o640, 0, gid)
    keys = (folder / ".keys").stat()
    assert (stat.S_IMODE(keys.st_mode), keys.st_uid, keys.st_gid) == (0o600, 0, 0)


def test_a_change_in_one_host_s_layer_renders_one_host(layered: Harness) -> None:
    layered.layer("host/lab3-13")
    said = layered("push", "host/lab3-13", "lab3", "--yes")
    assert "machine archives: 3, 1 of them rendered" in said
    assert (unpacked(layered, "lab3-13", 2) / "files/etc/motd").read_text() == "host/lab3-13\n"
    assert [inode(layered, host, 1) == inode(layered, host, 2) for host in ("lab3-12", "lab3-13", "lab3-14")] == [
        True,
        False,
        True,
    ]


def test_what_depends_on_the_same_is_not_worked_out_again(layered: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    layered.layer("host/lab3-13")
    layered("push", "host/lab3-13", "lab3", "--yes")
    asked: list[str] = []
    key = pack.key

    def counted(batch: Batch, client: Client, *others: Any) -> str:
        asked.append(client.name)
        return key(batch, client, *others)

    monkeypatch.setattr(pack, "key", counted)
    refresh.preview(OpenedSite.open(layered.site))
    assert asked == [], "a second look costs a read"
    layered.edit("host/lab3-13", "mine\n")
    opened = OpenedSite.open(layered.site)
    plan = push.plan(opened, "host/lab3-13", "lab3", None, None, Signature("a <a@b>", 2_000_000_000, "+0000"), SILENT)
    assert push.preview(plan, SILENT) == 1
    assert asked == ["lab3-13"], "that of the machine whose layer changed"
    asked.clear()
    layered("client", "set", "lab3-14", "--workload", "desk")
    refresh.preview(OpenedSite.open(layered.site))
    assert sorted(asked) == ["lab3-12", "lab3-13", "lab3-14"], "who knows what a changed client means for others"
    layered("boot", "write")
    asked.clear()
    secret = layered.site / "secrets/lab3-12/etc/key"
    secret.parent.mkdir(mode=0o700, parents=True)
    (layered.site / "secrets").chmod(0o700)
    secret.write_text("x\n")
    secret.chmod(0o600)
    (one,) = refresh.preview(OpenedSite.open(layered.site))
    assert one.changed == ["lab3-12"], "a secret that somebody put there counts"


def test_without_layers_nobody_gets_an_archive(boots: Harness) -> None:
    boots("push", "desktop", "lab3", "--yes")
    assert not (boots.site / "tftp/archives").exists()
    assert "archive" not in (boots.site / SCRIPT).read_text()


@pytest.mark.parametrize("way", ["push", "git tag"])
def test_an_error_in_a_template_stops_the_push_for_everybody(layered: Harness, way: str) -> None:
    before = (layered.site / SCRIPT).read_text()
    release = layered.releases("rev-parse", "lab3")
    (layered.site / "live/lab/lab3/etc/issue.j2").write_text(
        "first\n{% if host == 'lab3-13' %}{{ printer }}{% endif %}\n"
    )
    layered("checkin", "lab/lab3", "-m", "wrong")
    commit = layered.head("lab/lab3")[:7]
    said = f"lab3-13: lab/lab3 {commit}: etc/issue.j2, line 2: 'printer' is undefined"
    if way == "push":
        assert said in layered.fails(7, "push", "lab/lab3", "lab3", "-n")
        assert said in layered.fails(7, "push", "lab/lab3", "lab3", "--yes")
        assert not layered.git("lab/lab3", "tag", "--list", "lab3/2")
    else:
        layered.git("lab/lab3", "tag", "-a", "-m", "wrong", "lab3/2")
        assert said in layered.fails(7, "reconcile")
    assert (layered.site / SCRIPT).read_text() == before
    assert layered.releases("rev-parse", "lab3") == release
    assert versions(layered) == ["1"]


def test_a_plan_says_for_how_many_layers_are_rendered(layered: Harness) -> None:
    layered.edit("lab/lab3", "new")
    assert "layers rendered for 3 clients" in layered("push", "lab/lab3", "lab3", "-n")
    assert layered.json("push", "lab/lab3", "lab3", "-n")["rendered"] == 3
    assert versions(layered) == ["1"]


def test_a_plan_names_owners_and_modes_of_directories_that_layers_change(layered: Harness) -> None:
    etc = layered.site / "live" / "lab/lab3" / "etc"
    etc.chmod(0o700)
    (etc / "skel").mkdir(mode=0o755)
    os.chown(etc / "skel", 0, 8)
    (layered.site / "live" / "desktop" / "etc" / "skel").mkdir(parents=True)
    layered("checkin", "desktop", "-m", "skel")
    layered("push", "desktop", "lab3", "--yes")
    layered("checkin", "lab/lab3", "-m", "closed")
    kept = "etc/ stays as in desktop: mode 0755 -> 0700 of lab/lab3 isn't applied (layer.toml: directories)"
    changed = "lab/lab3 changes etc/skel/ of desktop: owner 0:0 -> 0:8"
    plan = layered("push", "lab/lab3", "lab3", "-n")
    assert kept in plan
    assert changed in plan
    assert kept in layered("push", "lab/lab3", "lab3", "--yes")
    assert stat.S_IMODE((unpacked(layered, "lab3-12", 3) / "files" / "etc").stat().st_mode) == 0o755
    said = layered.run("layer", "render", "lab3-12")
    assert "etc/skel/  (owner 0:0 -> 0:8)" in said.out
    assert kept in said.err
    assert "etc/skel  lab/lab3  (owner 0:8 -> 0:0)" in layered("layer", "diff", "lab3-12", "--at", "lab3/3", "lab3/2")
    layered.edit("lab/lab3", "again\n")
    assert "etc/" not in layered("push", "lab/lab3", "lab3", "--yes").replace("etc/motd", ""), "it is told once"


@pytest.mark.parametrize("machines_boot", [True, False])
def test_a_layer_that_is_named_and_missing_is_told_once_by_plan_and_push(layered: Harness, machines_boot: bool) -> None:
    if not machines_boot:
        settings = layered.site / "site.toml"
        settings.write_text(settings.read_text().partition("\n[boot]\n")[0])
    layered("client", "set", "lab3-[13-14]", "--workload", "kiosk")
    layered.edit("lab/lab3", "new")
    for way in ("-n", "--yes"):
        said = layered.run("push", "lab/lab3", "lab3", way).err
        assert said.splitlines() == ["note: there is no layer workload/kiosk (workload kiosk): 2 machines"]


def test_a_new_client_s_archive_is_there_when_the_command_returns(layered: Harness) -> None:
    layered("client", "add", "lab3-15", "--channel", "lab3")
    assert (unpacked(layered, "lab3-15", 1) / "files/etc/issue").read_text() == "lab3-15 of lab3\n"
    (layered.site / "live/lab/lab3/etc/issue.j2").write_text("{{ workload }}\n")
    layered("client", "set", "lab3-[12-15]", "--workload", "kiosk")
    layered("checkin", "lab/lab3", "-m", "workload")
    layered("push", "lab/lab3", "lab3", "--yes")
    for dry_run in (["-n"], []):
        words = ("client", "add", "lab3-16", "--channel", "lab3", *dry_run)
        assert "'workload' is undefined" in layered.fails(7, *words)
    layered.fails(10, "client", "show", "lab3-16")
    assert not (layered.site / "tftp/archives/lab3/2/lab3-16.cpio").exists()
    layered("client", "set", "lab3-15", "--workload", "desk")
    assert (unpacked(layered, "lab3-15", 2) / "files/etc/issue").read_text() == "desk\n"
    assert (unpacked(layered, "lab3-14", 2) / "files/etc/issue").read_text() == "kiosk\n"


def test_who_comes_while_a_release_is_made_is_part_of_it(layered: Harness) -> None:
    layered.edit("lab/lab3", "new")
    layered.git("lab/lab3", "tag", "-a", "-m", "new", "lab3/2")

    def meanwhile(step: str) -> None:
        if step == "archives":
            layered("client", "add", "lab3-15", "--channel", "lab3")
            layered("client", "set", "lab3-13", "--layer", "host/lab3-12")

    layered.layer("host/lab3-12")
    who = Signature("Ada <ada@example.org>", 1_700_000_000, "+0000")
    outcome = reconcile.reconcile(OpenedSite(Site.open(layered.site)), who, SILENT, step=meanwhile)
    assert [str(done.release.name) for done in outcome.published] == ["lab3/2"]
    assert (unpacked(layered, "lab3-15", 2) / "files/etc/motd").read_text() == "new"
    assert (unpacked(layered, "lab3-13", 2) / "files/etc/motd").read_text() == "host/lab3-12\n"


def test_whoever_leaves_the_channel_has_an_archive_there_while_its_boot_file_asks_for_it(layered: Harness) -> None:
    def standing() -> list[str]:
        return sorted(path.stem for path in (layered.site / "tftp/archives/lab3/1").glob("*.cpio"))

    layered("boot", "write")
    layered("channel", "create", "lab4", "--prototype", "desktop")
    layered("push", "desktop", "lab4", "--yes")
    layered("client", "set", "lab3-12", "--channel", "lab4")
    layered("client", "set", "lab3-13", "--pin", "desktop@main")
    layered("client", "add", "lab3-15")  # without a snapshot, nobody's boot files can be written
    assert standing() == ["lab3-12", "lab3-13", "lab3-14"]
    assert (unpacked(layered, "lab3-12", 1, "lab4") / "files/etc/issue").read_text() == "lab3-12 of lab3\n"
    layered.fails(10, "boot", "write")
    assert standing() == ["lab3-12", "lab3-13", "lab3-14"]
    layered("client", "remove", "lab3-14")
    assert standing() == ["lab3-12", "lab3-13"]
    layered("client", "remove", "lab3-15")
    told = layered.json("boot", "write")["archives"]
    assert [one["removed"] for one in told if one["release"] == "lab3/1"] == [["lab3-12", "lab3-13"]]
    assert standing() == []
    assert layered("boot", "write").startswith("nothing to write")


def test_whoever_leaves_the_channel_boots_what_it_releases_until_boot_files_are_written(layered: Harness) -> None:
    layered("client", "set", "lab3-13", "--mac", "52:54:00:12:34:57")
    layered("boot", "write")
    layered("channel", "create", "lab4", "--prototype", "desktop")
    layered("push", "desktop", "lab4", "--yes")
    layered("client", "set", "lab3-12", "--channel", "lab4")
    layered("client", "set", "lab3-13", "--pin", "desktop@main")
    layered.edit("lab/lab3", "again\n")
    layered("push", "lab/lab3", "lab3", "--yes")
    for host in ("lab3-12", "lab3-13"):
        assert (unpacked(layered, host, 2) / "files/etc/motd").read_text() == "again\n"
    assert unpacked(layered, "lab3-12", 1, "lab4").is_dir()
    layered("boot", "write")
    layered.edit("lab/lab3", "once more\n")
    layered("push", "lab/lab3", "lab3", "--yes")
    assert [path.stem for path in (layered.site / "tftp/archives/lab3/3").glob("*.cpio")] == ["lab3-14"]


def test_a_rollback_gives_back_what_was(layered: Harness) -> None:
    first = (layered.site / "tftp/archives/lab3/1/lab3-12.cpio").read_bytes()
    layered.edit("lab/lab3", "second")
    layered("push", "lab/lab3", "lab3", "--yes")
    second = (layered.site / "tftp/archives/lab3/2/lab3-12.cpio").read_bytes()
    assert first != second
    layered("rollback", "lab3")
    assert (layered.site / "tftp/archives/lab3/3/lab3-12.cpio").read_bytes() == first
    assert "archives/lab3/3/" in (layered.site / SCRIPT).read_text()


def test_archives_of_the_release_before_stay_and_older_ones_go(layered: Harness) -> None:
    for text in "abc":
        layered.edit("lab/lab3", text)
        layered("push", "lab/lab3", "lab3", "--yes")
    assert versions(layered) == ["3", "4"]
    for host in ("lab3-12", "lab3-13", "lab3-14"):
        layered("client", "remove", host)
    layered("channel", "remove", "lab3", "--yes")
    layered("boot", "write")
    assert not [*(layered.site / "tftp/archives").rglob("*.cpio")]


def test_who_comes_too_late_with_a_push_changes_nothing(layered: Harness) -> None:
    site, who = Site.open(layered.site), Signature("Ada <ada@example.org>", 1_700_000_000, "+0000")
    layered.edit("lab/lab3", "late")
    late = push.plan(OpenedSite(site), "lab/lab3", "lab3", None, None, who, SILENT)
    layered.edit("lab/lab3", "early")
    layered("push", "lab/lab3", "lab3", "--yes")
    with pytest.raises(ConflictError, match="lab3/2"):
        push.apply(late, "late", (who, who), SILENT)
    assert layered.git("lab/lab3", "tag", "--list", "lab3/*") == "lab3/2"
    assert (unpacked(layered, "lab3-12", 2) / "files/etc/motd").read_text() == "early"


def test_pushes_of_two_repositories_that_waited_for_each_other_get_two_numbers(layered: Harness) -> None:
    site, who = Site.open(layered.site), Signature("Ada <ada@example.org>", 1_700_000_000, "+0000")
    layered.edit("lab/lab3", "new")
    commit = layered.edit("desktop", "new", "srv/plain")
    plans = [push.plan(OpenedSite(site), one, "lab3", None, None, who, SILENT) for one in ("lab/lab3", "desktop")]
    assert {str(plan.name) for plan in plans} == {"lab3/2"}
    pushed = [push.apply(plan, "new", (who, who), SILENT) for plan in plans]
    assert [str(one.made.release.name) for one in pushed if one.made] == ["lab3/2", "lab3/3"]
    assert layered("reconcile") == "nothing to publish"
    assert (unpacked(layered, "lab3-12", 3) / "files/etc/motd").read_text() == "new"
    assert layered.runs("lab3")["desktop"] == commit


def test_the_same_push_twice_at_once_makes_one_release(layered: Harness) -> None:
    site, who = Site.open(layered.site), Signature("Ada <ada@example.org>", 1_700_000_000, "+0000")
    layered.edit("lab/lab3", "new")
    plans = [push.plan(OpenedSite(site), "lab/lab3", "lab3", None, None, who, SILENT) for _ in range(2)]
    first, second = (push.apply(plan, "new", (who, who), SILENT) for plan in plans)
    assert first.made
    assert (second.made, second.finished, second.push.is_needed) == (None, [], False)
    assert layered.git("lab/lab3", "tag", "--list", "lab3/*") == "lab3/2"


def test_where_one_machine_has_an_archive_the_channel_s_others_have_one(boots: Harness) -> None:
    boots("client", "add", "lab3-13", "--channel", "lab3")
    boots("push", "desktop", "lab3", "--yes")
    keytab = boots.place / "keytab"
    keytab.write_text("secret\n")

    def check(*words: str) -> None:
        boots(*words)
        assert "set archive ../../archives/lab3/1/" in (boots.site / SCRIPT).read_text()
        for host in ("lab3-12", "lab3-13"):
            assert (unpacked(boots, host, 1) / "files/etc/krb5.keytab").exists() == (host in having)

    having = {"lab3-12"}
    check("secret", "add", "lab3-12", "/etc/krb5.keytab", str(keytab))
    check("client", "set", "lab3-13", "--workload", "kiosk")
    having = set()
    check("secret", "remove", "lab3-12", "--all")
    check("boot", "write")
    boots.edit("desktop", "hello", "srv/plain")
    boots("push", "desktop", "lab3", "--yes")
    assert "archive" not in (boots.site / SCRIPT).read_text()


def test_machines_boot_when_the_last_layer_is_gone(layered: Harness) -> None:
    shutil.rmtree(layered.repository("lab/lab3"))
    layered("boot", "write")
    for host in ("lab3-12", "lab3-13", "lab3-14"):
        assert not (unpacked(layered, host, 1) / "files/etc/motd").exists()


def test_a_full_disk_is_named_and_keeps_what_stands(layered: Harness) -> None:
    folder = layered.site / "tftp/archives"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder], check=True)
    try:
        layered("boot", "write")
        large = layered.place / "large"
        large.write_text("x" * 100_000)
        standing = sorted(path.name for path in (folder / "lab3/1").iterdir())
        said = layered.fails(3, "secret", "add", "lab3-12", "/etc/large", str(large))
        assert f"{folder}/lab3/1: No space left on device" in said
        said = layered.fails(6, "client", "set", "lab3-12", "--workload", "kiosk")
        assert f"{folder}/lab3/1: No space left on device" in said
        assert sorted(path.name for path in (folder / "lab3/1").iterdir()) == standing
        assert not (unpacked(layered, "lab3-12", 1) / "files/etc/large").exists()
    finally:
        subprocess.run(["umount", folder], check=True)


def test_what_a_killed_run_left_goes(layered: Harness) -> None:
    left = layered.site / "tftp/archives/lab3/1/.lab3-12.cpio.gitstate-new"
    left.write_text("half\n")
    layered("boot", "write")
    assert not left.exists()


def test_a_secret_that_cannot_be_laid_is_told_to_be_kept(layered: Harness) -> None:
    keytab = layered.place / "keytab"
    keytab.write_text("secret\n")
    before = (layered.site / "tftp/archives/lab3/1/lab3-12.cpio").read_bytes()
    said = layered.fails(3, "secret", "add", "lab3-12", "/etc", str(keytab))
    assert "that is saved, but machine archives are not updated: secrets/lab3-12/etc: /etc of this machine is" in said
    assert (layered.site / "tftp/archives/lab3/1/lab3-12.cpio").read_bytes() == before


def test_a_secret_that_cannot_be_laid_stops_no_push(layered: Harness) -> None:
    secret = layered.site / "secrets/lab3-12"
    for path in ("etc", "proc/key", "etc.d/key"):
        (secret / path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        (secret / path).write_text("secret\n")
        (secret / path).chmod(0o600)
    (layered.site / "secrets").chmod(0o700)
    layered.edit("desktop", "another", "srv/plain")
    for how, code in (("-n", 0), ("--yes", 3)):
        said = layered.run("push", "desktop", "lab3", how, code=code).err
        assert "secrets/lab3-12/etc: /etc of this machine is a directory" in said
        assert "secrets/lab3-12/proc/key: nobody would see /proc/key" in said
    assert "lab3/2 is released, but lab3 is not finished yet: machine archives lack secrets: " in said
    assert (unpacked(layered, "lab3-12", 2) / "files/etc.d/key").read_text() == "secret\n"
    assert (unpacked(layered, "lab3-13", 2) / "files/etc/issue").is_file()
    for words in (("boot", "write"), ("reconcile",), ("push", "lab/lab3", "lab3", "--yes")):
        if words[0] == "push":
            layered.edit("lab/lab3", "another")
        assert "machine archives lack secrets: " in layered.run(*words, code=3).err
    for path in ("etc", "proc/key"):
        (secret / path).unlink()
    layered("reconcile")
    assert layered("boot", "write").startswith("nothing to write")


@pytest.mark.parametrize("harm", ["gone", "cut", "open", "keys gone", "keys cut"])
def test_boot_write_mends_them(layered: Harness, harm: str) -> None:
    layered("boot", "write")
    folder = layered.site / "tftp/archives/lab3/1"
    file, keys = folder / "lab3-12.cpio", folder / ".keys"
    whole = file.read_bytes()
    match harm:
        case "gone":
            file.unlink()
        case "cut":
            file.write_bytes(whole[:-600])
        case "open":
            file.chmod(0o644)
        case "keys gone":
            keys.unlink()
        case "keys cut":
            keys.write_bytes(keys.read_bytes()[:-20])
    findings = [one for one in layered.json("doctor", code=1)["checks"] if one["area"] == "layers"]
    assert "lab3-12" in findings[0]["text"]
    told = layered.json("boot", "write", "-n")["archives"]
    hosts = 3 if "keys" in harm else 1
    assert [len(one["added"]) + len(one["changed"]) for one in told] == [hosts]
    assert re.search("machine archives +", layered("boot", "write"))
    assert file.read_bytes() == whole
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert layered("boot", "write").startswith("nothing to write")


def test_a_layer_s_file_names_units_to_reload(layered: Harness) -> None:
    live = layered.site / "live/lab/lab3"
    (live / "layer.toml").write_text('[reload]\n"etc/motd*" = ["a.service", "b.service"]\n')
    layered("checkin", "lab/lab3", "-m", "reload")
    layered("push", "lab/lab3", "lab3", "--yes")
    machine = unpacked(layered, "lab3-12", 2)
    assert (machine / "reload").read_text() == "etc/motd* a.service b.service\n"
    assert not (machine / "files/layer.toml").exists()
    (live / "layer.toml").write_text('[reload]\n"etc/motd*" = ["a service"]\n')
    layered("checkin", "lab/lab3", "-m", "wrong")
    assert "layer.toml, line 1: reload 'etc/motd*'" in layered.fails(7, "push", "lab/lab3", "lab3", "--yes")


# --- hardware ---------------------------------------------------------------------------------------------------------


def test_where_the_hardware_is_not_known_there_is_a_variant_of_each_class(layered: Harness) -> None:
    layered("class", "set", "nvidia", "10de:*:03")
    layered("class", "set", "virtual", "1234:*:03")
    (layered.layer("base") / "etc/glx").write_text("mesa\n")
    layered("checkin", "base", "-m", "glx")
    live = layered.layer("class/nvidia")
    (live / "etc/.wh.glx").touch()
    (live / "etc/xorg.conf").write_text("nvidia\n")
    layered("checkin", "class/nvidia", "-m", "xorg")
    report(layered, "lab3-13", "pci:v000010DEd00001C82sv00001043sd000085D6bc03sc00i00")
    report(layered, "lab3-14", "pci:v00001234d00001111sv00001AF4sd00001100bc03sc00i00")
    layered("push", "class/nvidia", "lab3", "--yes")
    open_ = unpacked(layered, "lab3-12", 2)
    lines = (open_ / "classes").read_text().splitlines()
    assert lines[0] == "first"
    assert [line.split()[0] for line in lines[1:]] == ["nvidia", "virtual"]
    assert (open_ / "files/etc/glx").exists()
    assert not (open_ / "files/etc/xorg.conf").exists()
    variant = open_ / "class/nvidia"
    assert (variant / "files/etc/xorg.conf").read_text() == "nvidia\n"
    assert (variant / "removed").read_text() == "w etc/glx\n"
    assert [line.split()[-1] for line in (variant / "list").read_text().splitlines()] == ["etc/xorg.conf"]
    assert (open_ / "class/virtual/list").read_text() == ""
    known = unpacked(layered, "lab3-13", 2)
    assert (known / "classes").read_text() == ""
    assert (known / "files/etc/xorg.conf").exists()
    assert not (known / "files/etc/glx").exists()
    assert not (unpacked(layered, "lab3-14", 2) / "files/etc/xorg.conf").exists()
    assert (unpacked(layered, "lab3-14", 2) / "files/etc/glx").exists()


def test_what_a_class_has_nothing_to_say_of_is_the_image_s_again(layered: Harness) -> None:
    layered.edit("desktop", "the image's\n", "srv/plain")
    layered("class", "set", "nvidia", "10de:*:03")
    layered.layer("class/nvidia")
    (layered.site / "live/lab/lab3/srv").mkdir()
    for name in ("plain", "added"):
        text = "{% if 'nvidia' in classes %}{{ skip() }}{% endif %}\nmesa\n"
        (layered.site / f"live/lab/lab3/srv/{name}.j2").write_text(text)
    layered("checkin", "lab/lab3", "-m", "skip")
    for name in ("desktop", "lab/lab3"):
        layered("push", name, "lab3", "--yes")
    machine = unpacked(layered, "lab3-12", 3)
    assert (machine / "files/srv/plain").read_text() == "mesa\n"
    assert (machine / "class/nvidia/files/srv/plain").read_text() == "the image's\n"
    assert (machine / "class/nvidia/removed").read_text() == "w srv/added\n"


def test_a_report_makes_the_machine_s_archive_anew_and_releases_keep_it(layered: Harness) -> None:
    layered("class", "set", "nvidia", "10de:*:03")
    live = layered.layer("class/nvidia")
    (live / "etc/memory.j2").write_text("{{ hardware.memory }}\n")
    layered("checkin", "class/nvidia", "-m", "memory")
    layered("push", "class/nvidia", "lab3", "--yes", code=7)  # of no machine is the memory known
    report(layered, "lab3-12", "pci:v000010DEd00001C82sv00001043sd000085D6bc03sc00i00")
    (live / "etc/memory.j2").write_text("{{ hardware.memory if hardware is defined else '?' }}\n")
    layered("checkin", "class/nvidia", "-m", "memory, if known")
    layered("push", "class/nvidia", "lab3", "--yes")
    assert (unpacked(layered, "lab3-12", 2) / "files/etc/memory").read_text() == f"{1 << 33}\n"
    told = json.loads(layered.releases("show", "lab3:facts/lab3-12.json"))
    assert told["memory"] == 1 << 33
    assert not (unpacked(layered, "lab3-13", 2) / "files/etc/memory").exists()
    report(layered, "lab3-13", "pci:v000010DEd00001C82sv00001043sd000085D6bc03sc00i00")
    assert (unpacked(layered, "lab3-13", 2) / "files/etc/memory").read_text() == f"{1 << 33}\n"
    assert "facts/lab3-13" not in layered.releases("ls-tree", "-r", "--name-only", "lab3")


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_host_keys_are_made_once_and_are_in_one_machine_s_archive_alone(boots: Harness) -> None:
    sshd = boots.site / "live/desktop/usr/sbin/sshd"
    sshd.parent.mkdir(parents=True, exist_ok=True)
    sshd.write_text("#!/bin/sh\n")
    sshd.chmod(0o755)
    boots("checkin", "desktop", "-m", "sshd")
    boots("client", "add", "lab3-13", "--channel", "lab3")
    boots("push", "desktop", "lab3", "--yes")
    key = "files/etc/ssh/ssh_host_ed25519_key"
    first, other = unpacked(boots, "lab3-12", 1) / key, unpacked(boots, "lab3-13", 1) / key
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    assert first.read_bytes() != other.read_bytes()
    subprocess.run(["ssh-keygen", "-y", "-f", first], check=True, capture_output=True)
    for archive in (boots.site / "tftp").rglob("*.cpio"):
        assert (first.read_bytes() in archive.read_bytes()) == (archive.stem == "lab3-12")
    boots.edit("desktop", "hello", "srv/plain")
    boots("push", "desktop", "lab3", "--yes")
    assert (unpacked(boots, "lab3-12", 2) / key).read_bytes() == first.read_bytes()
    assert inode(boots, "lab3-12", 1) == inode(boots, "lab3-12", 2)
    boots("client", "add", "lab3-14", "--channel", "lab3")
    assert (unpacked(boots, "lab3-14", 2) / key).exists()
