"""The docs, held to what the program does."""
