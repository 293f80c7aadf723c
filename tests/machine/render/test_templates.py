"""Templates of layers: what they know, what they may use up, and what their faults say."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitstate.machine.render.models import LayerError
from gitstate.machine.render.sandbox import Budget, LimitError
from tests.machine.render.harness import Bench, Node

FACTS: Final[dict[str, Any]] = {"host": "lab3-14", "ip": "192.168.1.23", "macs": ["a", "b"], "hardware": {"x": None}}


def rendered(text: str, *more: dict[str, Any], **includes: str) -> str:
    """What a template of the layer ``a`` makes."""
    snippets = {name: one.encode() for name, one in includes.items()}
    layer = {"etc": {"motd.j2": text.encode()}, ".include": snippets}
    return str(Bench().files(layer, *more, **FACTS)["etc/motd"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("plain\n\n", "plain\n\n"),
        ("{{ host }} at {{ ip }}\n", "lab3-14 at 192.168.1.23\n"),
        ("{% for mac in macs %}\n{{ loop.index }}/{{ loop.length }} {{ mac }}\n{% endfor %}\n", "1/2 a\n2/2 b\n"),
        ("{{ host ~ '.' ~ 7 }}", "lab3-14.7"),
        ("{% if ip is defined %}yes{% endif %}{% if lab is defined %}no{% endif %}", "yes"),
        ("{{ lab|default('none') }}", "none"),
        ("{{ '%02d' % 7 }} {{ '%s'|format(host) }} {{ macs|join(',') }} {{ ','.join(macs) }}", "07 lab3-14 a,b a,b"),
        ("{{ 2 ** 8 }} {{ 3 * 'ab' }} {{ [1] + [2] }}", "256 ababab [1, 2]"),
        ("{{ macs|tojson }}", '["a", "b"]'),
        ("{% set n = namespace(x=0) %}{% for i in range(3) %}{% set n.x = n.x + i %}{% endfor %}{{ n.x }}", "3"),
        ("{% macro f(x) %}<{{ x }}>{% endmacro %}{{ f(host) }}", "<lab3-14>"),
        ("ü ☃", "ü ☃"),
    ],
)
def test_what_templates_make(text: str, expected: str) -> None:
    assert rendered(text) == expected


def test_templates_include_and_import_what_layers_have() -> None:
    above = {".include": {"b": b"upper {{ host }}"}, "etc": {"inc": b"file {{ ip }}"}}
    assert rendered("{% include 'b' %}", above, b="lower") == "upper lab3-14"
    assert rendered("{% include 'etc/inc' %} {% include '/etc/inc' %}", above) == "file 192.168.1.23 file 192.168.1.23"
    macro = "{% macro f(x) %}<{{ x }}>{% endmacro %}"
    assert rendered("{% import 'm' as m %}{{ m.f('x') }}{% from 'm' import f %}{{ f(1) }}", m=macro) == "<x><1>"
    assert rendered(
        "{% extends 'base' %}{% block a %}{{ host }}{% endblock %}", base="[{% block a %}{% endblock %}]"
    ) == ("[lab3-14]")
    assert rendered("{% include ['no', 'b'] %}{% include 'no' ignore missing %}", above) == "upper lab3-14"


def test_only_templates_are_rendered() -> None:
    found = Bench().files({"etc": {"a": b"{{ host }}", "b.j2": b"{{ host }}", ".j2": b"{{", "c.j2.j2": b"c"}}, **FACTS)
    assert found == {"etc/a": "{{ host }}", "etc/b": "lab3-14", "etc/.j2": "{{", "etc/c.j2": "c"}


def test_a_rendered_file_has_the_templates_record() -> None:
    (item,) = Bench().items({"etc": {"x.j2": Node(b"{{ host }}", 0o4750)}}, **FACTS)
    assert item.meta is not None
    assert (item.meta.mode, item.content) == (0o4750, b"lab3-14")


def test_a_template_hides_and_is_hidden() -> None:
    bench = Bench()
    assert bench.files({"etc": {"x": b"1"}}, {"etc": {"x.j2": b"{{ host }}"}}, **FACTS) == {"etc/x": "lab3-14"}
    assert bench.files({"etc": {"x.j2": b"{{ nope }}"}}, {"etc": {"x": b"2"}}) == {"etc/x": "2"}
    assert bench.files({"etc": {"x.j2": b"{{ nope }}"}}, {"etc": {".wh.x": b""}}) == {}


def test_variables_of_layers_are_joined() -> None:
    low = {
        "vars.toml": b"a = 1\nb = [1]\n[t]\nx = 1\ny = 1\n",
        "etc": {"v.j2": b"{{ vars.a }}{{ vars.b }}{{ vars.t }}"},
    }
    high = {"vars.toml": b"b = [2]\n[t]\ny = 2\nz = 2\n"}
    assert Bench().files(low, high)["etc/v"] == "1[2]{'x': 1, 'y': 2, 'z': 2}"


# --- faults -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a\nb {{ nope }}", "etc/motd.j2, line 2: 'nope' is undefined"),
        ("{{ hardware.nope }}", "line 1: 'dict object' has no attribute 'nope'"),
        ("{{ vars.room }}", "has no attribute 'room'"),
        ("{% for x in nope %}{% endfor %}", "'nope' is undefined"),
        ("{{ 'a' ~ nope }}", "'nope' is undefined"),
        ("a\n{% for %}", "line 2: Expected an expression"),
        ("{{ hardware.x }}", "there is nothing to write: the value is null"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{% include 'gone' %}", "line 1: no layer of this machine has gone"),
        ("{% include '/etc/passwd' %}", "no layer of this machine has etc/passwd"),
        ("{% include '../../etc/passwd' %}", "no layer of this machine has ../../etc/passwd"),
        ("{{ ''.__class__ }}", "unsafe"),
        ("{{ macs.append(1) }}", "unsafe"),
        ("{{ self.__init__.__globals__ }}", "unsafe"),
        ("{{ lipsum() }}", "'lipsum' is undefined"),
    ],
)
def test_faults_name_machine_layer_file_and_line(text: str, said: str) -> None:
    with pytest.raises(LayerError) as caught:
        rendered(text)
    assert caught.value.message.startswith("lab3-14: a ")
    assert said in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_a_fault_in_what_is_included_is_named_there() -> None:
    with pytest.raises(LayerError, match=r"lab3-14: b [0-9a-f]{7}: \.include/x, line 2: 'nope' is undefined"):
        rendered("{% include 'x' %}", {".include": {"x": b"\n{{ nope }}"}})


@pytest.mark.parametrize("text", ["{{ " + "(" * 20_000, "{{ " + "-" * 50_000 + "1 }}", "{% if 1 %}" * 5_000])
def test_what_is_nested_too_deep_is_a_fault(text: str) -> None:
    with pytest.raises(LayerError, match=r"lab3-14: a [0-9a-f]{7}: etc/motd\.j2"):
        rendered(text)


@pytest.mark.parametrize("data", [b"\xff", b"x" * 300_000])
def test_what_is_no_template(data: bytes) -> None:
    with pytest.raises(LayerError, match=r"motd\.j2: (it is not UTF-8|a template is larger)"):
        Bench().files({"etc": {"motd.j2": data}})


# --- bombs ------------------------------------------------------------------------------------------------------------

BOMBS: Final = {
    "loops": "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
    "range": "{{ range(10**12)|list }}",
    "text": "{% for i in range(200000) %}" + "x" * 1000 + "{% endfor %}",
    "multiplied": "{{ 'x' * 10**10 }}",
    "multiplied list": "{{ ([1] * 10**10)|length }}",
    "doubled": "{% set n = namespace(x='xxxxxxxx') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "added": "{% set n = namespace(x='xxxxxxxx') %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}",
    "number": "{{ 9 ** 9 ** 9 }}",
    "power of power": "{% set n = namespace(x=9) %}{% for i in range(99) %}{% set n.x = n.x ** 60 %}{% endfor %}",
    "shifted number": "{% set n = namespace(x=9) %}{% for i in range(99999) %}{% set n.x = n.x * n.x %}{% endfor %}",
    "recursion": "{% macro f(n) %}{{ f(n - 1) }}{{ f(n - 1) }}{% endmacro %}{{ f(30) }}",
    "tree of calls": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(40) }}",
    "include of itself": "{% include 'etc/motd.j2' %}",
    "center": "{{ 'x'|center(10**10) }}",
    "ljust": "{{ 'x'.ljust(10**10) }}",
    "batch": "{{ [1]|batch(10**9, 'x')|list }}",
    "slice": "{{ [1]|slice(10**9, 'x')|list }}",
    "zfill": "{{ '1'.zfill(10**10) }}",
    "indent": "{{ ('\n' * 100000)|indent(1000) }}",
    "format filter": "{{ '%9999999999d'|format(1) }}",
    "format operator": "{{ '%9999999999d' % 1 }}",
    "format star": "{{ '%*d' % (9999999999, 1) }}",
    "format method": "{{ '{:>9999999999}'.format(1) }}",
    "replace": "{{ ('x' * 100000)|replace('x', 'y' * 100000) }}",
    "replace method": "{{ ('x' * 100000).replace('x', 'y' * 100000) }}",
    "join": "{{ ('y' * 1000000).join('x' * 1000000) }}",
    "join of many": "{{ range(100000)|map('center', 1000)|join }}",
    "kept": "{% set x %}{% for i in range(1000) %}{{ 'y' * 10000 }}{% endfor %}{% endset %}",
    "expandtabs": "{{ ('\t' * 100000).expandtabs(1000) }}",
    "cycle": "{% for i in range(200000) %}{{ loop.cycle('a' * 100, 'b') }}{% endfor %}",
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_stopped(name: str) -> None:
    begin = time.monotonic()
    with pytest.raises(LayerError, match=r"lab3-14: a [0-9a-f]{7}: etc/motd\.j2"):
        rendered(BOMBS[name])
    assert time.monotonic() - begin < 10, "a limit of 2 seconds, on a busy machine"


def test_time_is_bounded() -> None:
    budget = Budget(seconds=0)
    with pytest.raises(LimitError, match="longer than 0 seconds"):
        assert [budget.step() for _ in range(1000)]


@given(st.text(st.characters(codec="utf-8")))
def test_any_text_is_a_template_or_a_fault(text: str) -> None:
    with suppress(LayerError):
        rendered(text)
