"""Attempts to break gitstate: killed, starved, raced, lied to and misused."""
