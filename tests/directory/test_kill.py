"""kill -9 at any point of a change: the old clients or the new ones, a sound repository, and the next change works."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from gitstate.store.site import Site
from tests.damage.harness import wait_for_orphans
from tests.directory.harness import Place, complaints, machine, machines
from tests.support import PROJECT, needs

pytestmark = needs("git")


@pytest.fixture
def place(site: Site) -> Place:
    """The embedded backend."""
    return Place(site)


def put(place: Place, number: int, point: int) -> int:
    """Put a client in another process, killed at ``point``; how many operations it made, or 0."""
    words = [sys.executable, "-m", "tests.directory.interrupted", str(place.site.path), str(number), str(point)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    wait_for_orphans(place.site.path)
    if done.returncode == -signal.SIGKILL:
        return 0
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def leftovers(place: Place) -> list[str]:
    """What a killed change leaves, and the next one clears."""
    found = [path.name for path in place.site.path.iterdir() if path.name.startswith(".")]
    private = {path.name for path in (place.repository / "gitstate").iterdir()} - {"lock", "clients"}
    locks = [path.name for path in (place.repository / "refs").rglob("*.lock")]
    return sorted([*found, *private, *locks])


def some(total: int, most: int) -> list[int]:
    """At most ``most`` points, first and last among them."""
    return sorted({1 + (total - 1) * step // (most - 1) for step in range(most)})


@pytest.mark.parametrize("most", [8, pytest.param(60, marks=pytest.mark.slow)])
def test_a_change(place: Place, most: int) -> None:
    place.put(*machines(3))
    total = put(place, 100, 0)
    assert total > 15
    for point in some(total, most):
        before = set(place.open().clients())
        survived = put(place, 200 + point, point)
        assert not survived or point > total * 0.6  # the next one may need fewer
        assert not complaints(place)
        after = set(place.open().clients())
        assert after in (before, before | {machine(200 + point).name})
        place.put(machine(300 + point))
        assert set(place.open().clients()) == after | {machine(300 + point).name}
        assert leftovers(place) == []
    assert not complaints(place)


@pytest.mark.parametrize("most", [6, pytest.param(40, marks=pytest.mark.slow)])
def test_the_first_change(place: Place, most: int) -> None:
    total = put(Place(Site.create(place.site.path.with_name("other"))), 1, 0)
    assert total > 30
    for point in some(total, most):
        fresh = Place(Site.create(place.site.path.with_name(f"site-{point}")))
        survived = put(fresh, 1, point)
        assert not survived or point > total * 0.6
        assert set(fresh.open().clients()) in ([set(), {"lab3-01"}] if not survived else [{"lab3-01"}])
        fresh.put(machine(2))
        assert set(fresh.open().clients()) - {"lab3-01"} == {"lab3-02"}
        assert not complaints(fresh)
        assert leftovers(fresh) == []
