"""QEMU: its process, sandbox, monitor and console."""
