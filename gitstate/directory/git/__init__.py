"""The embedded backend: LDIF files in a git repository."""
