"""Only there: how well pixels outside the change keep what they were, without a mask.

Pairs of first_edit.py. Each change is scaled to the effect of the truth (its rendered counterfactual), put into the
picture in whole levels, and compared with the picture outside the truth's changed area: pixels of which no channel of
the truth moves by more than two levels.

    no locality     search without `keep`, change as decoded
    search          search with `keep`, its map of differences of velocities
    automatic       the same, and the soft share of the decoded change (`latentedit.editors.local_change`): the default
    true mask       no locality, and the change cut to the truth's changed area

    python benchmarks/locality.py tune     prints floors of the share on the calibration split
    python benchmarks/locality.py          writes results/locality.{json,md} from the test split
"""

import argparse
import dataclasses
import sys

import numpy as np
import torch
from edit_errors import Watch, cell, described, interval, save, table
from edit_pairs import Batch, draw_pairs, encode_all
from jaxtyping import Float
from torch import Tensor

from latentedit.api.verbs import load
from latentedit.editors.eim import EIM
from latentedit.editors.local_change import local_change
from latentedit.editors.registry import make_editor
from latentedit.models.base import Backbone

SAME_LEVELS = 2
BAR_DB = 35.0

Pixels = Float[Tensor, "b 3 h w"]


def changes(model: Backbone, batch: Batch, editor: EIM, size: int = 24) -> Pixels:
    """What the editor changes in the pixels at strength 1, as decoded."""
    latent, found = batch.latent, list[Tensor]()
    for start in range(0, len(batch.pairs), size):
        part = slice(start, start + size)
        rows = dataclasses.replace(
            latent,
            z=latent.z[part],
            condition=latent.condition[part],
            captions=latent.captions[part],
            decoded=None,
            known={},
        )
        d = editor.direction(rows, batch.target[part], seed=0).z
        found.append(model.decode(rows.z + d) - model.decode(rows.z))
    return torch.cat(found)


def unchanged(batch: Batch) -> Float[Tensor, "b 1 h w"]:
    """1 where the truth leaves the picture as it is."""
    levels = 127.5 * (batch.truth_pixels - batch.source_pixels).abs()
    return (levels.amax(1, keepdim=True) < SAME_LEVELS + 0.5).float()


def measured(change: Pixels, batch: Batch) -> dict[str, np.ndarray]:
    """PSNR outside, mean square outside, and the error to the truth, at matched effect; one number a pair."""
    truth, outside = batch.truth_pixels - batch.source_pixels, unchanged(batch)
    size = truth.square().flatten(1).sum(1)
    along = (change * truth).flatten(1).sum(1)
    scaled = change * (size / along.clamp_min(1e-12))[:, None, None, None]
    before, after = (
        (127.5 * pixels.clamp(-1, 1) + 127.5).round() for pixels in (batch.source_pixels, batch.source_pixels + scaled)
    )
    squares = ((after - before) / 255).square() * outside
    mse = squares.flatten(1).sum(1) / (3 * outside.flatten(1).sum(1))
    error = (scaled - truth).square().flatten(1).sum(1) / size
    return {
        "psnr": (-10 * mse.clamp_min(1e-12).log10()).numpy(),
        "outside": mse.numpy(),
        "error": error.clamp_max(30).numpy(),
    }


def modes(model: Backbone, batch: Batch) -> dict[str, Pixels]:
    """The change under each kind of locality."""
    editor = make_editor("eim", model)
    assert isinstance(editor, EIM)
    bare = changes(model, batch, dataclasses.replace(editor, search=dataclasses.replace(editor.search, keep=0.0)))
    search = changes(model, batch, editor)
    return {
        "no locality": bare,
        "search": search,
        "automatic": local_change(search),
        "true mask": bare * (1 - unchanged(batch)),
    }


def steps(change: Pixels) -> tuple[Pixels, Pixels]:
    """How much the change differs between neighbours, downwards and to the right, in levels."""
    return 127.5 * change.diff(dim=2).abs()[..., :-1], 127.5 * change.diff(dim=3).abs()[:, :, :-1]


def tune(model: Backbone, batch: Batch) -> None:
    """Floors of the share: what each keeps outside, and what it costs inside."""
    editor = make_editor("eim", model)
    assert isinstance(editor, EIM)
    search = changes(model, batch, editor)
    print("floor  PSNR outside, median  error to the truth, mean  median")
    for floor in (0.0, 0.01, 0.02, 0.03, 0.05, 0.1):
        found = measured(local_change(search, floor=floor) if floor else search, batch)
        error = found["error"]
        print(f"{floor:5.2f}  {np.median(found['psnr']):20.2f}  {error.mean():24.4f}  {np.median(error):.4f}")


def share_of_gap(rows: np.ndarray) -> float:
    """(bare - automatic) / (bare - true), means over pairs."""
    bare, automatic, true = rows.mean(0)
    return float((bare - automatic) / (bare - true))


@torch.no_grad()
def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", nargs="?", choices=("tune", "test"), default="test")
    parser.add_argument("--portraits", type=int, default=20, help="six changes each")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"), help="of the network")
    arguments = parser.parse_args()
    model = load("portraits", dtype=getattr(torch, arguments.dtype))
    watch, before = Watch(model), model.evaluations
    split = "calibration" if arguments.stage == "tune" else "test"
    batch = encode_all(model, draw_pairs(split, arguments.portraits, seed=7))
    watch("encoded")
    if arguments.stage == "tune":
        tune(model, batch)
        return
    kinds = modes(model, batch)
    found = {name: measured(change, batch) for name, change in kinds.items()}
    watch("edited")
    extra = torch.maximum(
        *(own - bare for own, bare in zip(steps(kinds["automatic"]), steps(kinds["search"]), strict=True))
    )
    seams = extra.flatten(1).quantile(0.999, dim=1)
    gap = {
        kind: interval(
            share_of_gap, np.stack([found[name][kind] for name in ("no locality", "automatic", "true mask")], 1)
        )
        for kind in ("outside", "error")
    }
    median = interval(lambda rows: float(np.median(rows)), found["automatic"]["psnr"])
    by_change = {
        name: float(
            np.median(
                [p for p, pair in zip(found["automatic"]["psnr"], batch.pairs, strict=True) if pair.change == name]
            )
        )
        for name in dict.fromkeys(pair.change for pair in batch.pairs)
    }
    content = {
        "command": " ".join(["python", "benchmarks/locality.py", *sys.argv[1:]]),
        "model": model.fingerprint,
        "dtype": arguments.dtype,
        "pairs": len(batch.pairs),
        "evaluations": model.evaluations - before,
        "seconds": watch.seconds,
        "psnr_db": {name: described(rows["psnr"]) for name, rows in found.items()},
        "error": {name: described(rows["error"]) for name, rows in found.items()},
        "outside": {name: described(rows["outside"]) for name, rows in found.items()},
        "median_psnr_db": median,
        "by_change": by_change,
        "share_of_gap": gap,
        "extra_step_levels": described(seams.tolist()),
        "bar_db": BAR_DB,
        "holds": median["mean"] >= BAR_DB,
    }
    rows = [
        [
            name,
            "identical" if name == "true mask" else f"{np.median(kind['psnr']):.1f}",
            f"{1e6 * kind['outside'].mean():.0f}e-6",
            cell(described(kind["error"])),
            f"{np.median(kind['error']):.3f}",
        ]
        for name, kind in found.items()
    ]
    lines = table(
        ["locality", "PSNR outside, median dB", "mean square outside", "error to the truth", "its median"], rows
    )
    verdict = "holds" if content["holds"] else "FAILS"
    interval_db = f"{median['mean']:.1f} dB [{median['low']:.1f}, {median['high']:.1f}]"
    of_gap = f"{cell(gap['outside'])} of the mean square outside, {cell(gap['error'])} of the error to the truth"
    lines += [
        f"Median PSNR outside the truth's changed area, no mask given: {interval_db}; bar {BAR_DB:.0f} dB: {verdict}.",
        "",
        f"Share of the gap from no locality to the true mask: {of_gap}.",
        "",
        "By change: " + ", ".join(f"{name} {value:.1f} dB" for name, value in by_change.items()) + ".",
        f"Seams: the share adds {cell(described(seams.tolist()))} of 255 levels to a step between neighbours (99.9 %).",
    ]
    save("locality", content, lines)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
