"""Check in an overlay's upper directory, or a layer's tar file, over the snapshot that it was made on."""

from gitstate.tree.upper.record import Edits, record, rehearse
from gitstate.tree.upper.unpack import unpacked
