"""The verdict on requests as people type them, against grades by eye.

    python benchmarks/request_verdicts.py out/requests --output results/request-verdicts.json

``request_verdicts.json`` holds 80 requests on images of the test splits that nothing else uses: synonyms, unknown
words, comparatives, two changes at once, nonsense. The folder keeps each original beside its edit, without the verdict,
for somebody who did not write the code: "seen" is how much of the request is seen (yes, partly, no), "other" names what
else changed. Scenes of even numbers were looked at while the verdict was made; the odd ones were held out. What the
folder has is not computed again.

False *done*: the verdict is done, and the request is not seen or something else changed. False *not done*: the verdict
is not done, and the request is seen.
"""

import argparse
import functools
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
SEED, SCENES = 7979, 20
_load = functools.cache(le.load)
SIDE, GAP = 384, 10  # of the sheets, in pixels


def main() -> None:
    """Make what is missing, and compare verdicts with grades."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=Path)
    options.add_argument("--output", type=Path)
    options.add_argument("--domains", nargs="+", default=["portraits", "scenes"])
    chosen = options.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore", LatentEditWarning)
    rows = json.loads(REQUESTS.read_text(encoding="utf-8"))
    for number, row in enumerate(rows):
        file = chosen.folder / f"{number:02}.json"
        if row["domain"] in chosen.domains and not file.exists():
            write_text(file, json.dumps(outcome(row, file.with_suffix(".png")), indent=1) + "\n")
    if chosen.output:
        found = [json.loads((chosen.folder / f"{number:02}.json").read_text()) for number in range(len(rows))]
        judged = [row | one for row, one in zip(rows, found, strict=True)]
        command = " ".join(["python", "benchmarks/request_verdicts.py", *sys.argv[1:]])
        write_text(chosen.output, json.dumps({"command": command, **summary(judged)}, indent=1) + "\n")


@functools.cache
def image_of(domain: str, scene: int) -> Image.Image:
    """The image of a scene."""
    known = load_domain(domain)
    return Image.fromarray(known.render(known.draw("test", SCENES, SEED)[scene]))


def outcome(row: dict[str, Any], sheet: Path) -> dict[str, str]:
    """The verdict on a request; draws its sheet."""
    changes = row["change"].split(", ") if row["change"].count("=>") > 1 else row["change"]
    image = image_of(row["domain"], row["scene"])
    try:
        result = le.edit(_load(row["domain"]), image, change=changes, progress=False)
    except ConfigError as error:
        return {"verdict": "refused", "text": str(error)}
    drawn = Image.new("RGB", (2 * SIDE + 3 * GAP, SIDE + 5 * GAP), "white")
    ImageDraw.Draw(drawn).text((GAP, GAP), f"{sheet.stem}: {row['change']}", "black", font_size=16)
    for column, one in enumerate((result.source, result.image)):
        large = one.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        drawn.paste(large, (GAP + column * (SIDE + GAP), 4 * GAP))
    drawn.save(sheet)
    return {"verdict": result.verdict.word, "text": result.verdict.text}


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """How often verdicts and grades contradict each other, by half, and each beside the other."""
    found: dict[str, Any] = {}
    for half, odd in (("tuned", 0), ("held out", 1), ("all", None)):
        some = [row for row in rows if "seen" in row and odd in (None, row["scene"] % 2)]
        done, undone = ([row for row in some if row["verdict"] == word] for word in ("done", "not done"))
        table = Counter(f"{row['seen']}{' and other' if row['other'] else ''} -> {row['verdict']}" for row in some)
        found[half] = {
            "graded": len(some),
            "done": len(done),
            "false done": sum(row["seen"] != "yes" or bool(row["other"]) for row in done),
            "done and not seen": sum(row["seen"] == "no" for row in done),
            "done and seen in part": sum(row["seen"] == "partly" for row in done),
            "not done": len(undone),
            "false not done": sum(row["seen"] == "yes" for row in undone),
            "grade -> verdict": dict(sorted(table.items())),
        }
    return {**found, "rows": rows}


if __name__ == "__main__":
    main()
