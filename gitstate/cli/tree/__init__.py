"""Commands about one repository and its live tree."""
