"""Files that come with gitstate and aren't Python: ``hooks/``, ``layers/``, ``schemas/``."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_PACKAGE: Final = Path(__file__).parents[1]


def data_file(*names: str) -> Path:
    """A file or folder by its path in the checkout, also when gitstate is installed."""
    installed = _PACKAGE / "_data"
    return (installed if installed.is_dir() else _PACKAGE.parent).joinpath(*names)
