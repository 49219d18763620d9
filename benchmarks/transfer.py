"""Transfer: a direction found on one portrait, or averaged over several, on portraits that it has never seen.

Six fixed changes. Directions are found on portraits of the calibration split and applied to portraits of the test split
that do not have the attribute yet.

    local             found on the portrait itself
    one portrait      found on one other portrait, its image part alone
    average           the mean of the directions found on eight others, image part alone
    one, joint arm    the direction of one other portrait, its words said anew in the caption, image and text together
                      ("transfer" in latentedit.json, the default for such directions; chosen on calibration)
    average, joint    the same with the mean
    text alone        no direction: those words on the text arm, at the same level

Success: the attribute reader sees what was asked for. Cross-talk: other attributes that it sees changed, a picture.

    python benchmarks/transfer.py       writes results/transfer.{json,md}
"""

import argparse
import dataclasses
import sys

import numpy as np
import torch
from edit_errors import Watch, cell, described, latent_errors, readings, save, table
from edit_pairs import Batch, Pair, encode_all

from latentedit.api.verbs import load
from latentedit.core.types import Condition
from latentedit.directions.base import Direction
from latentedit.directions.transfer import transferred
from latentedit.editors.eim import EIM
from latentedit.editors.registry import make_editor
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone
from latentedit.models.registry import bundled_folder
from latentedit_portraits.attributes import NONE, Split, draw_split
from latentedit_portraits.captions import full_caption
from latentedit_portraits.reader import PortraitReader
from latentedit_portraits.render import counterfactual

CHANGES = {
    "glasses": {"accessory": "glasses"},
    "beard": {"facial_hair": "beard", "facial_hair_color": "black"},
    "mouth": {"mouth": "sad"},
    "hair color": {"hair_color": "pink"},
    "clothes color": {"clothes_color": "red"},
    "background": {"background": "green"},
}
BEST = {"local": 0.80, "transfer": 0.91}


def draw_portraits(split: Split, count: int, seed: int) -> list[Pair]:
    """``count`` portraits to which all six changes apply, six pairs each."""
    new = {field: value for change in CHANGES.values() for field, value in change.items()}
    pool = draw_split(split, 100 * count, seed)
    fit = [
        item
        for item in pool
        if item.accessory == NONE and item.facial_hair == NONE and item.hair != "bald"
        if all(getattr(item, field) != value for field, value in new.items())
    ]
    return [
        Pair(change=name, source=item, truth=counterfactual(item, change))
        for item in fit[:count]
        for name, change in CHANGES.items()
    ]


SIZE = 24
"""Portraits of one batch."""


def part(batch: Batch, rows: slice) -> JointLatent:
    """Some of the sources."""
    latent = batch.latent
    return JointLatent(
        backbone=latent.backbone, z=latent.z[rows], condition=latent.condition[rows], captions=latent.captions[rows]
    )


def found_on(editor: EIM, batch: Batch) -> list[Direction]:
    """One direction a pair."""
    directions: list[Direction] = []
    for start in range(0, len(batch.pairs), SIZE):
        rows = slice(start, start + SIZE)
        found = editor.direction(part(batch, rows), batch.target[rows], seed=0)
        targets = tuple(full_caption(pair.truth) for pair in batch.pairs[rows])
        found = dataclasses.replace(found, target_captions=targets)
        directions += [found.row(index) for index in range(len(found))]
    return directions


def mean_of(directions: list[Direction]) -> Direction:
    """The mean over portraits, as `latentedit direction make` takes it; its words are those of the first."""
    return dataclasses.replace(directions[0], z=torch.cat([direction.z for direction in directions]).mean(0, True))


def stacked(directions: list[Direction]) -> Direction:
    """Directions of one portrait each as one of all of them."""
    return dataclasses.replace(
        directions[0],
        z=torch.cat([direction.z for direction in directions]),
        condition=Condition.cat([direction.condition for direction in directions]),
        source_captions=tuple(direction.source_captions[0] for direction in directions),
        target_captions=tuple(direction.target_captions[0] for direction in directions),
    )


def applied(editor: EIM, batch: Batch, directions: list[Direction]) -> torch.Tensor:
    """The latents moved, each by its direction, at strength 1."""
    moved: list[torch.Tensor] = []
    for start in range(0, len(directions), SIZE):
        rows = slice(start, start + SIZE)
        latent = part(batch, rows)
        direction = transferred(stacked(directions[rows]), latent)
        moved.append(editor.slider(latent, direction, seed=0).edit([1.0])[0].z)
    return torch.cat(moved)


@torch.no_grad()
def results(
    model: Backbone, others: int, portraits: int, watch: Watch
) -> tuple[dict[str, dict[str, np.ndarray]], Batch]:
    """Success, cross-talk and latent error of every kind; one number a pair."""
    reader = PortraitReader.from_folder(bundled_folder("portraits"))
    image = make_editor("eim", model)
    assert isinstance(image, EIM)
    joint = EIM.from_dict(model.defaults["transfer"])
    known = encode_all(model, draw_portraits("calibration", others, seed=5))
    batch = encode_all(model, draw_portraits("test", portraits, seed=5))
    watch("encoded")
    there = found_on(image, known)
    watch("found on others")
    count = len(CHANGES)
    single = [there[(index // count) % others * count + index % count] for index in range(len(batch.pairs))]
    means = [mean_of(there[index::count]) for index in range(count)]
    average = [means[index % count] for index in range(len(batch.pairs))]
    kinds = {
        "local": applied(image, batch, found_on(image, batch)),
        "one portrait": applied(image, batch, single),
        "average": applied(image, batch, average),
    }
    watch("image arm")
    kinds |= {"one, joint arm": applied(joint, batch, single), "average, joint": applied(joint, batch, average)}
    words = [dataclasses.replace(direction, z=torch.zeros_like(direction.z)) for direction in average]
    kinds["text alone"] = applied(dataclasses.replace(joint, arm="text"), batch, words)
    watch("joint and text arm")
    found: dict[str, dict[str, np.ndarray]] = {}
    for name, z in kinds.items():
        done, talk = readings(model, reader, batch, z)
        found[name] = {"success": done, "cross-talk": talk, "error": latent_errors(z, batch)}
    return found, batch


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--others", type=int, default=8, help="portraits on which directions are found")
    parser.add_argument("--portraits", type=int, default=20, help="to which they are applied; six changes each")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"), help="of the network")
    arguments = parser.parse_args()
    model = load("portraits", dtype=getattr(torch, arguments.dtype))
    watch, before = Watch(model), model.evaluations
    found, batch = results(model, arguments.others, arguments.portraits, watch)
    content = {
        "command": " ".join(["python", "benchmarks/transfer.py", *sys.argv[1:]]),
        "model": model.fingerprint,
        "dtype": arguments.dtype,
        "pairs": len(batch.pairs),
        "evaluations": model.evaluations - before,
        "seconds": watch.seconds,
        "best published success": BEST,
        "measures": {name: {kind: described(values) for kind, values in row.items()} for name, row in found.items()},
        "by change": {
            name: {
                change: float(
                    np.mean([v for v, pair in zip(row["success"], batch.pairs, strict=True) if pair.change == change])
                )
                for change in CHANGES
            }
            for name, row in found.items()
        },
    }
    rows = [
        [
            name,
            cell(described(row["success"])),
            cell(described(row["cross-talk"])),
            cell(described(row["error"])),
            f"{np.median(row['error']):.3f}",
        ]
        for name, row in found.items()
    ]
    lines = table(["direction", "success", "others changed", "latent error", "its median"], rows)
    lines += table(
        ["success by change", *CHANGES],
        [[name, *(f"{value:.2f}" for value in row.values())] for name, row in content["by change"].items()],
    )
    lines.append(
        f"Best published success, other models and measures: local {BEST['local']}, transfer {BEST['transfer']}."
    )
    save("transfer", content, lines)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
