"""Finding the image in a layout or in what ``docker save`` wrote, and its layers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from gitstate.core.documents import Document, Source, parse, read_json
from gitstate.core.errors import DamagedError, GitstateError, NotFoundError, UsageError
from gitstate.core.names import visible
from gitstate.core.wording import some_of
from gitstate.tree.oci.declaration import (
    INDEXES,
    LAYERS,
    MANIFESTS,
    REF_NAME,
    Config,
    Descriptor,
    Index,
    Layout,
    Manifest,
    Saved,
    SavedList,
)
from gitstate.tree.oci.store import Files, blob_path, complains_of, document, open_files, saved_path, verify

T = TypeVar("T", bound=Document)

_LARGEST: Final = 4 << 20
_MOST_MANIFESTS: Final = 1000
_NAMED: Final = 5
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386", "ppc64le": "ppc64le"}


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer's file, the digest of that (None if nobody says it), its size, and the digest of its tar file."""

    path: str
    digest: str | None
    size: int | None
    diff_id: str


@dataclass(frozen=True, slots=True)
class Image:
    """One image, its layers from the lowest on. ``name`` is empty where it has none."""

    where: Path
    name: str
    layers: tuple[Layer, ...]


def find_image(where: Path, name: str | None = None) -> Image | None:
    """The image called ``name``, or the only one for this machine, at ``where``; None if there is no image.

    Its layers are there, and are what their digests say. Raises DamagedError, NotFoundError, UsageError, StorageError.
    """
    with ExitStack() as stack:
        files = open_files(where, stack)
        if files is None:
            return None
        if files.size("oci-layout") is not None:
            image = _of_layout(files, name)
        elif files.size("manifest.json") is not None and (where.is_file() or files.size("repositories") is not None):
            image = _of_saved(files, name)
        else:
            return None
        for layer in image.layers:
            if layer.digest is not None:
                verify(files, layer.path, layer.digest, layer.size)
            elif files.size(layer.path) is None:
                raise complains_of(where)(f"{layer.path} is missing")
    return image


def _read(kind: type[T], files: Files, path: str, key: str = "") -> T:
    """A file of JSON as a document, or as the value of a ``key`` of it."""
    hint = "make the image again; skopeo inspect looks at it"
    where = f"{files.where}: {path}"
    source = read_json(document(files, path), where, DamagedError, hint, _LARGEST)
    values = {key: source.values} if key else source.values
    return parse(kind, Source(where, values, b"", DamagedError))


def _blob(kind: type[T], files: Files, descriptor: Descriptor) -> T:
    path = blob_path(files, descriptor.digest)
    verify(files, path, descriptor.digest, descriptor.size)
    return _read(kind, files, path)


# --- a layout ---------------------------------------------------------------------------------------------------------


def _of_layout(files: Files, name: str | None) -> Image:
    version = _read(Layout, files, "oci-layout").imageLayoutVersion
    if version != "1.0.0":
        raise complains_of(files.where)(f"its layout is of version {visible(version)}; 1.0.0 can be read")
    found = list(_manifests(files, _read(Index, files, "index.json"), "", 0))
    chosen = _choose(files.where, found, name, lambda one: one[1])
    descriptor, called = chosen
    manifest = _blob(Manifest, files, descriptor)
    config = _blob(Config, files, manifest.config)
    if odd := next((one.mediaType for one in manifest.layers if one.mediaType not in LAYERS), None):
        raise complains_of(files.where)(f"a layer of type {visible(odd)} can't be read")
    if len(manifest.layers) != len(config.rootfs.diff_ids):
        raise complains_of(files.where)("manifest and configuration don't have the same layers")
    pairs = zip(manifest.layers, config.rootfs.diff_ids, strict=True)
    layers = (Layer(blob_path(files, one.digest), one.digest, one.size, diff_id) for one, diff_id in pairs)
    return Image(files.where, called, tuple(layers))


def _manifests(files: Files, index: Index, name: str, depth: int) -> Iterator[tuple[Descriptor, str]]:
    """The manifests of an index for this kind of machine, each with the image's name."""
    if len(index.manifests) > _MOST_MANIFESTS or depth > 1:
        raise complains_of(files.where)("it has too many manifests")
    for one in index.manifests:
        called = one.annotations.get(REF_NAME, name)
        if one.mediaType in INDEXES:
            yield from _manifests(files, _blob(Index, files, one), called, depth + 1)
        elif one.mediaType not in MANIFESTS:
            raise complains_of(files.where)(f"a manifest of type {visible(one.mediaType)} can't be read")
        elif one.platform is None or (one.platform.os, one.platform.architecture) in (("linux", _here()), ("", "")):
            yield one, called


def _here() -> str:
    machine = os.uname().machine
    return _ARCHITECTURES.get(machine, machine)


# --- docker save ------------------------------------------------------------------------------------------------------


def _of_saved(files: Files, name: str | None) -> Image:
    images = _read(SavedList, files, "manifest.json", "images").images
    pairs = [(one, tag) for one in images for tag in one.RepoTags or ("",)]
    saved, called = _choose(files.where, pairs, name, lambda one: one[1])
    config = _config_of(files, saved)
    if len(saved.Layers) != len(config.rootfs.diff_ids):
        raise complains_of(files.where)("manifest and configuration don't have the same layers")
    pairs_of_layers = zip(saved.Layers, config.rootfs.diff_ids, strict=True)
    layers = (Layer(saved_path(files, path), None, None, diff_id) for path, diff_id in pairs_of_layers)
    return Image(files.where, called, tuple(layers))


def _config_of(files: Files, saved: Saved) -> Config:
    path = saved_path(files, saved.Config)
    stem = path.rpartition("/")[2].removesuffix(".json")
    if len(stem) == 64:
        verify(files, path, f"sha256:{stem}", None)
    return _read(Config, files, path)


# --- which one --------------------------------------------------------------------------------------------------------

One = TypeVar("One")


def _choose(where: Path, found: list[One], name: str | None, called: Callable[[One], str]) -> One:
    """The one of that name, or the only one. Raises NotFoundError, UsageError."""
    wanted = [one for one in found if name is None or called(one) == name]
    if len(wanted) == 1:
        return wanted[0]
    names = [visible(called(one)) or "one without a name" for one in found]
    error: GitstateError
    if not wanted:
        what = f"no image {visible(name)}" if name is not None else f"no image for linux/{_here()}"
        error = NotFoundError(
            f"{where} has {what}", f"it has {some_of(names, _NAMED)}" if names else "skopeo copy --all takes all"
        )
    else:
        error = UsageError(f"{where} has several images: {some_of(names, _NAMED)}", f"name one: --from {where}@NAME")
    raise error
