"""The command line: thin, and slow to import nothing it doesn't need."""

from __future__ import annotations

import gc


def main() -> None:
    """Run the command line and exit with the documented code (docs/cli.md)."""
    gc.disable()  # to look for garbage while modules are read takes a twentieth of a short command
    from gitstate.core import process

    process.restart_in_utf8()
    from gitstate.cli.base.run import run

    run()
