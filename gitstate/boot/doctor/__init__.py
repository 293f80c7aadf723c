"""Checks whether this server can boot machines; release/doctor.py runs them all."""
