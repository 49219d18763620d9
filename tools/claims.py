"""Writes a page per paper from ``results/claims``, and moves the plots to it: ``python -m tools.claims``."""

from collections.abc import Sequence

from latentedit_bench.experiments.experiment import EIM_PAPER, RIEMANNIAN, UNSUPERVISED, make_experiment
from latentedit_bench.experiments.page import claims_page
from latentedit_bench.experiments.run import read_records
from latentedit_keep.files import plain, write_text
from tools.running import ROOT

PAGES = {"eim": EIM_PAPER, "riemannian": RIEMANNIAN, "unsupervised": UNSUPERVISED}
_OURS = (
    "Unless a claim says otherwise, the feature is the model's default site in full, not summed over space; there is "
    "no text; the inversion goes to the level only; and the rank is the one after which the trained network's singular "
    "values fall most. In the paper"
)
BEFORE = {
    "eim": "",
    "riemannian": f"{_OURS} the inversion goes to T and back down, the rank is 50, and the text is none or the edit's.",
    "unsupervised": f"{_OURS} the feature is summed over space, the rank makes half of the sum of the squared singular "
    "values, and curves have 30 segments, ours 5.",
}
STORED = ROOT / "results" / "claims"
FIGURES = ROOT / "docs" / "pictures" / "results" / "claims"


def main() -> None:
    """Write the pages, and move the figures that they show."""
    for figure in STORED.glob("*.webp"):
        figure.replace(FIGURES / figure.name)
    old = outdated()
    for name in PAGES:
        write_text(ROOT / "docs" / "results" / f"{name}.md", page(name, old))


def page(name: str, outdated: Sequence[str]) -> str:
    """A page as the site has it.

    Args:
        name: one of `PAGES`.
        outdated: experiments that the page warns of.
    """
    records = [one for one in read_records(STORED) if one.paper == PAGES[name]]
    figures = {one.name: f"../pictures/results/claims/{one.name}.webp" for one in records}
    old = ", ".join(one.name for one in records if one.name in outdated)
    warning = f"Measured on older weights, or by an older plan, as these numbers were found then: {old}." if old else ""
    before = "\n\n".join(filter(None, (BEFORE[name], warning)))
    return claims_page(f"Claims of the paper: {PAGES[name].partition(' (')[0]}", records, figures, before=before)


def outdated() -> list[str]:
    """Experiments that were measured by another plan than theirs of today, or on other weights."""
    names: list[str] = []
    for record in read_records(STORED):
        experiment = make_experiment(record.name)
        if record.plan != plain(experiment.plan) or record.changed_weights(experiment):
            names.append(record.name)
    return names


if __name__ == "__main__":
    main()
