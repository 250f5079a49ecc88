"""What `make install` and `make deb` leave behind, file by file; that it runs is proved in tests/systemd.

Nothing here needs root, and nothing is written outside of temporary folders and dist/.
"""
