"""Our own editors as entrants of the open task, at the bundled model's size: writes ``results/leaderboard.json``.

    python benchmarks/leaderboard.py [--domain scenes] [--method eim --method flowedit] [--items 180]

They are given what every entrant is given: pictures, captions before and after, and for what is asked afterwards the
picture that they wrote themselves, read from its file. Settings are those of the table of tuning, found on calibration
items; the seed is one that nothing was chosen with. Beside them stands what the model's codec leaves of the right
answers. Outputs lie in out/leaderboard; files that are there are not made again. Entries of other tasks stay.
"""

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image
from results import RESULTS

import latentedit
from latentedit.api.manifests.items import Item
from latentedit.editors.local_change import local_change
from latentedit.models.base import Backbone
from latentedit_bench.data.prepared import prepare, to_tensor
from latentedit_bench.open_task.folder import write_task
from latentedit_bench.open_task.leaderboard import Entry, Leaderboard, entry_of, read_entries
from latentedit_bench.open_task.scoring import item_measures, score_items
from latentedit_bench.open_task.task import ITEMS, TaskItem, TaskSpec, task_items
from latentedit_bench.ranking.methods import Method
from latentedit_bench.tuning.tuning import tuned_methods
from latentedit_keep.files import write_text
from latentedit_keep.pictures import read_image, save_image

SIZE = 128
SEED = 41
BATCH = 15
TUNING = {"portraits": "tuning.json", "scenes": "tuning-scenes.json"}
"""Of the models, which are called as the domains are."""

OUT = RESULTS.parent / "out" / "leaderboard"
TABLE = RESULTS / "leaderboard.json"
CODEC = "right answers through the codec"


def main() -> None:
    """Enter, score, and write the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--domain", choices=TUNING, default="portraits", help="of the task, and the model's name")
    options.add_argument("--method", action="append", help="a row of the table of tuning; all of them by default")
    options.add_argument("--items", type=int, default=ITEMS, help="of the task")
    options.add_argument("--dtype", default="auto", help="of the networks")
    chosen = options.parse_args()
    spec = TaskSpec.of(chosen.domain, size=SIZE, month=None, secret=None, items=chosen.items)
    items = task_items(spec)
    model = latentedit.load(chosen.domain, dtype=chosen.dtype)
    entries: list[Entry] = []
    tuning = RESULTS / "benchmark" / TUNING[chosen.domain]
    for method in (None, *tuned_methods(tuning, model, chosen.method)):
        name = CODEC if method is None else method.name
        folder = OUT / chosen.domain / name.replace(", ", "-").replace(" ", "-")
        write_task(spec, items, folder)
        enter(model, method, items, folder)
        rows, faults = score_items(items, folder, keep=False)
        if faults:
            raise SystemExit(f"{faults[0].file} {faults[0].what}. Delete {folder}")
        made = f"python benchmarks/leaderboard.py --domain {chosen.domain}, model {model.fingerprint}, seed {SEED}"
        entries.append(entry_of(name, made, spec, rows, item_measures(rows)))
        print(f"{name}: error {entries[-1].error:.4f}", flush=True)
    others = [one for one in read_entries(TABLE) if not one.task.same_pictures(spec)]
    ranked = Leaderboard(entries=sorted([*entries, *others], key=lambda one: (one.task.domain, one.error)))
    write_text(TABLE, f"{ranked.model_dump_json(indent=1)}\n")


@torch.no_grad()
def enter(model: Backbone, method: Method | None, items: Sequence[TaskItem], folder: Path) -> None:
    """Write every file that the items ask for; without a method the right answers, encoded and decoded."""
    done = 0
    for strengths in sorted({tuple(item.answers) for item in items}):
        alike = [item for item in items if tuple(item.answers) == strengths]
        for start in range(0, len(alike), BATCH):
            some = alike[start : start + BATCH]
            if not all((folder / item.output_file(one)).exists() for item in some for one in strengths):
                wholes = [item.whole for item in some]
                answers = {one: [item.answers[one]() for item in some] for one in strengths}
                for strength, images in edited(model, method, wholes, answers).items():
                    for item, image in zip(some, images, strict=True):
                        save_image(image, folder / item.output_file(strength))
            done += len(some)
            print(f"{folder.name}: {done} of {len(items)} items", flush=True)
    for step in range(max(len(item.then) for item in items)):
        going_on = [item for item in items if len(item.then) > step]
        left = [item for item in going_on if not (folder / item.then_files[step]).exists()]
        for start in range(0, len(left), BATCH):
            some = left[start : start + BATCH]
            asked = [_next(item, step, folder) for item in some]
            images = edited(model, method, asked, {1.0: [item.then[step].answer() for item in some]})[1.0]
            for item, image in zip(some, images, strict=True):
                save_image(image, folder / item.then_files[step])
        print(f"{folder.name}: {step + 1} further requests", flush=True)


def edited(
    model: Backbone, method: Method | None, items: Sequence[Item], answers: Mapping[float, Sequence[Image.Image]]
) -> dict[float, list[Image.Image]]:
    """Pictures at each strength that has answers."""
    batch = prepare(model, items)
    if method is None:
        right = {one: model.encode(to_tensor(images)) for one, images in answers.items()}
        return {one: batch.restored(batch.changed(z)) for one, z in right.items()}
    found = method.edits(batch.latent, batch.target, list(answers), seed=SEED)
    changes = [batch.changed(method.gained(z, batch.latent.z)) for z in found]
    kept = [local_change(change) if method.local else change for change in changes]
    return {one: batch.restored(change) for one, change in zip(answers, kept, strict=True)}


def _next(item: TaskItem, step: int, folder: Path) -> Item:
    """The request as an item: the picture that was written last, and what it should have become by then."""
    before = folder / (item.then_files[step - 1] if step else item.output_file(1.0))
    said = item.then[step - 1].caption if step else item.whole.target_caption
    return dataclasses.replace(
        item.whole,
        picture=lambda: read_image(before).convert("RGB"),
        source_caption=said,
        target_caption=item.then[step].caption,
        truth=None,
        mask=None,
    )


if __name__ == "__main__":
    main()
