"""Did it work? The model's own verdict on an edited image, without an attribute reader and without ground truth.

A clean latent z is noised to one level and denoised under a text c; ``loss(z, c) = mean |x_hat(z_s, c) - z|^2`` is
small where z is likely under c. From the losses under the source text c0 and the target text c1,

    margin(z)   = loss(z, c0) - loss(z, c1)                              above 0 where the target fits better
    share       = (margin(z) - margin(x)) / (-2 margin(x))               0 for the image x, about 1 for a full change
    residual    = min(loss(z, c0), loss(z, c1)) / loss(x, c0)            about 1 on the manifold, more off it

with one set of noises for all, in antithetic pairs. Derived here; the margin is that of diffusion classifiers (Li et
al. 2023, arXiv 2303.16203), and the share takes the margin of the changed image to mirror that of the source.

An instruction-tuned model has the image x as its reference image, and denoises x almost exactly: right answers would
have residuals of 5 to 50. So z is its own reference, under the instruction to change nothing: ``residual =
loss(z, c0, reference z) / loss(x, c0, reference x)``.

The share of the margin within the change, each position weighted by ``change_share(z - x, .03)``, is its *opacity*. On
24 right answers of both domains (18 portraits), at this class's defaults and cross-faded to .6, it is below .8 on 23;
the share of the whole image is below .75 on 20. At 1 it is .8 or more on all. What is translucent is not done.

Verdicts report the share within [0, 1]: below 0.05 the change is not done, from 0.75 on it is done, and between them
partly. Without a target text there is no share: an image counts as changed where its clean latent, of variance 1,
moved by 0.05 or more (root mean square) and is not damaged.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from latentedit.core.errors import Hinted
from latentedit.core.setting import Count, Level, from_plain, settings
from latentedit.encoding.joint import Familiarity, JointLatent, denoising_losses
from latentedit.identification.locality import FLOOR, change_share
from latentedit.identification.residuals import texts_differ
from latentedit.models.base import Backbone
from latentedit.models.model_settings import ModelSettings
from latentedit.numerics.condition import Condition
from latentedit.numerics.rng import Seed

Word = Literal["not done", "partly done", "done", "done, but also", "changed", "damaged", "not known"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Verdict(Hinted):
    """How much of the change was made, as the model sees it, and what to do about it.

    Args:
        word: "not done", "partly done" or "done"; "done, but also" where more changed than was requested; "changed"
            where the direction has no words to measure it by; "damaged"; "not known" for an image or words that are
            unfamiliar to the model.
        share: share of the full change that the model sees, in [0, 1]; None where it cannot be measured.
        reason: one clause; empty where there is nothing to explain.
        opacity: the share within the change itself, in [0, 1]: of a new part, how opaque it is; None without a share.
        remedy: what to adjust; empty where nothing is wrong.
        residual: off-manifold residual, relative to that of the source.
        also: what changed without being requested, such as "background blue -> pink".
    """

    word: Word
    share: float | None = None
    opacity: float | None = None
    reason: str = ""
    remedy: str = ""
    residual: float
    also: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The word; the percentage, too, where the change is partly done, unless that is all of it."""
        percent = round(100 * (self.share or 0))
        return f"{self.word} ({percent} %)" if self.word == "partly done" and 0 < percent < 100 else self.word

    @property
    def text(self) -> str:
        """The label, why, and what to do."""
        remedy = f" ({self.remedy})" if self.remedy else ""
        also = ", ".join(self.also)
        if self.word == "done, but also":
            return "; ".join(filter(None, (f"{self.label}: {also}", self.reason)))
        reason = f"{self.label}: {self.reason}{remedy}" if self.reason else self.label
        return f"{reason}; also: {also}" if also else reason

    def without(self, left_out: Sequence[str]) -> "Verdict":
        """The verdict where the captions have no place for some changes: it says nothing of those."""
        if not left_out:
            return self
        listed = ", ".join(map(repr, left_out))
        reason = "; ".join(filter(None, (self.reason, f"no verdict on {listed}, which does not fit into the caption")))
        return dataclasses.replace(self, reason=reason)

    def shown(self, kept: float, visible: bool, lost: tuple[str, str]) -> "Verdict":
        """The verdict on an image with this share of the change that was made: what it does not show is not done.

        ``visible`` is whether any pixel changed by more than a few levels; ``lost`` are the place of the rest, and the
        remedy.
        """
        where, remedy = lost
        if kept < LEAST_KEPT:
            reason = f"the change is {where}"
            return Verdict(word="not done", share=0.0, reason=reason, remedy=remedy, residual=self.residual)
        if not visible and self.word != "not done":
            reason = "no pixel changed by more than 8 of 255 levels"
            return Verdict(word="not done", share=0.0, reason=reason, remedy="more strength", residual=self.residual)
        if kept >= MOST_KEPT or self.word == "not known":
            return self
        reason = f"{100 * kept:.0f} % of the change is in the image, the rest is {where}"
        word = self.word if self.word in ("not done", "damaged") else "partly done"
        return dataclasses.replace(self, word=word, reason=reason, remedy=remedy)

    def uncalibrated(self) -> "Verdict":
        """The verdict of a model whose thresholds nobody measured: no share, and it says so."""
        reason = "; ".join(filter(None, (self.reason, _UNCALIBRATED)))
        return dataclasses.replace(self, share=None, opacity=None, reason=reason)

    def on(self, familiarity: Familiarity) -> "Verdict":
        """The verdict on an image of this familiarity; unchanged for a known image."""
        if familiarity.state == "known" or self.word in ("not done", "damaged"):
            return self
        if familiarity.state == "doubtful":
            reason = "; ".join(filter(None, (self.reason, "the image is doubtful to the model")))
            return dataclasses.replace(self, reason=reason)
        reason = "the model does not know this image, so it cannot tell what was done"
        return dataclasses.replace(self, word="not known", share=None, opacity=None, reason=reason, remedy="look at it")


@settings
class Judge:
    """How verdicts are made; the thresholds are calibrated for each model (``latentedit.json``, "judge")."""

    level: Level = 0.7  # noise level of the losses: where the model decides what an image shows
    pairs: Count = 1  # antithetic pairs of noises
    least_share: Level = 0.5  # share of the requested strength below which more strength is advised
    damage: Annotated[float, Field(gt=1, le=1000)] = 2.0  # residual from which an image counts as damaged

    @classmethod
    def of(cls, backbone: Backbone) -> "Judge":
        """The judge that suits a model: its maker's thresholds, else calibrated ones (`models.model_settings`)."""
        return from_plain(cls, ModelSettings.of(backbone).judge)

    def evaluations(self, latent: JointLatent) -> int:
        """Network evaluations per latent of `least_loss` under two texts."""
        return 2 * self.pairs * (1 if latent.instructed else 2)

    def losses(
        self, backbone: Backbone, z: Float[Tensor, "b *latent"], texts: Sequence[Condition], *, seed: Seed
    ) -> Float[Tensor, "texts b"]:
        """``mean |x_hat(z_s, c) - z|^2`` under each text, by ``2 pairs`` evaluations per latent and text."""
        return self.losses_at(backbone, z, texts, seed=seed).flatten(2).mean(2)

    def losses_at(
        self, backbone: Backbone, z: Float[Tensor, "b *latent"], texts: Sequence[Condition], *, seed: Seed
    ) -> Float[Tensor, "texts b *latent"]:
        """Losses at each position of the latent."""
        how: dict[str, Any] = {"level": self.level, "pairs": self.pairs, "purpose": "verdict"}
        texts = [text.guided_by_image(None) for text in texts]  # verdicts are calibrated on the network itself
        return denoising_losses(backbone, z, texts, seed=seed, everywhere=True, **how)

    def least_loss(
        self, backbone: Backbone, z: Float[Tensor, "b *latent"], texts: Sequence[Condition], *, seed: Seed
    ) -> Float[Tensor, " b"]:
        """The numerator of the residual: the least loss under the texts, the first of which is the source's.

        An instruction-tuned model is evaluated under the source's alone.
        """
        own = texts[0]
        if own.reference is not None:
            texts = (dataclasses.replace(own, reference=(z, *own.reference[1:])),)
        return self.losses(backbone, z, texts, seed=seed).amin(0)

    def judge(
        self,
        latent: JointLatent,
        target: Condition,
        z: Float[Tensor, "b *latent"],
        *,
        strength: float,
        seed: Seed,
        before: Float[Tensor, "2 b *latent"] | None = None,
    ) -> list[Verdict]:
        """One verdict per image on edited latents z; ``before`` are `losses_at` the images, if already computed.

        It costs ``4 pairs`` evaluations per image for the losses before, and as many for those after where something
        moved, ``2 pairs`` more on an instruction-tuned model.
        """
        texts, backbone = (latent.condition, target), latent.backbone
        first = self.losses_at(backbone, latent.z, texts, seed=seed) if before is None else before
        last = first if z is latent.z else self.losses_at(backbone, z, texts, seed=seed)
        before, after = first.flatten(2).mean(2), last.flatten(2).mean(2)
        core = change_share(z - latent.z, FLOOR)
        was, now = ((core * (errors[0] - errors[1])).flatten(1).sum(1) for errors in (first, last))
        opacities = torch.where(was < 0, (now - was) / (-2 * was), 1.0)
        # The losses before and after have x as the reference image, next to which each result would look damaged.
        seen = latent.instructed and z is not latent.z
        least = self.least_loss(backbone, z, texts, seed=seed) if seen else after.amin(0)
        residuals = least / before[0].clamp_min(1e-30)
        distances = (z - latent.z).flatten(1).square().mean(1).sqrt()
        worded = texts_differ(latent.condition, target.expand(len(z))).tolist()
        far = abs(backbone.capabilities.level(self.level) - self.level) > _FARTHEST
        columns = (residuals, distances, opacities)
        rows = zip(before.T.tolist(), after.T.tolist(), worded, *(column.tolist() for column in columns), strict=True)
        return [
            self._seen(self._verdict(b, a, residual, m, strength), opacity)
            if has_words and not far
            else self._wordless(residual, m, strength, far=far)
            for b, a, has_words, residual, m, opacity in rows
        ]

    def _seen(self, verdict: Verdict, opacity: float) -> Verdict:
        """The verdict with the opacity of what is drawn: what is faint is not done."""
        if verdict.share is None or not verdict.share:
            return verdict
        opacity = min(max(opacity, 0.0), 1.0)
        verdict = dataclasses.replace(verdict, opacity=opacity)
        if verdict.word != "done" or opacity >= _OPAQUE:
            return verdict
        reason = f"what is drawn is translucent, opacity {100 * opacity:.0f} %"
        return dataclasses.replace(verdict, word="partly done", reason=reason, remedy="more strength")

    def _wordless(self, residual: float, distance: float, strength: float, *, far: bool = False) -> Verdict:
        if strength == 0 or distance == 0 or residual > self.damage:
            return self._verdict([1.0, 1.0], [1.0, 1.0], residual, distance, strength)
        reason = _MOVED.format(distance)
        if far:
            reason += f"; the model has no level near {self.level:g}, where it could tell how much of a change was made"
        if distance >= _LEAST_MOVE:
            return Verdict(word="changed", reason=reason, residual=residual)
        return Verdict(
            word="not done", reason=f"{reason}, too little to see", remedy="more strength", residual=residual
        )

    def _verdict(
        self, before: list[float], after: list[float], residual: float, distance: float, strength: float
    ) -> Verdict:
        margin = before[0] - before[1]
        share = (after[0] - after[1] - margin) / (-2 * margin) if margin < 0 else 0.0
        verdict = functools.partial(Verdict, residual=residual)
        if strength == 0:
            return verdict(word="not done", share=0.0, reason="strength 0 is the image itself")
        if residual > self.damage:
            reason = f"off-manifold residual {residual:.1f} x the source's"
            return verdict(word="damaged", reason=reason, remedy="less strength")
        if distance == 0:
            reason = "the two captions mean the same to the model"
            return verdict(word="not done", share=0.0, reason=reason, remedy="name what should change")
        margin /= max(before[0], 1e-30)
        # The share would divide by a margin that is not negative: there is no change left to make.
        if margin >= _FAINT:
            reason = "the target caption fits the source image as well as its own"
            remedy = "check the source caption: it may contradict the image"
            return verdict(word="not done", reason=reason, remedy=remedy)
        # Where the texts hardly differ to the model, the share divides by noise: it counts only where it is large.
        done, short = min(max(share, 0.0), 1.0), share < self.least_share * strength
        if margin > -_FAINT and (short or share < _PARTLY):
            if distance >= _LEAST_MOVE:
                reason = f"no effect of the text can be measured, the model hardly tells the captions apart; {_MOVED}"
                remedy = "look at the image, or use other words"
                return verdict(word="not done", reason=reason.format(distance), remedy=remedy)
            reason = "the text has no effect at this level"
            return verdict(word="not done", reason=reason, remedy="other words, or a higher level")
        if strength < 0:  # the opposite was asked for, which no caption states
            if share < 0 and distance >= _LEAST_MOVE:
                return verdict(word="changed", share=done, reason="away from the target caption")
            towards = "the image moved towards the target caption" if share >= _PARTLY else _MOVED.format(distance)
            return verdict(word="not done", share=done, reason=towards, remedy="look at the image")
        if share >= _DONE:
            return verdict(word="done", share=done)
        reason = "the image evidence dominated the prompt" if short else ""
        remedy = "more strength, or a higher level" if short else ""
        return verdict(word="partly done" if share >= _PARTLY else "not done", share=done, reason=reason, remedy=remedy)


# Margins of less than this share of the loss, of either sign, are noise: the model hardly distinguishes the texts.
_FAINT = 0.01
# Share from which a change is partly done: images that are only encoded and decoded have shares from -.05 to .05.
_PARTLY = 0.05
# Share from which a change is done: that of 44 of 48 rendered right answers on the calibration split.
_DONE = 0.75
# Opacity from which what is drawn counts as opaque: that of all of 24 right answers of both domains.
_OPAQUE = 0.8
# Share of a change in the saved image below which it is not there: that of codecs and rounding.
LEAST_KEPT = 0.05
# Share from which the image shows most of it, and can be done.
MOST_KEPT = 0.5
# Root mean square displacement of the clean latent from which an image without words counts as changed.
_LEAST_MOVE = 0.05
_MOVED = "the latent moved by {:.2f} of its scale"
# Distance of the model's levels from that of the judge from which texts are not told apart by the same content.
_FARTHEST = 0.2
_UNCALIBRATED = "the model is not calibrated and the image was not checked (see `latentedit models calibrate`)"
