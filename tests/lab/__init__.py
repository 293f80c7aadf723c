"""Real servers and real boots, as context managers; each ends only what it started."""
