"""``[secrets]`` of site.toml, parsed at the door. schemas/site.schema.json says the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gitstate.core.errors import ConfigError
from gitstate.store.site import Site

KEY_TYPES: Final = ("ed25519", "ecdsa", "rsa")
DEFAULT_KEYS: Final = ("ed25519", "ecdsa")
"""Without rsa: such a key takes 0.4 s, both others together 5 ms, and only OpenSSH older than 5.7 wants it."""


@dataclass(frozen=True, slots=True)
class Options:
    """Which host keys machines get; ``uuid`` is the site's."""

    uuid: str
    host_keys: tuple[str, ...] = DEFAULT_KEYS


def load(site: Site) -> Options:
    """What ``site.toml`` says. Raises NotFoundError, ConfigError."""
    return parse(site.settings(), str(site.file))


def parse(settings: Mapping[str, Any], where: str) -> Options:
    """The options of a site's settings; ``where`` names their file. Raises ConfigError."""
    table = settings.get("secrets", {})
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where}: [secrets] is not a table", "write: [secrets], and its keys below")
    for key in table:
        if key != "host_keys":
            raise ConfigError(f"{where}: [secrets] {ascii(key)[1:-1]} is no key of it", "there is: host_keys")
    keys = table.get("host_keys", list(DEFAULT_KEYS))
    if not isinstance(keys, list) or any(one not in KEY_TYPES or keys.count(one) > 1 for one in keys):
        hint = f"a list of {', '.join(KEY_TYPES)}, each at most once; [] for none"
        raise ConfigError(f"{where}: [secrets] host_keys is {ascii(keys)[:60]}", hint)
    return Options(str(settings.get("uuid", "")), tuple(keys))
