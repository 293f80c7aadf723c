"""Per-machine secrets: SITE/secrets/HOST/, laid over the machine's root after all layers, never in git."""

from gitstate.machine.secrets.apply import apply_secrets
from gitstate.machine.secrets.change import (
    add,
    hosts,
    parse_path,
    preview_add,
    preview_remove,
    preview_renew,
    remove,
    renew,
)
from gitstate.machine.secrets.damage import damaged
from gitstate.machine.secrets.keys import ensure_host_keys, missing_keys, options_for, public_keys
from gitstate.machine.secrets.listing import KnownHost, Secret, known_hosts, listing
from gitstate.machine.secrets.options import Options, load
from gitstate.machine.secrets.sshd import has_sshd
from gitstate.machine.secrets.tree import LARGEST, Secrets, machine_secrets, stamps
