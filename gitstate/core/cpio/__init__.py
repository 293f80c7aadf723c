"""cpio archives as the kernel unpacks them at boot: writing and reading.

The format is "newc" of Linux's Documentation/driver-api/early-userspace/buffer-format.rst: an initrd is a row of
archives, each plain or compressed as a whole, with zeros between them.
"""

from gitstate.core.cpio.member import Member, plain
from gitstate.core.cpio.read import LIMITS, Limits, OpaqueArchiveError, members
from gitstate.core.cpio.write import write
