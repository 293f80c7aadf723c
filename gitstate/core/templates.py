"""Jinja2 as all templates have it: sandboxed, strict, line ends kept as they are; a fault tells its file and line."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from pathlib import Path
from types import CodeType
from typing import Any, Final, NamedTuple

import jinja2
from jinja2 import Template as Template
from jinja2 import TemplateNotFound as TemplateNotFound
from jinja2 import TemplateRuntimeError as TemplateRuntimeError
from jinja2.ext import Extension
from jinja2.lexer import Token, TokenStream
from jinja2.loaders import split_template_path
from jinja2.sandbox import ImmutableSandboxedEnvironment

from gitstate.core import fs
from gitstate.core.worker import MEMORY, LimitError

SUFFIX: Final = ".j2"
_SPACES: Final = "\x1f\x1e\x1d\x1c\x85\u2028\u2029\u205f\u3000"


class Fault(NamedTuple):
    """What is wrong with a template; ``file`` as it was compiled, else empty, and ``line`` from 1, else 0."""

    file: str
    line: int
    words: str


class Environment(ImmutableSandboxedEnvironment):
    """The one set-up. ``finalize`` gets what is written; all know ``common``; ``is_kept``: names keep their meaning."""

    def __init__(
        self, loader: jinja2.BaseLoader, finalize: Callable[[Any], Any], common: Mapping[str, Any], *, is_kept: bool
    ) -> None:
        super().__init__(
            loader=loader,
            finalize=finalize,
            undefined=jinja2.StrictUndefined,
            autoescape=False,  # what may stand in a file is for finalize to say
            keep_trailing_newline=True,
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[_CarriageReturns],
            cache_size=400 if is_kept else 0,
            auto_reload=False,
        )
        del self.globals["lipsum"], self.filters["random"]  # never the same twice
        self.globals.update(common)


class CodeLoader(jinja2.BaseLoader):
    """Loads what ``find`` makes of a name, compiled; it raises TemplateNotFound."""

    def __init__(self, find: Callable[[str], CodeType]) -> None:
        self._find = find

    def load(
        self, environment: jinja2.Environment, name: str, globals: MutableMapping[str, Any] | None = None
    ) -> Template:
        return Template.from_code(environment, self._find(name), environment.make_globals(globals))


def file_loader(own: Path, shipped: Path) -> jinja2.BaseLoader:
    """Loads files of ``own``, else of ``shipped``; of ``shipped`` alone where the name begins with ``gitstate/``."""

    def load(name: str) -> tuple[str, str, None] | None:
        """A template of ``own``, None if there is none; jinja2 takes what it can't read for absent."""
        path = own.joinpath(*split_template_path(name))
        text = fs.read_file(path) if fs.has_directory(path.parent) else None
        return None if text is None else (text.decode(), str(path), None)

    ours = jinja2.FileSystemLoader(shipped)
    return jinja2.ChoiceLoader([jinja2.FunctionLoader(load), ours, jinja2.PrefixLoader({"gitstate": ours})])


def fault_of(error: Exception) -> Fault:
    """What went wrong while a template was compiled or rendered."""
    file, line = "", 0
    for frame, number in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename.endswith(SUFFIX):
            file, line = frame.f_code.co_filename, number
    if isinstance(error, jinja2.TemplateSyntaxError):
        file, line = error.filename or file, error.lineno
    return Fault(file, line, " ".join(_said(error).split()))


def _said(error: Exception) -> str:
    match error:
        case TemplateNotFound() if error.message == error.name:
            return f"there is no template {error.name}"
        case jinja2.TemplateError():
            return error.message or str(error)
        case LimitError():
            return str(error)
        case OSError():
            return error.strerror or str(error)
        case UnicodeDecodeError():
            return f"it is not UTF-8 (byte {error.start})"
        case MemoryError():
            return f"it needs too much memory: more than {MEMORY >> 20} MiB"
        case RecursionError():
            return "it calls itself without an end, or is nested too deep"
    return f"{type(error).__name__}: {str(error)[:200]}"


class _CarriageReturns(Extension):
    """Keeps the carriage returns of text, where Jinja makes all line ends alike.

    They go through its lexer as another white space, one that the template doesn't have; it would leave those that
    ``trim_blocks`` takes away behind a tag.
    """

    _mark = ""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        self._mark = next((one for one in _SPACES if one not in source), "") if "\r" in source else ""
        if not self._mark:
            return source
        lines = source.replace("\r", self._mark).split("\n")
        plain = "\n".join(line.removesuffix(self._mark) for line in lines)
        for line, kind, text in self.environment.lex(plain, name, filename):
            if kind in ("block_end", "comment_end", "raw_end") and text.endswith("\n"):
                last = line + text.count("\n") - 2
                lines[last] = lines[last].removesuffix(self._mark)
        return "\n".join(lines)

    def filter_stream(self, stream: TokenStream) -> Iterable[Token]:
        for token in stream:
            is_text = self._mark and token.type in ("data", "string")
            yield token._replace(value=token.value.replace(self._mark, "\r")) if is_text else token
