"""Fill the generated parts of the manual pages: `make docs` runs `python -m tests.docs`.

It stands here and not in supervisor/: it needs every package of the program, and no installation needs it.
tests/unit/test_generated_docs.py fails if a page is stale.
"""
