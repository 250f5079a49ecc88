"""The control socket and the metrics page: what other programs read and ask."""
