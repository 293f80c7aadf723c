"""A client's state is a word of its kernel line; the default is none, so that no script changes for it."""

from __future__ import annotations

import pytest

from tests.boot.files.harness import Ground
from tests.support import needs, root_only

pytestmark = [root_only, needs("git")]


@pytest.mark.parametrize("state", ["local", "tmpfs-root"])
def test_a_client_s_state_is_on_its_kernel_line_and_no_one_else_s(ground: Ground, state: str) -> None:
    ground.write()
    before = ground.script(2).read_text()
    assert "gitstate.state" not in ground.script(1).read_text()
    ground.add("one", 1, state=state)
    assert [file.path for file in ground.write().texts.files] == [f"tftp/boot/mac/{ground.script(1).name}"]
    (line,) = [line for line in ground.script(1).read_text().splitlines() if line.startswith("set client ")]
    assert f" gitstate.state={state}" in line
    assert ground.script(2).read_text() == before
    ground.add("one", 1)
    ground.write()
    assert "gitstate.state" not in ground.script(1).read_text()
