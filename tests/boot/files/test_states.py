"""A client's state is a word of its kernel line; the default is none, so that no script changes for it."""

from __future__ import annotations

import pytest

from tests.boot.files.harness import Harness
from tests.support import needs, root_only

pytestmark = [root_only, needs("git")]


@pytest.mark.parametrize("state", ["local", "tmpfs-root"])
def test_a_client_s_state_is_on_its_kernel_line_and_no_one_else_s(harness: Harness, state: str) -> None:
    harness.write()
    before = harness.script(2).read_text()
    assert "gitstate.state" not in harness.script(1).read_text()
    harness.add("one", 1, state=state)
    assert [file.path for file in harness.write().texts.files] == [f"tftp/boot/mac/{harness.script(1).name}"]
    (line,) = [line for line in harness.script(1).read_text().splitlines() if line.startswith("set client ")]
    assert f" gitstate.state={state}" in line
    assert harness.script(2).read_text() == before
    harness.add("one", 1)
    harness.write()
    assert "gitstate.state" not in harness.script(1).read_text()
