"""Whole commands as a user types them, beside what others take for the same work: ``./run bench --help``."""
