"""Arguments and options that commands of layers share."""

from __future__ import annotations

import click

from gitstate.cli.base.app import Function
from gitstate.cli.client.options import complete_client


def host_argument(function: Function) -> Function:
    """HOST, a client's name."""
    return click.argument("host", shell_complete=complete_client)(function)


def at_option(function: Function) -> Function:
    """``--at RELEASE|DAY``."""
    text = "State at this release, such as lab3/12, or day, such as 2026-05-03 [now]."
    return click.option("--at", metavar="RELEASE|DAY", help=text)(function)
