"""Records of the directory as frozen values, parsed and checked at the door."""
