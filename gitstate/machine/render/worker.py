"""Templates of layers in the worker: compiled once, rendered for each machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from types import CodeType
from typing import TYPE_CHECKING, Any, Final

from gitstate.core import templates as engine
from gitstate.core.names import display
from gitstate.core.worker import LimitError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

_TEXT: Final = 4 << 20
"""Characters that a template may write."""
_KEPT: Final = 1024


class _SkippedError(Exception):
    """A template that says ``skip()``: its layer has nothing to say of this file for this machine."""


def serve(pipe: Connection[Any, Any], begin: Callable[[int], None]) -> None:
    """Render what the parent asks for by facts and blob ids, until it ends us.

    The answer is a list of what the templates make, None for one that skips its file; or a Fault. Before it we may ask
    for a blob by its id, or for the id of what is included by its name.
    """
    renderer = _Renderer(pipe)
    while True:
        facts, oids = pipe.recv()
        renderer.meant.cache_clear()
        texts = []
        try:
            for number, oid in enumerate(oids):
                begin(number)
                texts.append(renderer.render(oid, facts))
            begin(len(oids) - 1)  # else the clock of the last one stops us halfway
            pipe.send(texts)
        except Exception as error:
            pipe.send(engine.fault_of(error))


class _Renderer:
    def __init__(self, pipe: Connection[Any, Any]) -> None:
        self._pipe = pipe
        loader = engine.CodeLoader(self._included)
        self._environment = there = engine.Environment(loader, _finalize, {"skip": _skip}, is_kept=False)
        self._code = lru_cache(_KEPT)(self._compile)
        self._template = lru_cache(_KEPT)(lambda oid: engine.Template.from_code(there, self._code(oid), there.globals))
        self.meant = lru_cache(_KEPT)(self._ask)
        """The id of what a name means, to one machine."""

    def render(self, oid: bytes, facts: Mapping[str, Any]) -> bytes | None:
        parts, size = [], 0
        stream: Any = self._template(oid).generate(facts)
        try:
            for part in stream:
                parts.append(part)
                size += len(part)
                if size > _TEXT:
                    stream.throw(LimitError(f"it makes more than {_TEXT >> 20} MiB of text"))
        except _SkippedError:
            return None
        return "".join(parts).encode()

    def _included(self, name: str) -> CodeType:
        oid = self.meant(name)
        if oid is None:
            path = name.encode("utf-8", "surrogateescape").lstrip(b"/")
            raise engine.TemplateNotFound(name, f"no layer of this machine has {display(path)}")
        return self._code(oid)

    def _compile(self, oid: bytes) -> CodeType:
        name = oid.hex() + engine.SUFFIX
        return self._environment.compile(self._ask(oid), name, name)

    def _ask(self, what: bytes | str) -> Any:
        self._pipe.send(what)
        return self._pipe.recv()


def _finalize(value: Any) -> Any:
    if value is None:
        raise engine.TemplateRuntimeError("there is nothing to write: the value is null")
    return value


def _skip() -> None:
    raise _SkippedError
