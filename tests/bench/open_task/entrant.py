"""A stranger's script, which imports nothing of ours: ``python entrant.py TASK ANSWERS RECIPE``.

Fills ``TASK/outputs`` by a recipe. ANSWERS is a folder of right answers under the names of outputs. An honest entrant
has none, but one whose score is to be known by hand needs them.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image

STEP = 4  # levels of noise
SHIFT = 3  # pixels


def main(task: Path, answers: Path, recipe: str) -> None:
    shutil.rmtree(task / "outputs", ignore_errors=True)
    (task / "outputs").mkdir()
    for number, line in enumerate((task / "items.jsonl").read_text(encoding="utf-8").splitlines()):
        item = json.loads(line)
        for output in item["outputs"] + item["then_outputs"]:
            source = np.asarray(Image.open(task / item["image"]))
            answer = np.asarray(Image.open(answers / Path(output).name))
            if recipe == "half missing" and number % 2:
                continue
            made = {
                "copy": source,
                "noise": np.where(answer < 128, answer + STEP, answer - STEP),
                "shift": np.roll(answer, SHIFT, axis=1),
                "half missing": answer,
                "half size": answer[::2, ::2],
            }[recipe]
            Image.fromarray(made.astype(np.uint8)).save(task / output)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
