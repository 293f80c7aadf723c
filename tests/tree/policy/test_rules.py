"""The rules: what is never recorded, what a file allows and refuses, and the digest of both."""

from __future__ import annotations

import pytest

from gitstate.core.entry import Kind
from gitstate.core.errors import UsageError
from gitstate.tree.policy import POLICY_PATH, Policy, Refusal, Treatment, remedies, rules
from gitstate.tree.policy.known import SECRETS
from gitstate.tree.policy.rules import METADATA_ONLY_DIRECTORIES, SKIPPED_FILES
from tests.tree.policy.harness import DEFAULT, DIRECTORY, FILE, METADATA_ONLY, RECORD, SKIP, SYMLINK, policy, refused
from tests.tree.policy.made_keys import PEM

# --- never recorded -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "kind", "treatment"),
    [
        ("proc", DIRECTORY, METADATA_ONLY),
        ("proc", SYMLINK, RECORD),
        ("process", DIRECTORY, RECORD),
        ("srv/proc", DIRECTORY, RECORD),
        ("sys", DIRECTORY, METADATA_ONLY),
        ("run", DIRECTORY, METADATA_ONLY),
        ("var/run", DIRECTORY, RECORD),
        ("tmp", DIRECTORY, METADATA_ONLY),
        ("tmp", SYMLINK, RECORD),
        ("tmp", FILE, RECORD),
        ("tmp\n", DIRECTORY, RECORD),
        ("var/tmp", DIRECTORY, METADATA_ONLY),
        ("home/me/tmp", DIRECTORY, RECORD),
        ("dev", DIRECTORY, RECORD),
        ("dev/shm", DIRECTORY, METADATA_ONLY),
        ("dev/pts", DIRECTORY, METADATA_ONLY),
        ("dev/mqueue", DIRECTORY, METADATA_ONLY),
        ("dev/hugepages", DIRECTORY, METADATA_ONLY),
        ("dev/console", Kind.CHARACTER, RECORD),
        ("dev/sda", Kind.BLOCK, RECORD),
        ("dev/initctl", Kind.FIFO, RECORD),
        ("media", DIRECTORY, RECORD),
        ("mnt", DIRECTORY, RECORD),
        ("var/cache/apt", DIRECTORY, RECORD),
        ("var/cache/apt/archives", DIRECTORY, METADATA_ONLY),
        ("var/cache/apt/pkgcache.bin", FILE, SKIP),
        ("var/cache/apt/srcpkgcache.bin", FILE, SKIP),
        ("var/cache/apt/x.bin", DIRECTORY, RECORD),
        ("var/cache/apt/x/y.bin", FILE, RECORD),
        ("usr/lib/firmware/x.bin", FILE, RECORD),
        ("var/lib/apt/lists", DIRECTORY, METADATA_ONLY),
        ("var/lib/apt/extended_states", FILE, RECORD),
        ("var/cache/dnf", DIRECTORY, METADATA_ONLY),
        ("var/cache/libdnf5", DIRECTORY, METADATA_ONLY),
        ("var/cache/yum", DIRECTORY, METADATA_ONLY),
        ("var/cache/PackageKit", DIRECTORY, METADATA_ONLY),
        ("var/cache/zypp", DIRECTORY, METADATA_ONLY),
        ("var/cache/pacman/pkg", DIRECTORY, METADATA_ONLY),
        ("var/lib/pacman/sync", DIRECTORY, METADATA_ONLY),
        ("var/lib/pacman/local", DIRECTORY, RECORD),
        ("var/cache/apk", DIRECTORY, METADATA_ONLY),
        ("var/cache/man", DIRECTORY, RECORD),
        ("var/lib/dpkg/status-old", FILE, SKIP),
        ("var/lib/dpkg/status", FILE, RECORD),
        ("var/cache/ldconfig/aux-cache", FILE, SKIP),
        ("var/lib/docker", DIRECTORY, METADATA_ONLY),
        ("var/lib/dockershim", DIRECTORY, RECORD),
        ("var/lib/containers", DIRECTORY, METADATA_ONLY),
        ("var/x.pid", FILE, SKIP),
        ("var/lib/postgresql/15/main/postmaster.pid", FILE, SKIP),
        ("var/lib/x.pid", DIRECTORY, RECORD),
        ("var/lib/x.pid", SYMLINK, RECORD),
        ("var/lib/x.pids", FILE, RECORD),
        ("usr/share/doc/x.pid", FILE, RECORD),
        ("etc/passwd", FILE, RECORD),
    ],
)
def test_default_treatment(path: str, kind: Kind, treatment: Treatment) -> None:
    assert DEFAULT.treatment(path.encode(), kind) is treatment


def test_a_file_changes_the_treatment() -> None:
    changed = policy("""
        record.skip = ["var/log/**/*.gz", "home/*/.cache", "opt/both"]
        record.metadata_only = ["scratch", "opt/both"]
        record.keep = ["var/lib/docker", "home/root/.cache", "var/lib/dpkg/status-old", "var/log/keep.gz"]
        """)
    expected = {
        ("var/log/a.gz", FILE): SKIP,
        ("var/log/a/b/c.gz", FILE): SKIP,
        ("var/log/c.gz", SYMLINK): SKIP,
        ("var/log/keep.gz", FILE): RECORD,
        ("var/log/a", FILE): RECORD,
        ("home/me/.cache", DIRECTORY): SKIP,
        ("home/root/.cache", DIRECTORY): RECORD,
        ("home/.cache", DIRECTORY): RECORD,
        ("scratch", DIRECTORY): METADATA_ONLY,
        ("scratch", FILE): RECORD,
        ("opt/both", DIRECTORY): SKIP,
        ("var/lib/docker", DIRECTORY): RECORD,
        ("var/lib/containers", DIRECTORY): METADATA_ONLY,
        ("var/lib/dpkg/status-old", FILE): RECORD,
        ("var/x.pid", FILE): SKIP,
    }
    assert {key: changed.treatment(key[0].encode(), key[1]) for key in expected} == expected


# --- what the file allows and refuses -------------------------------------------------------------------------------


def test_allow_in_the_file() -> None:
    allowing = policy("""
        allow = [{path = "etc/ssl/*.key", because = "a test"}, {path = "opt/lic/free", because = "it is free"}]
        refuse.paths = ["opt/lic/*", "usr/share/secret"]
        """)
    assert refused("etc/ssl/a.key", PEM, allowing) == ""
    assert not allowing.inspects(b"etc/ssl/a.key", 1)
    assert refused("etc/ssl/private/a.key", PEM, allowing) == "private-key"
    assert refused("opt/lic/a", b"x", allowing) == "policy"
    assert refused("opt/lic/a", b"", allowing) == ""
    assert refused("opt/lic/free", b"x", allowing) == ""
    assert refused("usr/share/secret", b"x", allowing) == "policy"
    assert allowing.inspects(b"usr/share/secret", 1 << 40)
    assert refused("usr/share/other", PEM, allowing) == ""


def test_allow_on_the_command_line() -> None:
    once = DEFAULT.allowing([(b"/etc/ssh/ssh_host_*_key", "a test"), (rb"root/a\052b", "a test")])
    assert once.digest == DEFAULT.digest
    assert refused("etc/ssh/ssh_host_rsa_key", b"x", once) == ""
    assert refused("root/a*b", PEM, once) == ""
    assert refused("root/aXb", PEM, once) == "private-key"
    assert once.allowing([]).selinux is once.selinux
    assert refused("etc/ssh/ssh_host_rsa_key", b"x") == "host-key"
    assert refused("root/a*b", PEM, once.allowing([(b"root/other", "a test")])) == ""


def test_allowing_keeps_the_rules_of_the_file() -> None:
    once = policy('selinux = true\nrecord.skip = ["a"]\nallow = [{path = "b", because = "x"}]').allowing([(b"c", "x")])
    assert once.selinux
    assert once.treatment(b"a", FILE) is SKIP
    assert [refused(path, PEM, once) for path in "bcd"] == ["", "", "private-key"]


@pytest.mark.parametrize(
    ("path", "because"), [(b"a", ""), (b"a", " "), (b"a**", "x"), (b"a\\b", "x"), (b"../a", "x"), (b"", "x")]
)
def test_an_impossible_allowance_is_a_usage_error(path: bytes, because: str) -> None:
    with pytest.raises(UsageError):
        DEFAULT.allowing([(path, because)])


def test_recording_everything() -> None:
    everything = policy('selinux = true\nrecord.skip = ["a"]\nrefuse.paths = ["b"]').recording_everything()
    assert everything.selinux
    for path in (b"a", b"proc", b"var/x.pid", b"var/lib/dpkg/status-old"):
        assert {everything.treatment(path, kind) for kind in Kind} == {RECORD}
    assert not any(everything.inspects(path, 9) for path in (b"b", b"etc/shadow", b"root/x", b"etc/a\nb"))


# --- the digest -----------------------------------------------------------------------------------------------------

DIGESTS = [
    "",
    "selinux = true",
    'record.skip = ["a"]',
    'record.skip = ["a", "b"]',
    'record.skip = ["ab"]',
    'record.metadata_only = ["a"]',
    'record.keep = ["a"]',
    'refuse.paths = ["a"]',
    'allow = [{path = "a", because = "x"}]',
]


def test_the_digest_tells_rules_apart() -> None:
    digests = [policy(text).digest for text in DIGESTS]
    assert len(set(digests)) == len(DIGESTS)
    assert all(len(digest) == 20 for digest in digests)


def test_the_digest_is_of_the_rules_not_of_the_text() -> None:
    assert policy("").digest == DEFAULT.digest == policy("# nothing\nselinux = false").digest
    assert policy('record.skip = ["a", "b"]').digest == policy('record = {skip = ["b", "a", "b"]}').digest
    assert policy('record.metadata_only = ["proc"]').digest == DEFAULT.digest
    one, two = (f'allow = [{{path = "a", because = "{why}"}}]' for why in "xy")
    assert policy(one).digest == policy(two).digest


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("_RULES_VERSION", rules._RULES_VERSION + 1),
        ("METADATA_ONLY_DIRECTORIES", METADATA_ONLY_DIRECTORIES[1:]),
        ("SKIPPED_FILES", SKIPPED_FILES[1:]),
        ("SECRETS", SECRETS[1:]),
    ],
)
def test_the_digest_changes_with_the_defaults(name: str, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, name, value)
    assert Policy(rules.Rules()).digest != DEFAULT.digest


def test_the_path_of_the_policy_file_is_recorded() -> None:
    assert POLICY_PATH == b"etc/gitstate/policy.toml"
    assert DEFAULT.treatment(POLICY_PATH, FILE) is RECORD


def test_each_refusal_has_its_own_remedy() -> None:
    one = Refusal(b"etc/machine-id", "machine-id", "the identity of one machine", "empty it")
    other = Refusal(b"etc/key", "private-key", "a private key", "move it out")
    assert remedies([one]) == "empty it"
    assert remedies([one, other]).splitlines() == ["/etc/machine-id: empty it", "/etc/key: move it out"]
    assert remedies([other] * 7).splitlines()[4:] == ["/etc/key: move it out", "and 2 more"]
