"""A user's own pictures as work for runners: one batch of pictures a unit."""

import dataclasses
import functools
import hashlib
import json
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from latentedit._version import __version__
from latentedit.api import verbs
from latentedit.api.measure import peak_bytes
from latentedit.api.outputs import beside
from latentedit.api.request import EditRequest
from latentedit.api.result import EditResult
from latentedit.api.runs.jobs import EditJob, place_of, shown, steady_batches
from latentedit.api.runs.work import Failure, Measure, Row, UnitResult, check_model, in_halves, unchanged
from latentedit.core.errors import ConfigError, LatentEditError, UnknownPictureWarning
from latentedit.directions.direction import found_under_no_text
from latentedit.editors.registry import make_editor
from latentedit.latents.captions.base import Captioner, captioner_for, make_captioner
from latentedit.latents.encode import open_picture
from latentedit.latents.pictures import Picture
from latentedit.latents.record import ModelRecord
from latentedit.models.base import Backbone

KIND = "edit"
"""Of runs."""

PICTURES_KEY = "pictures"
"""Key of the plan that may change from one time to the next: units whose pictures are the same stay finished."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Loaded:
    """What every unit needs: the model, and who reads pictures where that is not the model's own captioner."""

    model: Backbone
    captioner: Captioner | None

    @staticmethod
    def by(load: Callable[[], Backbone], *, captioner: str | None) -> "Loaded":
        """Load both; can be sent to another process as a `functools.partial`, if ``load`` can.

        Raises:
            LatentEditError: what ``load`` raises, or no such captioner; see `captions.base.make_captioner`.
        """
        backbone = load()
        return Loaded(model=backbone, captioner=None if captioner is None else make_captioner(captioner, backbone))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EditWork:
    """Units of a batch of pictures each; each is called by its first picture, and by what decides its rows.

    Args:
        spec: as of any `Work`.
        load: loads model and captioner; can be pickled where other processes are to work.
        request: of every picture, but for caption and target.
        batches: of the pictures, by the names of the units.
    """

    spec: Mapping[str, Any]
    load: Callable[[], Loaded]
    request: EditRequest
    batches: Mapping[str, tuple[EditJob, ...]]

    @staticmethod
    def of(
        loaded: Loaded,
        pictures: Sequence[EditJob],
        request: EditRequest,
        *,
        batch: int,
        captioner: str | None = None,
        load: Callable[[], Loaded] | None = None,
    ) -> "EditWork":
        """Cut pictures into units.

        Args:
            loaded: model and captioner.
            pictures: in their order.
            request: of every one.
            batch: pictures that are edited together; more take more memory, and change rows by rounding at most.
            captioner: the name of the captioner that is loaded.
            load: for other processes; without it, what is loaded works in this one.

        Raises:
            ConfigError: no pictures, a batch of none, directions of another model, or nobody who could read captions.
            ImageError: a picture for the model to see beside each cannot be read.
            RegistryError: an unknown editor.

        Cost:
            Reads every file once.
        """
        model = loaded.model
        if batch < 1 or not pictures:
            raise ConfigError(
                f"{len(pictures)} pictures in batches of {batch} are no work. Give 1 picture or more, batches of 1 up"
            )
        for direction in request.loaded:
            direction.check_model(model.name, model.fingerprint)
        unread = any(one.caption is None for one in pictures) and not request.instructed
        silent = loaded.captioner is None and captioner_for(model) is None
        if unread and silent and not found_under_no_text(request.loaded):
            raise ConfigError(
                f"nobody can say what the pictures show: the model {model.name!r} has no captioner. Say it with "
                "`caption`, or name a `captioner`"
            )
        about = {one.name: one.spec() for one in pictures}
        batches = steady_batches(pictures, batch)
        return EditWork(
            spec=_spec(model, request, batch, captioner) | {PICTURES_KEY: list(about.values())},
            load=functools.partial(unchanged, loaded) if load is None else load,
            request=request,
            batches={_unit([about[one.name] for one in some]): some for some in batches},
        )

    @property
    def units(self) -> Sequence[str]:
        """In the order that was given."""
        return list(self.batches)

    def task(self, unit: str, *, with_bytes: bool = False) -> tuple[EditJob, ...]:
        """The unit's pictures."""
        pictures = self.batches[unit]
        return tuple(one.with_bytes() for one in pictures) if with_bytes else pictures

    def start(self) -> Measure:
        """Load model and captioner.

        Raises:
            ModelError: another model than the plan's.
            LatentEditError: see `Loaded.by`.
        """
        loaded = self.load()
        check_model(self.spec, loaded.model.fingerprint)
        return _Edits(self.request, loaded)


Outcome = EditResult | Failure


class _Edits:
    """Edits tasks."""

    def __init__(self, request: EditRequest, loaded: Loaded) -> None:
        self._request, self._loaded = request, loaded
        self._method = make_editor(request.method, loaded.model, instructed=request.instructed).name

    def __call__(self, task: tuple[EditJob, ...]) -> UnitResult:
        model = self._loaded.model
        files = dict[str, bytes]()
        rows, failures, seconds = list[Row](), list[Failure](), 0.0
        with model.count() as cost:
            outcomes = self._outcomes(task)
        for job in task:
            outcome = outcomes[job.name]
            if isinstance(outcome, Failure):
                failures.append(outcome)
                continue
            rows.append(_row(job, outcome))
            files |= _written(outcome, job.name)
            seconds += outcome.cost.seconds
        return UnitResult(
            rows=rows,
            files=files,
            failures=failures,
            about={
                "items": len(task),
                "evaluations": cost.evaluations,
                "edit_seconds": seconds,
                "peak_bytes": peak_bytes(model.device),
            },
        )

    def _outcomes(self, task: tuple[EditJob, ...]) -> dict[str, Outcome]:
        """By the names of the jobs."""
        outcomes: dict[str, Outcome] = {}
        opened: list[tuple[EditJob, Picture]] = []
        for job in task:
            try:
                opened.append((job, job.open()))
            except LatentEditError as error:
                outcomes |= self._failed(job, error)
        batches = [[pair] for pair in opened] if verbs.composes(self._request, self._loaded.model) else [opened]
        for pairs in filter(None, batches):
            for part in in_halves(pairs, self._edited, lambda pair, error: self._failed(pair[0], error)):
                outcomes |= part
        return outcomes

    def _failed(self, job: EditJob, error: Exception) -> dict[str, Outcome]:
        return {job.name: Failure.of(job.id, self._method, error)}

    def _edited(self, pairs: Sequence[tuple[EditJob, Picture]]) -> dict[str, Outcome]:
        captions = [job.caption for job, _ in pairs if job.caption is not None]
        targets = [job.target for job, _ in pairs if job.target is not None]
        request = dataclasses.replace(
            self._request,
            caption=tuple(captions) or None,
            to=tuple(targets) or None,
            captioner=self._loaded.captioner,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnknownPictureWarning)  # the rows say it
            results = verbs.edit_pictures(self._loaded.model, [picture for _, picture in pairs], request)
        return {job.name: result for (job, _), result in zip(pairs, results, strict=True)}


def _unit(specs: Sequence[Mapping[str, Any]]) -> str:
    """Other pictures, or others together, are another unit."""
    digest = hashlib.sha256(json.dumps(specs).encode()).hexdigest()
    return f"{specs[0]['name']}-{digest[:12]}"


def _spec(model: Backbone, request: EditRequest, batch: int, captioner: str | None) -> dict[str, Any]:
    about, editor = ModelRecord.of(model), make_editor(request.method, model, instructed=request.instructed)
    return {
        "latentedit": __version__,
        "model": about.name,
        "model_fingerprint": about.fingerprint,
        "network_dtype": about.dtype,
        "method": editor.name,
        "settings": editor.to_dict(),
        "changes": request.change,
        "instructions": request.instruction,
        "beside": [open_picture(one).fingerprint for one in request.beside],
        "directions": [direction.fingerprint for direction in request.loaded],
        "strengths": request.strength,
        "mixing": request.mixing,
        "local": request.local,
        "seed": request.seed,
        "captioner": captioner,
        "anyway": request.anyway,
        "batch": batch,
    }


def _row(one: EditJob, result: EditResult) -> dict[str, Any]:
    return {
        "id": one.id,
        "picture": shown(one.path),
        "caption": result.caption,
        "target_caption": result.target_caption,
        "method": result.method,
        "strength": result.strength,
        "verdict": result.verdict.word,
        "share": result.verdict.share,
        "reason": result.verdict.reason,
        "knowledge": None if result.knowledge is None else result.knowledge.state,
        "changed_share": result.effect.changed_share,
        "change_rms": result.effect.change_rms,
        "rest_psnr_db": result.effect.rest_psnr_db,
        "evaluations": result.cost.evaluations,
        "output": place_of(one.name),
    }


def _written(result: EditResult, name: str) -> dict[str, bytes]:
    """The files that one picture alone gets, by their places in the folder of the run."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "picture.png"
        result.save(place)
        target = place_of(name)
        return {target: place.read_bytes(), beside(target).as_posix(): beside(place).read_bytes()}
