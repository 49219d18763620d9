"""False alarms and misses of `latentedit check` on pairs whose answer is known.

    python benchmarks/check_rates.py --output out/check

Half of the cases are unchanged but for the damage of an editor, half have a local change as well; three in ten edited
images have a wide-gamut profile. A stopped run continues. Settings were chosen with ``--split calibration``.
"""

import argparse
import dataclasses
import json
import math
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
from PIL import Image
from scipy.stats import beta

from latentedit_bench.known_pairs.cases import Case, make_case
from latentedit_bench.known_pairs.damages import Damage
from latentedit_keep import checking
from latentedit_keep.base.color import Levels, space_of
from latentedit_keep.base.files import plain, write_text
from latentedit_keep.checking import Measure, check
from latentedit_keep.registration import Registration
from latentedit_keep.tones import PATCHES

SEEDS = {"calibration": 21, "test": 24}  # new ones whenever rates are measured again
REPAINTS = ("autoencoder", "redrawn")  # codecs that repaint the image
LEAST = 0.005  # share of the image from which on a change must be found
WHITE = (0.3127, 0.3290)
PROFILES: dict[str, dict[str, Any]] = {
    "wide": {"gamma": 0.4547, "chromaticity": (*WHITE, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)},
    "p3": {"chromaticity": (*WHITE, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)},
}
SIZES = {"0.5 to 1 %": 0.01, "1 to 3 %": 0.03, "3 to 10 %": 0.1, "10 % and more": 1.0}


def main() -> None:
    """Measure the cases that are missing, then write the summary."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--output", type=Path, default=Path("out/check"))
    options.add_argument("--split", choices=SEEDS, default="test")
    options.add_argument("--count", type=int, default=1000)
    options.add_argument("--part", type=int, nargs=2, default=(0, 1), metavar=("I", "N"), help="cases I, I + N, ...")
    chosen = options.parse_args()
    chosen.output.mkdir(parents=True, exist_ok=True)
    for index in range(chosen.part[0], chosen.count, chosen.part[1]):
        place = chosen.output / f"{index:04d}.json"
        if not place.exists():
            write_text(place, json.dumps(plain(measured(chosen.split, index))))
    rows = [json.loads(place.read_text()) for place in sorted(chosen.output.glob("[0-9]*.json"))]
    command = "python benchmarks/check_rates.py" + "".join(f" {word}" for word in sys.argv[1:])
    report = {"command": command, "split": chosen.split, "seed": SEEDS[chosen.split], **summary(pd.DataFrame(rows))}
    write_text(chosen.output / "check.json", json.dumps(plain(report), indent=1) + "\n")


def measured(split: Any, index: int) -> dict[str, Any]:
    """What `check` says of one case, and the truth."""
    kind = ("unchanged", "local")[index % 2]
    case = make_case(split, index, kind=kind, seed=SEEDS[split], least=LEAST)
    damage = case.damage
    assert damage is not None
    generator = np.random.default_rng([SEEDS[split], index, 1])
    profile = str(generator.choice(["", *PROFILES], p=[0.7, 0.15, 0.15]))
    result = check(Image.fromarray(case.original), with_profile(case, profile))
    report, size = result.report, case.original.shape[1::-1]
    truth = registration(damage, size)
    cast = true_cast(damage)
    changed, real = result.edit | result.other, case.mask > 0.5
    true = {
        "right_px": truth.shift_px[0], "down_px": truth.shift_px[1], "zoom": truth.zoom,
        "rotation_degrees": truth.rotation_degrees, "cast": cast,
    }  # fmt: skip
    errors = {name: error_of(getattr(report, name), value) for name, value in true.items()}
    both = report.inside, report.outside
    share = Measure(value=sum(one.value for one in both), uncertainty=sum(one.uncertainty for one in both))
    with mock.patch.object(checking, "keep", return_value=result.kept):  # measures nothing again
        masked = check(result.kept.original, result.kept.edited, mask=mask_around(real, generator))
    resized = damage.size != size
    moved = max(abs(truth.shift_px[0]), abs(truth.shift_px[1])) > 0.5 or abs(truth.zoom - 1) > 1e-3
    return {
        "case": index, "kind": kind, "what": case.what, "image": case.image, "side": max(size),
        "codec": damage.codec, "profile": profile or "none", "resized": resized, "moved": moved,
        "cast": "none" if cast < 2 else "2 to 10 levels" if cast < 10 else "10 levels and more",
        "true": float(real.mean()), "found": report.found,
        "share": share.value, "covered": float(changed[real].mean()) if real.any() else None,
        "extra": float(changed[case.mask == 0].mean()), "verdict": report.verdict,
        "masked": list(masked.report.reasons),
        "errors": errors | {"share": error_of(share, float(real.mean()))},
    }  # fmt: skip


def with_profile(case: Case, name: str) -> Image.Image:
    """The edited image, converted to a wider space and marked so."""
    if not name:
        return Image.fromarray(case.edited)
    space = space_of(PROFILES[name])
    assert space is not None
    levels: Levels = space.from_srgb(case.edited.astype(np.float32))
    image = Image.fromarray(np.rint(levels).clip(0, 255).astype(np.uint8))
    image.info.update(PROFILES[name])
    return image


def mask_around(change: Any, generator: np.random.Generator) -> Image.Image:
    """The box around a change as a person would draw it, with a margin of 3 %; a random one where there is none."""
    mask, margin = np.zeros(change.shape, dtype=np.uint8), math.ceil(0.03 * max(change.shape))
    corners = [(at.min() - margin, at.max() + 1 + margin) for at in np.nonzero(change) if len(at)]
    if not corners:
        starts = [int(generator.integers(side * 3 // 4)) for side in change.shape]
        corners = [(start, start + side // 4) for start, side in zip(starts, change.shape, strict=True)]
    (top, bottom), (left, right) = corners
    mask[max(0, top) : bottom, max(0, left) : right] = 255
    return Image.fromarray(mask)


def registration(damage: Damage, size: tuple[int, int]) -> Registration:
    """The true frame."""
    about: dict[str, Any] = {"agreement": 1.0, "inliers": 0, "uncertainty_px": 0.0}
    return Registration(matrix=damage.matrix, size=size, edited_size=damage.size, **about)


def true_cast(damage: Damage) -> float:
    """Mean change of the colors that `Tones.cast` measures; both directions differ little."""
    patches = np.repeat(np.repeat(PATCHES, 16, axis=0), 16, axis=1)
    plain_frame = dataclasses.replace(damage, matrix=np.eye(3), size=patches.shape[1::-1], codec="none")
    there = plain_frame.apply(patches).astype(np.float32)[8, 8::16]
    return float(np.abs(there - PATCHES[0]).mean())


def error_of(measure: Measure | None, value: float) -> list[float] | None:
    """Error and stated uncertainty."""
    return None if measure is None else [abs(measure.value - value), measure.uncertainty]


def summary(rows: Any) -> dict[str, Any]:
    """Rates with exact 95 % intervals (Clopper and Pearson) over pairs."""
    same, changed = rows[rows["kind"] == "unchanged"], rows[rows["true"] >= LEAST]
    same = same.assign(wrong=~same["found"].isin(["nothing", "faint change", "all colors"]))
    missed = changed["found"].isin(["nothing", "all colors", "reframed"]) | (changed["covered"] == 0)
    masked = rows.assign(wrong=["changed outside" in reasons for reasons in rows["masked"]])
    unseen = changed.assign(wrong=["no edit" in reasons for reasons in changed["masked"]])
    changed = changed.assign(wrong=missed, size=changed["true"].map(size_of), half=missed | (changed["covered"] < 0.5))
    names = ("codec", "cast", "moved", "resized", "profile", "side")
    errors = pd.DataFrame(rows["errors"].tolist(), index=rows.index)
    fair = (rows["found"] != "whole image") & (rows["codec"] != "redrawn")
    errors["share of a change"] = errors["share"].where(rows["found"].eq("local change") & rows["true"].gt(0))
    return {
        "pairs": len(rows),
        "images": rows["image"].nunique(),
        "overall": [
            {"name": "false alarms", **rate(same["wrong"])},
            {"name": "false alarms, not repainted", **rate(same["wrong"][~same["codec"].isin(REPAINTS)])},
            {"name": "unchanged, unsure", **rate(same["found"] == "faint change")},
            {"name": "misses", **rate(changed["wrong"])},
            {"name": "changed, unsure", **rate(changed["found"] == "faint change")},
            {"name": "less than half of the change found", **rate(changed["half"])},
            {"name": "local change called whole image", **rate(changed["found"] == "whole image")},
            {"name": "with a mask, unchanged: change outside", **rate(masked["wrong"][same.index])},
            {"name": "with a mask, changed inside: change outside", **rate(masked["wrong"][changed.index])},
            {"name": "with a mask, changed inside: no edit", **rate(unseen["wrong"])},
        ],
        "false alarms": [part for name in names for part in by(same, name)],
        "misses": [part for name in ("what", "size", "codec") for part in by(changed, name)],
        "within the uncertainty": [{"name": name, **within(errors[name][fair].dropna())} for name in errors],
        "alarms": same[same["wrong"]].drop(columns="errors").to_dict("records"),
        "missed": changed[changed["wrong"]].drop(columns="errors").to_dict("records"),
    }


def size_of(share: float) -> str:
    """The class of a share."""
    return next(name for name, most in SIZES.items() if share <= most)


def by(rows: Any, name: str) -> list[dict[str, Any]]:
    """The rate in each class of a column."""
    return [{"kind": name, "name": str(value), **rate(some["wrong"])} for value, some in rows.groupby(name)]


def rate(wrong: Any) -> dict[str, Any]:
    """Count, share, and its interval."""
    count, wrongs = len(wrong), int(wrong.sum())
    low = float(beta.ppf(0.025, wrongs, count - wrongs + 1)) if wrongs else 0.0
    high = float(beta.ppf(0.975, wrongs + 1, count - wrongs)) if wrongs < count else 1.0
    return {"of": count, "wrong": wrongs, "mean": wrongs / count if count else math.nan, "low": low, "high": high}


def within(errors: Any) -> dict[str, Any]:
    """How many errors are below the stated uncertainty, and the median error."""
    found = [error <= uncertainty for error, uncertainty in errors]
    return {"of": len(found), "mean": float(np.mean(found)), "median error": float(np.median([e for e, _ in errors]))}


if __name__ == "__main__":
    main()
