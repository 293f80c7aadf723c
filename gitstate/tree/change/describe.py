"""Describe changes: mode, owner, capabilities as getcap prints them, ACLs as getfacl does; and changes as JSON.

deepdiff is not used: a record has nine known fields, and most differences must be decoded to be read.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from gitstate.core.entry import ACL_ACCESS, ACL_DEFAULT, CAPABILITY, Kind, Meta, Xattrs
from gitstate.core.names import display, octal, visible
from gitstate.tree.change.walk import Added, Change, LinksChanged, Modified, Removed
from gitstate.tree.manifest import format_time


def details(change: Change, *, times: bool = False) -> list[str]:
    """A change in words: those of ``metadata``, then ``content`` if a file's bytes or a link's target changed."""
    words = metadata(change, times=times)
    return [*words, "content"] if isinstance(change, Modified) and change.content else words


def metadata(change: Change, *, times: bool = False) -> list[str]:
    """A change of metadata in words; of an added or removed entry, what plain git doesn't show."""
    if not isinstance(change, Modified):
        return _notable(change.meta, times=times)
    old, new = change.old, change.new
    words = []
    if old.kind is not new.kind:
        words.append(f"type {_type(old)} -> {_type(new)}")
    elif old.device != new.device:
        words.append(f"device {_device(old)} -> {_device(new)}")
    if old.mode != new.mode and Kind.SYMLINK not in (old.kind, new.kind):
        words.append(f"mode {old.mode:04o} -> {new.mode:04o}")
    if _owner(old) != _owner(new):
        words.append(f"owner {_owner(old)} -> {_owner(new)}")
    words += _xattr_words(dict(old.xattrs), dict(new.xattrs))
    if times and old.time != new.time:
        words.append(f"time {_when(old.time)} -> {_when(new.time)}")
    return words


def _notable(meta: Meta, *, times: bool) -> list[str]:
    """The metadata of an entry that git wouldn't restore; nothing for an ordinary file or symlink."""
    words = []
    if meta.kind is Kind.FILE:
        if meta.mode not in (0o644, 0o755):
            words.append(f"mode {meta.mode:04o}")
    elif meta.kind is not Kind.SYMLINK:
        words.append(f"{_type(meta)} mode {meta.mode:04o}")
    if _owner(meta) != "0:0":
        words.append(f"owner {_owner(meta)}")
    words += _xattr_words({}, dict(meta.xattrs))
    return [*words, f"time {_when(meta.time)}"] if times else words


def _owner(meta: Meta) -> str:
    user, group = (
        display(name, word=True) or str(number) for name, number in ((meta.uname, meta.uid), (meta.gname, meta.gid))
    )
    return f"{user}:{group}"


def _type(meta: Meta) -> str:
    return meta.kind.value if meta.device is None else f"{meta.kind.value} {_device(meta)}"


def _device(meta: Meta) -> str:
    return "{}:{}".format(*meta.device) if meta.device else "none"


def _when(time: int | None) -> str:
    if time is None:
        return "none"
    try:
        moment = datetime.fromtimestamp(time // 10**9, UTC)
    except (OverflowError, ValueError, OSError):  # beyond the year 9999
        return format_time(time)
    return f"{moment.replace(tzinfo=None).isoformat(' ')}.{time % 10**9:09d}"


def _xattr_words(old: Mapping[bytes, bytes], new: Mapping[bytes, bytes]) -> list[str]:
    words = []
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if before != after:
            words += _decoded(name, before, after) or [_raw(name, before, after)]
    return words


def _decoded(name: bytes, old: bytes | None, new: bytes | None) -> list[str]:
    """A change of capabilities or ACLs, decoded; empty if a value can't be decoded, or nothing else changed."""
    try:
        if name == CAPABILITY:
            return _capability_words(_capabilities(old), _capabilities(new))
        if name in (ACL_ACCESS, ACL_DEFAULT):
            return _acl_words(_acl(old, name), _acl(new, name))
    except (ValueError, struct.error):
        pass
    return []


_SHOWN: Final = 60


def _raw(name: bytes, old: bytes | None, new: bytes | None) -> str:
    shown, format_value = display(name, word=True), _hex if name in (CAPABILITY, ACL_ACCESS, ACL_DEFAULT) else _text
    if old is None or new is None:
        return f"+{shown} {format_value(new or b'')}" if old is None else f"-{shown}"
    return f"{shown} {format_value(old)} -> {format_value(new)}"


def _hex(value: bytes) -> str:
    return _shortened(f"0x{value.hex()}")


def _text(value: bytes) -> str:
    """Printable text in quotes, anything else in base64 as getfattr writes it."""
    text = value.removesuffix(b"\0").decode("utf-8", "replace")
    if visible(text) != text or "\ufffd" in text:
        return _shortened(f"0s{base64.b64encode(value).decode()}")
    return '"{}"'.format(_shortened(text).replace("\\", "\\\\").replace('"', '\\"'))


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


# --- capabilities, in getcap's words (capabilities(7), linux/capability.h) ----------------------------------

_BY_NUMBER: Final = """
chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable net_bind_service
net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct
sys_admin sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write audit_control
setfcap mac_override mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore
"""
_CAPABILITY_NAMES: Final = _BY_NUMBER.split()
_FLAG_ORDER: Final = ("eip", "ei", "ep", "ip", "i", "p")


class _Capabilities(NamedTuple):
    """``flags`` (of e, i, p) by capability number; the user id that is root in the namespace they are for."""

    flags: Mapping[int, str]
    rootid: int


def _capabilities(value: bytes | None) -> _Capabilities | None:
    """A ``security.capability``, versions 1 to 3. Raises ValueError, struct.error."""
    if value is None:
        return None
    (magic,) = struct.unpack_from("<I", value)
    words = {(1, 12): 1, (2, 20): 2, (3, 24): 2}.get((magic >> 24, len(value)))
    if words is None or magic & 0xFFFFFE:
        raise ValueError("no known version")
    permitted = inheritable = 0
    for word in range(words):
        low, high = struct.unpack_from("<II", value, 4 + 8 * word)
        permitted, inheritable = permitted | low << 32 * word, inheritable | high << 32 * word
    effective = "e" if magic & 1 else ""
    flags = {
        bit: effective + ("i" if inheritable >> bit & 1 else "") + ("p" if permitted >> bit & 1 else "")
        for bit in range(64)
        if (permitted | inheritable) >> bit & 1
    }
    return _Capabilities(flags, struct.unpack_from("<I", value, 20)[0] if magic >> 24 == 3 else 0)


def _capability_words(old: _Capabilities | None, new: _Capabilities | None) -> list[str]:
    if old is None or new is None:
        return [f"+{_capability_text(new)}"] if new else [f"-{_capability_list(old)}"] if old else []
    added = {bit: flags for bit, flags in new.flags.items() if bit not in old.flags}
    removed = {bit: flags for bit, flags in old.flags.items() if bit not in new.flags}
    words = [f"+{_grouped(added)}"] if added else []
    words += [f"-{_listed(removed)}"] if removed else []
    for bit in old.flags.keys() & new.flags.keys():
        if old.flags[bit] != new.flags[bit]:
            words.append(f"{_listed([bit])}={old.flags[bit]} -> {_listed([bit])}={new.flags[bit]}")
    if old.rootid != new.rootid:
        words.append(f"capability rootid {old.rootid} -> {new.rootid}")
    return words


def _capability_text(found: _Capabilities) -> str:
    """A whole value, as ``getcap -n`` prints it."""
    return _grouped(found.flags) + (f" [rootid={found.rootid}]" if found.rootid else "")


def _capability_list(found: _Capabilities) -> str:
    return "capabilities" if len(found.flags) in (0, len(_CAPABILITY_NAMES)) else _listed(found.flags)


def _grouped(flags: Mapping[int, str]) -> str:
    """Such as ``cap_net_admin,cap_net_raw=ep cap_chown+i``; ``=ep`` for all capabilities, ``=`` for none."""
    kinds = set(flags.values())
    if not flags or (len(kinds) == 1 and flags.keys() == set(range(len(_CAPABILITY_NAMES)))):
        return "=" + "".join(kinds)
    groups = [(_listed(bit for bit in flags if flags[bit] == kind), kind) for kind in _FLAG_ORDER if kind in kinds]
    return " ".join(names + ("+" if place else "=") + kind for place, (names, kind) in enumerate(groups))


def _listed(bits: Iterable[int]) -> str:
    known = len(_CAPABILITY_NAMES)
    return ",".join(f"cap_{_CAPABILITY_NAMES[bit]}" if bit < known else str(bit) for bit in sorted(bits))


# --- ACLs, in getfacl's words (acl(5), linux/posix_acl_xattr.h) ---------------------------------------------

_ACL_TAGS: Final = {1: "user:", 2: "user:{}", 4: "group:", 8: "group:{}", 16: "mask:", 32: "other:"}
_PERMISSIONS: Final = ("---", "--x", "-w-", "-wx", "r--", "r-x", "rw-", "rwx")
_IN_MODE: Final = ("user:", "other:")


def _acl(value: bytes | None, name: bytes) -> dict[str, str]:
    """Permissions by user or group, without those in the mode. Raises ValueError, struct.error."""
    if value is None:
        return {}
    if struct.unpack_from("<I", value) != (2,) or len(value) % 8 != 4:
        raise ValueError("no known version")
    found = {}
    for tag, permissions, number in struct.iter_unpack("<HHI", value[4:]):
        if tag not in _ACL_TAGS or permissions > 7:
            raise ValueError("no known entry")
        who = _ACL_TAGS[tag].format(number)
        if name == ACL_DEFAULT or who not in _IN_MODE:
            found[f"default:{who}" if name == ACL_DEFAULT else who] = _PERMISSIONS[permissions]
    return found


def _acl_words(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    words = [f"-acl {who}:{old[who]}" for who in old if who not in new]
    words += [f"acl {who}:{old[who]} -> {new[who]}" for who in old if who in new and old[who] != new[who]]
    return words + [f"+acl {who}:{new[who]}" for who in new if who not in old]


# --- JSON ---------------------------------------------------------------------------------------------------


def as_json(change: Change | LinksChanged) -> dict[str, Any]:
    """A change for ``--json``: names octal as in records, the root ``.``; see schemas/."""
    if isinstance(change, LinksChanged):
        parts = [[octal(path) for path in part] for part in change.parts]
        return {"links": "joined" if change.joined else "split", "parts": parts}
    old = change.old if isinstance(change, Modified) else change.meta if isinstance(change, Removed) else None
    new = change.new if isinstance(change, Modified) else change.meta if isinstance(change, Added) else None
    return {
        "status": change.letter,
        "path": octal(change.path) or ".",
        "old": old and meta_json(old),
        "new": new and meta_json(new),
        "content": not isinstance(change, Modified) or change.content,
        "details": details(change, times=True),
    }


def meta_json(meta: Meta) -> dict[str, Any]:
    """An entry's metadata for ``--json``."""
    names = {"uname": octal(meta.uname), "gname": octal(meta.gname)}
    return {name: value for name, value in names.items() if value} | {
        "type": meta.kind.value,
        "mode": f"{meta.mode:04o}",
        "uid": meta.uid,
        "gid": meta.gid,
        "time": None if meta.time is None else format_time(meta.time),
        "device": None if meta.device is None else list(meta.device),
        "xattrs": _xattrs_json(meta.xattrs),
    }


def _xattrs_json(xattrs: Xattrs) -> dict[str, str]:
    return {octal(name): base64.b64encode(value).decode("ascii") for name, value in xattrs}
