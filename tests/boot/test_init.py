"""``gitstate init --interface``: what it finds out about the network, says and writes."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path

import pytest

from gitstate.store.site import Site
from tests.boot.dhcp_servers import servers, within
from tests.support import needs, root_only

pytestmark = [root_only, needs("dnsmasq", "ip", "unshare", "nsenter")]

ADDRESS = "10.79.0.254"
OPTIONS = """
import sys
from pathlib import Path
from gitstate.boot import options as boot_options
from gitstate.store.site import Site
found = boot_options.load(Site.open(Path(sys.argv[1])))
print(found.server, found.network, found.dhcp)
"""


def init(inside: int, site: Path, *words: str, code: int = 0) -> tuple[str, str]:
    """What the command prints, and what it says besides."""
    done = within(inside, sys.executable, "-m", "gitstate", "--site", str(site), "init", *words, code=code)
    return done.stdout, done.stderr


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ((53,), " (10.79.0.53 keeps giving addresses)"),
        ((9, 53), " (10.79.0.9, 10.79.0.53 keep giving addresses)"),
    ],
)
def test_other_servers_keep_giving_addresses(tmp_path: Path, numbers: tuple[int, ...], told: str) -> None:
    site = tmp_path / "site"
    with servers(tmp_path, *numbers) as inside:
        out, said = init(inside, site, "--interface", "probe")
    assert (out, said) == (f"site {site}  directory ldif  DHCP proxy{told}\n", "")
    written = tomllib.loads((site / "site.toml").read_text())
    assert written["boot"] == {"interface": "probe", "dhcp": "proxy"}


def test_where_no_server_answers(tmp_path: Path) -> None:
    site = tmp_path / "site"
    with servers(tmp_path) as inside:
        out, said = init(inside, site, "--interface", "probe")
        assert out == f"site {site}  directory ldif  DHCP proxy\n"
        assert 'dhcp = "own"' in said
        found = within(inside, sys.executable, "-c", OPTIONS, str(site)).stdout
    assert found == f"{ADDRESS} 10.79.0.0/24 proxy\n"


def test_json_and_dry_run(tmp_path: Path) -> None:
    site = tmp_path / "site"
    with servers(tmp_path, 53) as inside:
        out, said = init(inside, site, "--interface", "probe", "-n", "--json")
    assert json.loads(out)["boot"] == {
        "interface": "probe",
        "server": ADDRESS,
        "network": "10.79.0.0/24",
        "directory": "ldif",
        "dhcp": "proxy",
        "dhcp_servers": ["10.79.0.53"],
    }
    assert said == ""
    assert not site.exists()


def test_nothing_is_made_where_nothing_can_boot(tmp_path: Path) -> None:
    with servers(tmp_path) as inside:
        assert "there is no network interface 'eth9'" in init(inside, tmp_path / "a", "--interface", "eth9", code=7)[1]
        assert "no path for a boot file" in init(inside, tmp_path / "a b", "--interface", "probe", code=7)[1]
        within(inside, "ip", "addr", "flush", "dev", "probe")
        assert "probe has no IPv4 address" in init(inside, tmp_path / "a", "--interface", "probe", code=7)[1]
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "a b").exists()


def test_without_an_interface_it_looks_at_no_network(tmp_path: Path) -> None:
    with servers(tmp_path) as inside:
        assert init(inside, tmp_path / "site") == (f"site {tmp_path}/site\n", "")
    assert "boot" not in Site.open(tmp_path / "site").settings()
