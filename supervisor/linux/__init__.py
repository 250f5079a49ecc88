"""Linux system calls that Python's standard library lacks, and what several edges do with them alike.

This is the ground floor under the edges: what several of them need is written once, here. Nothing here knows what it
is used for. Every failure is an OSError with the kernel's number, which the edges translate.
"""
