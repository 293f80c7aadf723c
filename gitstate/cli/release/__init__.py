"""Commands about channels and releases."""
