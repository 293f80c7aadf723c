"""What machines report of their hardware, and the classes that follow from it."""
