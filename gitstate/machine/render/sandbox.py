"""Jinja2 with bounds: sandboxed, strict, and nothing in a template takes for ever or fills the memory.

Steps are counted where a template can repeat itself (loops, calls, filters), characters where it can make text grow.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from functools import wraps
from typing import Any, Final

from jinja2 import StrictUndefined, Template, nodes
from jinja2.runtime import Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment

STEPS: Final = 200_000
SECONDS: Final = 2.0
TEXT: Final = 4 << 20
"""Characters that a template may make, what it only keeps included."""
_NUMBER: Final = 10**30
_POWER: Final = 64
_WIDTH: Final = 1000
_LOOK: Final = 256
_CALL: Final = 256
_WIDE: Final = frozenset(
    {"center", "ljust", "rjust", "zfill", "indent", "batch", "slice", "expandtabs", "tojson", "wordwrap"}
)
"""Filters and methods that take a width."""
_wide_format = re.compile(r"[0-9]{4}|\*").search
_NO_FILTERS: Final = ("lipsum", "pprint", "urlize", "xmlattr", "random")  # of no use here, or never the same twice


class LimitError(Exception):
    """A template that wants too much."""


class SkippedError(Exception):
    """A template that says ``skip()``: its layer has nothing to say of this file for this machine."""


class Budget:
    """What one rendering may still use."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._steps = 0
        self._text = 0
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def step(self, text: int = 0) -> None:
        """One more step, which makes ``text`` characters at least. Raises Bound."""
        self._steps += 1
        if self._steps > STEPS:
            raise LimitError(f"it takes more than {STEPS} steps: is there a loop without an end?")
        if not self._steps % _LOOK and time.monotonic() > self._end:
            raise LimitError(f"it takes longer than {self._seconds:g} seconds")
        if text:
            self.grow(text)

    def grow(self, text: int) -> None:
        """So many characters more. Raises Bound."""
        self._text += text
        if self._text > TEXT:
            raise LimitError(f"it makes more than {TEXT >> 20} MiB of text")


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment of all templates; ``find`` gives the template that a name means."""

    intercepted_binops = frozenset({"*", "**", "+", "%"})

    def __init__(self, find: Callable[[str], Template]) -> None:
        super().__init__(
            undefined=StrictUndefined,
            finalize=self._written,
            autoescape=False,
            keep_trailing_newline=True,
            trim_blocks=True,
            lstrip_blocks=True,
            cache_size=0,
        )
        self.budget = Budget()
        self._find = find
        self.globals = {**self.globals, "range": self._range, "skip": _skip}
        self.globals.pop("lipsum")
        kept = {name: one for name, one in self.filters.items() if name not in _NO_FILTERS}
        self.filters = {name: self._bounded(name, one) for name, one in kept.items()}
        self.filters |= {"_counted": self._counted, "_joined": self._joined}

    def _load_template(self, name: str, globals: MutableMapping[str, Any] | None) -> Template:
        return self._find(name)

    # --- what the compiler makes ---

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        """The syntax tree, with loops and joined text counted."""
        tree = super()._parse(source, name, filename)
        for loop in list(tree.find_all(nodes.For)):
            text = nodes.Const(sum(len(one.data) for one in loop.find_all(nodes.TemplateData)))
            loop.iter = nodes.Filter(loop.iter, "_counted", [text], [], None, None, lineno=loop.lineno)
        _replace_concatenations(tree)
        tree.set_environment(self)
        return tree

    def _counted(self, values: Iterable[Any], text: int) -> Iterable[Any]:
        return _Counted(self.budget, values, text)

    def _joined(self, values: list[Any]) -> str:
        texts = [str(self._written(one)) for one in values]
        return "".join(texts)

    def _written(self, value: Any) -> Any:
        """Whatever an expression gives."""
        if value is None:
            raise LimitError("there is nothing to write: the value is null")
        text = value if isinstance(value, str) else str(value)
        self.budget.grow(len(text))
        return text

    # --- what runs ---

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """Call a function, a method or a macro."""
        __self.budget.step(_CALL if isinstance(__obj, Macro) else 0)
        owner, name = getattr(__obj, "__self__", None), getattr(__obj, "__name__", "")
        if name in ("format", "format_map"):  # the sandbox has wrapped it
            raise LimitError("'...'.format makes text of any width: use '%s' % VALUE")
        if isinstance(owner, str):
            __self._check_growth(name, owner, args, kwargs)
        return super().call(__context, __obj, *args, **kwargs)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """An operation whose result may be much larger than what it is given."""
        self.budget.step()
        self.budget.grow(_size_of_operation(operator, left, right))
        value = super().call_binop(context, operator, left, right)
        if isinstance(value, int) and abs(value) > _NUMBER:
            raise LimitError("a number grows too large")
        return value

    def _range(self, *arguments: int) -> range:
        found = range(*arguments)
        if len(found) > STEPS:
            raise LimitError(f"a range has more than {STEPS} numbers")
        return found

    def _bounded(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A filter that counts what it is given and what it makes."""
        first = 1 if hasattr(function, "jinja_pass_arg") else 0

        @wraps(function)
        def bounded(*arguments: Any, **named: Any) -> Any:
            self.budget.step()
            given = list(arguments)
            if name == "join" and not isinstance(given[first], Sequence):
                given[first] = list(given[first])
            self._check_growth(name, given[first], given[first + 1 :], named)
            value = function(*given, **named)
            if isinstance(value, str):
                self.budget.grow(len(value))
            return value

        return bounded

    def _check_growth(self, name: str, value: Any, arguments: Sequence[Any], named: Mapping[str, Any]) -> None:
        """Raise Bound for what would make too much text of ``value``."""
        if name in _WIDE:
            widths = [one for one in (*arguments, *named.values()) if isinstance(one, int)]
            if max(widths, default=0) > _WIDTH:
                raise LimitError(f"{name}({max(widths)}): the most is {_WIDTH}")
            if isinstance(value, str):
                self.budget.grow(max(widths, default=8) * (value.count("\n") + value.count("\t") + 1))
        elif name == "format" and isinstance(value, str):
            _check_format(value)
        elif name == "replace" and len(arguments) >= 2:
            self.budget.grow((len(str(value)) + 1) * len(str(arguments[1])))
        elif name == "join":
            self.budget.grow(_size_of_join(value, arguments))
        elif name == "translate":
            raise LimitError("translate isn't for templates: use replace")


class _Counted:
    """What a loop runs over, each turn a step."""

    def __init__(self, budget: Budget, values: Iterable[Any], text: int) -> None:
        self._budget = budget
        self._text = text
        # A loop's own look at what is left must not run ahead of the steps, so generators are read here.
        self._values = values if hasattr(values, "__len__") else list(self._stepped(values))

    def _stepped(self, values: Iterable[Any]) -> Iterator[Any]:
        for value in values:
            self._budget.step()
            yield value

    def __len__(self) -> int:
        return len(self._values)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        for value in self._values:
            self._budget.step(self._text)
            yield value


def _skip() -> None:
    raise SkippedError


def _check_format(text: str) -> None:
    if _wide_format(text):
        raise LimitError(f"a format is wider than {_WIDTH}")


def _size_of_operation(operator: str, left: Any, right: Any) -> int:
    """How much an operation makes, at most. Raises Bound."""
    match operator:
        case "*":
            for one, times in ((left, right), (right, left)):
                if isinstance(one, str | list | tuple) and isinstance(times, int):
                    return max(0, len(one) * times)
        case "**":
            numbers = isinstance(left, int | float) and isinstance(right, int | float)
            if not numbers or abs(right) > _POWER or abs(left) > _NUMBER:
                raise LimitError(f"a power is of numbers, and {_POWER} at most")
        case "+":
            if isinstance(left, str | list | tuple) and isinstance(right, str | list | tuple):
                return len(left) + len(right)
        case "%":
            if isinstance(left, str):
                _check_format(left)
    return 0


def _size_of_join(value: Any, arguments: Sequence[Any]) -> int:
    """Of the filter ``LIST|join(SEPARATOR)``, and of the method ``SEPARATOR.join(LIST)``."""
    other = arguments[0] if arguments else ""
    values, separator = (other, value) if isinstance(value, str) and not isinstance(other, str) else (value, other)
    if not isinstance(values, Sequence):
        raise LimitError("join takes a list")
    return sum(len(str(one)) for one in values) + len(values) * len(str(separator))


def _replace_concatenations(tree: nodes.Node) -> None:
    """``a ~ b`` by a filter of ours, wherever it stands."""
    for node in [tree, *tree.find_all(nodes.Node)]:
        for name, value in list(node.iter_fields()):
            if isinstance(value, nodes.Concat):
                setattr(node, name, _joined(value))
            elif isinstance(value, list):
                setattr(node, name, [_joined(one) if isinstance(one, nodes.Concat) else one for one in value])


def _joined(node: nodes.Concat) -> nodes.Filter:
    values = nodes.List(node.nodes, lineno=node.lineno)
    return nodes.Filter(values, "_joined", [], [], None, None, lineno=node.lineno)
