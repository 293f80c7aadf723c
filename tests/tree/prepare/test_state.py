"""What a machine may write, in each of its states: real mounts in a namespace of the test's own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.client.harness import layout, packed, unpacked
from tests.support import PROJECT, needs, root_only
from tests.tree.prepare.test_hook import BOOT, Initramfs

pytestmark = [root_only, needs("busybox", "unshare")]

STATES = ("overlay", "local", "tmpfs-root")
LIST = "# a comment\n/etc/motd\n/usr/share/two\\040words\n/usr/share/end\\012\n/srv/gone/x\n/led/x\n/var/lib/x\n"


@pytest.fixture(params=["dash", "busybox sh"])
def machine(tmp_path: Path, request: pytest.FixtureRequest) -> Initramfs:
    """A shell whose mounts end with it, and a snapshot."""
    words = request.param.split()
    if shutil.which(words[0]) is None:
        pytest.skip(f"missing: {words[0]}")
    found = Initramfs(tmp_path, ("unshare", "--mount", *words))
    for name in ("run/gitstate/lower", "sys", "proc/sys/kernel", "root"):
        (tmp_path / name).mkdir(parents=True)
    plant(tmp_path / "run/gitstate/lower")
    return found


def plant(root: Path) -> None:
    for name in ("etc/local", "etc/ssh", "usr/share/local", "usr/bin", "var/log", "var/lib/dpkg", "tmp", "root", "dev"):
        (root / name).mkdir(parents=True)
    (root / "var/tmp").mkdir()
    (root / "var/tmp").chmod(0o1777)
    (root / "bin").symlink_to("usr/bin")
    (root / "led").symlink_to("etc")
    for name, text in {
        "etc/local/motd": "hello\n",
        "etc/hosts": "127.0.0.1 localhost\n",
        "etc/ssh/config": "x\n",
        "usr/bin/tool": "tool\n",
        "usr/share/local/two words": "two\n",
        "var/log/messages": "",
        "var/lib/dpkg/status": "x\n",
        "etc/gitstate/local": LIST,
    }.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    (root / "etc/motd").symlink_to("local/motd")
    (root / "usr/share/two words").symlink_to("local/two words")
    (root / "etc/local").chmod(0o750)
    os.chown(root / "etc/local", 0, 7)
    with open(root / "var/log/lastlog", "wb") as file:
        file.truncate(1 << 40)


def boot(machine: Initramfs, state: str, script: str, size: str = "50%", scratch: str = "") -> str:
    """Boot into a state, on a snapshot that nobody can write; what a script says then that starts in the root."""
    place = machine.place
    return machine(
        f"busybox mount -o bind {place}/run/gitstate/lower {place}/run/gitstate/lower\n"
        f"busybox mount -o remount,ro,bind {place}/run/gitstate/lower\n"
        f"gitstate_state={state} gitstate_overlay_size={size} gitstate_scratch={scratch} rootmnt={place}/root\n"
        "modprobe() { :; }\n"
        'write() { for one; do { echo mine >"$one"; } 2>/dev/null || echo "not $one"; done; }\n'
        f"gitstate_mount_root {place}/root || exit\ncd {place}/root || exit\n{script}"
    )  # fmt: skip


EVERYWHERE = "write etc/motd etc/new usr/bin/new 'usr/share/two words' var/lib/new var/log/new tmp/new root/new new\n"


def test_overlay_everything_can_be_written(machine: Initramfs) -> None:
    assert boot(machine, "overlay", EVERYWHERE + "cat etc/motd") == "mine\n"


def test_local_what_is_listed_can_be_written(machine: Initramfs) -> None:
    out = boot(
        machine, "local", f"{EVERYWHERE}write etc/hosts etc/ssh/new; cat etc/motd; busybox stat -c %a:%g etc/local"
    )
    assert out.splitlines() == [
        "gitstate: /led/local is no directory: the files linked to it can't be written",
        "gitstate: /srv/gone/local is no directory: the files linked to it can't be written",
        "not etc/new",
        "not usr/bin/new",
        "not new",
        "mine",
        "750:7",
    ]
    lower = machine.place / "run/gitstate/lower"
    assert (lower / "etc/local/motd").read_text() == "hello\n"
    assert (lower / "usr/share/local/two words").read_text() == "two\n"


def test_local_a_name_may_hold_anything(machine: Initramfs) -> None:
    lower = machine.place / "run/gitstate/lower"
    (lower / "usr/share/local/end\n").write_text("x")
    (lower / "usr/share/end\n").symlink_to("local/end\n")
    assert boot(machine, "local", 'write "usr/share/end\n" && cat "usr/share/local/end\n"').splitlines()[2:] == ["mine"]


@pytest.mark.parametrize("place", ["etc/local", "etc"])
def test_local_no_symlink_is_followed(machine: Initramfs, place: str) -> None:
    outside = machine.place / "outside"
    (outside / "local").mkdir(parents=True)
    (outside / "local/motd").write_text("outside\n")
    lower = machine.place / "run/gitstate/lower"
    if place == "etc":
        (lower / "etc").rename(lower / "moved")
    else:
        shutil.rmtree(lower / "etc/local")
    (lower / place).symlink_to(outside)
    boot(machine, "local", "write etc/motd")
    assert (outside / "local/motd").read_text() == "outside\n"


def test_tmpfs_root_is_a_copy_and_the_rest_read_only(machine: Initramfs) -> None:
    script = (
        f"{EVERYWHERE}write var/lib/dpkg/new; cat etc/motd; readlink bin; busybox stat -c %a var/tmp; cat usr/bin/tool"
    )
    assert boot(machine, "tmpfs-root", script).splitlines()[1:] == [
        "not usr/bin/new",
        "not var/lib/dpkg/new",
        "mine",
        "usr/bin",
        "1777",
        "tool",
    ]


@pytest.mark.parametrize("state", ["local", "tmpfs-root"])
def test_what_has_no_room_becomes_an_overlay_and_that_is_told(machine: Initramfs, state: str) -> None:
    lower = machine.place / "run/gitstate/lower"
    (lower / "etc/local/motd").write_bytes(b"x" * 300_000)
    out = boot(machine, state, "echo $gitstate_state; write etc/new", size="200k")
    said, *rest = [line for line in out.splitlines() if "no directory" not in line]
    assert re.fullmatch(rf"gitstate: state {state} is not possible: cp: .*No space left.*overlay=200k\): overlay", said)
    assert rest == ["overlay"]


def test_a_snapshot_without_var_is_told(machine: Initramfs) -> None:
    shutil.rmtree(machine.place / "run/gitstate/lower/var")
    out = boot(machine, "local", "echo $gitstate_state; write etc/new")
    assert out == "gitstate: state local is not possible: its /var is no directory: overlay\noverlay\n"


# --- the list ---------------------------------------------------------------------------------------------------------


def listed(machine: Initramfs, text: bytes) -> list[str]:
    (machine.place / "list").write_bytes(text)
    return machine(f"gitstate_listed_paths {machine.place}/list 2>&1").splitlines()


def test_the_list_is_read_as_it_is_written(machine: Initramfs) -> None:
    from gitstate.tree.local.listing import text

    assert listed(machine, text([b"etc/b", b"etc/a\n\xff b", b"x"])) == ["etc/a\\012\\377\\040b", "etc/b", "x"]
    assert listed(machine, b"/etc/x") == ["etc/x"]
    assert machine(f"gitstate_listed_paths {machine.place}/nothing") == ""


@pytest.mark.parametrize(
    "line",
    [
        b"etc/x", b"/", b"//x", b"/x/", b"/etc/../x", b"/..", b"/etc/./x", b"/a b", b"/x\\000", b"/\\056\\056/x",
        b"/x\\057y", b"/x\\9", b"/x\\400", b"/$(reboot)", b"/`reboot`", b"/x;reboot", b"/%s", b"/*", b"\x1b[2J",
        b"/\xc3\xbc", b"/x\r",
    ],
)  # fmt: skip
def test_a_line_that_is_no_path_is_told_and_left_out(machine: Initramfs, line: bytes) -> None:
    found = listed(machine, line + b"\n/etc/fine\n")
    assert found[-1] == "etc/fine"
    assert len(found) == 2
    assert re.fullmatch(r"gitstate: etc/gitstate/local: [ -~]* is not a path", found[0])


# --- files that the hook writes ---------------------------------------------------------------------------------------


def test_links_into_local_are_written_through_and_others_replaced(machine: Initramfs) -> None:
    place = machine.place
    (place / "etc/local").mkdir(parents=True)
    (place / "outside").write_text("outside\n")
    (place / "etc/hosts").symlink_to("local/hosts")
    (place / "etc/motd").symlink_to("../outside")
    (place / "etc/evil").symlink_to("local/evil")
    (place / "etc/local/evil").symlink_to("../../outside")
    machine(f"for one in hosts motd evil; do echo mine | gitstate_replace {place}/etc/$one; done")
    assert (place / "etc/hosts").readlink() == Path("local/hosts")
    assert (place / "etc/local/hosts").read_text() == "mine\n"
    assert (place / "outside").read_text() == "outside\n"
    assert not (place / "etc/motd").is_symlink()
    assert not (place / "etc/evil").is_symlink()


# --- layers -----------------------------------------------------------------------------------------------------------

LINES = """\
d 755 0 0 - etc
f 644 0 0 1 etc/motd
f 644 0 0 2 etc/new
f 644 0 0 3 usr/share/two\\040words
f 644 0 0 4 var/x
"""


def suited(machine: Initramfs, state: str) -> tuple[list[str], dict[str, str]]:
    """What is said of an archive's files, and where they are then."""
    archive = machine.place / "archive"
    for number, name in enumerate(("etc/motd", "etc/new", "usr/share/two words", "var/x"), 1):
        machine.file(f"archive/files/{name}", f"{number}")
    machine.file("archive/list", LINES)
    machine.file("archive/removed", "w etc/new\nw etc/motd\n")
    machine.file("archive/xattrs", '# file: etc/motd\nuser.a="1"\n\n# file: etc/new\nuser.a="2"\n\n')
    machine.file("run/gitstate/local", "etc/motd\nusr/share/two\\040words\nvar/x\n")
    said = machine(f"gitstate_state={state}\ngitstate_adapt_layers {archive}").splitlines()
    lines = (archive / "list").read_text().splitlines()
    found = {line.split()[5]: line.split()[4] for line in lines}
    return said, found


def test_layers_in_an_overlay_stay_as_they_are(machine: Initramfs) -> None:
    said, found = suited(machine, "overlay")
    assert said == []
    assert list(found) == [line.split()[5] for line in LINES.splitlines()]


def test_layers_in_local_go_where_links_lead(machine: Initramfs) -> None:
    said, found = suited(machine, "local")
    assert said == ["gitstate: layers: etc/new is left out: state local can't write it"]
    assert found == {"etc/local/motd": "1", "usr/share/local/two\\040words": "3", "var/x": "4"}
    archive = machine.place / "archive"
    assert (archive / "files/usr/share/local/two words").read_text() == "3"
    assert (archive / "xattrs").read_text() == '# file: etc/local/motd\nuser.a="1"\n\n'
    assert (archive / "removed").read_text() == "w etc/local/motd\n"


def test_layers_in_tmpfs_root_go_where_a_copy_is(machine: Initramfs) -> None:
    said, found = suited(machine, "tmpfs-root")
    assert said == []
    assert list(found) == ["etc", "etc/motd", "etc/new", "usr/share/local/two\\040words", "var/x"]


def test_layers_in_tmpfs_root_leave_out_what_is_read_only(machine: Initramfs) -> None:
    machine.file("archive/list", "d 755 0 0 - usr\nf 644 0 0 1 usr/new\nf 644 0 0 1 var/lib/dpkg/x\n")
    for name in ("archive/removed", "archive/xattrs", "run/gitstate/local"):
        machine.file(name)
    said = machine(
        f"gitstate_state=tmpfs-root gitstate_verbose=y\ngitstate_adapt_layers {machine.place}/archive"
    ).splitlines()
    assert [line.split()[2] for line in said] == ["usr/new", "var/lib/dpkg/x"]
    assert (machine.place / "archive/list").read_text() == ""


@pytest.mark.parametrize(("count", "told"), [(1, "usr/f0 is left out"), (7, "7 files are left out, usr/f0 and others")])
def test_what_is_left_out_takes_one_line(machine: Initramfs, count: int, told: str) -> None:
    machine.file("archive/list", "".join(f"f 644 0 0 1 usr/f{number}\n" for number in range(count)))
    for name in ("archive/removed", "archive/xattrs", "run/gitstate/local"):
        machine.file(name)
    (line,) = machine(f"gitstate_state=local\ngitstate_adapt_layers {machine.place}/archive").splitlines()
    assert line.startswith(f"gitstate: layers: {told}: ")


# --- mounts of fstab --------------------------------------------------------------------------------------------------

FSTAB = r"""
# /dev/sdb1 /commented ext4 defaults 0 0
server:/home /data nfs defaults 0 0
server:/x /srv/my-lab/a\040b nfs defaults
server:/x /usr/share/.x/y nfs defaults
server:/etc /etc nfs ro
server:/v /var/lib/made nfs ro
server:/l /led/new nfs ro
tmpfs /tmp tmpfs size=1g
/swap none swap sw
relative nowhere nfs
"""


@needs("systemd-escape")
@pytest.mark.parametrize("state", STATES)
def test_a_mount_whose_directory_cannot_be_made_is_skipped(machine: Initramfs, state: str) -> None:
    """systemd fails such a mount, and ends in emergency mode; one whose condition fails is skipped."""
    (machine.place / "run/gitstate/lower/etc/fstab").write_text(FSTAB)
    units = machine.place / "run/systemd/system"
    said = boot(machine, state, "gitstate_skip_mounts $rootmnt")
    skipped = {
        "overlay": [],
        "local": ["/data", "/srv/my-lab/a b", "/usr/share/.x/y"],
        "tmpfs-root": ["/usr/share/.x/y"],
    }[state]
    found = [
        line.removeprefix("gitstate: ").split(" of /etc/fstab")[0] for line in said.splitlines() if "fstab" in line
    ]
    assert found == skipped
    names = {
        path: subprocess.run(
            ["systemd-escape", "--path", path], capture_output=True, text=True, check=True
        ).stdout.strip()
        for path in skipped
    }
    assert {path.name for path in units.glob("*")} == {
        f"{name}.{kind}.d" for name in names.values() for kind in ("mount", "automount")
    }
    for path, name in names.items():
        told = (units / f"{name}.mount.d/gitstate.conf").read_text()
        assert told == f"[Unit]\nConditionPathIsDirectory={path}\n"


@needs("cpio", "setfattr")
def test_a_machine_archive_is_laid_where_the_state_lets_it(machine: Initramfs) -> None:
    files = {"etc/motd": "of a layer", "etc/new": "new", "usr/bin/tool": "evil", "var/lib/its": "its", "root/mine": "m"}
    said = {"overlay": [], "local": ["etc/new", "usr/bin/tool", "etc/hosts"], "tmpfs-root": ["usr/bin/tool"]}
    data = packed(layout(files, removed=("etc/hosts", "var/log/messages")))
    for state in STATES:
        shutil.rmtree(machine.place / "initrd", ignore_errors=True)
        archive = unpacked(data, machine.place / "initrd")
        reading = f'for one in {" ".join(files)}; do echo "$one=$(cat $one 2>/dev/null)"; done'
        script = f"gitstate_archive= gitstate_verbose=y\ngitstate_layers {archive} $rootmnt\n{reading}"
        out = boot(machine, state, f"{script}; readlink etc/motd; ls etc/hosts var/log/messages 2>/dev/null; :")
        lines = [line for line in out.splitlines() if "no directory" not in line]
        assert [line.split()[2] for line in lines if line.startswith("gitstate")] == said[state], out
        assert {f"{name}={text}" for name, text in files.items() if name not in said[state]} <= set(lines), out
        assert ("etc/hosts" in lines) == (state == "local"), out
        assert ("local/motd" in lines) == (state == "local"), out
        assert "var/log/messages" not in lines, out


# --- capabilities -----------------------------------------------------------------------------------------------------


@needs("setcap", "getcap", "setfattr")
@pytest.mark.parametrize("state", STATES)
def test_a_program_has_its_capability_in_every_state(machine: Initramfs, state: str) -> None:
    machine.file("xattrs", "# file: usr/bin/tool\nsecurity.capability=0sAQAAAgAgAAAAAAAAAAAAAAAAAAA=\n\n")
    out = boot(
        machine,
        state,
        f"gitstate_restore_xattrs {machine.place}/xattrs $rootmnt; getcap usr/bin/tool; cat usr/bin/tool",
    )
    assert out.splitlines()[-2:] == ["usr/bin/tool cap_net_raw=ep", "tool"]
    assert not [line for line in out.splitlines() if "setfattr" in line]


# --- a disk -----------------------------------------------------------------------------------------------------------


@needs("mkfs.ext4", "losetup", "blkid")
def test_a_disk_takes_what_is_written_and_forgets_it(machine: Initramfs) -> None:
    image = machine.place / "disk"
    with image.open("wb") as file:
        file.truncate(32 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-L", "scratch", image], check=True)
    done = subprocess.run(["losetup", "-f", "--show", image], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no loop device: {done.stderr.strip()}")
    try:
        (machine.place / "dev/disk/by-label").mkdir(parents=True)
        (machine.place / "dev/disk/by-label/scratch").symlink_to(done.stdout.strip())
        script = "ls var/lib; write var/lib/mine; grep -c ext4 /proc/mounts; ls $gitstate_run/gitstate/scratch"
        for _ in range(2):
            out = boot(machine, "overlay", script, scratch=f"LABEL=scratch gitstate_dev={machine.place}/dev")
            lines = out.splitlines()
            assert lines[0] == "dpkg"
            assert "mine" not in lines
            assert {"gitstate", "lost+found"} <= set(lines)
            shutil.rmtree(machine.place / "run/gitstate/scratch", ignore_errors=True)
    finally:
        subprocess.run(["losetup", "-d", done.stdout.strip()], check=True)


@pytest.mark.parametrize(
    ("kind", "why"),
    [("vfat", "a file system vfat, not ext4, xfs or btrfs"), ("", "a file system of no kind, not ext4, xfs or btrfs")],
)
def test_a_disk_of_another_kind_is_left_alone(machine: Initramfs, kind: str, why: str) -> None:
    machine.file("dev/disk/by-uuid/1-2")
    script = f"gitstate_dev={machine.place}/dev\nblkid() {{ echo {kind}; }}\n"
    out = machine(
        f"{script}gitstate_scratch=UUID=1-2 gitstate_overlay_size=50%\ngitstate_mount_storage && busybox stat -fc %T "
        "$gitstate_run/gitstate/tmpfs"
    )
    assert out == f"gitstate: gitstate.scratch=UUID=1-2: {why}: in memory\ntmpfs\n"


def test_a_disk_that_is_not_there_is_waited_for_and_told(machine: Initramfs) -> None:
    out = machine(
        "sleep() { printf .; }\n"
        "gitstate_scratch=LABEL=none gitstate_overlay_size=50%\ngitstate_mount_storage && echo done"
    )
    assert out == "gitstate: gitstate.scratch=LABEL=none: there is no such disk: in memory\ndone\n"


def test_a_disk_that_udev_still_works_at_is_waited_for(machine: Initramfs) -> None:
    device = machine.place / "dev/disk/by-label/slow"
    device.parent.mkdir(parents=True)
    out = machine(
        f'udevadm() {{ [ "$1 $3" != "settle --exit-if-exists={device}" ] || touch {device}; }}\n'
        f"gitstate_dev={machine.place}/dev gitstate_scratch=LABEL=slow\ngitstate_scratch_device"
    )
    assert out == f"{device}\n"


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_pages_tell_the_states_and_what_each_can_write() -> None:
    text = (PROJECT / "docs/howto/writable.md").read_text()
    hook = (BOOT / "arguments").read_text()
    assert "overlay | local | tmpfs-root | maintenance) ;;" in hook
    assert all(f"`{state}`" in text for state in STATES)
    for name in ("copied_directories", "copied_files"):
        (names,) = re.findall(rf"^gitstate_{name}='(.*)'$", (BOOT / "state").read_text(), re.MULTILINE)
        assert all(f"`/{one}`" in text for one in names.split()), name
    from gitstate.directory.model.clients import STATES as KNOWN

    assert set(KNOWN) == set(STATES)
    for page in ("docs/netboot.md", "docs/howto/prepare.md"):
        told = (PROJECT / page).read_text()
        assert all(f"| `gitstate.{name}=" in told for name in ("state", "scratch")), page


# --- maintenance ------------------------------------------------------------------------------------------------------


def test_maintenance_writes_go_to_the_live_tree_itself(machine: Initramfs) -> None:
    """But for the machine's own id and its resolver."""
    place = machine.place
    lower = place / "run/gitstate/lower"
    (lower / "etc" / "machine-id").write_text("")
    (lower / "etc" / "resolv.conf").write_text("nameserver 10.0.0.53\n")
    out = machine(
        f"gitstate_state=maintenance gitstate_overlay_size=50% gitstate_scratch= rootmnt={place}/root\n"
        "modprobe() { :; }\n"
        f"gitstate_mount_root {place}/root || exit\ncd {place}/root || exit\n"
        "for one in etc/motd etc/new usr/bin/new tmp/new etc/machine-id etc/resolv.conf; do echo mine >$one; done\n"
        "cat etc/machine-id etc/resolv.conf"
    )
    assert out.splitlines() == ["mine", "mine"]
    assert [(lower / name).read_text() for name in ("etc/motd", "etc/new", "usr/bin/new")] == ["mine\n"] * 3
    assert (lower / "etc" / "machine-id").read_text() == ""
    assert (lower / "etc" / "resolv.conf").read_text() == "nameserver 10.0.0.53\n"
    assert not (lower / "tmp" / "new").exists()
