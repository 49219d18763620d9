"""What a second strength costs: wall time and evaluations against the first, picture and change being the same.

    python benchmarks/slider.py

The first is identify and manipulate at 0.7; the second is manipulate at 0.4 with the same latent and direction, which
keep the inversion, the measured effects and the text. Medians over portraits, in one run; results/slider.{json,md}.
"""

import statistics
import time
from typing import Any

from results import RESULTS, save, table

import latentedit
from latentedit.api.result import EditResult
from latentedit.editors.slider import Arm
from latentedit.models.base import Backbone
from latentedit_portraits.attributes import draw_split
from latentedit_portraits.captions import full_caption
from latentedit_portraits.render import render


def timed(model: Backbone, arm: Arm, number: int) -> tuple[float, float, float, float]:
    """Seconds and evaluations of the first and the second strength, the verdicts' evaluations included."""
    portrait = [item for item in draw_split("test", 200, seed=3) if item.accessory == "none"][number]
    latent = latentedit.encode(model, render(portrait), caption=full_caption(portrait))
    with model.count() as cost:
        marks = [(time.perf_counter(), cost.evaluations)]
        direction = latentedit.identify(latent, to=full_caption(portrait.replace(accessory="glasses")))
        for strength in (0.7, 0.4):
            result = latentedit.manipulate(latent, direction, strength=strength, arm=arm)
            assert isinstance(result, EditResult)
            marks.append((time.perf_counter(), cost.evaluations))
    (t0, e0), (t1, e1), (t2, e2) = marks
    return t1 - t0, t2 - t1, e1 - e0, e2 - e1


def main() -> None:
    """Print and store the ratios."""
    model = latentedit.load("portraits", device="cpu")
    found: dict[str, Any] = {}
    arms: tuple[Arm, ...] = ("image", "joint")
    for arm in arms:
        timed(model, arm, 0)
        rows = [timed(model, arm, number) for number in range(1, 6)]
        first, second, spent_first, spent_second = (statistics.median(column) for column in zip(*rows, strict=True))
        found[arm] = {
            "seconds_ratio": second / first,
            "first_evaluations": spent_first,
            "second_evaluations": spent_second,
        }
        print(
            f"{arm}: second strength {second / first:.2f} x the time of the first "
            f"({spent_second:.0f} against {spent_first:.0f} evaluations)"
        )
    rows = [[arm, *(f"{value:.2f}" for value in numbers.values())] for arm, numbers in found.items()]
    head = ["arm", "seconds, second / first", "evaluations of the first", "of the second"]
    save(RESULTS / "slider", {"model": model.fingerprint, "arms": found}, table(head, rows))


if __name__ == "__main__":
    main()
