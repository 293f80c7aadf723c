"""What hypothesis draws of the format: names, metadata and entries, with a liking for the limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hypothesis import strategies as st

from gitstate.core.entry import ACL_ACCESS, ACL_DEFAULT, CAPABILITY, IN_GIT, Entry, Kind, Meta
from gitstate.tree.manifest import MAX_ID

SECOND: Final = 10**9
NOT_DIRECTORIES: Final = [kind for kind in Kind if kind is not Kind.DIRECTORY]

IDS: Final = st.one_of(st.sampled_from([0, 1, 1000, 65534, 2**31 - 1, 2**31, MAX_ID]), st.integers(0, MAX_ID))
TIMES: Final = st.one_of(
    st.sampled_from([0, -1, 1, SECOND - 1, -SECOND, -SECOND - 1, -SECOND // 2, 2**31 * SECOND, 2**34 * SECOND]),
    st.integers(-(2**34) * SECOND, 2**34 * SECOND),
)
NUMBERS: Final = st.one_of(st.sampled_from([0, 255, 256, 4095, 2**20 - 1, 2**32 - 1]), st.integers(0, 2**32 - 1))
ATTRIBUTES: Final = st.one_of(
    st.sampled_from([CAPABILITY, ACL_ACCESS, ACL_DEFAULT, b"security.selinux", b"user.a=b", b"user.a b\n/#"]),
    st.binary(min_size=1, max_size=20).map(lambda tail: b"user." + tail.replace(b"\0", b"\1")),
)
XATTRS: Final = st.dictionaries(
    ATTRIBUTES, st.binary(max_size=40).filter(lambda value: len(value) % 8 != 4), max_size=4
).map(lambda found: tuple(sorted(found.items())))
"""No value has an ACL's length: an ACL must agree with the mode to come back as it was."""
ACCOUNTS: Final = st.sampled_from([b"", b"", b"lp", b"systemd-network", b"a=b", b"M\xc3\xbcller", b"host$"])
"""Names of users and groups, mostly none."""
NAMES: Final = st.one_of(
    st.sampled_from([b"#", b"set", b"a b", b"a\nb", b"\\101", b"..\n", b"...", b"x=y", b"time=1.000000000"]),
    st.sampled_from([b".git", b"GIT~1", b".gitmodules", b"~1000000", b".git\xff", b".gitstate", b".gitstate-links"]),
    st.sampled_from([b".gitstate=", b".gitstate=.git", b".gitstate=%2E", b"%2F", b"\xff" * 255, b"a\\.git"]),
    st.binary(min_size=1, max_size=20),
).filter(lambda name: name not in (b".", b"..") and not set(name) & {0, ord("/")})


@st.composite
def metas(draw: st.DrawFn, kinds: Sequence[Kind]) -> Meta:
    """Any metadata of an entry of one of these kinds; only a directory may have no time."""
    kind = draw(st.sampled_from(kinds))
    device = draw(st.tuples(NUMBERS, NUMBERS)) if kind in (Kind.CHARACTER, Kind.BLOCK) else None
    time = draw(st.one_of(st.none(), TIMES) if kind is Kind.DIRECTORY else TIMES)
    ids = draw(IDS), draw(IDS)
    return Meta(kind, draw(st.integers(0, 0o7777)), *ids, time, device, draw(XATTRS), draw(ACCOUNTS), draw(ACCOUNTS))


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    """Any entry that is no directory."""
    meta = draw(metas(NOT_DIRECTORIES))
    oid = draw(st.binary(min_size=20, max_size=20)) if meta.kind in IN_GIT else b""
    return Entry(draw(NAMES), meta, oid)


OWNS: Final = metas([Kind.DIRECTORY])
"""A directory's own metadata."""

FILES: Final = st.lists(entries(), max_size=6, unique_by=lambda entry: entry.name).map(sorted)
"""What stands in a directory apart from directories, in order."""
