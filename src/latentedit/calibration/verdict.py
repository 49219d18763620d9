"""The verdict's level and thresholds for a model, found without ground truth.

The model draws images from captions, or gets the user's own. In the caption of each, a phrase or two are exchanged for
those of another caption, and one editor edits the image towards that. ``loss(z, c)`` is how well the model denoises a
clean latent under a text (`encoding.joint`), x is the image under its own text c0, and z an edit towards c1:

    residual    min over c0, c1 of loss(z, c) / loss(x, c0)           high off the manifold
    share       of the change that the model sees (`editors.judge`)    about 1 for a whole change

at each of `LEVELS`. They decide

    level       of verdicts: where the shares of the change differ least
    least share half of the median share there
    damage      half way, in logarithms, from the 98 % quantile of the residuals to that of corrupted images
    strengths   how far the first images can be taken before that

Derived here.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Self

import torch
from jaxtyping import Float, Float64
from PIL import ImageOps
from torch import Tensor

from latentedit.calibration.drawing import draw_images, in_8_bits
from latentedit.calibration.guard import (
    Batches,
    CalibratedSettings,
    check_calibrable,
    check_captions,
    default_captions,
)
from latentedit.core.console import Progress
from latentedit.core.errors import ConfigError
from latentedit.core.setting import Count, Natural, settings
from latentedit.editors.base import stored_settings
from latentedit.editors.eim import EIM
from latentedit.editors.judge import Judge
from latentedit.encoding.captions.change import Caption, phrase_key
from latentedit.encoding.encode import (
    ImageLike,
    captioner_for,
    embed_targets,
    encode_frames,
    fit_all,
    fitted,
    open_image,
)
from latentedit.encoding.familiarity import CORRUPTIONS
from latentedit.encoding.joint import JointLatent, denoising_losses
from latentedit.models.base import Backbone
from latentedit.models.model_settings import SETTINGS
from latentedit.numerics.condition import Condition
from latentedit.numerics.rng import Seed

Losses = Float64[Tensor, "levels 2 b"]
LEVELS = (0.5, 0.65, 0.8, 0.9)  # noise levels at which edits are judged

_FAINT = 0.01  # margins of less than this share of the loss say that the model hardly tells the texts apart
_EDITS = 0.98  # share of the edits that must not count as damaged
_DAMAGE = (1.2, 10.0)  # range of the residual from which an edit counts as damaged
_LEAST_SHARE = (0.25, 0.5)  # range of the share from which an edit counts as done; a full change has about 1


def levels_of(model: Backbone) -> tuple[float, ...]:
    """The levels of `LEVELS` that the model has."""
    return tuple(s for s in LEVELS if model.capabilities.s_min <= s <= model.capabilities.s_max)


def losses_at(
    latent: JointLatent, texts: Sequence[Condition], z: Float[Tensor, "b *latent"], *, seed: Seed
) -> Float64[Tensor, "levels texts b"]:
    """Denoising losses of clean latents under texts at `levels_of` the model; two evaluations each."""
    results = [
        denoising_losses(latent.backbone, z, texts, level=level, pairs=1, seed=seed, purpose="criteria")
        for level in levels_of(latent.backbone)
    ]
    return torch.stack(results).cpu().double()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """Changes as the model sees them in edits; losses are relative to that of each image under its own text."""

    own: Float64[Tensor, "levels b"]  # loss of the edit under the image's own text
    target: Float64[Tensor, "levels b"]  # loss of the edit under the target text
    margin: Float64[Tensor, "levels b"]  # 1 less the loss of the image under the target text; often negative

    @classmethod
    def of(cls, before: Losses, after: Losses) -> Self:
        """From `losses_at` of the images and of their edits, each under the own and under the target text."""
        scale = before[:, 0].clamp_min(1e-30)
        return cls(own=after[:, 0] / scale, target=after[:, 1] / scale, margin=1 - before[:, 1] / scale)

    @classmethod
    def joined(cls, batches: Sequence["Judged"]) -> Self:
        """Several batches as one."""
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**{name: torch.cat([getattr(batch, name) for batch in batches], dim=-1) for name in names})

    @property
    def share(self) -> Float64[Tensor, "levels b"]:
        """The verdict's share of the change; nan where the model hardly tells the texts apart."""
        margin = self.margin.masked_fill(self.margin > -_FAINT, torch.nan)
        return (self.own - self.target - margin) / (-2 * margin)

    @property
    def residual(self) -> Float64[Tensor, "levels b"]:
        """The verdict's off-manifold residual."""
        return torch.minimum(self.own, self.target)


@settings
class VerdictCalibration(Batches):
    """The images on which a verdict is calibrated."""

    images: Count = 96
    batch: Count = 4
    harmed: Natural = 1
    seed: int = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrialEdits:
    """Images of a model, drawn or given, each with a target text that exchanges phrases of its caption.

    Args:
        model: with an image codec.
        captions: to draw from, and to take other phrases from; by default examples by the model's captioner, or general
            captions. With ``images`` they describe these, one each; by default the captioner does.
        images: images to edit instead of drawn ones, as many as ``how`` says.
        how: sizes and seed.

    Raises:
        ConfigError: a model without images, fingerprint, or levels at which edits are judged.
    """

    model: Backbone
    captions: Sequence[str] = ()
    images: Sequence[ImageLike] = ()
    how: Batches

    def __post_init__(self) -> None:
        check_calibrable(self.model)
        check_captions(self.captions)
        if not levels_of(self.model):
            known = self.model.capabilities
            raise ConfigError(
                f"{self.model.name} has levels from {known.s_min:.4g} to {known.s_max:.4g}, none of those at which "
                f"edits are judged ({', '.join(map(str, LEVELS))}). Its verdicts stay without a share"
            )

    @functools.cached_property
    def _texts(self) -> list[str]:
        return list(self.captions) or default_captions(self.model, self.how.images)

    def batch(self, positions: range) -> tuple[JointLatent, Condition]:
        """Images, drawn from the texts or given and then perhaps described by them, and their embedded target texts.

        Raises:
            ConfigError: captions that all say the same.
            ImageError: an image that cannot be read.
        """
        model, how = self.model, self.how
        texts = self._texts
        rows = [position % len(texts) for position in positions]
        chosen = [texts[row] for row in rows]
        if self.images:
            squares = [open_image(self.images[position]).on_white() for position in positions]
            smallest, side, largest = model.capabilities.sizes
            if smallest != largest:  # the middle of each, so that all share a batch
                squares = [ImageOps.fit(square, (side, side)) for square in squares]
            latent = encode_frames(model, fit_all(model, squares), source_prompt=chosen if self.captions else None)
        else:
            pixels = in_8_bits(draw_images(model, chosen, steps=how.steps, seed=how.seed, first=positions.start))
            reader = captioner_for(model)
            chosen = chosen if reader is None else reader.caption(pixels)
            latent = JointLatent(
                backbone=model, z=model.encode(pixels), condition=model.embed(chosen), captions=tuple(chosen)
            )
        targets = [
            exchanged(caption, [*texts[row + 1 :], *texts[: row + 1]], position)
            for caption, row, position in zip(latent.captions, rows, positions, strict=True)
        ]
        latent = fitted(latent, [targets])
        return latent, embed_targets(latent, targets)


def exchanged(caption: str, others: Sequence[str], number: int) -> str:
    """The caption with one phrase exchanged for that of another caption at the same place; two in every third caption.

    The number decides which phrase. If none can be exchanged, the result is the first caption that differs.
    """
    changed = _exchange(caption, others, number)
    if number % 3 == 2:
        changed = _exchange(changed, others[len(others) // 2 :], number + 1 + number // 3)
    if phrase_key(changed) != phrase_key(caption):
        return changed
    different = [other for other in others if phrase_key(other) != phrase_key(caption)]
    if not different:
        raise ConfigError("the captions all say the same, so there is no change to try. Give different ones")
    return different[0]


def _exchange(caption: str, others: Sequence[str], number: int) -> str:
    phrases = Caption.of(caption).phrases
    for shift in range(len(phrases)):
        position = (number + shift) % len(phrases)
        mine = phrases[position]
        for other in others:
            theirs = Caption.of(other).phrases
            if len(theirs) == len(phrases) and phrase_key(theirs[position].text) != phrase_key(mine.text):
                return caption[: mine.start] + theirs[position].text + caption[mine.end :]
    return caption


@torch.no_grad()
def calibrate_verdict(
    model: Backbone,
    *,
    editor: EIM | None = None,
    captions: Sequence[str] = (),
    images: Sequence[ImageLike] = (),
    how: VerdictCalibration | None = None,
    progress: Progress | None = None,
) -> CalibratedSettings:
    """Find the level and the thresholds of a model's verdicts, without right answers; see the module.

    Args:
        model: with an image codec.
        editor: whose edits are judged; by default the one that `edit` uses for the model.
        captions: see `TrialEdits`.
        images: images to edit instead of drawn ones.
        how: sizes and seed; ``images``, where given, say how many.
        progress: called after each batch.

    Raises:
        ConfigError: a model without images or fingerprint, or captions that all say the same.
        ImageError: an image that cannot be read.

    Cost:
        By default 96 drawings, 96 edits, and 40 evaluations of each for the losses; then the strengths of four.
    """
    how = VerdictCalibration() if how is None else how
    if images:
        how = dataclasses.replace(how, images=len(images))
    editor = EIM.from_dict(stored_settings(EIM.name, model)) if editor is None else editor
    trials = TrialEdits(model=model, captions=captions, images=images, how=how)
    judged: list[Judged] = []
    corrupted: list[Tensor] = []
    for number, positions in enumerate(how.batches, start=1):
        latent, target = trials.batch(positions)
        texts = (latent.condition, target)
        before = losses_at(latent, texts, latent.z, seed=how.seed)
        (edited,) = editor.edit(latent, target, [1.0], seed=how.seed)
        judged.append(Judged.of(before, losses_at(latent, texts, edited.z, seed=how.seed)))
        corrupted.append(_corrupted_losses(latent, model.decode(latent.z)[: how.harmed], before, seed=how.seed))
        if progress is not None:
            progress(SETTINGS, number, len(how.batches) + 1)
    judge = suitable_judge(levels_of(model), Judged.joined(judged), torch.cat(corrupted, dim=-1))
    latent, target = trials.batch(how.batches[0])
    slider = editor.slider(latent, editor.direction(latent, target, seed=how.seed), seed=how.seed)
    slider.judge = judge
    reached = slider.calibration()
    if progress is not None:
        progress(SETTINGS, len(how.batches) + 1, len(how.batches) + 1)
    return CalibratedSettings(
        eim=editor,
        local=editor.localizes_on(model),
        judge=judge,
        strengths=(reached.lowest, reached.highest),
        images=how.images,
        evaluations=editor.search.evaluations(),
    )


def _corrupted_losses(
    latent: JointLatent, decoded: Float[Tensor, "n 3 h w"], before: Losses, *, seed: int
) -> Float64[Tensor, "levels m"]:
    """Losses of the first images after each corruption under their own text, relative to those of the images."""
    some, results = slice(0, len(decoded)), list[Tensor]()
    for corruption in CORRUPTIONS.values():
        z = latent.backbone.encode(corruption.apply(decoded))
        results.append(losses_at(latent, [latent.condition[some]], z, seed=seed)[:, 0] / before[:, 0, some])
    return torch.cat(results, dim=1)


def suitable_judge(levels: Sequence[float], judged: Judged, corrupted: Float[Tensor, "levels m"]) -> Judge:
    """The level at which verdicts are made, and their thresholds; see the module.

    Without relative losses of corrupted images the threshold of damage is the default.
    """
    share = judged.share
    middle = share.nanmedian(1).values
    spread = (share - middle[:, None]).abs().nanmedian(1).values.nan_to_num(math.inf)
    at = int(spread.argmin())
    if not bool(torch.isfinite(spread[at])):  # the model hardly tells any of the texts apart
        return Judge()
    damage = Judge().damage
    if corrupted.shape[1]:
        edits, bad = float(judged.residual[at].quantile(_EDITS)), float(corrupted[at].median())
        # Half way in logarithms, as both are ratios.
        damage = min(max(math.sqrt(edits * bad), _DAMAGE[0]), _DAMAGE[1])
    least = min(max(float(middle[at]) / 2, _LEAST_SHARE[0]), _LEAST_SHARE[1])
    return Judge(level=levels[at], least_share=least, damage=damage)
