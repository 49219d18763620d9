"""The tools that edit by text. They need models; heavy imports are inside the functions."""

import gc
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pydantic

from latentedit.agents.paths import folder
from latentedit.agents.tools import JSON_LIST, LOADING, Answer, Tool, ToolCall
from latentedit.core.errors import ConfigError, UnknownImageError
from latentedit.core.plugins import MODELS
from latentedit.core.process import COLLECT_AFTER_IMPORTS, collect_garbage_less_often

if TYPE_CHECKING:
    from latentedit.editing.result import EditResult, SweepResult
    from latentedit.models.base import Backbone

SourceImage = Annotated[str, pydantic.Field(description="Image to edit: a path relative to the root folder.")]
Change = Annotated[
    str | None,
    pydantic.Field(
        description=('What changes in the caption, such as "=> glasses", "a sad mouth => a smile" or "glasses =>".')
    ),
]
Prompt = Annotated[str | None, pydantic.Field(description="Instead of a change, the caption of the result.")]
Instruction = Annotated[
    str | None,
    pydantic.Field(description=('Instead of a change, such as "add glasses", for models that take instructions.')),
]
SourcePrompt = Annotated[
    str | None,
    pydantic.Field(description="Caption of the image; by default, the model's captioner writes it."),
]
Mask = Annotated[
    str | None,
    pydantic.Field(
        description=("Image of the same size, white where it may change: a path relative to the root folder.")
    ),
]
Model = Annotated[
    str,
    pydantic.Field(description="Name of a bundled model, or a diffusers folder relative to the root folder."),
]
Method = Annotated[
    str | None,
    pydantic.Field(description="Name of an editing method; by default the one that suits the model."),
]
Seed = Annotated[
    int,
    pydantic.Field(description="Random seed; runs with the same seed are reproducible."),
]
Force = Annotated[bool, pydantic.Field(description="Also edit an image that the model does not know.")]
Verdict = Annotated[
    bool,
    pydantic.Field(description=("Whether the model judges how much of the change was made, with 6 to 16 evaluations.")),
]


def edit_image(
    call: ToolCall,
    image: SourceImage,
    change: Change = None,
    prompt: Prompt = None,
    instruction: Instruction = None,
    source_prompt: SourcePrompt = None,
    output: Annotated[
        str | None,
        pydantic.Field(description=("New file; NAME.edited.png by default. Only a PNG can be undone and traced.")),
    ] = None,
    mask: Mask = None,
    strength: Annotated[float, pydantic.Field(description="From 0, the original, to 1, the whole change.")] = 1.0,
    model: Model = "portraits",
    method: Method = None,
    seed: Seed = 0,
    force: Force = False,
    verdict: Verdict = True,
) -> Answer:
    """Edit an image by text with a diffusion model, and write the result as a new file.

    Give one of `change`, `prompt` and `instruction`. Everything else stays; check the result with check_edit. The
    bundled models know drawn portraits only, and refuse other images: for photographs use another editor, then
    keep_edit. It never replaces or deletes a file, and it needs no network. It loads the model, which stays for the
    next call, and costs seconds to minutes. Returns the `output`, the `verdict` of the model, the captions, and an
    image of at most 1024 px.
    """
    image_file = call.input_file(image)
    output_file = call.output_or_default(output, image_file, "edited.png")
    options = {
        "change": change,
        "prompt": prompt,
        "instruction": instruction,
        "source_prompt": source_prompt,
        "mask": call.optional_input(mask),
        "strength": strength,
        "method": method,
        "seed": seed,
        "force": force,
        "verdict": verdict,
    }
    (result,) = _run(call, image_file, None, model, options)
    result.save(output_file)
    values = {
        "output": str(output_file),
        "verdict": result.verdict.text,
        "rest": result.effect_in(output_file).rest_text,
        "changes": result.read_changes,
    }
    values |= _common_values(result, result)
    values |= {"strength": result.strength}
    return Answer(values, result.image)


def sweep_image(
    call: ToolCall,
    image: SourceImage,
    change: Change = None,
    prompt: Prompt = None,
    instruction: Instruction = None,
    source_prompt: SourcePrompt = None,
    output: Annotated[
        str | None,
        pydantic.Field(description="New file; a .png (NAME.sweep.png by default) or .html."),
    ] = None,
    mask: Mask = None,
    strengths: Annotated[
        list[float],
        JSON_LIST,
        pydantic.Field(description="Numbers from 0, the original, to 1, the whole change."),
    ] = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0],  # noqa: B006 (pydantic copies it)
    model: Model = "portraits",
    method: Method = None,
    seed: Seed = 0,
    force: Force = False,
    verdict: Verdict = True,
) -> Answer:
    """Edit an image by text at several strengths, and write a sheet of the results, or a page with a slider.

    Use it to choose a strength, then call edit_image with it; the arguments and the limits are the same. It never
    replaces or deletes a file, and it needs no network. Returns the `output`, for each strength the `verdict` of the
    model, the captions, and the sheet.
    """
    image_file = call.input_file(image)
    output_file = call.output_or_default(output, image_file, "sweep.png")
    options = {
        "change": change,
        "prompt": prompt,
        "instruction": instruction,
        "source_prompt": source_prompt,
        "mask": call.optional_input(mask),
        "method": method,
        "seed": seed,
        "force": force,
        "verdict": verdict,
    }
    edits = _run(call, image_file, strengths, model, options)
    from latentedit.editing.result import SweepResult

    results = SweepResult(edits)
    results.save(output_file)
    verdicts = [{"strength": result.strength, "verdict": result.verdict.text} for result in results]
    values = {"output": str(output_file), "strengths": verdicts}
    values |= _common_values(results[0], results)
    return Answer(values, _read_sheet(results))


def _run(
    call: ToolCall,
    image_file: Path,
    strengths: list[float] | None,
    model: str,
    options: dict[str, Any],
) -> "list[EditResult]":
    """Return the results at these strengths, or at the strength of the options."""
    # Before the first import: names of the hub are refused, not downloaded.
    os.environ["HF_HUB_OFFLINE"] = "1"
    if not _last_model.is_loaded:
        # The imports are a part of loading.
        call.report_progress(LOADING, 0, 1)
        collect_garbage_less_often(COLLECT_AFTER_IMPORTS)
    from latentedit.editing.request import EditRequest
    from latentedit.editing.verbs import run

    given = {name: value for name, value in options.items() if value is not None}
    if given.keys().isdisjoint(("change", "prompt", "instruction")):
        raise ConfigError("no change was given. Give a `change` such as '=> glasses', a prompt or an instruction")
    request = EditRequest.of(**given)
    request.check_target()
    backbone = _last_model.load(call, model)
    try:
        results = run(backbone, [image_file], request, strengths, progress=call.report_progress)
    except UnknownImageError as error:
        raise ConfigError(f"{error}. Pass force, another model, or use another editor and then keep_edit") from error
    return results[0]


def _common_values(result: "EditResult", whole: "EditResult | SweepResult") -> dict[str, Any]:
    """Return what both tools state: captions and method of a result, costs and notes of all of them."""
    return {
        "caption": result.caption,
        "target_caption": result.target_caption,
        "method": result.method,
        "evaluations": whole.cost.evaluations,
        "notes": whole.notes,
    }


def _read_sheet(results: "SweepResult") -> Any:
    """Return the sheet of a sweep as an image."""
    from PIL import Image

    with tempfile.TemporaryDirectory() as temporary:
        sheet_file = Path(temporary, "sheet.png")
        results.save(sheet_file)
        sheet = Image.open(sheet_file)
        sheet.load()
    return sheet


class _LastModel:
    """The model of the last call. It stays in memory for the next one while its files are the same."""

    def __init__(self) -> None:
        self._model: Backbone | None = None
        self._name = ""
        self._files: list[object] = []

    @property
    def is_loaded(self) -> bool:
        return self._model is not None

    def load(self, call: ToolCall, name: str) -> "Backbone":
        """Return the model of this name, which is the last one from now on."""
        from latentedit.models.registry import bundled_folder, load

        if name in MODELS.names():
            model_folder = bundled_folder(name)
        else:
            model_folder = folder(call.root, name)
            if not model_folder.is_dir():
                raise ConfigError(f"{MODELS.unknown(name)}. A diffusers folder in the root folder is taken too")
            name = str(model_folder)
        files = _files_of(model_folder)
        if self._model is not None and (self._name, self._files) == (name, files):
            return self._model
        if self._model is not None:
            call.report_progress(LOADING, 0, 1)
            # The memory of the last model is free for this one.
            self._model = None
            gc.collect()
        self._model = load(name)
        self._name = name
        self._files = files
        collect_garbage_less_often()
        call.report_progress(LOADING, 1, 1)
        return self._model


_last_model = _LastModel()


def _files_of(model_folder: Path) -> list[object]:
    """Return names, sizes and times of the files of a model, which differ after every change."""
    files = list[object]()
    for path in sorted([*model_folder.glob("*"), *model_folder.glob("*/*")]):
        if path.exists():
            status = path.stat()
            files.append((path, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    return files


EDIT_IMAGE = Tool(title="Edit an image by text", function=edit_image)
SWEEP_IMAGE = Tool(
    title="Edit at several strengths",
    function=sweep_image,
    timeout_remedy="Pass fewer strengths, or ask the user to start the server with more --seconds",
)
