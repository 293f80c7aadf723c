"""The file that changes the policy, its schema, and its manual."""

from __future__ import annotations

import json
import re
import time
import tomllib
from functools import cache

import jsonschema
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gitstate.core import documents
from gitstate.core.errors import ConfigError
from gitstate.tree.policy import Policy, parse
from gitstate.tree.policy.declaration import PolicyFile
from gitstate.tree.policy.globs import translate
from gitstate.tree.policy.known import SECRETS
from gitstate.tree.policy.rules import METADATA_ONLY_DIRECTORIES, SKIPPED_FILES
from tests.support import PROJECT
from tests.tree.policy.harness import FILE, policy

GOOD = [
    "version = 1",
    "version = 1\nselinux = true",
    "version = 1\n[record]\n[refuse]",
    'version = 1\n[record]\nskip = ["a"]\nmetadata_only = ["b/*"]\nkeep = ["c/**", "**/d"]',
    'version = 1\n[refuse]\npaths = ["a b/é", \'caf\\351\', "[x]"]',
    'version = 1\n[[allow]]\npath = "etc/*.key"\nbecause = "it is public"',
    "version = 1\nallow = []",
    'version = 1\n[[allow]]\npath = "a"\nbecause = "ä"\n[[allow]]\npath = "a"\nbecause = " again "',
    f'version = 1\nrecord.skip = ["{"x" * 1024}"]',
    f"version = 1\nrecord.skip = {['a'] * 256}",
    "version = 1\nrecord.skip = ['\\001\\377', '...', '.a', 'a.', '..a/b..', '* ?*']",
]

BAD = [
    ("", "version"),
    ("version = 2", "version 2"),
    ("version = 0", "version is 0, not 1"),
    ("version = true", "version is True, not 1"),
    ('version = "1"', "version is '1', not 1"),
    ("version = [1]", "version"),
    ("version = 1\nselinux = 1", "selinux is 1,"),
    ('version = 1\nselinux = "true"', "selinux is 'true',"),
    ("version = 1\nskip = []", "skip"),
    ("version = 1\nrecord.skipp = []", "record.skipp"),
    ("version = 1\nrefuse.skip = []", "refuse.skip"),
    ("version = 1\n'a\\b' = 1", "a\\\\b"),
    ("version = 1\nrecord = 1", "record is 1,"),
    ("version = 1\nrecord = []", "record"),
    ("version = 1\nrefuse = ['a']", "refuse"),
    ("version = 1\nrecord.skip = 'a'", "record.skip is 'a',"),
    ("version = 1\nrecord.metadata_only = {}", "record.metadata_only"),
    ("version = 1\nrecord.keep = [1]", "record.keep[0] is 1,"),
    ("version = 1\nrefuse.paths = ['a', ['b']]", "refuse.paths[1]"),
    ("version = 1\nrecord.skip = ['a', '']", "record.skip[1] ''"),
    ("version = 1\nrecord.skip = ['/a']", "record.skip[0] '/a'"),
    ("version = 1\nrecord.skip = ['a/']", "record.skip[0] 'a/'"),
    ("version = 1\nrecord.skip = ['a//b']", "record.skip[0] 'a//b'"),
    ("version = 1\nrecord.skip = ['./a']", "record.skip[0] './a'"),
    ("version = 1\nrecord.skip = ['a/../b']", "record.skip[0] 'a/../b'"),
    ("version = 1\nrecord.skip = ['a/..']", "record.skip[0] 'a/..'"),
    ("version = 1\nrecord.skip = ['a**']", "record.skip[0] 'a**'"),
    ("version = 1\nrecord.skip = ['a/**b']", "record.skip[0] 'a/**b'"),
    ("version = 1\nrecord.skip = ['***']", "record.skip[0] '***'"),
    ("version = 1\nrecord.skip = ['a\\b']", "record.skip[0] 'a\\\\b'"),
    ("version = 1\nrecord.skip = ['a\\47']", "record.skip[0] 'a\\\\47'"),
    ("version = 1\nrecord.skip = ['a\\477']", "record.skip[0] 'a\\\\477'"),
    ("version = 1\nrecord.skip = ['a\\']", "record.skip[0] 'a\\\\'"),
    ("version = 1\nrecord.skip = ['a\\057b']", "record.skip[0] 'a\\\\057b'"),
    ("version = 1\nrecord.skip = ['a\\000']", "record.skip[0] 'a\\\\000'"),
    ('version = 1\nrecord.skip = ["a\\u0000"]', "record.skip[0] 'a\\x00'"),
    (f'version = 1\nrecord.skip = ["{"x" * 1025}"]', f"record.skip[0] is '{'x' * 56}..."),
    (f"version = 1\nrecord.skip = {['a'] * 257}", "record.skip is a list of 257,"),
    ("version = 1\nallow = 1", "allow is 1,"),
    ("version = 1\nallow = ['a']", "allow[0] is 'a',"),
    ("version = 1\n[allow]\npath = 'a'\nbecause = 'b'", "allow"),
    ("version = 1\n[[allow]]", "allow[0].path"),
    ("version = 1\n[[allow]]\npath = 'a'", "allow[0].because"),
    ("version = 1\n[[allow]]\nbecause = 'a'", "allow[0].path"),
    ("version = 1\n[[allow]]\npath = 'a'\nbecause = ''", "allow[0].because is '',"),
    ("version = 1\n[[allow]]\npath = 'a'\nbecause = '  '", "allow[0].because is '  ',"),
    ('version = 1\n[[allow]]\npath = "a"\nbecause = "a\\nb"', "allow[0].because is 'a\\nb',"),
    ("version = 1\n[[allow]]\npath = 'a'\nbecause = 1", "allow[0].because is 1,"),
    ("version = 1\n[[allow]]\npath = '/a'\nbecause = 'x'", "allow[0].path '/a'"),
    ("version = 1\n[[allow]]\npath = 'a'\nbecause = 'x'\nuntil = 2030", "allow[0].until"),
    ("version = 1\nallow = [" + "{path = 'a', because = 'x'}, " * 257 + "]", "allow is a list of 257,"),
]

BAD_FOR_PARSE_ONLY = [
    (b"version = 1\nrecord\n", "line 2"),
    (b"version = 1\nversion = 1\n", "line 2"),
    (b"version = 1\n# \xff", "line 2"),
    (b"\xef\xbb\xbfversion = 1", "line 1"),
    (b"version = 1\n" + b"#" * 40_000, "32 KiB"),
    (b"x = " + b"[" * 30_000, "policy.toml"),
    (b"version = " + b"9" * 5_000, "policy.toml"),
    (b"version = 1\na" + b".a" * 1001 + b" = 1", "line 2"),
    (b"version = 1\nrecord.skip = ['**']", "line 2: record leaves out etc"),
    (b"version = 1\nrecord.skip = ['etc/gitstate']", "line 2: record leaves out etc/gitstate"),
    (b"version = 1\n[record]\nmetadata_only = ['e*']", "line 2: record leaves out etc"),
    (b"version = 1\nrecord.skip = ['**/*.toml']", "etc/gitstate/policy.toml"),
    (b"version = 1\nrecord.keep = ['tmp/x']", "line 2: record.keep[0] lies in tmp"),
    (b"version = 1\nrecord.keep = ['a', 'var/lib/docker/**/x']", "record.keep[1] lies in var/lib/docker"),
    (b"version = 1\nrecord = {skip = ['a*'], keep = ['ab/c/d']}", "record.keep[0] lies in ab"),
]


@cache
def schema() -> jsonschema.Draft202012Validator:
    text = (PROJECT / "schemas" / "policy.schema.json").read_text("utf-8")
    jsonschema.Draft202012Validator.check_schema(json.loads(text))
    return jsonschema.Draft202012Validator(json.loads(text))


@pytest.mark.parametrize("text", GOOD)
def test_good_files(text: str) -> None:
    assert isinstance(parse(text.encode(), "policy.toml"), Policy)
    assert schema().is_valid(tomllib.loads(text))


@pytest.mark.parametrize(("text", "words"), BAD)
def test_bad_files(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text.encode(), "/live/policy.toml")
    fault = caught.value
    assert re.match(rf"/live/policy\.toml(, line [1-9]\d*)?: {re.escape(words)}(?![\w.])", fault.message), fault.message
    assert fault.hint
    assert str(fault).isprintable()
    assert not schema().is_valid(tomllib.loads(text))


@pytest.mark.parametrize(("text", "what"), BAD_FOR_PARSE_ONLY)
def test_what_a_schema_can_not_see(text: bytes, what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "policy.toml")
    assert what in caught.value.message
    assert caught.value.hint
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


@given(st.text(alphabet=st.sampled_from("ab./*?\\01237\n\0é "), max_size=12))
@example("a/\n")
@example("**/**")
@example(".\n")
def test_schema_and_parser_agree_on_patterns(text: str) -> None:
    try:
        translate(text.encode())
        is_good = True
    except ValueError:
        is_good = False
    assert schema().is_valid({"version": 1, "refuse": {"paths": [text]}}) == is_good


@given(st.text(alphabet=st.sampled_from("a \n\t\x7f\x1fé"), max_size=5))
def test_schema_and_parser_agree_on_reasons(text: str) -> None:
    try:
        policy(f'allow = [{{path = "a", because = {json.dumps(text)}}}]'.replace("\x7f", "\\u007f"))
        is_good = True
    except ConfigError:
        is_good = False
    assert schema().is_valid({"version": 1, "allow": [{"path": "a", "because": text}]}) == is_good


ODD = st.one_of(
    st.booleans(), st.integers(-1, 3), st.sampled_from(["", "a", "**"]), st.lists(st.integers(), max_size=1)
)
TEXTS = st.one_of(st.sampled_from(["a", "a/*", "**/b", "/a", "", "because"]), ODD)


def tables(*keys: str, values: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    """Tables with some of ``keys``, now and then with a wrong one, or no table at all."""
    known = st.fixed_dictionaries({}, optional={key: st.one_of(values, ODD) for key in keys})
    return st.one_of(known, known, known.map(lambda table: {**table, "other": 1}), ODD)


LISTS = st.lists(TEXTS, max_size=3)
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "version": st.one_of(st.just(1), st.just(1), st.just(1), ODD),
        "selinux": st.one_of(st.booleans(), ODD),
        "record": tables("skip", "metadata_only", "keep", values=LISTS),
        "refuse": tables("paths", values=LISTS),
        "allow": st.one_of(st.lists(tables("path", "because", values=TEXTS), max_size=2), ODD),
        "other": ODD,
    },
)


@given(DOCUMENTS)
def test_schema_and_parser_agree_on_documents(value: dict[str, object]) -> None:
    try:
        documents.parse(PolicyFile, documents.Source("policy.toml", value)).rules()
        is_good = True
    except ConfigError:
        is_good = False
    assert schema().is_valid(value) == is_good


@given(st.one_of(st.binary(), st.text(alphabet="version = 1\n[]{}\"'.#\\r").map(str.encode)))
def test_any_bytes_are_a_policy_or_a_fault(text: bytes) -> None:
    try:
        parse(text, "policy.toml")
    except ConfigError as fault:
        told = str(fault)
    else:
        told = ""
    assert told.isprintable()


@pytest.mark.parametrize(
    "text",
    [
        b"version = 1\n" + b"".join(b"a%d" % number + b".a" * 999 + b" = 1\n" for number in range(16)),
        b"version = 1\na = " + b"{a=" * 10_000,
        b"version = 1\nrecord.skip = " + repr(["*a" * 60 + "b"] * 250).encode(),
        b"version = 1\nrecord.skip = " + repr([f"**/?{number}*x" for number in range(256)]).encode(),
        b"version = 1\nrecord.keep = " + repr(["a/" * 60 + "b"] * 250).encode(),
    ],
)
def test_no_file_takes_long(text: bytes) -> None:
    assert len(text) <= 32 << 10
    start = time.process_time()
    try:
        hostile = parse(text, "policy.toml")
        for _ in range(100):
            hostile.treatment(b"usr/share/" + b"a" * 200, FILE)
    except ConfigError:
        pass
    assert time.process_time() - start < 3


# --- the manual -----------------------------------------------------------------------------------------------------


def test_the_manual_names_every_default_and_every_rule() -> None:
    manual = (PROJECT / "docs" / "policy.md").read_text("utf-8")
    words = set(re.findall(r"`([^`\n]+)`", manual))
    missing = {pattern.decode() for pattern in (*METADATA_ONLY_DIRECTORIES, *SKIPPED_FILES)} - words
    assert not missing
    assert {secret.rule for secret in SECRETS} | {"private-key", "policy"} <= words


def test_the_examples_of_the_manual_are_policies() -> None:
    manual = (PROJECT / "docs" / "policy.md").read_text("utf-8")
    examples = [
        re.sub(r"^  ", "", text, flags=re.MULTILINE) for text in re.findall(r"```toml\n(.*?)```", manual, re.DOTALL)
    ]
    assert len(examples) == 3
    for text in examples:
        parse(text.encode(), "docs/policy.md")
        assert schema().is_valid(tomllib.loads(text))
