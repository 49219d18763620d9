"""Thirteen kinds of change of rendered scenes, asked in words and made by `eim`, beside the right answers.

    python benchmarks/scenes.py [--each 6]

Plan, written before the run: scenes of the test split that nothing was chosen with, under their full captions; the
change says no more than the phrases that differ. Of each kind the first scene goes into the sheet, whatever it
looks like. "above" is the error above the codec's, as in the ranking; "side effects" the share of the right shadow,
reflection and light that bounces. Control: the encoded right answers, which the codec alone can spoil.
"""

import argparse
import dataclasses
import random
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import torch
from PIL import Image
from results import RESULTS, save, table

import latentedit as le
from latentedit.api.manifests.items import Item
from latentedit.api.sheets.drawing import draw_grid
from latentedit.models.base import Backbone
from latentedit_bench.data.counterfactual import Rendered, side_effects
from latentedit_bench.data.prepared import prepare, to_tensor
from latentedit_bench.metrics.counterfactual import counterfactual_error
from latentedit_bench.metrics.disentanglement import all_scores
from latentedit_bench.metrics.side_effects import side_effect
from latentedit_bench.metrics.statistics import over_groups
from latentedit_bench.ranking.evaluate import codec_rows
from latentedit_keep.pictures import save_image
from latentedit_scenes.attributes import NONE, PARTS, VALUES, Attributes, draw_split
from latentedit_scenes.captions import full_caption
from latentedit_scenes.edits import draw_edit

SEED = 51
_SCENES = 400  # that are looked through for those that a kind of change applies to


def _set(*names: str) -> Callable[[Attributes, random.Random], Attributes | None]:
    """A change of one attribute, the first of some that the scene has."""

    def change(scene: Attributes, words: random.Random) -> Attributes | None:
        able = [name for name in names if getattr(scene, name) != NONE]
        if not able:
            return None
        own = getattr(scene, able[0])
        return scene.replace(**{able[0]: words.choice([one for one in VALUES[able[0]] if one not in (NONE, own)])})

    return change


def _drawn(kind: str) -> Callable[[Attributes, random.Random], Attributes | None]:
    def change(scene: Attributes, words: random.Random) -> Attributes | None:
        found = draw_edit(kind, scene, words)
        return None if found is None else found.target

    return change


KINDS = {
    **{part: _set(*(f"{place}_{part}" for place in ("middle", "left", "right"))) for part in PARTS},
    **{kind: _drawn(kind) for kind in ("remove", "add", "move", "swap")},
    "lamp": _set("lamp_side"),
    "time": _set("time"),
    "wall": _set("wall_texture"),
    "floor": _set("floor_color"),
    "camera": _set("camera"),
}


def drawn(each: int) -> Iterator[Item]:
    """So many items of each kind, no scene twice."""
    words, scenes = random.Random(f"scenes/{SEED}"), iter(draw_split("test", _SCENES, SEED))
    for kind, change in KINDS.items():
        found = ((scene, change(scene, words)) for scene in scenes)
        able = ((scene, target) for scene, target in found if target is not None)
        for number, (scene, target) in zip(range(each), able, strict=False):
            yield Item(
                id=f"{kind}-{number}",
                kind=kind,
                picture=Rendered(scene, "scenes"),
                truth=Rendered(target, "scenes"),
                source_caption=full_caption(scene),
                target_caption=full_caption(target),
            )


def measured(model: Backbone, item: Item) -> tuple[dict[str, Any], list[Image.Image]]:
    """The numbers of one change asked in words, and its picture, edit and right answer."""
    assert item.truth is not None
    source, truth = item.picture(), item.truth()
    made = le.edit(model, source, caption=item.source_caption, change=item.change).image
    before, after, right = (to_tensor([one]) for one in (source, made, truth))
    where, (codec,) = side_effects(item), codec_rows(prepare(model, [item]))
    error = min(float(counterfactual_error(after, before, right)), 1.0)
    row = {"kind": item.kind, "group": item.id, "change": item.change, "error": error}
    row["above"] = error - min(codec["error"], 1.0)
    row["effect"] = float(all_scores(after, before, right)["effect"])
    if where is not None:
        row["side effects"] = float(side_effect(after, before, right, torch.from_numpy(where)[None, None]))
    return row, [source, made, truth]


def main() -> None:
    """Edit, measure, and write results/scenes.json, .md and .png."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--each", type=int, default=6, help="scenes of each kind of change")
    chosen = options.parse_args()
    model, rows, shown = le.load("scenes"), list[dict[str, Any]](), dict[str, tuple[str, list[Image.Image]]]()
    for item in drawn(chosen.each):
        row, pictures = measured(model, item)
        rows.append(row)
        shown.setdefault(item.kind, (f"{item.kind}\n{item.change}", pictures))
        print(f"{item.id}: error {row['error']:.3f}", flush=True)
    every = pd.DataFrame(rows)
    names = ("error", "above", "effect", "side effects")
    cells, found = [], {}
    for kind, part in [*every.groupby("kind", sort=False), ("all", every)]:
        found[kind] = {name: dataclasses.asdict(over_groups(part.set_index("group")[name])) for name in names}
        cells.append(
            [kind, *(f"{one['mean']:.3f} [{one['low']:.3f}, {one['high']:.3f}]" for one in found[kind].values())]
        )
    head = ["source", "edited", "right answer"]
    sheet = draw_grid(
        [picture for _, pictures in shown.values() for picture in pictures],
        head * len(shown),
        columns=3,
        title="The first test scene of each kind of change, as it came",
        beside=[text for text, _ in shown.values()],
        panel_px=160,
    )
    save_image(sheet, RESULTS / "scenes.png")
    about = f"Model {model.fingerprint}, {len(every)} changes in words, seed {SEED}."
    save(
        RESULTS / "scenes",
        {"model": model.fingerprint, "seed": SEED, "each": chosen.each, "kinds": found, "rows": rows},
        [about, "", *table(["kind", *names], cells)],
    )


if __name__ == "__main__":
    main()
