"""Write each page whose generated parts are stale."""

from tests.docs.pages import PAGES, filled

for page in PAGES:
    before = page.read_text()
    after = filled(before)
    if after != before:
        page.write_text(after)
        print(f"wrote {page.name}")
