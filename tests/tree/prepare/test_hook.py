"""The boot hook's parts, run by the shells that an initramfs may have, in places of the test's own."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import PROJECT, needs, root_only

BOOT = PROJECT / "hooks" / "boot"
PARTS = ("messages", "arguments", "network", "root", "archive", "layers", "state", "machine")
MAC = "52:54:00:12:34:56"


@dataclass(frozen=True)
class Initramfs:
    """A shell with the parts of the hook, and the files that it meets at boot."""

    place: Path
    shell: tuple[str, ...]

    def __call__(self, script: str, code: int = 0) -> str:
        """What a script prints that calls the hook's functions."""
        places = "".join(f"gitstate_{name}={shlex.quote(str(self.place / name))}\n" for name in ("run", "sys", "proc"))
        parts = "".join(f". {BOOT / part}\n" for part in PARTS)
        text = f"set -u\nquiet=y\n{places}{parts}sleep() {{ echo slept $1; }}\n{script}"
        done = subprocess.run([*self.shell, "-c", text], capture_output=True, text=True, check=False, timeout=20)
        assert done.stderr == "", done.stderr
        assert done.returncode == code, done.stdout
        return done.stdout

    def file(self, name: str, text: str = "") -> Path:
        path = self.place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def interface(self, name: str, mac: str, carrier: str = "1", *, hardware: bool = True) -> None:
        for key, text in {"address": f"{mac}\n", "carrier": f"{carrier}\n"}.items():
            self.file(f"sys/class/net/{name}/{key}", text)
        if hardware:
            self.file(f"sys/class/net/{name}/device")


@pytest.fixture(params=["dash", "busybox sh"])
def initramfs(tmp_path: Path, request: pytest.FixtureRequest) -> Initramfs:
    words = request.param.split()
    if shutil.which(words[0]) is None:
        pytest.skip(f"missing: {words[0]}")
    for name in ("run", "sys/class/net", "proc/sys/kernel"):
        (tmp_path / name).mkdir(parents=True)
    return Initramfs(tmp_path, tuple(words))


@pytest.mark.parametrize("part", PARTS)
def test_every_shell_can_read_every_part(initramfs: Initramfs, part: str) -> None:
    subprocess.run([*initramfs.shell, "-n", BOOT / part], check=True)
    assert set(PARTS) == {path.name for path in BOOT.iterdir()}


def test_the_glue_reads_the_parts_and_defines_what_init_calls() -> None:
    text = (PROJECT / "hooks/initramfs-tools/scripts/gitstate").read_text()
    assert f"for part in {' '.join(PARTS)}; do" in text
    for name in ("mount_top", "mount_premount", "mountroot", "mount_bottom"):
        assert re.search(rf"^{name}\(\)", text, re.MULTILINE)


# --- arguments --------------------------------------------------------------------------------------------------------

SENSELESS_SIZES = ("", "0", "x", "10x", "50%x", "5%0", "-1", "1,exec")
SENSELESS_DISKS = ("/dev/sda", "LABEL=", "UUID=../x", "LABEL=..", "LABEL=.", "LABEL=a;b", "LABEL=a/b", "PARTLABEL=x")
ROOT = "gitstate.root=10.77.0.1:/srv/gitstate/exports/desktop/0123"


def arguments(initramfs: Initramfs, line: str, code: int = 0) -> tuple[str, dict[str, str]]:
    """What it says, and what it sets."""
    file = initramfs.file("cmdline", f"{line}\n")
    out = initramfs(f"gitstate_arguments {file} || exit\necho ---\nset", code)
    said, _, variables = out.partition("---\n")
    found = re.findall(r"^gitstate_(\w+)=(.*)$", variables, re.MULTILINE)
    return said, {key: shlex.split(value)[0] if value not in ("", "''") else "" for key, value in found}


def test_arguments_and_their_defaults(initramfs: Initramfs) -> None:
    said, found = arguments(initramfs, f"BOOT_IMAGE=x ro {ROOT} quiet")
    assert said == ""
    expected = {
        "server": "10.77.0.1",
        "path": "/srv/gitstate/exports/desktop/0123",
        "nfs": "3",
        "nfsopts": "",
        "snapshot": "",
        "epoch": "0",
        "overlay_size": "50%",
        "state": "overlay",
        "scratch": "",
        "host": "",
        "bootif": "",
        "ip": "dhcp",
    }
    assert {key: found[key] for key in expected} == expected


def test_the_last_argument_of_a_name_counts_and_nothing_is_expanded(initramfs: Initramfs) -> None:
    said, found = arguments(
        initramfs,
        f"{ROOT} gitstate.nfs=3 gitstate.snapshot=* gitstate.nfs=4.2 gitstate.nfsopts=timeo=100,retrans=1 "
        "gitstate.epoch=1700000000 gitstate.overlay=2g gitstate.host=lab3-12 BOOTIF=01-52-54-00-12-34-56 "
        "ip=10.0.0.2::10.0.0.1:255.255.255.0::eth1:off gitstate.root=10.0.0.9:/$(reboot)`reboot`",
    )
    assert said == ""
    expected = {
        "server": "10.0.0.9",
        "path": "/$(reboot)`reboot`",
        "nfs": "4.2",
        "nfsopts": "timeo=100,retrans=1",
        "snapshot": "*",
        "epoch": "1700000000",
        "overlay_size": "2g",
        "host": "lab3-12",
        "bootif": "01-52-54-00-12-34-56",
        "ip": "10.0.0.2::10.0.0.1:255.255.255.0::eth1:off",
    }
    assert {key: found[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("word", "key", "value"),
    [
        ("gitstate.epoch=now", "epoch", "0"),
        ("gitstate.epoch=-1", "epoch", "0"),
        ("gitstate.epoch=", "epoch", "0"),
        *((f"gitstate.overlay={size}", "overlay_size", "50%") for size in SENSELESS_SIZES),
        *((f"gitstate.state={name}", "state", "overlay") for name in ("", "tmpfs", "local/..", "Overlay")),
        *((f"gitstate.scratch={name}", "scratch", "") for name in SENSELESS_DISKS),
        *((f"gitstate.host={name}", "host", "") for name in ("a/b", "-a", ".a", "a..b", "a;b", "ü")),
        ("gitstate.nfsopts=a;b", "nfsopts", ""),
    ],
)  # fmt: skip
def test_an_argument_that_makes_no_sense_is_told_and_ignored(
    initramfs: Initramfs, word: str, key: str, value: str
) -> None:
    said, found = arguments(initramfs, f"{ROOT} {word}")
    assert said == f"gitstate: {word} is invalid: ignored\n"
    assert found[key] == value


@pytest.mark.parametrize("size", ["1", "50%", "512m", "2G", "100k", "100%"])
def test_sizes_of_the_overlay(initramfs: Initramfs, size: str) -> None:
    said, found = arguments(initramfs, f"{ROOT} gitstate.overlay={size}")
    assert (said, found["overlay_size"]) == ("", size)


def test_an_unknown_argument_of_ours_is_told(initramfs: Initramfs) -> None:
    assert arguments(initramfs, f"{ROOT} gitstate.rot=x")[0] == "gitstate: unknown argument gitstate.rot=x\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("quiet", "gitstate.root=ADDRESS:/PATH is missing"),
        ("gitstate.root=nonsense", "gitstate.root=nonsense is not ADDRESS:/PATH"),
        ("gitstate.root=10.0.0.1:path", "gitstate.root=10.0.0.1:path is not ADDRESS:/PATH"),
        ("gitstate.root=10.0.0.1:/", "gitstate.root=10.0.0.1:/ is not ADDRESS:/PATH"),
        ("gitstate.root=:/x", "gitstate.root=:/x is not ADDRESS:/PATH"),
        ("gitstate.root=server:/x", "gitstate.root=server:/x: the server must be an IPv4 address"),
        (f"{ROOT} gitstate.nfs=4", "gitstate.nfs=4 is neither 3 nor 4.2"),
    ],
)
def test_without_a_root_there_is_no_boot(initramfs: Initramfs, line: str, said: str) -> None:
    assert arguments(initramfs, line, code=1)[0] == f"gitstate: {said}\n"


def test_the_page_and_the_boot_files_know_the_same_arguments_as_the_hook() -> None:
    ours = r"(?:gitstate\.[a-z]+|BOOTIF|ip)"
    hook = (BOOT / "arguments").read_text()
    read = set(re.findall(rf"^ +({ours})=\*\)", hook, re.MULTILINE))
    page = (PROJECT / "docs/howto/prepare.md").read_text()
    told = set(re.findall(rf"^\| `({ours})=", page, re.MULTILINE))
    assert told == read
    templates = (PROJECT / "gitstate/boot/templates").glob("*.ipxe.j2")
    written = {name for file in templates for name in re.findall(rf"(?<![\w.])({ours})=", file.read_text())}
    assert {"gitstate.root", "gitstate.host", "BOOTIF"} <= written <= read


# --- saying, waiting --------------------------------------------------------------------------------------------------


def test_trouble_is_one_line_each_time_and_the_pauses_grow(initramfs: Initramfs) -> None:
    out = initramfs("gitstate_delay=\nfor n in 1 2 3 4 5 6; do gitstate_wait_and_retry 'server is away'; done")
    pauses = [1, 2, 4, 8, 15, 15]
    assert out == "".join(f"gitstate: server is away; again in {one} s\nslept {one}\n" for one in pauses)


def test_the_first_line_ends_that_of_init(initramfs: Initramfs) -> None:
    assert initramfs("quiet=n; gitstate_info a; gitstate_info b") == "\ngitstate: a\ngitstate: b\n"
    assert initramfs("gitstate_info a; gitstate_warn b") == "gitstate: b\n"


@pytest.mark.parametrize(
    "text", ["", "plain-1.2@x:/y,%", "two words", "it's", "$(reboot)", "`x`", '"', "\\", "a;b", "ü"]
)
def test_quoted_text_is_one_word_of_the_shell(initramfs: Initramfs, text: str) -> None:
    quoted = initramfs(f"gitstate_quote {shlex.quote(text)}")
    assert initramfs(f"printf %s {quoted}") == text


# --- network ----------------------------------------------------------------------------------------------------------


def choose(initramfs: Initramfs, more: str = "", code: int = 0) -> str:
    script = (
        "gitstate_ip=dhcp gitstate_bootif= gitstate_attempt=0\ngitstate_link_up() { ups=\"${ups-} $1\"; }\n"
        f"sleep() {{ :; }}\n{more}\n"
        'if gitstate_choose_interface; then echo "$gitstate_interface"; else echo "$gitstate_error"; exit 1; fi'
    )  # fmt: skip
    return initramfs(script, code).removesuffix("\n")


def test_bootif_says_which_interface(initramfs: Initramfs) -> None:
    initramfs.interface("eth0", "52:54:00:00:00:01")
    initramfs.interface("eth1", "52:54:00:aa:bb:cc")
    initramfs.interface("br0", "52:54:00:aa:bb:cc", hardware=False)
    assert choose(initramfs, "gitstate_bootif=01-52-54-00-AA-BB-CC") == "eth1"
    assert choose(initramfs, "gitstate_bootif=52:54:00:aa:bb:cc") == "eth1"


def test_ip_says_which_interface_before_bootif_does(initramfs: Initramfs) -> None:
    initramfs.interface("eth0", "52:54:00:00:00:01")
    initramfs.interface("eth1", MAC)
    more = "gitstate_bootif=01-52-54-00-12-34-56 gitstate_ip="
    assert choose(initramfs, f"{more}:::::eth0:dhcp") == "eth0"
    assert choose(initramfs, f"{more}10.0.0.2:::255.255.255.0") == "eth1"


def test_without_either_it_is_the_first_with_a_carrier_and_then_the_next(initramfs: Initramfs) -> None:
    initramfs.interface("eth0", "52:54:00:00:00:01", carrier="0")
    initramfs.interface("eth1", "52:54:00:00:00:02")
    initramfs.interface("eth2", "52:54:00:00:00:03")
    initramfs.interface("lo", "00:00:00:00:00:00", hardware=False)
    assert [choose(initramfs, f"gitstate_attempt={turn}") for turn in range(3)] == ["eth1", "eth2", "eth1"]


def test_links_are_put_up_before_their_carrier_is_asked(initramfs: Initramfs) -> None:
    initramfs.interface("eth0", MAC, carrier="0")
    carrier = initramfs.place / "sys/class/net/eth0/carrier"
    assert choose(initramfs, f"gitstate_link_up() {{ echo 1 >{carrier}; }}") == "eth0"


def test_a_link_that_comes_late_is_waited_for(initramfs: Initramfs) -> None:
    initramfs.interface("eth0", MAC, carrier="0")
    carrier = initramfs.place / "sys/class/net/eth0/carrier"
    more = f"n=0; sleep() {{ n=$((n + 1)); [ $n -lt 50 ] || echo 1 >{carrier}; }}"
    assert choose(initramfs, more) == "eth0"


def test_what_is_missing_is_named(initramfs: Initramfs) -> None:
    assert choose(initramfs, code=1) == "no network interface at all: is its driver in the initrd?"
    more = "gitstate_bootif=01-52-54-00-12-34-56"
    assert choose(initramfs, more, 1) == f"no network interface {MAC}: is its driver in the initrd?"
    initramfs.interface("eth0", MAC, carrier="0")
    assert choose(initramfs, more, 1) == "no link on eth0: is the cable in?"


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("dhcp", ":::::eth0:dhcp"),
        ("on", ":::::eth0:dhcp"),
        ("any", ":::::eth0:dhcp"),
        ("bootp", ":::::eth0:bootp"),
        ("10.0.0.2:10.0.0.1:10.0.0.254:255.255.255.0:name", "10.0.0.2:10.0.0.1:10.0.0.254:255.255.255.0:name:eth0"),
        ("10.0.0.2::10.0.0.254:255.255.255.0::eth7:off", "10.0.0.2::10.0.0.254:255.255.255.0::eth0:off"),
        (":::::eth0:dhcp", ":::::eth0:dhcp"),
        ("10.0.0.2:::255.0.0.0::eth0:off:10.0.0.53:10.0.0.54", "10.0.0.2:::255.0.0.0::eth0:off:10.0.0.53:10.0.0.54"),
    ],
)
def test_what_ipconfig_is_told(initramfs: Initramfs, asked: str, given: str) -> None:
    assert initramfs(f"gitstate_ipconfig eth0 {asked}") == f"{given}\n"


def network(initramfs: Initramfs, ipconfig: str) -> str:
    initramfs.interface("eth0", MAC)
    return initramfs(
        "gitstate_ip=dhcp gitstate_bootif= quiet=n\ngitstate_link_up() { :; }\nudevadm() { :; }\n"
        f"ipconfig() {{ {ipconfig}\n}}\ngitstate_network"
    )


def test_a_dhcp_server_that_is_away_is_asked_again(initramfs: Initramfs) -> None:
    answer = "printf \"IPV4ADDR='10.77.0.5'\\nROOTSERVER='10.77.0.1'\\n\" >$gitstate_run/net-eth0.conf"
    out = network(initramfs, f'n=$((${{n-0}} + 1)); [ "$*" = "$*" ]; [ $n -lt 3 ] || {answer}')
    assert out == (
        "\ngitstate: no address for eth0: no DHCP server answered within 4 s; again in 1 s\nslept 1\n"
        "gitstate: no address for eth0: no DHCP server answered within 8 s; again in 2 s\nslept 2\n"
        "gitstate: eth0 has 10.77.0.5 from 10.77.0.1\n"
    )


@pytest.mark.parametrize("asked", ["none", "off"])
def test_a_network_that_is_up_already_is_left_as_it_is(initramfs: Initramfs, asked: str) -> None:
    assert initramfs(f"gitstate_ip={asked}; ipconfig() {{ echo called; }}; gitstate_network") == ""


def test_what_a_dhcp_server_says_is_read_and_not_run(initramfs: Initramfs) -> None:
    evil = f"touch {initramfs.place}/evil"
    lease = initramfs.file(
        "lease",
        "DEVICE='eth0'\nIPV4ADDR='10.77.0.5'\nIPV4DNS0='10.77.0.1'\nIPV4DNS1='0.0.0.0'\nHOSTNAME='lab3-12'\n"
        f"DNSDOMAIN='$({evil})'\nROOTSERVER=\"10.77.0.1\"\nROOTPATH='x'; {evil}\n`{evil}`\n",
    )
    out = initramfs(
        f'gitstate_read_lease {lease}; echo "$gitstate_address|$gitstate_dns|$gitstate_domain|$gitstate_dhcp_host|"\n'
        'echo "$gitstate_dhcp_server"'
    )
    assert out == "10.77.0.5| 10.77.0.1||lab3-12|\n10.77.0.1\n"
    assert not (initramfs.place / "evil").exists()


# --- root -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "more", "options"),
    [
        ("3", "", "ro,hard,nocto,nolock,actimeo=86400,v3,proto=tcp"),
        ("4.2", "", "ro,hard,nocto,nolock,actimeo=86400,v4.2,proto=tcp"),
        ("3", "rsize=65536", "ro,hard,nocto,nolock,actimeo=86400,v3,proto=tcp,rsize=65536"),
    ],
)
def test_how_the_snapshot_is_mounted(initramfs: Initramfs, version: str, more: str, options: str) -> None:
    assert initramfs(f"gitstate_nfs={version} gitstate_nfsopts={more}\ngitstate_nfs_options") == f"{options}\n"


@needs("busybox")
def test_the_kernel_reads_the_options_and_no_program(initramfs: Initramfs) -> None:
    """A mount that understood NFS could be too old for them; the kernel needs the server's address then."""
    told = initramfs.file("mount", "#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    told.chmod(0o755)
    assert initramfs(
        f"gitstate_mount={told} gitstate_nfs=4.2 gitstate_nfsopts= gitstate_server=10.9.8.7 gitstate_path=/srv/x\n"
        "gitstate_mount_nfs"
    ).split() == [
        *("-t", "nfs", "-o", "ro,hard,nocto,nolock,actimeo=86400,v4.2,proto=tcp,addr=10.9.8.7"),
        *("10.9.8.7:/srv/x", str(initramfs.place / "run/gitstate/lower")),
    ]  # fmt: skip


def lower(initramfs: Initramfs, *failures: str) -> str:
    cases = "".join(f"{number}) printf '%s' {shlex.quote(text)}; return 1 ;;\n" for number, text in enumerate(failures))
    return initramfs(
        "gitstate_server=10.77.0.1 gitstate_path=/srv/x gitstate_nfs=3 gitstate_nfsopts= gitstate_host= "
        f"gitstate_dhcp_host= gitstate_address=\nmodprobe() {{ :; }}\nn={initramfs.place}/n; echo 0 >$n\n"
        f'gitstate_mount_nfs() {{ now=$(cat $n); echo $((now + 1)) >$n; case $now in\n{cases}*) return 0 ;;\nesac; }}\n'
        "gitstate_mount_snapshot"
    )  # fmt: skip


def test_a_server_that_is_away_is_asked_until_it_answers(initramfs: Initramfs) -> None:
    out = lower(initramfs, "", "Killed", "mount: Connection refused", "mount: Permission denied")
    assert [line for line in out.splitlines() if not line.startswith("slept")] == [
        "gitstate: 10.77.0.1 doesn't answer (NFS 3); again in 1 s",
        "gitstate: 10.77.0.1 doesn't answer (NFS 3); again in 2 s",
        "gitstate: 10.77.0.1 doesn't answer (NFS 3, Connection refused); again in 4 s",
        "gitstate: 10.77.0.1 doesn't serve /srv/x (NFS 3, Permission denied); again in 8 s",
    ]
    assert (initramfs.place / "run/gitstate").stat().st_mode & 0o777 == 0o700


@needs("busybox")
def test_an_attempt_that_hangs_is_ended(initramfs: Initramfs) -> None:
    """With the real busybox's timeout, shortened."""
    mount = initramfs.file("mount", "#!/bin/sh\nexec sleep 100\n")
    mount.chmod(0o755)
    out = initramfs(
        f'busybox() {{ shift 4; {shutil.which("busybox")} timeout -s KILL 1 "$@"; }}\ngitstate_mount={mount}\n'
        "gitstate_nfs=3 gitstate_nfsopts= gitstate_server=1.2.3.4 gitstate_path=/x\n"
        'mkdir -p $gitstate_run/gitstate\nwhy=$(gitstate_mount_nfs) && exit 1\ngitstate_nfs_error "$why"'
    )
    assert out == "1.2.3.4 doesn't answer (NFS 3)\n"


def test_clients_have_names_that_no_other_has(initramfs: Initramfs) -> None:
    initramfs.interface("eth0", MAC)
    identity = initramfs.file("sys/module/nfs/parameters/nfs4_unique_id")
    name = initramfs.place / "proc/sys/kernel/hostname"
    for host, address, expected in (
        ("lab3-12", "10.0.0.5", "lab3-12"),
        ("", "10.0.0.5", "10.0.0.5"),
        ("", "", "diskless"),
    ):
        initramfs(
            f"gitstate_host={host} gitstate_address={address} gitstate_interface=eth0\ngitstate_set_nfs_client_name"
        )
        assert name.read_text() == f"{expected}\n"
        assert identity.read_text() == MAC


@root_only
@needs("setfattr", "getfattr", "getcap")
def test_capabilities_and_acls_are_restored_and_nothing_else(initramfs: Initramfs) -> None:
    capability = "security.capability=0sAQAAAgAgAAAAAAAAAAAAAAAAAAA="
    acl = "system.posix_acl_access=0sAgAAAAEABgD/////AgAGAOgDAAAEAAQA/////xAABgD/////IAAEAP////8="
    for name in ("root/usr/bin/ping", "root/srv/a b\n\\", "root/usr/..hidden..", "outside"):
        initramfs.file(name, "x")
    (initramfs.place / "root/link").symlink_to("../outside")
    place = initramfs.place
    records = initramfs.file(
        "xattrs",
        f'# file: usr/bin/ping\n{capability}\nuser.evil="1"\ntrusted.overlay.opaque="y"\n\n'
        f"# file: srv/a\\040b\\012\\134\n{acl}\n\n"
        f"# file: gone\n{capability}\n\n# file: ../outside\n{capability}\n\n# file: {place}/outside\n{capability}\n\n"
        f"# file: usr/../../outside\n{capability}\n\n# file: link\n{capability}\n\n"
        f"# file: \\056\\056/outside\n{capability}\n\n# file: usr\\057../../outside\n{capability}\n\n"
        f"# file: usr/..hidden..\n{acl}\n\n# file: usr/..\n{acl}\n\n# file: ..\n{acl}\n\n",
    )
    out = initramfs(f"gitstate_restore_xattrs {records} {initramfs.place}/root").splitlines()
    assert sorted(out) == sorted(
        [
            "gitstate: setfattr: gone: No such file or directory",
            "gitstate: not below the root: file: ../outside",
            f"gitstate: not below the root: file: {initramfs.place}/outside",
            "gitstate: not below the root: file: usr/../../outside",
            "gitstate: not below the root: file: \\056\\056/outside",
            "gitstate: not below the root: file: usr\\057../../outside",
            "gitstate: not below the root: file: usr/..",
            "gitstate: not below the root: file: ..",
            *[line for line in out if "link" in line],
        ]
    )

    def attributes(path: Path) -> set[str]:
        words = ["getfattr", "-h", "-m", "-", "--dump", path]
        return set(re.findall(r"^([a-z_.]+)=", subprocess.run(words, capture_output=True, text=True).stdout, re.M))

    root = initramfs.place / "root"
    assert attributes(root / "usr/bin/ping") == {"security.capability"}
    assert attributes(root / "srv/a b\n\\") == {"system.posix_acl_access"}
    assert attributes(root / "usr/..hidden..") == {"system.posix_acl_access"}
    assert attributes(initramfs.place) == attributes(root) == set()
    assert attributes(initramfs.place / "outside") == set()
    shown = subprocess.run(["getcap", root / "usr/bin/ping"], capture_output=True, text=True, check=True).stdout
    assert "cap_net_raw=ep" in shown


def test_without_a_list_there_is_nothing_to_restore(initramfs: Initramfs) -> None:
    assert initramfs(f"gitstate_restore_xattrs /nowhere {initramfs.place}") == ""


# --- machine ----------------------------------------------------------------------------------------------------------


def machine(initramfs: Initramfs, call: str, more: str = "") -> str:
    return initramfs(
        "gitstate_host=lab3-12 gitstate_domain=lab.test gitstate_dns=' 10.77.0.1 10.77.0.2' gitstate_interface=eth0\n"
        f"mkdir -p $gitstate_run/gitstate\n{more}\n{call}"
    )


@pytest.mark.parametrize(
    ("host", "domain", "names"),
    [
        ("lab3-12", "lab.test", "lab3-12.lab.test lab3-12"),
        ("lab3-12", "", "lab3-12"),
        ("lab3-12.example.org", "lab.test", "lab3-12.example.org lab3-12"),
    ],
)
def test_the_host_has_its_name(initramfs: Initramfs, host: str, domain: str, names: str) -> None:
    etc = initramfs.file("root/etc/hosts", "127.0.0.1\tlocalhost\n127.0.1.1\told old.test\n::1 localhost").parent
    (etc / "hostname").write_text("old\n")
    machine(initramfs, f"gitstate_set_name {etc}", f"gitstate_host={host} gitstate_domain={domain}")
    assert (etc / "hostname").read_text() == f"{host}\n"
    assert (etc / "hosts").read_text() == f"127.0.0.1\tlocalhost\n::1 localhost\n127.0.1.1\t{names}\n"
    assert (initramfs.place / "proc/sys/kernel/hostname").read_text() == f"{host}\n"


def test_a_name_is_not_written_through_a_symlink(initramfs: Initramfs) -> None:
    outside = initramfs.file("outside", "precious\n")
    etc = initramfs.place / "root/etc"
    etc.mkdir(parents=True)
    for name in ("hostname", "hosts", "resolv.conf"):
        (etc / name).symlink_to(outside)
    machine(initramfs, f"gitstate_set_name {etc}; gitstate_set_resolver {etc.parent}")
    assert outside.read_text() == "precious\n"
    assert (etc / "hostname").read_text() == "lab3-12\n"
    assert (etc / "hosts").read_text().startswith("precious\n127.0.1.1\t")
    assert "nameserver 10.77.0.1\nnameserver 10.77.0.2\n" in (etc / "resolv.conf").read_text()


def test_without_a_name_the_root_s_own_stays(initramfs: Initramfs) -> None:
    etc = initramfs.file("root/etc/hostname", "desktop\n").parent
    machine(initramfs, f"gitstate_set_name {etc}", "gitstate_host=")
    assert [path.name for path in etc.iterdir()] == ["hostname"]
    assert (etc / "hostname").read_text() == "desktop\n"


FOUND = "search lab.test\nnameserver 10.77.0.1\nnameserver 10.77.0.2\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, FOUND),
        ("", FOUND),
        ("# nothing\n", FOUND),
        ("nameserver 192.0.2.1\n", "nameserver 192.0.2.1\n"),
        ("-> ../run/NetworkManager/resolv.conf", FOUND),
        ("-> /run/systemd/resolve/stub-resolv.conf", FOUND),
    ],
)
def test_name_servers_are_those_of_dhcp_unless_the_root_has_some(
    initramfs: Initramfs, before: str | None, after: str
) -> None:
    file = initramfs.place / "root/etc/resolv.conf"
    file.parent.mkdir(parents=True)
    if before and before.startswith("-> "):
        file.symlink_to(before.removeprefix("-> "))
    elif before is not None:
        file.write_text(before)
    machine(initramfs, f"gitstate_set_resolver {initramfs.place}/root")
    assert file.read_text() == after


def test_systemd_resolved_is_told_and_its_link_stays(initramfs: Initramfs) -> None:
    initramfs.file("root/usr/lib/systemd/systemd-resolved").chmod(0o755)
    file = initramfs.place / "root/etc/resolv.conf"
    file.parent.mkdir(parents=True)
    file.symlink_to("../run/systemd/resolve/stub-resolv.conf")
    machine(initramfs, f"gitstate_set_resolver {initramfs.place}/root")
    assert file.is_symlink()
    told = (initramfs.place / "run/systemd/resolved.conf.d/gitstate.conf").read_text()
    assert told == "[Resolve]\nDNS=10.77.0.1 10.77.0.2\nDomains=lab.test\n"


def test_a_root_whose_etc_leads_elsewhere_is_left_alone(initramfs: Initramfs) -> None:
    initramfs.interface("eth0", MAC)
    outside = initramfs.file("outside/hosts", "precious\n").parent
    (initramfs.place / "root").mkdir()
    (initramfs.place / "root/etc").symlink_to(outside)
    more = "gitstate_epoch=0 gitstate_nfs=3 gitstate_overlay_size=50%"
    more += "".join(f" gitstate_{name}=" for name in ("snapshot", "release", "archive", "server", "path"))
    out = machine(initramfs, f"gitstate_machine {initramfs.place}/root", more)
    assert "etc is no directory" in out
    assert [path.name for path in outside.iterdir()] == ["hosts"]


@pytest.mark.parametrize(("now", "epoch", "said"), [(1000, 1700000000, "-s @1700000000"), (1700000001, 1700000000, "")])
def test_the_clock_is_not_before_the_snapshot(initramfs: Initramfs, now: int, epoch: int, said: str) -> None:
    date = f'date() {{ [ "$1" != +%s ] || {{ echo {now}; return; }}; echo "$*" >&3; }}'
    assert initramfs(f"exec 3>&1\n{date}\ngitstate_epoch={epoch}\ngitstate_clock").strip() == said


def test_nobody_touches_the_boot_interface(initramfs: Initramfs) -> None:
    initramfs.interface("eth0", MAC)
    machine(initramfs, "gitstate_protect_interface $gitstate_run")
    run = initramfs.place / "run"
    assert (run / "NetworkManager/conf.d/gitstate.conf").read_text().splitlines()[1:] == [
        f"match-device=mac:{MAC}",
        "managed=0",
    ]
    assert "Unmanaged=yes" in (run / "systemd/network/00-gitstate.network").read_text()
    assert f"MACAddress={MAC}" in (run / "systemd/network/00-gitstate.network").read_text()
    assert (run / "network/ifstate").read_text() == "eth0=eth0\n"
    assert (run / "gitstate/ifupdown").read_text() == "EXCLUDE_INTERFACES=eth0\n"
    assert (run / "systemd/system/ifup@eth0.service").readlink() == Path("/dev/null")
    for unit in ("systemd-networkd", "NetworkManager", "ifupdown"):
        drop_in = run / f"systemd/system/{unit}-wait-online.service.d/gitstate.conf"
        assert drop_in.read_text() == "[Unit]\nConditionKernelCommandLine=!boot=gitstate\n"


def test_a_network_that_we_did_not_set_up_is_none_of_ours(initramfs: Initramfs) -> None:
    machine(initramfs, "gitstate_protect_interface $gitstate_run", "unset gitstate_interface")
    assert sorted(path.name for path in (initramfs.place / "run").iterdir()) == ["gitstate"]


def test_what_is_booted_can_be_read_by_any_shell(initramfs: Initramfs) -> None:
    initramfs.interface("eth0", MAC)
    more = (
        "gitstate_snapshot=desktop@0123abcd gitstate_release=lab3/7 gitstate_server=10.77.0.1 "
        "gitstate_path='/srv/it'\\''s $(reboot)' "
        "gitstate_nfs=3 gitstate_address=10.77.0.5 gitstate_overlay_size=50% gitstate_archive="
    )
    about = initramfs.file("about", machine(initramfs, "gitstate_about", more))
    told = (
        "SNAPSHOT",
        "PROTOTYPE",
        "COMMIT",
        "HOST",
        "SERVER",
        "ROOT",
        "NFS",
        "INTERFACE",
        "MAC",
        "ADDRESS",
        "OVERLAY",
    )
    values = " ".join(f'"${key}"' for key in told)
    out = initramfs(f". {about}\nprintf '%s\\n' {values}")
    expected = ["desktop@0123abcd", "desktop", "0123abcd", "lab3-12", "10.77.0.1", "/srv/it's $(reboot)"]
    assert out.splitlines() == [*expected, "3", "eth0", MAC, "10.77.0.5", "50%"]
