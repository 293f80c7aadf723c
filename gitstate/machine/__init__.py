"""What one machine gets: its layers rendered, its hardware, its secrets, its archive."""
