"""What the renderers say, and that no value can make them say anything else."""

from __future__ import annotations

import dataclasses
import re
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gitstate.boot.options import Dhcp, Nfs
from gitstate.boot.plan import BootChannel, Maintained, machine_id
from gitstate.boot.render import ETC_FILES, MARK, Renderer
from gitstate.core import documents
from gitstate.core.errors import ConfigError
from tests.boot.harness import (
    COMMIT,
    MAC,
    OWN,
    SITE,
    UUID,
    BootPlan,
    client,
    commands,
    image,
    lines_of,
    options,
    plan,
    render,
)

MAC_FILE: Final = "tftp/boot/mac/52-54-00-12-34-56.ipxe"
SNAPSHOT: Final = f"tftp/desktop/{COMMIT}/boot.ipxe"
WAYS: Final[list[dict[str, Any]]] = [
    {},
    {**OWN, "nfs": "ganesha", "http": False},
    {"dhcp": "none", "nfs_version": "4.2", "arguments": "console=ttyS0 quiet"},
]


def snapshot_line(**fields: Any) -> list[str]:
    """The words of a snapshot's kernel line."""
    table = fields.pop("table", {})
    script = render(BootPlan(SITE, UUID, options(**table), (image(**fields),)))[SNAPSHOT]
    (line,) = (words for words in commands(script) if words[0] == "kernel")
    return line[1:]


# --- which files ------------------------------------------------------------------------------------------------------


UNIT: Final = "etc/systemd/system/gitstate-dnsmasq.service"


def test_which_files_there_are() -> None:
    always = {"tftp/boot/boot.ipxe", MAC_FILE, SNAPSHOT, "etc/gitstate/dnsmasq.conf", UNIT}
    http, hosts = "etc/nginx/conf.d/gitstate.conf", "etc/gitstate/dnsmasq.hosts"
    kernel, ganesha = "etc/exports.d/gitstate.exports", "etc/gitstate/ganesha.conf"
    its_unit = "etc/systemd/system/gitstate-ganesha.service"
    assert set(render(plan())) == always | {http, kernel}
    assert set(render(plan(http=False))) == always | {kernel}
    assert set(render(plan(nfs="ganesha"))) == always | {http, ganesha, its_unit}
    assert set(render(plan(**OWN))) == always | {http, kernel, hosts}
    assert {http, hosts, kernel, ganesha, its_unit, UNIT, "etc/gitstate/dnsmasq.conf"} == set(ETC_FILES)


@pytest.mark.parametrize("way", WAYS)
def test_every_file_says_who_wrote_it(way: dict[str, Any]) -> None:
    for path, text in render(plan(**way)).items():
        head = text.splitlines()[:3]
        comments = [line for line in head if line.startswith("# ")]
        assert len(comments) >= 2, path
        assert MARK in comments[0].lower(), path
        assert str(SITE) in comments[0], path
        assert re.search(rf"Edits are lost; .* {SITE}/templates/(\S+)\.j2\.", comments[1]), path
        assert text.endswith("\n"), path
        assert "\n\n\n" not in text, path


def test_the_template_that_the_header_names_is_the_one(tmp_path: Path) -> None:
    for way in WAYS:
        for path, text in render(plan(tmp_path / "site", **way)).items():
            named = re.search(r"templates/(\S+\.j2)\.", text)
            assert named
            own = tmp_path / "site" / "templates" / named[1]
            own.parent.mkdir(parents=True, exist_ok=True)
            own.write_text("mine\n")
            assert render(plan(tmp_path / "site", **way))[path] == "mine\n"
            own.unlink()


@pytest.mark.parametrize("way", WAYS)
def test_nothing_changes_from_run_to_run(way: dict[str, Any]) -> None:
    first = render(plan(**way))
    assert render(plan(**way)) == first
    assert str(time.localtime().tm_year) not in "".join(first.values())


def test_one_client_is_as_in_the_whole() -> None:
    whole = render(plan(**OWN))
    renderer = Renderer(SITE, UUID, options(**OWN))
    assert renderer.client_files(client()) == {MAC_FILE: whole[MAC_FILE]}
    assert renderer.image_files(image(has_caps=True)) == {SNAPSHOT: whole[SNAPSHOT]}
    assert renderer.hosts_files([client()]).items() <= whole.items()
    assert renderer.common_files().items() <= whole.items()


# --- iPXE -------------------------------------------------------------------------------------------------------------


def test_a_machine_by_each_of_its_cards() -> None:
    files = Renderer(SITE, UUID, options()).client_files(client(macs=(MAC, "52:54:00:00:00:02")))
    assert list(files) == [MAC_FILE, "tftp/boot/mac/52-54-00-00-00-02.ipxe"]
    assert len(set(files.values())) == 1
    assert Renderer(SITE, UUID, options()).client_files(client(macs=())) == {}


def test_what_a_machine_is_told() -> None:
    (text,) = Renderer(SITE, UUID, options()).client_files(client(arguments=("single", "a=b"))).values()
    own = ["gitstate.host=lab3-12", f"systemd.machine_id={machine_id(UUID, 'lab3-12')}", "single", "a=b"]
    assert commands(text) == [
        ["set", "machine", "lab3-12"],
        ["clear", "archive", "||"],
        ["set", "client", *own],
        ["chain", "--autofree", f"../../desktop/{COMMIT}/boot.ipxe"],
    ]


@pytest.mark.parametrize(("http", "served"), [(True, "http://10.77.0.1:80"), (False, "tftp://10.77.0.1")])
def test_one_who_follows_a_channel_is_told_where_its_layers_are(http: bool, served: str) -> None:
    renderer = Renderer(SITE, UUID, options(http=http))
    (text,) = renderer.client_files(client(channel="lab3")).values()
    assert commands(text)[-2:] == [
        ["set", "client", "${client}", f"gitstate.archive={served}/boot/channel/lab3.ipxe"],
        ["chain", "--autofree", "../channel/lab3.ipxe"],
    ]
    with_archives = BootChannel("lab3", "7", "desktop", COMMIT, has_archives=True)
    (text,) = renderer.channel_files(with_archives).values()
    assert ["set", "archive", "../../archives/lab3/7/${machine}.cpio"] in commands(text)
    assert "gitstate.archive=/archives/lab3/7/%h.cpio\n" in text
    assert f"gitstate.snapshot=desktop@{COMMIT}\n" in text
    (text,) = renderer.channel_files(dataclasses.replace(with_archives, has_archives=False)).values()
    assert f"gitstate.snapshot=desktop@{COMMIT}\n" in text
    assert "archive" not in text


def test_the_machine_id_is_the_documented_one() -> None:
    # printf 'UUID\0lab3-12' | sha256sum | cut -c-32
    assert machine_id("6f1e4e0a-0f8c-4c1f-8a60-9f1f4a8f0f10", "lab3-12") == "756189664aa3930ee32cf0463fa967c6"


def test_the_kernel_line() -> None:
    assert snapshot_line() == [
        "vmlinuz",
        "${layers}",
        "initrd=initrd.img",
        "boot=gitstate",
        f"gitstate.root=10.77.0.1:/srv/gitstate/exports/desktop/{COMMIT}",
        "gitstate.nfs=3",
        f"gitstate.snapshot=desktop@{COMMIT}",
        "gitstate.epoch=1700000000",
        "gitstate.overlay=50%",
        "BOOTIF=01-${netX/mac:hexhyp}",
        "${client}",
    ]
    more = snapshot_line(table={"nfs_version": "4.2", "overlay_size": "2g", "arguments": "quiet a=b"})
    assert more[5:6] + more[8:11] == ["gitstate.nfs=4.2", "gitstate.overlay=2g", "quiet", "a=b"]


def test_capabilities_are_a_further_initrd_in_front() -> None:
    """Uncompressed, it would be lost behind an initrd whose length isn't a multiple of four."""
    script = commands(render(plan())[SNAPSHOT])
    (kernel,) = (words for words in script if words[0] == "kernel")
    assert [word for word in kernel if word.startswith("initrd=")] == ["initrd=caps.cpio", "initrd=initrd.img"]
    loaded = [["initrd", "caps.cpio"], ["initrd", "--name", "machine.cpio", "${archive}"], ["initrd", "initrd.img"]]
    assert [words for words in script if words[0] == "initrd"] == loaded
    assert script.index(["isset", "${archive}", "||", "goto", "layered"]) == script.index(loaded[1]) - 1
    assert script.index([":layered"]) == script.index(loaded[1]) + 1
    assert script[-1] == ["boot"]
    without = render(BootPlan(SITE, UUID, options(), (image(),)))[SNAPSHOT]
    assert "caps" not in without


def test_http_comes_first_and_tftp_is_there_if_it_fails() -> None:
    chains = [words[2] for words in commands(render(plan())["tftp/boot/boot.ipxe"]) if words[0] == "chain"]
    script = "mac/${netX/mac:hexhyp}.ipxe"
    assert chains == [f"http://10.77.0.1:80/boot/{script}", script]
    slow = commands(render(plan(http=False))["tftp/boot/boot.ipxe"])
    assert [words[2] for words in slow if words[0] == "chain"] == [script]


@pytest.mark.parametrize("http", [True, False])
def test_every_label_of_the_first_script_is_there_and_none_is_fallen_into(http: bool) -> None:
    script = commands(render(plan(http=http))["tftp/boot/boot.ipxe"])
    labels = {words[0][1:] for words in script if words[0].startswith(":")}
    wanted = {after for words in script for word, after in pairwise(words) if word == "goto"}
    assert labels == wanted
    for before, words in pairwise(script):
        if words[0].startswith(":"):
            assert "goto" in before
    assert script[-1] == ["goto", "try"]


@pytest.mark.parametrize("http", [True, False])
def test_no_line_on_a_screen_is_wrapped(http: bool) -> None:
    for line in render(plan(http=http))["tftp/boot/boot.ipxe"].splitlines():
        if line.startswith(("echo ", "prompt ")):
            shown = re.sub(r"^(?:echo|prompt --timeout \d+) ", "", line.removesuffix(" ||"))
            assert len(shown.replace("${netX/mac}", MAC)) < 80


# --- servers ----------------------------------------------------------------------------------------------------------


def test_dnsmasq_is_apart_from_any_other() -> None:
    found = lines_of(render(plan())["etc/gitstate/dnsmasq.conf"])
    wanted = {("port", "0"), ("interface", "eth1"), ("except-interface", "lo"), ("bind-dynamic", "")}
    wanted |= {("tftp-root", "/srv/gitstate/tftp"), ("log-facility", "/srv/gitstate/log/dnsmasq.log")}
    assert wanted | {("log-dhcp", ""), ("group", "gitstate")} <= set(found)


def test_dnsmasq_beside_another_server() -> None:
    found = dict(lines_of(render(plan())["etc/gitstate/dnsmasq.conf"]))
    assert found["dhcp-range"] == "10.77.0.0,proxy,255.255.255.0"
    assert "leasefile-ro" in found
    assert "dhcp-hostsfile" not in found


def test_dnsmasq_that_gives_addresses() -> None:
    files = render(plan(**OWN, etc="/srv/etc"))
    found = dict(lines_of(files["etc/gitstate/dnsmasq.conf"]))
    assert found["dhcp-range"] == "10.77.0.100,10.77.0.200,255.255.255.0,1h"
    assert found["dhcp-hostsfile"] == "/srv/etc/gitstate/dnsmasq.hosts"
    assert not {"pxe-service", "leasefile-ro"} & set(found)
    assert files["etc/gitstate/dnsmasq.hosts"].splitlines()[-1] == f"{MAC},10.77.0.12,lab3-12"


def test_dnsmasq_that_only_serves_files() -> None:
    found = {key for key, _ in lines_of(render(plan(dhcp="none"))["etc/gitstate/dnsmasq.conf"])}
    assert not {key for key in found if key.startswith(("dhcp", "pxe"))}
    assert "enable-tftp" in found


def test_which_clients_get_an_address() -> None:
    machines = [
        client(name="a", macs=("52:54:00:00:00:01", "52:54:00:00:00:02"), ips=("fd77::1", "10.77.0.1", "10.77.0.2")),
        client(name="b", macs=("52:54:00:00:00:03",), ips=("fd77::2",)),
        client(name="c", macs=("52:54:00:00:00:04",), ips=()),
    ]
    (text,) = Renderer(SITE, UUID, options(**OWN)).hosts_files(machines).values()
    hosts = [line for line in text.splitlines() if not line.startswith("#")]
    assert hosts == ["52:54:00:00:00:01,10.77.0.1,a", "52:54:00:00:00:02,10.77.0.1,a"]
    assert Renderer(SITE, UUID, options()).hosts_files(machines) == {}


def test_the_exports_have_an_id_of_their_own() -> None:
    def line(uuid: str) -> str:
        return render(dataclasses.replace(plan(), uuid=uuid))["etc/exports.d/gitstate.exports"].splitlines()[-1]

    found = line(UUID)
    path, rights = found.split()
    assert path == "/srv/gitstate/exports"
    assert re.fullmatch(r"10\.77\.0\.0/24\(ro,no_root_squash,no_subtree_check,sec=sys,fsid=[0-9a-f-]{36}\)", rights), (
        rights
    )
    assert UUID not in found
    assert line(UUID) == found
    assert line(UUID.replace("6", "7")) != found


# --- nothing gets in --------------------------------------------------------------------------------------------------

_SPECIAL = re.compile(r"[\"'{}();#$\\|&<>`!*?,=]|\s")


def structure(path: str, text: str) -> list[str]:
    """Of each line what gives it its meaning: how many words, and everything that ends or joins words.

    A kernel argument may hold what has no meaning there.
    """
    marks = []
    for line in text.splitlines():
        plain = re.sub(r"[,=]", "", line) if path.endswith(".ipxe") else line
        marks.append("".join(_SPECIAL.findall(plain)))
    return marks


def outcome(make: Callable[[], BootPlan]) -> dict[str, list[str]] | None:
    """The structure of each file, by its directory; None if the plan is refused."""
    try:
        files = render(make())
    except ConfigError as caught:
        fault = caught
    else:
        fault = None
    if fault:
        assert str(fault).isprintable()
        assert fault.hint
        return None
    assert all(re.fullmatch(r"(?:tftp|etc)(?:/[A-Za-z0-9._+-]+)+", path) and "/." not in path for path in files)
    return {re.sub(r"mac/.*|tftp/(?!boot/).*", "", path): structure(path, text) for path, text in files.items()}


BREAKS: Final = ["\n", "\r", "\0", " ", "\t", '"', "'", "\\", "#", ";", "{", "}", "$(x)", "`x`", "|| x", "&& x", "é"]
INJECTS: Final = [
    "${net0/mac}",
    "\ndhcp-script=/bin/sh",
    "\n}\nserver {",
    " *(rw)",
    "\nshell\n",
    "{{ 7 }}",
    "{% raw %}",
]
ODD: Final = ["../..", "/", "//", ",", "%0a", "\x85", "\u2028", "\u00a0", "\x7f", "\x1b[2J", "a" * 300]
EVIL: Final = st.sampled_from(BREAKS + INJECTS + ODD)
TEXTS: Final = st.one_of(
    st.tuples(st.sampled_from(["", "a", "10.77.0.9", MAC, COMMIT, "a" * 32, "desktop"]), EVIL, st.sampled_from("a1 "))
    .map("".join)
    .map(lambda text: text.removesuffix(" ")),
    st.tuples(EVIL, st.sampled_from(["", "a"])).map("".join),
    st.text(max_size=20),
    st.text(alphabet="0123456789abcdef:.-/", max_size=40),
)

FIELDS: Final[dict[str, Callable[[str], BootPlan]]] = {
    "client name": lambda text: with_client(name=text),
    "client MAC": lambda text: with_client(macs=(text,)),
    "client IP": lambda text: with_client(ips=(text,)),
    "client prototype": lambda text: with_client(prototype=text),
    "client commit": lambda text: with_client(commit=text),
    "client machine id": lambda text: with_client(machine_id=text),
    "client argument": lambda text: with_client(arguments=(text,)),
    "image prototype": lambda text: with_image(prototype=text),
    "image commit": lambda text: with_image(commit=text),
    "image time": lambda text: with_image(epoch=text),
    "site": lambda text: dataclasses.replace(base(), site=Path(text)),
    "site, below": lambda text: dataclasses.replace(base(), site=Path(f"/srv/{text}")),
    "site's id": lambda text: dataclasses.replace(base(), uuid=text),
    "interface": lambda text: with_options(interface=text),
    "server": lambda text: with_options(server=text),
    "network": lambda text: with_options(network=text),
    "range": lambda text: with_options(range=["10.77.0.9", text]),
    "port": lambda text: with_options(http_port=text),
    "NFS version": lambda text: with_options(nfs_version=text),
    "argument": lambda text: with_options(arguments=text.replace(" ", "\t") or "\t"),  # a space parts words
    "overlay size": lambda text: with_options(overlay_size=text),
    "etc": lambda text: with_options(etc=text),
    "etc, below": lambda text: with_options(etc=f"/{text}"),
    "group": lambda text: with_options(group=text),
}


IN_GANESHA: Final = ["site", "site, below", "site's id", "network"]


def base() -> BootPlan:
    """All files but Ganesha's."""
    words = client(arguments=("single",))
    return dataclasses.replace(plan(**OWN, arguments="quiet"), clients=(words,))


def with_client(**fields: Any) -> BootPlan:
    return dataclasses.replace(base(), clients=(dataclasses.replace(base().clients[0], **fields),))


def with_image(**fields: Any) -> BootPlan:
    return dataclasses.replace(base(), images=(dataclasses.replace(base().images[0], **fields),))


def with_options(**fields: Any) -> BootPlan:
    return dataclasses.replace(base(), options=options(**{**OWN, "arguments": "quiet", **fields}))


WHOLE: Final = {nfs: outcome(lambda nfs=nfs: with_options(nfs=nfs)) for nfs in Nfs}


CASES: Final = [*((field, Nfs.KERNEL) for field in FIELDS), *((field, Nfs.GANESHA) for field in IN_GANESHA)]


@pytest.mark.parametrize(("field", "nfs"), CASES)
def test_no_value_changes_what_a_file_is_made_of(field: str, nfs: Nfs) -> None:
    def made(text: str) -> BootPlan:
        found = FIELDS[field](text)
        return dataclasses.replace(found, options=documents.replace(found.options, nfs=nfs))

    @settings(max_examples=50)
    @given(TEXTS)
    @example("a\nb")
    @example("a b")
    def hold(text: str) -> None:
        assert outcome(lambda: made(text)) in (None, WHOLE[nfs])

    hold()


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("text", [*BREAKS, *INJECTS])
def test_what_would_break_a_file_is_refused(field: str, text: str) -> None:
    with pytest.raises(ConfigError):
        render(FIELDS[field](f"a{text}"))


def test_the_checker_of_structures_sees_what_gets_in() -> None:
    assert None not in WHOLE.values()
    path = "etc/gitstate/dnsmasq.hosts"
    good = f"{MAC},10.77.0.12,lab3-12\n"
    assert structure(path, good) == structure(path, good.replace("lab3-12", "other"))
    for bad in ("a,b", "a b", "a\nb", "a#b", "a=b"):
        assert structure(path, good) != structure(path, good.replace("lab3-12", bad)), bad
    assert structure("x.ipxe", "kernel vmlinuz a") != structure("x.ipxe", "kernel vmlinuz a b")
    assert structure("x.ipxe", "kernel vmlinuz a") != structure("x.ipxe", "kernel vmlinuz a||b")


def test_odd_kinds_are_refused() -> None:
    for made in (
        lambda: with_options(http_port=True),
        lambda: with_image(epoch=None),
        lambda: with_client(name=None),
        lambda: with_client(name=b"lab"),
    ):
        with pytest.raises(ConfigError):
            render(made())


# --- work -------------------------------------------------------------------------------------------------------------


def calls_to_render(count: int) -> int:
    """How many functions are called to render the files of so many machines."""
    machines = tuple(
        client(name=f"lab{number}", macs=(f"52:54:00:00:{number // 256:02x}:{number % 256:02x}",))
        for number in range(count)
    )
    calls = 0

    def profile(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    site = dataclasses.replace(plan(**OWN), clients=machines)
    sys.setprofile(profile)
    try:
        files = render(site)
    finally:
        sys.setprofile(None)
    assert len(files) == count + 7
    assert files["etc/gitstate/dnsmasq.hosts"].count("\n") == count + 2
    return calls


def test_work_grows_with_the_machines_and_no_faster() -> None:
    few, more, most = map(calls_to_render, (100, 600, 1100))
    assert most - more < (more - few) * 1.02


def test_enums_are_the_words_of_the_file() -> None:
    assert {*map(str, Dhcp), *map(str, Nfs)} == {"proxy", "own", "none", "kernel", "ganesha"}


# --- live trees -------------------------------------------------------------------------------------------------------


def test_a_live_tree_is_exported_to_its_machine_alone() -> None:
    one = Maintained("desktop", "lab3-m", "/srv/gitstate/live/desktop", ("10.77.0.41", "10.77.0.43"))
    kernel = Renderer(SITE, UUID, options(nfs="kernel")).common_files([one])["etc/exports.d/gitstate.exports"]
    rows = [line for line in kernel.splitlines() if "rw" in line]
    assert [row.partition("(")[0] for row in rows] == [
        "/srv/gitstate/live/desktop 10.77.0.41",
        "/srv/gitstate/live/desktop 10.77.0.43",
    ]
    assert sum("(ro," in line for line in kernel.splitlines()) == 1
    text = Renderer(SITE, UUID, options(nfs="ganesha")).common_files([one])["etc/gitstate/ganesha.conf"]
    assert text.count("Access_Type = RW;") == 2
    assert text.count("Access_Type = NONE;") == 2
    assert re.findall("Clients = (.*);", text) == ["10.77.0.0/24", "10.77.0.41", "10.77.0.43"]
    other = dataclasses.replace(one, path="/srv/gitstate/live/other")
    again = Renderer(SITE, UUID, options(nfs="ganesha")).common_files([one, other])["etc/gitstate/ganesha.conf"]
    ids = re.findall("Export_Id = ([0-9]+);", again)
    assert len(set(ids)) == len(ids) == 3
    assert "rw" not in Renderer(SITE, UUID, options(nfs="kernel")).common_files()["etc/exports.d/gitstate.exports"]


@pytest.mark.parametrize(
    "changes",
    [{"path": "/srv/a b"}, {"path": "/srv/../etc"}, {"addresses": ("*",)}, {"addresses": ("10.77.0.0/24",)}],
)
def test_what_could_open_an_export_to_others_is_refused(changes: dict[str, Any]) -> None:
    one = dataclasses.replace(Maintained("desktop", "lab3-m", "/srv/live", ("10.77.0.41",)), **changes)
    with pytest.raises(ConfigError):
        Renderer(SITE, UUID, options()).common_files([one])
