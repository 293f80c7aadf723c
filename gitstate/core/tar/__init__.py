"""tar files as container images have them (POSIX pax): written the same whenever, and read without trust."""

from gitstate.core.tar.read import Archive, Member, index
from gitstate.core.tar.write import END, header, padding
