"""What one machine alone may have: SITE/secrets/HOST/, laid over its root after all layers, never in git."""

from gitstate.machine.secrets.change import add, foresee, hosts, remove, removed, renew, renewed, secret_path
from gitstate.machine.secrets.keys import ensure_host_keys, has_sshd, lacking, public_keys
from gitstate.machine.secrets.options import Options, load
from gitstate.machine.secrets.over import lay_over
from gitstate.machine.secrets.tree import LARGEST, Secrets, machine_secrets

__all__ = [
    "LARGEST",
    "Options",
    "Secrets",
    "add",
    "ensure_host_keys",
    "foresee",
    "has_sshd",
    "hosts",
    "lacking",
    "lay_over",
    "load",
    "machine_secrets",
    "public_keys",
    "remove",
    "removed",
    "renew",
    "renewed",
    "secret_path",
]
