"""Commands about layers."""
