"""The environment of this process, and what of it other programs get: a list, in the C locale.

Variables change what programs do (TAR_OPTIONS, POSIXLY_CORRECT, GIT_INDEX_FILE), and the language of what they say,
which we read. docs/decisions/0012-one-door-to-git.md has the reasons.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final

_passed: Final = re.compile(
    "PATH|HOME|USER|LOGNAME|SHELL|TERM|COLUMNS|LINES|TMPDIR|TZ|TZDIR"
    "|XDG_CONFIG_HOME|XDG_RUNTIME_DIR|CREDENTIALS_DIRECTORY"
    # whoever signs is asked for a passphrase
    "|DISPLAY|WAYLAND_DISPLAY|XAUTHORITY|DBUS_SESSION_BUS_ADDRESS|GNUPGHOME|GPG_TTY|SSH_(ASKPASS|AUTH|AGENT).*"
    # the network: mirrors of mmdebstrap, directories of git's hooks, which call gitstate
    "|(https?|ftp|all|no)_proxy|(HTTPS?|FTP|ALL|NO)_PROXY|SSL_CERT_(FILE|DIR)|LDAP.*|KRB5.*|APT_CONFIG"
    "|SOURCE_DATE_EPOCH"
    # we were loaded with them, too: programs that we run have to see the same files and owners (fakeroot)
    "|LD_PRELOAD|LD_LIBRARY_PATH|FAKEROOTKEY|FAKED_MODE|PYTHONPATH|PYTHONHOME"
).fullmatch
_upsets_installer: Final = re.compile(
    "TAR_OPTIONS|POSIXLY_CORRECT|(GZIP|XZ|ZSTD)_?[A-Z]*|GREP_OPTIONS|(BASH_)?ENV|CDPATH|LANG|LANGUAGE|LC_.*|GIT_.*"
).fullmatch
"""mmdebstrap gets all but these: apt, dpkg and packages' scripts have variables of their own, as debconf's answers."""
_is_configuration: Final = re.compile(
    "GIT_CONFIG_(GLOBAL|SYSTEM|NOSYSTEM|PARAMETERS|COUNT|KEY_[0-9]+|VALUE_[0-9]+)"
).fullmatch

_NOT_THERE: Final = "/proc/no-configuration"
"""An absent file is an empty one to git. Nobody can make it, as ``git config --global`` in a hook would elsewhere."""
_FOR_GIT: Final = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": _NOT_THERE,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_DEFAULT_HASH": "sha1",
    "GIT_DEFAULT_REF_FORMAT": "files",
}


def own() -> Mapping[str, str]:
    """The environment that we were started with."""
    return os.environ


def of_program(
    program: str | bytes, added: Mapping[str, str] | None = None, *, personal: bool = False
) -> dict[str, str]:
    """The environment for ``program``, with the variables ``added``.

    git reads no configuration but the repository's own; that of whoever started us, too, if ``personal``.
    """
    found = {name: value for name, value in os.environ.items() if _is_for(program, name)} | {"LC_ALL": "C"}
    if personal:
        # Letters that aren't ASCII count for what a person reads and searches for.
        found |= {name: value for name, value in os.environ.items() if _is_configuration(name)} | {"LC_ALL": "C.UTF-8"}
    elif program == "git":
        found |= _FOR_GIT
    return found | dict(added or {})


def _is_for(program: str | bytes, name: str) -> bool:
    return not _upsets_installer(name) if program == "mmdebstrap" else _passed(name) is not None
