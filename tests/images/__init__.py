"""The images that integration tests and the demo run, built from Debian packages: no registry, nothing is installed.

`python -m images container` and `python -m images linux`, run in tests/, build what is missing or outdated under
build/images/ and print the paths of the results, one a line.
"""
