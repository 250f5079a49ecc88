"""Metrics, logs and the event stream."""
