"""Every editor on portraits whose right answer is rendered: does it do what was asked, and nothing else?

    python benchmarks/first_edit.py tune   eight settings of each method at each budget of evaluations, on the
                                           calibration split -> results/first_edit_tuning.json; the best of each
                                           editor at 28 evaluations becomes its default in the model's latentedit.json
    python benchmarks/first_edit.py        the best of each at each budget, test split -> results/first_edit.json, .png

Errors are mean squared errors to the counterfactual, divided by that of no edit: 0 is the truth, 1 is nothing gained.
The matched error is that of the same change scaled to the full effect, ``1 / cos^2 - 1``, cut at 10.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from edit_pairs import CHANGES, Batch, Pair, Settings, bootstrap, draw_pairs, encode_pairs
from PIL import Image, ImageDraw

from latentedit.core.levels import shifted_grid
from latentedit.editors.registry import editor_class
from latentedit.models.base import Backbone
from latentedit.models.registry import bundled_folder, load
from latentedit.models.settings_file import write_settings
from latentedit_portraits.attributes import VALUES
from latentedit_portraits.dataset import SIZE
from latentedit_portraits.reader import PortraitReader

RESULTS = Path(__file__).resolve().parent.parent / "results"

BUDGETS = (8, 16, 28, 56)
"""Evaluations a picture, counting everything."""

OURS: Settings = {
    "levels": [0.99, 0.0],
    "shift": 2.5,
    "step_size": None,
    "noises": 2,
    "antithetic": True,
    "keep": 0.003,
    "release": 0.3,
}


def steps_for(budget: int, cost: int) -> int:
    """As many steps as a budget pays for."""
    return max(1, budget // cost)


def eim_candidates(budget: int) -> list[Settings]:
    """Annealed search with antithetic noises, locality and release, with and without the Hessian; joint arm."""
    plain, hessian = steps_for(budget, 4), steps_for(budget, 8)
    searches: list[Settings] = [
        OURS | {"steps": plain},
        OURS | {"steps": plain, "shift": 1.7},
        OURS | {"steps": plain, "levels": [0.97, 0.0]},
        OURS | {"steps": plain, "keep": 0.002},
        OURS | {"steps": plain, "release": 0.15},
        OURS | {"steps": hessian, "gamma": -0.5},
        OURS | {"steps": hessian, "gamma": 0.5},
    ]
    noises = 4 if budget > 8 else 2
    walk = (budget - 2 * noises) // 2
    joint = {"levels": [0.95, 0.3], "steps": 1, "noises": noises, "antithetic": True}
    return [
        *({"arm": "image", "search": search} for search in searches),
        {"arm": "joint", "level": 0.75, "steps": round(walk * 28 / 15), "search": joint},
    ]


def annealed_candidates(budget: int) -> list[Settings]:
    """Annealed delta denoising as published ideas have it: one fresh noise a step, no locality, gamma 0."""
    steps = steps_for(budget, 2)
    return [
        {"arm": "image", "search": {"levels": [first, last], "steps": steps, "step_size": size}}
        for first, last in ((0.95, 0.3), (0.98, 0.1))
        for size in (2.8 / steps, 4.2 / steps, 5.6 / steps, 8.4 / steps)
    ]


def flowedit_candidates(budget: int) -> list[Settings]:
    """Levels, noises and guidance; beyond 56 evaluations four noises, at the levels that are best below."""
    found: list[Settings] = []
    tried = (
        (0.9, 1, 1.0),
        (0.95, 1, 1.0),
        (0.98, 1, 1.0),
        (1.0, 1, 1.0),
        (0.98, 2, 1.0),
        (1.0, 2, 1.0),
        (0.98, 1, 1.5),
        (1.0, 1, 2.0),
    )
    for level, noises, weight in tried if budget <= 56 else ((0.98, 4, 1.0), (1.0, 4, 1.0)):
        steps = steps_for(budget, noises * (2 if weight == 1 else 3))
        found.append(
            {
                "level": level,
                "steps": _grid_steps(level, steps),
                "source_guidance": 1.0,
                "target_guidance": weight,
                "noises": noises,
            }
        )
    return found


def inversion_candidates(budget: int) -> list[Settings]:
    """Levels and guidance."""
    return [
        {
            "level": level,
            "steps": _grid_steps(level, steps_for(budget, 2 if weight == 1 else 3)),
            "guidance": weight,
        }
        for level in (0.7, 0.8, 0.9, 1.0)
        for weight in (1.0, 1.5)
    ]


def sdedit_candidates(budget: int) -> list[Settings]:
    """Levels and guidance."""
    return [
        {
            "level": level,
            "steps": _grid_steps(level, steps_for(budget, 1 if weight == 1 else 2)),
            "guidance": weight,
        }
        for level in (0.5, 0.6, 0.7, 0.85)
        for weight in (1.0, 2.0)
    ]


def _grid_steps(level: float, steps: int) -> int:
    """Steps of the whole grid of shift 3 of which ``steps`` lie below a level."""
    whole = steps
    while shifted_grid(whole, 3.0).below(level).steps < steps:
        whole += 1
    return whole


CANDIDATES: dict[str, tuple[str, Callable[[int], list[Settings]], tuple[int, ...]]] = {
    "EIM": ("eim", eim_candidates, BUDGETS),
    "annealed DDS": ("eim", annealed_candidates, (28, 56)),
    "FlowEdit": ("flowedit", flowedit_candidates, (*BUDGETS, 224)),
    "aligned inversion": ("aligned-inversion", inversion_candidates, (28, 56)),
    "plain inversion": ("inversion", inversion_candidates, (28, 56)),
    "SDEdit": ("sdedit", sdedit_candidates, (28,)),
}
"""Method to editor, the eight settings tried at a budget, and the budgets."""


@torch.no_grad()
def edited(model: Backbone, batch: Batch, editor: str, settings: Settings) -> tuple[torch.Tensor, torch.Tensor]:
    """Edited latents, and the pictures as a user sees them: the source plus what the edit changed."""
    z = editor_class(editor).from_dict(settings).edit(batch.latent, batch.target, [1.0])[0].z
    assert batch.latent.decoded is not None
    return z, (batch.source_pixels + model.decode(z) - batch.latent.decoded).clamp(-1, 1)


@torch.no_grad()
def run(model: Backbone, reader: PortraitReader, batch: Batch, editor: str, settings: Settings) -> list[dict[str, Any]]:
    """One record a pair."""
    latent = batch.latent
    before, started = model.evaluations, time.perf_counter()
    z, pictures = edited(model, batch, editor, settings)
    seconds = time.perf_counter() - started
    evaluations = (model.evaluations - before) / len(latent)
    found, read_before = reader.attributes(pictures), reader.attributes(batch.source_pixels)

    def squared(a: torch.Tensor, b: torch.Tensor) -> list[float]:
        return (a - b).square().flatten(1).mean(dim=1).tolist()

    errors = zip(
        squared(z, batch.truth_z),
        squared(latent.z, batch.truth_z),
        squared(pictures, batch.truth_pixels),
        squared(batch.source_pixels, batch.truth_pixels),
        strict=True,
    )
    change, wanted = (z - latent.z).flatten(1), (batch.truth_z - latent.z).flatten(1)
    cosines = torch.nn.functional.cosine_similarity(change, wanted).clamp_min(0.1).tolist()
    records: list[dict[str, Any]] = []
    for pair, after, seen, cosine, (latent_error, latent_none, pixel_error, pixel_none) in zip(
        batch.pairs, found, read_before, cosines, errors, strict=True
    ):
        asked = set(pair.source.differences(pair.truth))
        others = [name for name in VALUES if name not in asked]
        records.append(
            {
                "change": pair.change,
                "done": float(getattr(after, pair.target) == getattr(pair.truth, pair.target)),
                "others_changed": float(sum(getattr(after, name) != getattr(seen, name) for name in others)),
                "others_kept": float(sum(getattr(after, n) == getattr(seen, n) for n in others)) / len(others),
                "latent_error": latent_error / latent_none,
                "matched_error": min(10.0, 1 / cosine**2 - 1),
                "pixel_error": pixel_error / pixel_none,
                "evaluations": evaluations,
                "seconds": seconds / len(latent),
            }
        )
    return records


MEASURES = (
    "done",
    "others_changed",
    "others_kept",
    "latent_error",
    "matched_error",
    "pixel_error",
    "evaluations",
    "seconds",
)


def summary(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and 95 % interval of each measure; medians of the heavy-tailed; means an attribute at a time."""
    table: dict[str, Any] = {}
    for measure in MEASURES:
        mean, low, high = bootstrap([record[measure] for record in records])
        table[measure] = {"mean": mean, "low": low, "high": high}
    for measure in ("latent_error", "pixel_error"):
        table[measure]["median"] = float(torch.tensor([record[measure] for record in records]).median())
    table["by_change"] = {
        change: {
            measure: bootstrap([record[measure] for record in records if record["change"] == change])[0]
            for measure in ("done", "others_changed", "latent_error")
        }
        for change in CHANGES
    }
    return table


def evaluate(
    model: Backbone, reader: PortraitReader, batches: list[Batch], editor: str, settings: Settings
) -> dict[str, Any]:
    """The summary of one method with one setting."""
    records: list[dict[str, Any]] = []
    for number, batch in enumerate(batches, start=1):
        records += run(model, reader, batch, editor, settings)
        print(f"\r  {editor} {number}/{len(batches)}", end="", file=sys.stderr, flush=True)
    print("\r" + " " * 40 + "\r", end="", file=sys.stderr)
    return summary(records)


def row(name: str, table: dict[str, Any]) -> str:
    """One line of the printed table."""

    def cell(measure: str) -> str:
        value = table[measure]
        return f"{value['mean']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"

    return (
        f"{name:<28}{cell('done'):<22}{cell('others_changed'):<22}{cell('others_kept'):<22}{cell('latent_error'):<22}"
        f"{table['latent_error']['median']:<8.3f}{table['matched_error']['mean']:<9.3f}{cell('pixel_error'):<22}"
        f"{table['evaluations']['mean']:<7.0f}{table['seconds']['mean']:.2f}"
    )


HEAD = (
    f"{'method':<28}{'asked for, done':<22}{'others changed':<22}{'others kept':<22}{'latent error':<22}"
    f"{'median':<8}{'matched':<9}"
    f"{'pixel error':<22}{'evals':<7}seconds"
)


def draw_examples(model: Backbone, chosen: dict[str, Any], pairs: list[Pair]) -> Image.Image:
    """One row a pair: source, truth, and what each method made of it."""
    batch = encode_pairs(model, pairs)
    columns = {"source": batch.source_pixels, "truth": batch.truth_pixels}
    columns |= {name: edited(model, batch, choice["editor"], choice["best"])[1] for name, choice in chosen.items()}
    left, top = 110, 24
    sheet = Image.new("RGB", (left + len(columns) * (SIZE + 6), top + len(pairs) * (SIZE + 6)), "white")
    pen = ImageDraw.Draw(sheet)
    for row_number, pair in enumerate(pairs):
        pen.text((8, top + row_number * (SIZE + 6) + SIZE // 2), pair.change, fill="black", font_size=14)
    for column, (name, pictures) in enumerate(columns.items()):
        x = left + column * (SIZE + 6)
        pen.text((x, 4), name, fill="black", font_size=13)
        for row_number, pixels in enumerate(pictures):
            array = pixels.add(1).mul(127.5).round().byte().permute(1, 2, 0).cpu().numpy()
            sheet.paste(Image.fromarray(array), (x, top + row_number * (SIZE + 6)))
    return sheet


def make_batches(model: Backbone, split: str, portraits: int, size: int = 50) -> list[Batch]:
    """Encoded pairs of a split in batches."""
    pairs = draw_pairs("calibration" if split == "calibration" else "test", portraits, seed=11)
    return [encode_pairs(model, pairs[start : start + size]) for start in range(0, len(pairs), size)]


def tune(model: Backbone, reader: PortraitReader, portraits: int, only: str | None, at: int | None) -> dict[str, Any]:
    """All candidates on the calibration split; the best of each method and budget by mean latent error."""
    batches = make_batches(model, "calibration", portraits)
    print(f"{6 * portraits} calibration pairs\n{HEAD}")
    tried: dict[str, Any] = {}
    for name, (editor, candidates, budgets) in CANDIDATES.items():
        if only not in (None, name):
            continue
        for budget in budgets if at is None else (at,):
            settings = candidates(budget)
            tables = [evaluate(model, reader, batches, editor, some) for some in settings]
            for some, table in zip(settings, tables, strict=True):
                print(f"{row(f'{name} {budget}', table)}  {json.dumps(some)}", flush=True)
            best = min(range(len(tables)), key=lambda i: tables[i]["latent_error"]["mean"])
            tried[f"{name} {budget}"] = {
                "editor": editor,
                "method": name,
                "budget": budget,
                "best": settings[best],
                "tried": [{"settings": s, "table": t} for s, t in zip(settings, tables, strict=True)],
            }
    return tried


def stored_defaults(tried: dict[str, Any]) -> dict[str, Settings]:
    """What the model's folder stores: the best setting of every editor at 28 evaluations."""
    ours = {key: choice for key, choice in tried.items() if choice["method"] != "annealed DDS"}
    return {choice["editor"]: choice["best"] for choice in ours.values() if choice["budget"] == 28}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", nargs="?", choices=("tune", "test"), default="test")
    parser.add_argument("--portraits", type=int, help="default: 30 in the test, 5 in the tuning")
    parser.add_argument("--method", choices=CANDIDATES, help="this one only; what is known of the others is kept")
    parser.add_argument("--budget", type=int, help="this one only; likewise")
    parser.add_argument("--model", default="portraits")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"), help="of the network")
    arguments = parser.parse_args()
    model = load(arguments.model, dtype=getattr(torch, arguments.dtype))
    folder = bundled_folder(arguments.model) if "/" not in arguments.model else Path(arguments.model)
    reader = PortraitReader.from_folder(folder)
    command = " ".join(["python", "benchmarks/first_edit.py", *sys.argv[1:]])
    RESULTS.mkdir(exist_ok=True)
    tuning = RESULTS / "first_edit_tuning.json"
    if arguments.stage == "tune":
        known = json.loads(tuning.read_text())["methods"] if arguments.method else {}
        tuned = tune(model, reader, arguments.portraits or 5, arguments.method, arguments.budget)
        tried = known | {name: choice | {"command": command} for name, choice in tuned.items()}
        content = {"model": model.fingerprint, "methods": tried}
        tuning.write_text(json.dumps(content, indent=1) + "\n")
        editors = dict(model.defaults.get("editors", {})) | stored_defaults(tried)
        write_settings(folder, {"editors": editors})
        return
    chosen = json.loads(tuning.read_text())["methods"]
    report, found = RESULTS / "first_edit.json", dict[str, Any]()
    if arguments.method:
        found = json.loads(report.read_text())["methods"]
        chosen = {name: choice for name, choice in chosen.items() if choice["method"] == arguments.method}
    batches = make_batches(model, "test", arguments.portraits or 30)
    print(f"{sum(len(batch.pairs) for batch in batches)} test pairs\n{HEAD}")
    for name, choice in chosen.items():
        if arguments.budget not in (None, choice["budget"]):
            continue
        table = evaluate(model, reader, batches, choice["editor"], choice["best"])
        found[name] = {"settings": choice["best"], "command": command, "table": table}
        print(row(name, table), flush=True)
        content = {"model": model.fingerprint, "methods": found}
        report.write_text(json.dumps(content, indent=1) + "\n")
    if arguments.method:
        return
    shown = {name: choice for name, choice in chosen.items() if choice["budget"] == 28}
    draw_examples(model, shown, batches[0].pairs[:6]).save(RESULTS / "first_edit.png")


if __name__ == "__main__":
    main()
