"""A site, and a directory of it by each backend."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gitstate.store.site import Site
from tests.directory.harness import Place, choose_ldap
from tests.lab.ldap import Server, ldap_server
from tests.support import require

BACKENDS = ["ldif", "ldap-schema", "ldap-map"]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site without prototypes."""
    return Site.create(tmp_path / "site")


@pytest.fixture(scope="session")
def running_slapd() -> Iterator[Server]:
    """A real server, one for each worker."""
    require("slapd")
    with ldap_server() as server:
        yield server


@pytest.fixture
def slapd(running_slapd: Server) -> Server:
    """The same, with nothing in it."""
    running_slapd.clear()
    return running_slapd


@pytest.fixture(params=BACKENDS)
def place(request: pytest.FixtureRequest, site: Site) -> Place:
    """A site whose directory is empty, by each backend in turn."""
    backend, _, mode = request.param.partition("-")
    if backend == "ldap":
        choose_ldap(site, request.getfixturevalue("slapd"), mode)
    return Place(site, request.param)
