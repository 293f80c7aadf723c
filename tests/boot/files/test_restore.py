"""The list of what NFS loses, judged by the programs that read and write attributes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from gitstate.boot.files.restore import archive, attributes, restore_list
from gitstate.core import cpio
from gitstate.core.entry import Kind
from tests.boot.files.harness import Harness
from tests.support import needs, root_only
from tests.testing import judges
from tests.testing.oddities import CHAPTERS, ODD_NAMES
from tests.testing.tree import Look, Tree

pytestmark = [root_only, needs("git", "setfattr", "getfattr", "getcap", "getfacl")]

_LOST = r"^(security\.capability|system\.posix_acl_(access|default))$"


def listed(harness: Harness, commit: str) -> bytes:
    return restore_list(harness.repository, harness.repository.snapshot(bytes.fromhex(commit)).tree)


def dumped(root: Path) -> list[str]:
    """What getfattr says of everything below ``root`` that has any of it: a paragraph for each path."""
    argv = ["getfattr", "--recursive", "--physical", "--no-dereference", "--dump", "--encoding=base64"]
    argv += [f"--match={_LOST}", "--", "."]
    done = subprocess.run(argv, cwd=root, capture_output=True, check=True)
    return sorted(filter(None, done.stdout.decode("utf-8", "surrogateescape").split("\n\n")))


def stripped(root: Path) -> None:
    """Take all that is lost over NFS from a tree."""
    for directory, names, files in os.walk(os.fsencode(root)):
        for path in [directory, *(os.path.join(directory, name) for name in names + files)]:
            for name in os.listxattr(path, follow_symlinks=False):
                if name == "security.capability" or name.startswith("system.posix_acl_"):
                    os.removexattr(path, name, follow_symlinks=False)


def test_what_is_lost_is_restored(harness: Harness, tmp_path: Path) -> None:
    """A copy without capabilities and ACLs becomes the export again."""
    export = harness.command.out("export", "desktop", "one")
    bare = tmp_path / "bare"
    subprocess.run(["cp", "-a", export, str(bare)], check=True)
    stripped(bare)
    assert dumped(bare) == []
    assert judges.getcap(Path(export), bare)
    assert judges.getfacl(Path(export), bare)
    subprocess.run(["setfattr", "--restore=-"], input=listed(harness, harness.commit("one")), cwd=bare, check=True)
    assert judges.getcap(Path(export), bare) == []
    assert judges.getfacl(Path(export), bare) == []
    assert dumped(Path(export)) == dumped(bare)
    assert len(dumped(bare)) == 4


def test_it_is_what_getfattr_prints(harness: Harness) -> None:
    """Names aside, in which we escape more: attributes and values are the same text."""
    export = Path(harness.command.out("export", "desktop", "one"))
    ours = listed(harness, harness.commit("one")).decode().split("\n\n")
    values = sorted(sorted(one.splitlines()[1:]) for one in ours if one)
    assert values == sorted(sorted(one.splitlines()[1:]) for one in dumped(export))
    assert ours[-1] == ""


def test_a_root_of_oddities(harness: Harness, tmp_path: Path) -> None:
    """Every kind of entry and of name, an ACL on the root itself."""
    (harness.live / "odd").mkdir()
    tree = Tree(os.fsencode(harness.live / "odd"))
    for chapter in CHAPTERS:
        if chapter.__name__ in ("_acls", "_capabilities", "_symlinks"):
            chapter(tree)
    for name in ODD_NAMES:
        tree.file(b"names/" + name, b"x", Look(mode=0o755, capability=("cap_net_raw+ep",)))
    tree.settle()
    subprocess.run(["setfacl", "-m", "u:7:rx", "-d", "-m", "g:8:r", str(harness.live)], check=True)
    commit = harness.check_in()
    export = Path(harness.command.out("export", "desktop", commit))
    bare = tmp_path / "bare"
    subprocess.run(["cp", "-a", str(export), str(bare)], check=True)
    stripped(bare)
    subprocess.run(["setfattr", "--restore=-"], input=listed(harness, commit), cwd=bare, check=True)
    assert dumped(bare) == dumped(export)
    assert any(one.startswith("# file: .\n") for one in dumped(bare))
    assert len(dumped(bare)) > len(ODD_NAMES) + 20


def test_no_record_is_parsed_in_vain(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    from gitstate.boot.files import restore

    join_tree, seen = restore.join_tree, []
    monkeypatch.setattr(restore, "join_tree", lambda *words: (seen.append(words[2]), join_tree(*words))[1])
    tree = harness.repository.snapshot(bytes.fromhex(harness.commit("one"))).tree
    found = [(path, name) for path, name, _ in attributes(harness.repository, tree)]
    assert seen == [b"srv", b"srv/drop", b"usr/bin"]
    assert found == [
        (b"srv/shared", b"system.posix_acl_access"),
        (b"srv/drop", b"system.posix_acl_default"),
        (b"usr/bin/a b\n\\c\xff", b"security.capability"),
        (b"usr/bin/ping", b"security.capability"),
    ]


def test_nothing_to_restore(harness: Harness) -> None:
    stripped(harness.live)
    harness.write()
    harness.add("bare", 9, f"desktop@{harness.check_in()}")
    harness.write()
    commit = harness.directory.all["bare"].pin
    assert commit is not None
    assert sorted(path.name for path in (harness.tftp / "desktop" / commit.revision).iterdir()) == [
        *("boot.ipxe", "initrd.img", "vmlinuz"),
    ]
    assert "caps.cpio" not in (harness.tftp / "desktop" / commit.revision / "boot.ipxe").read_text()


def test_the_archive(harness: Harness) -> None:
    harness.write()
    data = (harness.image("one") / "caps.cpio").read_bytes()
    commit = harness.commit("one")
    (image,) = (image for image in harness.plan().images.images if image.commit == commit)
    assert data == archive(listed(harness, commit), image.epoch)
    folder, file = cpio.members([data], lambda path: True)
    assert (folder.path, folder.meta.kind, file.path, file.meta.mode) == (
        *(b"gitstate", Kind.DIRECTORY),
        *(b"gitstate/xattrs", 0o600),
    )
    assert file.content == listed(harness, harness.commit("one"))
    assert file.meta.time == folder.meta.time


def test_a_capability_that_an_edit_in_a_clone_took_away(harness: Harness) -> None:
    """Git's entry wins: what somebody edited elsewhere doesn't keep its capability."""
    harness.command.git("desktop", "config", "core.hooksPath", "/dev/null")
    clone = harness.path / "clone"
    harness.command.run("clone", "desktop", str(clone))
    (clone / "usr" / "bin" / "ping").write_text("evil\n")
    for words in (["-c", "user.name=A", "-c", "user.email=a@b", "commit", "-qam", "x"], ["push", "-q"]):
        subprocess.run(["git", "-C", str(clone), *words], check=True)
    commit = harness.repository.resolve("main").hex()
    assert b"usr/bin/ping" not in listed(harness, commit)
    assert b"usr/bin/a" in listed(harness, commit)
