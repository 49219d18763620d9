"""Calibrating the guard of a model without right answers.

The model draws images from captions. How well it denoises them, as they are and after corruptions, says which images it
knows (`guard`). `verdict` finds the thresholds of what is said of edits.
"""

import dataclasses
import importlib.resources
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.calibration.drawing import draw_images, in_8_bits
from latentedit.core.console import Progress
from latentedit.core.errors import ConfigError
from latentedit.core.setting import Count, Natural, from_plain, settings
from latentedit.editors.eim import EIM
from latentedit.editors.judge import Judge
from latentedit.encoding.encode import captioner_for
from latentedit.encoding.familiarity import CORRUPTIONS, Guard, guard_losses
from latentedit.encoding.no_change import no_change_residuals
from latentedit.models import model_settings
from latentedit.models.base import Backbone


@settings
class Batches:
    """The images of a calibration."""

    images: Count
    steps: Count = 20  # drawing steps of each
    batch: Count  # images per batch
    harmed: Natural  # images per batch that are also corrupted, in each of the ways of `CORRUPTIONS`
    seed: int

    @property
    def batches(self) -> list[range]:
        """Positions of the images of each batch."""
        starts = range(0, self.images, self.batch)
        return [range(start, min(start + self.batch, self.images)) for start in starts]


@settings
class GuardCalibration(Batches):
    """How a guard is calibrated; at least one image of each batch is corrupted."""

    images: Count = 80
    batch: Count = 10
    harmed: Count = 2
    seed: int = 0


@settings
class CalibratedSettings:
    """Calibrated verdict of an editor, from `verdict.calibrate_verdict` or the search of the benchmark.

    Args:
        eim: the editor.
        local: its change is kept to where it is strong.
        judge: of verdicts: the level at which the model tells best what an edit did, and its thresholds.
        strengths: lowest and highest strength at which no image of the first batch is damaged.
        images: number of images on which settings were compared.
        evaluations: network evaluations of an edit.
        preferred: used even where the model's maker tuned settings.
        tried: name of each candidate of a search to its mean criteria, the best first; none without a search.
    """

    eim: EIM
    local: bool
    judge: Judge
    strengths: tuple[float, float]
    images: Count
    evaluations: Natural
    preferred: bool = False
    tried: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict[str, Mapping[str, float]])

    @classmethod
    def of(cls, backbone: Backbone) -> "CalibratedSettings | None":
        """The calibrated settings of a model, in use or not; None where it has none.

        Raises:
            FileFormatError, ConfigError: a damaged calibration.
        """
        stored = model_settings.calibration_of(backbone).get(model_settings.SETTINGS)
        return None if stored is None else from_plain(cls, stored)

    @property
    def text(self) -> str:
        """The settings in one clause."""
        low, high = self.strengths
        return (
            f"{next(iter(self.tried), 'eim')}{'' if self.local else ', not local'}; an edit takes {self.evaluations} "
            f"evaluations; strengths {low:.1f} to {high:.1f}; verdict at level {self.judge.level:g}, too little below "
            f"a share of {self.judge.least_share:.2f}, damaged from {self.judge.damage:.1f} x the residual; from "
            f"{self.images} images"
        )


@torch.no_grad()
def calibrate_guard(
    model: Backbone,
    *,
    captions: Sequence[str] = (),
    how: GuardCalibration | None = None,
    level: float | None = None,
    progress: Progress | None = None,
) -> Guard:
    """Find the thresholds of a model's guard on images that it draws itself.

    Args:
        model: with an image codec.
        captions: to draw from; by default examples by its captioner, or general captions.
        how: sizes and seed.
        level: where unknown images differ from all others; by default that of the model's verdict, which shares the
            evaluations there.
        progress: called after each batch.

    Raises:
        ConfigError: a model without images or fingerprint.

    Cost:
        Drawing the images, and 6 evaluations for each image and each corrupted one.
    """
    check_calibrable(model)
    check_captions(captions)
    how = GuardCalibration() if how is None else how
    texts = list(captions) or default_captions(model, how.images)
    own, level = list[Tensor](), Judge.of(model).level if level is None else level
    corrupted: dict[str, list[Tensor]] = {name: [] for name in CORRUPTIONS}
    for number, positions in enumerate(how.batches, start=1):
        batch = [texts[position % len(texts)] for position in positions]
        drawn = in_8_bits(draw_images(model, batch, steps=how.steps, seed=how.seed, first=positions.start))
        own.append(_losses(model, drawn, batch, level))
        for name, corruption in CORRUPTIONS.items():
            corrupted[name].append(_losses(model, corruption.apply(drawn[: how.harmed]), batch[: how.harmed], level))
        if progress is not None:
            progress(model_settings.GUARD, number, len(how.batches))
    harmed = {name: torch.cat(rows, dim=1) for name, rows in corrupted.items()}
    return Guard.from_losses(torch.cat(own, dim=1), harmed, level=level)


@torch.no_grad()
def calibrate_no_change(
    model: Backbone, *, captions: Sequence[str] = (), how: GuardCalibration | None = None
) -> dict[str, float] | None:
    """`no_change_residuals` on one batch of images that the model draws; None without instructions."""
    if not model.capabilities.references:
        return None
    how = GuardCalibration() if how is None else how
    texts = list(captions) or default_captions(model, how.batch)
    drawn = draw_images(model, texts[: how.batch], steps=how.steps, seed=how.seed)
    return no_change_residuals(model, model.encode(drawn))


def check_calibrable(model: Backbone) -> None:
    """Raise a ConfigError for a model that cannot be calibrated."""
    if not model.capabilities.pixels or not model.fingerprint:
        raise ConfigError(
            f"the model {model.name!r} has no {'fingerprint' if model.capabilities.pixels else 'images'}, "
            "so it cannot be calibrated. Load one that has"
        )


def check_captions(captions: Sequence[str]) -> None:
    """Raise a ConfigError for one text in place of a list of them."""
    if isinstance(captions, str):
        raise ConfigError(f"`captions` are a list of texts; got {captions!r:.60}. Give [caption, ...]")


def default_captions(model: Backbone, count: int) -> list[str]:
    """Captions to calibrate with: examples by the model's captioner, or general ones."""
    captioner = captioner_for(model)
    own = [] if captioner is None else captioner.examples(count)
    general = importlib.resources.files("latentedit.calibration").joinpath("calibration_captions.txt")
    return own or general.read_text(encoding="utf-8").splitlines()


def _losses(
    model: Backbone, pixels: Float[Tensor, "b 3 h w"], captions: Sequence[str], level: float
) -> Float[Tensor, "3 b"]:
    """`guard_losses` under what the model's captioner reads; under these captions where it has none."""
    reader = captioner_for(model)
    texts = list(captions) if reader is None else reader.caption(pixels)
    return guard_losses(model, model.encode(pixels), model.embed(texts), level=level)
