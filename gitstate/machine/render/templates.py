"""Templates of layers: parsed once, rendered for each machine; every fault says who, which layer, file and line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from jinja2 import Template, TemplateNotFound
from jinja2.exceptions import TemplateSyntaxError, UndefinedError

from gitstate.core.names import display
from gitstate.machine.render.models import SNIPPETS, Layer, LayerError, ReadBlob
from gitstate.machine.render.sandbox import Budget, LimitError, Sandbox, SkippedError

_LARGEST: Final = 256 << 10
_PARSED: Final = 4096
_HINT: Final = "fix it, check it in, and push it; docs/layers.md tells what templates know"


class Templates:
    """The templates of one site's layers."""

    def __init__(self, read: ReadBlob) -> None:
        self._read = read
        self._sandbox = Sandbox(self._included)
        self._parsed: dict[bytes, Template] = {}
        self._stack: Sequence[Layer] = ()

    def render(
        self, layers: Sequence[Layer], name: str, path: bytes, facts: Mapping[str, Any], who: str
    ) -> bytes | None:
        """The template ``path`` of ``name``, one of ``layers``, for the machine ``who``; None where it says ``skip()``.

        Raises LayerError.
        """
        layer = next(one for one in layers if one.name == name)
        self._stack = layers
        self._sandbox.budget = Budget()
        try:
            return "".join(self._template(layer, path).generate(facts)).encode()
        except SkippedError:
            return None
        except (Exception, RecursionError) as error:
            raise self._fault(error, layer, path, who) from None

    def _included(self, name: str) -> Template:
        """What ``{% include NAME %}`` means: the file of the latest layer that has it, in ``.include`` or there."""
        path = name.encode("utf-8", "surrogateescape").lstrip(b"/")
        for candidate in (SNIPPETS + b"/" + path, path):
            for layer in reversed(self._stack):
                if candidate in layer.files:
                    return self._template(layer, candidate)
        raise TemplateNotFound(name, f"no layer of this machine has {display(path)}")

    def _template(self, layer: Layer, path: bytes) -> Template:
        oid = layer.files[path]
        found = self._parsed.get(oid)
        if found is None:
            if len(self._parsed) >= _PARSED:
                self._parsed.clear()
            found = self._parsed[oid] = self._parse(layer, oid)
        return found

    def _parse(self, layer: Layer, oid: bytes) -> Template:
        """One template, whichever layers have it: to parse takes a hundred times what it takes to render."""
        data = self._read(layer.name, oid)
        if len(data) > _LARGEST:
            raise LimitError(f"a template is larger than {_LARGEST >> 10} KiB")
        code = self._sandbox.compile(data.decode(), oid.hex(), f"{_PREFIX}{oid.hex()}")
        return Template.from_code(self._sandbox, code, self._sandbox.make_globals(None))

    def _fault(self, error: BaseException, layer: Layer, path: bytes, who: str) -> LayerError:
        """The error of a machine, a layer, a file and a line."""
        place, line = None, 0
        if isinstance(error, TemplateSyntaxError):
            place, line = error.filename, error.lineno
        else:
            trace = error.__traceback__
            while trace is not None:
                filename = trace.tb_frame.f_code.co_filename
                if filename.startswith(_PREFIX):
                    place, line = filename, trace.tb_lineno
                trace = trace.tb_next
        if place is not None and place.startswith(_PREFIX):
            layer, path = self._home(bytes.fromhex(place.removeprefix(_PREFIX)), layer, path)
        where = f"{who}: {layer}: {display(path)}" + (f", line {line}" if line else "")
        return LayerError(f"{where}: {_said(error)}", _HINT)

    def _home(self, oid: bytes, layer: Layer, path: bytes) -> tuple[Layer, bytes]:
        """Where a template stands: the one that is rendered, else one that it includes."""
        if layer.files[path] != oid:
            for one in reversed(self._stack):
                for name, other in one.files.items():
                    if other == oid:
                        return one, name
        return layer, path


_PREFIX: Final = "<layer>"


def _said(error: BaseException) -> str:
    match error:
        case TemplateNotFound() | TemplateSyntaxError() | UndefinedError():
            return " ".join((error.message or str(error)).split())
        case LimitError():
            return str(error)
        case UnicodeDecodeError():
            return f"it is not UTF-8 (byte {error.start})"
        case RecursionError():
            return "it calls itself without an end"
        case MemoryError():
            return "it takes more memory than there is"
        case _:
            return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
