"""A site's own templates: they win, they can extend ours, and what is wrong with them is told by file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitstate.core.errors import ConfigError
from tests.boot.harness import SITE, UUID, BootPlan, client, image, lines_of, options, render

DNSMASQ = "etc/gitstate/dnsmasq.conf"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "templates").mkdir()
    return tmp_path


def rendered(site: Path) -> dict[str, str]:
    return render(BootPlan(site, UUID, options(), (image(),), (client(),)))


def write(site: Path, name: str, text: str) -> Path:
    path = site / "templates" / f"{name}.j2"
    path.write_text(text)
    return path


def test_a_site_s_template_wins(site: Path) -> None:
    write(site, "client.ipxe", "#!ipxe\necho {{ client.name }} at {{ options.server }} of {{ site }}\n")
    files = rendered(site)
    assert files["tftp/boot/mac/52-54-00-12-34-56.ipxe"] == f"#!ipxe\necho lab3-12 at 10.77.0.1 of {site}\n"
    others = rendered(SITE)
    assert files[DNSMASQ] == others[DNSMASQ].replace(str(SITE), str(site))


def test_a_site_s_template_adds_to_ours(site: Path) -> None:
    more = "enable-ra\ndhcp-range=fd77::,ra-only,64,1h"
    write(site, "dnsmasq.conf", f'{{% extends "gitstate/dnsmasq.conf.j2" %}}{{% block more %}}{more}\n{{% endblock %}}')
    found, ours = lines_of(rendered(site)[DNSMASQ]), lines_of(rendered(SITE)[DNSMASQ])
    assert found[: len(ours)] == [(key, value.replace(str(SITE), str(site))) for key, value in ours]
    assert found[len(ours) :] == [("enable-ra", ""), ("dhcp-range", "fd77::,ra-only,64,1h")]


def test_a_site_s_template_replaces_a_part_of_ours(site: Path) -> None:
    write(
        site,
        "snapshot.ipxe",
        '{% extends "gitstate/snapshot.ipxe.j2" %}\n'
        "{% block root %} gitstate.root=10.77.0.9:/other/{{ image.path }}{% endblock %}\n",
    )
    (text,) = (text for path, text in rendered(site).items() if path.startswith("tftp/desktop/"))
    assert " gitstate.root=10.77.0.9:/other/desktop/4be1c02" in text
    assert f"{site}/exports" not in text
    assert " gitstate.epoch=1700000000 " in text


def test_a_template_that_is_gone_is_ours_again(site: Path) -> None:
    path = write(site, "dnsmasq.conf", "port=0\n")
    assert rendered(site)[DNSMASQ] == "port=0\n"
    path.unlink()
    assert "tftp-root" in rendered(site)[DNSMASQ]


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("a\n{{ optoins.server }}\n", 2, "'optoins' is undefined"),
        ("a\nb\n{{ options.sever }}", 3, "has no attribute 'sever'"),
        ("{% if %}", 1, "Expected an expression"),
        ("a\n{% block x %}", 2, "end of template"),
        ("a\n{{ 1 / 0 }}", 2, "ZeroDivisionError"),
        ("a\n{{ 'x' + 1 }}", 2, "TypeError"),
        ("{{ ().__class__.__base__ }}", 1, "is unsafe"),
        ("\n\n{{ options.arguments.__init__.__globals__ }}", 3, "is unsafe"),
        ("{% include 'nothing.j2' %}", 1, "there is no template nothing.j2"),
        ("{% include '../site.toml' %}", 1, "there is no template ../site.toml"),
        ("{% extends 'gitstate/nothing.j2' %}", 1, "there is no template gitstate/nothing.j2"),
        ("port=0\n{{ 'a b' }}\n", 2, "'a b' can't stand in a boot file"),
        ("port=0\n{{ options }}\n", 2, "can't stand in a boot file"),
        ("port=0\n{{ 'a\\nb' }}\n", 2, "can't stand in a boot file"),
        ("{{ range(10 ** 9) | list }}", 1, "OverflowError"),
        ("{{ options.arguments | join(' ') | nothing }}", 1, "No filter named 'nothing'"),
    ],
)
def test_what_is_wrong_is_told_by_file_and_line(site: Path, text: str, line: int, what: str) -> None:
    path = write(site, "dnsmasq.conf", text)
    with pytest.raises(ConfigError) as caught:
        rendered(site)
    fault = caught.value
    assert fault.message.startswith(f"{path}, line {line}: ")
    assert what in fault.message
    assert "fix it" in fault.hint
    assert str(fault).isprintable()


def test_a_fault_in_a_template_that_ours_calls(site: Path) -> None:
    write(site, "dnsmasq.conf", "port=0\n{% include 'more.j2' %}")
    path = write(site, "more", "a\nb\n{{ nothing }}")
    with pytest.raises(ConfigError, match=f"{path}, line 3: 'nothing' is undefined"):
        rendered(site)


def test_a_template_that_can_not_be_read(site: Path) -> None:
    path = write(site, "dnsmasq.conf", "")
    path.write_bytes(b"port=0\n\xff\n")
    with pytest.raises(ConfigError, match=rf"{path}: it is not UTF-8 \(byte 7\)"):
        rendered(site)
    path.unlink()
    path.mkdir()
    with pytest.raises(ConfigError, match=str(path)):
        rendered(site)
    path.rmdir()
    path.symlink_to("nothing")
    with pytest.raises(ConfigError, match=str(path)):
        rendered(site)
    path.unlink()
    assert "tftp-root" in rendered(site)[DNSMASQ]
