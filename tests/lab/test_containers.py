"""Two containers run off one export with different layers, by the commands of docs/howto/containers.md."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.cli.harness import listing
from tests.docs.pages import fences
from tests.gitstate_command import Site
from tests.lab import prototype
from tests.support import PROJECT, needs, root_only

pytestmark = [
    pytest.mark.lab,
    root_only,
    needs("systemd-nspawn", "mount", "mmdebstrap"),
    pytest.mark.xdist_group("containers"),
]

PAGE: Final = PROJECT / "docs" / "howto" / "containers.md"
PATIENCE: Final = 120
ADA: Final = ("--author", "Ada <ada@example.org>")

_UNIT: Final = """\
[Unit]
After=multi-user.target

[Service]
Type=oneshot
RemainAfterExit=yes
StandardOutput=journal+console
ExecStart=/bin/sh /usr/local/bin/lab-report
"""

# What a container says of itself once it is up; then it writes.
_REPORT: Final = """\
manager="org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager"
cat <<END
REPORT name: $(hostname), $(cat /etc/lab), $(getent hosts "$(hostname)" | wc -l)
REPORT root: $(stat -c %a /), $(ls /etc/lab-version /usr/share/lab 2>/dev/null | wc -l)
REPORT state: $(systemctl is-active default.target), $(systemctl --failed --no-legend | wc -l) failed
REPORT target: $(systemctl show --value -p Description default.target)
REPORT files: $(systemctl show --value -p DefaultLimitNOFILE)
REPORT ipc: $(busctl get-property $manager RemoveIPC)
END
rm /etc/shells
echo mine >/usr/bin/new
echo REPORT wrote
"""


@pytest.fixture
def site() -> Iterator[Site]:
    """A bootable prototype with exports; a base layer, two labs, two clients. The second lab hides a directory."""
    with prototype.copy() as path:
        site = Site(path)
        for name in ("base", "workload/compute"):
            site.run("layer", "create", name, "--shipped")
        site.run("checkin", "workload/compute", "-m", "as it came", *ADA)
        files: dict[str, dict[str, str]] = {
            "base": {
                "usr/local/bin/lab-report": _REPORT,
                "etc/systemd/system/lab-report.service": _UNIT,
                "etc/systemd/system/multi-user.target.d/lab.conf": "[Unit]\nWants=lab-report.service\n",
                "etc/systemd/system/lab-shell.service.d/lab.conf": "[Unit]\nConditionVirtualization=!container\n",
            },
            "lab/lab3": {"etc/lab.j2": "lab3:{{ host }}\n"},
            "lab/lab4": {"etc/lab.j2": "lab4:{{ host }}\n", "usr/share/.wh.lab": "", "etc/.wh.lab-version": ""},
        }
        for name, contents in files.items():
            if name != "base":
                site.run("layer", "create", name)
            for where, text in contents.items():
                file = path / "live" / name / where
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
            site.run("checkin", name, "-m", "ours", *ADA)
        for host, address in {"lab3-14": "10.77.0.14", "lab4-1": "10.77.0.15"}.items():
            site.run("client", "add", host, "--pin", f"{prototype.NAME}@{prototype.ONE}", "--ip", address)
        site.run("client", "set", "lab4-1", "--workload", "compute")
        yield site


@contextmanager
def container(site: Site, place: Path, host: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A container that was started as the page says, and what it prints. It is powered off in the end."""
    (place / "containers").mkdir(exist_ok=True)
    site.run("layer", "render", host, "--to", str(place / "containers" / host / "layers"), "--overlay")
    (block,) = [one for one in fences(PAGE.read_text()) if one.language == "sh"]
    text = "\n".join(block.lines).replace("lab3-14", host).replace("/srv/", f"{place}/")
    text = text.replace(f"--machine={host}", f"--machine=other-{host}")  # its name shall come from its layers
    assert text.count("systemd-nspawn --boot") == text.count("gitstate export desktop") == 1
    text = text.replace("export desktop", f"export desktop {prototype.ONE}")
    # This computer may have no systemd of its own, and no network to give away.
    text = text.replace("systemd-nspawn", "exec systemd-nspawn --register=no --keep-unit --private-network")
    printed = place / f"{host}.printed"
    environment = {**os.environ, "GITSTATE_SITE": str(site.path), "PYTHONPATH": str(PROJECT)}
    environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with printed.open("w") as file:
        run = subprocess.Popen(
            ["sh", "-eu", "-c", text], stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment, text=True
        )
    root = place / "containers" / host / "root"
    try:
        yield run, printed
    finally:
        run.send_signal(signal.SIGTERM)
        try:
            run.wait(PATIENCE)
        finally:
            if run.poll() is None:
                run.kill()
                run.wait()
            if root.is_mount():
                subprocess.run(["umount", root], check=True)


def reports(run: subprocess.Popen[str], printed: Path) -> list[str]:
    """What the container said of itself."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = re.findall(r"REPORT (.*?)\r?$", printed.read_text(errors="replace"), re.MULTILINE)
        if "wrote" in found:
            return found[:-1]
        assert run.poll() is None, printed.read_text(errors="replace")
        time.sleep(0.2)
    raise AssertionError(printed.read_text(errors="replace"))


def test_two_containers_run_off_one_export(site: Site, tmp_path: Path) -> None:
    export = Path(site.out("export", prototype.NAME, prototype.ONE))
    before = listing(export)
    with container(site, tmp_path, "lab3-14") as (one, ones), container(site, tmp_path, "lab4-1") as (two, twos):
        assert reports(one, ones) == [
            "name: lab3-14, lab3:lab3-14, 1",
            "root: 755, 4",
            "state: active, 0 failed",
            "target: Graphical Interface",
            "files: 524288",
            "ipc: b true",
        ]
        assert reports(two, twos) == [
            "name: lab4-1, lab4:lab4-1, 1",
            "root: 755, 0",
            "state: active, 0 failed",
            "target: A compute node",
            "files: 1048576",
            "ipc: b false",
        ], "as workload/compute says"
        assert (one.poll(), two.poll()) == (None, None), "both are up"
        for host in ("lab3-14", "lab4-1"):
            root = tmp_path / "containers" / host / "root"
            assert (root / "usr/bin/new").read_text() == "mine\n"
            assert not (root / "etc/shells").exists()
    assert (one.returncode, two.returncode) == (0, 0), "powered off in good order"
    assert listing(export) == before
    site.run("verify", prototype.NAME, prototype.ONE, str(export))
    shutil.rmtree(tmp_path / "containers")
