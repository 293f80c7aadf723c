"""The built wheel alone, in an empty virtual environment outside the checkout, does the main job."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import PROJECT, needs, root_only

pytestmark = [pytest.mark.slow, root_only, needs("mmdebstrap", "mtree", "git"), pytest.mark.xdist_group("debian")]


def run(*command: str | Path, cwd: Path, path: str = "") -> str:
    """Run a command away from the checkout and without a compiler; what it prints."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"CC": "false"}
    environment["PATH"] = f"{path}:{environment['PATH']}" if path else environment["PATH"]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_runs_the_demo(tmp_path: Path) -> None:
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-q")
    run(*pip, "wheel", "--no-deps", "--wheel-dir", tmp_path / "dist", PROJECT, cwd=tmp_path)
    (wheel,) = (tmp_path / "dist").glob("gitstate-*.whl")
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "--disable-pip-version-check", "-q", "install", wheel, cwd=tmp_path)

    data = run(python, "-c", "import gitstate; print(gitstate.__path__[0])", cwd=tmp_path).strip()
    assert Path(data).is_relative_to(tmp_path)
    shipped = {str(path.relative_to(f"{data}/_data")) for path in Path(data, "_data").rglob("*.json")}
    assert shipped == {str(path.relative_to(PROJECT)) for path in (PROJECT / "schemas").rglob("*.json")}
    layers = {path.relative_to(data) for path in Path(data, "_data", "layers").rglob("*") if path.is_file()}
    assert layers == {"_data" / path.relative_to(PROJECT) for path in (PROJECT / "layers").rglob("*") if path.is_file()}

    assert (tmp_path / "venv" / "share" / "man" / "man1" / "gitstate.1").read_text().startswith(".")
    site = tmp_path / "site"
    run(python, "-m", "gitstate", "--site", site, "init", cwd=tmp_path)
    with (site / "site.toml").open("a") as file:
        file.write('[directory]\nbackend = "ldap"\nuri = "ldapi:///"\nbase = "dc=example,dc=org"\n')
    listed = [python, "-m", "gitstate", "--site", site, "client", "list"]
    refused = subprocess.run(listed, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert refused.returncode == 5
    assert "pip install 'gitstate[ldap]'" in refused.stderr

    cache = PROJECT / ".work" / "demo" / "cache"
    if cache.is_dir():
        shutil.copytree(cache, tmp_path / "demo" / "cache")
    demo = PROJECT / "tests" / "demo" / "demo"
    told = run("sh", demo, "--dir", tmp_path / "demo", cwd=tmp_path, path=str(python.parent))
    assert "no difference" in told
    assert "+server:/home  /home  nfs4  ro,nofail  0 0" in told.splitlines()
    assert "+cap_net_bind_service=ep" in told
    shutil.rmtree(tmp_path / "demo")
