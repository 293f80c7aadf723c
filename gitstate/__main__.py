"""``python -m gitstate``."""

from gitstate.cli import main

main()
