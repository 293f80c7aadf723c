"""docs/security.md: nginx with a certificate for each machine, as it stands there, on a port of ours."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support import PROJECT, needs, root_only

pytestmark = [root_only, needs("nginx", "openssl", "curl"), pytest.mark.lab]

PAGE: Final = (PROJECT / "docs" / "security.md").read_text("utf-8")
ADDRESS: Final = "10.77.0.1"


def block(language: str, word: str) -> str:
    (found,) = [text for text in re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL) if word in text]
    return str(found)


@pytest.fixture(scope="module")
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[Path]:
    """nginx, and certificates made by the page's own commands, for lab3-13, too."""
    place = tmp_path_factory.mktemp("https")
    commands = block("sh", "boot authority").replace(ADDRESS, "127.0.0.1")
    machine = commands[commands.rindex("openssl req") :].replace("lab3-12", "lab3-13")
    subprocess.run(["sh", "-euc", commands + machine], cwd=place, check=True, capture_output=True)
    for path in ("boot/boot.ipxe", "archives/lab3/7/lab3-12.cpio", "archives/lab3/7/lab3-13.cpio"):
        (place / "tftp" / path).parent.mkdir(parents=True, exist_ok=True)
        (place / "tftp" / path).write_text(f"{path}\n")
    server = block("nginx", "ssl_verify_client").replace(f"{ADDRESS}:443", f"127.0.0.1:{port}")
    server = server.replace("/etc/ssl/boot", str(place)).replace("/srv/gitstate/tftp", str(place / "tftp"))
    temporary = "".join(f"{kind}_temp_path {place}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi"))
    (place / "nginx.conf").write_text(
        f"user root;\ndaemon off;\nworker_processes 1;\npid {place}/pid;\nerror_log {place}/log;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{temporary}scgi_temp_path {place}/scgi;\n{server}}}\n"
    )
    nginx = subprocess.Popen(["nginx", "-e", str(place / "log"), "-c", str(place / "nginx.conf")])
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if not probe.connect_ex(("127.0.0.1", port)):
                    break
            assert nginx.poll() is None, (place / "log").read_text()
            time.sleep(0.05)
        yield place
    finally:
        nginx.terminate()
        nginx.wait()
        shutil.rmtree(place)


def fetched(place: Path, port: int, path: str, machine: str | None) -> tuple[str, str]:
    """What curl gets: the status, and the text."""
    trust = ["--cacert", f"{place}/ca.crt", "--tls-max", "1.2"]
    certificate = ["--cert", f"{place}/{machine}.crt", "--key", f"{place}/{machine}.key"] if machine else []
    done = subprocess.run(
        ["curl", "-q", "-sS", *trust, *certificate, "-w", "\n%{http_code}", f"https://127.0.0.1:{port}/{path}"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "no_proxy": "*"},
    )
    text, _, status = done.stdout.rpartition("\n")
    return status, text


def test_a_machine_gets_its_own_archive_and_no_other(place: Path, port: int) -> None:
    own = "archives/lab3/7/lab3-12.cpio"
    assert fetched(place, port, own, "lab3-12") == ("200", f"{own}\n")
    assert fetched(place, port, own, "lab3-13")[0] == "403"
    assert fetched(place, port, "archives/lab3/7/lab3-13.cpio", "lab3-12")[0] == "403"
    assert fetched(place, port, "archives/lab3/7/", "lab3-12")[0] == "403"
    assert fetched(place, port, "boot/boot.ipxe", "lab3-12") == ("200", "boot/boot.ipxe\n")


def test_who_has_no_certificate_gets_nothing(place: Path, port: int) -> None:
    for path in ("boot/boot.ipxe", "archives/lab3/7/lab3-12.cpio"):
        assert fetched(place, port, path, None)[0] == "400"
