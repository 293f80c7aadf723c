"""Real servers read the rendered files, and answer as they should. See asker.py for who asks them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from gitstate.boot.options import Options
from tests.boot.harness import COMMIT, MAC, OWN, UUID, BootPlan, client, image, options, render
from tests.lab.netlab import BRIDGE, SERVER, NetLab, netlab
from tests.lab.servers import ganesha, rpcbind
from tests.support import PROJECT, needs, root_only

GROUP: Final = "www-data"
HERE: Final = {"interface": BRIDGE, "server": SERVER, "group": GROUP}
STRANGER: Final = "52:54:00:00:00:99"


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that other users may pass through, which pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="gitstate-boot-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


def write(place: Path, found: Options) -> Path:
    """Write the files of a site, as tight as publish leaves them; the directory of ``etc/``."""
    site = place / "site"
    for name, text in render(BootPlan(site, UUID, found, (image(),), (client(),))).items():
        file = place / "site" / name if name.startswith("tftp/") else place / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        if name.startswith("tftp/"):
            os.chmod(file, 0o640)
            for path in (file, *file.relative_to(site).parents):
                subprocess.run(["chgrp", GROUP, site / path], check=True)
                if path != file:
                    (site / path).chmod(0o750 if path != Path(".") else 0o711)
    (site / "log").mkdir()
    return place / "etc"


# --- dnsmasq ----------------------------------------------------------------------------------------------------------


@needs("dnsmasq")
@pytest.mark.parametrize("table", [{}, OWN, {"dhcp": "none"}], ids=lambda table: table.get("dhcp", "proxy"))
def test_dnsmasq_reads_its_configuration(place: Path, table: dict[str, Any]) -> None:
    etc = write(place, options(**table, group=GROUP, etc=str(place / "etc")))
    done = subprocess.run(
        ["dnsmasq", "--test", "-C", etc / "gitstate" / "dnsmasq.conf"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "dnsmasq: syntax check OK.\n")


@contextmanager
def serving(place: Path, **table: Any) -> Iterator[NetLab]:
    """A network on which our dnsmasq runs."""
    etc = write(place, options(**HERE, **table, etc=str(place / "etc")))
    log = place / "site" / "log" / "dnsmasq.log"
    with netlab() as lab:
        lab.start(
            *("dnsmasq", "-k", "--pid-file", f"--conf-file={etc}/gitstate/dnsmasq.conf"),
            ready=lambda _: log.exists() and "TFTP root" in log.read_text(),
            log=log,
        )
        # Something must hang on the bridge, or it has no link; veth's other end asks.
        lab.do("ip", "netns", "add", "gs-boot-asker")
        lab.do("ip", "link", "add", "asker", "master", BRIDGE, "type", "veth", "peer", "eth0", "netns", "gs-boot-asker")
        lab.do("ip", "link", "set", "asker", "up")
        lab.do("ip", "-n", "gs-boot-asker", "addr", "add", "10.77.0.9/24", "dev", "eth0")
        lab.do("ip", "-n", "gs-boot-asker", "link", "set", "eth0", "up")
        yield lab


def ask(lab: NetLab, *questions: tuple[str, ...]) -> list[Any]:
    """What asker.py says to each question, run on the network."""
    command = ["ip", "netns", "exec", "gs-boot-asker", sys.executable, "-m", "tests.boot.asker", json.dumps(questions)]
    done = lab.run(*command, environment={**os.environ, "PYTHONPATH": str(PROJECT)})
    assert done.returncode == 0, done.stderr + lab.words()
    answers: list[Any] = json.loads(done.stdout)
    return answers


LOADERS: Final = {"0": "boot/undionly.kpxe", "7": "boot/snponly.efi", "9": "boot/snponly.efi"} | {
    "11": "boot/snponly-arm64.efi"
}


MENU_ITEM: Final = "8000"


@root_only
@needs("dnsmasq", "ip", "unshare", "nsenter")
def test_a_proxy_says_what_to_boot_and_gives_no_address(place: Path) -> None:
    with serving(place) as lab:
        first = ask(lab, *(("dhcp", "eth0", STRANGER, one, "rom") for one in LOADERS))
        again = ask(lab, *(("pxe", SERVER, STRANGER, one) for one in LOADERS))
        ((chosen,),) = ask(lab, ("pxe", SERVER, STRANGER, "0", MENU_ITEM))
        ipxe = ask(lab, *(("dhcp", "eth0", STRANGER, one, "ipxe") for one in LOADERS))
    assert b"\x09\x0b\x80\x00\x08gitstate" in bytes.fromhex(first[0][0]["options"]["43"])  # a menu of one item
    assert (chosen["server"], chosen["file"]) == (SERVER, LOADERS["0"])
    for (said,), (file,), (script,), loader in zip(first, again, ipxe, LOADERS.values(), strict=True):
        assert said["address"] == "0.0.0.0"
        assert bytes.fromhex(said["options"]["60"]) == b"PXEClient"
        assert (file["server"], file["file"]) == (SERVER, loader)
        assert (script["address"], script["server"], script["file"]) == ("0.0.0.0", SERVER, "boot/boot.ipxe")


@root_only
@needs("dnsmasq", "ip", "unshare", "nsenter")
def test_our_own_dhcp_gives_known_machines_their_address(place: Path) -> None:
    with serving(place, **OWN) as lab:
        rom = ask(lab, *(("dhcp", "eth0", MAC, one, "rom") for one in LOADERS))
        ((ipxe,),) = ask(lab, ("dhcp", "eth0", MAC, "7", "ipxe"))
    for (said,), loader in zip(rom, LOADERS.values(), strict=True):
        assert (said["address"], said["server"], said["file"]) == ("10.77.0.12", SERVER, loader)
    assert (ipxe["address"], ipxe["server"], ipxe["file"]) == ("10.77.0.12", SERVER, "boot/boot.ipxe")
    assert bytes.fromhex(ipxe["options"]["12"]) == b"lab3-12"
    assert ipxe["options"]["175"].startswith("b00101")  # no waiting for a proxy


@root_only
@needs("dnsmasq", "ip", "unshare", "nsenter")
def test_tftp_gives_what_is_below_its_root_and_nothing_else(place: Path) -> None:
    """dnsmasq isn't root then: it reads by its group."""
    with serving(place, dhcp="none") as lab:
        site = place / "site"
        (site / "secret").write_text("secret")
        (site / "tftp" / "private").write_text("private")
        (site / "tftp" / "private").chmod(0o600)
        good = ["boot/boot.ipxe", "/boot/mac/52-54-00-12-34-56.ipxe", f"desktop/{COMMIT}/boot.ipxe"]
        bad = ["../secret", "boot/../../secret", str(site / "secret"), "private", "boot", "nothing"]
        told = ask(lab, *(("tftp", SERVER, name) for name in good + bad))
    assert [said.get("text", "")[:6] for said in told] == ["#!ipxe"] * len(good) + [""] * len(bad)
    assert all("error" in said for said in told[len(good) :])


# --- nginx ------------------------------------------------------------------------------------------------------------


@contextmanager
def http(place: Path, user: str, network: str = "127.0.0.0/8") -> Iterator[str]:
    """nginx with our file in its ``conf.d``; where it is reached."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    found = options(interface="lo", server="127.0.0.1", network=network, dhcp="none", http_port=port)
    main = place / "nginx.conf"
    main.write_text(
        f"daemon off;\nuser {user};\nworker_processes 1;\npid {place}/pid;\nerror_log stderr;\nevents {{ }}\n"
        f"http {{\n    include {write(place, found)}/nginx/conf.d/*.conf;\n}}\n"
    )
    command = ["nginx", "-e", "stderr", "-c", main]
    done = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as program:
        try:
            wait_for_port(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            program.terminate()


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if not probe.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.01)
    raise AssertionError("nginx takes no connections")


def get(url: str, method: str = "GET") -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, ""


@root_only
@needs("nginx")
def test_nginx_gives_what_is_below_its_root_and_nothing_else(place: Path) -> None:
    with http(place, GROUP) as url:
        tftp = place / "site" / "tftp"
        (place / "site" / "secret").write_text("secret")
        (tftp / "out").symlink_to("../secret")
        (tftp / "etc").symlink_to("/etc")
        code, text = get(f"{url}/boot/mac/52-54-00-12-34-56.ipxe")
        assert (code, text) == (200, (tftp / "boot" / "mac" / "52-54-00-12-34-56.ipxe").read_text())
        assert get(f"{url}/desktop/{COMMIT}/boot.ipxe")[0] == 200
        assert get(f"{url}/boot/boot.ipxe", "HEAD")[0] == 200
        for name, expected in [("out", 403), ("etc/passwd", 404), ("", 403), ("boot/", 403), ("nothing", 404)]:
            assert get(f"{url}/{name}")[0] == expected, name
        assert get(f"{url}/../secret")[0] in (400, 404)
        assert get(f"{url}/boot/boot.ipxe", "PUT")[0] == 403
        assert get(f"{url}/boot/boot.ipxe", "DELETE")[0] == 403


@root_only
@needs("nginx")
def test_nginx_gives_nothing_to_other_networks(place: Path) -> None:
    with http(place, GROUP, network="127.0.0.0/30") as url:
        assert get(f"{url}/boot/boot.ipxe")[0] == 200
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), 5, ("127.0.0.9", 0)) as door:
            door.sendall(b"GET /boot/boot.ipxe HTTP/1.0\r\n\r\n")
            assert door.recv(100).startswith(b"HTTP/1.1 403")


# --- NFS --------------------------------------------------------------------------------------------------------------


@pytest.mark.lab
@root_only
@needs("ganesha.nfsd", "rpcbind", "nfs-ls", "ip", "unshare", "nsenter")
def test_ganesha_serves_what_comes_later_without_a_reload(place: Path) -> None:
    etc = write(place, options(**HERE, nfs="ganesha"))
    exports = place / "site" / "exports"
    (exports / "desktop").mkdir(mode=0o700, parents=True)
    with netlab() as lab:
        rpcbind(lab)
        ganesha(lab, etc / "gitstate" / "ganesha.conf")
        for version in ("3", "4"):
            path = exports / "desktop" / f"commit{version}"
            url = f"nfs://{SERVER}{path}?version={version}"
            assert lab.run("nfs-ls", url).returncode != 0
            path.mkdir()
            (path / "pushed").touch()
            assert lab.do("nfs-ls", url).split()[-1] == "pushed"
            other = lab.run("nfs-ls", url.replace(SERVER, "127.0.0.1"))
            assert other.returncode != 0, "who isn't on the clients' network may mount it"


# --- systemd ----------------------------------------------------------------------------------------------------------


@needs("systemd-analyze", "dnsmasq", "ganesha.nfsd")
@pytest.mark.parametrize("name", ["gitstate-dnsmasq.service", "gitstate-ganesha.service"])
def test_systemd_reads_our_units(place: Path, name: str) -> None:
    found = options(nfs="ganesha")
    unit = place / name
    unit.write_text(render(BootPlan(place, UUID, found))[f"etc/systemd/system/{name}"])
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
