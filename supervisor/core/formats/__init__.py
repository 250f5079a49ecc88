"""Formats of the kernel, of Docker and of files: parsed and built."""
