"""Which layers a machine gets, and in which order: pure, from names, addresses and the directory's entry."""

from gitstate.machine.layers.options import ORDER, Classes, Missing, Options, load, parse
from gitstate.machine.layers.resolve import ExistingLayers, Machine, Resolution, ChosenLayer, never_chosen, resolve, with_masks

__all__ = [
    "ORDER",
    "Classes",
    "ExistingLayers",
    "Machine",
    "Missing",
    "Options",
    "Resolution",
    "ChosenLayer",
    "load",
    "never_chosen",
    "parse",
    "resolve",
    "with_masks",
]
