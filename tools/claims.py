"""Writes ``docs/results/claims.md`` from the results that stand in ``results/claims``: ``python -m tools.claims``."""

import json
import re
import tempfile
from pathlib import Path

from latentedit_bench.experiments.base import make_experiment
from latentedit_bench.experiments.page import write_claims_page
from latentedit_bench.experiments.run import planned, read_records
from latentedit_keep.files import write_text
from tools.pictures import collect
from tools.running import ROOT

PAGE = ROOT / "docs" / "results" / "claims.md"
STORED = ROOT / "results" / "claims"


def main() -> None:
    """Write the page, and the figures that it shows."""
    text = page()
    collect(text, PAGE.stem, ROOT)
    write_text(PAGE, text)


def page() -> str:
    """The page as the site has it, with its figures below ``docs/pictures``."""
    with tempfile.TemporaryDirectory() as folder:
        written = write_claims_page(STORED, Path(folder) / "claims.md")[0]
        text = written.read_text(encoding="utf-8")
    text = text.replace("| experiment |", _warning(outdated()) + "| experiment |", 1)
    return re.sub(r"\]\([^)]*results/claims/([\w-]+)\.png\)", r"](../pictures/results/claims/\1.webp)", text)


def outdated() -> list[str]:
    """Experiments whose stored numbers were measured by another plan than theirs of today, or on other weights."""
    names: list[str] = []
    for name, record in read_records(STORED).items():
        experiment = make_experiment(name)
        same = json.loads(json.dumps(planned(experiment, quick=False))) == record.about
        if not same or record.changed_weights(experiment):
            names.append(name)
    return names


def _warning(names: list[str]) -> str:
    """What the page says of them; nothing where there are none."""
    if not names:
        return ""
    return (
        '!!! warning "Measured by an older plan, or on older weights"\n'
        "    These experiments have been designed anew since they were measured, or the models were trained on. What\n"
        f"    stands here of them is what was found then: {', '.join(names)}.\n\n"
    )


if __name__ == "__main__":
    main()
