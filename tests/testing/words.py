"""The chapters of a hostile tree about names with a meaning: to git, file systems and gitstate's format."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

from tests.testing.tree import Look, Tree, run

CANARY = Path("/tmp/gitstate-hostile-was-run")
"""Made by the hooks, filters and monitors that nested repositories ask for, if anything obeys them."""

_TOUCH = b"touch " + os.fsencode(CANARY)

GIT_WORDS = {
    b".gitignore": b"*\n!nothing\n",
    b".gitattributes": b"* text eol=crlf ident filter=evil working-tree-encoding=UTF-16 -diff export-subst\n"
    b"* export-ignore merge=evil diff=evil whitespace=fix\n[attr]evil text\n.gitstate diff=evil merge=ours\n",
    b".gitmodules": b'[submodule "../../x"]\n\tpath = -evil\n\turl = ext::sh -c x\n\tupdate = !%s\n' % _TOUCH,
    b".mailmap": b"Somebody Else <else@example.org> <root@localhost>\nSomebody Else <else@example.org> <>\n",
    b".gitconfig": b"[core]\n\tfsmonitor = %s\n" % _TOUCH,
    b".git-blame-ignore-revs": b"0123456789012345678901234567890123456789\n",
    b".lfsconfig": b"[lfs]\n\turl = https://nonexistent.invalid\n",
}

GIT_ALIASES = (
    *rb"""
    .GIT .Git .gIt .GITMODULES .GitAttributes .GITIGNORE .MailMap .gitx .gi git ..git .git:x .git: .git.
    .git... git~1 GIT~1 Git~1 git~2 git~1. git~1:x GIT~1::$DATA .git::$INDEX_ALLOCATION
    .git::$index_allocation .gitmodules. .gitmodules::$DATA .gitmodules:$DATA .mailmap. gitmod~1 GITMOD~4
    gitmod~5 gi7eba~1 GI7EBA~9 gi7eba~10 gi7d29~1 gitatt~1 gi250a~1 gitign~1 maba30~1 mailma~1 g~000001
    gi7eb~01 a\.git \.git .git\ .git\config a\.git\b a\git~1 a\.gitmodules ..\x ..\ a\..\b C:\x
    """.split(),
    *(
        b".git ",
        b".git . .",
        b"git~1 ",
        b".gitmodules ",
        b".gitignore ",
        b"a\\.GIT ",
        b".git\xff",
        b".git\n",
        b"\n.git",
    ),
    *(name.encode() for name in (".g\u200cit", "\u200d.git", ".git\u200e", ".gi\ufefft", ".\u2060mailmap")),
    *(name.encode() for name in (".g\u200cit\u206fmodules", ".GIT\u202aattributes", ".gitign\u200core")),
)
"""What HFS+ and NTFS take for git's names, and names that only look it."""

OWN_WORDS = (
    *rb"""
    .gitstate .gitstate-links .gitstate= .gitstate=x .gitstate=%2e .gitstate=% .gitstate=%zz .gitstate=.git
    .gitstated .gitstate=.gitstate .gitstate=.gitstate=.gitstate .gitstate=.gitignore .gitstate\ .gitstate~
    .GITSTATE
    """.split(),
    *(b".gitstate ", b".gitstate\n", b".gitstate=\xff", ".gitst\u200cate".encode()),
    *(b".gitstate" + b"x" * 246, b".gitstate" + b"\xff" * 246),
)
_FALSE_RECORDS = b"#mtree\n#gitstate 1\n/set type=file mode=06777\n.\n../../etc/passwd mode=0666\n.. type=dir\n"

_GIT_ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_DEFAULT_HASH": "sha1",
    "GIT_AUTHOR_NAME": "Nested",
    "GIT_AUTHOR_EMAIL": "nested@example.org",
    "GIT_AUTHOR_DATE": "1234567890 +0000",
    "GIT_COMMITTER_NAME": "Nested",
    "GIT_COMMITTER_EMAIL": "nested@example.org",
    "GIT_COMMITTER_DATE": "1234567890 +0000",
}
_EVIL_CONFIG = b"".join(
    b"%s\n\t%s = %s\n" % (section, key, _TOUCH)
    for section, key in (
        (b"[core]", b"fsmonitor"),
        (b'[filter "evil"]', b"clean"),
        (b'[diff "evil"]', b"textconv"),
        (b'[merge "evil"]', b"driver"),
    )
)


def _git_words(tree: Tree) -> None:
    """The names git listens to, as files, directories and links, in the top directory and below."""
    for directory in (b"", b"words/", b"words/below\nnewline/", b"etc/"):
        for name, data in GIT_WORDS.items():
            tree.file(directory + name, data)
    for name in (*GIT_WORDS, b".git"):
        tree.file(b"words/directories/" + name + b"/inside", b"x\n")
        tree.directory(b"words/empty/" + name, Look(mode=0o700))
        tree.symlink(b"words/links/" + name, b"../" + name)
        tree.symlink(b"words/links out/" + name, b"/etc/passwd")
    tree.file(b".git", b"gitdir: /nonexistent\n")
    tree.file(b"words/.git", b"gitdir: ../etc/.git\n")
    tree.file(b"words/garbage/.git", b"\0\xff")
    tree.file(b"words/ignored", b"named by every .gitignore\n")


def _repositories(tree: Tree) -> None:
    """Whole repositories, as etckeeper and checkouts in /opt leave them, and one with a hook."""
    for place in (b"etc", b"opt/source", b"opt/source/nested"):
        tree.file(place + b"/tracked", b"tracked in " + place + b"\n")
        _repository(tree, place + b"/.git", place + b"/tracked")
    _repository(tree, b"srv/bare.git", b"etc/tracked")
    tree.file(b"opt/source/.git/hooks/post-commit", b"#!/bin/sh\n%s\n" % _TOUCH, Look(mode=0o755))


def _repository(tree: Tree, path: bytes, tracked: bytes) -> None:
    """One repository with one commit of one file.

    By git's plumbing, because `git add` writes inode numbers into the index and no two builds would be equal.
    """
    place = os.path.join(tree.root, path)
    tree.directory(path, Look(mode=0o700))

    def git(*words: str | bytes) -> str:
        return run("git", b"--git-dir=" + place, *words, **_GIT_ENVIRONMENT)

    git("init", "--quiet", "--template=", "--initial-branch=main")
    blob = git("hash-object", "-w", "--no-filters", "--", os.path.join(tree.root, tracked))
    git("update-index", "--add", "--cacheinfo", f"100644,{blob},tracked")
    commit = git("commit-tree", "-m", "a nested history", git("write-tree"))
    git("update-ref", "-m", "commit (initial)", "refs/heads/main", commit)
    with open(os.path.join(place, b"config"), "ab") as config:
        config.write(_EVIL_CONFIG)
    tree.adopt(path)


def _aliases(tree: Tree) -> None:
    """The names that HFS+ and NTFS take for git's, which `git fsck` and checkout refuse."""
    for number, name in enumerate(GIT_ALIASES):
        tree.file(b"aliases/files/" + name, b"%d\n" % number)
        tree.file(b"aliases/directories/" + name + b"/config", b"%d\n" % number)
        tree.directory(b"aliases/empty/" + name)
        tree.symlink(b"aliases/links/" + name, b"/etc/passwd")


def _own_words(tree: Tree) -> None:
    """Real entries with the names the format keeps for itself, and records inside that nobody may believe."""
    for directory in (b"", b"own/"):
        for name in OWN_WORDS:
            tree.file(directory + name, _FALSE_RECORDS, Look(mode=0o604, owner=(1, 2)))
    for name in OWN_WORDS:
        tree.file(b"own/directories/" + name + b"/.gitstate", _FALSE_RECORDS)
        tree.directory(b"own/empty/" + name, Look(mode=0o711))
        tree.symlink(b"own/links/" + name, b"/etc/passwd")
    tree.node(b"own/fifo/.gitstate", stat.S_IFIFO)
    tree.file(b"own/fifo/.gitstate=", b"x")


CHAPTERS: tuple[Callable[[Tree], None], ...] = (_git_words, _repositories, _aliases, _own_words)
