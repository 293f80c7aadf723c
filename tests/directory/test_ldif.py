"""The embedded backend: its files, its history, its cache, and what people do to it by hand."""

from __future__ import annotations

import base64
import os
import stat
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO, StringIO
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ldif import LDIFRecordList, LDIFWriter

from gitstate.core.errors import ConfigError, DamagedError, GitstateError, LockedError, UsageError
from gitstate.core.signature import Signature
from gitstate.directory import Client, Kind
from gitstate.directory.git import backend as ldif
from gitstate.directory.git.tree import path_of
from gitstate.directory.model import ldif as ldif_text
from gitstate.directory.model.client_attributes import entry_of
from gitstate.directory.model.ldif import format_client, parse_client
from gitstate.store import Repository
from gitstate.store.site import Site
from tests.directory.harness import ADA, Place, clients, clone, complaints, files, log, machine, machines
from tests.support import computed, needs

pytestmark = needs("git")

GOOD: Final = format_client(machine(1)).decode()


@pytest.fixture
def place(site: Site) -> Place:
    """This backend alone."""
    return Place(site)


# --- text -------------------------------------------------------------------------------------------------------------


@given(clients())
def test_clients_and_text_are_one(client: Client) -> None:
    data = format_client(client)
    assert parse_client(data, client.name, "x")[0] == client
    assert data.isascii()
    assert data.endswith(b"\n")
    assert not data.endswith(b"\n\n")
    assert all(line and not line.startswith(" ") for line in data.decode().splitlines())
    assert sum(map(len, entry_of(client).values())) + 1 == len(data.splitlines())


def test_the_text_is_canonical() -> None:
    client = replace(machine(12), workload="kiosk", layers=("lab/b", "lab/a"))
    assert format_client(replace(client, layers=("lab/a", "lab/b"))).decode().splitlines() == [
        "dn: cn=lab3-12,ou=clients,o=gitstate",
        "cn: lab3-12",
        "gitstateKind: diskless",
        "gitstateLayer: lab/a",
        "gitstateLayer: lab/b",
        "gitstatePin: desktop@v1",
        "gitstateState: overlay",
        "gitstateWorkload: kiosk",
        "ipHostNumber: 10.77.0.13",
        "macAddress: 52:54:00:00:00:0c",
        "objectClass: device",
        "objectClass: gitstateClient",
        "objectClass: ieee802Device",
        "objectClass: ipHost",
    ]
    with pytest.raises(UsageError, match="canonical"):
        format_client(client)


@given(clients(), st.data())
def test_whatever_stands_in_a_file_is_a_client_or_a_fault(client: Client, data: st.DataObject) -> None:
    """Cut, joined and sprinkled with anything: never another error, always file and line."""
    written = bytearray(format_client(client))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(written)))
        end = data.draw(st.integers(start, min(len(written), start + 20)))
        pieces = st.sampled_from([b"\n", b" ", b":", b"::", b":<", b"\n\n", b"#", b"-", b"\r\n", b"\0", b"dn: x\n"])
        written[start:end] = data.draw(pieces | st.binary(max_size=8))
    found, fault = read_or_fault(bytes(written), client.name)
    if found is not None:
        assert found.name == client.name
        assert parse_client(format_client(found), found.name, "x")[0] == found
    else:
        where, line = fault.split(": ")[0].split(", line ")
        assert where == "clients/x.ldif"
        assert 1 <= int(line) <= written.count(b"\n") + 1
        assert fault.isprintable()
        assert len(fault) < 900


def read_or_fault(data: bytes, name: str) -> tuple[Client | None, str]:
    """A client, or what is said of it."""
    try:
        return parse_client(data, name, "clients/x.ldif")[0], ""
    except ConfigError as fault:
        return None, fault.message


TEXTS: Final = st.one_of(
    st.text(st.characters(exclude_categories=["C"]), max_size=30),
    st.sampled_from([" x", "x ", ": x", "<x", "x:y", "ü", "x" * 200]),
).map(str.encode)
ENTRIES: Final = st.dictionaries(
    st.sampled_from(["cn", "description", "l", "macAddress"]),
    st.lists(TEXTS | st.binary(max_size=30), min_size=1),
    min_size=1,
)


@given(ENTRIES)
def test_python_ldap_reads_what_we_write(entry: dict[str, list[bytes]]) -> None:
    dn = ldif_text.client_dn("lab3-01")
    reader = LDIFRecordList(BytesIO(ldif_text.format_entry(dn, entry)))
    reader.parse()
    assert reader.all_records == [(dn, entry)]


@given(st.dictionaries(st.sampled_from(["cn", "description", "l"]), st.lists(TEXTS, min_size=1), min_size=1))
def test_what_python_ldap_writes_is_read(entry: dict[str, list[bytes]]) -> None:
    dn = ldif_text.client_dn("lab3-01")
    written = StringIO()
    LDIFWriter(written, cols=20).unparse(dn, entry)
    assert ldif_text._entry(written.getvalue().encode(), dn) == entry


def test_ldif_as_others_write_it_is_read() -> None:
    odd = (
        "# exported\n#  by hand\n\nversion: 1\nDN: CN=lab3-01,OU=clients,O=gitstate\r\n".replace("DN", "dn")
        + "objectclass: Device\nobjectClass: GITSTATECLIENT\nOBJECTCLASS: ieee802Device\n"
        "cn: LAB3-01\nmacaddress: 52-54-00-\n 00-00-01\n# a note\n"
        f"gitstatepin:: {base64.b64encode(b'desktop@v1').decode()}\ndescription: grö\n ßer\n\n\n"
    )
    client, entry = parse_client(odd.encode(), "lab3-01", "x")
    assert client == Client("lab3-01", macs=("52:54:00:00:00:01",), pin=machine(1).pin)
    assert entry["description"] == ["größer".encode()]
    again = format_client(client, entry)
    assert b"description:: " in again
    assert parse_client(again, "lab3-01", "x")[0] == client


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


PIN: Final = "gitstatePin: desktop@v1"
HEAD: Final = "dn: cn=lab3-01,ou=clients,o=gitstate"
BAD: Final = {
    "empty": ("", 1, "begins with dn:"),
    "comments only": ("# x\n# y\n", 1, "begins with dn:"),
    "another client": (changed("dn: cn=lab3-01", "dn: cn=lab3-02"), 1, "begins with dn: cn=lab3-01"),
    "another base": (changed("o=gitstate", "o=other"), 1, "begins with dn:"),
    "a longer name": (changed(HEAD, f"{HEAD}\n ,dc=x"), 1, "begins with dn:"),
    "no head": (GOOD.partition("\n")[2], 1, "begins with dn:"),
    "a name that patterns choke on": ("dn: " + "a=b+" * 40 + "\n" + GOOD, 1, "begins with dn:"),
    "no colon": (changed(PIN, "gitstatePin desktop@v1"), 4, "not of the form"),
    "a stray line": (changed(PIN, f"{PIN}\n-"), 5, "not of the form"),
    "unknown attribute": (changed(PIN, "gitstatePni: desktop@v1"), 4, "no attribute gitstatePni"),
    "an option": (changed(PIN, "gitstatePin;x: desktop@v1"), 4, "no attribute gitstatePin;x"),
    "foreign attribute": (changed(PIN, f"{PIN}\nbootFile: x"), 5, "belongs to none"),
    "a password": (changed(PIN, f"{PIN}\nuserPassword: x"), 5, "no attribute userPassword"),
    "a change record": (changed("cn: lab3-01\n", "changetype: delete\n"), 2, "change records"),
    "a stray line after the end": (GOOD + "\ndescription: x\n", 13, "a second entry"),
    "two entries": (GOOD + "\n" + GOOD.replace("lab3-01", "lab3-02"), 13, "a second entry"),
    "bad base64": (changed(PIN, "gitstatePin:: ???"), 4, "not base64"),
    "bad padding": (changed(PIN, "gitstatePin:: YWI"), 4, "not base64"),
    "a control character": (changed(PIN, "gitstatePin: desktop@v1\x1b[2J"), 4, r"control character '\\x1b'"),
    "NUL": (changed(PIN, "gitstatePin: desktop@v1\0"), 4, "control character"),
    "a tab": (changed(PIN, "gitstatePin:\tdesktop@v1"), 4, "control character"),
    "base64 of a control character": (
        changed(PIN, f"gitstatePin:: {base64.b64encode(b'desktop@v1' + bytes([27])).decode()}"),
        4,
        "is not ASCII text without control",
    ),
    "base64 of a line": (
        changed(PIN, f"gitstatePin:: {base64.b64encode(b'desktop@v1' + bytes([10]) + b'x: y').decode()}"),
        4,
        "is not ASCII text",
    ),
    "base64 of bytes": (changed(PIN, "gitstatePin:: /////w=="), 4, "is not ASCII text"),
    "not UTF-8": (changed(PIN, "description: \udcff"), 4, "not UTF-8"),
    "a file's URL": (changed(PIN, "gitstatePin:< file:///etc/passwd"), 4, "URLs are never read"),
    "a URL": (changed(PIN, "gitstatePin:<http://127.0.0.1:9/x"), 4, "URLs are never read"),
    "a huge line": (changed(PIN, "description: " + "x" * 70_000), 1, "longer than 64 KiB"),
    "many lines": (GOOD + "description: x\n" * 5000, 1, "longer than 64 KiB"),
    "a long value": (changed(PIN, "gitstatePin: desktop@" + "v" * 2000), 4, "longer than 400 bytes"),
    "bad MAC": (changed("52:54:00:00:00:01", "52:54:00:00:01"), 7, "is not a MAC address"),
    "group MAC": (changed("52:54:00:00:00:01", "01:00:5e:00:00:01"), 7, "not one machine's MAC"),
    "bad IP": (changed("10.77.0.2", "10.77.0.2/24"), 6, "is not an IP address"),
    "bad pin": (changed(PIN, "gitstatePin: desktop"), 4, "not a pinned snapshot"),
    "hostile pin": (changed(PIN, "gitstatePin: desktop@v1; rm -rf /"), 4, "not a pinned snapshot"),
    "bad kind": (changed("diskless", "toaster"), 3, "not a kind of client"),
    "bad state": (changed("overlay", "ram"), 5, "not a state mode"),
    "two pins": (changed(PIN, f"{PIN}\nGitstatePin: desktop@v2"), 5, "one value only"),
    "one MAC twice": (changed("macAddress", "macAddress: 52:54:00:00:00:01\nMACADDRESS"), 8, "twice"),
    "no classes": ("\n".join(line for line in GOOD.splitlines() if "Class" not in line), 1, "structural class"),
    "no such class": (changed("objectClass: device", "objectClass: toaster"), 8, "no class 'toaster'"),
    "a class missing": (changed("objectClass: ipHost\n", ""), 6, "ipHostNumber belongs to none"),
    "not a client's class": (changed("objectClass: gitstateClient\n", ""), 3, "belongs to none"),
    "another name": (changed("cn: lab3-01", "cn: lab3-02"), 2, "cn is not lab3-01"),
    "no name": (changed("\ncn: lab3-01", ""), 7, "cn is missing"),
    "nothing but a head": (HEAD, 1, "structural class"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_text_is_told_with_its_line(name: str) -> None:
    data, line, words = BAD[name]
    with pytest.raises(ConfigError, match=words) as caught:
        parse_client(data.encode("utf-8", "surrogateescape"), "lab3-01", "clients/01/lab3-01.ldif")
    assert caught.value.message.startswith(f"clients/01/lab3-01.ldif, line {line}: ")
    assert caught.value.message.isprintable()
    assert caught.value.hint


def test_no_text_takes_long() -> None:
    """Patterns, folding and base64: nothing in 64 KiB takes more than a moment."""
    size = 60_000
    for hostile in (
        HEAD + "\n" + " x\n" * (size // 3),
        HEAD + "\n" + "cn: x\n" * (size // 6),
        HEAD + "\n" + ("cn" * size)[:size],
        HEAD + "\n" + ":" * size,
        HEAD + "\n" + ("a;" * size)[:size],
        HEAD + "\ncn::" + " " * size + "x",
        HEAD + "\ncn: x" + " " * size + "x",
        HEAD + "\nseeAlso: " + "a=b+" * (size // 4),
        HEAD + "\nobjectClass: device\nobjectClass: gitstateClient\ncn: lab3-01\nseeAlso: " + "a=b+" * (size // 4),
        "\n" * size,
        "#\n" * (size // 2),
        "dn: " + "a=b+" * (size // 4),
    ):
        start = time.process_time()
        with pytest.raises(ConfigError):
            parse_client(hostile.encode(), "lab3-01", "x")
        assert time.process_time() - start < 2


# --- the repository ---------------------------------------------------------------------------------------------------


def test_history_reads_well(place: Place) -> None:
    place.put(machine(12), message="client add lab3-12")
    place.put(replace(machine(12), kind=Kind.LIVE), message="client set lab3-12: kind diskless -> live")
    told = log(place, "-p", "-1", "--format=%an <%ae> %ai|%cn|%s", "--", "clients/12/lab3-12.ldif").splitlines()
    assert told[0].startswith("Ada Lovelace <ada@example.org> 2023-11-14 23:13:20 +0100|Ada Lovelace|client set")
    assert [line for line in told[2:] if line[0] in "+-" and line[:3] not in ("+++", "---")] == [
        "-gitstateKind: diskless",
        "+gitstateKind: live",
    ]


def test_who_commits_may_be_another(place: Place) -> None:
    committer = Signature("gitstate <root@server>", ADA.when + 5)
    place.open().change([machine(1)], [], ADA, "x", committer)
    assert log(place, "--format=%an %cn %ct").strip() == f"Ada Lovelace gitstate {ADA.when + 5}"


def test_a_small_change_is_small(place: Place) -> None:
    place.put(*machines(1000))
    loose_before = _loose(place)
    packs = len(list((place.repository / "objects" / "pack").glob("*.pack")))
    place.put(replace(machine(7), kind=Kind.LIVE))
    assert len(_loose(place) - loose_before) == 5
    assert sum(path.stat().st_size for path in _loose(place) - loose_before) < 4000
    assert len(list((place.repository / "objects" / "pack").glob("*.pack"))) == packs == 1
    assert not complaints(place)


def _loose(place: Place) -> set[Path]:
    return set((place.repository / "objects").glob("??/*"))


def test_the_repository_is_private_and_like_the_others(place: Place) -> None:
    place.put(machine(1))
    assert stat.S_IMODE(place.repository.stat().st_mode) == 0o700
    opened = Repository.open(place.repository, "directory")
    assert opened.settings["gc.auto"] == "0"
    assert opened.settings["transfer.fsckobjects"] == "true"
    assert not [path.name for path in place.site.path.iterdir() if path.name.startswith(".")]


def test_what_else_stands_there_stays(place: Place, tmp_path: Path) -> None:
    place.put(*machines(3))
    with clone(place, tmp_path / "clone") as root:
        (root / "README").write_text("ours\n")
        (root / "more").mkdir()
        (root / "more" / "file").write_text("x\n")
        entry = root / path_of("lab3-01")
        entry.write_text(entry.read_text() + "description: by the window\nserialNumber: 17\n")
    place.put(replace(machine(1), kind=Kind.LIVE), machine(5))
    place.open().change([], ["lab3-02"], ADA, "gone")
    with clone(place, tmp_path / "second") as root:
        assert (root / "README").read_text() == "ours\n"
        assert (root / "more" / "file").read_text() == "x\n"
        assert "description: by the window\n" in (root / path_of("lab3-01")).read_text()
        assert "serialNumber: 17\n" in (root / path_of("lab3-01")).read_text()
        assert [path.stem for path in files(root)] == ["lab3-00", "lab3-01", "lab3-05"]
        (root / "touch").write_text("")
    assert not complaints(place)


def test_a_push_by_hand_is_read(place: Place, tmp_path: Path) -> None:
    place.put(*machines(3))
    mine = place.open()
    assert len(mine.clients()) == 3
    with clone(place, tmp_path / "clone") as root:
        (root / path_of("lab3-01")).unlink()
        (root / path_of("lab3-09")).parent.mkdir()
        (root / path_of("lab3-09")).write_bytes(format_client(machine(9)))
    assert list(mine.clients()) == list(place.open().clients()) == ["lab3-00", "lab3-02", "lab3-09"]


def test_a_push_by_hand_is_a_change_of_another(place: Place, tmp_path: Path) -> None:
    place.put(*machines(3))
    mine = place.open()
    mine.clients()
    with clone(place, tmp_path / "clone") as root:
        (root / path_of("lab3-01")).unlink()
    with pytest.raises(LockedError):
        mine.change([machine(9)], [], ADA, "x")


def test_who_works_is_named(place: Place) -> None:
    place.put(machine(1))
    with (
        Repository.open(place.repository, "directory").lock("something"),
        pytest.raises(LockedError, match=r"directory\.git is locked by something"),
    ):
        place.put(machine(2))
    assert list(place.open().clients()) == ["lab3-01"]


@pytest.mark.parametrize(("owner", "name"), [(ldif, "edit_tree"), (Repository, "move_refs")], ids=["early", "late"])
def test_git_that_moves_the_branch_meanwhile_wins(
    place: Place, monkeypatch: pytest.MonkeyPatch, owner: object, name: str
) -> None:
    place.put(machine(1))
    first = place.open().revision()
    work = getattr(owner, name)

    def meanwhile(*arguments: object) -> object:
        git = ["git", f"--git-dir={place.repository}", "-c", "user.name=E", "-c", "user.email=e@x"]
        tree = subprocess.check_output([*git, "rev-parse", "main^{tree}"], text=True).strip()
        words = ["commit-tree", "-p", "main", "-m", "other", tree]
        other = subprocess.check_output([*git, *words], text=True).strip()
        subprocess.run([*git, "update-ref", "refs/heads/main", other], check=True)
        return work(*arguments)

    monkeypatch.setattr(owner, name, meanwhile)
    with pytest.raises(LockedError):
        place.put(machine(2))
    monkeypatch.undo()
    assert list(place.open().clients()) == ["lab3-01"]
    assert place.open().revision() != first
    place.put(machine(2))
    assert not complaints(place)


def test_what_a_killed_first_change_left_is_cleared(place: Place) -> None:
    left = place.site.path / ".directory.partial"
    (left / "hooks").mkdir(parents=True)
    (left / "hooks" / "update").write_text("#!/bin/sh\nexit 1\n")
    place.put(machine(1))
    assert not left.exists()
    assert not (place.repository / "hooks" / "update").exists()


# --- by hand into nonsense --------------------------------------------------------------------------------------------


def _write(path: str, data: str) -> Callable[[Path], None]:
    def act(root: Path) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(data)

    return act


def _link(root: Path) -> None:
    (root / path_of("lab3-01")).unlink()
    os.symlink("/etc/passwd", root / path_of("lab3-01"))


def _file_for_folder(root: Path) -> None:
    subprocess.run(["rm", "-r", root / "clients"], check=True)
    (root / "clients").write_text("x")


def _twin(client: Client) -> Callable[[Path], None]:
    return _write(path_of(client.name), format_client(client).decode())


NONSENSE: Final[dict[str, tuple[Callable[[Path], None], str]]] = {
    "bad LDIF": (_write("clients/01/lab3-01.ldif", "x"), "clients/01/lab3-01.ldif, line 1: the entry begins with"),
    "bad value": (
        _write("clients/01/lab3-01.ldif", GOOD.replace("diskless", "x")),
        "clients/01/lab3-01.ldif, line 3: gitstateKind: 'x' is not a kind of client",
    ),
    "one MAC of two": (
        _twin(Client("lab3-02", macs=(*machine(1).macs, "52:54:00:00:00:09"))),
        "clients/02/lab3-02.ldif, line 5: 52:54:00:00:00:01 is lab3-01's already",
    ),
    "one IP of two": (
        _twin(Client("a", ips=machine(1).ips)),
        "clients/01/lab3-01.ldif, line 6: 10.77.0.2 is a's already",
    ),
    "the wrong place": (
        _write("clients/02/lab3-01.ldif", GOOD),
        "clients/02/lab3-01.ldif stands in the wrong place, not at clients/01/lab3-01.ldif",
    ),
    "no folder": (_write("clients/lab3-01.ldif", GOOD), "clients/lab3-01.ldif is not one of its directories"),
    "another name": (_write("clients/01/README", "x"), "clients/01/README is not named as a client's file"),
    "an upper-case name": (_write("clients/01/LAB3-01.ldif", GOOD), "not named as a client's file"),
    "an odd name": (_write("clients/01/\x1b[2J.ldif", GOOD), "clients/01/.033.2J.ldif is not named"),
    "a deep one": (_write("clients/01/x-01.ldif/x-01.ldif", GOOD), "clients/01/x-01.ldif is not a file"),
    "a symlink": (_link, "clients/01/lab3-01.ldif is not a file"),
    "a file for a folder": (_file_for_folder, "clients is not a directory"),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_is_told_with_its_place(place: Place, tmp_path: Path, name: str) -> None:
    act, words = NONSENSE[name]
    good = place.put(*machines(2))
    with clone(place, tmp_path / "clone") as root:
        act(root)
    for known in (True, False):
        if not known:
            (place.repository / "gitstate" / "clients").unlink(missing_ok=True)
        for attempt in (lambda: place.open().clients(), lambda: place.put(machine(7))):
            with pytest.raises(ConfigError, match=words) as caught:
                attempt()
            assert caught.value.code == 7
            assert caught.value.message.startswith("directory.git: ")
            assert caught.value.message.isprintable()
            assert "clone directory.git" in caught.value.hint
    subprocess.run(["git", f"--git-dir={place.repository}", "update-ref", "refs/heads/main", good], check=True)
    assert list(place.open().clients().values()) == machines(2)


def test_a_gitlink_is_told(place: Place) -> None:
    place.put(*machines(2))
    git = ["git", f"--git-dir={place.repository}", "-c", "user.name=E", "-c", "user.email=e@x"]
    environment = {**os.environ, "GIT_INDEX_FILE": str(place.site.path / "index")}
    info = f"160000,{place.open().revision()},clients/x"
    for words in (["read-tree", "main"], ["update-index", "--add", "--cacheinfo", info]):
        subprocess.run([*git, *words], check=True, env=environment)
    tree = subprocess.check_output([*git, "write-tree"], env=environment, text=True).strip()
    made = subprocess.check_output([*git, "commit-tree", "-m", "x", tree], text=True).strip()
    subprocess.run([*git, "update-ref", "refs/heads/main", made], check=True)
    with pytest.raises(ConfigError, match="clients/x is not one of its directories"):
        place.open().clients()


def test_missing_objects_are_damage(place: Place) -> None:
    place.put(machine(1))
    (place.repository / "gitstate" / "clients").unlink()
    for path in _loose(place):
        path.write_bytes(b"")
    with pytest.raises(DamagedError):
        place.open().clients()


def test_a_broken_ref_is_no_empty_directory(place: Place) -> None:
    place.put(machine(1))
    (place.repository / "refs" / "heads" / "main").write_text("nonsense\n")
    with pytest.raises(DamagedError):
        place.open().clients()
    with pytest.raises(GitstateError):
        place.put(machine(2))


def test_a_loose_object_that_a_crash_cut_short_is_written_again(place: Place) -> None:
    place.put(machine(1), machine(2))
    before = _loose(place)
    first = place.open().revision()
    place.put(replace(machine(1), kind=Kind.LIVE))
    for path in _loose(place) - before:
        path.chmod(0o600)
        path.write_bytes(b"")
    subprocess.run(["git", f"--git-dir={place.repository}", "update-ref", "refs/heads/main", first], check=True)
    place.put(replace(machine(1), kind=Kind.LIVE))
    assert place.open().client("lab3-01").kind is Kind.LIVE
    assert not complaints(place)


# --- the cache --------------------------------------------------------------------------------------------------------


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the clients whose files are parsed."""
    names: list[str] = []
    read = ldif_text.parse_client

    def counted(data: bytes, name: str, where: str) -> object:
        names.append(name)
        return read(data, name, where)

    monkeypatch.setattr(ldif_text, "parse_client", counted)
    return names


def test_only_what_changed_is_parsed(place: Place, tmp_path: Path, parsed: list[str]) -> None:
    place.put(*machines(300))
    assert len(place.open().clients()) == 300
    assert parsed == []
    with clone(place, tmp_path / "clone") as root:
        for path, client in ((path_of("lab3-07"), machine(7)), (path_of("x"), Client("x"))):
            (root / path).parent.mkdir(exist_ok=True)
            (root / path).write_bytes(format_client(replace(client, kind=Kind.LIVE)))
        (root / path_of("lab3-09")).unlink()
    assert place.open().client("lab3-07").kind is Kind.LIVE
    assert sorted(parsed) == ["lab3-07", "x"]
    assert len(place.open().clients()) == 300
    place.put(replace(machine(8), kind=Kind.LIVE))
    assert sorted(parsed) == ["lab3-07", "lab3-08", "x"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: data[:-3],
        lambda data: data.replace(b"lab3-01", b"lab3-91"),
        lambda data: b"gitstate clients 0" + data[18:],
        lambda data: os.urandom(300),
        lambda data: b"gitstate clients 1 " + b"0" * 40 + b" 00000000\n",
    ],
)
def test_a_spoilt_cache_is_not_believed(place: Place, spoil: Callable[[bytes], bytes]) -> None:
    place.put(*machines(5))
    cache = place.repository / "gitstate" / "clients"
    cache.write_bytes(spoil(cache.read_bytes()))
    assert list(place.open().clients().values()) == machines(5)
    assert list(place.open().clients().values()) == machines(5)


def test_the_cache_of_a_tree_that_is_gone(place: Place) -> None:
    """History rewritten and repacked: what the cache was made from can't be compared with any more."""
    place.put(*machines(5))
    place.put(*machines(9))
    git = ["git", f"--git-dir={place.repository}"]
    subprocess.run([*git, "update-ref", "refs/heads/main", "main~1"], check=True)
    subprocess.run([*git, "reflog", "expire", "--expire=now", "--all"], check=True)
    subprocess.run([*git, "gc", "-q", "--prune=now"], check=True)
    assert list(place.open().clients().values()) == machines(5)
    assert not complaints(place)


def test_without_a_place_for_the_cache(place: Place) -> None:
    place.put(*machines(5))
    cache = place.repository / "gitstate" / "clients"
    cache.unlink()
    cache.mkdir()
    assert list(place.open().clients().values()) == machines(5)
    place.put(machine(7))
    assert len(place.open().clients()) == 6


def test_ten_thousand(place: Place) -> None:
    """What it takes by the clock stands in docs/howto/clients.md."""
    many = [replace(machine(number), ips=()) for number in range(10_000)]

    def seconds(work: Callable[[], object]) -> float:
        start = computed()
        work()
        return computed() - start

    assert seconds(lambda: place.put(*many)) < 20
    assert min(seconds(lambda: place.open().clients()) for _ in range(3)) < 1.5
    place.put(replace(many[7], kind=Kind.LIVE))
    assert min(seconds(lambda: place.open().clients()) for _ in range(3)) < 1.5
    assert len(place.open().clients()) == 10_000
