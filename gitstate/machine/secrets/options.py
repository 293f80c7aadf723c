"""``[secrets]`` of site.toml; schemas/site.schema.json comes from here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Literal

from gitstate.core.documents import Document, FieldError, Source, about, parse
from gitstate.store.site import Site

KEY_TYPES: Final = ("ed25519", "ecdsa", "rsa")
DEFAULT_KEYS: Final = ("ed25519", "ecdsa")
"""Without rsa: such a key takes 0.4 s, both others together 5 ms, and only OpenSSH older than 5.7 wants it."""

KeyType = Literal["ed25519", "ecdsa", "rsa"]


class SecretsTable(Document, frozen=True):
    """Per-machine secrets."""

    host_keys: Annotated[
        tuple[KeyType, ...],
        about(
            "The types of ssh host keys that each machine gets, made once, if its root has an sshd; none for `[]`.",
            uniqueItems=True,
        ),
    ] = DEFAULT_KEYS

    def __post_init__(self) -> None:
        if len(set(self.host_keys)) < len(self.host_keys):
            raise FieldError("host_keys", "has a type twice", f"each at most once: {', '.join(KEY_TYPES)}")


@dataclass(frozen=True, slots=True)
class Options:
    """Which host keys machines get; ``uuid`` is the site's."""

    uuid: str
    host_keys: tuple[str, ...] = DEFAULT_KEYS


def load(site: Site) -> Options:
    """What ``site.toml`` says. Raises NotFoundError, ConfigError."""
    return options_of(site.source())


def options_of(source: Source) -> Options:
    """The options in a site's settings. Raises ConfigError."""
    return Options(str(source.values.get("uuid", "")), parse(SecretsTable, source, "secrets").host_keys)
