"""Claims as people read them: their numbers, and the table of all finished analyses from their files."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from latentedit.core.files.writing import write_text
from latentedit_bench.analysis.base import Claim

CLAIMS_FILE = "claims.md"

MEANING = (
    "A claim holds where the 95 % interval of its measure lies above 0, does not hold where it lies below, and is "
    "undecided at this size otherwise. Intervals are of a bootstrap over pictures, each by itself: of many claims that "
    "are not true, one in forty would still hold."
)
"""What verdicts mean, for those who read them."""


def write_claims(folder: Path) -> Path:
    """Write ``claims.md`` from every analysis in a folder: a row a claim and model, with command, seeds and samples.

    Raises:
        OutputError: the folder cannot be written to.
    """
    told = [json.loads(place.read_text(encoding="utf-8")) for place in sorted(folder.glob("*.json"))]
    found = [one for one in told if isinstance(one, dict) and "claims" in one and "analysis" in one]
    lines = ["# The papers' claims, one by one", "", MEANING, ""]
    lines += table_head("claim", "model", "measure", "found", "pictures", "verdict", "analysis")
    for one in found:
        lines += [
            table_row(claim.statement, *claim_cells(claim), one["analysis"]) for claim in read_claims(one["claims"])
        ]
    lines += ["", "## Verdicts, commands and settings", ""]
    for one in found:
        lines += [f"* **{one['analysis']}** ({one['title']}): {one['verdict']}", f"  `{one['command']}`"]
        lines += [f"  {_about(study)}" for study in one["studies"]]
    path = folder / CLAIMS_FILE
    write_text(path, "\n".join(lines) + "\n")
    return path


def read_claims(told: Sequence[Mapping[str, Any]]) -> tuple[Claim, ...]:
    """Claims as they are stored, in which null is a number that is not known.

    Raises:
        TypeError: something else.
    """
    known: list[dict[str, Any]] = [
        {name: math.nan if value is None else value for name, value in one.items()} for one in told
    ]
    return tuple(Claim(**one) for one in known)


def number_text(claim: Claim) -> str:
    """Such as "0.42 [0.31, 0.55]"."""
    if math.isnan(claim.estimate):
        return "not measured"
    ends = "" if math.isnan(claim.low + claim.high) else f" [{claim.low:.3g}, {claim.high:.3g}]"
    return f"{claim.estimate:.3g}{ends}"


def claim_cells(claim: Claim) -> tuple[str, str, str, int, str]:
    """Model, measure, what was found, pictures and verdict."""
    return (claim.model, claim.measure, number_text(claim), claim.samples, claim.verdict)


def table_head(*names: str) -> list[str]:
    """The first two lines of a Markdown table."""
    return [table_row(*names), "|" + "---|" * len(names)]


def table_row(*cells: object) -> str:
    """A line of a Markdown table; bars in cells stay in them."""
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _about(study: Mapping[str, Any]) -> str:
    levels = ", ".join(f"{level:.3g}" for level in study["levels"])
    return (
        f"{study['model']} ({study['model_fingerprint']}, {study['dtype']}): {len(study['pictures'])} pictures, site "
        f"{study['site']}, rank {study['rank']}, levels {levels}, {study['steps']} steps, seed {study['seed']}"
    )
