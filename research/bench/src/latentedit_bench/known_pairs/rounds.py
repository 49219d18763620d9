"""Ten edits of one photograph in a row: what is left of what nobody asked to change, with and without `keep`.

In each round a simulated editor gets the last result, adds one thing, and damages the whole image (`damages.Damage`:
a frame, colors, and a codec that stays the same for all rounds of a photograph). Its output, resized to the original's
size, is the next image; or the result of `keep` is, or that of the usual paste after SIFT alignment.

Plan, written before the first run: photographs of the test half at 512 px, seeds 66 and 67, which no other measurement
uses. Measured is the PSNR against the photograph, over the pixels that no round was asked to change. The claim holds if
after round 10 the lower end of the 95 % interval over photographs of the difference between `keep` and the editor alone
is above 20 dB. The paste is the control: the same help for everybody.
"""

import dataclasses
from typing import Any

import numpy as np
from PIL import Image

from latentedit.batch import UnitResult
from latentedit_bench.known_pairs.baselines import baseline
from latentedit_bench.known_pairs.cases import PHOTOGRAPHS, changed, load_photograph, scaled, true_mask
from latentedit_bench.known_pairs.damages import CODECS, Pixels, as_pixels, draw_damage
from latentedit_bench.known_pairs.measured import THRESHOLDS, psnr
from latentedit_bench.metrics.statistics import Table, over_groups
from latentedit_bench.work import UnitWork
from latentedit_keep import keep
from latentedit_keep.photo import resized

ROUNDS = 10
SEEDS = (66, 67)
_SIDE_PX = 512
_SHARES = (0.01, 0.03)  # shares of the image that one round adds
_METHODS = ("editor", "sift", "keep")


def rounds_work() -> UnitWork:
    """One unit for each photograph and seed."""
    chains = [(name, seed) for name in PHOTOGRAPHS["test"] for seed in SEEDS]
    tasks = {f"{index:02d}": chain for index, chain in enumerate(chains)}
    return UnitWork(spec={"rounds": ROUNDS, "seeds": list(SEEDS)}, tasks=tasks, measure=_measured)


def rounds_summary(rows: Table) -> dict[str, Any]:
    """PSNR of each method after each round, and how much better `keep` is than the others after the last one."""
    means = {
        method: [dataclasses.asdict(over_groups(some.set_index("group")["db"])) for _, some in found.groupby("round")]
        for method, found in rows.groupby("method")
    }
    last = rows[rows["round"] == ROUNDS].pivot_table(index=["group", "seed"], columns="method", values="db")
    better = {
        other: dataclasses.asdict(over_groups(last["keep"] - last[other])) for other in _METHODS if other != "keep"
    }
    ends = {method: found[-1] for method, found in means.items()}
    return {"photographs": rows["group"].nunique(), "db": means, "last db": ends, "keep better by": better}


def _measured(task: tuple[str, int]) -> UnitResult:
    name, seed = task
    generator = np.random.default_rng([seed, PHOTOGRAPHS["test"].index(name)])
    photograph, other = load_photograph(name), load_photograph(str(generator.choice(PHOTOGRAPHS["test"])))
    original = scaled(photograph, _SIDE_PX, generator)
    size, codec = original.shape[1::-1], str(generator.choice(CODECS))
    images, wanted = dict.fromkeys(_METHODS, original), np.zeros(original.shape[:2], dtype=bool)
    rows: list[dict[str, Any]] = []
    for number in range(1, ROUNDS + 1):
        what, share = str(generator.choice(["paste", "drawn"])), float(generator.uniform(*_SHARES))
        damage = dataclasses.replace(draw_damage((size[0], size[1]), generator), codec=codec)
        added = int(generator.integers(2**31))  # the same thing in the same place for every method

        def requested(image: Pixels, what: str = what, share: float = share, added: int = added) -> Pixels:
            draw = np.random.default_rng(added)
            return as_pixels(changed(what, image.astype(np.float32), other, share, draw))

        wanted |= true_mask(original.astype(np.float32), requested(original).astype(np.float32)) > 0
        for method, image in images.items():
            edited = damage.apply(requested(image).astype(np.float32))
            images[method] = _next(method, image, edited)
            rows.append({
                "group": name, "seed": seed, "codec": codec, "round": number, "method": method,
                "db": psnr(images[method], original, ~wanted),
            })  # fmt: skip
    return UnitResult(rows=rows)


def _next(method: str, image: Pixels, edited: Pixels) -> Pixels:
    """The image that the next round edits."""
    if method == "keep":
        return np.asarray(keep(Image.fromarray(image), Image.fromarray(edited)).image.convert("RGB"))
    if method == "sift":
        return baseline("sift", image, edited, THRESHOLDS["sift"])[0]
    return resized(edited, image.shape[1::-1])
