"""All processes of a command are killed at once, or a system call fails: what the next run makes of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from tests.damage.faults import KILL, Calls, Faults
from tests.damage.harness import Harness
from tests.support import needs, root_only

pytestmark = [root_only, needs("git", "cc")]

AT_RENAMES = dataclasses.replace(KILL, calls=Calls.RENAME)


@pytest.fixture(scope="session")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faults]:
    """A process that forks commands with faults in them."""
    made = Faults(tmp_path_factory.mktemp("faults"))
    yield made
    made.close()


# --- refs that move together ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ref", ["refs/heads/main", "refs/gitstate/live"])
def test_a_check_in_killed_with_its_git_before_a_ref_moves(harness: Harness, faults: Faults, ref: str) -> None:
    harness.check_in("before")
    before = harness.head
    (harness.live / "etc" / "fstab").write_text("# two\n")
    said, _, where = faults.run(harness.site, "checkin", "p", "-m", "two", kind=AT_RENAMES, at=1, match=ref)
    assert (said.code, where) == (-9, f"rename {harness.repository / ref}")
    assert (harness.head == before) == (ref == "refs/heads/main")
    (harness.live / "etc" / "fstab").write_text("# three\n")
    harness.check_in("three")
    assert harness.head == harness.git("rev-parse", "refs/gitstate/live")
    harness.sound()
    harness.tidy()
