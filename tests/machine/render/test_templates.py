"""Templates of layers: what they know, what they may use up, and what their faults say."""

from __future__ import annotations

import gc
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitstate.core.templates import CodeLoader, Environment
from gitstate.machine.render.machine import MachineRenderer
from gitstate.machine.render.models import LayerError
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
        ("{{ host ~ '.' ~ 7 }} {{ host ~ hardware.x }}", "lab3-14.7 lab3-14None"),
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
        ("{{ hardware.x }}", "line 1: there is nothing to write: the value is null"),
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


# --- line ends --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ host }}\r\nend\r\n", "lab3-14\r\nend\r\n"),
        ("a\nb\r\nc\rd\r\r\n", "a\nb\r\nc\rd\r\r\n"),
        ("{% for x in macs %}\r\n  {% if x %}\r\n{{ x }}\r\n  {% endif %}\r\n{% endfor %}\r\n", "a\r\nb\r\n"),
        ("{% if 1 +%}\r\na\r\n{%- endif %}\r\nb", "\r\nab"),
        ("a\r\n {#- c\r\n#}\r\nb {%- if 1 -%}\r\n\r\n c\r\n{% endif %}", "abc\r\n"),
        ("{% raw %}{{\r\n%}\r\n{% endraw %}\r\n#}\r\n%}\r\n", "{{\r\n%}\r\n#}\r\n%}\r\n"),
        ("{{ 'a\r\nb'|length }}{{\r\n  host\r\n}}\r\n", "4lab3-14\r\n"),
        ("\x1f\x1ea{% if 1 %}\r\n\x1f\r\n{% endif %}", "\x1f\x1ea\x1f\r\n"),
        ("{% if 1 %}\n\r\n{% endif %}\n", "\r\n"),
    ],
)
def test_line_ends_outside_of_tags_stay(text: str, expected: str) -> None:
    assert rendered(text) == expected


@given(st.text("a \r\n\x1f\x85"))
def test_text_without_tags_comes_out_byte_by_byte(text: str) -> None:
    assert str(_template(text).render()) == text


def test_the_line_of_a_fault_is_counted_by_line_feeds() -> None:
    with pytest.raises(LayerError, match=r"line 3: 'nope' is undefined"):
        rendered("a\r\n\r\n{{ nope }}\r\n")
    with pytest.raises(LayerError, match=r"motd\.j2, line 2: Expected an expression"):
        rendered("a\r\n{% if %}\r\n")


def _template(text: str) -> Any:
    return Environment(CodeLoader(str), lambda value: value, {}, is_kept=False).from_string(text)  # type: ignore[arg-type]


# --- one worker for many machines -------------------------------------------------------------------------------------


def test_a_name_means_another_file_to_another_machine() -> None:
    """Though the template that includes it, and a module that imports it, are one and the same blob."""
    bench = Bench()
    base = {
        "etc": {"x.j2": b"{% import 'm' as m %}{{ m.w }} {% include 'who' %}"},
        ".include": {"m": b"{% import 'who' as who %}{% set w = who.name %}"},
    }
    for name in ("ada", "bob", "ada"):
        above = {".include": {"who": b"{%% set name = '%s' %%}%s" % (name.encode(), name.encode())}}
        assert bench.files(base, above)["etc/x"] == f"{name} {name}"


def test_a_template_in_place_of_one_that_skips() -> None:
    low, high = {"etc": {"x.j2": b"{{ host }}"}}, {"etc": {"x.j2": b"{{ skip() }}"}}
    assert Bench().files(low, high, {"etc": {"y.j2": b"y"}}, **FACTS) == {"etc/x": "lab3-14", "etc/y": "y"}


def test_what_is_only_kept_may_be_large() -> None:
    assert rendered("{{ ('x' * 10000000)|length }}{% set y %}{{ 'y' * 3000000 }}{% endset %}") == "10000000"


# --- bombs ------------------------------------------------------------------------------------------------------------

LONG: Final = "it takes too long: more than"
LARGE: Final = "it needs too much memory: more than 256 MiB"
TEXT: Final = "it makes more than 4 MiB of text"
DEEP: Final = "it calls itself without an end, or is nested too deep"
_LISTS: Final = "{% set a = [0] * 999 %}{% set b = [a] * 999 %}{% set c = [b] * 999 %}{% set d = [c] * 999 %}"
_LOOP: Final = "{% set n = namespace(x='xxxxxxxx', t=(1,)) %}{% for i in range(99) %}"
BOMBS: Final = {
    # in bytecode, where the line is known
    "loops": ("{% for i in range(9**5) %}\n{% for j in range(9**5) %}{% endfor %}{% endfor %}", f"line 2: {LONG}"),
    "tree of calls": ("{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(40) }}", LONG),
    "tree of includes": (
        "{% set n = n|default(0) + 1 %}{% if n < 40 %}" + "{% include 'x' %}" * 2 + "{% endif %}",
        LONG,
    ),
    # in one call of C
    "power": ("{{ 9 ** (10 ** 8) > 1 }}", LONG),
    "lists are equal": (_LISTS + _LISTS.replace("a", "e").replace("d =", "f =") + "{{ d == f }}", LONG),
    "lists as JSON": (_LISTS + "{{ d|tojson|length }}", f"{LONG}|{LARGE}"),
    "lists as text": (_LISTS + "{{ d }}", f"{LONG}|{LARGE}"),
    "sum of lists": ("{{ ([range(99999)|list] * 99999)|sum(start=[])|length }}", f"{LONG}|{LARGE}"),
    "tuple as a key": (_LOOP + "{% set n.t = (n.t, n.t) %}{% endfor %}{{ {n.t: 1}|length }}", LONG),
    "slice": ("{{ [1]|slice(10**9, 'x')|list }}", f"{LONG}|{LARGE}"),
    # memory
    "multiplied": ("{{ ('x' * 2**31)|length }}", LARGE),
    "multiplied list": ("{{ ([1] * 10**10)|length }}", LARGE),
    "doubled": (_LOOP + "{% set n.x = n.x ~ n.x %}{% endfor %}", LARGE),
    "added": (_LOOP + "{% set n.x = n.x + n.x %}{% endfor %}", LARGE),
    "center": ("{{ 'x'|center(10**10) }}", LARGE),
    "format": ("{{ '%9999999999d' % 1 }}", LARGE),
    "format method": ("{{ '{:>9999999999}'.format(1) }}", LARGE),
    "replace": ("{{ ('x' * 100000)|replace('x', 'y' * 100000) }}", LARGE),
    "join": ("{{ ('y' * 1000000).join('x' * 1000000) }}", LARGE),
    "many lists": (_LOOP + "{% set n.t = (n.t, range(99999)|list) %}{% endfor %}{{ n.t }}", f"{LONG}|{LARGE}"),
    # text
    "text": ("{% for i in range(99999) %}" + "x" * 1000 + "{% endfor %}", f"line 1: {TEXT}"),
    "text at once": ("{{ 'x' * 5000000 }}", TEXT),
    "cycle": ("{% for i in range(9999) %}{{ loop.cycle('a' * 5000, 'b') }}{% endfor %}", TEXT),
    # depth
    "recursion": ("{% macro f(n) %}{{ f(n - 1) }}{% endmacro %}{{ f(30) }}", DEEP),
    "include of itself": ("{% include 'etc/motd.j2' %}", DEEP),
    "range": ("{{ range(10**12)|list }}", "Range too big"),
}


@pytest.fixture
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gitstate.core.worker.SECONDS", 0.7)


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_stopped(name: str, request: pytest.FixtureRequest) -> None:
    text, said = BOMBS[name]
    if LONG in said:  # the others get the time to fill the memory on a busy machine
        request.getfixturevalue("_short")
    with pytest.raises(LayerError, match=rf"lab3-14: a [0-9a-f]{{7}}: etc/motd\.j2.*({said})"):
        rendered(text, x=text)


@pytest.mark.usefixtures("_short")
@pytest.mark.parametrize("bomb", ["{{ 9 ** (10 ** 8) > 1 }}", "{{ ('x' * 2**31)|length }}", "{{ nope }}"])
def test_the_bad_one_of_many_is_named_and_the_next_machine_is_rendered(bomb: str) -> None:
    before, bench = _children(), Bench()
    layer = {"etc": {f"{name}.j2": b"{{ host }}" for name in "abdef"} | {"c.j2": bomb.encode()}}
    with pytest.raises(LayerError, match=r"lab3-14: a [0-9a-f]{7}: etc/c\.j2"):
        bench.files(layer, **FACTS)
    assert bench.files({"etc": {"c.j2": b"{{ host }}"}}, **FACTS) == {"etc/c": "lab3-14"}
    assert len(_children()) == len(before) + 1
    del bench
    assert _children() == before


def test_a_worker_that_is_killed_is_told_and_replaced() -> None:
    before, bench = _children(), Bench()
    victims = [0]

    def read(name: str, oid: bytes) -> bytes:
        if victims:
            (victims[0],) = set(_children()) - set(before)
            os.kill(victims[0], signal.SIGKILL)
        return bench.objects[oid]

    renderer = MachineRenderer(bench.image, read)
    composition = bench.compose({"etc": {"a.j2": b"{{ host }}"}})
    with pytest.raises(LayerError, match=r"lab3-14: a [0-9a-f]{7}: etc/a\.j2: .*SIGKILL"):
        renderer.finish(composition, FACTS, "lab3-14")
    assert victims.pop() not in _children()
    assert [item.content for item in renderer.finish(composition, FACTS, "lab3-14")] == [b"lab3-14"]


def _children() -> list[int]:
    gc.collect()
    return [int(one) for one in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


@given(st.text(st.characters(codec="utf-8")))
def test_any_text_is_a_template_or_a_fault(text: str) -> None:
    with suppress(LayerError):
        rendered(text)
