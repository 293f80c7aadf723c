"""A network in namespaces of its own, with as many DHCP servers as a test wants, each a machine of its own.

We are 10.79.0.254 on the interface ``probe``.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.support import PROJECT

APART: Final = ("--net", "--mount", "--pid", "--fork", "--kill-child")

SERVERS: Final = """\
set -e
mount -t tmpfs none /run
sysctl -qw net.ipv6.conf.all.disable_ipv6=1
ip link set lo up
ip link add br0 type bridge
ip link set br0 up
for number in "$@"; do
    ip link add "v$number" master br0 type veth peer name "w$number"
    ip link set "v$number" up
    mkdir -p "/run/netns"
    ip netns add "gs-boot-$number"
    ip link set "w$number" netns "gs-boot-$number"
    ip -n "gs-boot-$number" addr add "10.79.0.$number/24" dev "w$number"
    ip -n "gs-boot-$number" link set "w$number" up
    range="10.79.0.$((100 + number)),10.79.0.$((100 + number)),255.255.255.0,1h"
    [ "$number" != 99 ] || range="10.79.0.0,proxy"
    ip netns exec "gs-boot-$number" dnsmasq --keep-in-foreground --conf-file=/dev/null --port=0 --no-ping \\
        --interface="w$number" --bind-interfaces --user=root --pid-file --dhcp-range="$range" \\
        --dhcp-leasefile="$PLACE/leases-$number" --log-facility="$PLACE/log-$number" --log-dhcp \\
        --pxe-service=x86PC,x,y &
done
ip link add probe type veth peer name hung
ip link set hung master br0 up
ip link set probe up
ip addr add 10.79.0.254/24 dev probe
for number in "$@"; do
    until grep -q 'sockets bound' "$PLACE/log-$number" 2>/dev/null; do sleep 0.01; done
done
echo ready
read -r end
"""


@contextmanager
def servers(place: Path, *numbers: int) -> Iterator[int]:
    """A network with a DHCP server for each number, 99 a proxy; the process in whose namespaces it is."""
    holder = subprocess.Popen(
        [
            "unshare",
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "sh",
            "-c",
            SERVERS,
            "sh",
            *map(str, numbers),
        ],
        env={**os.environ, "PLACE": str(place)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert holder.stdin
    assert holder.stdout
    try:
        assert holder.stdout.readline() == b"ready\n"
        yield int(Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()[0])
    finally:
        holder.stdin.close()
        holder.wait(10)
        holder.stdout.close()


def within(inside: int, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a program in the network."""
    command = ["nsenter", f"--target={inside}", "--net", "--", *words]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done
