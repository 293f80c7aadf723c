"""Layers and images in memory: trees of real objects, made from nested dictionaries."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

from gitstate.core.entry import Entry, Kind, Meta
from gitstate.machine.render.compose import Composer, Composition
from gitstate.machine.render.image import Image
from gitstate.machine.render.machine import MachineRenderer
from gitstate.machine.render.models import Blob, Layer, RenderedEntry
from gitstate.machine.render.read import read_layer
from gitstate.store import Repository, Type, object_id
from gitstate.store.objects import FILE, TreeItem, format_tree
from gitstate.tree.snapshot import make_directory


class Node(NamedTuple):
    """A file, symlink or device; ``content`` a symlink's target."""

    content: bytes = b""
    mode: int = 0o644
    kind: Kind = Kind.FILE
    uname: bytes = b""
    gname: bytes = b""
    device: tuple[int, int] | None = None


def link(target: bytes) -> Node:
    return Node(target, 0o777, Kind.SYMLINK)


PLAIN = Meta(Kind.DIRECTORY, 0o755, time=1)
PASSWD = b"root:x:0:0:root:/root:/bin/sh\nlp:x:7:7:lp:/:/bin/false\n"
GROUP = b"root:x:0:\nlp:x:7:\nusers:x:100:ada\n"
ROOT: dict[str, Any] = {
    "lib": link(b"usr/lib"),
    "usr": {"lib": {"x": b"image x"}, "bin": {"sh": b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\0\x3e\0"}},
    "etc": {
        "passwd": PASSWD,
        "group": GROUP,
        "shadow": Node(b"root:*:1:0:9:7:::\n", 0o640),
        "fstab": b"image fstab\n",
        "mtab": link(b"../proc/self/mounts"),
        "skel": {"a": b"a", "deep": {"b": b"b"}},
    },
    "root": {".": PLAIN._replace(mode=0o700)},
    "var": {"run": link(b"/run"), "loop": link(b"loop"), "up": link(b"../../../../usr")},
    "run": {},
    "proc": {},
    "dev": {},
}


class Objects(dict[bytes, bytes]):
    """Objects by id."""

    def put(self, kind: Type, data: bytes) -> bytes:
        oid = object_id(kind, data)
        self[oid] = data
        return oid

    def tree(self, spec: Mapping[str, Any], *, root: bool = True) -> bytes:
        """The tree of a specification: ``.`` is the directory's own metadata, None for no record."""
        own = spec.get(".", PLAIN)
        entries, below = [], []
        for name, value in sorted((name.encode(), value) for name, value in spec.items() if name != "."):
            if isinstance(value, Mapping):
                below.append((name, self.tree(value, root=False)))
                continue
            node = value if isinstance(value, Node) else Node(value)
            meta = Meta(node.kind, node.mode, 0, 0, 1, node.device, (), node.uname, node.gname)
            in_git = node.kind in (Kind.FILE, Kind.SYMLINK)
            entries.append(Entry(name, meta, self.put(Type.BLOB, node.content) if in_git else b""))
        text, items = make_directory(own or PLAIN, entries, below, root=root)
        if own is None:
            text = b"".join(line for line in text.splitlines(keepends=True) if not line.startswith(b". "))
        items.append(TreeItem(FILE, b".gitstate", self.put(Type.BLOB, text)))
        return self.put(Type.TREE, format_tree(items))


class Bench:
    """An image, and layers laid over it."""

    def __init__(self, image: Mapping[str, Any] | None = None) -> None:
        self.objects = Objects()
        tree = self.objects.tree(ROOT if image is None else image)
        repository = SimpleNamespace(
            read=self.objects.__getitem__, whole=lambda oid: None, snapshot=lambda oid: SimpleNamespace(tree=tree)
        )
        self.image = Image(cast(Repository, repository), "desktop", b"\xde" * 20)
        self.composer = Composer(self.image, self.read)
        self.finisher = MachineRenderer(self.image, self.read)

    def read(self, name: str, oid: bytes) -> bytes:
        return self.objects[oid]

    def layer(self, name: str, spec: Mapping[str, Any]) -> Layer:
        tree = self.objects.tree(spec)
        return read_layer(self.objects.__getitem__, name, tree, tree)

    def compose(self, *specs: Mapping[str, Any]) -> Composition:
        """Layers ``a``, ``b`` and so on."""
        return self.composer.compose([self.layer(chr(ord("a") + place), spec) for place, spec in enumerate(specs)])

    def items(self, *specs: Mapping[str, Any], **facts: Any) -> list[RenderedEntry]:
        return self.finisher.finish(self.compose(*specs), facts, "lab3-14")

    def content(self, item: RenderedEntry) -> bytes:
        return self.objects[item.content.oid] if isinstance(item.content, Blob) else item.content or b""

    def files(self, *specs: Mapping[str, Any], **facts: Any) -> dict[str, Any]:
        """What layers make, by path: a file's content, ``->`` and a symlink's target, ``/`` a directory, ``-`` hidden.

        A ``!`` in front says that what the image has there is hidden, too.
        """
        found = {}
        for item in self.items(*specs, **facts):
            text = self.content(item).decode("utf-8", "replace")
            if item.meta is None:
                text = "-"
            elif item.meta.kind is Kind.DIRECTORY:
                text = "/"
            elif item.meta.kind is Kind.SYMLINK:
                text = f"->{text}"
            found[item.path.decode("utf-8", "replace")] = ("!" if item.covers and item.meta else "") + text
        return found
