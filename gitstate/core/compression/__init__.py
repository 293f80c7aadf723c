"""Compression: streams packed and unpacked in bounded memory."""

from gitstate.core.compression.pack import Compression, packed
from gitstate.core.compression.pieces import TRUNCATED, Damaged, Pieces
from gitstate.core.compression.unpack import unpacked, unreadable
