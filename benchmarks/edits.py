"""What edits as they come are worth where the ranking does not look: several changes at once, and the ways back.

    python benchmarks/edits.py

Plan, written before the run: test portraits that nothing was chosen with, captioned by the model itself; two attributes
of each are changed to values drawn at random, each by a direction of its own, as `latentedit edit` finds and applies
it. Changes of pixels are compared with those of the rendered answers. Of two directions, "other change" is how much of
the other's answer is in the picture that one of them makes: the size of its least-squares coefficient, 1 for all of it.
Decided beforehand: mixing is better than the sum where the interval of what it lowers lies above 0. Control: the right
answers of each change, added.
"""

import argparse
import dataclasses
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from results import RESULTS, save, table

import latentedit as le
from latentedit.api.undo import undo_direction
from latentedit.directions.composition import Mixing
from latentedit.latents.pictures import Picture
from latentedit.models.base import Backbone
from latentedit_bench.domains.base import Domain, Scene, differences, domain, full_caption
from latentedit_bench.metrics.pictures import HIGHEST_DB
from latentedit_bench.metrics.statistics import estimate

SEED = 31
MIXINGS: tuple[Mixing, ...] = get_args(Mixing)
ADDED, TOGETHER = "right answers, added", "one search for both"
Pixels = NDArray[np.float64]


def drawn(world: Domain, portraits: int) -> Iterator[tuple[Scene, ...]]:
    """Scenes with two others that differ in one attribute each, and the one that differs in both."""
    generator = random.Random(f"edits/{SEED}")
    for scene in world.draw("test", portraits, SEED):
        able = world.alternatives(scene)
        while True:
            names = generator.sample(list(able), 2)
            a, b = ({name: generator.choice(list(able[name]))} for name in names)
            found = [world.change(scene, one) for one in (a, b, a | b)]
            if [len(differences(world, scene, one)) for one in found] == [1, 1, 2]:
                yield scene, *found
                break


def pixels(image: Image.Image) -> Pixels:
    """White is 1."""
    return np.asarray(image.convert("RGB"), dtype=np.float64) / 255


def other_change(change: Pixels, own: Pixels, other: Pixels) -> float:
    """How much of another right change is in one, beside its own."""
    basis = np.stack([own.ravel(), other.ravel()], 1)
    return float(abs(np.linalg.lstsq(basis, change.ravel(), rcond=None)[0][1]))


def psnr(first: Image.Image, second: Image.Image) -> float:
    """In dB; `HIGHEST_DB` where the pictures are the same."""
    error = float(np.square(pixels(first) - pixels(second)).mean())
    return min(HIGHEST_DB, -10 * np.log10(error)) if error else HIGHEST_DB


def one_portrait(model: Backbone, world: Domain, scenes: tuple[Scene, ...], place: Path) -> dict[str, float]:
    """Every measure of one portrait."""
    source, *answers = (Image.fromarray(world.render(scene)) for scene in scenes)
    start = pixels(source)
    t = [pixels(answer) - start for answer in answers]
    latent = le.encode(model, source)
    first, second, both = (le.identify(latent, to=full_caption(world, scene)) for scene in scenes[1:])
    row = {}

    def told_both(name: str, whole: Pixels) -> None:
        row[f"{name}: error of both"] = float(np.square(whole - t[2]).sum() / np.square(t[2]).sum())

    def told(name: str, a: Pixels, b: Pixels, whole: Pixels) -> None:
        row[f"{name}: other change"] = (other_change(a, t[0], t[1]) + other_change(b, t[1], t[0])) / 2
        told_both(name, whole)

    for mixing in MIXINGS:
        shares = ([1.0, 0.0], [0.0, 1.0], [1.0, 1.0])
        made = [le.manipulate(latent, [first, second], strength=share, mixing=mixing) for share in shares]
        told(mixing, *(pixels(one.image) - start for one in made))
    told(ADDED, t[0], t[1], t[0] + t[1])
    told_both(TOGETHER, pixels(le.manipulate(latent, both).image) - start)

    edited = le.manipulate(latent, first)
    edited.save(place)
    opened = Picture.open(place)
    again = le.encode(model, opened)
    back = le.identify(again, to=latent.captions[0])
    row["the edit itself"] = psnr(source, edited.image)
    row["the file, latentedit undo"] = psnr(source, le.undo(place))
    row["pixels and direction"] = psnr(source, undo_direction(model, opened, first))
    row["pixels alone, by text"] = psnr(source, le.manipulate(again, back).image)
    return row


def main() -> None:
    """Measure, and write results/edits.json and results/edits.md."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--portraits", type=int, default=64, help="of the test split")
    options.add_argument("--dtype", default="auto", help="of the networks")
    chosen = options.parse_args()
    model, world, rows = le.load("portraits", dtype=chosen.dtype), domain("portraits"), list[dict[str, float]]()
    with tempfile.TemporaryDirectory() as folder, model.count() as cost:
        for scenes in drawn(world, chosen.portraits):
            rows.append(one_portrait(model, world, scenes, Path(folder) / "edited.png"))
            if len(rows) % 12 == 0:
                print(f"{len(rows)} portraits", flush=True)
    every = pd.DataFrame(rows)
    for mixing in MIXINGS[1:]:
        for measure in ("other change", "error of both"):
            every[f"sum less {mixing}: {measure}"] = every[f"sum: {measure}"] - every[f"{mixing}: {measure}"]
    apart = [[index] for index in range(len(every))]
    found = {
        name: dataclasses.asdict(estimate(values := every[name].tolist(), apart))
        | {"median": float(np.median(values)), "least": min(values)}
        for name in every
    }
    cells = [
        [
            name,
            f"{one['mean']:.4f} [{one['low']:.4f}, {one['high']:.4f}]",
            f"{one['median']:.4f}",
            f"{one['least']:.4f}",
        ]
        for name, one in found.items()
    ]
    told = f"Model {model.fingerprint}, {chosen.portraits} portraits, seed {SEED}, {cost.evaluations} evaluations."
    save(
        RESULTS / "edits",
        {"model": model.fingerprint, "dtype": chosen.dtype, "seed": SEED, "portraits": len(every)}
        | {"evaluations": cost.evaluations, "measures": found},
        [told, "", *table(["measure", "mean, 95 % interval", "median", "least"], cells)],
    )


if __name__ == "__main__":
    main()
