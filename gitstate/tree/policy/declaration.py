"""What a policy file may hold: schemas/policy.schema.json and the table in docs/policy.md come from here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final, Literal

from gitstate.core.documents import Document, FieldError, Meta, about
from gitstate.tree.policy.globs import translate
from gitstate.tree.policy.rules import Rules

_PATTERN: Final = (
    r"^(?!/)(?![\s\S]*//)(?![\s\S]*/(?![\s\S]))(?!(?:[\s\S]*/)?\.{1,2}(?:/|(?![\s\S])))(?![\s\S]*\*\*[^/])"
    r"(?![\s\S]*[^/]\*\*)(?:[^\\\u0000]|\\(?!000|057)[0-3][0-7]{2})+(?![\s\S])"
)
"""For editors; ``translate`` says what is wrong."""

Pattern = Annotated[
    str,
    Meta(
        title="a pattern of at most 1024 characters",
        description="A path from the root, without a slash in front. * is any part of one name, ? one byte of a name,"
        " ** as a whole name any number of directories (at the end: everything below), \\ooo a byte in octal.",
        max_length=1024,
        extra_json_schema={"pattern": _PATTERN},
    ),
]
Patterns = Annotated[tuple[Pattern, ...], Meta(title="a list of at most 256 patterns", max_length=256)]
Reason = Annotated[
    str, about(what="one line of text", pattern=r"(?=[^\x00-\x1f\x7f]*[^ \x00-\x1f\x7f])[^\x00-\x1f\x7f]+")
]


def _check(table: Document, *keys: str) -> None:
    """Raise FieldError for a pattern that none can be."""
    for key in keys:
        value = getattr(table, key)
        for index, pattern in enumerate([value] if isinstance(value, str) else value):
            try:
                translate(pattern.encode())
            except ValueError as error:
                place = key if isinstance(value, str) else f"{key}[{index}]"
                raise FieldError(place, f"{pattern[:80]!a} {error}", "see docs/policy.md for patterns") from None


class Recorded(Document, frozen=True):
    """What is recorded, besides the defaults."""

    skip: Annotated[Patterns, about("Never recorded; of a directory, nothing below it either.")] = ()
    metadata_only: Annotated[
        Patterns, about("Directories of which only mode and owner are recorded. Other entries that match are recorded.")
    ] = ()
    keep: Annotated[
        Patterns,
        about("Recorded all the same; wins over the other two and the defaults. `skip` wins over `metadata_only`."),
    ] = ()

    def __post_init__(self) -> None:
        _check(self, "skip", "metadata_only", "keep")


class Refused(Document, frozen=True):
    """What stops a check-in, besides the defaults."""

    paths: Annotated[Patterns, about("Regular files that are refused unless they are empty.")] = ()

    def __post_init__(self) -> None:
        _check(self, "paths")


class Allowance(Document, frozen=True):
    """Files that may be recorded although they would be refused."""

    path: Annotated[Pattern, about("Files that may be recorded although refused; wins over `refuse.paths`.")]
    because: Annotated[Reason, about("Why they may be in history.")]

    def __post_init__(self) -> None:
        _check(self, "path")


class PolicyFile(Document, frozen=True, kw_only=True):
    """etc/gitstate/policy.toml of a prototype, policy.toml of a layer: what is never recorded, and what is refused."""

    version: Annotated[Literal[1], about("The version of this file's format.")]
    selinux: Annotated[bool, about("Whether `security.selinux` labels are recorded.")] = False
    record: Recorded = Recorded()
    refuse: Refused = Refused()
    allow: Annotated[
        tuple[Allowance, ...],
        Meta(
            title="a list of at most 256 tables [[allow]]",
            description="Files that may be recorded although they would be refused.",
            max_length=256,
        ),
    ] = ()

    def rules(self) -> Rules:
        """The same, with patterns as bytes."""

        def encoded(patterns: Iterable[str]) -> tuple[bytes, ...]:
            return tuple(pattern.encode() for pattern in patterns)

        return Rules(
            skip=encoded(self.record.skip),
            metadata_only=encoded(self.record.metadata_only),
            keep=encoded(self.record.keep),
            refuse=encoded(self.refuse.paths),
            allow=tuple((one.path.encode(), one.because) for one in self.allow),
            selinux=self.selinux,
        )
