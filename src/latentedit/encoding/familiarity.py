"""The guard of a model: whether an image is in its distribution, by the model alone, before an edit.

``loss(s, c)`` is how well the model denoises the image from level s under a text (`encoding.joint`). c is the
caption by the model's captioner (the image's own where it has none), u is no text:

    known      loss(.5, c) is at most the 98 % quantile of the model's own samples, and at most loss(.5, u): the caption
               helps (a model whose own samples do not show that has a higher bound)
    unknown    the framer finds no subject, or loss(far, c) is nearer, in logarithms, to the least median of the model's
               samples after a severe corruption than to the largest after a mild one (`CORRUPTIONS`)
    doubtful   otherwise

The level "far" is that of the model's verdict, which looks at the image with the same noises: what the guard computed
there, the verdict has. All images get the same noises. All thresholds come from samples of the model itself
(`calibration`), so no other images are needed. Derived here.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from latentedit.core.errors import UnknownImageError, warn
from latentedit.core.setting import Count, Level, from_plain, settings
from latentedit.encoding.encode import captioner_for
from latentedit.encoding.images import framer_for
from latentedit.encoding.joint import (
    Familiarity,
    JointLatent,
    Noised,
    Reason,
    State,
    denoising_errors,
    judging_noise,
)
from latentedit.models.base import Backbone
from latentedit.models.model_settings import GUARD, calibration_of
from latentedit.numerics.condition import Condition
from latentedit.numerics.rng import noise_like

NEAR = 0.5  # noise level that separates known images best from all others
_FAMILIAR = 0.98  # share of the model's own samples whose loss counts as known
_CAPTIONED = 0.95  # share of the model's own samples whose caption should help
_ELSEWHERE = "For photographs, choose a model such as FLUX.2 or Qwen-Image (docs/tutorials/own-model.md). "

Pixels = Float[Tensor, "b 3 h w"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Corruption:
    """A corruption of images in [-1, 1] that keeps their size, and the reason that it stands for."""

    reason: Reason
    severe: bool
    apply: Callable[[Pixels], Pixels]


def _resized(pixels: Pixels, size: tuple[int, int]) -> Float[Tensor, "b 3 height width"]:
    return functional.interpolate(pixels, size=size, mode="bilinear", antialias=True)


def _blurred(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[2:]
    return _resized(_resized(pixels, (height // 4, width // 4)), (height, width))


def _shrunk(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[2:]
    small = _resized(pixels, (height // 2, width // 2))
    top, left = (height - height // 2) // 2, (width - width // 2) // 2
    margins = (left, width - width // 2 - left, top, height - height // 2 - top)
    return functional.pad(small, margins, mode="replicate")


def _zoomed(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[2:]
    return _resized(pixels[:, :, height // 4 : height - height // 4, width // 4 : width - width // 4], (height, width))


def _shuffled(pixels: Pixels, cells: int) -> Pixels:
    """The squares of a grid in another order, the same for all images; none stays where it was."""
    rows = [row.chunk(cells, dim=3) for row in pixels.chunk(cells, dim=2)]
    shuffled = [[rows[(y + 1 + x) % cells][(x + 1) % cells] for x in range(cells)] for y in range(cells)]
    return torch.cat([torch.cat(row, dim=3) for row in shuffled], dim=2)


CORRUPTIONS: Mapping[str, Corruption] = {
    "gray": Corruption(reason="colors", severe=False, apply=lambda x: x.mean(1, keepdim=True).expand_as(x)),
    "hue": Corruption(reason="colors", severe=False, apply=lambda x: x.roll(1, dims=1)),
    "blurred": Corruption(reason="size", severe=False, apply=_blurred),
    "shrunk": Corruption(reason="framing", severe=False, apply=_shrunk),
    "zoomed": Corruption(reason="framing", severe=False, apply=_zoomed),
    "upside down": Corruption(reason="style", severe=True, apply=lambda x: x.flip(2)),
    "quarters exchanged": Corruption(reason="style", severe=True, apply=lambda x: _shuffled(x, 2)),
    "shuffled": Corruption(reason="style", severe=True, apply=lambda x: _shuffled(x, 4)),
}
"""Corruptions by name: mild ones leave images of their kind, severe ones do not. Calibrated guards name them."""


@settings
class Guard:
    """The thresholds of one model, each a loss in units of the latent's variance, or a ratio of two.

    Args:
        images: number of the model's samples that the thresholds come from.
        usual: median of their ``loss(.5, c)``.
        known: quantile of the same.
        ratio: from this ``loss(.5, c) / loss(.5, u)`` on the caption does not fit; at least 1.
        empty: quantile of ``loss(.5, u)``.
        far: above this ``loss(far, c)`` an image is unknown.
        harmed: medians of ``loss(.5, c)``, ``loss(.5, u)`` and ``loss(far, c)`` after each of `CORRUPTIONS`.
        level: far, a noise level that separates unknown images from all others.
    """

    images: Count
    usual: float
    known: float
    ratio: float
    empty: float
    far: float
    harmed: Mapping[str, list[float]]
    level: Level = 0.7

    @classmethod
    def of(cls, backbone: Backbone) -> "Guard | None":
        """The guard that was calibrated for a model; None where none was.

        Raises:
            FileFormatError, ConfigError: a damaged calibration.
        """
        stored = calibration_of(backbone).get(GUARD)
        return None if stored is None else from_plain(cls, stored)

    @classmethod
    def from_losses(
        cls, own: Float[Tensor, "3 n"], corrupted: Mapping[str, Float[Tensor, "3 m"]], *, level: float
    ) -> Self:
        """From `guard_losses` of the model's samples, and of some of them after each of `CORRUPTIONS`."""
        near, empty, far = own
        medians = {name: rows.median(1).values.tolist() for name, rows in corrupted.items()}
        mild, severe = (
            [medians[name][2] for name, corruption in CORRUPTIONS.items() if corruption.severe is bad]
            for bad in (False, True)
        )
        return cls(
            images=len(near),
            usual=float(near.median()),
            known=float(near.quantile(_FAMILIAR)),
            # A model whose own samples are not denoised better with their captions needs a higher bound than 1.
            ratio=max(1.0, float((near / empty).quantile(_CAPTIONED))),
            empty=float(empty.quantile(_FAMILIAR)),
            # Midway, in logarithms, between mild and severe corruptions, but not so low that the model's own samples
            # are unknown.
            far=max(math.sqrt(max(mild) * min(severe)), float(far.quantile(_FAMILIAR))),
            harmed=medians,
            level=level,
        )

    @property
    def text(self) -> str:
        """The thresholds in one clause."""
        return (
            f"from {self.images} images of its own; an image is known up to {self.known / self.usual:.1f} x their "
            f"median loss at level {NEAR:g}, unknown from a loss of {self.far:.3g} at level {self.level:g}"
        )

    @torch.no_grad()
    def check(self, latent: JointLatent) -> tuple[Familiarity, ...]:
        """How familiar each image is to the model.

        Args:
            latent: encoded images with their frames, as `encode` gives them.

        Cost:
            6 evaluations an image; 8 where the captions are not those of the model's captioner.
        """
        backbone = latent.backbone
        pixels = torch.stack([frame.pixels for frame in latent.frames])
        reader, framer = captioner_for(backbone), framer_for(backbone)
        read = latent.captions if reader is None else latent.read or tuple(reader.caption(pixels))
        # The guard was calibrated under the captioner's captions, so the state is judged under those.
        own, given_text = read == latent.captions, latent.condition.guided_by_image(None)
        condition = given_text if own else backbone.embed(read)
        with backbone.count() as cost:
            errors = denoising_errors(backbone, _points(backbone, latent.z, condition, self.level))
            if not own:  # a batch of its own: an instruction may have the images as references
                errors += denoising_errors(backbone, [_near(latent.z, given_text)])
        if own and backbone.fingerprint:
            latent.errors[latent.error_key(self.level, 0, 0)] = errors[2]
        measured = _means(errors)
        given = measured[0 if own else 3]
        subjects = [True] * len(latent)
        if framer is not None:
            subjects = framer.sees([frame.image.on_white() for frame in latent.frames])
        fits = (given <= self.ratio * measured[1]).tolist()
        results: list[Familiarity] = []
        for index, row in enumerate(measured[:3].T.tolist()):
            state, reason = self.assess(row, subject=subjects[index])
            results.append(
                Familiarity(
                    state=state,
                    number=row[0] / self.usual,
                    reason=reason,
                    caption_fits=fits[index],
                    caption_read=reader is not None and read[index] == latent.captions[index],
                    evaluations=cost.evaluations // len(latent),
                )
            )
        return tuple(results)

    def assess(self, losses: Sequence[float], *, subject: bool) -> tuple[State, Reason]:
        """State of an image by its three `guard_losses` and whether the framer finds a subject; the nearest reason."""
        near, empty, far = losses
        fitting = near <= self.ratio * empty
        if subject and far <= self.far and near <= self.known and fitting:
            return "known", ""
        state: State = "unknown" if not subject or far > self.far else "doubtful"
        if not subject:
            return state, "subject"
        # The caption is to blame only if the image is denoised like the model's own without any.
        if not fitting and empty <= self.empty:
            return state, "caption"
        # In logarithms: losses after different corruptions differ by factors.
        distances = {
            name: sum(math.log(max(a, 1e-30) / max(b, 1e-30)) ** 2 for a, b in zip(losses, medians, strict=True))
            for name, medians in self.harmed.items()
        }
        return state, CORRUPTIONS[min(distances, key=distances.__getitem__)].reason


def check_familiarity(latent: JointLatent) -> JointLatent:
    """The latent, whose ``knowledge`` is filled in where that was not checked before and can be.

    Nothing is checked for latents without images, for models without a calibrated guard, nor for images that were
    encoded for instructions by a model without a captioner: the thresholds are those of captions.

    Cost:
        As `Guard.check`; nothing for images that were checked before.
    """
    unread = latent.instructed and captioner_for(latent.backbone) is None
    if latent.knowledge or not latent.frames or unread:
        return latent
    if (guard := Guard.of(latent.backbone)) is not None:
        # Images are checked once, whatever is done with their latents; all else in a latent stays as it was made.
        object.__setattr__(latent, "knowledge", guard.check(latent))
    return latent


def guarded(latent: JointLatent, *, force: bool) -> JointLatent:
    """The latent of `check_familiarity`; an unknown image is an `UnknownImageError`, or with ``force`` a warning.

    There is no second warning of an image that was checked before.
    """
    checked = bool(latent.knowledge)
    for problem in strangers(latent):
        if not force:
            elsewhere = _ELSEWHERE if latent.backbone.defaults.get("knows") else ""
            raise UnknownImageError(f"{problem}. {elsewhere}Nothing was edited")
        if not checked:
            warn([f"{problem}. The verdict on its edit is unreliable"])
    return latent


def warn_of_unknown(latent: JointLatent) -> None:
    """Run `check_familiarity`; an unknown image is a warning."""
    warn(strangers(latent))


def strangers(latent: JointLatent) -> list[str]:
    """A line for each image of the latent that the model does not know; see `check_familiarity`."""
    lines = list[str]()
    for frame, familiarity in zip(latent.frames, check_familiarity(latent).knowledge, strict=False):
        if familiarity.state == "unknown":
            name = "the image" if frame.image.path is None else frame.image.path.name
            kind = latent.backbone.defaults.get("knows")
            known = f"This model only knows {kind}; {name} is something else"
            lines.append(known if kind else f"{latent.backbone.name} does not know {name}: {familiarity.details}")
    return lines


def guard_losses(
    backbone: Backbone, z: Float[Tensor, "b *latent"], condition: Condition, *, level: float
) -> Float[Tensor, "3 b"]:
    """``loss(.5, c)``, ``loss(.5, u)`` and ``loss(level, c)`` of clean latents; two evaluations each."""
    return _means(denoising_errors(backbone, _points(backbone, z, condition, level)))


def _points(backbone: Backbone, z: Tensor, condition: Condition, level: float) -> list[Noised]:
    far = Noised(z, condition, level, judging_noise(z, 0, 0))
    return [_near(z, condition), _near(z, backbone.null(condition)), far]


def _near(z: Tensor, condition: Condition) -> Noised:
    return Noised(z, condition, NEAR, noise_like(z, seed=0, purpose="guard", count=2, antithetic=True))


def _means(errors: list[Tensor]) -> Float[Tensor, "points b"]:
    return torch.stack(errors).flatten(2).mean(2).cpu().double()
