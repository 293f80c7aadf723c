"""Is this server fit to boot machines? What is looked at, in the order in which a machine meets it."""

from gitstate.doctor.examine import examine
from gitstate.doctor.shapes import Check, State

__all__ = ["Check", "State", "examine"]
