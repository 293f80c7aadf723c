"""What is read of an image's JSON. Other keys are none of our business."""

from __future__ import annotations

from typing import Final

from gitstate.core.documents import Document, field

MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
CONFIG: Final = "application/vnd.oci.image.config.v1+json"
LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
INDEXES: Final = frozenset(
    ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
)
MANIFESTS: Final = frozenset((MANIFEST, "application/vnd.docker.distribution.manifest.v2+json"))
LAYERS: Final = frozenset(
    (
        *(LAYER + packed for packed in ("", "+gzip", "+zstd")),
        *(f"application/vnd.oci.image.layer.nondistributable.v1.tar{packed}" for packed in ("", "+gzip", "+zstd")),
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    )
)
REF_NAME: Final = "org.opencontainers.image.ref.name"
"""The annotation that names an image in its layout."""


class _Foreign(Document, frozen=True, forbid_unknown_fields=False):
    """A document of others."""


class Platform(_Foreign, frozen=True, forbid_unknown_fields=False):
    """What a manifest is for."""

    architecture: str = ""
    os: str = ""


class Descriptor(_Foreign, frozen=True, forbid_unknown_fields=False):
    """A blob by its digest."""

    mediaType: str  # noqa: N815  # as the spec has it
    digest: str
    size: int
    platform: Platform | None = None
    annotations: dict[str, str] = field(default_factory=dict)


class Layout(_Foreign, frozen=True, forbid_unknown_fields=False):
    """The file oci-layout."""

    imageLayoutVersion: str  # noqa: N815


class Index(_Foreign, frozen=True, forbid_unknown_fields=False):
    """index.json, or one below it."""

    manifests: tuple[Descriptor, ...]


class Manifest(_Foreign, frozen=True, forbid_unknown_fields=False):
    """One image."""

    config: Descriptor
    layers: tuple[Descriptor, ...]


class RootFiles(_Foreign, frozen=True, forbid_unknown_fields=False):
    """The digests of the layers as tar files."""

    diff_ids: tuple[str, ...]


class Config(_Foreign, frozen=True, forbid_unknown_fields=False):
    """An image's configuration."""

    rootfs: RootFiles
    architecture: str = ""
    os: str = ""


class Saved(_Foreign, frozen=True, forbid_unknown_fields=False):
    """An image in the manifest.json of ``docker save``."""

    Config: str
    Layers: tuple[str, ...]
    RepoTags: tuple[str, ...] | None = None


class SavedList(_Foreign, frozen=True, forbid_unknown_fields=False):
    """manifest.json, as the value of a key of ours."""

    images: tuple[Saved, ...]
