"""A layer's tar file is recorded as the upper directory that it was made from; hostile ones change nothing."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Final

import pytest

from tests.support import needs, root_only
from tests.tree.overlay.harness import Below, Overlay, remove
from tests.tree.policy.made_keys import PEM

pytestmark = [needs("git", "mount", "tar"), root_only]


@pytest.fixture(scope="module")
def below(tmp_path_factory: pytest.TempPathFactory) -> Below:
    return Below(tmp_path_factory.mktemp("below"))


def archive(path: Path, *members: tuple[str, bytes | None, dict[str, object]], end: bool = True) -> Path:
    """A tar file: name, content (None for other types) and what else is set."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content, others in members:
            member = tarfile.TarInfo(name)
            for key, value in others.items():
                setattr(member, key, value)
            member.size = len(content or b"")
            tar.addfile(member, io.BytesIO(content or b""))
        used = tar.offset
    path.write_bytes(buffer.getvalue() if end else buffer.getvalue()[:used])
    return path


def recorded(below: Below, tar: Path, branch: str) -> str:
    """Check in a tar file; what git says has changed."""
    below.site.run("checkin", "desktop", "-m", "a layer", "--tar", str(tar), "--branch", branch)
    words = ("diff", "--no-renames", "--name-status", f"main..{branch}", "--", ":!**/.gitstate", ":!.gitstate")
    return below.site.git("desktop", *words)


def test_removals_as_oci_has_them(below: Below, tmp_path: Path) -> None:
    tar = archive(
        tmp_path / "layer.tar",
        ("etc/motd", b"hello\n", {"mode": 0o640, "uid": 3, "gid": 4, "mtime": 12.5}),
        ("etc/.wh.hosts", b"", {}),
        ("a/b/.wh..wh..opq", b"", {}),
        ("a/b/new", b"new\n", {}),
        ("a/.wh.never", b"", {}),
    )
    gone = ["a/b/.gitstate=.gitignore", "a/b/c/one", "a/b/c/three", "a/b/two", "etc/hosts"]
    changed = [*(f"D\t{path}" for path in gone), "A\ta/b/new", "A\tetc/motd", "M\t.gitstate-links"]
    assert sorted(recorded(below, tar, "oci").splitlines()) == sorted(changed)
    shown = below.site.git("desktop", "show", "oci:etc/.gitstate")
    assert "motd mode=0640 uid=3 gid=4 time=12.500000000 oid=" in shown
    assert below.site.git("desktop", "rev-parse", "oci^") == below.site.git("desktop", "rev-parse", "main")


@pytest.mark.parametrize("options", [("metacopy=on", "redirect_dir=on"), ("metacopy=off", "redirect_dir=off")])
def test_an_upper_directory_packed_by_tar(below: Below, tmp_path: Path, options: tuple[str, ...]) -> None:
    overlay = Overlay(below, tmp_path / "overlay", (*options, "index=off"))
    with overlay.mounted() as shown:
        (shown / "a/b/two").chmod(0o4755)
        os.link(shown / "a/d/four", shown / "etc/four")
        subprocess.run(["mv", str(shown / "a/b"), str(shown / "moved")], check=True)
        remove(shown / "etc/ssh")
        (shown / "etc/ssh").mkdir()
        (shown / "etc/ssh/config").write_text("other\n")
        os.setxattr(shown / "etc/hosts", "user.x", b"\0\xff=\n")
        (shown / "etc" / os.fsdecode(b"\xff\xfe name")).write_text("bytes\n")
        with open(shown / "sparse", "wb") as file:
            file.truncate(1 << 24)
            file.seek(1 << 23)
            file.write(b"data")
        subprocess.run(["setfacl", "-m", "u:7:rw", str(shown / "etc/hosts")], check=True)
        wanted = below.merged_tree(shown)
    tar = tmp_path / "upper.tar"
    words = ["--xattrs", "--xattrs-include=*", "--numeric-owner", "--sparse", "--format=pax"]
    subprocess.run(["tar", "-C", str(overlay.upper), *words, "-cf", str(tar), "."], check=True)
    found = below.site.json("checkin", "desktop", "-m", "packed", "--tar", str(tar), "-n")
    assert found["tree"] == wanted.hex()
    subprocess.run(["gzip", str(tar)], check=True)
    assert below.site.json("checkin", "desktop", "-m", "packed", "--tar", f"{tar}.gz", "-n")["tree"] == wanted.hex()


DEVICE: Final = {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}
HOSTILE: Final = {
    "a name that climbs": (("../etc/passwd", b"x", {}), 14, "leads out of it: ../etc/passwd"),
    "a name that climbs later": (("etc/../../passwd", b"x", {}), 14, "leads out"),
    "an absolute name": (("/etc/passwd", b"x", {}), 14, "leads out of it: /etc/passwd"),
    "a path through a symlink of the layer": (("link/x", b"x", {}), 14, "/link leads through"),
    "a path through a file of the layer": (("file/x", b"x", {}), 14, "/file leads through"),
    "a hard link to the outside": (("l", None, {"type": tarfile.LNKTYPE, "linkname": "../../x"}), 14, "leads out"),
    "a hard link through a symlink": (("l", None, {"type": tarfile.LNKTYPE, "linkname": "link/passwd"}), 14, "through"),
    "a hard link to nothing": (("l", None, {"type": tarfile.LNKTYPE, "linkname": "nothing"}), 14, "missing"),
    "an owner that there can't be": (("f", b"", {"uid": 1 << 40}), 14, "f has an owner"),
    "a time that there can't be": (("f", b"", {"pax_headers": {"mtime": "1e999995"}}), 14, "f has a time"),
    "a device": (("dev/mem", None, DEVICE), 4, "/dev/mem is a device"),
    "a whiteout of no name": (("etc/.wh.", b"", {}), 14, "removes nothing"),
    "an unknown mark": (("f", b"", {"pax_headers": {"SCHILY.xattr.trusted.overlay.new": "y"}}), 5, "overlay.new"),
    "a whiteout that is an attribute": (
        ("f", b"", {"pax_headers": {"SCHILY.xattr.trusted.overlay.whiteout": "y"}}),
        5,
        "/f: it is a whiteout",
    ),
    "metadata of nothing": (
        ("f", b"", {"pax_headers": {"SCHILY.xattr.trusted.overlay.metacopy": ""}}),
        5,
        "/f: its content is that of a file",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_may_not_be_brought_is_refused_by_name(below: Below, tmp_path: Path, case: str) -> None:
    member, code, naming = HOSTILE[case]
    symlink = ("link", None, {"type": tarfile.SYMTYPE, "linkname": "/etc"})
    tar = archive(tmp_path / "bad.tar", symlink, ("file", b"x", {}), member)
    before = below.site.git("desktop", "for-each-ref")
    below.site.refuses(code, "checkin", "desktop", "-m", "bad", "--tar", str(tar), "--branch", "bad", naming=naming)
    assert below.site.git("desktop", "for-each-ref") == before
    assert not list((below.repository.path / "gitstate").glob("scratch-*"))


@pytest.mark.parametrize("cut", ["in a file", "between members", "at once"])
def test_a_stream_that_breaks_off_leaves_nothing(below: Below, tmp_path: Path, cut: str) -> None:
    tar = archive(tmp_path / "cut.tar", ("one", b"x" * 2000, {}), ("two", b"y" * 2000, {}), end=False)
    whole = tar.read_bytes()
    tar.write_bytes(whole[: {"in a file": 1500, "between members": len(whole), "at once": 0}[cut]])
    before = below.site.git("desktop", "for-each-ref")
    below.site.refuses(14, "checkin", "desktop", "-m", "cut", "--tar", str(tar), "--branch", "cut")
    assert below.site.git("desktop", "for-each-ref") == before


def test_something_that_is_no_tar_file(below: Below, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no tar file\n" * 1000)
    below.site.refuses(14, "checkin", "desktop", "-m", "text", "--tar", str(tmp_path / "text"), naming="no tar file")
    below.site.refuses(10, "checkin", "desktop", "-m", "none", "--tar", str(tmp_path / "none"), naming="none")


def test_a_secret_in_a_layer_stops_it(below: Below, tmp_path: Path) -> None:
    tar = archive(tmp_path / "secret.tar", ("etc/ssl/private/x.key", PEM, {}))
    below.site.refuses(4, "checkin", "desktop", "-m", "secret", "--tar", str(tar), naming="/etc/ssl/private/x.key")
