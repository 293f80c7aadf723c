"""Machine archives: what each holds, how they are packed, and their files."""
