"""Templates of layers: a worker renders them; every fault says who, which layer, file and line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gitstate.core.names import display
from gitstate.core.worker import LimitError, Worker
from gitstate.machine.render.models import SNIPPETS, Layer, LayerError, ReadBlob

_LARGEST: Final = 256 << 10
_HINT: Final = "fix it, check it in, and push it; docs/layers.md tells what templates know"

Place = tuple[Layer, bytes]
"""Where a template stands: a layer, and the path in it."""


class Templates:
    """The templates of one site's layers."""

    def __init__(self, read: ReadBlob) -> None:
        self._read = read
        self._worker: Worker | None = None

    def render(
        self, layers: Sequence[Layer], wanted: Sequence[tuple[str, bytes]], facts: Mapping[str, Any], who: str
    ) -> dict[tuple[str, bytes], bytes | None]:
        """What the templates ``wanted``, by layer and path, make for ``who``; None for each that says ``skip()``.

        Raises LayerError for the first that is wrong.
        """
        from gitstate.machine.render.worker import serve  # jinja2 takes as long to load as the rest of a command

        worker = self._worker = self._worker if self._worker and self._worker.end.alive else Worker(serve)
        by_name = {layer.name: layer for layer in layers}
        asked = [(by_name[name], path) for name, path in wanted]
        places = {_blob(place): place for place in asked}
        try:
            answer = worker.ask((facts, [_blob(place) for place in asked]))
            while not isinstance(answer, list):
                match answer:
                    case bytes() as oid:
                        answer = worker.ask(self._source(places[oid], who))
                    case str() as name:
                        place = _included(layers, name)
                        places |= {_blob(place): place} if place else {}
                        answer = worker.ask(place and _blob(place))
                    case file, line, words:
                        place = asked[worker.task]
                        oid = bytes.fromhex(file.partition(".")[0])
                        raise _layer_error(who, places.get(oid, place) if oid != _blob(place) else place, line, words)
        except LimitError as error:
            raise _layer_error(who, asked[worker.task], 0, str(error)) from None
        except BaseException:
            worker.end()  # it waits for an answer, or has the remains of a template in its memory
            raise
        return dict(zip(wanted, answer, strict=True))

    def _source(self, place: Place, who: str) -> str:
        data = self._read(place[0].name, _blob(place))
        if len(data) > _LARGEST:
            raise _layer_error(who, place, 0, f"a template is larger than {_LARGEST >> 10} KiB")
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise _layer_error(who, place, 0, f"it is not UTF-8 (byte {error.start})") from None


def _included(layers: Sequence[Layer], name: str) -> Place | None:
    """What ``{% include NAME %}`` means: the file of the latest layer that has it, in ``.include`` or there."""
    path = name.encode("utf-8", "surrogateescape").lstrip(b"/")
    places = [(layer, path) for path in (SNIPPETS + b"/" + path, path) for layer in reversed(layers)]
    return next((place for place in places if place[1] in place[0].files), None)


def _blob(place: Place) -> bytes:
    layer, path = place
    return layer.files[path]


def _layer_error(who: str, place: Place, line: int, words: str) -> LayerError:
    layer, path = place
    where = f"{who}: {layer}: {display(path)}" + (f", line {line}" if line else "")
    return LayerError(f"{where}: {words}", _HINT)
