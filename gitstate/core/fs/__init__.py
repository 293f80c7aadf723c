"""The only hands that touch a live or exported tree: reading it without being led astray, writing it faithfully.

Everything goes through directory descriptors and follows no symlink: a prototype may hold any symlink, and paths may
be longer than PATH_MAX.
"""

from gitstate.core.fs.below import DescriptorTree, open_below
from gitstate.core.fs.clone import clone_file, why_no_clones
from gitstate.core.fs.kernel import (
    allow_many_descriptors,
    is_mounted,
    is_read_only,
    is_tmpfs,
    mount_id,
    mounts_below,
    scratch_time,
    shared_lock,
    sync_file_system,
)
from gitstate.core.fs.read import (
    close,
    descriptor_xattrs,
    list_directory,
    named_xattrs,
    open_directory,
    open_file,
    open_path,
    open_tree,
    read_below,
    read_link,
)
from gitstate.core.fs.remove import remove_tree
from gitstate.core.fs.write import (
    create_file,
    make_directory,
    make_special,
    seal_descriptor,
    seal_like,
    seal_name,
    sync_directory,
    write_file,
    write_sparse,
)

__all__ = [
    "DescriptorTree",
    "allow_many_descriptors",
    "clone_file",
    "close",
    "create_file",
    "descriptor_xattrs",
    "is_mounted",
    "is_read_only",
    "is_tmpfs",
    "list_directory",
    "make_directory",
    "make_special",
    "mount_id",
    "mounts_below",
    "named_xattrs",
    "open_below",
    "open_directory",
    "open_file",
    "open_path",
    "open_tree",
    "read_below",
    "read_link",
    "remove_tree",
    "scratch_time",
    "seal_descriptor",
    "seal_like",
    "seal_name",
    "shared_lock",
    "sync_directory",
    "sync_file_system",
    "why_no_clones",
    "write_file",
    "write_sparse",
]
