"""Templates of boot files: a site's own wins, values are words, and every fault names its file and line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any, Final

from gitstate.core.errors import ConfigError, GitstateError
from gitstate.core.templates import SUFFIX, Environment, TemplateRuntimeError, fault_of, file_loader

SHIPPED: Final = Path(__file__).parent / "templates"
_is_word = re.compile(r"[A-Za-z0-9_.,:=+/@%~\[\]-]*").fullmatch


def _finalize(value: object) -> object:
    """Whatever an expression of a template gives: words only, so that no template can be led astray."""
    if not isinstance(value, str | int | PurePath) or not _is_word(str(value)):
        raise TemplateRuntimeError(f"{str(value)[:80]!a} can't stand in a boot file")
    return value


class Templates:
    """The templates of one site, each parsed once."""

    def __init__(self, own: Path, **common: Any) -> None:
        """``own`` is the site's directory of templates, there or not; ``common`` is what every template knows."""
        self._own = own
        self._environment = Environment(file_loader(own, SHIPPED), _finalize, common, is_kept=True)

    def render(self, name: str, values: Mapping[str, Any]) -> str:
        """The template ``name`` with ``values``. Raises ConfigError with file and line."""
        try:
            return self._environment.get_template(f"{name}{SUFFIX}").render(values)
        except GitstateError:
            raise
        except Exception as error:
            fault = fault_of(error)
            where = fault.file or str(self._own / f"{name}{SUFFIX}")
            line = f", line {fault.line}" if fault.line else ""
            hint = f"fix it, or remove it: gitstate has a template of its own for {name}"
            raise ConfigError(f"{where}{line}: {fault.words}", hint) from None
