"""The pages tell the truth: their console blocks are run, their links lead somewhere, no command is left out."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote

import click
import pytest

from gitstate.cli.base.app import app
from tests.docs.console import SETUPS, Scratch, differences, masked, outputs, rewritten
from tests.docs.pages import anchors, commands, fences, links, pages, prose, setups
from tests.docs.reference import MAN_PAGE, REFERENCE, leaves
from tests.support import PROJECT, needs, root_only

# A page that needs a network and a machine is run in a lab: tests/lab/netboot_page.py.
WITH_COMMANDS = [
    page for page in pages() if commands(page.read_text("utf-8")) and "<!-- lab: " not in page.read_text("utf-8")
]


def name_of(page: Path) -> str:
    return str(page.relative_to(PROJECT))


@root_only
@needs("bash", "git", "setcap", "mtree", "rsync", "fmt")
@pytest.mark.parametrize("page", WITH_COMMANDS, ids=name_of)
def test_console_blocks_show_what_is_printed(page: Path) -> None:
    found = differences(page)
    hint = f"python -m tests.docs.console --write {name_of(page)}"
    assert not found, "\n\n".join(["", *found, f"if now is right: {hint}"])


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    dead = []
    for line, target in links(page.read_text("utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = unquote(target).partition("#")
        place = (page.parent / path) if path else page
        if not place.exists():
            dead.append(f"{name_of(page)}:{line}: {target} doesn't exist")
        elif anchor and place.suffix == ".md" and anchor not in anchors(place.read_text("utf-8")):
            dead.append(f"{name_of(page)}:{line}: {target}: no such heading")
    assert not dead, "\n".join(dead)


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_set_ups_exist(page: Path) -> None:
    for setup in setups(page.read_text("utf-8")):
        assert os.access(SETUPS / setup.name, os.X_OK), setup.name


def test_every_command_has_its_place_in_the_docs() -> None:
    read = "\n".join(page.read_text("utf-8") for page in pages() if page not in (REFERENCE, MAN_PAGE))
    words = " ".join(read.split())
    missing = [name for name, _ in leaves(app) if not re.search(rf"gitstate (?:-\S+ )*{name}\b", words)]
    assert not missing, f"no page but the reference speaks of: {', '.join(missing)}"


def test_options_that_pages_speak_of_exist() -> None:
    """An option in a page's call of a command of ours is one of that command, or git's."""
    known = dict(leaves(app))
    for page in pages():
        for call in re.findall(r"gitstate ((?:prototype )?[a-z]+)((?: [^\n`|;&#]*)?)", page.read_text("utf-8")):
            command = known.get(call[0])
            if command is None or command.name in ("log", "show", "diff", "blame"):
                continue
            options = {text for one in command.params if isinstance(one, click.Option) for text in one.opts}
            if (client := PROJECT / "hooks/client" / call[0]).exists():  # the machine's command of that name
                options |= set(re.findall(r"--[a-z-]+", client.read_text("utf-8")))
            for option in re.findall(r"(?<=\s)--[a-z][a-z-]*", call[1].partition(": ")[0]):
                assert option in options | {"--help"}, f"{name_of(page)}: gitstate {call[0]} {option}"


# From here on: the checkers themselves. A checker that can't fail holds nothing.


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return tmp_path / "page.md"


def console(*lines: str) -> str:
    return "\n".join(["# A page", "", "```console", *lines, "```", "", "The end."])


def test_output_that_differs_is_found(page: Path) -> None:
    page.write_text(console("# echo one", "one", "# echo two", "three"))
    (found,) = differences(page)
    assert f"{os.path.relpath(page, PROJECT)}:6: $ echo two\n--- the page\nthree\n--- now\ntwo\n" == found
    page.write_text(console("# echo one"))
    assert differences(page)
    page.write_text(console("# true", "one"))
    assert differences(page)


def test_pages_are_rewritten(page: Path) -> None:
    several = "# printf 'a\\n\\nb\\n'"
    text = console("# echo one", several, "other", "# echo 1.0 s", "2.0 s", "# echo \\", "  four", "4")
    right = console(
        *("# echo one", "one", several, "a", "", "b", "# echo 1.0 s", "2.0 s", "# echo \\", "  four", "four")
    )
    assert rewritten(text) == right
    page.write_text(right)
    assert differences(page) == []
    assert rewritten(right) == right


def test_ids_of_a_page_go_together(page: Path) -> None:
    one, two = "# echo d7c9b1f one", "# echo d7c9b1f0000 two"
    page.write_text(console(one, "aaaaaa1 one", two, "aaaaaa1beef two"))
    assert differences(page) == []
    page.write_text(console(one, "aaaaaa1 one", two, "bbbbbb1beef two"))
    (found,) = differences(page)
    assert "aaaaaa1, bbbbbb1 are one object" in found
    page.write_text(console(one, "aaaaaa1 one", "# echo eeeeee1 two", "aaaaaa1 two"))
    (found,) = differences(page)
    assert "aaaaaa1 is several objects" in found
    page.write_text(rewritten(page.read_text()))
    assert differences(page) == []


def test_a_page_is_one_shell(page: Path) -> None:
    page.write_text(
        console("# cd /srv; x=1", "$ pwd", "/srv", "# echo $x 'it''s'", "1 its", "# false", "# (", "# echo still here")
    )
    printed = [text for _, text in outputs(page.read_text())]
    assert printed[1] == "/srv\n"
    assert printed[2] == "1 its\n"
    assert "syntax error" in printed[4]
    assert printed[5] == "still here\n"


def test_complaints_are_output(page: Path) -> None:
    page.write_text(
        console("# gitstate status desktop", "gitstate: /srv/gitstate is not a site")
        + "\n\n"
        + console("# echo $GITSTATE_SITE", "/srv/gitstate")
    )
    (found,) = differences(page)
    assert "gitstate init makes one" in found


@root_only
def test_set_up_comes_first() -> None:
    text = "<!-- setup: small-root -->\n<!-- setup: small-root /srv/roots/second -->\n" + console(
        "# ls -1 /srv/roots", "# cat /srv/roots/second/etc/hostname"
    )
    assert [printed for _, printed in outputs(text)] == ["desktop\nsecond\n", "desktop\n"]
    assert [setup.name for setup in setups(text)] == ["small-root", "small-root"]
    assert setups("```\n<!-- setup: example -->\n```\n") == []


@pytest.mark.parametrize(
    ("shown", "printed", "equal"),
    [
        ("4be1c02  51071 entries  9.1 s", "a0b1c2d  51071 entries  10.3 s", True),
        ("4be1c02  51071 entries  9.1 s", "a0b1c2d  51072 entries  9.1 s", False),
        ("Date:   Wed Mar 12 14:09:00 2025 +0000", "Date:   Thu Nov 21 01:00:59 2026 +0000", True),
        ("desktop  4be1c02  2025-03-12 14:09  x", "desktop  4be1c02  2026-11-21 01:00  x", True),
        ("desktop: 1.2 MiB -> 900.0 KiB", "desktop: 80.0 KiB -> 12 B", True),
        ("etc/fstab time=1747699200.000000000", "etc/fstab time=-1.500000000", True),
        ("mode 0644 -> 0600", "mode 0644 -> 0640", False),
        ("index 0afe9a7..0000000", "index 1111111..2222222", True),
        ("owner 0:0 -> 0:42", "owner 0:0 -> 0:43", False),
        ("line", "line  ", True),
        ("a  b", "a b", False),
    ],
)
def test_masks_hide_what_changes_and_nothing_else(shown: str, printed: str, equal: bool) -> None:
    assert (masked(shown) == masked(printed)) is equal


def test_only_our_own_paths_are_led_elsewhere(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    for text in ("server:/srv/x", "/usr/srv/x", "~/srv", "/srvx", "/mnt-2", "host.example/srv", "--x-/srv"):
        assert scratch.inside(text) == text
    for text in ("/srv/x", "cd /srv", "--to=/mnt/root", '"/srv/x"', "</srv/x", "(cd /srv && ls /mnt)", "file=/srv"):
        inside = scratch.inside(text)
        assert str(tmp_path) in inside
        assert scratch.outside(inside) == text


def test_blocks_links_and_anchors_are_read() -> None:
    text = (
        "# The `first` heading: [it](x.md)!\n\n## Twice\n\n## Twice\n\n[a](b.md#c) `[no](link.md)` ![i](i.png)\n"
        "[long\nlink](d.md)\n\n~~~sh\n[no](e.md)\n~~~\n\n[r]: f.md\n"
    )
    assert anchors(text) == {"the-first-heading-it", "twice", "twice-1"}
    assert [target for _, target in links(text)] == ["x.md", "b.md#c", "i.png", "d.md", "f.md"]
    assert [(fence.line, fence.language) for fence in fences(text)] == [(12, "sh")]
    assert len(prose(text).splitlines()) == len(text.splitlines())


@pytest.mark.parametrize("text", ["```console\noutput\n```\n", "```console\n# x\n"])
def test_broken_blocks_are_found(text: str) -> None:
    with pytest.raises(ValueError, match="line"):
        commands(text)
