"""What one machine gets: accounts merged, owners found, facts."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_interface
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitstate.core.errors import ConflictError, GitstateError
from gitstate.directory import Client
from gitstate.machine.layers import Machine
from gitstate.machine.render.accounts import Lines, merge_accounts
from gitstate.machine.render.facts import facts_of
from gitstate.machine.render.models import LayerError
from tests.machine.render.harness import GROUP, PASSWD, Bench, Node, link

KIOSK = b"kiosk:x:1000:1000::/home/kiosk:/bin/sh\n"


# --- accounts ---------------------------------------------------------------------------------------------------------


def test_lines_are_added_to_those_of_the_image() -> None:
    bench = Bench()
    found = bench.files(
        {"etc": {"passwd.merge": KIOSK}}, {"etc": {"passwd.merge": b"# none\n\nexam:x:1001:100::/:/x\n"}}
    )
    assert found == {"etc/passwd": (PASSWD + KIOSK + b"exam:x:1001:100::/:/x\n").decode()}


def test_a_merged_file_is_as_the_images() -> None:
    (item,) = Bench().items({"etc": {"shadow.merge": b"kiosk:!:1:0:9:7:::\n"}})
    assert item.meta is not None
    assert (item.path, item.meta.mode, item.layer) == (b"etc/shadow", 0o640, "a")
    assert item.meta.time == 1
    (item,) = Bench({}).items({"etc": {"group.merge": b"x:x:1:\n"}})[1:]
    assert item.meta is not None
    assert (item.meta.mode, item.meta.time) == (0o644, 1), "the latest of those that it is made of"
    (item,) = Bench().items({"etc": {"subuid.merge": b"ada:100000:65536\n"}})
    assert item.content == b"ada:100000:65536\n"
    (item,) = Bench().items({"etc": {"gshadow.merge": b"x:!::\n"}})
    assert item.meta is not None
    assert item.meta.mode == 0o600


def test_merge_files_may_be_templates() -> None:
    layer = {"etc": {"passwd.merge.j2": b"{{ host }}:x:1000:1000::/:/bin/sh\n"}}
    assert Bench().files(layer, host="lab3-14")["etc/passwd"] == f"{PASSWD.decode()}lab3-14:x:1000:1000::/:/bin/sh\n"
    with pytest.raises(LayerError, match=r"lab3-14: a [0-9a-f]{7}: etc/passwd.merge.j2, line 1"):
        Bench().files(layer)


SKIPS = b"{% if host != 'lab3-14' %}{{ skip() }}{% endif %}x\n"


def test_a_template_may_skip_its_file_for_a_machine() -> None:
    layer = {"etc": {"a.d": {"b.d": {"conf.j2": SKIPS}}}}
    assert Bench().files(layer, host="lab3-14") == {"etc/a.d": "/", "etc/a.d/b.d": "/", "etc/a.d/b.d/conf": "x\n"}
    assert Bench().files(layer, host="lab3-15") == {}, "no file, and no directory only for it"
    layer["etc"]["a.d"]["other"] = b"y"
    assert Bench().files(layer, host="lab3-15") == {"etc/a.d": "/", "etc/a.d/other": "y"}


def test_below_a_file_that_is_skipped_is_what_lower_layers_say() -> None:
    low = {"etc": {"conf": b"low"}}
    assert Bench().files(low, {"etc": {"conf.j2": SKIPS}}, host="lab3-15") == {"etc/conf": "low"}
    assert Bench().files(low, {"etc": {"conf.j2": SKIPS}}, host="lab3-14") == {"etc/conf": "x\n"}
    assert Bench().files({"etc": {"conf.j2": SKIPS}}, {"etc": {"conf.j2": SKIPS}}, host="lab3-15") == {}
    hidden = {"etc": {".wh.motd": b"", "motd.j2": SKIPS}}
    image = {"etc": {"motd": b"of the image"}}
    (item,) = Bench(image).items(hidden, host="lab3-15")
    assert (item.path, item.meta) == (b"etc/motd", None), "a whiteout beside it still hides"
    lines = Bench().files({"etc": {"passwd.merge.j2": SKIPS}}, {"etc": {"passwd.merge": KIOSK}}, host="lab3-15")
    assert lines == {"etc/passwd": (PASSWD + KIOSK).decode()}


def test_only_the_account_files_are_merged() -> None:
    assert Bench().files({"etc": {"hosts.merge": b"x"}, "opt": {"passwd.merge": b"y"}}) == {
        "etc/hosts.merge": "x",
        "opt": "/",
        "opt/passwd.merge": "y",
    }
    assert Bench().files({"etc": {"passwd.merge": link(b"x")}}) == {"etc/passwd.merge": "->x"}


@pytest.mark.parametrize(
    ("name", "image", "parts", "expected"),
    [
        ("group", GROUP, [b"users:x:100:bob\n"], b"root:x:0:\nlp:x:7:\nusers:x:100:ada,bob\n"),
        ("group", GROUP, [b"users:x:100:ada,bob\n"] * 2, b"root:x:0:\nlp:x:7:\nusers:x:100:ada,bob\n"),
        ("passwd", b"a:x:1:1::/:/a\n", [b"a:x:1:5::/:/b\n", b"a:x:1:6::/:/c\n"], b"a:x:1:6::/:/c\n"),
        ("shadow", b"a:*:::::::\n", [b"a:!:::::::\n"], b"a:!:::::::\n"),
        ("gshadow", b"a:!:x:y\n", [b"a:!:z:y,w\n"], b"a:!:x,z:y,w\n"),
        ("subgid", b"a:1000:10\n", [b"b:1010:10\n"], b"a:1000:10\nb:1010:10\n"),
        (
            "subuid",
            b"ada:1:10\nada:50:10\n",
            [b"ada:100:10\n", b"bob:60:5\nada:50:10\n"],
            b"ada:1:10\nada:50:10\nada:100:10\nbob:60:5\n",
        ),
        ("group", b"# local\n\n# local\n\na:x:1:\n", [b"a:x:1:z\na:x:1:y\n"], b"# local\n\n# local\n\na:x:1:z,y\n"),
        (
            "passwd",
            b"+@staff\n+@staff\na:x:1:1::/:/a\na:x:1:1::/:/old",
            [b"a:x:1:1::/:/b\n"] * 2,
            b"+@staff\n+@staff\na:x:1:1::/:/b\na:x:1:1::/:/old\n",
        ),
        ("shadow", b"#\r\n#\r\na:*:::::::\n", [b"b:!:::::::\nb:!:::::::\r\n"], b"#\r\n#\r\na:*:::::::\nb:!:::::::\n"),
        ("passwd", b"+::::::\nodd line\n\n", [KIOSK], b"+::::::\nodd line\n\n" + KIOSK),
        ("passwd", b"a:x:1:1:::\nb:x:1:1:::\n", [KIOSK], b"a:x:1:1:::\nb:x:1:1:::\n" + KIOSK),
    ],
)
def test_what_lines_become(name: str, image: bytes, parts: list[bytes], expected: bytes) -> None:
    assert merge_accounts(name, Lines("image", image), [Lines("layer", part) for part in parts]) == expected


@pytest.mark.parametrize(
    ("name", "text", "error", "said"),
    [
        ("passwd", b"lp:x:8:8::/:/x\n", ConflictError, "lp has the id 7 already, not 8"),
        ("passwd", b"lp2:x:7:8::/:/x\n", ConflictError, "lp2 wants the id 7, which lp has in passwd"),
        ("passwd", b"a:x:5:5::/:\nb:x:05:5::/:\n", ConflictError, "b wants the id 5"),
        ("group", b"lp:x:9:\n", ConflictError, "lp has the id 7"),
        ("group", b"new:x:100:\n", ConflictError, "new wants the id 100"),
        ("passwd", KIOSK + b"kiosk:x:1000:1000::/:/x\n", ConflictError, "line 2: kiosk has another line before"),
        ("subuid", b"a:1:10\nb:10:10\n", ConflictError, "b wants the range 10:10"),
        ("passwd", b"\na:x\n", LayerError, "line 2: 2 fields; passwd has 7"),
        ("passwd", b"a:x:y:1::/:\n", LayerError, "'y' is no number"),
        ("passwd", b"a:x:-1:1::/:\n", LayerError, "'-1' is no number"),
        ("passwd", b"a:x:4294967295:1::/:\n", LayerError, "is no number"),
        ("passwd", b":x:1:1::/:\n", LayerError, "a name is missing"),
        ("passwd", b"a b:x:1:1::/:\n", LayerError, "a name is missing, or none"),
        ("passwd", b"+:x:1:1::/:\n", LayerError, "a name is missing, or none"),
        ("passwd", b"a:x:1:1:\0:/:\n", LayerError, "no line of an account file"),
        ("shadow", b"a:*\n", LayerError, "2 fields; shadow has 9"),
    ],
)
def test_lines_that_cant_be(name: str, text: bytes, error: type[GitstateError], said: str) -> None:
    with pytest.raises(error) as caught:
        Bench().files({"etc": {f"{name}.merge": text}})
    assert said in caught.value.message
    assert caught.value.message.startswith("lab3-14: a ")


lines = st.builds(
    lambda name, uid, shell: b"%s:x:%d:1::/:%s\n" % (name, uid, shell),
    st.sampled_from([b"a", b"b", b"c"]),
    st.integers(1, 4),
    st.sampled_from([b"/x", b"/y"]),
)
files = st.lists(lines, max_size=3).map(b"".join)


@given(files, files, files)
def test_merging_is_associative_and_idempotent(image: bytes, first: bytes, second: bytes) -> None:
    def merge(base: bytes, *parts: bytes) -> bytes:
        return merge_accounts("passwd", Lines("i", base), [Lines("l", part) for part in parts])

    try:
        both = merge(image, first, second)
    except ConflictError:
        return
    assert merge(merge(image, first), second) == both
    assert merge(both, first, second) == both
    keys, before, brought = (
        [line.partition(b":")[0] for line in text.splitlines()] for text in (both, image, first + second)
    )
    assert Counter(keys) == Counter(before) | Counter(set(brought)), "nothing vanishes, and nothing comes twice"


# --- owners -----------------------------------------------------------------------------------------------------------


def owner(*specs: dict[str, Any]) -> tuple[int, int]:
    (item,) = (item for item in Bench().items(*specs) if item.path == b"etc/x")
    assert item.meta is not None
    assert (item.meta.uname, item.meta.gname) == (b"", b"")
    return item.meta.uid, item.meta.gid


def test_owners_by_name() -> None:
    assert owner({"etc": {"x": Node(b"", uname=b"lp", gname=b"users")}}) == (7, 100)
    assert owner({"etc": {"x": Node(b"", gname=b"users")}}) == (0, 100)
    merged = {"etc": {"passwd.merge": KIOSK, "x.j2": Node(b"", uname=b"kiosk")}}
    assert owner(merged) == (1000, 0)


@pytest.mark.parametrize(
    ("node", "said"), [(Node(b"", uname=b"nobody"), "user nobody"), (Node(gname=b"m\xc3\xbc"), "group")]
)
def test_an_unknown_name_is_an_error(node: Node, said: str) -> None:
    with pytest.raises(LayerError, match=rf"lab3-14: a [0-9a-f]{{7}}: etc/x: desktop dededed has no {said}"):
        owner({"etc": {"x": node}})


# --- facts ------------------------------------------------------------------------------------------------------------


def test_facts_of_a_machine() -> None:
    client = Client("lab3-14", ("52:54:00:12:34:56",), ("192.168.1.23", "fd00::17"), classes=("nvidia",))
    machine = Machine("lab3-14", (ip_interface("192.168.1.23/24"), ip_interface("fd00::17/64")), ("nvidia",))
    facts = facts_of(client, machine, "example.org", ["base"], "x86_64", {"memory": 8}, {"description": [b"a \xff"]})
    assert facts == {
        "host": "lab3-14",
        "domain": "example.org",
        "fqdn": "lab3-14.example.org",
        "lab": "lab3",
        "ip": "192.168.1.23",
        "ips": ["192.168.1.23", "fd00::17"],
        "network": "192.168.1.0/24",
        "prefix": 24,
        "netmask": "255.255.255.0",
        "broadcast": "192.168.1.255",
        "mac": "52:54:00:12:34:56",
        "macs": ["52:54:00:12:34:56"],
        "arch": "x86_64",
        "classes": ["nvidia"],
        "kind": "diskless",
        "state": "overlay",
        "layers": ["base"],
        "hardware": {"memory": 8},
        "directory": {"description": ["a \ufffd"]},
    }


def test_what_isnt_known_isnt_defined() -> None:
    facts = facts_of(Client("x"), Machine("x"), None, [], None, None, None)
    assert sorted(facts) == sorted(["host", "fqdn", "ips", "macs", "classes", "kind", "state", "layers", "directory"])
    facts = facts_of(
        Client("x"), Machine("x", (ip_interface("fd00::1/64"),)), None, [], "arm", {"architecture": "aarch64"}, {}
    )
    assert (facts["network"], facts["arch"]) == ("fd00::/64", "aarch64")
    assert "netmask" not in facts
    facts = facts_of(Client("x"), Machine("x", (ip_interface("10.0.0.1/32"),)), None, [], None, None, None)
    assert facts["ip"] == "10.0.0.1"
    assert "network" not in facts


def test_the_image_tells_the_architecture() -> None:
    assert Bench().image.arch == "x86_64"
    assert Bench({"bin": link(b"bin"), "usr": {"bin": {"sh": b"#!/bin/sh"}}}).image.arch is None
    assert Bench({}).image.arch is None
