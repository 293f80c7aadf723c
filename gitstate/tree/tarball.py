"""Unpack a tarball whole, or tell that it isn't."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from gitstate.core import process
from gitstate.core.errors import DamagedError
from gitstate.core.failures import ProgramDamagedError

_EXTRACT: Final = (
    *("tar", "--extract", "--numeric-owner", "--same-owner", "--same-permissions", "--delay-directory-restore"),
    *("--acls", "--xattrs", "--xattrs-include=security.capability", "--xattrs-include=user.*"),
    *("--ignore-zeros", "--block-number"),
)
"""tar itself counts an archive that stops between two members as whole, and blocks of zeros within one as its end. With
``--block-number`` it says where it met blocks of zeros and the end of the file, with ``--ignore-zeros`` all of them."""
_BLOCK: Final = 512
_is_mark: Final = re.compile(rb"block (\d+): \*\* (Block of NULs|End of File) \*\*\n").fullmatch


def unpack(source: Path, directory: Path) -> None:
    """Unpack a tarball, compressed or not, into ``directory``, with all metadata.

    Raises DamagedError if it is cut off or goes on behind its end; ``directory`` has a part of it then.
    """
    try:
        argv = [*_EXTRACT, "--file", str(source.absolute()), "--directory", str(directory)]
        with process.reading(argv, wrapper=process.ENDS_WITH_US) as marks:
            if fault := _fault(marks):
                hint = "fetch it again, or unpack by hand what can be used, and give that directory to --from"
                raise DamagedError(f"{source}: {fault}", hint)
    except ProgramDamagedError as error:
        hint = f"see what is in it: tar -tvf {shlex.quote(str(source))}"
        raise DamagedError(f"{source}: {error.message}", hint) from None


def _fault(marks: Iterable[bytes]) -> str:
    """What is wrong by the marks that tar met; "" if there is one run of blocks of zeros, and it is at the end."""
    zeros = 0
    for line in marks:
        mark = _is_mark(line)
        if mark is None:
            continue
        block, ends = int(mark[1]), mark[2] == b"End of File"
        if zeros and block != zeros + 1:
            return f"it goes on behind its end, {(zeros + 1) * _BLOCK} bytes from its start"
        if ends and not zeros:
            return f"it has no end, and was cut off after {block * _BLOCK} bytes"
        zeros = block
    return ""
