"""Edits of many images as the work of a batch run: each unit is a batch of images."""

import dataclasses
import functools
import hashlib
import itertools
import json
import tempfile
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from PIL import Image

from latentedit._version import __version__
from latentedit.batch.folder import Failure, UnitResult, file_name
from latentedit.batch.work import UnitFunction, check_same_model
from latentedit.core.errors import ConfigError, LatentEditError, LatentEditWarning
from latentedit.editing import verbs
from latentedit.editing.outputs import json_path
from latentedit.editing.request import EditRequest
from latentedit.editing.result import EditResult
from latentedit.editors.base import make_editor
from latentedit.encoding.captions.base import make_captioner
from latentedit.encoding.encode import captioner_for, open_image
from latentedit.encoding.images import SourceImage
from latentedit.encoding.record import ModelRecord
from latentedit.identification.direction import is_unconditional
from latentedit.models.base import Backbone
from latentedit.numerics.cost import peak_bytes
from latentedit.photo.images import READABLE, content_of

T = TypeVar("T")
R = TypeVar("R")

KIND = "edit"  # kind of the run, as its plan names it
IMAGES = "images"  # folder of the edited images and their JSON files


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EditJob:
    """One image of a batch run."""

    id: str  # in rows and failures
    path: Path
    name: str  # stem of the edited image, unique in the run
    caption: str | None = None  # source caption; None: as in the request
    target: str | None = None  # target caption; None: as in the request
    content: bytes | None = None  # bytes of the file, for workers without access to this disk

    @property
    def output(self) -> str:
        return f"{IMAGES}/{self.name}.edited.png"

    def key(self) -> tuple[str | None, ...]:
        """Everything that determines its row; the file enters by its content, not its path."""
        content = content_of(self.path)
        digest = None if content is None else hashlib.sha256(content).hexdigest()
        return self.id, self.name, self.caption, self.target, digest


def images_in(folder: Path) -> list[Path]:
    """The image files directly in a folder, by their suffixes, sorted; warns of images that cannot be read."""
    suffixes = {suffix for suffix, kind in Image.registered_extensions().items() if kind in (*READABLE, "MPO")}
    present = sorted(path for path in folder.glob("[!.]*") if not path.is_dir())
    files = [path for path in present if path.suffix.lower() in suffixes]
    if skipped := [path.name for path in present if path.suffix.lower() not in suffixes]:
        warnings.warn(f"skipped in {folder}, no image that can be read: {', '.join(skipped)}", stacklevel=2)
    if not files:
        raise ConfigError(f"the folder {folder} contains no images ({', '.join(sorted(suffixes))}). Check the path")
    return files


def stems_of(paths: Sequence[Path]) -> list[str]:
    """Unique names for edited images: the stem of the file, or its full name if several files share the stem."""
    stems = Counter(path.stem.casefold() for path in paths)
    return unique_names(path.stem if stems[path.stem.casefold()] == 1 else path.name for path in paths)


def unique_names(texts: Iterable[str]) -> list[str]:
    """File names for texts, numbered where a file system that ignores case would not distinguish them."""
    names: dict[str, str] = {}  # keys are in the form that such a file system compares
    for name in map(file_name, texts):
        choice, number = name, 2
        while (key := unicodedata.normalize("NFC", choice.casefold())) in names:
            choice, number = f"{name} ({number})", number + 1
        names[key] = choice
    return list(names.values())


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EditWork:
    """Units of one batch of images each, named by the first image and a hash of what determines the rows."""

    spec: Mapping[str, Any]
    load: Callable[[], Backbone]  # must be picklable for work in other processes
    request: EditRequest  # for all images; texts of a job take precedence
    batches: Mapping[str, tuple[EditJob, ...]]  # keys are units

    @staticmethod
    def of(model: Backbone, jobs: Sequence[EditJob], request: EditRequest, *, batch: int) -> "EditWork":
        """Divide jobs into units of at most ``batch`` images, for this process; reads every file."""
        for direction in request.loaded:
            direction.check_model(model.name, model.fingerprint)
        described = request.instructed or request.source_prompt is not None
        captioned = described or all(job.caption is not None for job in jobs)
        captioner = captioner_for(model) if request.captioner is None else request.captioner
        if not captioned and captioner is None and not is_unconditional(request.loaded):
            raise ConfigError(f"the model {model.name!r} has no captioner. Give `source_prompt`, or a `captioner`")
        keys = [job.key() for job in jobs]
        batches: dict[str, tuple[EditJob, ...]] = {}
        for start in range(0, len(jobs), batch):
            digest = hashlib.sha256(json.dumps(keys[start : start + batch]).encode()).hexdigest()
            batches[f"{jobs[start].name}-{digest[:12]}"] = tuple(jobs[start : start + batch])
        record, editor = ModelRecord.of(model), make_editor(request.method, model, instructed=request.instructed)
        spec = {
            **_plain(request),
            "latentedit": __version__,
            "model": record.name,
            "model_fingerprint": record.fingerprint,
            "network_dtype": record.dtype,
            "method": editor.name,
            "settings": editor.to_dict(),
            "batch": batch,
        }
        return EditWork(spec=spec, load=lambda: model, request=request, batches=batches)

    @property
    def units(self) -> Sequence[str]:
        return list(self.batches)

    def task(self, unit: str) -> tuple[EditJob, ...]:
        return tuple(dataclasses.replace(job, content=content_of(job.path)) for job in self.batches[unit])

    def start(self) -> UnitFunction:
        model, request = self.load(), self.request
        check_same_model(self.spec, model.fingerprint)
        if isinstance(request.captioner, str):
            request = dataclasses.replace(request, captioner=make_captioner(request.captioner, model))
        return functools.partial(_edit_unit, model=model, request=request)


def _plain(request: EditRequest) -> dict[str, Any]:
    """The fields of a request as a plan stores them: files by their content."""
    names = [field.name for field in dataclasses.fields(request) if field.name not in ("add", "remove")]  # now changes
    return {name: getattr(request, name) for name in names} | {
        "change": [str(change) for change in request.change],
        "direction": [direction.fingerprint for direction in request.loaded],
        "references": [open_image(image).fingerprint for image in request.references],
        "captioner": request.captioner if isinstance(request.captioner, str) else None,
    }


def bisect_failures(
    items: Sequence[T], together: Callable[[Sequence[T]], R], failed: Callable[[T, Exception], R]
) -> list[R]:
    """Process all items at once; if that fails, each half, down to single items, for which ``failed`` is called."""
    try:
        return [together(items)]
    except (LatentEditError, torch.OutOfMemoryError) as error:
        if len(items) == 1:
            return [failed(items[0], error)]
    half = len(items) // 2
    return [*bisect_failures(items[:half], together, failed), *bisect_failures(items[half:], together, failed)]


def _edit_unit(task: Sequence[EditJob], *, model: Backbone, request: EditRequest) -> UnitResult:
    method = make_editor(request.method, model, instructed=request.instructed).name

    def failed(job: EditJob, error: Exception) -> list[tuple[EditJob, EditResult | Failure]]:
        return [(job, Failure.of(job.id, method, error))]

    def edited(jobs: Sequence[EditJob]) -> list[tuple[EditJob, EditResult | Failure]]:
        images = [SourceImage.open(job.path, content=job.content) for job in jobs]
        captions = tuple(job.caption for job in jobs if job.caption is not None) or request.source_prompt
        targets = tuple(job.target for job in jobs if job.target is not None) or request.prompt
        own = dataclasses.replace(request, source_prompt=captions, prompt=targets)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LatentEditWarning)  # recorded in the rows
            return list(zip(jobs, verbs.edit_images(model, images, own), strict=True))

    with model.count() as cost:
        together = [[job] for job in task] if verbs.composes(request, model) else [task]
        parts = [part for jobs in together for part in bisect_failures(jobs, edited, failed)]
    outcomes = list(itertools.chain(*parts))
    results = [(job, result) for job, result in outcomes if isinstance(result, EditResult)]
    return UnitResult(
        rows=[_row(job, result) for job, result in results],
        files={name: content for job, result in results for name, content in _files(job, result).items()},
        failures=[failure for _, failure in outcomes if isinstance(failure, Failure)],
        about={
            "items": len(task),
            "evaluations": cost.evaluations,
            "edit_seconds": sum(result.cost.seconds for _, result in results),
            "peak_bytes": peak_bytes(model.device),
        },
    )


def _row(job: EditJob, result: EditResult) -> dict[str, Any]:
    return {
        "id": job.id,
        "image": result.record.image.name,
        **{name: getattr(result, name) for name in ("caption", "target_caption", "method", "strength")},
        "verdict": result.verdict.word,
        "share": result.verdict.share,
        "reason": result.verdict.reason,
        "knowledge": None if result.knowledge is None else result.knowledge.state,
        **{name: getattr(result.effect, name) for name in ("changed_share", "change_rms", "rest_psnr_db")},
        "evaluations": result.cost.evaluations,
        "output": job.output,
    }


def _files(job: EditJob, result: EditResult) -> dict[str, bytes]:
    """The edited image and its JSON file, as `EditResult.save` writes them."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "image.png"
        result.save(file)
        return {job.output: file.read_bytes(), json_path(job.output).as_posix(): json_path(file).read_bytes()}
