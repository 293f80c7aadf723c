"""Which layers a machine gets, and in which order, from names, addresses and the directory's entry."""

from gitstate.machine.layers.options import ORDER, Classes, Missing, Options, load, options_of
from gitstate.machine.layers.resolve import ExistingLayers, Machine, Resolution, ChosenLayer, name_problem, resolve, with_netmasks
