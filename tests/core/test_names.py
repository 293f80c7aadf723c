"""Names against real git: what is stored under a name must mean nothing to fsck and checkout, and come back."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gitstate.core.errors import DamagedError, UsageError
from gitstate.core.names import (
    ESCAPED,
    LINKS,
    RECORDS,
    columns,
    display,
    from_octal,
    octal,
    padded,
    real_name,
    repo_name,
    stored_name,
    tree_path,
    visible,
)
from gitstate.store.objects import FILE, SYMLINK, TREE, TreeItem, format_tree
from tests.support import needs
from tests.testing.git import EMPTY_TREE, Git

PROTECTED: Final = ("core.protectHFS=true", "core.protectNTFS=true")
LONGEST: Final = 255

# A content that git refuses in .gitmodules and in .gitattributes, so that a name taken for either shows.
POISON: Final = b'[submodule "../x"]\n\tpath = x\n#' + b"a" * 3000 + b"\n"


def case(*words: str) -> list[bytes]:
    return [word.encode() for word in words]


# Names that git 2.39 reports as they are, as a symlink: from its own t1450-fsck.sh and t0060-path-utils.sh, with
# the same for the other files it watches, and what follows from utf8.c: its HFS+ check takes the first byte that
# is not UTF-8 for the end of the name.
REPORTED: Final = [
    *case(".git", ".GIT", ".Git", "git~1", "GIT~1", ".git.", ".git ", ".git . .", ".git...", ".GIT::$INDEX_ALLOCATION"),
    *case(".g\u200cit", ".gI\u200cT", "\u200e.git", ".git\ufeff", ".\u202eg\u206ai\u206ft\u200d", ".g\u202ait"),
    *case(".\\.GIT\\foobar", ".git\\foobar", "a\\.git", "a\\git~1 .\\b", "\\.git", "a\\.git:b", "a\\b\\.gitmodules"),
    *case(
        ".gitmodules",
        ".Gitmodules",
        ".gitmoduleS",
        ".git\u200cmodules",
        ".gitmodules ",
        ".gitmodules.",
        ".gitmodules . ",
    ),
    *case(
        ".gitmodules:$DATA", ".gitmodules : $DATA", ".GITMODULES.", ".gitmodules ::x", "gitmod~1:x", "GI7EBA~1::$DATA"
    ),
    *case("gitmod~1", "GITMOD~2", "gitmod~3", "GITMOD~4", "GITMOD~1 ", "gitmod~2.", "gitmod~4 . ", "GITMOD~3.  "),
    *case("GI7EBA~1", "gi7eba~9", "GI7EB~10", "GI7EB~99", "GI7E~100", "gi7~1234", "gi~12345", "g~123456", "GI7E~999"),
    *case("~1000000", "~9999999", "~1234567 .", "a\\~1234567", "~1000000:x"),
    *case(".gitattributes", ".GitAttributes .", ".gitattributes:x", "gitatt~1", "gi7d29~1", "GI7D2~42", "gi7d~123"),
    *case(".gitignore", ".GITIGNORE..", ".gitignore:x", "gitign~4", "gi250a~3", "GI25~999", ".git\u200dignore"),
    *case(
        ".mailmap",
        ".MailMap ",
        ".mailmap:x",
        "mailma~2",
        "maba30~1",
        "MABA~100",
        "ma~12345",
        "m~123456",
        ".mail\ufeffmap",
    ),
    *(
        b".git\xff",
        b".GIT\x80 and more",
        b".git\xe2\x80",
        b".g\xe2\x80\x8cit\xc3",
        b".git\xc0\xae",
        b".git\xed\xa0\x80x",
    ),
    *(
        b".git\xef\xbf\xbe",
        b".git\xef\xbf\xbfmodules",
        b".git\xf4\x90\x80\x80",
        b".git\xfe\\x",
        b".git\xe2\x80\x8c\xff",
    ),
    *(
        b".gitmodules\xff",
        b".gitattributes\x80",
        b".gitignore\xe2\x80",
        b".mailmap\xffx",
        b".GitModules\xef\xbb\xbf\xbf",
    ),
]

# Names that mean nothing to git, some of them only just.
ORDINARY: Final = [
    *case("README", ".github", ".gitlab-ci.yml", ".gitkeep", ".config", "git", "gitmodules", "mailmap", ".gi", ".gitx"),
    *case("..git", " .git", "x.git", ".git-credentials", ".mail", "café", "\ufefftext", "a\\b", "back\\", "~", "~root"),
    *case("file~", "git~", "GI7EBA~", "gi7eba~x", "README.md~1~", "#x#", "a b", "%41", "x" * 255, "-rf", "con", "a:b"),
    *(b"\xff\xfe", b"\n", b"\x01", b"x\xc3", b"\xe2\x80", b"\x7f"),
]

WORDS: Final = sorted({word.partition(b":")[0] for word in REPORTED} | {RECORDS, LINKS, ESCAPED, b".gitstate=.git"})
BITS: Final = [
    *(b" ", b".", b":", b":$DATA", b"\\", b"~", b"1", b"9", b"%", b"%41", b"=", b"x", b"\n", b"\x01", b"\x7f"),
    *(b"\xff", b"\x80", b"\xc3", b"\xe2\x80", b"\xe2\x80\x8c", b"\xe2\x80\xae", b"\xe2\x81\xaf", b"\xef\xbb\xbf"),
    *(
        b"\xef\xbf\xbe",
        b"\xef\xbf\xbf",
        b"\xef\xb7\x90",
        b"\xed\xa0\x80",
        b"\xc0\xae",
        b"\xf4\x90\x80\x80",
        b"\xf0\x9f\x98\x80",
    ),
]


@st.composite
def dangerous(draw: st.DrawFn) -> bytes:
    """A name that git watches, or nearly: cases swapped, pieces added, a byte lost, put behind a backslash."""
    name = draw(st.sampled_from(WORDS))
    if draw(st.booleans()):
        swaps = draw(st.integers(0, 2 ** len(name) - 1))
        name = b"".join(bytes([c]).swapcase() if swaps >> i & 1 else bytes([c]) for i, c in enumerate(name))
    for bit in draw(st.lists(st.sampled_from(BITS), max_size=3)):
        place = draw(st.sampled_from([0, len(name), len(name), draw(st.integers(0, len(name)))]))
        name = name[:place] + bit + name[place:]
    if draw(st.integers(0, 3)) == 0:
        place = draw(st.integers(0, len(name) - 1))
        name = name[:place] + name[place + 1 :]
    if draw(st.integers(0, 3)) == 0:
        name = draw(st.sampled_from([*WORDS, b"a", b""])) + b"\\" + name
    return name


def is_name(name: bytes) -> bool:
    return name not in (b"", b".", b"..") and b"/" not in name and b"\0" not in name


NAMES: Final = st.one_of(dangerous(), dangerous(), st.binary(min_size=1, max_size=40)).filter(is_name)


# --- octal ----------------------------------------------------------------------------------------------------------


@given(st.one_of(st.binary(max_size=300), NAMES))
def test_octal_comes_back(name: bytes) -> None:
    text = octal(name)
    assert from_octal(text.encode("ascii")) == name
    assert not set(text) & set(" \t\n\r\f\v#=*?[]'\"$`!%")
    assert octal(from_octal(text.encode("ascii"))) == text


def test_octal_is_three_digits_for_everything_unusual() -> None:
    assert octal(b"/etc/x11@2_a+b,c:d~e-f.0") == "/etc/x11@2_a+b,c:d~e-f.0"
    assert octal(b" \0\xff\n#\\=") == r"\040\000\377\012\043\134\075"


@pytest.mark.parametrize(
    "text", [b"a b", b"\\", b"\\1", b"\\12", b"\\400", b"\\08", b"\\x41", b"a\n", b"\n", b"\xff", b"#", b"a=", b"\0"]
)
def test_octal_reads_nothing_else(text: bytes) -> None:
    with pytest.raises(ValueError, match="bad octal name"):
        from_octal(text)


# --- for people -----------------------------------------------------------------------------------------------------

SHOWN: Final = [
    ("etc/fstab", "etc/fstab"),
    ("srv/Grüße an Zoë", "srv/Grüße an Zoë"),
    ("日本語/файл", "日本語/файл"),
    ("a*b?c[d]'$(e)", "a*b?c[d]'$(e)"),
    ("a\\b", r"a\134b"),
    (r"\101", r"\134101"),
    ("a\tb\n\x1b[31m\x7f", r"a\011b\012\033[31m\177"),
    ("\x85\u2028\u00a0", r"\302\205\342\200\250\302\240"),
    ("left\u202eright\u2066\u200b", r"left\342\200\256right\342\201\246\342\200\213"),
    ("\u3164\u2800\ufe0f\u034f", r"\343\205\244\342\240\200\357\270\217\315\217"),
    (" a  b c ", r"\040a\040\040b c\040"),
    ("a /b", "a /b"),
    ("", ""),
]


@pytest.mark.parametrize(("name", "text"), SHOWN)
def test_names_for_people(name: str, text: str) -> None:
    assert display(name.encode()) == text
    assert display(name.encode(), word=True) == text.replace(" ", r"\040")


def test_bytes_that_are_no_text_are_octal_for_people() -> None:
    assert display("ü".encode() + b"\xff\xc3") == r"ü\377\303"
    assert visible("ü\udcff\\ \n") == "ü\\377\\ \\012"


@given(st.one_of(st.binary(max_size=60), st.text(max_size=30).map(str.encode), NAMES), st.booleans())
@example("a\u0301\u202e b".encode(), False)
def test_names_for_people_are_visible_and_tell_names_apart(name: bytes, word: bool) -> None:
    text = display(name, word=word)
    for one in text:
        assert one == " " or unicodedata.category(one)[0] not in "CZ", ascii(one)
    assert not re.search("^ |  | $", text)
    assert " " not in text or not word
    escapes = re.compile(rb"\\([0-3][0-7]{2})")
    assert escapes.sub(lambda found: bytes([int(found[1], 8)]), text.encode()) == name


@needs("perl")
def test_no_character_without_a_look_is_shown() -> None:
    """The list of those is Unicode's, as perl has it."""
    code = r"for (0..0x10ffff) { print qq($_\n) if ($_ >> 11) != 27 && chr =~ /\p{Default_Ignorable_Code_Point}/ }"
    done = subprocess.run(["perl", "-e", code], capture_output=True, text=True, check=True)
    invisible = [chr(int(number)) for number in done.stdout.split()]
    assert len(invisible) > 4000
    assert not [ascii(one) for one in invisible if one in display(one.encode())]


def test_columns_are_those_of_a_terminal() -> None:
    assert [columns(text) for text in ("abc", "Grüße", "日本", "e\u0301")] == [3, 5, 4, 1]
    assert padded("日本", 6) == "日本  "


# --- stored names ---------------------------------------------------------------------------------------------------


@given(st.one_of(NAMES, st.binary(min_size=1, max_size=LONGEST).filter(is_name)))
@example(b".git")
@example(RECORDS)
@example(LINKS)
@example(ESCAPED)
@example(b".gitstate=%2E")
@example(b".gitstate=.git")
@example(b"%2Fetc")
@example(b"~1000000")
@example(b".git\xff")
def test_stored_names_come_back(name: bytes) -> None:
    stored = stored_name(name)
    assert real_name(stored) == name
    assert is_name(stored)
    assert stored not in (RECORDS, LINKS)
    assert stored == name or (stored.startswith(ESCAPED) and stored.isascii() and b"\\" not in stored)


@given(st.lists(NAMES, min_size=2, max_size=30, unique=True))
def test_two_names_are_never_stored_as_one(names: list[bytes]) -> None:
    assert len({stored_name(name) for name in names}) == len(names)


@given(NAMES)
def test_what_a_clone_adds_is_stored_the_same_way_again(stored: bytes) -> None:
    """Whatever stands in a tree is damaged, or reads as a name whose own stored form reads as that name."""
    try:
        name = real_name(stored)
    except DamagedError:
        assert stored.startswith(ESCAPED)
    else:
        assert real_name(stored_name(name)) == name


@pytest.mark.parametrize("name", ORDINARY, ids=octal)
def test_ordinary_names_stand_as_they_are(name: bytes) -> None:
    assert stored_name(name) == name


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        (b".git", b".gitstate=.git"),
        (b"GIT~1", b".gitstate=GIT%7E1"),
        (b".gitstate", b".gitstate=.gitstate"),
        (b".gitstate-links", b".gitstate=.gitstate-links"),
        (b".gitstate=x", b".gitstate=.gitstate=x"),
        (b".gitstate%", b".gitstate=.gitstate%25"),
        (b"a\\.git", b".gitstate=a%5C.git"),
        (b".git\xff\n\x7f", b".gitstate=.git%FF%0A%7F"),
    ],
)
def test_escapes_are_those_of_the_format(name: bytes, stored: bytes) -> None:
    assert stored_name(name) == stored


@pytest.mark.parametrize(
    "stored",
    [
        *(b"", b".", b"..", b"a/b", b"a\0b", b".gitstate=", b".gitstate=.", b".gitstate=..", b".gitstate=%2F"),
        *(
            b".gitstate=a%00",
            b".gitstate=%2E%2E",
            b".gitstate=a%2Fb",
            b".gitstate=%",
            b".gitstate=%4",
            b".gitstate=%4g",
        ),
        *(b".gitstate=%ff", b".gitstate=%-1", b".gitstate=%+1", b".gitstate=..%2F..%2Fetc", b".gitstate=%\n\n"),
    ],
    ids=octal,
)
def test_what_no_file_can_be_named_is_damage(stored: bytes) -> None:
    with pytest.raises(DamagedError) as caught:
        real_name(stored)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


# --- real git as the judge ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("names")


def fresh(workshop: Path) -> Git:
    shutil.rmtree(workshop, ignore_errors=True)
    workshop.mkdir()
    git = Git.create(workshop / "judge.git", PROTECTED)
    git.put(2, b"")
    return git


def tree_of(git: Git, names: Iterable[bytes]) -> bytes:
    """A tree with the names thrice: as files and links of poisonous content, and as directories."""
    poison = git.put(3, POISON)
    kinds = [(b"directories", TREE, EMPTY_TREE), (b"files", FILE, poison), (b"links", SYMLINK, poison)]
    subtrees = [
        TreeItem(TREE, kind, git.put(2, format_tree(TreeItem(mode, name, oid) for name in names)))
        for kind, mode, oid in kinds
    ]
    return git.put(2, format_tree(subtrees))


@needs("git")
def test_the_judge_sees_every_dangerous_name(workshop: Path) -> None:
    git = fresh(workshop)
    poison = git.put(3, POISON)
    tree = {name: git.put(2, format_tree([TreeItem(SYMLINK, name, poison)])).hex() for name in REPORTED}
    said = git.fsck()
    assert [name for name in REPORTED if tree[name] not in said] == []
    assert [name for name in REPORTED if not stored_name(name).startswith(ESCAPED)] == []


@needs("git")
def test_the_judge_sees_the_poison(workshop: Path) -> None:
    for name, complaint in ((b".gitmodules", "gitmodulesName"), (b".gitattributes", "gitattributesLineLength")):
        git = fresh(workshop)
        git.put(2, format_tree([TreeItem(FILE, name, git.put(3, POISON))]))
        assert complaint in git.fsck()


def judge(workshop: Path, names: Sequence[bytes]) -> None:
    """fsck is silent on the stored names; read-tree and checkout take them, and what stands there reads back."""
    git = fresh(workshop)
    stored = {stored_name(name): name for name in names}
    git("update-ref", "refs/heads/main", git.commit(tree_of(git, stored)).hex())
    assert git.fsck() == ""

    short = [name for name in stored if len(name) <= LONGEST]
    tree = tree_of(git, short).hex()
    out = workshop / "out"
    out.mkdir()
    assert git.complaints("--work-tree", str(out), "read-tree", "-u", "--reset", tree) == ""
    assert git.complaints("--work-tree", str(out), "diff-files", "--name-only") == ""
    for kind in (b"files", b"links"):
        found = os.listdir(os.fsencode(out / kind.decode())) if short else []
        assert sorted(map(real_name, found)) == sorted(stored[name] for name in short)


@needs("git")
def test_git_finds_nothing_in_the_stored_names_of_the_tables(workshop: Path) -> None:
    judge(workshop, list(dict.fromkeys([*REPORTED, *ORDINARY, *WORDS, b"\xff" * 255, b".git" + b"\xff" * 251])))


@needs("git")
@settings(max_examples=40)
@given(names=st.lists(NAMES, max_size=60, unique=True))
def test_git_finds_nothing_in_stored_names(workshop: Path, names: list[bytes]) -> None:
    judge(workshop, names)


@needs("git")
@pytest.mark.slow
@settings(max_examples=100)
@given(names=st.lists(NAMES, min_size=20, max_size=80, unique=True))
def test_git_finds_nothing_in_many_stored_names(workshop: Path, names: list[bytes]) -> None:
    judge(workshop, names)


# --- names parsed at the door ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["desktop", "a", "debian-12.5", "x_y+z", "9", "A" * 100])
def test_prototypes_names(text: str) -> None:
    assert repo_name(text) == text


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            ".",
            "..",
            "-x",
            ".x",
            "_x",
            "+x",
            "a/b",
            "a b",
            "a\n",
            "\n",
            "a\0",
            "a..b",
            "x.git",
            "x.lock",
            "x.",
            "A" * 101,
        ),
        *("desktöp", "a~1", "a@{0}", "a:b", "base", "network", "class", "workload", "lab", "host", "ip", "a\\b", "*"),
    ],
)
def test_what_is_no_prototypes_name(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        repo_name(text)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (b"etc/fstab", b"etc/fstab"),
        (b"/etc//fstab/", b"etc/fstab"),
        (b"./a/./b", b"a/b"),
        (b"/", b""),
        (b"", b""),
        (b"..x", b"..x"),
    ],
)
def test_tree_paths(text: bytes, path: bytes) -> None:
    assert tree_path(text) == path


@pytest.mark.parametrize("text", [b"..", b"../etc", b"/etc/../x", b"a/..", b"a\0b"])
def test_what_is_no_tree_path(text: bytes) -> None:
    with pytest.raises(UsageError):
        tree_path(text)
