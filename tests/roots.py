"""Real Debian roots, made once by mmdebstrap and kept as tarballs in ``.work/roots``, keyed by their packages."""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
from pathlib import Path

from tests.support import PROJECT, require, require_root

SMALL = ("openssh-server", "sudo", "libcap2-bin", "iputils-ping", "cron")

BOOTABLE = (
    "linux-image-cloud-amd64",
    "initramfs-tools",
    "systemd-sysv",
    "kmod",
    "udev",
    "iproute2",
    "busybox",
    "attr",
    "libcap2-bin",
    "iputils-ping",
    "dbus",
)
"""What a machine without a disk needs, and what shows that it booted well."""

EDITABLE = (*BOOTABLE, "openssh-client")
"""The same, and what sends edits to the server."""


def tarball(packages: tuple[str, ...] = SMALL, suite: str = "bookworm", variant: str = "minbase") -> Path:
    """The tarball of such a root; made now if it isn't kept yet."""
    require_root()
    require("mmdebstrap")
    key = hashlib.sha256(" ".join([suite, variant, *packages]).encode()).hexdigest()[:12]
    kept = PROJECT / ".work" / "roots" / f"{key}.tar"
    kept.parent.mkdir(parents=True, exist_ok=True)
    with open(kept.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            partial = kept.with_suffix(".partial.tar")
            include = f"--include={','.join(packages)}"
            subprocess.run(["mmdebstrap", "--quiet", f"--variant={variant}", include, suite, str(partial)], check=True)
            partial.rename(kept)
    return kept
