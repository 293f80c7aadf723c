"""What site.toml may hold; the rooms that use its tables declare those."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from gitstate.core.documents import Document, Meta, about, field

Table = dict[str, Any]


class SiteFile(Document, frozen=True, kw_only=True):
    """site.toml: one server's settings."""

    version: Annotated[Literal[1], about("The version of this file's format: 1. A newer one is refused (exit code 7).")]
    uuid: Annotated[
        str,
        about(
            "The site's own id, made by `init`. Machine ids and the id of the exports come from it.",
            "a UUID",
            "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
        ),
    ]
    keep: Annotated[
        int, about("Days for which an unused export is kept. Planned; nothing is deleted yet."), Meta(ge=0)
    ] = 30
    boot: Annotated[Table, about("How machines boot. Without it, none does.")] = field(default_factory=dict)
    directory: Annotated[Table, about("Who runs what: in the site's directory.git, or in LDAP.")] = field(
        default_factory=dict
    )
    layers: Annotated[Table, about("Which configuration layers machines get.")] = field(default_factory=dict)
    secrets: Annotated[Table, about("Per-machine secrets.")] = field(default_factory=dict)
    shell: Annotated[Table, about("Shells in live trees.")] = field(default_factory=dict)
