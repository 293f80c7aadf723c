"""What one machine alone may have: SITE/secrets/HOST/, laid over its root after all layers, never in git."""

from gitstate.secrets.change import add, foresee, hosts, remove, removed, renew, renewed, secret_path
from gitstate.secrets.keys import ensure_host_keys, has_sshd, lacking, public_keys
from gitstate.secrets.options import Options, load
from gitstate.secrets.over import lay_over
from gitstate.secrets.tree import LARGEST, Secrets, machine_secrets

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
