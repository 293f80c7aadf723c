"""Boot files written: what the directory asks for, in the right order, nothing of others', and only what changed."""

from __future__ import annotations

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
from gitstate.core.errors import ConfigError, GitstateError, HostError, LockedError, NotFoundError, RefusedError
from gitstate.core.monitor import SILENT
from tests.boot.files.harness import MODULES, NEW, Ground, initrd, looks
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


def test_the_first_run_writes_everything(ground: Ground) -> None:
    plan = ground.write()
    assert numbers(plan) == {"exports": 2, "kernels": 2, "files": 13, "directories": 1}
    ground.whole()
    assert {path.name for path in ground.machines.iterdir()} == {ground.script(n).name for n in (1, 2, 3)}
    assert f"desktop/{ground.commit('one')}/boot.ipxe" in ground.script(1).read_text()
    assert f"desktop/{ground.commit('two')}/boot.ipxe" in ground.script(3).read_text()
    export = ground.site.exports / "desktop" / ground.commit("two")
    for name, path in (("vmlinuz", f"boot/vmlinuz-{NEW}"), ("initrd.img", f"boot/initrd.img-{NEW}")):
        assert (ground.image("two") / name).read_bytes() == (export / path).read_bytes()
    assert (ground.site.path / "log").is_dir()


def test_rights(ground: Ground) -> None:
    """Boot files are root's, to be read by the group; the servers' configuration is everybody's to read."""
    old = os.umask(0o077)
    try:
        ground.write()
    finally:
        os.umask(old)
    for path in [ground.tftp, *ground.tftp.rglob("*"), ground.site.path / "log"]:
        status = path.lstat()
        mode = 0o40750 if stat.S_ISDIR(status.st_mode) else 0o100640
        assert (status.st_mode, status.st_uid, status.st_gid) == (mode, 0, 33), path
    for path in ground.etc.rglob("*"):
        status = path.lstat()
        mode = 0o40755 if stat.S_ISDIR(status.st_mode) else 0o100644
        assert (status.st_mode, status.st_uid, status.st_gid) == (mode, 0, 0), path
    assert stat.S_IMODE((ground.site.path / "boot.state").stat().st_mode) == 0o600


def test_every_text_says_who_wrote_it(ground: Ground) -> None:
    ground.configure(dhcp="own", range=["10.77.0.100", "10.77.0.200"], nfs="ganesha")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gitstate.core.network.dhcp_servers", lambda interface: [])
        ground.write()
    texts = [*ground.tftp.rglob("*.ipxe"), *(path for path in ground.etc.rglob("*") if path.is_file())]
    assert len(texts) == 12
    for path in texts:
        assert MARK in path.read_text(), path


def test_nothing_changed(ground: Ground) -> None:
    ground.write()
    before = ground.looks()
    times = {path: path.stat().st_ctime_ns for path in [*ground.tftp.rglob("*"), *ground.etc.rglob("*")]}
    plan = ground.write()
    assert not plan
    assert numbers(plan) == {}
    assert ground.looks() == before
    assert {path: path.stat().st_ctime_ns for path in times} == times


def test_planning_writes_nothing(ground: Ground) -> None:
    before = looks(ground.path)
    assert ground.plan()
    assert looks(ground.path) == before


def test_a_client_is_pinned_to_another_snapshot_and_back(ground: Ground) -> None:
    """Back is quick: the snapshot's kernel stands still, and nobody looks into its initrd again."""
    ground.write()
    first = ground.script(3).read_bytes()
    ground.add("other", 3, "desktop@one")
    assert numbers(ground.write()) == {"files": 1}
    assert f"desktop/{ground.commit('one')}/" in ground.script(3).read_text()
    assert ground.image("two").is_dir()
    ground.add("other", 3, "desktop@two")
    plan = ground.write()
    assert numbers(plan) == {"files": 1}
    assert ground.script(3).read_bytes() == first
    ground.whole()


def test_a_tag_that_moved(ground: Ground) -> None:
    ground.write()
    ground.command.git("desktop", "-c", "core.hooksPath=/dev/null", "tag", "-f", "one", "two")
    assert numbers(ground.write()) == {"files": 2}
    assert f"desktop/{ground.commit('two')}/" in ground.script(1).read_text()


def test_clients_come_and_go(ground: Ground) -> None:
    ground.write()
    ground.add("new", 4)
    del ground.directory.all["one"]
    assert numbers(ground.write()) == {"files": 1, "removed": 1}
    assert {path.name for path in ground.machines.iterdir()} == {ground.script(n).name for n in (2, 3, 4)}
    ground.directory.all.clear()
    assert numbers(ground.write()) == {"removed": 3}
    assert list(ground.machines.iterdir()) == []


def test_no_client_at_all(ground: Ground) -> None:
    ground.directory.all.clear()
    ground.write()
    assert (ground.tftp / "boot" / "boot.ipxe").is_file()
    assert not (ground.tftp / "desktop").exists()


def test_a_client_without_an_address_and_one_with_two(ground: Ground) -> None:
    ground.add("many", 5)
    client = ground.directory.all["many"]
    ground.directory.all["many"] = replace(client, macs=(*client.macs, "52:54:00:00:00:06"))
    ground.directory.all["none"] = replace(client, name="none", macs=())
    ground.write()
    assert ground.script(5).read_text() == ground.script(6).read_text()
    assert len(list(ground.machines.iterdir())) == 5


def test_the_kind_of_server_is_changed(ground: Ground) -> None:
    """What isn't asked for any more goes; what the admin put beside it stays."""
    ground.write()
    own = ground.etc / "exports.d" / "own.exports"
    own.write_text("/home *(rw)\n")
    ground.configure(nfs="ganesha", http=False)
    plan = ground.write()
    assert {one.path for one in plan.texts.stale} == {
        "etc/exports.d/gitstate.exports",
        "etc/nginx/conf.d/gitstate.conf",
    }
    assert plan.pending >= {one.path for one in plan.texts.stale}
    left = sorted(path.name for path in ground.etc.rglob("*") if path.is_file())
    units = ["gitstate-dnsmasq.service", "gitstate-ganesha.service"]
    assert left == ["dnsmasq.conf", "ganesha.conf", *units, "own.exports"]


def test_an_option_that_every_snapshot_has(ground: Ground) -> None:
    """Scripts of machines are rendered anew, and none of them is written, as none of them changed."""
    ground.write()
    ground.configure(arguments="console=ttyS0")
    assert {file.path.split("/")[1] for file in ground.write().texts.files} == {"desktop"}
    assert "console=ttyS0" in (ground.image("one") / "boot.ipxe").read_text()


def test_a_template_of_the_site(ground: Ground) -> None:
    ground.write()
    templates = ground.site.path / "templates"
    templates.mkdir()
    template = templates / "client.ipxe.j2"
    chain = "chain --autofree ../../{{ client.prototype }}/{{ client.commit }}/boot.ipxe"
    template.write_text(f"#!ipxe\n# w{MARK}\n{chain}\n")
    assert numbers(ground.write()) == {"files": 3}
    ground.whole()
    template.write_text("#!ipxe\nshell\n")
    with pytest.raises(ConfigError, match="would have no header") as raised:
        ground.write()
    assert f"w{MARK}" in raised.value.hint
    template.unlink()
    assert numbers(ground.write()) == {"files": 3}


# --- what stands there already ----------------------------------------------------------------------------------------


def test_without_a_state_everything_is_compared(ground: Ground) -> None:
    ground.write()
    before = ground.looks()
    kept = ground.site.path / "boot.state"
    data = kept.read_bytes()
    for bad in (None, b"", b"junk", data[:-1], data.replace(b'"epoch"', b'"EPOCH"'), data[:200] + b"x" + data[201:]):
        kept.unlink()
        if bad is not None:
            kept.write_bytes(bad)
        plan = ground.write()
        assert not plan
        assert plan.known.units == {} or bad == data
        assert ground.looks() == before
        assert kept.read_bytes().split(b"\n")[0].startswith(b"gitstate boot state 1 ")
    assert numbers(ground.write()) == {}


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
def test_a_spoilt_kernel_is_mended(ground: Ground, forgotten: bool, spoil: Callable[[Path], None]) -> None:
    ground.write()
    before = ground.looks()
    spoil(ground.image("one") / "vmlinuz")
    spoil(ground.image("two") / "caps.cpio")
    if forgotten:
        (ground.site.path / "boot.state").unlink()
    assert numbers(ground.write()) == {"kernels": 2}
    assert ground.looks() == before
    assert not ground.write()


def test_a_spoilt_script_is_mended(ground: Ground) -> None:
    ground.write()
    before = ground.looks()
    ground.script(1).write_text(ground.script(1).read_text() + "shell\n")
    ground.script(2).chmod(0o644)
    (ground.tftp / "boot" / "boot.ipxe").unlink()
    (ground.image("one") / "boot.ipxe").write_text(f"# w{MARK}\n")
    assert numbers(ground.write()) == {"files": 4}
    assert ground.looks() == before


def test_an_edit_that_keeps_size_and_time_is_seen_by_its_inode(ground: Ground) -> None:
    """As editors and rsync write: a new file in the old one's place."""
    ground.write()
    path = ground.script(1)
    status, text = path.stat(), path.read_text()
    other = path.with_name("other")
    other.write_text(text.replace("set client", "set CLIENT"))
    other.chmod(0o640)
    os.chown(other, 0, 33)
    other.rename(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert numbers(ground.write()) == {"files": 1}
    assert path.read_text() == text


def test_rights_of_directories_are_mended(ground: Ground) -> None:
    ground.write()
    before = ground.looks()
    ground.tftp.chmod(0o700)
    ground.machines.chmod(0o777)
    os.chown(ground.image("one"), 0, 0)
    assert numbers(ground.plan()) == {"directories": 3}
    ground.write()
    assert ground.looks() == before
    (ground.site.path / "log").chmod(0o777)
    assert ground.write()
    assert not ground.write()


def test_another_group(ground: Ground) -> None:
    ground.write()
    ground.configure(group="nogroup", http=False)
    ground.write()
    assert {path.stat().st_gid for path in [ground.tftp, *ground.tftp.rglob("*")]} == {65534}
    assert not ground.write()


@pytest.mark.parametrize(
    "where",
    [
        *("tftp/boot/boot.ipxe", "tftp/boot/mac/52-54-00-00-00-01.ipxe", "etc/nginx/conf.d/gitstate.conf"),
        *("etc/exports.d/gitstate.exports", "etc/gitstate/dnsmasq.conf"),
    ],
)
@pytest.mark.parametrize("what", ["file", "link", "directory", "fifo"])
def test_what_others_wrote_is_left(ground: Ground, where: str, what: str) -> None:
    """All of it is named, and nothing is written at all."""
    top, _, rest = where.partition("/")
    path = (ground.tftp if top == "tftp" else ground.etc) / rest
    path.parent.mkdir(parents=True, exist_ok=True)
    target = ground.path / "target"
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
    before = looks(ground.path) if what != "fifo" else {}
    with pytest.raises(RefusedError, match="not written by gitstate: ") as raised:
        ground.write()
    assert str(path) in raised.value.message
    if before:
        assert looks(ground.path) == before


def test_foreign_scripts_beside_ours_stay(ground: Ground) -> None:
    ground.write()
    mine = ground.machines / "52-54-00-ff-ff-ff.ipxe"
    mine.write_text("#!ipxe\nshell\n")
    note = ground.machines / "README"
    note.write_text(f"w{MARK}, or not\n")
    assert not ground.write()
    assert mine.exists()
    assert note.exists()


@pytest.mark.parametrize("where", ["boot", "boot/mac", "desktop", "desktop/COMMIT"])
@pytest.mark.parametrize("early", [True, False], ids=["before the first run", "later"])
def test_planted_links_are_not_followed(ground: Ground, where: str, early: bool) -> None:
    if not early:
        ground.write()
    where = where.replace("COMMIT", ground.commit("one"))
    path = ground.tftp / where
    elsewhere = ground.path / "elsewhere"
    if path.exists():
        path.rename(elsewhere)
    else:
        elsewhere.mkdir()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(elsewhere)
    before = looks(ground.path)
    with pytest.raises(RefusedError, match="is no directory") as raised:
        ground.write()
    assert str(path) in raised.value.message
    assert looks(ground.path) == before
    path.unlink()
    ground.write()
    ground.whole()


def test_directories_of_etc_may_be_links(ground: Ground) -> None:
    (ground.path / "elsewhere").mkdir()
    (ground.etc / "nginx").symlink_to(ground.path / "elsewhere")
    ground.write()
    assert MARK in (ground.path / "elsewhere" / "conf.d" / "gitstate.conf").read_text()


# --- boot loaders -----------------------------------------------------------------------------------------------------


@pytest.fixture
def loaders(tmp_path: Path) -> Path:
    """A package of boot loaders."""
    place = tmp_path / "ipxe"
    place.mkdir()
    for name in ("undionly.kpxe", "snponly.efi", "other.rom"):
        (place / name).write_bytes(b"\0" + name.encode())
    return place


def write_with(ground: Ground, loaders: Path) -> publish.Plan:
    with publish.lock(ground.site):
        plan = publish.plan(ground.site, ground.directory, SILENT, loaders)
        publish.apply(plan, SILENT)
    return plan


def test_boot_loaders_follow_their_package(ground: Ground, loaders: Path) -> None:
    write_with(ground, loaders)
    ours = ground.tftp / "boot" / "undionly.kpxe"
    assert ours.read_bytes() == b"\0undionly.kpxe"
    assert not (ground.tftp / "boot" / "other.rom").exists()
    assert not write_with(ground, loaders)
    (loaders / "undionly.kpxe").write_bytes(b"\0newer")
    assert numbers(write_with(ground, loaders)) == {"files": 1}
    assert ours.read_bytes() == b"\0newer"


def test_a_boot_loader_of_the_admins_own_stays(ground: Ground, loaders: Path) -> None:
    write_with(ground, loaders)
    ours = ground.tftp / "boot" / "undionly.kpxe"
    ours.write_bytes(b"\0built here")
    plan = write_with(ground, loaders)
    assert plan.texts.kept == ("tftp/boot/undionly.kpxe",)
    assert ours.read_bytes() == b"\0built here"
    assert write_with(ground, loaders).texts.kept


def test_no_boot_loaders(ground: Ground, loaders: Path) -> None:
    (loaders / "snponly.efi").unlink()
    with pytest.raises(HostError, match=r"snponly\.efi is missing") as raised:
        write_with(ground, loaders)
    assert raised.value.hint == "apt-get install ipxe"
    ground.configure(dhcp="none")
    write_with(ground, loaders)


# --- what is named before anything is written -------------------------------------------------------------------------


def refused(ground: Ground, kind: type[GitstateError]) -> GitstateError:
    before = looks(ground.path)
    with pytest.raises(kind) as raised:
        ground.write()
    after = looks(ground.path)
    after.pop(str(ground.tftp), None)
    before.pop(str(ground.tftp), None)
    assert after == before
    assert raised.value.hint
    return raised.value


def test_clients_without_a_snapshot(ground: Ground) -> None:
    ground.add("lost", 7, None)
    assert refused(ground, NotFoundError).message == "lost has no snapshot"
    for number in range(10, 20):
        ground.add(f"lost-{number}", number, None)
    assert (
        refused(ground, NotFoundError).message == "lost, lost-10, lost-11, lost-12, lost-13 and 6 more have no snapshot"
    )


def test_a_channel_without_a_release(ground: Ground) -> None:
    ground.add("follows", 7, None, channel="lab3")
    assert refused(ground, NotFoundError).message == "channel lab3 of follows has no release"


@pytest.mark.parametrize("pin", ["desktop@three", "desktop@main~9", "desktop@0123456", "desktop@a..b", "desktop@one^2"])
def test_a_pin_that_names_nothing(ground: Ground, pin: str) -> None:
    ground.add("lost", 7, pin)
    message = refused(ground, NotFoundError).message
    assert message == f"desktop has no revision {pin.partition('@')[2]!r}, which lost should boot"


def test_a_missing_prototype(ground: Ground) -> None:
    ground.add("lost", 7, "kiosk@one")
    assert refused(ground, NotFoundError).message == "no repository kiosk, which lost should boot"


def test_everything_that_is_wrong_is_named_at_once(ground: Ground) -> None:
    ground.add("a", 7, "kiosk@one")
    ground.add("b", 8, "desktop@nine")
    ground.add("c", 9, None)
    assert refused(ground, NotFoundError).message.split("; ") == [
        "no repository kiosk, which a should boot",
        "desktop has no revision 'nine', which b should boot",
        "c has no snapshot",
    ]


def test_snapshots_that_cannot_boot(ground: Ground) -> None:
    (ground.live / "boot" / f"initrd.img-{NEW}").write_bytes(initrd(others=[]))
    bare = ground.check_in()
    shutil.rmtree(ground.live / "boot")
    empty = ground.check_in()
    ground.add("a", 7, f"desktop@{bare}")
    ground.add("b", 8, f"desktop@{empty}")
    said = refused(ground, NotFoundError).message.split("; ")
    assert sorted(said) == sorted(
        [
            f"desktop@{bare[:7]}: /boot/initrd.img-{NEW} has no hook of gitstate (scripts/gitstate)",
            f"desktop@{empty[:7]}: there is no kernel in /boot",
        ]
    )


def test_a_snapshot_is_looked_into_again_for_another_nfs(ground: Ground) -> None:
    modules = [name for name in MODULES if "nfsv4" not in name]
    (ground.live / "boot" / f"initrd.img-{NEW}").write_bytes(initrd(modules=modules))
    commit = ground.check_in()
    ground.add("a", 7, f"desktop@{commit}")
    ground.write()
    ground.configure(nfs_version="4.2")
    with pytest.raises(NotFoundError, match="has no kernel module nfsv4"):
        ground.write()
    del ground.directory.all["a"]
    assert {file.path.split("/")[1] for file in ground.write().texts.files} == {"desktop"}
    assert "gitstate.nfs=4.2" in (ground.image("one") / "boot.ipxe").read_text()


def test_no_boot_table(ground: Ground) -> None:
    ground.site.file.write_text(ground.site.file.read_text().partition("[boot]")[0])
    assert "[boot]" in refused(ground, ConfigError).message


# --- order and company ------------------------------------------------------------------------------------------------


def test_a_script_is_in_its_place_only_after_what_it_names(ground: Ground) -> None:
    """Whoever boots meanwhile gets the old or the new: looked at before every rename."""
    ground.write()
    commit = ground.commit("two")
    for one in (ground.image("two"), ground.site.exports / "desktop" / commit):
        shutil.rmtree(one)
    (ground.site.path / "boot.state").unlink()
    ground.add("one", 1, "desktop@two")
    ground.script(3).unlink()
    seen: list[tuple[str, bool]] = []
    watching = True

    def watch(event: str, words: tuple[object, ...]) -> None:
        if watching and event == "os.rename" and not seen_half(words):
            there = all(
                place.is_file()
                for place in (
                    *(ground.image("two") / name for name in ("vmlinuz", "initrd.img", "caps.cpio")),
                    ground.site.exports / "desktop" / commit / "etc" / "two",
                )
            )
            seen.append((os.fsdecode(words[1]), there))  # type: ignore[arg-type]

    def seen_half(words: tuple[object, ...]) -> bool:
        return not isinstance(words[1], str | bytes)

    sys.addaudithook(watch)
    try:
        ground.write()
    finally:
        watching = False
    machines = [(name, there) for name, there in seen if name.startswith("52-")]
    assert machines == [(ground.script(1).name, True), (ground.script(3).name, True)]
    names = [name for name, _ in seen]
    assert names.index(commit) < names.index("boot.ipxe") < names.index(ground.script(1).name)
    ground.whole()


def test_only_one_writes(ground: Ground) -> None:
    with publish.lock(ground.site), pytest.raises(LockedError, match="are being written"), publish.lock(ground.site):
        pass
    ground.write()


def test_work_is_counted(ground: Ground) -> None:
    """A second run opens no script; after one change it reads and renders that of one client."""
    for number in range(10, 300):
        ground.add(f"c{number}", number)
    ground.write()
    opened: list[str] = []
    watching = True

    def watch(event: str, words: tuple[object, ...]) -> None:
        if watching and event == "open":
            opened.append(os.fsdecode(words[0]) if isinstance(words[0], str | bytes) else "")

    sys.addaudithook(watch)
    try:
        ground.write()
        assert not [path for path in opened if path.endswith((".ipxe", "vmlinuz", "initrd.img", ".efi"))]
        opened.clear()
        ground.add("c10", 10, "desktop@two")
        assert numbers(ground.write()) == {"files": 1}
    finally:
        watching = False
    name = ground.script(10).name
    assert [path for path in opened if path.endswith((".ipxe", ".gitstate-new"))] == [name, f".{name}.gitstate-new"]


def test_the_state_tells_what_was_written(ground: Ground) -> None:
    ground.write()
    known = state.load(ground.site.path)
    files = {path: stamp for unit in known.units.values() for path, stamp in unit.files.items()}
    for path, written in files.items():
        top, _, rest = path.partition("/")
        status = ((ground.tftp if top == "tftp" else ground.etc) / rest).stat()
        assert written == (status.st_ino, status.st_size, status.st_mtime_ns)
    assert len(files) == 13
    assert json.loads((ground.site.path / "boot.state").read_bytes().partition(b"\n")[2])
