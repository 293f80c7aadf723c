"""Boot files on disk."""
