"""Questions to a guest over its network."""
