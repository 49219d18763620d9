"""Eight edits of one photograph in a row: what `keep` gives back of the photograph, in three ways.

In each round a simulated editor gets an image, adds one or two things, and damages the whole image (`EDITORS`). Its
output at the photograph's size is its next image. `keep` is used in three ways:

* "first and last": on the photograph and the last edit, once.
* "neighbors": the change of each round is found between the edit before it and that edit, which share their damage.
  Where it is, moved to the photograph's frame, is the mask of a `keep` of the edit on the result of the round before.
* "given back": the editor gets the kept result instead of its own, and `keep` compares these two.

Controls: "editor" is the editor alone, "sift" the usual paste after SIFT alignment, given back each time.

Measured after each round, in the photograph's frame: over the pixels that no round was asked to change, the PSNR
against the photograph and the share that is identical to it; inside the changes, the mean absolute error against the
photograph with the same changes and no damage, as they lie and with each change moved by up to 3 px to where it fits
best (a text that has drifted by 2 px looks right, and is wrong as it lies); and how much of the asked changes was
taken, as the mean of the masks. Every position is known: things are drawn where the photograph's pixels are in the
damaged image.

Plan, written before the first run: the 20 photographs of `_NAMES` at 384 px, of which seven are of the calibration half
(the three ways use the same `keep`, with the same settings); one draw of the things for each photograph, the same for
all editors; the seed is used by no other measurement. Intervals are over photographs.

1. The claim: after the last round, all editors together, the lower end of the 95 % interval of the difference in PSNR
   between "first and last" and the editor alone is above 20 dB.
2. A command for chains is built only if "neighbors" wins clearly over "first and last" after the last round, all
   editors together. Clearly: the lower end of the 95 % interval is above 1 level for what is saved of the error inside,
   with changes moved to where they fit, or above 3 dB for the PSNR outside that is gained; and nothing is worse: in the
   mean, either error by at most .5 level, the PSNR by at most .5 dB, and the share taken by at most .02.
"""

import dataclasses
import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from latentedit import keep
from latentedit.batch import UnitResult
from latentedit.keeping import Chain
from latentedit.photo import Array, PixelImage, resized, scaling
from latentedit_bench.known_pairs.baselines import baseline
from latentedit_bench.known_pairs.cases import PHOTOGRAPHS, Plane, changed, load_photograph, scaled, true_mask
from latentedit_bench.known_pairs.damages import Pixels, as_pixels, blurred, draw_damage, grain, smooth_field
from latentedit_bench.known_pairs.measured import THRESHOLDS, psnr
from latentedit_bench.known_pairs.opencv import cv2
from latentedit_bench.metrics.statistics import Table, over_groups
from latentedit_bench.work import UnitWork

ROUNDS = 8
EDITORS = {"mild": 0.0, "wearing": 1.0, "strong": 3.0}
"""Names, and the largest drift of single things in one round, in pixels.

"mild" moves and resizes the image and writes a JPEG; "wearing" blurs and sharpens, tints by 1 %, adds grain of 1.5
levels and writes a JPEG of quality 90; "strong" moves, resizes and recolors, makes up texture and writes a JPEG.
"""
METHODS = ("editor", "sift", "given back", "first and last", "neighbors")
MEASURES = ("db", "identical", "error", "moved", "taken")
_SEED = 7231
_NAMES = (*PHOTOGRAPHS["test"], *(name for name in PHOTOGRAPHS["calibration"] if name != "skimage/data/text.png"))
_SIDE_PX = 384
_SHARES = (0.006, 0.02)  # shares of the image that one thing covers
_LEAST = 0.003  # share that a round changes visibly; less is drawn again
_BLUR_PX = 0.7
_SHARPENED = (1.2, 0.6)  # sigma in px, and amount
_TINT = 0.01
_GRAIN_LEVELS = 1.5
_QUALITY_90 = 1 / 6  # amount of `Damage`
_BORDER: dict[str, Any] = {"borderMode": cv2.BORDER_REFLECT}
_MOST_PX = 3  # largest move of a change to where it fits
_CLEARLY = {"moved": 1.0, "db": 3.0}
_AS_GOOD = {"error": -0.5, "moved": -0.5, "db": -0.5, "taken": -0.02}


def rounds_work() -> UnitWork:
    """One unit for each photograph and editor."""
    chains = [(name, editor) for name in _NAMES for editor in EDITORS]
    tasks = {f"{index:02d}": chain for index, chain in enumerate(chains)}
    return UnitWork(spec={"rounds": ROUNDS, "seed": _SEED}, tasks=tasks, measure=_measured)


def rounds_summary(rows: Table) -> dict[str, Any]:
    """The measures after each round, and both decisions of the plan."""
    after = [
        {"editor": editor, "method": method, "round": number}
        | {name: dataclasses.asdict(over_groups(some.set_index("group")[name])) for name in MEASURES}
        for editor, table in [*rows.groupby("editor", sort=False), ("all", rows)]
        for (method, number), some in table.groupby(["method", "round"], sort=False)
    ]
    last = rows[rows["round"] == rows["round"].max()]
    tables = {name: last.pivot_table(index=["group", "editor"], columns="method", values=name) for name in MEASURES}
    better = {
        other: dataclasses.asdict(over_groups(tables["db"]["first and last"] - tables["db"][other]))
        for other in METHODS if other != "first and last"
    }  # fmt: skip
    gained = {name: tables[name]["neighbors"] - tables[name]["first and last"] for name in _AS_GOOD}
    gained |= {name: -gained[name] for name in ("error", "moved")}
    chain = {name: dataclasses.asdict(over_groups(values)) for name, values in gained.items()}
    clear = any(chain[name]["low"] > least for name, least in _CLEARLY.items())
    return {
        "photographs": rows["group"].nunique(),
        "after": after,
        "first and last better by": better,
        "claim holds": better["editor"]["low"] > 20,
        "chain gains": chain,
        "chain gains by editor": {
            editor: {
                name: dataclasses.asdict(over_groups(values.xs(editor, level="editor")))
                for name, values in gained.items()
            }
            for editor in EDITORS
        },
        "chain wins clearly": clear and all(chain[name]["mean"] >= least for name, least in _AS_GOOD.items()),
    }


def _measured(task: tuple[str, str]) -> UnitResult:
    name, editor = task
    things = np.random.default_rng([_SEED, _NAMES.index(name)])
    damages = np.random.default_rng([_SEED, _NAMES.index(name), list(EDITORS).index(editor)])
    photograph, other = load_photograph(name), load_photograph(str(things.choice(_NAMES)))
    original = scaled(photograph, _SIDE_PX, things)
    truth, areas = original, list[NDArray[np.bool_]]()
    outside = np.ones(original.shape[:2], dtype=bool)
    edit, places = original, np.dstack(_grid(original)).astype(np.float32)
    chain, images = Chain(PixelImage(pixels=original), keep), dict.fromkeys(("sift", "given back"), original)
    taken: dict[str, list[float]] = {method: [] for method in METHODS}
    rows: list[dict[str, Any]] = []
    for number in range(1, ROUNDS + 1):
        layer, truth, mask = _requested(truth, other, things)
        areas.append(mask > 0.5)
        outside &= mask <= 0
        seed = int(damages.integers(2**31))
        outputs = {way: damaged(editor, _put(layer, image), None, seed)[0] for way, image in images.items()}
        edit, places = damaged(editor, _put(layer, edit, places), places, seed)
        followed = chain.follow(PixelImage(pixels=edit))
        made = {
            "editor": (edit, None),
            "sift": baseline("sift", images["sift"], outputs["sift"], THRESHOLDS["sift"]),
            "given back": _kept(images["given back"], outputs["given back"]),
            "first and last": _kept(original, edit),
            "neighbors": (chain.kept.pixels, followed / 255),
        }
        images = {way: made[way][0] for way in images}
        inside, sizes = np.any(areas, axis=0), [one.sum() for one in areas]
        for method, (image, opacity) in made.items():
            if opacity is not None:
                anew = method == "first and last"  # where all changes are found again in every round
                before = [] if anew else taken[method]
                taken[method] = before + [float(opacity[one].mean()) for one in (areas if anew else areas[-1:])]
            rows.append({
                "group": name, "editor": editor, "round": number, "method": method,
                "db": psnr(image, original, outside),
                "identical": float((image == original).all(axis=2)[outside].mean()),
                "error": float(np.abs(image[inside].astype(np.float64) - truth[inside]).mean()),
                "moved": float(np.average([_moved_error(image, truth, one) for one in areas], weights=sizes)),
                "taken": float(np.mean(taken[method])) if taken[method] else None,
            })  # fmt: skip
    return UnitResult(rows=rows)


def _kept(original: Pixels, edited: Pixels) -> tuple[Pixels, Plane]:
    result = keep(Image.fromarray(original), Image.fromarray(edited))
    return np.asarray(result.image.convert("RGB")), np.asarray(result.mask) / 255


def _moved_error(image: Pixels, truth: Pixels, area: NDArray[np.bool_]) -> float:
    """Mean absolute error within an area, with the image moved by whole pixels to where it fits best."""
    rows, columns = np.nonzero(area)
    wanted, padded = truth[area].astype(np.int16), np.pad(image, [(_MOST_PX, _MOST_PX)] * 2 + [(0, 0)], mode="edge")
    moves = itertools.product(range(2 * _MOST_PX + 1), repeat=2)
    return min(float(np.abs(padded[rows + down, columns + right] - wanted).mean()) for down, right in moves)


def _requested(
    truth: Pixels, other: Pixels, generator: np.random.Generator
) -> tuple[tuple[Array, Array], Pixels, Plane]:
    """One or two things as a layer (what stays of an image, and what is added), the truth with them, and their mask."""
    while True:
        count, seed = int(generator.integers(1, 3)), int(generator.integers(2**31))
        ends = list[Array]()
        for level in (0, 255):
            image, draw = np.full(truth.shape, level, dtype=np.float32), np.random.default_rng(seed)
            for _ in range(count):
                what, share = str(draw.choice(["paste", "drawn"])), float(draw.uniform(*_SHARES))
                image = changed(what, image, other, share, draw)
            ends.append(image.astype(np.float32))
        layer = (ends[1] - ends[0]) / 255, ends[0]
        result = as_pixels(_put(layer, truth))
        mask = true_mask(truth.astype(np.float32), result.astype(np.float32))
        if mask.mean() >= _LEAST:
            return layer, result, mask


def _put(layer: tuple[Array, Array], image: Pixels, places: Array | None = None) -> Array:
    """An image with a layer; with places, the layer lies where they say."""
    stays, added = layer
    if places is not None:
        stays, added = (cv2.remap(one, places, None, cv2.INTER_LINEAR, **_BORDER) for one in layer)
    return (image.astype(np.float32) * stays + added).clip(0, 255)


def damaged(editor: str, image: Array, places: Array | None, seed: int) -> tuple[Pixels, Array]:
    """An editor's output at the image's size, and where in the photograph each of its pixels comes from."""
    generator, size = np.random.default_rng(seed), (image.shape[1], image.shape[0])
    damage = draw_damage(size, generator)
    drift = [EDITORS[editor] * smooth_field(image.shape[:2], 1 / 8, generator) for _ in range(2)]
    plain: dict[str, Any] = {"gamma": np.ones(3), "contrast": 1.0, "saturation": 1.0, "codec": "jpeg"}
    if editor == "mild":
        damage = dataclasses.replace(damage, **plain, gain=np.ones(3))
    elif editor == "wearing":
        tint = 1 + generator.normal(0, _TINT, 3)
        damage = dataclasses.replace(damage, **plain, gain=tint, matrix=np.eye(3), size=size, amount=_QUALITY_90)
    else:
        damage = dataclasses.replace(damage, codec="texture and jpeg")
    x, y = (one + shift for one, shift in zip(_grid(image), drift, strict=True))
    image = cv2.remap(image, x, y, cv2.INTER_CUBIC, **_BORDER)
    if editor == "wearing":
        image = blurred(image, _BLUR_PX)
        image = image + _SHARPENED[1] * (image - blurred(image, _SHARPENED[0]))
        image = image + grain(image, _GRAIN_LEVELS, generator).astype(np.float32)
    before = np.dstack(_grid(image)) if places is None else places
    moved = cv2.remap(before, x, y, cv2.INTER_LINEAR, **_BORDER)
    back = scaling(damage.size, size) @ damage.matrix
    after = cv2.warpAffine(moved, back[:2], size, flags=cv2.INTER_LINEAR, **_BORDER)
    return resized(damage.apply(image.clip(0, 255)), size), after


def _grid(image: Array | Pixels) -> tuple[Array, Array]:
    """The column and the row of each pixel."""
    height, width = image.shape[:2]
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return columns, rows
