"""Which layers a machine gets, and in which order: pure, from names, addresses and the directory's entry."""

from gitstate.layers.options import ORDER, Missing, Options, load, parse
from gitstate.layers.resolve import Known, Machine, Resolution, Taken, resolve, with_masks

__all__ = [
    "ORDER",
    "Known",
    "Machine",
    "Missing",
    "Options",
    "Resolution",
    "Taken",
    "load",
    "parse",
    "resolve",
    "with_masks",
]
