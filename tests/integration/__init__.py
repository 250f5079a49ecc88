"""Black-box tests by subject: the real daemon, a private dockerd, real macvtaps and real QEMU in a separate network.

They use only the product's contract: labels, configuration, commands, metrics, and what the kernel shows.
"""
