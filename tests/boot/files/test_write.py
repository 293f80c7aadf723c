"""Boot files written: what the directory asks for, in the right order, nothing of others', and only what changed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gitstate.boot import files as publish
from gitstate.boot.files import state
from gitstate.boot.group import lock
from gitstate.boot.options import load
from gitstate.core.errors import ConfigError, GitstateError, HostError, LockedError, NotFoundError, RefusedError
from gitstate.core.monitor import SILENT
from tests.boot.files.harness import MODULES, NEW, Harness, initrd, looks
from tests.support import needs, root_only

pytestmark = [root_only, needs("git")]

MARK = "ritten by `gitstate boot write`"


def numbers(plan: publish.Plan) -> dict[str, int]:
    """How much of everything there was to do."""
    counts = {
        "exports": len(plan.exports),
        "kernels": len(plan.images.copies),
        "files": len(plan.texts.files),
        "removed": len(plan.texts.stale),
        "directories": len(plan.directories),
    }
    return {what: count for what, count in counts.items() if count}


# --- what is written --------------------------------------------------------------------------------------------------


def test_the_first_run_writes_everything(harness: Harness) -> None:
    plan = harness.write()
    assert numbers(plan) == {"exports": 2, "kernels": 2, "files": 13, "directories": 1}
    harness.whole()
    assert {path.name for path in harness.machines.iterdir()} == {harness.script(n).name for n in (1, 2, 3)}
    assert f"desktop/{harness.commit('one')}/boot.ipxe" in harness.script(1).read_text()
    assert f"desktop/{harness.commit('two')}/boot.ipxe" in harness.script(3).read_text()
    export = harness.site.exports / "desktop" / harness.commit("two")
    for name, path in (("vmlinuz", f"boot/vmlinuz-{NEW}"), ("initrd.img", f"boot/initrd.img-{NEW}")):
        assert (harness.image("two") / name).read_bytes() == (export / path).read_bytes()
    assert (harness.site.path / "log").is_dir()


def test_rights(harness: Harness) -> None:
    """Boot files are root's, to be read by the group; the servers' configuration is everybody's to read."""
    old = os.umask(0o077)
    try:
        harness.write()
    finally:
        os.umask(old)
    for path in [harness.tftp, *harness.tftp.rglob("*"), harness.site.path / "log"]:
        status = path.lstat()
        mode = 0o40750 if stat.S_ISDIR(status.st_mode) else 0o100640
        assert (status.st_mode, status.st_uid, status.st_gid) == (mode, 0, 33), path
    for path in harness.etc.rglob("*"):
        status = path.lstat()
        mode = 0o40755 if stat.S_ISDIR(status.st_mode) else 0o100644
        assert (status.st_mode, status.st_uid, status.st_gid) == (mode, 0, 0), path
    assert stat.S_IMODE((harness.site.path / "boot.state").stat().st_mode) == 0o600


def test_every_text_says_who_wrote_it(harness: Harness) -> None:
    harness.configure(dhcp="own", range=["10.77.0.100", "10.77.0.200"], nfs="ganesha")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gitstate.core.network.dhcp_servers", lambda interface: [])
        harness.write()
    texts = [*harness.tftp.rglob("*.ipxe"), *(path for path in harness.etc.rglob("*") if path.is_file())]
    assert len(texts) == 12
    for path in texts:
        assert MARK in path.read_text(), path


def test_nothing_changed(harness: Harness) -> None:
    harness.write()
    before = harness.looks()
    times = {path: path.stat().st_ctime_ns for path in [*harness.tftp.rglob("*"), *harness.etc.rglob("*")]}
    plan = harness.write()
    assert not plan
    assert numbers(plan) == {}
    assert harness.looks() == before
    assert {path: path.stat().st_ctime_ns for path in times} == times


def test_planning_writes_nothing(harness: Harness) -> None:
    before = looks(harness.path)
    assert harness.plan()
    assert looks(harness.path) == before


def test_a_client_is_pinned_to_another_snapshot_and_back(harness: Harness) -> None:
    """Back is quick: the snapshot's kernel stands still, and nobody looks into its initrd again."""
    harness.write()
    first = harness.script(3).read_bytes()
    harness.add("other", 3, "desktop@one")
    assert numbers(harness.write()) == {"files": 1}
    assert f"desktop/{harness.commit('one')}/" in harness.script(3).read_text()
    assert harness.image("two").is_dir()
    harness.add("other", 3, "desktop@two")
    plan = harness.write()
    assert numbers(plan) == {"files": 1}
    assert harness.script(3).read_bytes() == first
    harness.whole()


def test_a_tag_that_moved(harness: Harness) -> None:
    harness.write()
    harness.command.git("desktop", "-c", "core.hooksPath=/dev/null", "tag", "-f", "one", "two")
    assert numbers(harness.write()) == {"files": 2}
    assert f"desktop/{harness.commit('two')}/" in harness.script(1).read_text()


def test_clients_come_and_go(harness: Harness) -> None:
    harness.write()
    harness.add("new", 4)
    del harness.directory.all["one"]
    assert numbers(harness.write()) == {"files": 1, "removed": 1}
    assert {path.name for path in harness.machines.iterdir()} == {harness.script(n).name for n in (2, 3, 4)}
    harness.directory.all.clear()
    assert numbers(harness.write()) == {"removed": 3}
    assert list(harness.machines.iterdir()) == []


def test_no_client_at_all(harness: Harness) -> None:
    harness.directory.all.clear()
    harness.write()
    assert (harness.tftp / "boot" / "boot.ipxe").is_file()
    assert not (harness.tftp / "desktop").exists()


def test_a_client_without_an_address_and_one_with_two(harness: Harness) -> None:
    harness.add("many", 5)
    client = harness.directory.all["many"]
    harness.directory.all["many"] = replace(client, macs=(*client.macs, "52:54:00:00:00:06"))
    harness.directory.all["none"] = replace(client, name="none", macs=())
    harness.write()
    assert harness.script(5).read_text() == harness.script(6).read_text()
    assert len(list(harness.machines.iterdir())) == 5


def test_the_kind_of_server_is_changed(harness: Harness) -> None:
    """What isn't asked for any more goes; what the admin put beside it stays."""
    harness.write()
    own = harness.etc / "exports.d" / "own.exports"
    own.write_text("/home *(rw)\n")
    harness.configure(nfs="ganesha", http=False)
    plan = harness.write()
    assert {one.path for one in plan.texts.stale} == {
        "etc/exports.d/gitstate.exports",
        "etc/nginx/conf.d/gitstate.conf",
    }
    assert plan.pending >= {one.path for one in plan.texts.stale}
    left = sorted(path.name for path in harness.etc.rglob("*") if path.is_file())
    units = ["gitstate-dnsmasq.service", "gitstate-ganesha.service"]
    assert left == ["dnsmasq.conf", "ganesha.conf", *units, "own.exports"]


def test_an_option_that_every_snapshot_has(harness: Harness) -> None:
    """Scripts of machines are rendered anew, and none of them is written, as none of them changed."""
    harness.write()
    harness.configure(arguments="console=ttyS0")
    assert {file.path.split("/")[1] for file in harness.write().texts.files} == {"desktop"}
    assert "console=ttyS0" in (harness.image("one") / "boot.ipxe").read_text()


def test_a_template_of_the_site(harness: Harness) -> None:
    harness.write()
    templates = harness.site.path / "templates"
    templates.mkdir()
    template = templates / "client.ipxe.j2"
    chain = "chain --autofree ../../{{ client.prototype }}/{{ client.commit }}/boot.ipxe"
    template.write_text(f"#!ipxe\n# w{MARK}\n{chain}\n")
    assert numbers(harness.write()) == {"files": 3}
    harness.whole()
    template.write_text("#!ipxe\nshell\n")
    with pytest.raises(ConfigError, match="would have no header") as raised:
        harness.write()
    assert f"w{MARK}" in raised.value.hint
    template.unlink()
    assert numbers(harness.write()) == {"files": 3}


# --- what stands there already ----------------------------------------------------------------------------------------


def test_without_a_state_everything_is_compared(harness: Harness) -> None:
    harness.write()
    before = harness.looks()
    kept = harness.site.path / "boot.state"
    data = kept.read_bytes()
    for bad in (None, b"", b"junk", data[:-1], data.replace(b'"epoch"', b'"EPOCH"'), data[:200] + b"x" + data[201:]):
        kept.unlink()
        if bad is not None:
            kept.write_bytes(bad)
        plan = harness.write()
        assert not plan
        assert plan.known.units == {} or bad == data
        assert harness.looks() == before
        assert kept.read_bytes().split(b"\n")[0].startswith(b"gitstate boot state 2 ")
    assert numbers(harness.write()) == {}


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[::-1] + b"\n"), id="content"),
        pytest.param(lambda path: path.write_bytes(b""), id="emptied"),
        pytest.param(lambda path: path.unlink(), id="removed"),
        pytest.param(lambda path: path.chmod(0o600), id="mode"),
        pytest.param(lambda path: os.chown(path, 1, 1), id="owner"),
    ],
)
@pytest.mark.parametrize("forgotten", [False, True], ids=["known", "forgotten"])
def test_a_spoilt_kernel_is_mended(harness: Harness, forgotten: bool, spoil: Callable[[Path], None]) -> None:
    harness.write()
    before = harness.looks()
    spoil(harness.image("one") / "vmlinuz")
    spoil(harness.image("two") / "caps.cpio")
    if forgotten:
        (harness.site.path / "boot.state").unlink()
    assert numbers(harness.write()) == {"kernels": 2}
    assert harness.looks() == before
    assert not harness.write()


def test_a_spoilt_script_is_mended(harness: Harness) -> None:
    harness.write()
    before = harness.looks()
    harness.script(1).write_text(harness.script(1).read_text() + "shell\n")
    harness.script(2).chmod(0o644)
    (harness.tftp / "boot" / "boot.ipxe").unlink()
    (harness.image("one") / "boot.ipxe").write_text(f"# w{MARK}\n")
    assert numbers(harness.write()) == {"files": 4}
    assert harness.looks() == before


def test_an_edit_that_keeps_size_and_time_is_seen_by_its_inode(harness: Harness) -> None:
    """As editors and rsync write: a new file in the old one's place."""
    harness.write()
    path = harness.script(1)
    status, text = path.stat(), path.read_text()
    other = path.with_name("other")
    other.write_text(text.replace("set client", "set CLIENT"))
    other.chmod(0o640)
    os.chown(other, 0, 33)
    other.rename(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert numbers(harness.write()) == {"files": 1}
    assert path.read_text() == text


def test_rights_of_directories_are_mended(harness: Harness) -> None:
    harness.write()
    before = harness.looks()
    harness.tftp.chmod(0o700)
    harness.machines.chmod(0o777)
    os.chown(harness.image("one"), 0, 0)
    assert numbers(harness.plan()) == {"directories": 3}
    harness.write()
    assert harness.looks() == before
    (harness.site.path / "log").chmod(0o777)
    assert harness.write()
    assert not harness.write()


def test_another_group(harness: Harness) -> None:
    harness.write()
    harness.configure(group="nogroup", http=False)
    harness.write()
    assert {path.stat().st_gid for path in [harness.tftp, *harness.tftp.rglob("*")]} == {65534}
    assert not harness.write()


def test_what_nobody_boots_now_goes_to_another_group_too(harness: Harness) -> None:
    """Older snapshots and releases are there to go back to. Their files are given away, not written again."""
    harness.write()
    harness.add("lab3-9", 9, "desktop@two")
    harness.write()
    assert len([path for path in (harness.tftp / "desktop").iterdir() if path.is_dir()]) == 2
    previous = harness.tftp / "archives/lab3/6"
    previous.mkdir(parents=True)
    for name, mode in ((".keys", 0o600), ("lab3-1.cpio", 0o640)):
        (previous / name).write_text(name)
        os.chown(previous / name, 0, 33)
        (previous / name).chmod(mode)
    foreign = harness.tftp / "mine"
    foreign.mkdir(mode=0o700)
    kept = {path: path.stat().st_ino for path in [*harness.tftp.glob("desktop/*/*"), *previous.iterdir()]}
    harness.configure(group="nogroup", http=False)
    assert harness.plan().directories
    harness.write()
    ours = [path for path in harness.tftp.rglob("*") if path != foreign and path.name != ".keys"]
    assert {path.stat().st_gid for path in ours} == {65534}
    assert [path.stat().st_ino for path in previous.iterdir()] == [kept[path] for path in previous.iterdir()]
    keys = (previous / ".keys").stat()
    assert (keys.st_mode & 0o7777, keys.st_gid, foreign.stat().st_gid) == (0o600, 33, 0)
    assert not harness.write()


@pytest.mark.parametrize(
    "where",
    [
        *("tftp/boot/boot.ipxe", "tftp/boot/mac/52-54-00-00-00-01.ipxe", "etc/nginx/conf.d/gitstate.conf"),
        *("etc/exports.d/gitstate.exports", "etc/gitstate/dnsmasq.conf"),
    ],
)
@pytest.mark.parametrize("what", ["file", "link", "directory", "fifo"])
def test_what_others_wrote_is_left(harness: Harness, where: str, what: str) -> None:
    """All of it is named, and nothing is written at all."""
    top, _, rest = where.partition("/")
    path = (harness.tftp if top == "tftp" else harness.etc) / rest
    path.parent.mkdir(parents=True, exist_ok=True)
    target = harness.path / "target"
    target.write_text(f"# w{MARK}\n")
    match what:
        case "file":
            path.write_text("mine\n")
        case "link":
            path.symlink_to(target)
        case "directory":
            path.mkdir()
        case _:
            os.mkfifo(path)
    before = looks(harness.path) if what != "fifo" else {}
    with pytest.raises(RefusedError, match="not written by gitstate: ") as raised:
        harness.write()
    assert str(path) in raised.value.message
    if before:
        assert looks(harness.path) == before


def test_foreign_scripts_beside_ours_stay(harness: Harness) -> None:
    harness.write()
    mine = harness.machines / "52-54-00-ff-ff-ff.ipxe"
    mine.write_text("#!ipxe\nshell\n")
    note = harness.machines / "README"
    note.write_text(f"w{MARK}, or not\n")
    assert not harness.write()
    assert mine.exists()
    assert note.exists()


@pytest.mark.parametrize("where", ["boot", "boot/mac", "desktop", "desktop/COMMIT"])
@pytest.mark.parametrize("early", [True, False], ids=["before the first run", "later"])
def test_planted_links_are_not_followed(harness: Harness, where: str, early: bool) -> None:
    if not early:
        harness.write()
    where = where.replace("COMMIT", harness.commit("one"))
    path = harness.tftp / where
    elsewhere = harness.path / "elsewhere"
    if path.exists():
        path.rename(elsewhere)
    else:
        elsewhere.mkdir()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(elsewhere)
    before = looks(harness.path)
    with pytest.raises(RefusedError, match="is no directory") as raised:
        harness.write()
    assert str(path) in raised.value.message
    assert looks(harness.path) == before
    path.unlink()
    harness.write()
    harness.whole()


def test_directories_of_etc_may_be_links(harness: Harness) -> None:
    (harness.path / "elsewhere").mkdir()
    (harness.etc / "nginx").symlink_to(harness.path / "elsewhere")
    harness.write()
    assert MARK in (harness.path / "elsewhere" / "conf.d" / "gitstate.conf").read_text()


# --- boot loaders -----------------------------------------------------------------------------------------------------


@pytest.fixture
def loaders(tmp_path: Path) -> Path:
    """A package of boot loaders."""
    place = tmp_path / "ipxe"
    place.mkdir()
    for name in ("undionly.kpxe", "snponly.efi", "other.rom"):
        (place / name).write_bytes(b"\0" + name.encode())
    return place


def write_with(harness: Harness, loaders: Path) -> publish.Plan:
    with lock(harness.site):
        plan = publish.plan(harness.site, load(harness.site), harness.directory, SILENT, loaders)
        publish.apply(plan, SILENT)
    return plan


def test_boot_loaders_follow_their_package(harness: Harness, loaders: Path) -> None:
    write_with(harness, loaders)
    ours = harness.tftp / "boot" / "undionly.kpxe"
    assert ours.read_bytes() == b"\0undionly.kpxe"
    assert not (harness.tftp / "boot" / "other.rom").exists()
    assert not write_with(harness, loaders)
    (loaders / "undionly.kpxe").write_bytes(b"\0newer")
    assert numbers(write_with(harness, loaders)) == {"files": 1}
    assert ours.read_bytes() == b"\0newer"


def test_a_boot_loader_of_the_admins_own_stays(harness: Harness, loaders: Path) -> None:
    write_with(harness, loaders)
    ours = harness.tftp / "boot" / "undionly.kpxe"
    ours.write_bytes(b"\0built here")
    plan = write_with(harness, loaders)
    assert plan.texts.kept == ("tftp/boot/undionly.kpxe",)
    assert ours.read_bytes() == b"\0built here"
    assert write_with(harness, loaders).texts.kept


def test_no_boot_loaders(harness: Harness, loaders: Path) -> None:
    (loaders / "snponly.efi").unlink()
    with pytest.raises(HostError, match=r"snponly\.efi is missing") as raised:
        write_with(harness, loaders)
    assert raised.value.hint == "apt-get install ipxe"
    harness.configure(dhcp="none")
    write_with(harness, loaders)


# --- what is named before anything is written -------------------------------------------------------------------------


def refused(harness: Harness, kind: type[GitstateError]) -> GitstateError:
    before = looks(harness.path)
    with pytest.raises(kind) as raised:
        harness.write()
    after = looks(harness.path)
    after.pop(str(harness.tftp), None)
    before.pop(str(harness.tftp), None)
    assert after == before
    assert raised.value.hint
    return raised.value


def test_clients_without_a_snapshot(harness: Harness) -> None:
    harness.add("lost", 7, None)
    assert refused(harness, NotFoundError).message == "lost has no snapshot"
    for number in range(10, 20):
        harness.add(f"lost-{number}", number, None)
    message = refused(harness, NotFoundError).message
    assert all(name in message for name in ("lost", "lost-10", "lost-13", " 6 "))
    assert "lost-14" not in message


def test_a_channel_without_a_release(harness: Harness) -> None:
    harness.add("follows", 7, None, channel="lab3")
    assert refused(harness, NotFoundError).message == "channel lab3 of follows has no release"


@pytest.mark.parametrize("pin", ["desktop@three", "desktop@main~9", "desktop@0123456", "desktop@a..b", "desktop@one^2"])
def test_a_pin_that_names_nothing(harness: Harness, pin: str) -> None:
    harness.add("lost", 7, pin)
    message = refused(harness, NotFoundError).message
    assert message == f"desktop has no revision {pin.partition('@')[2]!r}, which lost should boot"


def test_a_missing_prototype(harness: Harness) -> None:
    harness.add("lost", 7, "kiosk@one")
    assert refused(harness, NotFoundError).message == "no repository kiosk, which lost should boot"


def test_everything_that_is_wrong_is_named_at_once(harness: Harness) -> None:
    harness.add("a", 7, "kiosk@one")
    harness.add("b", 8, "desktop@nine")
    harness.add("c", 9, None)
    assert refused(harness, NotFoundError).message.split("; ") == [
        "no repository kiosk, which a should boot",
        "desktop has no revision 'nine', which b should boot",
        "c has no snapshot",
    ]


def test_snapshots_that_cannot_boot(harness: Harness) -> None:
    (harness.live / "boot" / f"initrd.img-{NEW}").write_bytes(initrd(others=[]))
    bare = harness.check_in()
    shutil.rmtree(harness.live / "boot")
    empty = harness.check_in()
    harness.add("a", 7, f"desktop@{bare}")
    harness.add("b", 8, f"desktop@{empty}")
    said = refused(harness, NotFoundError).message.split("; ")
    assert sorted(said) == sorted(
        [
            f"desktop@{bare[:7]}: /boot/initrd.img-{NEW} has no hook of gitstate (scripts/gitstate)",
            f"desktop@{empty[:7]}: there is no kernel in /boot",
        ]
    )


def test_a_snapshot_is_looked_into_again_for_another_nfs(harness: Harness) -> None:
    modules = [name for name in MODULES if "nfsv4" not in name]
    (harness.live / "boot" / f"initrd.img-{NEW}").write_bytes(initrd(modules=modules))
    commit = harness.check_in()
    harness.add("a", 7, f"desktop@{commit}")
    harness.write()
    harness.configure(nfs_version="4.2")
    with pytest.raises(NotFoundError, match="has no kernel module nfsv4"):
        harness.write()
    del harness.directory.all["a"]
    assert {file.path.split("/")[1] for file in harness.write().texts.files} == {"desktop"}
    assert "gitstate.nfs=4.2" in (harness.image("one") / "boot.ipxe").read_text()


def test_no_boot_table(harness: Harness) -> None:
    harness.site.file.write_text(harness.site.file.read_text().partition("[boot]")[0])
    assert "[boot]" in refused(harness, ConfigError).message


# --- order and company ------------------------------------------------------------------------------------------------


def test_a_script_is_in_its_place_only_after_what_it_names(harness: Harness) -> None:
    """Whoever boots meanwhile gets the old or the new: looked at before every rename."""
    harness.write()
    commit = harness.commit("two")
    for one in (harness.image("two"), harness.site.exports / "desktop" / commit):
        shutil.rmtree(one)
    (harness.site.path / "boot.state").unlink()
    harness.add("one", 1, "desktop@two")
    harness.script(3).unlink()
    seen: list[tuple[str, bool]] = []
    watching = True

    def watch(event: str, words: tuple[object, ...]) -> None:
        if watching and event == "os.rename" and not seen_half(words):
            there = all(
                place.is_file()
                for place in (
                    *(harness.image("two") / name for name in ("vmlinuz", "initrd.img", "caps.cpio")),
                    harness.site.exports / "desktop" / commit / "etc" / "two",
                )
            )
            seen.append((os.fsdecode(words[1]), there))  # type: ignore[arg-type]

    def seen_half(words: tuple[object, ...]) -> bool:
        return not isinstance(words[1], str | bytes)

    sys.addaudithook(watch)
    try:
        harness.write()
    finally:
        watching = False
    machines = [(name, there) for name, there in seen if name.startswith("52-")]
    assert machines == [(harness.script(1).name, True), (harness.script(3).name, True)]
    names = [name for name, _ in seen]
    assert names.index(commit) < names.index("boot.ipxe") < names.index(harness.script(1).name)
    harness.whole()


def test_only_one_writes(harness: Harness) -> None:
    with lock(harness.site), pytest.raises(LockedError, match="are being written"), lock(harness.site):
        pass
    harness.write()


def test_work_is_counted(harness: Harness) -> None:
    """A second run opens no script; after one change it reads and renders that of one client."""
    for number in range(10, 300):
        harness.add(f"c{number}", number)
    harness.write()
    opened: list[str] = []
    watching = True

    def watch(event: str, words: tuple[object, ...]) -> None:
        if watching and event == "open":
            opened.append(os.fsdecode(words[0]) if isinstance(words[0], str | bytes) else "")

    sys.addaudithook(watch)
    try:
        harness.write()
        assert not [path for path in opened if path.endswith((".ipxe", "vmlinuz", "initrd.img", ".efi"))]
        opened.clear()
        harness.add("c10", 10, "desktop@two")
        assert numbers(harness.write()) == {"files": 1}
    finally:
        watching = False
    name = harness.script(10).name
    assert [path for path in opened if path.endswith((".ipxe", ".gitstate-new"))] == [name, f".{name}.gitstate-new"]


def test_the_state_tells_what_was_written(harness: Harness) -> None:
    harness.write()
    known = state.load(harness.site.path)
    files = {path: stamp for unit in known.units.values() for path, stamp in unit.files.items()}
    for path, written in files.items():
        top, _, rest = path.partition("/")
        place = (harness.tftp if top == "tftp" else harness.etc) / rest
        assert written.looks_like(place.stat())
        assert written.digest == hashlib.blake2b(place.read_bytes(), digest_size=16).hexdigest()
    assert len(files) == 13
    assert json.loads((harness.site.path / "boot.state").read_bytes().partition(b"\n")[2])


# --- a maintenance machine --------------------------------------------------------------------------------------------


def test_a_maintenance_machine_boots_the_live_tree(harness: Harness) -> None:
    """With the kernel of the last check-in; the export follows its address."""
    exports = harness.etc / "exports.d" / "gitstate.exports"
    harness.configure(nfs="kernel")
    harness.add("m", 9, None, maintains="desktop", ips=("10.77.0.41", "fd77::41"))
    harness.write()
    harness.whole()
    script = harness.script(9).read_text()
    assert f"desktop/{harness.commit('two')}/boot.ipxe" in script
    assert f"gitstate.root=10.77.0.1:{harness.live} gitstate.state=maintenance" in script
    assert f"{harness.live} 10.77.0.41(rw," in exports.read_text()
    assert "fd77" not in exports.read_text()
    harness.directory.all["m"] = replace(harness.directory.all["m"], ips=("10.77.0.42",))
    assert "etc/exports.d/gitstate.exports" in {file.path for file in harness.plan().texts.files}
    harness.write()
    assert "10.77.0.41" not in exports.read_text()
    del harness.directory.all["m"]
    harness.write()
    assert "rw" not in exports.read_text()


def test_maintenance_machines_that_cant_be(harness: Harness) -> None:
    harness.add("m", 9, None, maintains="desktop")
    with pytest.raises(ConfigError, match="m maintains desktop and has no IPv4 address"):
        harness.plan()
    harness.add("m", 9, None, maintains="desktop", ips=("10.77.0.41",))
    harness.add("n", 10, None, maintains="desktop", ips=("10.77.0.42",))
    with pytest.raises(ConfigError, match="m and n both maintain desktop"):
        harness.plan()
    del harness.directory.all["n"]
    shutil.rmtree(harness.live)
    with pytest.raises(HostError, match="is missing"):
        harness.plan()
