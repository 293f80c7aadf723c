"""Images both ways: skopeo and umoci judge what is written, and what umoci makes of layers what we make of them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.harness import plant
from tests.gitstate_command import Site, make_site
from tests.support import needs, root_only
from tests.testing import judges

pytestmark = [root_only, needs("git", "umoci", "skopeo", "rsync", "setcap", "setfacl", "tar", "zstd")]

OCI = "application/vnd.oci.image."


def run(*words: object) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A site with the prototype desktop, checked in, and its image."""
    place = tmp_path_factory.mktemp("oci")
    site = make_site(place / "site")
    plant(place / "root")
    (place / "root" / "dev" / "sda").unlink()
    (place / "root" / "var" / "socket").unlink()
    site.run("prototype", "create", "desktop", "--live", str(place / "root"))
    site.run("checkin", "desktop", "-m", "first")
    site.run("export", "desktop", "--oci", str(place / "image"))
    yield place
    shutil.rmtree(place)


@pytest.fixture(scope="module")
def site(place: Path) -> Site:
    return Site(place / "site")


def exported(place: Path) -> Path:
    return Path(Site(place / "site").out("export", "desktop"))


# --- out --------------------------------------------------------------------------------------------------------------


def test_umoci_unpacks_what_an_export_has(place: Path, tmp_path: Path) -> None:
    run("umoci", "unpack", "--image", f"{place / 'image'}:latest", tmp_path / "there")
    assert judges.rsync(exported(place), tmp_path / "there" / "rootfs") == []
    assert judges.getcap(exported(place), tmp_path / "there" / "rootfs") == []


def test_skopeo_reads_it_and_its_digest_is_the_one_that_is_printed(site: Site, place: Path, tmp_path: Path) -> None:
    told = json.loads(run("skopeo", "inspect", f"oci:{place / 'image'}:latest"))
    again = site.json("export", "desktop", "--oci", str(tmp_path / "again"))
    assert told["Digest"] == again["manifest"]
    assert told["Layers"] == [again["layer"]]
    assert (told["Os"], told["Architecture"]) == ("linux", "amd64")
    assert run("diff", "-r", place / "image", tmp_path / "again") == ""


def test_zstd_holds_the_same_tar_file(site: Site, place: Path, tmp_path: Path) -> None:
    packed = site.json("export", "desktop", "--oci", str(tmp_path / "image"), "--compress", "zstd")
    plain = site.json("export", "desktop", "--oci", str(tmp_path / "other"))
    assert packed["diff_id"] == plain["diff_id"]
    layer = tmp_path / "image" / "blobs" / "sha256" / packed["layer"].removeprefix("sha256:")
    data = subprocess.run(["zstd", "-dc", layer], capture_output=True, check=True).stdout
    assert f"sha256:{hashlib.sha256(data).hexdigest()}" == plain["diff_id"]
    site.run("prototype", "create", "packed", "--from", str(tmp_path / "image"))
    _is_desktop(site, place, "packed")


def test_what_it_refuses_to_write(site: Site, place: Path, tmp_path: Path) -> None:
    site.refuses(2, "export", "desktop", "--oci", str(place / "image"), naming=str(place / "image"))
    site.refuses(2, "export", "desktop", "--oci", str(tmp_path / "a"), "--to", str(tmp_path / "b"), naming="--oci")
    site.refuses(2, "export", "desktop", "--compress", "zstd", naming="--compress")
    site.run("prototype", "create", "odd")
    (site.path / "live" / "odd" / ".wh.x").touch()
    site.run("checkin", "odd", "-m", "odd")
    site.refuses(5, "export", "odd", "--oci", str(tmp_path / "odd"), naming="/.wh.x")
    assert list(tmp_path.iterdir()) == []
    site.run("prototype", "remove", "odd", "--yes")


# --- in ---------------------------------------------------------------------------------------------------------------


def _is_desktop(site: Site, place: Path, name: str) -> None:
    """The live tree is that of desktop, but for times of directories whose content isn't recorded."""
    assert judges.rsync(exported(place), site.path / "live" / name) == []
    site.run("checkin", name, "-m", "first")
    assert site.git(name, "rev-parse", "main^{tree}") == site.git("desktop", "rev-parse", "main^{tree}")
    site.run("prototype", "remove", name, "--yes")


@pytest.mark.parametrize("how", ["layout", "named", "archive", "compressed archive", "docker save"])
def test_an_image_comes_back_as_the_prototype_that_it_was(site: Site, place: Path, tmp_path: Path, how: str) -> None:
    image, saved = place / "image", tmp_path / "saved.tar"
    source = str(image)
    if how == "named":
        source += "@latest"
    elif how == "docker save":
        run("skopeo", "copy", f"oci:{image}:latest", f"docker-archive:{saved}:desktop:latest")
        source = str(saved)
    elif how != "layout":
        run("tar", "-C", image, "-c", "-z" if "compressed" in how else "-b1", "-f", saved, ".")
        source = str(saved)
    plan = site.out("prototype", "create", "back", "--from", source, "-n")
    assert "from the image" in plan or how == "compressed archive"
    site.run("prototype", "create", "back", "--from", source)
    _is_desktop(site, place, "back")


def test_layers_become_what_umoci_makes_of_them(site: Site, place: Path, tmp_path: Path) -> None:
    """Removals, directories that become files and the reverse, links, names anew: in three layers."""
    image = tmp_path / "image"
    shutil.copytree(place / "image", image)
    for number in range(2):
        there = tmp_path / f"there{number}"
        run("umoci", "unpack", "--image", f"{image}:latest", there)
        root = there / "rootfs"
        if number == 0:
            (root / "etc" / "motd").unlink()
            shutil.rmtree(root / "usr" / "bin")
            (root / "usr" / "bin").write_text("a file now\n")
            (root / "etc" / "hosts").unlink()
            (root / "etc" / "hosts").mkdir()
            (root / "etc" / "hosts" / "one").write_text("1\n")
            (root / "etc" / "fstab").chmod(0o600)
        else:
            (root / "etc" / "motd").write_text("back\n")
            shutil.rmtree(root / "etc" / "hosts")
            (root / "usr" / "bin").unlink()
            (root / "usr" / "bin").mkdir()
            (root / "usr" / "bin" / "new").write_text("new\n")
            (root / "usr" / "bin" / "alias").hardlink_to(root / "usr" / "bin" / "new")
            (root / "srv" / "lib").symlink_to("/usr/bin")
        run("umoci", "repack", "--image", f"{image}:latest", there)
    run("umoci", "unpack", "--image", f"{image}:latest", tmp_path / "judge")
    site.run("prototype", "create", "layers", "--from", f"{image}@latest")
    assert judges.rsync(tmp_path / "judge" / "rootfs", site.path / "live" / "layers") == []
    site.run("prototype", "remove", "layers", "--yes")


# --- what nobody should have made -------------------------------------------------------------------------------------


def tar_of(*members: tarfile.TarInfo, content: bytes = b"") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member in members:
            member.size = len(content) if member.isreg() else 0
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, **attributes: Any) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type = kind
    for key, value in attributes.items():
        setattr(made, key, value)
    return made


def layout(place: Path, *layers: bytes, **changed: Any) -> Path:
    """A layout of these tar files; ``changed`` replaces what is right: kind, diff_ids, layer_size, version."""
    blobs = place / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(data: bytes, kind: str) -> dict[str, Any]:
        name = hashlib.sha256(data).hexdigest()
        (blobs / name).write_bytes(data)
        return {"mediaType": OCI + kind, "digest": f"sha256:{name}", "size": len(data)}

    kind = changed.get("kind", "layer.v1.tar+gzip")
    there = [blob(gzip.compress(one, mtime=0), kind) for one in layers]
    for one in there:
        one["size"] += changed.get("layer_size", 0)
    ids = changed.get("diff_ids", [f"sha256:{hashlib.sha256(one).hexdigest()}" for one in layers])
    config = blob(json.dumps({"rootfs": {"type": "layers", "diff_ids": ids}}).encode(), "config.v1+json")
    manifest = blob(json.dumps({"config": config, "layers": there}).encode(), "manifest.v1+json")
    manifest |= changed.get("manifest", {})
    count = changed.get("images", 1)
    (place / "index.json").write_text(json.dumps({"manifests": [manifest] * count}))
    (place / "oci-layout").write_text(json.dumps({"imageLayoutVersion": changed.get("version", "1.0.0")}))
    return place


PLAIN = tar_of(member("etc", tarfile.DIRTYPE, mode=0o755), member("etc/motd"), content=b"hello\n")
LEADS_OUT = member("lib", tarfile.SYMTYPE, linkname="/../../../../../../tmp")


@pytest.mark.parametrize(
    ("layers", "naming"),
    [
        ([tar_of(member("../escape"))], "../escape leads out"),
        ([tar_of(member("a", tarfile.LNKTYPE, linkname="../../etc/passwd"))], "leads out"),
        ([tar_of(member("a", tarfile.LNKTYPE, linkname="etc/passwd"))], "/etc/passwd"),
        ([tar_of(member("dev/sda", tarfile.BLKTYPE, devmajor=8))], "/dev/sda is the device 8:0"),
        ([tar_of(member("dev/mem", tarfile.CHRTYPE, devmajor=1, devminor=1))], "/dev/mem is the device 1:1"),
        ([tar_of(member("whiteout", tarfile.CHRTYPE))], "/whiteout is the device 0:0"),
        ([tar_of(member("odd", b"Z"))], "odd"),
        ([tar_of(member("etc")), tar_of(member("etc/motd"))], "/etc/motd leads through /etc"),
        ([tar_of(member("a", tarfile.SYMTYPE, linkname="a"), member("a/b"))], "circles"),
        ([tar_of(member(".wh...", tarfile.REGTYPE))], "removes nothing"),
        ([tar_of(member("x", uid=1 << 40))], "owner"),
        ([tar_of(member("x", pax_headers={"mtime": "1e30"}))], "a time"),
        ([tar_of(member("x", pax_headers={"mtime": "1e999995"}))], "a time"),
        ([tar_of(member("x", pax_headers={"mtime": "-1e99"}))], "a time"),
        ([tar_of(member("x", pax_headers={"mtime": "nan"}))], "a time"),
        ([PLAIN[:1000]], "too early"),
        ([b"no tar file at all" * 100], "tar"),
    ],
)
def test_hostile_layers(site: Site, tmp_path: Path, layers: list[bytes], naming: str) -> None:
    image = layout(tmp_path / "image", *layers)
    site.refuses(14, "prototype", "create", "bad", "--from", str(image), naming=naming)
    assert not (site.path / "live" / "bad").exists()
    assert not site.repository("bad").exists()


@pytest.mark.parametrize(
    ("changed", "code", "naming"),
    [
        ({"diff_ids": ["sha256:" + "0" * 64]}, 14, "configuration says"),
        ({"diff_ids": []}, 14, "the same layers"),
        ({"layer_size": 1}, 14, "bytes, not"),
        ({"kind": "layer.v1.tar+gzip+encrypted"}, 14, "+gzip+encrypted"),
        ({"version": "2.0.0"}, 14, "2.0.0"),
        ({"manifest": {"mediaType": "application/x"}}, 14, "application/x"),
        ({"manifest": {"mediaType": "\ud800\x1b"}}, 14, r"\355\240\200\033"),
        ({"manifest": {"digest": "sha256:../../../../etc/passwd"}}, 14, "no SHA-256"),
        ({"manifest": {"digest": "sha256:" + "0" * 64}}, 14, "is missing"),
        ({"manifest": {"platform": {"os": "linux", "architecture": "s390x"}}}, 10, "no image for linux"),
        ({"images": 2}, 2, "several images"),
    ],
)
def test_wrong_layouts(site: Site, tmp_path: Path, changed: dict[str, Any], code: int, naming: str) -> None:
    image = layout(tmp_path / "image", PLAIN, **changed)
    site.refuses(code, "prototype", "create", "bad", "--from", str(image), naming=naming)


@pytest.mark.parametrize("path", ["../outside", "a/../../outside", "a\0b", "\ud800", ""])
def test_a_saved_image_reads_nothing_beside_it(site: Site, tmp_path: Path, path: str) -> None:
    image = tmp_path / "image"
    (image / "a").mkdir(parents=True)
    config = json.dumps({"rootfs": {"diff_ids": [f"sha256:{hashlib.sha256(PLAIN).hexdigest()}"]}})
    for place in (image / "layer.tar", tmp_path / "outside"):
        place.write_bytes(PLAIN)
    (image / "config.json").write_text(config)
    (image / "repositories").write_text("{}")
    for words in ({"Config": "config.json", "Layers": [path]}, {"Config": path, "Layers": ["layer.tar"]}):
        (image / "manifest.json").write_text(json.dumps([words]))
        site.refuses(14, "prototype", "create", "bad", "--from", str(image), naming="no path in it")


def test_a_blob_that_is_other_than_its_digest_or_a_symlink(site: Site, tmp_path: Path) -> None:
    image = layout(tmp_path / "image", PLAIN)
    blob = max((image / "blobs" / "sha256").iterdir(), key=lambda path: path.read_bytes()[:2] == b"\x1f\x8b")
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data)
    site.refuses(14, "prototype", "create", "bad", "--from", str(image), naming="digest")
    blob.unlink()
    blob.symlink_to("/etc/passwd")
    site.refuses(5, "prototype", "create", "bad", "--from", str(image), naming=str(image))


def test_a_symlink_of_a_lower_layer_leads_nowhere_else(site: Site, tmp_path: Path) -> None:
    """As container engines have it: names resolve inside the root."""
    image = layout(tmp_path / "image", tar_of(LEADS_OUT), tar_of(member("lib/x"), content=b"x\n"))
    site.run("prototype", "create", "inside", "--from", str(image))
    live = site.path / "live" / "inside"
    assert (live / "tmp" / "x").read_text() == "x\n"
    assert (live / "lib").is_symlink()
    site.run("prototype", "remove", "inside", "--yes")


def test_a_layer_of_many_gzip_members(site: Site, tmp_path: Path) -> None:
    """As pigz and eStargz make them."""
    image = layout(tmp_path / "image", PLAIN)
    blobs = image / "blobs" / "sha256"
    packed = gzip.compress(PLAIN[:700], mtime=0) + gzip.compress(PLAIN[700:], mtime=0)
    other = layout(tmp_path / "other", PLAIN)
    manifest = json.loads((other / "index.json").read_text())["manifests"][0]
    described = json.loads((blobs / manifest["digest"][7:]).read_text())
    name = hashlib.sha256(packed).hexdigest()
    (blobs / name).write_bytes(packed)
    described["layers"][0] |= {"digest": f"sha256:{name}", "size": len(packed)}
    text = json.dumps(described).encode()
    manifest |= {"digest": f"sha256:{hashlib.sha256(text).hexdigest()}", "size": len(text)}
    (blobs / manifest["digest"][7:]).write_bytes(text)
    (image / "index.json").write_text(json.dumps({"manifests": [manifest]}))
    site.run("prototype", "create", "many", "--from", str(image))
    assert (site.path / "live" / "many" / "etc" / "motd").read_text() == "hello\n"
    site.run("prototype", "remove", "many", "--yes")
