"""docs/netboot.md tells the truth, from an empty server to a booted machine."""

from __future__ import annotations

import pytest

from tests.lab.netboot_page import PAGE, perform, stage
from tests.support import needs, root_only


@pytest.mark.lab
@pytest.mark.xdist_group("boot")
@root_only
@needs("rpcbind", "ganesha.nfsd", "dnsmasq", "nginx", "qemu-system-x86_64", "mmdebstrap")
def test_the_page_tells_the_truth() -> None:
    with stage() as run:
        perform(PAGE.read_text("utf-8"), run)
    hint = "python -m tests.lab.netboot_page --write"
    assert not run.faults, "\n\n".join(["", *run.faults, f"if now is right: {hint}"])
