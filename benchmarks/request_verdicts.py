"""The verdict on requests as people type them, against grades by eye.

    python benchmarks/request_verdicts.py --draw out/requests
    python benchmarks/request_verdicts.py --output results/request-verdicts.json

``request_verdicts.json`` holds 80 requests on images of the test splits that nothing else uses: synonyms, unknown
words, comparatives, two changes at once, nonsense. ``--draw`` writes each original beside its edit, without the
verdict, for somebody who did not write the code: "seen" is how much of the request is seen (yes, partly, no),
"other" names what else changed. Scenes of even numbers were looked at while the verdict was made; the odd ones were
held out.

False *done*: the verdict is done, and the request is not seen or something else changed. False *not done*: the verdict
is not done, and the request is seen.
"""

import argparse
import json
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

import latentedit as le
from latentedit.core.errors import ConfigError, LatentEditWarning
from latentedit_bench.domains.base import load_domain
from latentedit_keep.base.files import write_text

REQUESTS = Path(__file__).with_suffix(".json")
SEED = 7979  # of the scenes
SCENES = 20
ENLARGED, ROWS = 3, 4  # of the sheets to be graded


def main() -> None:
    """Edit every image; draw the sheets, or compare verdicts with the stored grades."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--draw", type=Path, metavar="FOLDER")
    options.add_argument("--output", type=Path)
    chosen = options.parse_args()
    rows = json.loads(REQUESTS.read_text(encoding="utf-8"))
    warnings.simplefilter("ignore", LatentEditWarning)
    results = [edited for domain_name in ("portraits", "scenes") for edited in edit_all(domain_name, rows)]
    if chosen.draw:
        draw(rows, results, chosen.draw)
    found = {"command": " ".join(["python", "benchmarks/request_verdicts.py", *sys.argv[1:]]), **summary(rows, results)}
    print(json.dumps({name: value for name, value in found.items() if name != "rows"}, indent=1))
    if chosen.output:
        write_text(chosen.output, json.dumps(found, indent=1) + "\n")


def edit_all(domain_name: str, rows: list[dict[str, Any]]) -> list[le.EditResult | str]:
    """The results of a domain's requests, or why one was refused."""
    domain, model = load_domain(domain_name), le.load(domain_name)
    scenes = domain.draw("test", SCENES, SEED)
    results: list[le.EditResult | str] = []
    for row in rows:
        if row["domain"] == domain_name:
            image = Image.fromarray(domain.render(scenes[row["scene"]]))
            try:
                results.append(le.edit(model, image, change=changes_of(row["change"]), progress=False))
            except ConfigError as error:
                results.append(str(error))
    return results


def changes_of(text: str) -> list[str]:
    """One change, or those of "a => b, c => d"."""
    return text.split(", ") if text.count("=>") > 1 else [text]


def draw(rows: list[dict[str, Any]], results: list[le.EditResult | str], folder: Path) -> None:
    """Sheets of originals and edits with the requests, in the order of the file."""
    folder.mkdir(parents=True, exist_ok=True)
    side = 128 * ENLARGED
    shown = [
        (number, row, one)
        for number, (row, one) in enumerate(zip(rows, results, strict=True))
        if not isinstance(one, str)
    ]
    for start in range(0, len(shown), ROWS):
        sheet = Image.new("RGB", (2 * side + 30, ROWS * (side + 40)), "white")
        pen = ImageDraw.Draw(sheet)
        for line, (number, row, one) in enumerate(shown[start : start + ROWS]):
            top = line * (side + 40)
            pen.text((10, top + 4), f"{number}: {row['change']}", "black", font_size=20)
            for column, image in enumerate((one.source, one.image)):
                sheet.paste(
                    image.convert("RGB").resize((side, side), Image.Resampling.LANCZOS),
                    (10 + column * (side + 10), top + 32),
                )
        sheet.save(folder / f"{start // ROWS:02}.png")
    refused = {number: one for number, one in enumerate(results) if isinstance(one, str)}
    write_text(folder / "refused.json", json.dumps(refused, indent=1) + "\n")


def summary(rows: list[dict[str, Any]], results: list[le.EditResult | str]) -> dict[str, Any]:
    """Each verdict beside its grade, and how often they contradict each other, by half."""
    judged = [
        {
            **row,
            "verdict": "refused" if isinstance(one, str) else one.verdict.word,
            "text": one if isinstance(one, str) else one.verdict.text,
        }
        for row, one in zip(rows, results, strict=True)
    ]
    found: dict[str, Any] = {}
    for half, odd in (("tuned", 0), ("held out", 1), ("all", None)):
        some = [row for row in judged if "seen" in row and odd in (None, row["scene"] % 2)]
        done = [row for row in some if row["verdict"] == "done"]
        undone = [row for row in some if row["verdict"] == "not done"]
        false_done = [row for row in done if row["seen"] != "yes" or row["other"]]
        false_undone = [row for row in undone if row["seen"] == "yes"]
        table = Counter(f"{row['asked']}{' and other' if row['other'] else ''} -> {row['verdict']}" for row in some)
        found[half] = {
            "graded": len(some),
            "done": len(done),
            "false done": len(false_done),
            "not done": len(undone),
            "false not done": len(false_undone),
            "grade -> verdict": dict(sorted(table.items())),
        }
    return {**found, "rows": judged}


if __name__ == "__main__":
    main()
