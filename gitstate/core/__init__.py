"""What everything stands on: errors, names, entries, and one door to each outside power."""
