"""tar files as container images have them (POSIX pax): written the same whenever, and read without trust."""

from gitstate.core.tar.read import Archive, Member, index, owner_of, time_of
from gitstate.core.tar.write import END, header, padding
