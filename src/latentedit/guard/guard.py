"""Is this a picture that the model knows? Asked of the model alone, before an edit.

With ``loss(s, c)`` how well the model denoises the picture from level s under a text (`denoising`), c the caption that
the model's reader gives (the picture's own where it has no reader) and u no text,

    known      loss(.5, c) is at most the 98 % quantile of what the model draws itself, and at most loss(.5, u): the
               caption helps (a model whose own pictures do not show that has a higher bound)
    unknown    the framer sees no subject, or loss(.7, c) is nearer, in logarithms, to the least median of pictures that
               the model drew and that were then severely harmed than to the largest of mildly harmed ones (`harms`)
    doubtful   otherwise

The noises are the same for every picture. All thresholds are the model's own, from pictures that it drew
(`api.calibrate`): no other pictures are needed. Derived here.
"""

import dataclasses
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.errors import UnknownPictureError, UnknownPictureWarning
from latentedit.core.settings import Count, from_plain, settings
from latentedit.guard.corruptions import HARMS
from latentedit.latents.captions.base import captioner_for
from latentedit.latents.crop import framer_for
from latentedit.latents.denoising import denoising_losses
from latentedit.latents.familiarity import Knowledge, Reason, State
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone
from latentedit.models.calibrations import calibration_of

NEAR, FAR = 0.5, 0.7
"""Levels of noise: at the first what is known lies furthest from all else, at the second what is unknown does."""

KNOWN = 0.98
"""Share of what the model draws itself whose loss is called known."""

WORDED = 0.95
"""Share of what the model draws itself of which it is expected that the caption helps."""

KEY = "guard"
"""Of a model's calibration."""

_ELSEWHERE = (
    "For photographs, choose a model such as FLUX.2 or Qwen-Image (docs/tutorials/own-model.md). If another program "
    "made the edit, `latentedit keep` copies only the change onto the original. "
)
"""What to do with a picture that a model of one kind of pictures does not know."""


@settings
class Guard:
    """The thresholds of one model, each a loss in units of the latent's variance, or a ratio of two.

    Args:
        pictures: that the model drew for them.
        usual: median of ``loss(.5, c)`` of those.
        known: quantile of the same.
        ratio: from where ``loss(.5, c) / loss(.5, u)`` says that the caption does not fit, at least 1.
        empty: quantile of ``loss(.5, u)``.
        far: from where ``loss(.7, c)`` is that of an unknown picture.
        harmed: medians of ``loss(.5, c)``, ``loss(.5, u)`` and ``loss(.7, c)`` after each of `HARMS`.
    """

    pictures: Count
    usual: float
    known: float
    ratio: float
    empty: float
    far: float
    harmed: Mapping[str, list[float]]

    @classmethod
    def of(cls, backbone: Backbone) -> "Guard | None":
        """The guard that was calibrated for a model; None where none was.

        Raises:
            FileFormatError, ConfigError: a calibration that is damaged.
        """
        stored = calibration_of(backbone).get(KEY)
        return None if stored is None else from_plain(cls, stored)

    @classmethod
    def calibrated(cls, own: Float[Tensor, "3 n"], harmed: Mapping[str, Float[Tensor, "3 m"]]) -> Self:
        """From what `losses` gives for pictures that the model drew, and for some of them after each of `HARMS`."""
        near, empty, far = own
        medians = {name: rows.median(1).values.tolist() for name, rows in harmed.items()}
        mild, severe = ([medians[name][2] for name in HARMS if HARMS[name].severe is bad] for bad in (False, True))
        return cls(
            pictures=len(near),
            usual=float(near.median()),
            known=float(near.quantile(KNOWN)),
            ratio=max(1.0, float((near / empty).quantile(WORDED))),
            empty=float(empty.quantile(KNOWN)),
            far=max(math.sqrt(max(mild) * min(severe)), float(far.quantile(KNOWN))),
            harmed=medians,
        )

    @property
    def text(self) -> str:
        """The thresholds in one clause."""
        return (
            f"from {self.pictures} pictures of its own; a picture is known up to {self.known / self.usual:.1f} x their "
            f"median loss at level {NEAR:g}, unknown from a loss of {self.far:.3g} at level {FAR:g}"
        )

    @torch.no_grad()
    def look(self, latent: JointLatent) -> tuple[Knowledge, ...]:
        """What the model knows of each picture.

        Args:
            latent: encoded pictures with their frames, as `encode` gives them.

        Cost:
            6 evaluations a picture; 8 where the captions are not those that the model's reader gives.
        """
        backbone = latent.backbone
        pixels = torch.stack([frame.pixels for frame in latent.frames])
        reader, framer = captioner_for(backbone), framer_for(backbone)
        read = latent.captions if reader is None else latent.read or tuple(reader.caption(pixels))
        condition = latent.condition if read == latent.captions else backbone.embed(read)
        with backbone.count() as cost:
            measured = losses(backbone, latent.z, condition)
            given = measured[0] if read == latent.captions else _near(backbone, latent.z, [latent.condition])[0]
        shown = [frame.picture.on_white() for frame in latent.frames]
        subjects = [True] * len(latent) if framer is None else framer.sees(shown)
        fits = (given <= self.ratio * measured[1]).tolist()
        return tuple(
            self._knowledge(
                row,
                subject=subjects[index],
                caption_fits=fits[index],
                caption_read=reader is not None and read[index] == latent.captions[index],
                evaluations=cost.evaluations // len(latent),
            )
            for index, row in enumerate(measured.T.tolist())
        )

    def _knowledge(
        self, row: Sequence[float], *, subject: bool, caption_fits: bool, caption_read: bool, evaluations: int
    ) -> Knowledge:
        near, empty, far = row
        fitting = near <= self.ratio * empty
        state: State = "doubtful"
        if not subject or far > self.far:
            state = "unknown"
        elif near <= self.known and fitting:
            state = "known"
        return Knowledge(
            state=state,
            number=near / self.usual,
            reason="" if state == "known" else self._reason(row, subject=subject, fitting=fitting),
            caption_fits=caption_fits,
            caption_read=caption_read,
            evaluations=evaluations,
        )

    def _reason(self, row: Sequence[float], *, subject: bool, fitting: bool) -> Reason:
        """The framer's, the caption's, or that of the harm that changes the losses most alike."""
        if not subject:
            return "subject"
        if not fitting and row[1] <= self.empty:
            return "caption"
        distances = {
            name: sum(math.log(max(a, 1e-30) / max(b, 1e-30)) ** 2 for a, b in zip(row, medians, strict=True))
            for name, medians in self.harmed.items()
        }
        return HARMS[min(distances, key=distances.__getitem__)].reason


def examined(latent: JointLatent) -> JointLatent:
    """The latent with what the model knows of its pictures, where that was not asked before and can be.

    Nothing is known of latents without pictures, by models without a calibration, nor of pictures that were encoded for
    instructions and that no reader reads: the thresholds are those of captions.

    Cost:
        As `Guard.look`.
    """
    unread = latent.instructed and captioner_for(latent.backbone) is None
    if latent.knowledge or not latent.frames or unread:
        return latent
    guard = Guard.of(latent.backbone)
    return latent if guard is None else dataclasses.replace(latent, knowledge=guard.look(latent))


def guarded(latent: JointLatent, *, anyway: bool) -> JointLatent:
    """As `examined`; an unknown picture is refused, or let through with a warning.

    Args:
        latent: encoded pictures with their frames.
        anyway: let unknown pictures through.

    Raises:
        UnknownPictureError: what the model knows, and what to do about the picture.
    """
    latent = examined(latent)
    for frame, knowledge in zip(latent.frames, latent.knowledge, strict=False):
        if knowledge.state != "unknown":
            continue
        name = "the picture" if frame.picture.path is None else frame.picture.path.name
        known = latent.backbone.defaults.get("knows")
        problem = (
            f"This model only knows {known}; {name} is something else"
            if known
            else f"{latent.backbone.name} does not know {name}: {knowledge.text.removeprefix('unknown: ')}"
        )
        if not anyway:
            raise UnknownPictureError(f"{problem}. {_ELSEWHERE if known else ''}Nothing was edited")
        warnings.warn(f"{problem}. The verdict on its edit is unreliable", UnknownPictureWarning, stacklevel=5)
    return latent


def losses(backbone: Backbone, z: Float[Tensor, "b *latent"], condition: Condition) -> Float[Tensor, "3 b"]:
    """``loss(.5, c)``, ``loss(.5, u)`` and ``loss(.7, c)`` of clean latents.

    Cost:
        6 evaluations a latent.
    """
    near = _near(backbone, z, [condition, backbone.null(condition)])
    far = denoising_losses(backbone, z, [condition], level=FAR, pairs=1, seed=0, purpose="guard far")
    return torch.cat([near, far.cpu().double()])


def _near(backbone: Backbone, z: Tensor, texts: Sequence[Condition]) -> Float[Tensor, "texts b"]:
    return denoising_losses(backbone, z, texts, level=NEAR, pairs=1, seed=0, purpose="guard").cpu().double()
