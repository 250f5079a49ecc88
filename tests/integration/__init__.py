"""Black-box tests, by subject: the real daemon, a private dockerd, real macvtaps and real QEMU in a network apart.

They know the product only by its contract: labels, configuration, commands, metrics, and what the kernel shows.
"""
