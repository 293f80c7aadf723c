"""Reading, writing and removing untrusted directory trees: the only access to live and exported trees.
trees.

Everything goes through directory descriptors and follows no symlink: a prototype may hold any symlink, and paths may
be longer than PATH_MAX.
"""

from gitstate.core.fs.descriptor_tree import WORKPLACE, DescriptorTree, open_descriptor_tree
from gitstate.core.fs.kernel import (
    MountPoint,
    allow_many_descriptors,
    exchange,
    is_locked_for_others,
    is_mounted,
    is_open_for_writing,
    is_read_only,
    is_tmpfs,
    knows_all_owners,
    lasting_identity,
    mount_id,
    mount_points,
    mounts_below,
    overlay_options,
    place,
    scratch_time,
    shared_lock,
    sync_file_system,
)
from gitstate.core.fs.mounts import Flag, bind, leave_mounts, mount, mounted_on, unmount
from gitstate.core.fs.present import has_directory, is_free, list_names, read_file, require_empty
from gitstate.core.fs.read import (
    Identity,
    descriptor_xattrs,
    extents,
    identity,
    is_recorded,
    list_directory,
    named_xattrs,
    not_regular,
    open_directory,
    open_file,
    open_path,
    open_tree,
    pieces,
    prefixed_xattrs,
    read_below,
    read_link,
)
from gitstate.core.fs.remove import remove_entry, remove_tree
from gitstate.core.fs.write import (
    KeptTimes,
    apply_metadata,
    apply_metadata_by_name,
    clone_file,
    copy_metadata,
    create_file,
    kept_times,
    make_directory,
    make_path,
    make_special,
    set_metadata,
    sync_directory,
    usual_umask,
    why_no_clones,
    write_file,
    write_sparse,
)
