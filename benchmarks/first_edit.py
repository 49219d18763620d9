"""Every editor on portraits whose right answer is rendered: does it do what was asked, and nothing else?

    python benchmarks/first_edit.py tune   settings of each method, calibration split -> results/first_edit_tuning.json,
                                           and the best of each editor into the model's latentedit.json, as defaults
    python benchmarks/first_edit.py        the best of each, 50 test portraits x 6 changes -> results/first_edit.json

Errors are mean squared errors to the counterfactual, divided by that of no edit: 0 is the truth, 1 is nothing gained.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from edit_pairs import CHANGES, Batch, Pair, Settings, bootstrap, draw_pairs, encode_pairs
from PIL import Image, ImageDraw

from latentedit.backbones.base import Backbone
from latentedit.backbones.registry import bundled_folder, load
from latentedit.editing.registry import editor_class
from latentedit.portraits.attributes import VALUES
from latentedit.portraits.dataset import SIZE
from latentedit.portraits.reader import PortraitReader
from latentedit.portraits.train import write_settings

RESULTS = Path(__file__).resolve().parent.parent / "results"

ANNEALED: Settings = {"levels": [0.95, 0.3], "steps": 16, "step_size": 0.4}
LEVELS_AND_WEIGHTS: list[Settings] = [
    {"level": level, "guidance": weight} for level in (0.8, 0.95, 1.0) for weight in (1.0, 1.5)
]
CANDIDATES: dict[str, tuple[str, list[Settings]]] = {
    "EIM image arm": (
        "eim",
        [
            {**ANNEALED, "arm": "image"},
            {**ANNEALED, "arm": "image", "levels": [0.98, 0.3]},
            {**ANNEALED, "arm": "image", "steps": 28, "step_size": 0.25},
            {**ANNEALED, "arm": "image", "gamma": 1.0, "step_size": 0.2},
            {**ANNEALED, "arm": "image", "gamma": -0.5, "step_size": 0.6},
            {"arm": "image", "steps": 1, "levels": [0.95, 0.3], "noises": 8},
        ],
    ),
    "EIM joint arm": (
        "eim",
        [
            {**ANNEALED, "arm": "joint", "level": 0.5},
            {**ANNEALED, "arm": "joint", "level": 0.75},
            {"arm": "joint", "level": 0.75, "steps": 1, "levels": [0.95, 0.3], "noises": 8},
        ],
    ),
    "EIM text arm": ("eim", [{"arm": "text", "level": 0.75}, {"arm": "text", "level": 0.95}]),
    "SDEdit": (
        "sdedit",
        [{"level": level, "guidance": weight} for level in (0.5, 0.7, 0.85) for weight in (1.0, 2.0)],
    ),
    "plain inversion": ("inversion", LEVELS_AND_WEIGHTS),
    "aligned inversion": ("aligned-inversion", LEVELS_AND_WEIGHTS),
    "FlowEdit": (
        "flowedit",
        [
            {"level": level, "source_guidance": 1.0, "target_guidance": weight}
            for level in (0.9, 0.95, 0.98)
            for weight in (1.0, 2.0)
        ],
    ),
}
"""Method to editor and the settings tried: six for each baseline, as for the best of ours."""


@torch.no_grad()
def edited(model: Backbone, batch: Batch, editor: str, settings: Settings) -> tuple[torch.Tensor, torch.Tensor]:
    """Edited latents, and the pictures as a user sees them: the source plus what the edit changed."""
    z = editor_class(editor).from_dict(settings).edit(batch.latent, batch.target)
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
    records: list[dict[str, Any]] = []
    for pair, after, seen, (latent_error, latent_none, pixel_error, pixel_none) in zip(
        batch.pairs, found, read_before, errors, strict=True
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
                "pixel_error": pixel_error / pixel_none,
                "evaluations": evaluations,
                "seconds": seconds / len(latent),
            }
        )
    return records


MEASURES = ("done", "others_changed", "others_kept", "latent_error", "pixel_error", "evaluations", "seconds")


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
        f"{table['latent_error']['median']:<8.3f}{cell('pixel_error'):<22}"
        f"{table['evaluations']['mean']:<7.0f}{table['seconds']['mean']:.2f}"
    )


HEAD = (
    f"{'method':<28}{'asked for, done':<22}{'others changed':<22}{'others kept':<22}{'latent error':<22}{'median':<8}"
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


def tune(model: Backbone, reader: PortraitReader, portraits: int) -> dict[str, Any]:
    """All candidates on the calibration split; the best of each method by mean latent error."""
    batches = make_batches(model, "calibration", portraits)
    print(f"{6 * portraits} calibration pairs\n{HEAD}")
    tried: dict[str, Any] = {}
    for name, (editor, candidates) in CANDIDATES.items():
        tables = [evaluate(model, reader, batches, editor, settings) for settings in candidates]
        for settings, table in zip(candidates, tables, strict=True):
            print(f"{row(name, table)}  {json.dumps(settings)}", flush=True)
        best = min(range(len(tables)), key=lambda i: tables[i]["latent_error"]["mean"])
        tried[name] = {
            "editor": editor,
            "best": candidates[best],
            "tried": [{"settings": s, "table": t} for s, t in zip(candidates, tables, strict=True)],
        }
    return tried


def best_of_each_editor(tried: dict[str, Any]) -> dict[str, Settings]:
    """The settings with the least latent error of every editor: what the model's folder stores as its defaults."""
    best: dict[str, tuple[float, Settings]] = {}
    for method in tried.values():
        for attempt in method["tried"]:
            error = attempt["table"]["latent_error"]["mean"]
            if method["editor"] not in best or error < best[method["editor"]][0]:
                best[method["editor"]] = (error, attempt["settings"])
    return {editor: settings for editor, (_, settings) in best.items()}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", nargs="?", choices=("tune", "test"), default="test")
    parser.add_argument("--portraits", type=int, help="default: 50 in the test, 4 in the tuning")
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
        tried = tune(model, reader, arguments.portraits or 4)
        content = {"command": command, "model": model.fingerprint, "methods": tried}
        tuning.write_text(json.dumps(content, indent=1) + "\n")
        write_settings(folder, {"editors": best_of_each_editor(tried)})
        return
    chosen = json.loads(tuning.read_text())["methods"]
    batches = make_batches(model, "test", arguments.portraits or 50)
    print(f"{sum(len(batch.pairs) for batch in batches)} test pairs\n{HEAD}")
    found: dict[str, Any] = {}
    for name, choice in chosen.items():
        table = evaluate(model, reader, batches, choice["editor"], choice["best"])
        found[name] = {"settings": choice["best"], "table": table}
        print(row(name, table), flush=True)
        content = {"command": command, "model": model.fingerprint, "methods": found}
        (RESULTS / "first_edit.json").write_text(json.dumps(content, indent=1) + "\n")
    draw_examples(model, chosen, batches[0].pairs[:6]).save(RESULTS / "first_edit.png")


if __name__ == "__main__":
    main()
