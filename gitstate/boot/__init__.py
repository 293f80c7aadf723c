"""What boot loaders and servers read, as text: a plan in, ``{path: text}`` out. Who writes it, and when, is publish's.

A site overrides a template by ``SITE/templates/NAME.j2``; ``{% extends "gitstate/NAME.j2" %}`` is ours.
"""

from gitstate.boot.options import Dhcp, Nfs, Options, load, options_of
from gitstate.boot.plan import BootChannel, BootClient, BootPlan, Image, machine_id
from gitstate.boot.render import ETC_FILES, MARK, Renderer, render
from gitstate.boot.request import BootRequest, asked

__all__ = [
    "ETC_FILES",
    "MARK",
    "BootChannel",
    "BootClient",
    "BootPlan",
    "BootRequest",
    "Dhcp",
    "Image",
    "Nfs",
    "Options",
    "Renderer",
    "asked",
    "load",
    "machine_id",
    "options_of",
    "render",
]
