"""Ranges of names: what they mean, what is refused, and that none of them takes long."""

from __future__ import annotations

import time
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitstate.core.errors import NotFoundError, UsageError
from gitstate.directory import netgroups
from gitstate.directory.model.ranges import MOST, expand
from tests.support import needs


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("server", "server"),
        ("lab3-[01-03]", "lab3-01 lab3-02 lab3-03"),
        ("lab3-[1-3]", "lab3-1 lab3-2 lab3-3"),
        ("x[9-11]", "x9 x10 x11"),
        ("x[09-11]", "x09 x10 x11"),
        ("x[0-2]", "x0 x1 x2"),
        ("x[007]", "x007"),
        ("x[1-9/4]", "x1 x5 x9"),
        ("x[3,1,2-3]", "x3 x1 x2"),
        ("x[1,01]", "x1 x01"),
        ("a[1-2],b,a[2-3]", "a1 a2 b a3"),
        ("r[1-2]n[01-02]", "r1n01 r1n02 r2n01 r2n02"),
        ("[1-2]x", "1x 2x"),
        ("x[1][2]", "x12"),
        ("lab[3-4]-*", "lab3-* lab4-*"),
        ("x-1", "x-1"),
        (f"x[1-{MOST}]", " ".join(f"x{number}" for number in range(1, MOST + 1))),
    ],
)
def test_expand(text: str, names: str) -> None:
    assert expand(text) == names.split()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "a name is missing"),
        (",", "a name is missing"),
        ("a,,b", "a name is missing"),
        ("a,", "a name is missing"),
        ("x[1-2", "a bracket without its other"),
        ("x1-2]", "a bracket without its other"),
        ("x[[1]]", "a bracket without its other"),
        ("x[1]]", "a bracket without its other"),
        ("x[]", "is not a list of numbers"),
        ("x[a-b]", "is not a list of numbers"),
        ("x[1-2-3]", "is not a list of numbers"),
        ("x[1,]", "is not a list of numbers"),
        ("x[ 1 ]", "is not a list of numbers"),
        ("x[-1]", "is not a list of numbers"),
        ("x[1/2]", "is not a list of numbers"),
        ("x[٣]", "is not a list of numbers"),
        ("x[1\n]", "is not a list of numbers"),
        ("x[3-1]", "counts to nowhere"),
        ("x[10-5]", "counts to nowhere"),
        ("x[1-5/0]", "counts to nowhere"),
        ("x[01-100]", "numbers of different widths"),
        ("x[001-10]", "numbers of different widths"),
        (f"x[0-{MOST}]", "more than"),
        ("x[1-999999999]", "more than"),
        ("[1-60000],[1-60000]x", "more than"),
        ("[1-300]-[1-300]", "more than"),
        ("[1-9]" * 400, "more than"),
        ("[1-60000]," * 300, "more than"),
        ("x" * 5000, "too long"),
    ],
)
def test_what_is_refused(text: str, why: str) -> None:
    started = time.process_time()
    with pytest.raises(UsageError, match=why) as caught:
        expand(text)
    assert len(caught.value.message) < 200
    assert time.process_time() - started < 2


@given(st.text(alphabet="x01289[]-,/*é \n", max_size=40))
def test_any_text_is_names_or_refused(text: str) -> None:
    try:
        names = expand(text)
    except UsageError:
        return
    assert names
    assert len(names) == len(set(names)) <= MOST
    assert not any(set("[],") & set(name) for name in names)
    if not set("[],") & set(text):
        assert names == [text]


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b-", "lab"]), st.integers(0, 999), st.integers(0, 20), st.booleans()),
        min_size=1,
        max_size=3,
    )
)
def test_ranges_count_as_a_loop_does(parts: list[tuple[str, int, int, bool]]) -> None:
    text, choices = "", []
    for word, first, more, is_padded in parts:
        width = 4 if is_padded else 1
        text += f"{word}[{first:0{width}}-{first + more:0{width}}]"
        choices.append([f"{word}{number:0{width}}" for number in range(first, first + more + 1)])
    assert expand(text) == ["".join(one) for one in product(*choices)]


# --- netgroups --------------------------------------------------------------------------------------------------------


def test_hosts_of_triples() -> None:
    triples = ["(LAB3-02.example.org,,)", "(lab3-01,-,example.org)", "(-,eve,)", "(lab3-01,,)"]
    assert netgroups.hosts_of_triples("lab3", triples) == ["lab3-01", "lab3-02"]
    with pytest.raises(UsageError, match="holds any machine"):
        netgroups.hosts_of_triples("all", ["(lab3-01,,)", "(,,)"])
    with pytest.raises(UsageError, match="not a host name"):
        netgroups.hosts_of_triples("odd", ["(a b!,,)"])


@needs("getent")
def test_a_netgroup_that_nobody_knows() -> None:
    with pytest.raises(NotFoundError, match="no netgroup no-such-netgroup"):
        netgroups.hosts("no-such-netgroup")


@pytest.mark.parametrize("name", ["", "-x", "a b", "x\n", "x/y", "*", "x" * 300])
def test_what_is_no_netgroup(name: str) -> None:
    with pytest.raises(UsageError, match="not a netgroup's name"):
        netgroups.hosts(name)
