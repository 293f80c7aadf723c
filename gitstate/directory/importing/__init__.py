"""Lists of machines that others keep, read as clients."""
