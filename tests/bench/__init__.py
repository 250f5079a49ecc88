"""Measure how fast vtapd is: `make bench`, or `python -m tests.bench` as root. README.md has the last whole run.

Every figure is a ratio, taken in one run against a rival that is named and that runs in turn with vtapd on the same
machine, so that a slow or a busy machine slows both. Nothing here is a test with a stopwatch.
"""
