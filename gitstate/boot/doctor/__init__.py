"""Is this server fit to boot machines? What is looked at, in the order in which a machine meets it."""

from gitstate.boot.doctor.examine import examine
from gitstate.boot.doctor.models import Check, State

__all__ = ["Check", "State", "examine"]
