"""The guard of a model (`latents.guard`), found without right answers; and keeping what a calibration found.

The model draws pictures from captions, and how well it denoises them, as they are and after they were harmed, says
which pictures it knows. Settings of edits are found by `api.settings_search`.
"""

import importlib.resources
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ConfigError
from latentedit.core.progress import Progress
from latentedit.core.settings import Count, Natural, settings, to_plain
from latentedit.guard.calibrated import CalibratedSettings
from latentedit.guard.corruptions import HARMS
from latentedit.guard.guard import KEY as GUARD
from latentedit.guard.guard import Guard, losses
from latentedit.latents.captions.base import captioner_for
from latentedit.latents.drawing import draw_pictures, in_8_bits
from latentedit.latents.instructions import KEY as NO_CHANGE
from latentedit.latents.instructions import no_change_residuals
from latentedit.models.base import Backbone
from latentedit.models.calibrations import SETTING, SETTINGS, store_calibration
from latentedit.models.loading import SETTINGS_FILE
from latentedit.models.settings_file import read_settings, write_settings

CAPTIONS = "calibration_captions.txt"
"""Beside this module: captions for general models, a line each."""

_LOSSES = 6
"""Evaluations of `losses`, a picture."""


@settings
class Batches:
    """The pictures that something about a model is found on.

    Args:
        pictures: how many.
        steps: of drawing each.
        batch: looked at together.
        harmed: pictures of each batch that are also harmed, in each of the ways of `HARMS`.
        seed: of every random number.
    """

    pictures: Count
    steps: Count = 20
    batch: Count
    harmed: Natural
    seed: int

    @property
    def batches(self) -> list[range]:
        """Positions of the pictures of each batch."""
        starts = range(0, self.pictures, self.batch)
        return [range(start, min(start + self.batch, self.pictures)) for start in starts]

    @property
    def harmed_pictures(self) -> int:
        """How many there are of all batches, harmed in every way."""
        return sum(min(self.harmed, len(places)) for places in self.batches) * len(HARMS)

    def drawing(self, model: Backbone) -> int:
        """Network evaluations that a picture takes to draw."""
        return self.steps * model.capabilities.branches(model.capabilities.guidance)


@settings
class Calibration(Batches):
    """How a guard is calibrated; of each batch a picture at least is harmed."""

    pictures: Count = 80
    batch: Count = 10
    harmed: Count = 2
    seed: int = 0

    def evaluations(self, model: Backbone) -> int:
        """Network evaluations that it takes."""
        return self.pictures * (self.drawing(model) + _LOSSES) + self.harmed_pictures * _LOSSES


@torch.no_grad()
def calibrate_guard(
    model: Backbone,
    *,
    captions: Sequence[str] = (),
    how: Calibration | None = None,
    progress: Progress | None = None,
) -> Guard:
    """Find the thresholds of a model's guard on pictures that it draws itself.

    Args:
        model: with a picture codec.
        captions: to draw from; those that its captioner writes by default, or general ones.
        how: sizes and seed; the default ones if None.
        progress: of the batches.

    Raises:
        ConfigError: a model without pictures or fingerprint.

    Cost:
        `Calibration.evaluations`.
    """
    check_calibrable(model)
    how = Calibration() if how is None else how
    texts = list(captions) or default_captions(model, how.pictures)
    rows: list[dict[str, list[list[float]]]] = []
    for places in how.batches:
        rows.append(_batch(model, [texts[place % len(texts)] for place in places], places.start, how))
        if progress is not None:
            progress(GUARD, len(rows), len(how.batches))
    return Guard.calibrated(
        torch.cat([torch.tensor(row["own"]) for row in rows], dim=1).double(),
        {name: torch.cat([torch.tensor(row[name]) for row in rows], dim=1).double() for name in HARMS},
    )


@torch.no_grad()
def calibrate_no_change(
    model: Backbone, *, captions: Sequence[str] = (), how: Calibration | None = None
) -> dict[str, float] | None:
    """How far each wording of "no change" is from that, on a batch of pictures that the model draws itself.

    Args:
        model: with a picture codec.
        captions: as for `calibrate_guard`, as is the rest.
        how: sizes and seed; of the pictures one batch is drawn.

    Returns:
        `instructions.no_change_residuals`; None for a model that takes no instructions.

    Cost:
        Drawing the pictures, and 12 evaluations each.
    """
    if not model.capabilities.references:
        return None
    how = Calibration() if how is None else how
    texts = list(captions) or default_captions(model, how.batch)
    drawn = draw_pictures(model, texts[: how.batch], steps=how.steps, seed=how.seed)
    return no_change_residuals(model, model.encode(drawn))


def keep_calibration(
    model: Backbone,
    *,
    guard: Guard | None = None,
    settings: CalibratedSettings | None = None,
    no_change: Mapping[str, float] | None = None,
    folder: Path | None = None,
) -> Path:
    """Keep what was found in the user's data folder, or with the model itself.

    Args:
        model: that was calibrated.
        guard: from `calibrate_guard`; one that is kept already stays where none is given.
        settings: from `settings_search.calibrate_settings`; likewise.
        no_change: from `calibrate_no_change`; likewise.
        folder: of the model, whose ``latentedit.json`` then carries them to everybody who gets the model.

    Returns:
        The file.

    Raises:
        OutputError: a place that cannot be written to.
    """
    found = {GUARD: guard, SETTINGS: settings}
    parts = {name: to_plain(one) for name, one in found.items() if one is not None}
    parts |= {} if no_change is None else {NO_CHANGE: dict(no_change)}
    if folder is None:
        place = store_calibration(model.fingerprint, parts)
    else:
        known = read_settings(folder).get(SETTING, {}) if (folder / SETTINGS_FILE).is_file() else {}
        same = known if known.get("fingerprint") == model.fingerprint else {}
        write_settings(folder, {SETTING: {**same, "fingerprint": model.fingerprint, **parts}})
        place = folder / SETTINGS_FILE
    return place


def check_calibrable(model: Backbone) -> None:
    """Refuse a model that cannot be calibrated.

    Raises:
        ConfigError: without pictures or fingerprint.
    """
    if not model.capabilities.pixels or not model.fingerprint:
        raise ConfigError(
            f"the model {model.name!r} has no {'fingerprint' if model.capabilities.pixels else 'pictures'}, "
            "so it cannot be calibrated. Load one that has"
        )


def default_captions(model: Backbone, count: int) -> list[str]:
    """Captions that a model is calibrated with: of the kind that its captioner writes, or general ones."""
    captioner = captioner_for(model)
    own = [] if captioner is None else captioner.examples(count)
    general = importlib.resources.files("latentedit.guard").joinpath(CAPTIONS).read_text(encoding="utf-8")
    return own or general.splitlines()


def _batch(model: Backbone, captions: Sequence[str], first: int, how: Calibration) -> dict[str, list[list[float]]]:
    """Losses of a batch of drawn pictures, and of some of them after each harm, by its name."""
    pixels = in_8_bits(draw_pictures(model, captions, steps=how.steps, seed=how.seed, first=first))
    some = pixels[: how.harmed]
    harmed = {name: _losses(model, harm.make(some), captions[: how.harmed]) for name, harm in HARMS.items()}
    return {"own": _losses(model, pixels, captions).tolist(), **{name: rows.tolist() for name, rows in harmed.items()}}


def _losses(model: Backbone, pixels: Float[Tensor, "b 3 h w"], captions: Sequence[str]) -> Float[Tensor, "3 b"]:
    """Under what the model's reader sees in them; under these captions where it has none."""
    reader = captioner_for(model)
    texts = list(captions) if reader is None else reader.caption(pixels)
    return losses(model, model.encode(pixels), model.embed(texts))
