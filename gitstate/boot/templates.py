"""Jinja2, sandboxed and strict; a site's own template wins, and every fault names its file and line."""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any, Final

from jinja2 import ChoiceLoader, FileSystemLoader, PrefixLoader, StrictUndefined, Template, TemplateNotFound
from jinja2.exceptions import TemplateSyntaxError, UndefinedError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from gitstate.core.errors import ConfigError

SHIPPED: Final = Path(__file__).parent / "templates"
_is_word = re.compile(r"[A-Za-z0-9_.,:=+/@%~\[\]-]*").fullmatch


class _UnsafeValueError(ValueError):
    """A value that would end a word or a line of a boot file."""


def _finalize(value: object) -> object:
    """Whatever an expression of a template gives: words only, so that no template can be led astray."""
    if isinstance(value, StrictUndefined):
        return value
    if not isinstance(value, str | int | PurePath) or not _is_word(str(value)):
        raise _UnsafeValueError(f"{str(value)[:80]!a} can't stand in a boot file")
    return value


class Templates:
    """The templates of one site, each parsed once."""

    def __init__(self, own: Path, **common: Any) -> None:
        """``own`` is the site's directory of templates, there or not; ``common`` is what every template knows."""
        shipped = FileSystemLoader(SHIPPED)
        self._own = own
        self._environment = ImmutableSandboxedEnvironment(
            loader=ChoiceLoader([FileSystemLoader(own), shipped, PrefixLoader({"gitstate": shipped})]),
            undefined=StrictUndefined,
            finalize=_finalize,
            autoescape=False,  # _finalize lets nothing through that needs escaping
            keep_trailing_newline=True,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(common)
        self._known: dict[str, Template] = {}

    def render(self, name: str, values: Mapping[str, Any]) -> str:
        """The template ``name`` with ``values``. Raises ConfigError with file and line."""
        try:
            template = self._known.get(name)
            if template is None:
                template = self._known[name] = self._environment.get_template(f"{name}.j2")
            return template.render(values)
        except Exception as error:
            raise self._fault(name, error) from None

    def _fault(self, name: str, error: Exception) -> ConfigError:
        hint = f"fix it, or remove it: gitstate has a template of its own for {name}"
        file, line = str(self._own / f"{name}.j2"), 0
        if isinstance(error, TemplateSyntaxError):
            file, line = error.filename or file, error.lineno
        else:
            for frame in traceback.extract_tb(error.__traceback__):
                if frame.filename.endswith(".j2"):
                    file, line = frame.filename, frame.lineno or 0
        said = _said(error)
        return ConfigError(f"{file}, line {line}: {said}" if line else f"{file}: {said}", hint)


def _said(error: Exception) -> str:
    match error:
        case TemplateNotFound():
            return f"there is no template {error.name}"
        case TemplateSyntaxError() | UndefinedError():
            return " ".join((error.message or "").split())
        case OSError():
            return error.strerror or str(error)
        case _UnsafeValueError():
            return str(error)
        case _:
            return f"{type(error).__name__}: {' '.join(str(error).split())}"
