"""A real root with apt and dnf: runs of package managers are checked in, services don't start, nothing is left."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.gitstate_command import Site, make_site
from tests.roots import SMALL, tarball
from tests.support import needs, root_only
from tests.tree.local.test_dnf import mended, package
from tests.tree.shell.harness import WAYS, mounts, set_options, start, until

pytestmark = [
    root_only,
    pytest.mark.slow,
    needs("mmdebstrap", "dpkg-deb", "rpmbuild", "unshare"),
    pytest.mark.xdist_group("shell"),
]

SCRIPTS = {
    "DEBIAN/postinst": "#!/bin/sh\nset -e\nupdate-rc.d hello defaults >/dev/null\ninvoke-rc.d hello start\n",
    "etc/init.d/hello": (
        "#!/bin/sh\n### BEGIN INIT INFO\n# Provides: hello\n# Required-Start:\n# Required-Stop:\n"
        "# Default-Start: 2 3 4 5\n# Default-Stop:\n### END INIT INFO\necho started >>/root/started\n"
    ),
}


def deb(place: Path, version: str) -> Path:
    """A package with a service."""
    tree = place / f"deb-{version}"
    control = f"Package: hello\nVersion: {version}\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: x\n"
    for name, text in {**SCRIPTS, "DEBIAN/control": control, "usr/share/hello": f"{version}\n"}.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
        (tree / name).chmod(0o755)
    found = place / f"hello_{version}_all.deb"
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", tree, found], check=True, capture_output=True)
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    place = tmp_path_factory.mktemp("real")
    site = make_site(place / "site")
    site.run("prototype", "create", "desktop", "--from", str(tarball((*SMALL, "dnf", "rpm"))))
    root = live(site)
    for path in root.glob("etc/ssh/ssh_host_*"):
        path.unlink()
    (root / "etc/machine-id").write_text("")
    for version in ("1", "2"):
        (root / "opt" / f"hello-{version}.deb").write_bytes(deb(place, version).read_bytes())
    for name in ("one", "two"):
        (root / "opt" / f"{name}.rpm").write_bytes(package(place, name).read_bytes())
    (root / "opt/python").mkdir()
    (root / "opt/python/sitecustomize.py").write_bytes((mended(place) / "sitecustomize.py").read_bytes())
    site.run("checkin", "desktop", "-m", "as installed")
    return site


def live(site: Site) -> Path:
    """The live tree."""
    return site.path / "live/desktop"


def log(site: Site, count: int) -> list[str]:
    """The newest subjects, the oldest first."""
    return site.git("desktop", "log", f"-{count}", "--reverse", "--format=%s").splitlines()


@pytest.mark.parametrize("way", WAYS)
def test_apt(site: Site, way: str) -> None:
    set_options(site, nspawn=way == "nspawn")
    assert site.json("shell", "desktop", "-n")["way"] == way
    root = live(site)
    (root / "etc/motd").write_text(f"edited before, {way}\n")
    for word in ("1", "2"):
        done = site.run("shell", "desktop", "--", "apt-get", "install", "-y", f"/opt/hello-{word}.deb")
        assert "services aren't started in a live tree: hello start" in done.stdout + done.stderr
    site.run("shell", "desktop", "--", "apt-get", "purge", "-y", "hello")
    assert log(site, 4) == ["before apt", "apt: +hello 1", "apt: hello 1 -> 2", "apt: -hello 2"]
    assert site.git("desktop", "show", "main~2:usr/share/hello").strip() == "1"
    assert site.git("desktop", "show", "--name-only", "--format=", "main~3", "--", "*motd").strip() == "etc/motd"
    assert not (root / "root/started").exists()
    assert site.out("status", "desktop").startswith("desktop: nothing to check in since")
    assert not list((root / "var/cache/apt/archives").glob("*.deb"))
    assert mounts(site.path.parent) == []


def test_dnf(site: Site) -> None:
    set_options(site, nspawn=False)
    words = ("env", "PYTHONPATH=/opt/python", "dnf", "-y", "--disablerepo=*", "--releasever=1", "--nogpgcheck")
    site.run("shell", "desktop", "--", *words, "install", "/opt/one.rpm", "/opt/two.rpm")
    site.run("shell", "desktop", "--", *words, "repoquery", "--installed")
    site.run("shell", "desktop", "--", *words, "remove", "two")
    assert log(site, 2) == ["dnf: +one.noarch 1-1, +two.noarch 1-1", "dnf: -two.noarch 1-1"]
    assert (live(site) / "etc/one").exists()


def test_switched_off_it_is_quiet(site: Site) -> None:
    set_options(site, nspawn=False, packages=False)
    before = site.git("desktop", "rev-parse", "main")
    done = site.run("shell", "desktop", "--", "apt-get", "-qq", "install", "-y", "/opt/hello-1.deb")
    assert "gitstate" not in done.stdout + done.stderr.replace("gitstate status", "")
    assert site.git("desktop", "rev-parse", "main") == before
    set_options(site)


def test_dpkg_itself_and_a_killed_apt(site: Site) -> None:
    set_options(site, nspawn=False)
    root = live(site)
    site.run("shell", "desktop", "-m", "by dpkg", "--", "dpkg", "--install", "/opt/hello-2.deb")
    # apt takes a status file of equal size and second for the one that it had read.
    (root / "var/cache/apt/pkgcache.bin").unlink(missing_ok=True)
    assert not (root / "root/started").exists()
    words = ("shell", "desktop", "--", "apt-get", "install", "-y", "--allow-downgrades", "/opt/hello-1.deb")
    child = start(site, *words, "-o", "DPkg::Pre-Invoke::=touch /root/waiting; sleep 1000")
    until((root / "root/waiting").exists, "apt has not come to its hooks")
    child.kill()
    child.wait()
    until(lambda: not mounts(site.path.parent), "a mount is left")
    site.run(*words)
    assert log(site, 2) == ["before apt", "apt: hello 2 -> 1"]
