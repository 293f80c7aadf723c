"""The life of a prototype or layer: from a live tree to commits, and from commits to directories."""
