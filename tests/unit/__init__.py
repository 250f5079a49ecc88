"""The pure core, without root, sleep or any I/O but the configuration file."""
