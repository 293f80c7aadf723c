"""Outside programs that compare two directories. Each returns its differences, one a line; none means equal.

A judge shares no code with gitstate and trusts nothing of it. No judge sees everything, so each says what
it is blind to; `everything` asks them all. What a program complains about counts as a difference: a judge
that could not look has not found two trees equal. All of them need root.

What none of them sees: access, change and birth times, inode numbers, and attributes that root cannot list.
"""

import hashlib
import os
import re
import subprocess
import tarfile
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

LONGEST_PATH = 4000
DEEPEST_PATH = 900
"""How far rsync, getcap and getfacl reach: PATH_MAX is 4096 with the tree's own path, and rsync 3.5 fails
with ENOMEM near 1,024 levels."""


def everything(a: Path, b: Path) -> list[str]:
    """What any judge finds, each line with the judge's name in front.

    Top directories that lead deeper than some judges reach are left to mtree and tar, which reach any depth.
    """
    without = sorted(too_deep(a) | too_deep(b))
    judges: dict[str, Callable[[], list[str]]] = {
        "mtree": lambda: mtree(a, b),
        "rsync": lambda: rsync(a, b, without=without),
        "getcap": lambda: getcap(a, b, without=without),
        "getfacl": lambda: getfacl(a, b, without=without),
        "tar": lambda: tar(a, b),
        "sparse": lambda: sparse(a, b),
    }
    with ThreadPoolExecutor(max_workers=2) as pool:
        verdicts = pool.map(lambda judge: judge(), judges.values())
    return [f"{name}: {line}" for name, lines in zip(judges, verdicts, strict=True) for line in lines]


# --------------------------------------------------------------------------------------------------- judges


def mtree(a: Path, b: Path) -> list[str]:
    """NetBSD mtree, the specification of each tree held against the other.

    Sees type, mode, owner, size, SHA-256, link targets, device numbers, missing and extra entries, and
    times to the microsecond. Blind to times below that, hard links, ACLs, capabilities, attributes and
    holes, and to targets of more than about 1,000 bytes, which it cuts. Three more faults of its are
    repaired, see `_repaired`.
    """
    return [
        *(f"second against first: {line}" for line in _mtree_one_way(a, b)),
        *(f"first against second: {line}" for line in _mtree_one_way(b, a)),
    ]


def rsync(a: Path, b: Path, *, without: Sequence[str] = ()) -> list[str]:
    """rsync's dry run in both directions, because it never minds a link that only the target has.

    Sees content (by checksum), type, mode, owner, times with nanoseconds (`-@-1`; else only seconds), hard
    links of every type, ACLs, capabilities, attributes of root's and the user's name spaces, device
    numbers, missing, extra. Blind to holes, to a block device in the place of a character device of the
    same numbers, to the metadata of what it reports as missing, and to paths
    beyond `LONGEST_PATH` and `DEEPEST_PATH`. `without` names top entries to leave out.
    """
    options = [
        "-nacHAXi",
        "-@-1",
        "--delete",
        "--numeric-ids",
        *(f"--exclude=/{_literal(name)}" for name in without),
    ]
    return [
        f"{heading}: {line}"
        for heading, source, target in (("first to second", a, b), ("second to first", b, a))
        for line in _run("rsync", *options, "--", f"{source}/", f"{target}/").everything()
    ]


def getcap(a: Path, b: Path, *, without: Sequence[str] = ()) -> list[str]:
    """The file capabilities of both, with their root ids, as getcap prints them.

    Sees nothing else; the two halves of a name with a newline are lines of their own to it.
    """
    first, second = (_listing("getcap", tree, without, "-n", "-r") for tree in (a, b))
    return [*_different(Counter(first.lines), Counter(second.lines)), *first.complaints, *second.complaints]


def getfacl(a: Path, b: Path, *, without: Sequence[str] = ()) -> list[str]:
    """The access and default ACLs of both, which include mode and owner.

    Blind to content, types, times, and symbolic links altogether. A file and a fifo of equal mode are the
    same to it.
    """
    first, second = (_listing("getfacl", tree, without, "-R", "-P", "-n", "-p") for tree in (a, b))
    return [*_different(_acls(first.lines), _acls(second.lines)), *first.complaints, *second.complaints]


def tar(a: Path, b: Path) -> list[str]:
    """GNU tar's archives of both, member by member.

    Sees content, type, mode, owner, times with nanoseconds, link targets, hard-link groups, ACLs,
    capabilities, attributes, device numbers, missing, extra, at any depth. Blind to holes and sockets. The
    archives are not compared byte for byte: two attributes set in another order make another archive.
    """
    first, second = (_members(tree) for tree in (a, b))
    return _different(first, second)


def sparse(a: Path, b: Path) -> list[str]:
    """The files that have holes in the first tree and take more than twice the space in the second, by find.

    Blind to everything else, and to missing files. Spare blocks are allowed because ext4 counts an
    attribute's block.
    """
    spare = 16
    taken = {path: blocks for path, _, blocks in _files(b)}
    return [
        f"{path}: {blocks} blocks of 512 bytes became {taken[path]}"
        for path, size, blocks in _files(a)
        if blocks * 512 < size and taken.get(path, 0) > 2 * blocks + spare
    ]


def too_deep(tree: Path) -> set[str]:
    """The top entries below which lie paths that only mtree, tar and find reach."""
    found = set()
    for entry in _run("find", ".", "-mindepth", "1", "-printf", r"%d %P\0", cwd=tree).checked().split("\0"):
        depth, _, path = entry.partition(" ")
        if len(os.fsencode(path)) > LONGEST_PATH - len(os.fsencode(tree)) or int(depth or 0) > DEEPEST_PATH:
            found.add(path.split("/")[0])
    return found


# ------------------------------------------------------------------------------------------------- programs


@dataclass(frozen=True)
class _Said:
    """What a program said, as text that keeps every byte."""

    program: str
    code: int
    output: str
    errors: str

    def complaints(self) -> list[str]:
        """What it wrote to stderr; a failure is never silent."""
        return _lines(self.errors) or ([f"{self.program} failed with {self.code}"] if self.code else [])

    def everything(self) -> list[str]:
        """For programs whose output is the differences and whose exit code only says that there are some."""
        return _lines(self.output) + _lines(self.errors) or self.complaints()

    def checked(self) -> str:
        """The output of a program that had nothing to complain about."""
        if complaints := self.complaints():
            raise RuntimeError(f"{self.program} failed with {self.code}: {complaints[-20:]}")
        return self.output


_PLAIN = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}
"""In the C locale a byte is a character, and no name is invalid."""


def _run(*command: str, cwd: Path | None = None, given: str = "") -> _Said:
    done = subprocess.run(
        [os.fsencode(word) for word in command],
        cwd=cwd,
        env=_PLAIN,
        input=os.fsencode(given),
        capture_output=True,
        check=False,
    )
    return _Said(command[0], done.returncode, os.fsdecode(done.stdout), os.fsdecode(done.stderr))


@dataclass(frozen=True)
class _Listing:
    lines: list[str]
    complaints: list[str]


def _listing(program: str, tree: Path, without: Sequence[str], *options: str) -> _Listing:
    """What a recursive program prints of a tree, with relative paths.

    What is left out is left out by naming all the rest. Complaints are kept apart: the same one about both
    trees must not pass for agreement.
    """
    tops = [f"./{name}" for name in sorted(os.listdir(tree)) if name not in without] if without else ["."]
    if not tops:
        return _Listing([], [])
    said = _run(program, *options, *tops, cwd=tree)
    return _Listing(_lines(said.output), [f"{tree}: {line}" for line in said.complaints()])


def _lines(text: str) -> list[str]:
    """Lines as a program means them; str.splitlines would cut a name at a form feed."""
    return [line for line in text.split("\n") if line]


def _literal(name: str) -> str:
    """A name in which rsync's patterns find no meaning."""
    return re.sub(r"[][*?\\]", r"\\\g<0>", name)


def _different(first: Mapping[str, object], second: Mapping[str, object]) -> list[str]:
    """The differences of two listings by name."""
    return [
        *(f"missing in the second: {name}" for name in first if name not in second),
        *(f"missing in the first: {name}" for name in second if name not in first),
        *(
            f"{name}: {first[name]} | {second[name]}"
            for name in first
            if name in second and first[name] != second[name]
        ),
    ]


def _acls(lines: Sequence[str]) -> dict[str, list[str]]:
    """getfacl's blocks by file name, in which it writes newlines as \\012."""
    blocks: dict[str, list[str]] = {}
    current: list[str] = []
    for line in lines:
        if line.startswith("# file: "):
            current = blocks.setdefault(line.removeprefix("# file: "), [])
        else:
            current.append(line)
    return blocks


def _files(tree: Path) -> Iterator[tuple[str, int, int]]:
    """Every regular file with its size and its blocks of 512 bytes."""
    listing = _run("find", ".", "-type", "f", "-printf", r"%s %b %P\0", cwd=tree).checked()
    for entry in listing.split("\0")[:-1]:
        size, blocks, path = entry.split(" ", 2)
        yield path, int(size), int(blocks)


# ---------------------------------------------------------------------------------------- mtree's spec


def _mtree_one_way(a: Path, b: Path) -> list[str]:
    newline_directories = _run("find", ".", "-type", "d", "-path", "*\n*", "-print0", cwd=a).checked().split("\0")[:-1]
    made = _run("mtree", "-c", "-K", "sha256,device", "-R", "nlink", "-p", str(a))
    spec = _repaired(made.checked(), newline_directories)
    return _run("mtree", "-p", str(b), given=spec).everything()


def _repaired(spec: str, newline_directories: Iterable[str]) -> str:
    """A specification that mtree itself can read.

    It writes directory names into comments as they are, so that a newline ends the comment; it takes `*?[`
    in the names it wrote for patterns, and a `#` in the name of a byte (`\\M-#`) for a comment; and it cuts
    targets near 1,024 bytes.
    """
    for directory in newline_directories:
        spec = spec.replace(f"\n# {directory}\n", "\n")
    return "\n".join(_readable(line) for line in spec.replace(" \\\n", " ").split("\n"))


_ENTRY = re.compile(r" *(?P<name>[^#/ ][^ ]*)(?P<keys> .*type=.*| .*time=.*)", re.DOTALL)
_CUT_LINK = re.compile(r"[ \t]link=\S{1000,}")
_VIS = re.compile(r"\\(M-.|M\^.|\^.|[0-7]{3}|.)", re.DOTALL)
_C_ESCAPES = {"s": 32, "t": 9, "n": 10, "r": 13, "b": 8, "a": 7, "v": 11, "f": 12, "0": 0}


def _readable(line: str) -> str:
    entry = _ENTRY.fullmatch(line)
    return _readable_name(entry["name"]) + _CUT_LINK.sub("", entry["keys"]) if entry else line


def _readable_name(name: str) -> str:
    """A name in octal, and a name with pattern characters as the pattern that fits it alone."""
    plain = _VIS.sub(lambda escape: chr(_vis_byte(escape[1])), name)
    if re.search(r"[*?[]", plain):
        plain = re.sub(r"[*?[]", r"[\g<0>]", plain.replace("\\", "\\\\"))
    return re.sub(r"[^A-Za-z0-9.*?\[\]]", lambda found: f"\\{ord(found[0]):03o}", plain)


def _vis_byte(escape: str) -> int:
    """The byte that vis(3) wrote as a backslash and this."""
    meta = 0x80 if escape[0] == "M" and len(escape) == 3 else 0
    if escape[-2:-1] == "^":
        return meta | (0x7F if escape[-1] == "?" else ord(escape[-1]) & 0x1F)
    if meta:
        return meta | ord(escape[-1])
    return int(escape, 8) if len(escape) == 3 else _C_ESCAPES.get(escape, ord(escape))


# --------------------------------------------------------------------------------------- tar's members

_TAR = (
    *("tar", "--create", "--format=posix", "--pax-option=delete=atime,delete=ctime", "--sort=name"),
    *("--numeric-owner", "--xattrs", "--xattrs-include=*", "--warning=no-file-ignored", "--file=-", "."),
)


def _members(tree: Path) -> dict[str, str]:
    """A digest for every member's header and content, by name, and tar's complaints under their own text."""
    with (
        tempfile.TemporaryFile() as stderr,
        subprocess.Popen(_TAR, cwd=tree, env=_PLAIN, stdout=subprocess.PIPE, stderr=stderr) as process,
        tarfile.open(fileobj=process.stdout, mode="r|", encoding="utf-8", errors="surrogateescape") as archive,
    ):
        members = {member.name: _digest(archive, member) for member in archive}
        code = process.wait()
        stderr.seek(0)
        complaints = _Said("tar", code, "", os.fsdecode(stderr.read())).complaints()
    return members | {f"{tree}: {line}": "complaint" for line in complaints}


def _digest(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    """SHA-256 of what tar wrote about a member, its attributes in sorted order, and of its content."""
    digest = hashlib.sha256()
    numbers = (member.mode, member.uid, member.gid, member.size, member.devmajor, member.devminor)
    times = member.pax_headers.get("mtime", str(member.mtime))
    for word in (member.type, *numbers, times, member.linkname, *sorted(member.pax_headers.items())):
        digest.update(repr(word).encode("ascii", "backslashreplace") + b"\n")
    content = archive.extractfile(member) if member.isreg() else None
    while content and (piece := content.read(1 << 20)):
        digest.update(piece)
    return digest.hexdigest()
