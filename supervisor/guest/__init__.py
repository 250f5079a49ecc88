"""One container's guest: its QEMU from the start to the end."""
