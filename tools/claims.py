"""Writes ``docs/results/claims.md`` from the results that stand in ``results/claims``: ``python -m tools.claims``."""

import re
import tempfile
from pathlib import Path

from latentedit.core.files.writing import write_text
from latentedit_bench.experiments.page import write_claims_page
from tools.pictures import collect
from tools.running import ROOT

PAGE = ROOT / "docs" / "results" / "claims.md"
READING = ROOT / "tools" / "claims_reading.md"
"""What a reader of the verdicts should know, and the experiments do not say of themselves."""


def main() -> None:
    """Write the page, and the figures that it shows."""
    text = page()
    collect(text, PAGE.stem, ROOT)
    write_text(PAGE, text)


def page() -> str:
    """The page as the site has it, with its figures below ``docs/pictures``."""
    with tempfile.TemporaryDirectory() as folder:
        written = write_claims_page(ROOT / "results" / "claims", Path(folder) / "claims.md")[0]
        text = written.read_text(encoding="utf-8")
    text = text.replace("| experiment |", READING.read_text(encoding="utf-8") + "| experiment |", 1)
    return re.sub(r"\]\([^)]*results/claims/([\w-]+)\.png\)", r"](../pictures/results/claims/\1.webp)", text)


if __name__ == "__main__":
    main()
