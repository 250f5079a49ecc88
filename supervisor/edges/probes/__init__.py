"""Probes of a guest over its network."""
