"""A user's own pictures as work for runners: one batch of pictures a unit."""

import dataclasses
import functools
import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from latentedit._version import __version__
from latentedit.api import verbs
from latentedit.api.measure import peak_bytes
from latentedit.api.outputs import beside, write_result
from latentedit.api.record import ModelRecord
from latentedit.api.result import EditResult
from latentedit.api.runs.asked import Asked
from latentedit.api.runs.to_edit import ToEdit, place_of, shown, steady_batches
from latentedit.api.runs.work import Done, Failure, Measure, Row, check_model, in_halves, unchanged
from latentedit.core.errors import ConfigError, LatentEditError
from latentedit.editors.registry import make_editor
from latentedit.latents.captions.base import Captioner, captioner_for, make_captioner
from latentedit.latents.pictures import Picture
from latentedit.models.base import Backbone

KIND = "edit"
"""Of runs."""

PICTURES_TOLD = "pictures"
"""What of the plan may change from one time to the next: units whose pictures are the same stay finished."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Loaded:
    """What every unit needs: the model, and who reads pictures where that is not the model's own captioner."""

    model: Backbone
    captioner: Captioner | None

    @staticmethod
    def named(model: str, *, device: str | None, captioner: str | None) -> "Loaded":
        """Load both; can be sent to another process as a `functools.partial`.

        Raises:
            LatentEditError: no such model or captioner; see `verbs.load` and `captioning.make_captioner`.
        """
        backbone = verbs.load(model, device=device)
        return Loaded(model=backbone, captioner=None if captioner is None else make_captioner(captioner, backbone))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EditWork:
    """Units of a batch of pictures each; each is called by its first picture, and by what decides its rows.

    Args:
        told: everything that decides the rows.
        load: loads model and captioner; can be pickled where other processes are to work.
        asked: what is asked of every picture.
        batches: of the pictures, by the names of the units.
    """

    told: Mapping[str, Any]
    load: Callable[[], Loaded]
    asked: Asked
    batches: Mapping[str, tuple[ToEdit, ...]]

    @staticmethod
    def of(
        loaded: Loaded,
        pictures: Sequence[ToEdit],
        asked: Asked,
        *,
        batch: int,
        captioner: str | None = None,
        load: Callable[[], Loaded] | None = None,
    ) -> "EditWork":
        """Cut pictures into units.

        Args:
            loaded: model and captioner.
            pictures: in their order.
            asked: of every one.
            batch: pictures that are edited together; more take more memory, and change rows by rounding at most.
            captioner: the name of the captioner that is loaded.
            load: for other processes; without it, what is loaded works in this one.

        Raises:
            ConfigError: no pictures, a batch of none, directions of another model, or nobody who could read captions.
            RegistryError: an unknown editor.

        Cost:
            Reads every file once.
        """
        model = loaded.model
        if batch < 1 or not pictures:
            raise ConfigError(f"expected 1 picture or more in batches of 1 or more; got {len(pictures)} in {batch}")
        for direction in asked.directions:
            direction.check_model(model.name, model.fingerprint)
        unread = any(one.caption is None for one in pictures)
        if unread and loaded.captioner is None and captioner_for(model) is None:
            raise ConfigError(
                f"expected a caption, for the model {model.name!r} has no captioner; got none. Say what the pictures "
                "show with --from, or name a --captioner"
            )
        about = {one.name: one.told() for one in pictures}
        batches = steady_batches(pictures, batch)
        return EditWork(
            told=_told(model, asked, batch, captioner) | {PICTURES_TOLD: list(about.values())},
            load=functools.partial(unchanged, loaded) if load is None else load,
            asked=asked,
            batches={_unit([about[one.name] for one in some]): some for some in batches},
        )

    @property
    def units(self) -> Sequence[str]:
        """In the order that was given."""
        return list(self.batches)

    def parcel(self, unit: str, *, carried: bool = False) -> tuple[ToEdit, ...]:
        """The unit's pictures."""
        pictures = self.batches[unit]
        return tuple(one.carried() for one in pictures) if carried else pictures

    def start(self) -> Measure:
        """Load model and captioner.

        Raises:
            ModelError: another model than the plan's.
            LatentEditError: see `Loaded.named`.
        """
        loaded = self.load()
        check_model(self.told, loaded.model.fingerprint)
        return _Edits(self.asked, loaded)


Outcome = EditResult | Failure


class _Edits:
    """Edits parcels."""

    def __init__(self, asked: Asked, loaded: Loaded) -> None:
        self._asked, self._loaded = asked, loaded

    def __call__(self, parcel: tuple[ToEdit, ...]) -> Done:
        model = self._loaded.model
        files = dict[str, bytes]()
        rows, failures, seconds = list[Row](), list[Failure](), 0.0
        with model.count() as cost:
            for one, outcome in self._outcomes(parcel):
                if isinstance(outcome, Failure):
                    failures.append(outcome)
                    continue
                rows.append(_row(one, outcome))
                files |= _written(outcome, one.name)
                seconds += outcome.cost.seconds
        return Done(
            rows=rows,
            files=files,
            failures=failures,
            about={
                "items": len(parcel),
                "evaluations": cost.evaluations,
                "edit_seconds": seconds,
                "peak_bytes": peak_bytes(model.device),
            },
        )

    def _outcomes(self, parcel: tuple[ToEdit, ...]) -> list[tuple[ToEdit, Outcome]]:
        """In the order of the parcel."""
        found: dict[str, Outcome] = {}
        opened: list[tuple[ToEdit, Picture]] = []
        for one in parcel:
            try:
                opened.append((one, one.open()))
            except LatentEditError as error:
                found[one.name] = self._failure(one, error)
        together = [[pair] for pair in opened] if self._asked.composed else [opened]
        for pairs in together:
            found |= self._edited(pairs)
        return [(one, found[one.name]) for one in parcel]

    def _edited(self, pairs: Sequence[tuple[ToEdit, Picture]]) -> dict[str, Outcome]:
        if not pairs:
            return {}

        def together(some: Sequence[tuple[ToEdit, Picture]]) -> dict[str, Outcome]:
            return {one.name: result for (one, _), result in zip(some, self._results(some), strict=True)}

        def failed(pair: tuple[ToEdit, Picture], error: Exception) -> dict[str, Outcome]:
            return {pair[0].name: self._failure(pair[0], error)}

        parts = in_halves(pairs, together, failed)
        return {name: outcome for part in parts for name, outcome in part.items()}

    def _results(self, pairs: Sequence[tuple[ToEdit, Picture]]) -> list[EditResult]:
        captions = [one.caption for one, _ in pairs if one.caption is not None]
        targets = [one.target for one, _ in pairs if one.target is not None]
        return self._asked.edit(
            self._loaded.model,
            [picture for _, picture in pairs],
            captions=captions or None,
            targets=targets or None,
            captioner=self._loaded.captioner,
        )

    def _failure(self, one: ToEdit, error: Exception) -> Failure:
        return Failure(item=one.id, what=self._asked.method, why=" ".join(str(error).split()))


def _unit(told: Sequence[Mapping[str, Any]]) -> str:
    """Other pictures, or others together, are another unit."""
    digest = hashlib.sha256(json.dumps(told).encode()).hexdigest()
    return f"{told[0]['name']}-{digest[:12]}"


def _told(model: Backbone, asked: Asked, batch: int, captioner: str | None) -> dict[str, Any]:
    about = ModelRecord.of(model)
    return {
        "latentedit": __version__,
        "model": about.name,
        "model_fingerprint": about.fingerprint,
        "network_dtype": about.dtype,
        "method": asked.method,
        "settings": make_editor(asked.method, model).to_dict(),
        "changes": asked.changes,
        "directions": [direction.fingerprint for direction in asked.directions],
        "strengths": asked.strengths,
        "mixing": asked.mixing,
        "local": asked.local,
        "seed": asked.seed,
        "captioner": captioner,
        "batch": batch,
    }


def _row(one: ToEdit, result: EditResult) -> dict[str, Any]:
    return {
        "id": one.id,
        "picture": shown(one.path),
        "caption": result.caption,
        "target_caption": result.target_caption,
        "method": result.method,
        "strength": result.strength,
        "measured_strength": result.measured_strength,
        "verdict": result.verdict.word,
        "reason": result.verdict.reason,
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
        write_result(result, place)
        target = place_of(name)
        return {target: place.read_bytes(), beside(target).as_posix(): beside(place).read_bytes()}
