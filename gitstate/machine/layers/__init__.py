"""Which layers a machine gets, and in which order: pure, from names, addresses and the directory's entry."""

from gitstate.machine.layers.options import ORDER, Classes, Missing, Options, load, options_of
from gitstate.machine.layers.resolve import ExistingLayers, Machine, Resolution, ChosenLayer, name_problem, resolve, with_netmasks

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
    "name_problem",
    "options_of",
    "resolve",
    "with_netmasks",
]
