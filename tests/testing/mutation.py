"""Random edits of a tree, the same ones for the same tree and seed: an admin's year in a second."""

import os
import random
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

DEEPEST = 20
"""Entries further down are left alone, so that no rename makes a path outgrow PATH_MAX."""

_MODES = (0, 0o400, 0o600, 0o644, 0o755, 0o777, 0o1777, 0o2755, 0o4755, 0o6711, 0o7777)
_OWNERS = (0, 1, 1000, 65534, 2**31, 2**32 - 2)
_CAPABILITIES = ("cap_net_raw+ep", "cap_net_bind_service=eip", "cap_sys_admin+i", "=")


def mutate(root: Path, seed: int, edits: int = 60) -> list[str]:
    """Make random edits below `root` and say what was done, for a failing test's message.

    Every kind of edit comes up equally often. A quarter of them puts back the time of the directory they
    worked in, as unpacking an archive does. The list of entries is made anew for each: what was a directory
    may have become a link out of the tree.
    """
    chance = random.Random(seed)
    kinds = [_KINDS[number % len(_KINDS)] for number in range(edits)]
    chance.shuffle(kinds)
    return [done for kind in kinds if (done := kind(_Grove(os.fsencode(root), chance)))]


class _Grove:
    """A tree as it stands at this moment, to pick from."""

    def __init__(self, root: bytes, chance: random.Random) -> None:
        self.root = root
        self.chance = chance
        self.entries = sorted(_entries(root))

    def pick(self, wanted: Callable[[int], bool], *, top: bool = False) -> bytes | None:
        """One entry whose mode is as wanted; the root itself only where that makes sense."""
        fitting = [path for path, mode in self.entries if wanted(mode) and (top or path != self.root)]
        return self.chance.choice(fitting) if fitting else None

    def is_small(self, path: bytes) -> bool:
        """Whether something is left to edit when this is gone."""
        return sum(other.startswith(path + b"/") for other, _ in self.entries) < 100

    def new_place(self) -> bytes:
        """A place where nothing stands, with a name that is no one's."""
        directory = self.pick(stat.S_ISDIR, top=True) or self.root
        name = b"%s-%08x" % (
            self.chance.choice((b"new", b".new", b"# new", b"n\new", b"\xff")),
            self.chance.getrandbits(32),
        )
        return os.path.join(directory, name)

    def hide(self, directory: bytes, before: os.stat_result) -> None:
        """Put a directory's time back, one time in four."""
        if self.chance.random() < 0.25 and os.path.isdir(directory):
            os.utime(directory, ns=(before.st_atime_ns, before.st_mtime_ns))

    def told(self, deed: str, path: bytes) -> str:
        """One line about an edit."""
        return f"{deed} {os.path.relpath(path, self.root)!r}"


def _entries(root: bytes) -> Iterator[tuple[bytes, int]]:
    """Every entry with its mode, no link followed, down to a depth."""
    waiting = [(root, 0)]
    while waiting:
        path, depth = waiting.pop()
        mode = os.lstat(path).st_mode
        yield path, mode
        if stat.S_ISDIR(mode) and depth < DEEPEST:
            waiting += [(os.path.join(path, name), depth + 1) for name in os.listdir(path)]


def _anything(_mode: int) -> bool:
    return True


def _no_link(mode: int) -> bool:
    return not stat.S_ISLNK(mode)


def _no_directory(mode: int) -> bool:
    return not stat.S_ISDIR(mode)


def _delete(path: bytes) -> None:
    """Whatever it is, however deep: rmtree would end at the recursion limit."""
    subprocess.run(["rm", "-rf", "--", path], check=True)


def _make(grove: _Grove, kind: int, path: bytes) -> None:
    """Something new of a type."""
    if kind == stat.S_IFREG:
        Path(os.fsdecode(path)).write_bytes(grove.chance.randbytes(grove.chance.choice((0, 1, 100, 70_000))))
    elif kind == stat.S_IFDIR:
        os.mkdir(path)
        Path(os.fsdecode(path), "inside").write_bytes(b"new\n")
    elif kind == stat.S_IFLNK:
        os.symlink(grove.chance.choice((b"nowhere", b"/etc", b"..", b"\xff")), path)
    else:
        os.mknod(path, kind | 0o600, os.makedev(1, 3))


# --------------------------------------------------------------------------------------------------- edits


def _add(grove: _Grove) -> str:
    path = grove.new_place()
    before = os.stat(os.path.dirname(path))
    kind = grove.chance.choice((stat.S_IFREG, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR))
    _make(grove, kind, path)
    grove.hide(os.path.dirname(path), before)
    return grove.told("add", path)


def _remove(grove: _Grove) -> str:
    """An entry of any type; every third a directory with all that is in it."""
    path = grove.pick(_no_directory) if grove.chance.random() < 0.7 else grove.pick(stat.S_ISDIR)
    if path is None or not grove.is_small(path):
        return ""
    before = os.stat(os.path.dirname(path))
    _delete(path)
    grove.hide(os.path.dirname(path), before)
    return grove.told("delete", path)


def _rename(grove: _Grove) -> str:
    path, place = grove.pick(_anything), grove.new_place()
    if path is None or place.startswith(path + b"/"):
        return ""
    before = os.stat(os.path.dirname(place))
    os.rename(path, place)
    grove.hide(os.path.dirname(place), before)
    return grove.told(f"rename to {os.path.relpath(place, grove.root)!r}:", path)


def _rename_over(grove: _Grove) -> str:
    """What editors and package managers do to replace a file."""
    path, replaced = grove.pick(stat.S_ISREG), grove.pick(stat.S_ISREG)
    if path is None or replaced is None or os.path.samefile(path, replaced):
        return ""
    os.rename(path, replaced)
    return grove.told(f"rename over {os.path.relpath(replaced, grove.root)!r}:", path)


def _change_mode(grove: _Grove) -> str:
    path = grove.pick(_no_link, top=True)
    if path is None:
        return ""
    os.chmod(path, grove.chance.choice(_MODES))
    return grove.told("chmod", path)


def _change_owner(grove: _Grove) -> str:
    path = grove.pick(_anything, top=True)
    if path is None:
        return ""
    os.chown(path, grove.chance.choice(_OWNERS), grove.chance.choice(_OWNERS), follow_symlinks=False)
    return grove.told("chown", path)


def _set_capability(grove: _Grove) -> str:
    path = grove.pick(stat.S_ISREG)
    if path is None:
        return ""
    subprocess.run(["setcap", "-q", grove.chance.choice(_CAPABILITIES), path], check=True)
    return grove.told("setcap", path)


def _set_attribute(grove: _Grove) -> str:
    path = grove.pick(lambda mode: stat.S_ISREG(mode) or stat.S_ISDIR(mode), top=True)
    if path is None:
        return ""
    present = sorted(name for name in os.listxattr(path) if name.startswith("user."))
    if present:
        os.removexattr(path, grove.chance.choice(present))
        return grove.told("drop an attribute of", path)
    os.setxattr(path, b"user.edit", grove.chance.randbytes(grove.chance.choice((0, 5, 500))))
    return grove.told("set an attribute of", path)


def _set_acl(grove: _Grove) -> str:
    path = grove.pick(lambda mode: stat.S_ISREG(mode) or stat.S_ISDIR(mode))
    if path is None:
        return ""
    words = ["-b"] if os.path.isdir(path) and grove.chance.random() < 0.3 else ["-m", "u:1000:rw"]
    subprocess.run(["setfacl", *words, "--", path], check=True)
    return grove.told("setfacl", path)


def _touch(grove: _Grove) -> str:
    path = grove.pick(_anything, top=True)
    if path is None:
        return ""
    when = grove.chance.randrange(-(2**31), 2**33) * 10**9 + grove.chance.randrange(10**9)
    os.utime(path, ns=(when, when), follow_symlinks=False)
    return grove.told("touch", path)


def _change_type(grove: _Grove) -> str:
    """File, directory and link, each into one of the others, under the same name."""
    kinds = (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)
    old = grove.chance.choice(kinds)
    path = grove.pick(lambda mode: stat.S_IFMT(mode) == old)
    if path is None or not grove.is_small(path):
        return ""
    before = os.stat(os.path.dirname(path))
    _delete(path)
    _make(grove, grove.chance.choice([kind for kind in kinds if kind != old]), path)
    grove.hide(os.path.dirname(path), before)
    return grove.told("change the type of", path)


def _link(grove: _Grove) -> str:
    """One more name for an entry: a new one, or one that was a file of its own."""
    path, place = grove.pick(_no_directory), grove.new_place()
    if path is None:
        return ""
    replaced = grove.pick(stat.S_ISREG) if grove.chance.random() < 0.5 else None
    os.link(path, place, follow_symlinks=False)
    if replaced is not None and not os.path.samestat(os.lstat(path), os.lstat(replaced)):
        os.rename(place, replaced)
        place = replaced
    return grove.told(f"link as {os.path.relpath(place, grove.root)!r}:", path)


def _unlink(grove: _Grove) -> str:
    """Break a member out of its group: the same file afterwards, by itself."""
    grouped = [path for path, mode in grove.entries if stat.S_ISREG(mode) and os.lstat(path).st_nlink > 1]
    if not grouped:
        return ""
    path, spare = grove.chance.choice(grouped), grove.new_place()
    shutil.copy2(path, spare)
    os.rename(spare, path)
    return grove.told("unlink from its group", path)


def _swap_content(grove: _Grove) -> str:
    """Other bytes, the same size and the same times: in place, or by a new inode."""
    path = grove.pick(stat.S_ISREG)
    if path is None or not os.path.getsize(path):
        return ""
    before = os.stat(path)
    file = Path(os.fsdecode(path))
    if grove.chance.random() < 0.5:
        with open(path, "r+b") as changed:
            first = changed.read(1)
            changed.seek(0)
            changed.write(bytes([first[0] ^ 0xFF]))
    else:
        content = file.read_bytes()
        file.unlink()
        file.write_bytes(bytes([content[0] ^ 0xFF]) + content[1:])
        os.chown(path, before.st_uid, before.st_gid)
        os.chmod(path, stat.S_IMODE(before.st_mode))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return grove.told("swap the content of", path)


def _rewrite(grove: _Grove) -> str:
    """Append to a file or cut it."""
    path = grove.pick(stat.S_ISREG)
    if path is None:
        return ""
    with open(path, "ab") as file:
        if grove.chance.random() < 0.5:
            file.write(b"appended\r\n$Id$\n")
        else:
            file.truncate(file.tell() // 2)
    return grove.told("rewrite", path)


_KINDS: tuple[Callable[[_Grove], str], ...] = (
    *(_add, _remove, _rename, _rename_over, _change_mode, _change_owner, _set_capability, _set_attribute),
    *(_set_acl, _touch, _change_type, _link, _unlink, _swap_content, _rewrite),
)
