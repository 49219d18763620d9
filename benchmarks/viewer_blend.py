"""How far the viewer's blends are from the pictures that the model makes at those strengths.

    python benchmarks/viewer_blend.py

Between two rendered strengths the viewer blends their pictures, pixel by pixel. The latent moves on a straight line on
the image arm only, and the decoder is linear on neither. So: twelve drawn portraits of the calibration split, one
change each, rendered at 0 to 1 in 32 steps; for K of those strengths at equal distances, the blend half way between
each two neighbours against the picture that was rendered there. results/viewer-blend.{json,md}.
"""

import argparse
import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from results import RESULTS, save, table

import latentedit
from latentedit.editors.slider import Arm
from latentedit.models.base import Backbone
from latentedit_portraits.attributes import Attributes, draw_split
from latentedit_portraits.captions import full_caption
from latentedit_portraits.render import render

ARMS: tuple[Arm, ...] = ("image", "text")
COUNTS = (5, 9, 17)
"""Rendered strengths from 0 to 1, both among them."""

STEPS = 32
CHANGES = (
    {"accessory": "glasses"},
    {"mouth": "smile"},
    {"facial_hair": "beard"},
    {"hair_color": "pink"},
    {"clothes_color": "green"},
    {"background": "purple"},
)


def cases(count: int) -> list[tuple[Attributes, Attributes]]:
    """Portraits that a change can be made to, in turn one of each kind, and what they become."""
    drawn, found = iter(draw_split("calibration", 200, seed=19)), list[tuple[Attributes, Attributes]]()
    for change in itertools.islice(itertools.cycle(CHANGES), count):
        portrait = next(one for one in drawn if one.hair != "bald" and one.replace(**change) != one)
        found.append((portrait, portrait.replace(**change)))
    return found


def rendered(model: Backbone, arm: Arm, before: Attributes, after: Attributes) -> NDArray[np.float64]:
    """Pictures at strengths 0 to 1 in equal steps, ``[steps + 1, height, width, 3]`` in levels of 255."""
    latent = latentedit.encode(model, render(before).convert("RGB"), caption=full_caption(before))
    direction = latentedit.identify(latent, to=full_caption(after))
    strengths = [step / STEPS for step in range(STEPS + 1)]
    results = latentedit.sweep(latent, direction, strengths=strengths, arm=arm)
    return np.stack([np.asarray(result.image, np.float64) for result in results])


def blended(pictures: NDArray[np.float64], count: int) -> list[dict[str, float]]:
    """Of each mid-point between neighbours: agreement with what was rendered there, and how much is blended."""
    half = STEPS // (count - 1) // 2
    found: list[dict[str, float]] = []
    for middle in range(half, STEPS, 2 * half):
        low, exact, high = pictures[middle - half], pictures[middle], pictures[middle + half]
        blend = np.rint((low + high) / 2)
        error, step = np.mean((blend - exact) ** 2), np.mean((high - low) ** 2)
        found.append(
            {
                "psnr_db": 10 * np.log10(255**2 / max(error, 1e-9)),
                "error_share": float(np.sqrt(error / step)) if step else 0.0,
                "largest_levels": float(np.abs(blend - exact).max()),
            }
        )
    return found


def main() -> None:
    """Print and store the agreement by arm and number of rendered strengths."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--portraits", type=int, default=12)
    parser.add_argument("--device", default="cpu")
    wanted = parser.parse_args()
    model = latentedit.load("portraits", device=wanted.device)
    arms: dict[str, Any] = {}
    for arm in ARMS:
        ways = [rendered(model, arm, before, after) for before, after in cases(wanted.portraits)]
        arms[arm] = {}
        for count in COUNTS:
            told = [one for pictures in ways for one in blended(pictures, count)]
            psnr = np.array([one["psnr_db"] for one in told])
            arms[arm][count] = {
                "points": len(told),
                "psnr_db_median": float(np.median(psnr)),
                "psnr_db_lowest": float(psnr.min()),
                "error_share_median": float(np.median([one["error_share"] for one in told])),
                "largest_levels_median": float(np.median([one["largest_levels"] for one in told])),
                "largest_levels": max(one["largest_levels"] for one in told),
            }
            print(arm, count, arms[arm][count], flush=True)
    rows = [
        [
            arm,
            str(count),
            f"{one['psnr_db_median']:.1f}",
            f"{one['psnr_db_lowest']:.1f}",
            f"{one['error_share_median']:.2f}",
            f"{one['largest_levels_median']:.0f}",
            f"{one['largest_levels']:.0f}",
        ]
        for arm, by_count in arms.items()
        for count, one in by_count.items()
    ]
    head = [
        "arm",
        "rendered strengths",
        "PSNR of the blend, median dB",
        "lowest",
        "error, share of the step between its neighbours",
        "largest error of a pixel, median of 255 levels",
        "largest of all",
    ]
    about = f"{wanted.portraits} portraits of the calibration split; model {model.fingerprint}."
    save(RESULTS / "viewer-blend", {"model": model.fingerprint, "arms": arms}, [about, "", *table(head, rows)])


if __name__ == "__main__":
    main()
