"""Attacks: by an image, its labels, its processes, or a QEMU that a guest broke out into. One test for each wall."""
