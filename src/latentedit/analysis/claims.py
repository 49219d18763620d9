"""The claims of both papers in one table, from the files of all finished analyses."""

import json
from pathlib import Path
from typing import Any

from latentedit.encoding.output_files import write_text

CLAIMS_FILE = "claims.md"


def write_claims(folder: Path) -> Path:
    """Write ``claims.md`` from every analysis in a folder: a row a claim and model, with command, seeds and samples.

    Raises:
        OutputError: the folder cannot be written to.
    """
    told = [json.loads(place.read_text(encoding="utf-8")) for place in sorted(folder.glob("*.json"))]
    found = [one for one in told if isinstance(one, dict) and "claims" in one and "analysis" in one]
    lines = ["# The papers' claims, one by one", ""]
    lines += ["A claim holds where the 95 % interval of its measure lies above 0, does not hold where it lies below,"]
    lines += ["and is undecided at this size otherwise. Intervals are of a bootstrap over pictures, each by itself:"]
    lines += ["of many claims that are not true, one in forty would still hold.", ""]
    lines += ["| claim | model | measure | found | pictures | verdict | analysis |", "|" + "---|" * 7]
    lines += [_row(one, claim) for one in found for claim in one["claims"]]
    lines += ["", "## Verdicts, commands and settings", ""]
    for one in found:
        lines += [f"* **{one['analysis']}** ({one['title']}): {one['verdict']}", f"  `{one['command']}`"]
        lines += [f"  {_about(study)}" for study in one["studies"]]
    path = folder / CLAIMS_FILE
    write_text(path, "\n".join(lines) + "\n")
    return path


def _row(one: dict[str, Any], claim: dict[str, Any]) -> str:
    found = "not measured" if claim["estimate"] is None else _interval(claim)
    cells = [claim["statement"], claim["model"], claim["measure"], found, claim["samples"], claim["verdict"]]
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in [*cells, one["analysis"]]) + " |"


def _interval(claim: dict[str, Any]) -> str:
    ends = [claim["low"], claim["high"]]
    shown = "" if None in ends else f" [{ends[0]:.3g}, {ends[1]:.3g}]"
    return f"{claim['estimate']:.3g}{shown}"


def _about(study: dict[str, Any]) -> str:
    levels = ", ".join(f"{level:.3g}" for level in study["levels"])
    return (
        f"{study['model']} ({study['model_fingerprint']}, {study['dtype']}): {len(study['pictures'])} pictures, site "
        f"{study['site']}, rank {study['rank']}, levels {levels}, {study['steps']} steps, seed {study['seed']}"
    )
