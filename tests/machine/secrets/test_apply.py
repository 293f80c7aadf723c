"""Secrets over an image and its layers: they win, symlinks lead them, and nothing is in their way."""

from __future__ import annotations

import pytest

from gitstate.core.entry import Kind, Meta
from gitstate.core.errors import ConfigError
from gitstate.machine.archives import content as archive
from gitstate.machine.render.image import ImageEntry
from gitstate.machine.render.models import Archive, ArchiveEntry, Layout, Variant
from gitstate.machine.secrets import Secrets, apply_secrets

FILE = Meta(Kind.FILE, 0o644, time=0)
SECRET = Meta(Kind.FILE, 0o600, time=0)
FOLDER = Meta(Kind.DIRECTORY, 0o755, time=0)
LINK = Meta(Kind.SYMLINK, 0o777, time=0)

IMAGE = {
    b"etc": ImageEntry(FOLDER),
    b"etc/motd": ImageEntry(FILE),
    b"etc/mtab": ImageEntry(LINK, target=b"../proc/mounts"),
    b"etc/loop": ImageEntry(LINK, target=b"loop"),
    b"etc/ssh": ImageEntry(FOLDER),
    b"lib": ImageEntry(LINK, target=b"usr/lib"),
    b"usr": ImageEntry(FOLDER),
    b"usr/lib": ImageEntry(FOLDER),
    b"var/spool": ImageEntry(LINK, target=b"/etc/../../usr/lib"),
    b"var": ImageEntry(FOLDER),
}


def secret(*paths: bytes, meta: Meta = SECRET) -> Secrets:
    return Secrets(tuple(ArchiveEntry(path, meta, b"secret") for path in paths), "digest")


def laid_over(found: Secrets, layout: Layout | None = None, *variants: Variant) -> Archive:
    return apply_secrets(Archive({}, layout or Layout(), variants), found, IMAGE.get, "h")


def paths(layout: Layout) -> dict[bytes, bytes]:
    return {one.path: one.content for one in layout.entries}


def test_nothing_changes_nothing() -> None:
    whole = Archive({}, Layout((ArchiveEntry(b"etc/motd", FILE, b"x"),)))
    assert apply_secrets(whole, Secrets(), IMAGE.get, "h") is whole


def test_the_secret_wins() -> None:
    found = laid_over(
        secret(b"etc/motd"), Layout((ArchiveEntry(b"etc/motd", FILE, b"layer"), ArchiveEntry(b"etc/x", FILE, b"x")))
    )
    assert paths(found.layout) == {b"etc/motd": b"secret", b"etc/x": b"x"}
    assert b"".join(archive.write(found))


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (b"lib/x", b"usr/lib/x"),
        (b"var/spool/x", b"usr/lib/x"),
        (b"etc/mtab", b"etc/mtab"),
        (b"new/deep/x", b"new/deep/x"),
    ],
)
def test_where_symlinks_lead(path: bytes, place: bytes) -> None:
    assert paths(laid_over(secret(path)).layout) == {place: b"secret"}


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (b"etc/motd/x", "secrets/h/etc/motd/x: /etc/motd of this machine is no directory"),
        (b"etc/loop/x", "/etc/loop of this machine is no directory"),
        (b"usr/lib", "/usr/lib of this machine is a directory"),
        (b"run/x", "nobody would see /run/x"),
        (b"proc/x", "nobody would see /proc/x"),
    ],
)
def test_what_is_in_the_way(path: bytes, said: str) -> None:
    with pytest.raises(ConfigError) as fault:
        laid_over(secret(path))
    assert said in fault.value.message


def test_two_secrets_of_one_place() -> None:
    with pytest.raises(ConfigError, match="lib/x and usr/lib/x are both /usr/lib/x"):
        laid_over(secret(b"lib/x", b"usr/lib/x"))


@pytest.mark.parametrize(
    "layout",
    [
        Layout(removed=(b"etc/motd",)),
        Layout(removed=(b"etc",)),
        Layout(opaque=(b"etc",)),
        Layout((ArchiveEntry(b"etc/motd", FOLDER),)),
        Layout((ArchiveEntry(b"etc/motd/y", FILE),)),
    ],
)
def test_what_layers_have_taken_away_is_no_obstacle(layout: Layout) -> None:
    assert b"etc/motd/x" in paths(laid_over(secret(b"etc/motd/x"), layout).layout)


def test_what_layers_have_put_there_is_one() -> None:
    with pytest.raises(ConfigError, match="/etc/ssh of this machine is no directory"):
        laid_over(secret(b"etc/ssh/x"), Layout((ArchiveEntry(b"etc/ssh", FILE),)))
    found = laid_over(secret(b"etc/here/x"), Layout((ArchiveEntry(b"etc/here", LINK, b"ssh"),)))
    assert b"etc/ssh/x" in paths(found.layout)


def test_private_directories_are_made_so_where_there_are_none() -> None:
    found = Secrets((ArchiveEntry(b"etc/credstore/x", SECRET, b"x"),), "digest", (b"etc", b"etc/credstore"))
    laid = {one.path: one.meta for one in laid_over(found).layout.entries}
    assert b"etc" not in laid
    assert laid[b"etc/credstore"].mode == 0o700


@pytest.mark.parametrize(
    ("layout", "again"),
    [
        (Layout((ArchiveEntry(b"etc/motd", FILE, b"class"),)), True),
        (Layout(removed=(b"etc/motd",)), True),
        (Layout(removed=(b"etc",)), True),
        (Layout(opaque=(b"etc",)), True),
        (Layout((ArchiveEntry(b"etc/x", FILE, b"class"),)), False),
    ],
)
def test_no_class_takes_a_secret_away(layout: Layout, again: bool) -> None:
    found = laid_over(secret(b"etc/motd"), None, Variant("gpu", ("pci:*",), layout))
    assert (paths(found.variants[0].layout).get(b"etc/motd") == b"secret") == again


@pytest.mark.parametrize(
    "layout", [Layout((ArchiveEntry(b"etc", LINK, b"x"),)), Layout((ArchiveEntry(b"etc/ssh", FILE),))]
)
def test_a_class_in_the_way(layout: Layout) -> None:
    with pytest.raises(ConfigError, match="is no directory"):
        laid_over(secret(b"etc/ssh/x"), None, Variant("gpu", ("pci:*",), layout))
