"""Writes ``docs/results/claims.md`` from the results that stand in ``results/claims``: ``python -m tools.claims``.

Plots that ``latentedit reproduce`` left beside the results move to where the page shows them.
"""

import json
import os
import tempfile
from pathlib import Path

from latentedit.core.plugins import EXPERIMENTS
from latentedit_bench.experiments.base import make_experiment
from latentedit_bench.experiments.page import write_claims_page
from latentedit_bench.experiments.run import planned, read_records
from latentedit_keep.files import write_text
from tools.running import ROOT

PAGE = ROOT / "docs" / "results" / "claims.md"
STORED = ROOT / "results" / "claims"
FIGURES = ROOT / "docs" / "pictures" / "results" / "claims"


def main() -> None:
    """Write the page, and move the figures that it shows."""
    for figure in STORED.glob("*.webp"):
        figure.replace(FIGURES / figure.name)
    write_text(PAGE, page())


def page() -> str:
    """The page as the site has it."""
    with tempfile.TemporaryDirectory() as folder:
        written = write_claims_page(STORED, Path(folder) / PAGE.name, figures=FIGURES)[0]
        text = written.read_text(encoding="utf-8")
        text = text.replace(Path(os.path.relpath(FIGURES, folder)).as_posix(), "../pictures/results/claims")
    return text.replace("| experiment |", _warning(outdated()) + "| experiment |", 1)


def outdated() -> list[str]:
    """Experiments that exist, measured by another plan than theirs of today, or on other weights."""
    names: list[str] = []
    for name, record in read_records(STORED).items():
        if name not in EXPERIMENTS.names():
            continue
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
