"""Tools for agents: an edit by text and a sweep, served by ``latentedit mcp``. Heavy imports are inside the tasks."""

import gc
import inspect
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentedit.agents.paths import inside
from latentedit.agents.tools import LOADING, Answer, Tool, new_file
from latentedit.core.console import Progress
from latentedit.core.errors import ConfigError, UnknownImageError
from latentedit.core.plugins import MODELS
from latentedit.core.process import COLLECT_AFTER_IMPORTS, collect_garbage_less_often

if TYPE_CHECKING:
    from latentedit.editing.result import EditResult, SweepResult
    from latentedit.models.base import Backbone

_MOST_KEPT = 0.5  # largest share of the memory of its device that a model may hold until the next call
_last = dict[tuple[str, Path], tuple[list[object], "Backbone"]]()  # the last model, with the state of its files


def _edit_image(
    image: str,
    change: str | None = None,
    prompt: str | None = None,
    instruction: str | None = None,
    source_prompt: str | None = None,
    output: str | None = None,
    mask: str | None = None,
    strength: float = 1.0,
    model: str = "portraits",
    method: str | None = None,
    seed: int = 0,
    force: bool = False,
    verdict: bool = True,
) -> None:
    """Edit an image by text with a diffusion model, and write the result as a new file.

    Give one of `change`, `prompt` and `instruction`. Everything else stays; check the result with check_edit. The
    bundled models know drawn portraits only, and refuse other images: for photographs use another editor, then
    keep_edit. It never replaces or deletes a file, and it needs no network. It loads the model, which stays for the
    next call, and costs seconds to minutes. Returns the `output`, the `verdict` of the model, the captions, and an
    image of at most 1024 px.

    Args:
        image: Image to edit: a path relative to the root folder.
        change: What changes in the caption, such as "=> glasses", "a sad mouth => a smile" or "glasses =>".
        prompt: Instead of a change, the caption of the result.
        instruction: Instead of a change, such as "add glasses", for models that take instructions.
        source_prompt: Caption of the image; by default, the model's captioner writes it.
        output: New file; NAME.edited.png by default. Only a PNG can be undone and traced.
        mask: Image of the same size, white where it may change: a path relative to the root folder.
        strength: From 0, the original, to 1, the whole change.
        model: Name of a bundled model, or a diffusers folder relative to the root folder.
        method: Name of an editing method; by default the one that suits the model.
        seed: Random seed; runs with the same seed are reproducible.
        force: Also edit an image that the model does not know.
        verdict: Whether the model judges how much of the change was made, with 6 to 16 evaluations.
    """


_SWEEP_TEXT = """Edit an image by text at several strengths, and write a sheet of the results, or a page with a slider.

Use it to choose a strength, then call edit_image with it; the arguments and the limits are the same. It never replaces
or deletes a file, and it needs no network. Returns the `output`, for each strength the `verdict` of the model, the
captions, and the sheet."""
_CHANGED = {  # replacements in the descriptions of `_edit_image`
    "NAME.edited.png by default. Only a PNG can be undone and traced.": "a .png (NAME.sweep.png by default) or .html.",
    "    strength: From 0": "    strengths: Numbers from 0",
}


def _sweep_image(**_: Any) -> None: ...


def _declare_sweep() -> None:
    """The arguments and texts of a sweep: those of an edit with several strengths."""
    given = dict(inspect.signature(_edit_image).parameters)
    values = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    several = given["strength"].replace(name="strengths", annotation=list[float], default=values)
    declared: Any = _sweep_image
    declared.__signature__ = inspect.Signature([several if name == "strength" else one for name, one in given.items()])
    rows = (inspect.getdoc(_edit_image) or "").partition("Args:\n")[2]
    for old, new in _CHANGED.items():
        rows = rows.replace(old, new)
    declared.__doc__ = f"{_SWEEP_TEXT}\n\nArgs:\n{rows}"


_declare_sweep()


def _edit(places: dict[str, Any], *, step: Progress, **options: Any) -> Answer:
    (result,) = _results(places, None, step, **options)
    output = new_file(places["stage"], "output", places["output"], (places["image"], "edited.png"))
    result.save(output.file)
    effect = result.effect_in(output.file)
    facts = {"output": output, "verdict": result.verdict.text, "rest": effect.rest_text, "changes": result.read_changes}
    return facts | _facts(result, result) | {"strength": result.strength}, result.image


def _sweep(places: dict[str, Any], *, step: Progress, strengths: list[float], **options: Any) -> Answer:
    edited = _results(places, strengths, step, **options)
    from PIL import Image

    from latentedit.editing.result import SweepResult

    results = SweepResult(edited)
    output = new_file(places["stage"], "output", places["output"], (places["image"], "sweep.png"))
    sheet = places["stage"] / "sheet.png"
    for file in {sheet, output.file}:
        results.save(file)
    each = [{"strength": one.strength, "verdict": one.verdict.text} for one in results]
    return {"output": output, "strengths": each} | _facts(results[0], results), Image.open(sheet)


def _results(
    places: dict[str, Any], strengths: list[float] | None, step: Progress, *, model: str, **options: Any
) -> "list[EditResult]":
    """The results at these strengths, or at the one of the options."""
    os.environ["HF_HUB_OFFLINE"] = "1"  # before the first import: names of the hub are refused, not downloaded
    if not _last:
        step(LOADING, 0, 1)  # the imports are a part of it
        collect_garbage_less_often(COLLECT_AFTER_IMPORTS)
    from latentedit.editing.request import EditRequest
    from latentedit.editing.verbs import run

    given = {name: value for name, value in options.items() if value is not None}
    if given.keys().isdisjoint(("change", "prompt", "instruction")):
        raise ConfigError("no change was given. Give a `change` such as '=> glasses', a prompt or an instruction")
    request = EditRequest.of(mask=places["mask"], **given)
    request.check_target()
    loaded = _model(model, step)
    try:
        return run(loaded, [places["image"]], request, strengths, progress=step)[0]
    except UnknownImageError as error:
        raise ConfigError(f"{error}. Pass force, another model, or use another editor and then keep_edit") from error


def _model(name: str, step: Progress) -> "Backbone":
    """The last model if it is this one and its files are as they were, else this one, which is then the last."""
    from latentedit.models.registry import bundled_folder, load

    if name in MODELS.names():
        folder = bundled_folder(name)
    else:
        folder = Path.cwd() / inside(Path.cwd(), name)
        if not folder.is_dir():
            raise ConfigError(f"{MODELS.unknown(name)}. A diffusers folder in the root folder is taken too")
        name = str(folder)
    files = _files(folder)
    before, model = _last.get((name, folder), ([], None))
    if model is None or before != files:
        if _last:
            step(LOADING, 0, 1)
            del model
            _last.clear()
            gc.collect()  # the memory of the last one is free for this one
        model = load(name)
        collect_garbage_less_often()
        if _may_stay(model, folder):
            _last[name, folder] = files, model
        step(LOADING, 1, 1)
    return model


def _files(folder: Path) -> list[object]:
    """Names, sizes and times of the files of a model, which differ after every change of one."""
    paths = sorted([*folder.glob("*"), *folder.glob("*/*")])
    found = [(path, path.stat()) for path in paths if path.exists()]
    return [(path, one.st_ino, one.st_size, one.st_mtime_ns, one.st_ctime_ns) for path, one in found]


def _may_stay(model: "Backbone", folder: Path) -> bool:
    """Whether a model takes no more than its share of the memory of its device."""
    import psutil
    import torch

    from latentedit.models.loading import open_folder

    on_gpu = model.device.type == "cuda"
    memory = torch.cuda.mem_get_info(model.device)[1] if on_gpu else psutil.virtual_memory().total
    model_bytes = open_folder(folder).parameter_count * model.network_dtype.itemsize
    return model_bytes <= _MOST_KEPT * memory


def _facts(result: "EditResult", whole: "EditResult | SweepResult") -> dict[str, Any]:
    words = {"caption": result.caption, "target_caption": result.target_caption, "method": result.method}
    return words | {"evaluations": whole.cost.evaluations, "notes": whole.notes}


FILES = ("image", "mask", "output")
EDIT_IMAGE = Tool(title="Edit an image by text", declared=_edit_image, task=_edit, files=FILES)
_FEWER = "Pass fewer strengths, or ask the user to start the server with more --seconds"
SWEEP_IMAGE = Tool(title="Edit at several strengths", declared=_sweep_image, task=_sweep, files=FILES, quicker=_FEWER)
