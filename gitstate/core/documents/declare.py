"""How a document is declared: a class of typed fields, each with its meaning and what its values look like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from msgspec import UNSET, Meta, Struct, field
from msgspec import UnsetType as Unset
from msgspec.structs import replace

__all__ = ["UNSET", "Document", "FieldError", "Meta", "Unset", "about", "field", "plain", "replace"]

_END: Final = r"(?![\s\S])"
"""The end of a text in every dialect: ``$`` may stand before a line end, and JSON Schema has no ``\\Z``."""


class Document(Struct, frozen=True, forbid_unknown_fields=True):
    """A document or a table in one. Subclasses may check what concerns several keys in ``__post_init__``."""

    conditions: ClassVar[Mapping[str, Any]] = {}
    """The same as keywords of JSON Schema, as far as it can say that."""


class FieldError(ValueError):
    """What is wrong with the value of ``key``, a dotted path seen from the table that raises it."""

    def __init__(self, key: str, problem: str, hint: str = "") -> None:
        super().__init__(problem)
        self.key = key
        self.problem = problem
        self.hint = hint


def about(description: str = "", what: str = "", pattern: str = "", example: object = None, **schema: Any) -> Meta:
    """The description of a key, or ``what`` its values are, their ``pattern`` from end to end, and an example.

    ``schema`` has further keywords of JSON Schema, which the parser doesn't look at.
    """
    return Meta(
        title=what or None,
        description=description or None,
        pattern=f"^(?:{pattern}){_END}" if pattern else None,
        examples=None if example is None else [example],
        extra_json_schema=schema or None,
    )


def plain(document: Document) -> Any:
    """A document as plain values, in the order of its declaration, without what isn't set."""
    import msgspec

    return msgspec.to_builtins(document)
