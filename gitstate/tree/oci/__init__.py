"""Container images: a snapshot as one, and the root file system that one makes.

The format is OCI's image-spec 1.0 (layout on disk, one layer) and what ``docker save`` writes.
"""

from gitstate.tree.oci.images import Image, find_image
from gitstate.tree.oci.unpack import unpack
from gitstate.tree.oci.write import NAME, Plan, Written, plan_image, write_image
