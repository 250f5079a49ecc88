"""Attacks by an image, its labels, its processes, or a guest that broke out into QEMU. One test for each barrier."""
