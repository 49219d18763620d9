"""The picture of the page in docs/tutorials/page.md: one portrait, two changes at once.

    python -m tools.page_picture  # writes docs/pictures/page.png; half a minute on two cores

The page runs on the bundled model, in the Chromium that the tests use.
"""

import tempfile
from pathlib import Path

from tests.browser import open_browser

from latentedit.app.models import Models
from latentedit.app.serve import serving
from latentedit.models.registry import load

CHANGES = {"What should change": "=> round glasses", "Change 2": "long brown hair => short brown hair"}
WIDTH_PX, HEIGHT_PX = 1240, 1000
PATIENCE_MS = 120_000
PLACE = Path("docs/pictures/page.png")


def main() -> None:
    """Edit on the page, and take a picture of it."""
    models = Models(load("portraits"))
    with (
        tempfile.TemporaryDirectory() as home,
        serving(models, Path(home, "uploads")) as address,
        open_browser() as tab,
    ):
        page = tab.page
        page.set_default_timeout(PATIENCE_MS)
        page.set_viewport_size({"width": WIDTH_PX, "height": HEIGHT_PX})
        with page.expect_response("**/run/predict"):
            page.goto(address)
        page.locator("#le-examples button").nth(1).click()
        page.wait_for_selector("#le-preview img")
        page.get_by_text("More changes at once").click()
        for label, change in CHANGES.items():
            page.get_by_label(label).fill(change)
        page.get_by_text("More changes at once").click()
        page.locator("#le-edit").click()
        page.frame_locator("iframe.le-viewer").locator("latentedit-viewer[ready]").wait_for()
        page.wait_for_timeout(1000)  # what opens and closes has come to rest
        PLACE.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=PLACE, full_page=True)
    print(f"wrote {PLACE}, {PLACE.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
