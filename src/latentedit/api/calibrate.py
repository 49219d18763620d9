"""What a model's own pictures say of it, found without right answers and kept by the fingerprint of its weights.

So far that is its guard (`latents.guard`): the model draws pictures from captions, and how well it denoises them, as
they are and after they were harmed, says which pictures it knows.
"""

import dataclasses
import hashlib
import importlib.resources
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ConfigError, FileFormatError
from latentedit.core.files.writing import make_folder, write_text
from latentedit.core.progress import Progress
from latentedit.core.settings import Count, settings, to_plain
from latentedit.latents import guard
from latentedit.latents.captions.base import captioner_for
from latentedit.latents.drawing import draw_pictures
from latentedit.latents.guard import Guard
from latentedit.latents.harms import HARMS
from latentedit.models.base import Backbone
from latentedit.models.calibrations import SETTING, calibration_file, read_calibration, store_calibration
from latentedit.models.loading import SETTINGS_FILE
from latentedit.models.settings_file import write_settings

CAPTIONS = "calibration_captions.txt"
"""Beside this module: captions for general models, a line each."""

_LOSSES = 6
"""Evaluations of `guard.losses`, a picture."""


@settings
class Calibration:
    """How a model is calibrated.

    Args:
        pictures: that it draws.
        steps: of each.
        batch: drawn together.
        harmed: pictures of each batch that are also harmed, in each of the ways of `HARMS`.
        seed: of the pictures' noises.
    """

    pictures: Count = 80
    steps: Count = 20
    batch: Count = 10
    harmed: Count = 2
    seed: int = 0

    def evaluations(self, model: Backbone) -> int:
        """Network evaluations that it takes."""
        drawn = self.steps * model.capabilities.branches(model.capabilities.guidance) + _LOSSES
        harmed = sum(min(self.harmed, len(places)) for places in self.batches)
        return self.pictures * drawn + harmed * len(HARMS) * _LOSSES

    @property
    def batches(self) -> list[range]:
        """Positions of the pictures of each batch."""
        starts = range(0, self.pictures, self.batch)
        return [range(start, min(start + self.batch, self.pictures)) for start in starts]

    def seconds(self, model: Backbone) -> float:
        """About how long it will take here, by what one batch takes at one level.

        Cost:
            Two evaluations for each picture of a batch.
        """
        side, count = model.capabilities.sizes[1], 2 * len(self.batches[0])
        z = torch.zeros(count, *model.latent_shape(side, side), device=model.device, dtype=model.dtype)
        condition, s = model.embed([""]).expand(count), torch.full((count,), guard.NEAR).to(z)
        with torch.no_grad():
            model.velocity(z[:2], s[:2], condition[:2])  # the first call is slower
            begun = time.perf_counter()
            model.velocity(z, s, condition)
        return self.evaluations(model) * (time.perf_counter() - begun) / count


@torch.no_grad()
def calibrate_guard(
    model: Backbone,
    *,
    captions: Sequence[str] = (),
    how: Calibration | None = None,
    progress: Progress | None = None,
) -> Guard:
    """Find the thresholds of a model's guard on pictures that it draws itself.

    It can be stopped anywhere: what each batch gave is kept in the user's data folder until it is finished, and another
    run of the same goes on there.

    Args:
        model: with a picture codec.
        captions: to draw from; those that its captioner writes by default, or general ones.
        how: sizes and seed; the default ones if None.
        progress: of the batches.

    Raises:
        ConfigError: a model without pictures or fingerprint.
        OutputError: a data folder that cannot be written to.

    Cost:
        `Calibration.evaluations`.
    """
    if not model.capabilities.pixels or not model.fingerprint:
        raise ConfigError(
            f"the model {model.name!r} has no {'fingerprint' if model.capabilities.pixels else 'pictures'}, "
            "so it cannot be calibrated. Load one that has"
        )
    how = Calibration() if how is None else how
    texts = list(captions) or default_captions(model, how.pictures)
    kept = _Kept.of(model, {**to_plain(how), "captions": hashlib.sha256("\n".join(texts).encode()).hexdigest()})
    for index, places in enumerate(how.batches):
        if str(index) not in kept.batches:
            kept.add(str(index), _batch(model, [texts[place % len(texts)] for place in places], places.start, how))
        if progress is not None:
            progress("guard", index + 1, len(how.batches))
    rows = list(kept.batches.values())
    return Guard.calibrated(
        torch.cat([torch.tensor(row["own"]) for row in rows], dim=1).double(),
        {name: torch.cat([torch.tensor(row[name]) for row in rows], dim=1).double() for name in HARMS},
    )


def keep_guard(model: Backbone, found: Guard, *, folder: Path | None = None) -> Path:
    """Keep a guard in the user's data folder, or with the model itself; what was kept to go on from is removed.

    Args:
        model: whose guard it is.
        found: from `calibrate_guard`.
        folder: of the model, whose ``latentedit.json`` then carries the guard to everybody who gets the model.

    Returns:
        The file.

    Raises:
        OutputError: a place that cannot be written to.
    """
    parts = {guard.KEY: to_plain(found)}
    if folder is None:
        place = store_calibration(model.fingerprint, parts)
    else:
        write_settings(folder, {SETTING: {"fingerprint": model.fingerprint, **parts}})
        place = folder / SETTINGS_FILE
    _partial(model).unlink(missing_ok=True)
    return place


def default_captions(model: Backbone, count: int) -> list[str]:
    """Captions that a model is calibrated with: of the kind that its captioner writes, or general ones."""
    captioner = captioner_for(model)
    own = [] if captioner is None else captioner.examples(count)
    general = importlib.resources.files("latentedit.api").joinpath(CAPTIONS).read_text(encoding="utf-8")
    return own or general.splitlines()


def _batch(model: Backbone, captions: Sequence[str], first: int, how: Calibration) -> dict[str, list[list[float]]]:
    """Losses of a batch of drawn pictures, and of some of them after each harm, by its name."""
    drawn = draw_pictures(model, captions, steps=how.steps, seed=how.seed, first=first)
    pixels = drawn.add(1).mul(127.5).round().div(127.5).sub(1)  # as a file of 8 bits has them
    some = pixels[: how.harmed]
    harmed = {name: _losses(model, harm.make(some), captions[: how.harmed]) for name, harm in HARMS.items()}
    return {"own": _losses(model, pixels, captions).tolist(), **{name: rows.tolist() for name, rows in harmed.items()}}


def _losses(model: Backbone, pixels: Float[Tensor, "b 3 h w"], captions: Sequence[str]) -> Float[Tensor, "3 b"]:
    """Under what the model's reader sees in them; under these captions where it has none."""
    reader = captioner_for(model)
    texts = list(captions) if reader is None else reader.caption(pixels)
    return guard.losses(model, model.encode(pixels), model.embed(texts))


@dataclasses.dataclass(slots=True)
class _Kept:
    """What was measured of an unfinished calibration, batch by batch, in a file.

    Two runs of one calibration find the same numbers, and each writes a whole file: neither spoils the other's.
    """

    place: Path
    plan: Mapping[str, Any]
    batches: dict[str, Any]

    @classmethod
    def of(cls, model: Backbone, plan: Mapping[str, Any]) -> "_Kept":
        """What there is of this plan; nothing where there is another's, or nothing sound."""
        place = _partial(model)
        make_folder(place.parent)
        try:
            stored = read_calibration(place) if place.is_file() else {}
        except FileFormatError:
            stored = {}
        return cls(place, plan, dict(stored["batches"]) if stored.get("plan") == plan else {})

    def add(self, name: str, batch: Mapping[str, Any]) -> None:
        self.batches[name] = batch
        write_text(self.place, json.dumps({"plan": self.plan, "batches": self.batches}))


def _partial(model: Backbone) -> Path:
    return calibration_file(model.fingerprint).with_suffix(".partial.json")
