"""The files that `make install` and `make deb` install. tests/systemd proves that they run.

Nothing here needs root, and nothing is written outside of temporary folders and dist/.
"""
