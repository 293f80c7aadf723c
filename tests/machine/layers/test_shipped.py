"""The layers that come with gitstate: taken by a site, rendered for machines, judged by what reads them.

The prototype is a small root with the systemd units of this computer and NVIDIA's glx alternative as Debian's packages
make it. What a machine gets stands over it in an overlay, as in a container.
"""

from __future__ import annotations

import configparser
import json
import re
import stat
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from gitstate.machine import layers
from gitstate.directory import open_directory
from gitstate.machine.layers import shipped
from gitstate.machine.render import Batch, RenderContext
from gitstate.store.site import Site as OpenSite
from gitstate.store import MAIN
from tests.gitstate_command import Site, make_site
from tests.support import PROJECT, needs, root_only

pytestmark = [root_only, needs("git", "rsync", "systemd-analyze"), pytest.mark.xdist_group("shipped")]

LAYERS: Final = PROJECT / "layers"
UNITS: Final = Path("/usr/lib/systemd/system")
GL: Final = "x86_64-linux-gnu"

# Host name, addresses, layers named in the directory.
MACHINES: Final = {
    "lab3-1": (("192.168.1.11",), ("class/nvidia", "workload/desktop")),
    "lab3-2": (("192.168.1.12",), ("class/intel", "workload/desktop")),
    "vm-1": (("192.168.1.13", "fd00:7::13"), ("class/virtual",)),
    "kiosk-1": (("192.168.1.14",), ("class/intel", "workload/kiosk")),
    "node-1": (("192.168.1.15",), ("class/nvidia", "workload/compute")),
    "six-1": (("fd00:7::11",), ()),
    "bare": ((), ()),
    "set-1": (("10.1.2.3",), ("class/virtual", "workload/kiosk")),
}
NETWORK: Final = '[dns]\nnameservers = ["192.168.1.53", "fd00:7::53"]\noptions = ["timeout:2"]\n'
SET: Final = """\
[hosts]
"192.168.1.2" = ["files.example.org", "files"]
[fstab]
tmp = "25%"
mounts = ["files:/srv/scratch\\t/mnt\\tnfs4\\tnofail,_netdev\\t0\\t0"]
[tmpfiles]
var_tmp = "-"
lines = ["d /srv/scratch 1777 root root 10d"]
[identity]
location = 'Room "A7"'
deployment = "test"
[home]
server = "files.example.org"
[applications]
server = "files.example.org"
[log]
server = "log.example.org"
journal = "http://log.example.org:19532"
[x]
resolution = "1280x1024"
[gpu]
bus = "PCI:0:2:0"
[gl]
libraries = ["/opt/gl/lib"]
[kiosk]
url = "https://example.org/?a='b'&c=$d"
allowed = ["example.org"]
browser = "firefox-esr"
uid = 871
"""
ADA: Final = ("--author", "Ada <ada@example.org>")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    place = tmp_path_factory.mktemp("shipped")
    site = make_site(place / "site")
    with (site.path / "site.toml").open("a") as settings:
        settings.write('[layers]\ndomain = "example.org"\nnetworks = ["192.168.1.0/24", "fd00:7::/64"]\n')
    plant(place / "root")
    site.run("prototype", "create", "desktop", "--live", str(place / "root"))
    site.run("checkin", "desktop", "-m", "first", *ADA)
    for one in shipped.shipped():
        site.run("layer", "create", one.name, "--shipped")
        site.run("checkin", one.name, "-m", "as it came", *ADA)
    for name, text in {"network/192.168.1.255": NETWORK, "lab/set": SET}.items():
        site.run("layer", "create", name)
        (site.path / "live" / name / "vars.toml").write_text(text)
        site.run("checkin", name, "-m", "ours", *ADA)
    for host, (addresses, named) in MACHINES.items():
        more = [word for one in addresses for word in ("--ip", one)] + [w for one in named for w in ("--layer", one)]
        site.run("client", "add", host, "--pin", "desktop@main", *more)
    return site


def plant(root: Path) -> None:
    subprocess.run([PROJECT / "tests" / "docs" / "setup" / "small-root", root], check=True)
    (root / "etc/ssh/ssh_host_ed25519_key").unlink()
    subprocess.run(["cp", "-a", UNITS, root / "usr/lib/systemd/"], check=False)
    (root / "usr/lib/systemd").mkdir(exist_ok=True)
    subprocess.run(["cp", "-a", UNITS, root / "usr/lib/systemd/"], check=True)
    (root / "etc/systemd/system").mkdir(parents=True)
    (root / "etc/systemd/system/display-manager.service").symlink_to("/usr/lib/systemd/system/lightdm.service")
    (root / "usr/lib/systemd/system/lightdm.service").write_text("[Service]\nExecStart=/usr/sbin/lightdm\n")
    for program in ("usr/bin/xinit", "usr/sbin/lightdm", "usr/sbin/ldconfig"):
        (root / program).write_text("#!/bin/sh\n")
        (root / program).chmod(0o755)
    mesa = root / f"usr/lib/mesa-diverted/{GL}"
    mesa.mkdir(parents=True)
    (mesa / "libGL.so.1").write_text("Mesa's")
    (root / "usr/lib/nvidia").mkdir()
    (root / "usr/lib/nvidia/nvidia_drv.so").write_text("NVIDIA's")
    (root / f"usr/lib/{GL}").mkdir(exist_ok=True)
    for vendor in ("mesa", "nvidia"):
        (root / f"usr/lib/{GL}/libGLX_{vendor}.so.0").write_text(vendor)
    for name in ("blacklists-nouveau", "modprobe", "load", "drm-outputclass"):
        (root / "etc/nvidia").mkdir(exist_ok=True)
        (root / f"etc/nvidia/nvidia-{name}.conf").write_text(f"# {name}\n")
    links = tomllib.loads((LAYERS / "links.toml").read_text())["class/nvidia"]
    for path, target in links.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).symlink_to(target)
    (root / f"usr/lib/{GL}/libGLX_indirect.so.0").symlink_to(f"/etc/alternatives/glx--libGLX_indirect.so.0-{GL}")


@pytest.fixture(scope="module")
def machine(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Path]]:
    """The root of a machine by its name, to be looked at and written to."""
    made: dict[str, Path] = {}

    def root_of(host: str) -> Path:
        if host not in made:
            place = tmp_path_factory.mktemp(host)
            site.run("layer", "render", host, "--to", str(place / "layers"), "--overlay")
            for name in ("root", "upper", "work"):
                (place / name).mkdir()
            lower = f"lowerdir={place}/layers:{site.path.parent}/root,upperdir={place}/upper,workdir={place}/work"
            subprocess.run(["mount", "-t", "overlay", host, "-o", lower, place / "root"], check=True)
            made[host] = place / "root"
        return made[host]

    try:
        yield root_of
    finally:
        for root in made.values():
            subprocess.run(["umount", root], check=True)


def said(*words: str | Path, code: int = 0) -> str:
    """All that a program says, which ends with ``code``."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def resolved(root: Path, path: str) -> Path:
    """Where a path leads in that root."""
    for _ in range(9):
        if not (root / path).is_symlink():
            return root / path
        path = str((root / path).readlink()).lstrip("/")
    raise AssertionError(path)


def changed(site: Site, host: str) -> dict[str, str]:
    """What layers say of a machine, without directories: layer by path."""
    entries = site.json("layer", "render", host)["entries"]
    return {one["path"]: one["layer"] for one in entries if not one["meta"] or one["meta"]["type"] != "dir"}


# --- what is shipped --------------------------------------------------------------------------------------------------


def test_they_are_listed(site: Site) -> None:
    found = site.json("layer", "list", "--shipped")["layers"]
    assert [one["repository"] for one in found] == [
        "base",
        *("class/intel", "class/nvidia", "class/virtual"),
        *("workload/compute", "workload/desktop", "workload/kiosk"),
    ]
    assert all(one["description"] and one["exists"] for one in found)
    assert site.out("layer", "list", "--shipped").splitlines()[1].split()[:2] == ["base", "exists"]


def test_taking_one_makes_it_the_sites_own(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    site.run("layer", "create", "class/nvidia", "--shipped", "-n")
    assert not (site.path / "live" / "class").exists()
    assert "vars.toml" in site.run("layer", "create", "class/nvidia", "--shipped").stderr
    live = site.path / "live" / "class" / "nvidia"
    for path in sorted(live.rglob("*")):
        status = path.lstat()
        usual = {stat.S_IFDIR: 0o755, stat.S_IFREG: 0o644, stat.S_IFLNK: 0o777}[stat.S_IFMT(status.st_mode)]
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (0, 0, usual), path
        if path.is_file() and not path.is_symlink():
            assert path.read_bytes() == (LAYERS / "class/nvidia" / path.relative_to(live)).read_bytes()
    assert (live / "etc/alternatives/glx").readlink() == Path("/usr/lib/nvidia")
    site.run("checkin", "class/nvidia", "-m", "as it came", *ADA)
    site.run("layer", "create", "class/nvidia", "--shipped", code=2)
    assert "layer list --shipped" in site.run("layer", "create", "class/none", "--shipped", code=10).stderr
    assert not site.repository("class/none").exists()


def test_every_file_says_whose_it_is_and_what_changes_it() -> None:
    silent = set()
    for one in shipped.shipped():
        for path in one.place.rglob("*"):
            if not path.is_file() or path.name in ("layer.toml", "vars.toml") or path.name.startswith(".wh."):
                continue
            text = path.read_text()
            if f"gitstate, layer {one.name}" not in text:
                silent.add(path.relative_to(LAYERS).as_posix())
            elif re.search(r"{[{%].*vars", text):
                assert re.search(r"gitstate, layer .*vars\.", text), f"{path}: no variable is named"
    merged = {f"workload/kiosk/etc/{name}.merge.j2" for name in ("passwd", "group", "shadow")}
    assert silent == merged, "lines to be merged are no file"


def test_every_variable_has_a_default() -> None:
    for one in shipped.shipped():
        known = tomllib.loads((one.place / "vars.toml").read_text())
        for path in one.place.rglob("*.j2"):
            for name in re.findall(r"(?<![(\w])vars\.([a-z_.]+)", re.sub(r"#.*", "", path.read_text())):
                value: Any = known
                for part in re.sub(r"\.(items|startswith)$", "", name).split("."):
                    assert part in value, f"{path}: vars.{name}"
                    value = value[part]


# --- with nothing set -------------------------------------------------------------------------------------------------


def test_what_a_machine_gets_with_nothing_set(site: Site) -> None:
    """No more than names and what is harmless; the image's resolver, fstab and the like stay."""
    timers = ("apt-daily", "apt-daily-upgrade", "dpkg-db-backup", "man-db")
    assert changed(site, "bare") == dict.fromkeys(
        (
            *("etc/hostname", "etc/hosts", "etc/issue.d/gitstate.issue", "etc/tmpfiles.d/tmp.conf"),
            *(f"etc/systemd/system/{name}.timer.d/gitstate.conf" for name in timers),
        ),
        "base",
    )


def test_of_a_file_that_is_skipped_no_layer_says_anything(site: Site) -> None:
    assert site.out("layer", "which", "bare", "/etc/fstab").endswith("no layer has it")
    site.run("layer", "which", "bare", "/etc/resolv.conf", code=10)
    assert site.out("layer", "which", "lab3-1", "/etc/resolv.conf").splitlines()[0].startswith("/etc/resolv.conf: base")


@pytest.mark.parametrize("host", MACHINES)
def test_what_is_listed_is_what_is_written(site: Site, machine: Callable[[str], Path], host: str) -> None:
    """Through the command line: nothing is undefined, and every entry stands in the machine's root."""
    root = machine(host)
    for path, layer in changed(site, host).items():
        is_hidden = layer.startswith("class/") and (LAYERS / layer / path).with_name(f".wh.{Path(path).name}").exists()
        assert (root / path).is_symlink() or (root / path).exists() or is_hidden, path


# --- base -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "addresses"),
    [
        ("lab3-1", {"192.168.1.11"}),
        ("vm-1", {"192.168.1.13", "fd00:7::13"}),
        ("six-1", {"fd00:7::11"}),
        ("bare", {"127.0.1.1"}),
    ],
)
def test_the_resolver_finds_the_machine_in_hosts(
    machine: Callable[[str], Path], host: str, addresses: set[str]
) -> None:
    root = machine(host)
    assert (root / "etc/hostname").read_text() == f"{host}\n"
    ask = f"mount --bind {root}/etc/hosts /etc/hosts && getent -s files ahosts $1"
    for name in (host, f"{host}.example.org"):
        found = said("unshare", "-m", "sh", "-c", ask, "sh", name)
        assert {line.split()[0] for line in found.splitlines()} == addresses
    assert "127.0.0.1" in said("unshare", "-m", "sh", "-c", ask, "sh", "localhost")


def test_further_hosts(machine: Callable[[str], Path]) -> None:
    ask = f"mount --bind {machine('set-1')}/etc/hosts /etc/hosts && getent -s files hosts files"
    assert said("unshare", "-m", "sh", "-c", ask).split() == ["192.168.1.2", "files.example.org", "files"]


def test_a_networks_resolver(site: Site, machine: Callable[[str], Path]) -> None:
    assert changed(site, "lab3-1")["etc/resolv.conf"] == "base"
    assert (machine("lab3-1") / "etc/resolv.conf").read_text().splitlines()[1:] == [
        "search example.org",
        *("nameserver 192.168.1.53", "nameserver fd00:7::53", "options timeout:2"),
    ]
    assert "etc/resolv.conf" not in changed(site, "six-1"), "that is of another network"


def test_fstab_is_one(site: Site, machine: Callable[[str], Path]) -> None:
    fstab = machine("set-1") / "etc/fstab"
    found = said("findmnt", "--tab-file", fstab, "--noheadings", "--raw", "--output", "TARGET,FSTYPE,OPTIONS")
    assert found.splitlines() == ["/tmp tmpfs mode=1777,nosuid,nodev,size=25%", "/mnt nfs4 nofail,_netdev"]
    assert "Success, no errors" in said("findmnt", "--verify", "--tab-file", fstab)
    site.run("client", "set", "set-1", "--kind", "thick")
    assert "etc/fstab" not in changed(site, "set-1"), "disks are the machine's own"
    site.run("client", "set", "set-1", "--kind", "diskless")


@pytest.mark.parametrize("host", MACHINES)
def test_tmpfiles_are_made(machine: Callable[[str], Path], host: str) -> None:
    root = machine(host)
    files = [path.name for path in (root / "etc/tmpfiles.d").glob("*.conf")]
    assert "tmp.conf" in files
    printed = said("systemd-tmpfiles", f"--root={root}", "--create", *files)
    assert printed == "", "not one complaint"
    if host == "set-1":
        assert stat.S_IMODE((root / "srv/scratch").stat().st_mode) == 0o1777
    if host.startswith(("kiosk", "set")):
        home = (root / "var/lib/kiosk").stat()
        uid = 871 if host == "set-1" else 870
        assert (home.st_uid, home.st_gid, stat.S_IMODE(home.st_mode)) == (uid, uid, 0o700)


def test_identity(machine: Callable[[str], Path]) -> None:
    info = machine("set-1") / "etc/machine-info"
    assert said("sh", "-c", f'. {info}; echo "$LOCATION, $DEPLOYMENT"') == 'Room "A7", test\n'
    shown = f"agetty --show-issue --issue-file {machine('set-1')}/etc/issue.d"
    assert "set-1.example.org, 10.1.2.3, Room" in said("script", "-qec", shown, "/dev/null")


def test_homes_and_applications_by_autofs(site: Site, machine: Callable[[str], Path]) -> None:
    root = machine("set-1")
    assert lines(root / "etc/auto.master.d/home.autofs") == [["/home", "/etc/auto.home", "--timeout=300"]]
    assert lines(root / "etc/auto.home") == [["*", "-fstype=nfs4,hard,nosuid,nodev", "files.example.org:/home/&"]]
    assert not stat.S_IMODE((root / "etc/auto.home").stat().st_mode) & 0o111, "an executable map is a program"
    assert lines(root / "etc/auto.master.d/applications.autofs") == [["/-", "/etc/auto.applications", "--timeout=300"]]
    assert lines(root / "etc/auto.applications") == [
        ["/opt/applications", "-fstype=nfs4,ro,hard,nodev", "files.example.org:/srv/applications"]
    ]
    profile = root / "etc/profile.d/gitstate-applications.sh"
    assert said("sh", "-c", f"PATH=/bin; . {profile}; echo $PATH") == "/bin:/opt/applications/bin\n"
    assert "etc/autofs.conf" not in changed(site, "set-1")


def test_homes_by_ldap(site: Site) -> None:
    live = site.path / "live" / "lab" / "set" / "vars.toml"
    live.write_text(SET + '[home.ldap]\nuri = "ldap://ldap.example.org"\nbase = "ou=automount,dc=example,dc=org"\n')
    site.run("checkin", "lab/set", "-m", "homes by LDAP", *ADA)
    to = site.path.parent / "ldap"
    site.run("layer", "render", "set-1", "--to", str(to))
    assert lines(to / "etc/auto.master.d/home.autofs") == [["/home", "ldap:auto.home", "--timeout=300"]]
    assert not (to / "etc/auto.home").exists()
    settings = configparser.ConfigParser()
    settings.read(to / "etc/autofs.conf")
    assert settings[" autofs "]["ldap_uri"] == '"ldap://ldap.example.org"'
    assert settings[" autofs "]["search_base"] == '"ou=automount,dc=example,dc=org"'
    live.write_text(SET)
    site.run("checkin", "lab/set", "-m", "homes by a file", *ADA)


def lines(path: Path) -> list[list[str]]:
    """The words of each line that isn't a comment."""
    return [line.split() for line in path.read_text().splitlines() if line and not line.startswith("#")]


@needs("rsyslogd")
def test_rsyslog_takes_what_sends_logs(machine: Callable[[str], Path], tmp_path: Path) -> None:
    whole = tmp_path / "rsyslog.conf"
    included = machine("set-1") / "etc/rsyslog.d/60-gitstate.conf"
    whole.write_text(f'module(load="imuxsock")\n$IncludeConfig {included}\n')
    assert "error" not in said("rsyslogd", "-N1", "-f", whole)
    whole.write_text(f'module(load="imuxsock")\n{included.read_text().replace("queue.size", "queue.sise")}\n')
    assert "queue.sise" in said("rsyslogd", "-N1", "-f", whole, code=1), "the judge can tell"


def test_the_journal_is_sent(site: Site, machine: Callable[[str], Path]) -> None:
    found = configparser.ConfigParser()
    found.read(machine("set-1") / "etc/systemd/journal-upload.conf.d/gitstate.conf")
    assert found["Upload"]["URL"] == "http://log.example.org:19532"


# --- systemd ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "target", "wants_x"),
    [
        ("lab3-1", "A desktop", True),
        ("lab3-2", "A desktop", True),
        ("vm-1", "Graphical Interface", True),
        ("kiosk-1", "A kiosk", False),
        ("node-1", "A compute node", False),
        ("set-1", "A kiosk", False),
    ],
)
def test_systemd_takes_the_units(machine: Callable[[str], Path], host: str, target: str, wants_x: bool) -> None:
    """``systemd-analyze verify`` has no word against any, those they depend on included."""
    root = machine(host)
    units = [
        path.name for path in (root / "etc/systemd/system").glob("*.*") if path.is_file() and not path.is_symlink()
    ]
    assert said("systemd-analyze", "verify", f"--root={root}", "default.target", "apt-daily.timer", *units) == ""
    default = next(one for one in ("etc", "usr/lib") if (root / one / "systemd/system/default.target").exists())
    assert f"Description={target}\n" in (root / default / "systemd/system/default.target").read_text()
    stopped = [*(root / "etc/systemd/system/display-manager.service.d").glob("*.conf")]
    assert bool(stopped) != wants_x


def test_x_can_be_turned_off_for_one_machine(site: Site) -> None:
    site.run("layer", "create", "host/lab3-2")
    (site.path / "live/host/lab3-2/vars.toml").write_text("[x]\nenabled = false\n")
    site.run("checkin", "host/lab3-2", "-m", "no X", *ADA)
    found = changed(site, "lab3-2")
    assert found["etc/systemd/system/display-manager.service.d/gitstate-x.conf"] == "class/intel"
    assert "etc/X11/xorg.conf.d/20-gitstate-gpu.conf" not in found
    to = site.path.parent / "no-x"
    site.run("layer", "render", "lab3-2", "--to", str(to))
    assert "Requires=multi-user.target\n" in (to / "etc/systemd/system/default.target").read_text()
    (site.path / "live/host/lab3-2/vars.toml").unlink()
    site.run("checkin", "host/lab3-2", "-m", "X", *ADA)


# --- classes ----------------------------------------------------------------------------------------------------------


def test_gl_stacks_are_chosen_as_the_alternatives_do(machine: Callable[[str], Path]) -> None:
    nvidia, intel = machine("lab3-1"), machine("lab3-2")
    indirect = f"usr/lib/{GL}/libGLX_indirect.so.0"
    assert resolved(nvidia, indirect).read_text() == "nvidia"
    assert resolved(intel, indirect).read_text() == "mesa"
    for root in (nvidia, intel):
        assert resolved(root, f"etc/alternatives/glx--libGL.so.1-{GL}").read_text() == "Mesa's"
    assert (intel / "etc/alternatives/glx").readlink() == Path("/usr/lib/mesa-diverted")
    assert resolved(nvidia, "usr/lib/xorg/modules/drivers/nvidia_drv.so").read_text() == "NVIDIA's"
    assert resolved(nvidia, "etc/modprobe.d/nvidia-blacklists-nouveau.conf").exists()
    for path in ("usr/lib/xorg/modules/drivers/nvidia_drv.so", "etc/modprobe.d/nvidia-blacklists-nouveau.conf"):
        assert not (intel / path).is_symlink()
        assert not (intel / path).exists()


def test_what_classes_have_in_common_is_the_same() -> None:
    files = [
        "etc/ld.so.conf.d/00-gitstate-gl.conf.j2",
        "etc/systemd/system/default.target.j2",
        "etc/systemd/system/display-manager.service.d/gitstate-x.conf.j2",
        "etc/systemd/system/gitstate-gl.service.j2",
        "etc/systemd/system/sysinit.target.d/gitstate-gl.conf.j2",
    ]
    for path in files:
        names = ("class/intel", "class/nvidia", "class/virtual")
        texts = {(LAYERS / name / path).read_text().replace(name, "CLASS") for name in names}
        assert len(texts) == 1, path


def test_whiteouts_are_of_what_the_other_stack_has() -> None:
    """All that NVIDIA's layer links beyond Mesa's, Mesa's layers hide."""
    links = tomllib.loads((LAYERS / "links.toml").read_text())
    for name in ("class/intel", "class/virtual"):
        hidden = {str(path.relative_to(LAYERS / name)).replace(".wh.", "") for path in (LAYERS / name).rglob(".wh.*")}
        assert hidden == links["class/nvidia"].keys() - links[name].keys()


@pytest.mark.parametrize(
    ("host", "slot", "vendor", "bus"),
    [
        ("lab3-1", "0000:01:00.0", "0x10de", "PCI:1:0:0"),
        ("lab3-1", "0000:c1:00.1", "0x10de", "PCI:193:0:1"),
        ("lab3-1", "10000:01:1f.0", "0x10de", "PCI:1@65536:31:0"),
        ("lab3-1", "0000:00:02.0", "0x8086", None),
        ("lab3-2", "0000:00:02.0", "0x8086", "PCI:0:2:0"),
        ("lab3-2", "10000:0a:1e.2", "0x8086", "PCI:10@65536:30:2"),
        ("vm-1", "0000:00:01.0", "0x1af4", "PCI:0:1:0"),
        ("vm-1", "0000:1f:10.7", "0x1b36", "PCI:31:16:7"),
    ],
)
def test_xorg_gets_the_gpu_that_was_detected(site: Site, host: str, slot: str, vendor: str, bus: str | None) -> None:
    others: list[dict[str, str | None]] = [
        {"slot": "0000:00:00.0", "vendor": vendor, "device": "0x1", "class": "0x060000", "modalias": None},
        {"slot": "0000:00:03.0", "vendor": None, "device": None, "class": None, "modalias": None},
    ]
    gpu = {"slot": slot, "vendor": vendor, "device": "0x1234", "class": "0x030000", "modalias": None}
    text = with_hardware(site, host, {"schema": "probe/1", "pci": [*others, gpu]})
    assert re.findall(r'^\tBusID "(.*)"$', text, re.MULTILINE) == ([bus] if bus else [])
    assert with_hardware(site, host, {"pci": []}).count("BusID") == 0


def test_a_machine_that_reports_its_gpu_gets_it_with_the_next_release(site: Site, tmp_path: Path) -> None:
    gpu = {"slot": "0000:41:00.0", "vendor": "0x10de", "device": "0x1c82", "class": "0x030000", "modalias": "pci:v10DE"}
    machine = {"schema": "probe/1", "host": "lab3-9", "architecture": "x86_64", "cpus": 4, "memory": 1 << 33}
    (tmp_path / "probe.json").write_text(json.dumps({**machine, "dmi": {}, "pci": [gpu], "network": [], "disks": []}))
    site.run("channel", "create", "lab3", "--prototype", "desktop")
    site.run("client", "add", "lab3-9", "--channel", "lab3", "--layer", "class/nvidia")
    site.run("client", "report", "lab3-9", str(tmp_path / "probe.json"))
    site.run("push", "desktop", "lab3", "--yes")
    site.run("layer", "render", "lab3-9", "--to", str(tmp_path / "layers"))
    assert "PCI:65:0:0" in (tmp_path / "layers/etc/X11/xorg.conf.d/20-gitstate-gpu.conf").read_text()


def with_hardware(site: Site, host: str, reported: dict[str, Any]) -> str:
    """The settings for X of a machine that reported its hardware."""
    opened = OpenSite.open(site.path)
    tips = {name: opened.repository(name).ref(MAIN) for name in opened.layers()}
    tip = opened.repository("desktop").ref(MAIN)
    assert tip
    known = {name: one for name, one in tips.items() if one}
    context = RenderContext(("desktop", tip), known, layers.load(opened), hardware={host: reported})
    batch = Batch(context, opened.repository)
    found = batch.render(open_directory(opened).client(host)).items
    (item,) = [one for one in found if one.path == b"etc/X11/xorg.conf.d/20-gitstate-gpu.conf"]
    return batch.read(item).decode()


def test_resolution_and_bus_can_be_set(machine: Callable[[str], Path]) -> None:
    text = (machine("set-1") / "etc/X11/xorg.conf.d/20-gitstate-gpu.conf").read_text()
    assert '\tBusID "PCI:0:2:0"\n' in text
    assert '\t\tModes "1280x1024"\n' in text
    assert text.count("Section") == 2 * len(re.findall(r"^\t?End", text, re.MULTILINE))
    assert "Screen" not in (machine("vm-1") / "etc/X11/xorg.conf.d/20-gitstate-gpu.conf").read_text()
    assert (machine("set-1") / "etc/ld.so.conf.d/00-gitstate-gl.conf").read_text().endswith("/opt/gl/lib\n")


# --- workloads --------------------------------------------------------------------------------------------------------


@needs("shellcheck", "pwck")
@pytest.mark.parametrize(
    ("host", "command"),
    [
        ("kiosk-1", ["chromium", "--kiosk", "--incognito", "about:blank"]),
        ("set-1", ["firefox-esr", "--kiosk", "--private-window", "https://example.org/?a='b'&c=$d"]),
    ],
)
def test_a_kiosk(machine: Callable[[str], Path], tmp_path: Path, host: str, command: list[str]) -> None:
    root = machine(host)
    said("pwck", "-r", root / "etc/passwd", root / "etc/shadow", code=2)  # homes are not of this computer
    assert re.search(r"^kiosk:!:", (root / "etc/shadow").read_text(), re.MULTILINE), "nobody logs in as it"
    session = root / "etc/X11/kiosk-session"
    assert said("shellcheck", "-S", "warning", session) == ""
    for name in ("xset", "openbox", "chromium", "firefox-esr"):
        told = f'#!/bin/sh\nprintf "%s\\n" {name} "$@" >{tmp_path}/{name}.told\n'
        (tmp_path / name).write_text(told)
        (tmp_path / name).chmod(0o755)
    subprocess.run(["sh", session], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=True)
    told_words = (tmp_path / f"{command[0]}.told").read_text().splitlines()
    assert [word for word in told_words if word in command] == command
    assert told_words[-1] == command[-1]
    chromium = json.loads((root / "etc/chromium/policies/managed/kiosk.json").read_text())
    firefox = json.loads((root / "etc/firefox/policies/policies.json").read_text())["policies"]
    if host == "set-1":
        assert (chromium["URLBlocklist"], chromium["URLAllowlist"][0]) == (["*"], "example.org")
        assert firefox["WebsiteFilter"]["Exceptions"] == ["*://example.org/*", "*://*.example.org/*"]
    else:
        assert chromium["URLBlocklist"] == []
        assert "WebsiteFilter" not in firefox


def test_a_desktop(machine: Callable[[str], Path]) -> None:
    root = machine("lab3-1")
    found = configparser.ConfigParser()
    found.read([root / "etc/lightdm/lightdm.conf.d/50-gitstate.conf", root / "etc/systemd/logind.conf.d/gitstate.conf"])
    assert (found["Seat:*"]["greeter-hide-users"], found["Login"]["KillUserProcesses"]) == ("true", "yes")


@needs("sysctl")
def test_a_compute_node(site: Site, machine: Callable[[str], Path]) -> None:
    root = machine("node-1")
    assert "etc/X11/xorg.conf.d/20-gitstate-gpu.conf" not in changed(site, "node-1")
    printed = said("sysctl", "--dry-run", "-p", root / "etc/sysctl.d/60-gitstate-compute.conf")
    assert "vm.swappiness = 10" in printed.splitlines()
    found = said("systemd-analyze", "cat-config", f"--root={root}", "systemd/sleep.conf")
    assert "AllowSuspend=no" in found.splitlines()
    assert ["*", "-", "memlock", "unlimited"] in lines(root / "etc/security/limits.d/gitstate.conf")
