"""dnf calls what mends links, once for each transaction."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.support import PROJECT, needs, root_only

pytestmark = [root_only, needs("dnf", "rpmbuild")]

SPEC = """\
Name: {name}
Version: 1
Release: 1
Summary: A package
License: none
BuildArch: noarch
%description
A package.
%files
/etc/{name}
"""


def package(place: Path, name: str) -> Path:
    """An rpm with one file."""
    spec = place / f"{name}.spec"
    spec.write_text(SPEC.format(name=name))
    root = place / f"{name}.root"
    (root / "etc").mkdir(parents=True)
    (root / "etc" / name).write_text(f"{name}\n")
    words = ["rpmbuild", "-bb", "--quiet", f"--define=_topdir {place}/rpm", "--buildroot", str(root), str(spec)]
    subprocess.run(words, check=True, capture_output=True)
    (found,) = (place / "rpm").rglob(f"{name}-*.rpm")
    return found


def mended(place: Path) -> Path:
    """Python for Debian 12's dnf, whose plugin asks libdnf for a name that its build of libdnf writes otherwise."""
    shim = place / "mended"
    shim.mkdir()
    text = "import libdnf.conf\nlibdnf.conf.ConfigParser_substitute = libdnf.conf.ConfigParser.substitute\n"
    (shim / "sitecustomize.py").write_text(text)
    return shim


def test_dnf_4_calls_the_hook_once_for_a_transaction(tmp_path: Path) -> None:
    called = tmp_path / "called"
    hook = tmp_path / "autofix"
    hook.write_text(f"#!/bin/sh\necho called >>{called}\n")
    hook.chmod(0o755)
    plugins = tmp_path / "plugins"
    (plugins / "actions").mkdir(parents=True)
    text = (PROJECT / "hooks/packages/dnf4.action").read_text()
    assert "/usr/lib/gitstate/autofix" in text
    (plugins / "actions/gitstate.action").write_text(text.replace("/usr/lib/gitstate/autofix", str(hook)))
    (plugins / "post-transaction-actions.conf").write_text(f"[main]\nenabled=1\nactiondir={plugins}/actions/\n")
    root = tmp_path / "root"
    packages = [str(package(tmp_path, name)) for name in ("one", "two")]
    words = ["dnf", "-y", "--installroot", str(root), f"--setopt=pluginconfpath={plugins}", "--disablerepo=*"]
    words += ["--releasever=1", "--nogpgcheck", "--disableplugin=versionlock"]
    environment = {**os.environ, "PYTHONPATH": str(mended(tmp_path))}
    subprocess.run([*words, "install", *packages], check=True, capture_output=True, env=environment)
    assert (root / "etc/two").read_text() == "two\n"
    assert called.read_text() == "called\n"
    subprocess.run([*words, "remove", "two"], check=True, capture_output=True, env=environment)
    assert called.read_text() == "called\ncalled\n"
