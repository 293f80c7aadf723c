"""``schemas/gitstate.ldif``, the form that a server with cn=config loads, made of ``schemas/gitstate.schema``.

``python -m tests.directory.olc`` writes it.
"""

from __future__ import annotations

import textwrap
from typing import Final

from gitstate.directory.model.schema import definitions
from tests.support import PROJECT

SOURCE: Final = PROJECT / "schemas" / "gitstate.schema"
TARGET: Final = PROJECT / "schemas" / "gitstate.ldif"
_HEAD: Final = """\
# gitstate's schema for a server that keeps its configuration in cn=config:
#
#   ldapadd -Y EXTERNAL -H ldapi:/// -f gitstate.ldif
#
# Core, cosine and nis come before it. Made of gitstate.schema by `python -m tests.directory.olc`: change that.

dn: cn=gitstate,cn=schema,cn=config
objectClass: olcSchemaConfig
cn: gitstate
"""
_NAMES: Final = {"attributetype": "olcAttributeTypes", "objectclass": "olcObjectClasses"}


def olc() -> str:
    """The text of the file."""
    lines = [f"{_NAMES[keyword]}: {text}" for keyword, text in definitions(SOURCE.read_text("utf-8"))]
    return _HEAD + "".join(f"{_folded(line)}\n" for line in lines)


def _folded(line: str) -> str:
    """Broken at blanks; of two at the beginning of a line the first says that it goes on, and isn't read."""
    return "\n  ".join(textwrap.wrap(line, 100, break_long_words=False, break_on_hyphens=False))


if __name__ == "__main__":
    TARGET.write_text(olc(), "utf-8")
