"""Did it work? The model's own verdict on an edited image, without an attribute reader and without ground truth.

A clean latent z is noised to one level and denoised under a text c; ``loss(z, c) = mean |x_hat(z_s, c) - z|^2`` is
small where z is likely under c. From the losses under the source text c0 and the target text c1,

    margin(z)   = loss(z, c0) - loss(z, c1)                              above 0 where the target fits better
    share       = (margin(z) - margin(x)) / (-2 margin(x))               0 for the image x, about 1 for a full change
    residual    = min(loss(z, c0), loss(z, c1)) / loss(x, c0)            about 1 on the manifold, more off it

with one set of noises for all: an antithetic pair first, and more only for an image whose word might differ by them.
Derived here; the margin is that of diffusion classifiers (Li et al. 2023, arXiv 2303.16203), and the share takes the
margin of the changed image to mirror that of the source.

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
from typing import Annotated, Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from latentedit.core.errors import Hinted
from latentedit.core.setting import Count, Level, from_plain, settings
from latentedit.encoding.joint import Familiarity, JointLatent, Noised, denoising_errors, judging_noise
from latentedit.identification.locality import FLOOR, change_share
from latentedit.identification.residuals import texts_differ
from latentedit.models.base import Backbone
from latentedit.models.model_settings import ModelSettings
from latentedit.numerics.condition import Condition
from latentedit.numerics.rng import Seed

Word = Literal["not done", "partly done", "done", "done, but also", "changed", "damaged", "not known", "not judged"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Verdict(Hinted):
    """How much of the change was made, as the model sees it, and what to do about it.

    Args:
        word: "not done", "partly done" or "done"; "done, but also" where more changed than was requested; "changed"
            where the direction has no words to measure it by; "damaged"; "not known" for an image or words that are
            unfamiliar to the model; "not judged" where no verdict was requested.
        share: share of the full change that the model sees, in [0, 1]; None where it cannot be measured.
        reason: one clause; empty where there is nothing to explain.
        opacity: the share within the change itself, in [0, 1]: of a new part, how opaque it is; None without a share.
        remedy: what to adjust; empty where nothing is wrong.
        residual: off-manifold residual, relative to that of the source; None where it was not measured.
        also: what changed without being requested, such as "background blue -> pink".
    """

    word: Word
    share: float | None = None
    opacity: float | None = None
    reason: str = ""
    remedy: str = ""
    residual: float | None
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


class _Losses(NamedTuple):
    """Losses of images at each position of the latent, before and after an edit, under the source and target text.

    ``least`` is the numerator of the residual, which an instruction-tuned model measures with the edit as its own
    reference. Without words in the target, both texts are one.
    """

    before: Float[Tensor, "texts b *latent"]
    after: Float[Tensor, "texts b *latent"]
    least: Float[Tensor, "texts b *latent"]


class _Measured(NamedTuple):
    """The numbers of one image that decide its verdict."""

    margin: float  # margin of the image before the edit, relative to its loss
    share: float  # share of the change, without limits; 0 without a negative margin
    residual: float
    opacity: float
    distance: float
    worded: bool

    @classmethod
    def of(
        cls, losses: _Losses, core: Float[Tensor, "b *latent"], distance: float, row: int, *, worded: bool
    ) -> "_Measured":
        """From the losses of an image in a batch, and where it changes."""
        before, after, least = (part[:, row].cpu().double() for part in losses)
        own = max(float(before[0].mean()), 1e-30)
        was, now = (float((errors[0] - errors[-1]).mean()) for errors in (before, after))
        core_was, core_now = (float((core[row].cpu() * (errors[0] - errors[-1])).sum()) for errors in (before, after))
        return cls(
            margin=was / own,
            share=(now - was) / (-2 * was) if was < 0 else 0.0,
            residual=float(least.flatten(1).mean(1).min()) / own,
            opacity=(core_now - core_was) / (-2 * core_was) if core_was < 0 else 1.0,
            distance=distance,
            worded=worded,
        )


UNJUDGED = Verdict(word="not judged", residual=None)
"""The verdict where none was requested."""


@settings
class Judge:
    """How verdicts are made; the thresholds are calibrated for each model (``latentedit.json``, "judge").

    Args:
        level: noise level of the losses: where the model decides what an image shows.
        pairs: antithetic pairs of noises. The first judges every image. The others judge those whose word could differ
            by them: a share or opacity near a threshold, or a residual near the limit.
        least_share: share of the requested strength below which more strength is advised.
        damage: residual from which an image counts as damaged.
    """

    level: Level = 0.7
    pairs: Count = 1
    least_share: Level = 0.5
    damage: Annotated[float, Field(gt=1, le=1000)] = 2.0

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
        noise = torch.cat([judging_noise(z, seed, pair) for pair in range(self.pairs)])
        points = [Noised(z, text.guided_by_image(None), self.level, noise) for text in texts]
        return torch.stack(denoising_errors(backbone, points)).flatten(2).mean(2)

    def least_loss(
        self, backbone: Backbone, z: Float[Tensor, "b *latent"], texts: Sequence[Condition], *, seed: Seed
    ) -> Float[Tensor, " b"]:
        """The numerator of the residual: the least loss under the texts, the first of which is the source's.

        An instruction-tuned model is evaluated under the source's alone.
        """
        own = texts[0]
        return self.losses(backbone, z, texts if own.reference is None else (_seeing(own, z),), seed=seed).amin(0)

    def judge(
        self,
        latent: JointLatent,
        target: Condition,
        z: Float[Tensor, "b *latent"],
        *,
        strength: float,
        seed: Seed,
        shared: dict[Any, Tensor] | None = None,
    ) -> list[Verdict]:
        """One verdict per image on edited latents z; ``shared`` has what the strengths of a sweep share.

        Where something moved, it costs an image 8 evaluations, 2 less if the guard looked at it at this level and seed
        0, and 2 more on an instruction-tuned model; without words in the target 4. A second pair costs as much.
        """
        distances = (z - latent.z).flatten(1).square().mean(1).sqrt()
        if strength == 0 or not bool(distances.any()):
            return [self._still(strength)] * len(z)
        target = target.expand(len(z))
        worded, core = texts_differ(latent.condition, target), change_share(z - latent.z, FLOOR)
        texts = (latent.condition, target) if bool(worded.any()) else (latent.condition,)
        look = functools.partial(self._look, latent, texts, z, seed=seed, shared={} if shared is None else shared)
        first = look(0)
        verdicts: list[Verdict] = []
        for row, distance in enumerate(distances.tolist()):
            measure = functools.partial(_Measured.of, core=core, distance=distance, worded=bool(worded[row]))
            measured = measure(first, row=row)
            if self.pairs > 1 and distance and self._unsure(measured):
                looks = [_Losses(*(part[:, row : row + 1] for part in first))]
                looks += [look(pair, row) for pair in range(1, self.pairs)]
                mean = _Losses(*(torch.stack(parts).mean(0) for parts in zip(*looks, strict=True)))
                measured = measure(mean, core=core[row : row + 1], row=0)
            verdicts.append(self._word(measured, strength, latent.backbone) if distance else self._still(strength))
        return verdicts

    def _look(
        self,
        latent: JointLatent,
        texts: Sequence[Condition],
        z: Float[Tensor, "b *latent"],
        pair: int,
        row: int | None = None,
        *,
        seed: Seed,
        shared: dict[Any, Tensor],
    ) -> _Losses:
        """The losses by a pair of noises, of all images or of one, in one batch of the network."""
        rows = slice(None) if row is None else slice(row, row + 1)
        noise, x, z = judging_noise(latent.z, seed, pair)[:, rows], latent.z[rows], z[rows]
        texts = [text[rows].guided_by_image(None) for text in texts]  # verdicts are calibrated on the network itself
        points = {("after", index): Noised(z, text, self.level, noise) for index, text in enumerate(texts)}
        if latent.instructed:
            # The losses before and after have x as the reference image, next to which each result would look damaged.
            points["least", 0] = Noised(z, _seeing(texts[0], z), self.level, noise)
        key, whole = latent.error_key(self.level, seed, pair), row is None or len(latent) == 1
        if key in latent.errors:
            shared["before", 0, pair, row] = latent.errors[key][rows]
        points |= {
            ("before", index): Noised(x, text, self.level, noise)
            for index, text in enumerate(texts)
            if ("before", index, pair, row) not in shared
        }
        found = dict(zip(points, denoising_errors(latent.backbone, list(points.values())), strict=True))
        shared |= {(*name, pair, row): errors for name, errors in found.items() if name[0] == "before"}
        before = [shared["before", index, pair, row] for index in range(len(texts))]
        if whole and key[0]:  # a model without a fingerprint may have changed by the next edit
            latent.errors[key] = before[0]
        after = torch.stack([found["after", index] for index in range(len(texts))])
        least = found["least", 0][None] if latent.instructed else after
        return _Losses(before=torch.stack(before), after=after, least=least)

    def _unsure(self, measured: _Measured) -> bool:
        """Whether other noises might give another word."""
        if abs(measured.residual / self.damage - 1) < _NEAR_DAMAGE:
            return True
        bounds = [(measured.share, _PARTLY), (measured.share, _DONE)]
        bounds += [(measured.opacity, _OPAQUE)] if measured.share >= _DONE else []
        return measured.worded and any(abs(share - bound) < _NEAR_SHARE for share, bound in bounds)

    def _word(self, measured: _Measured, strength: float, backbone: Backbone) -> Verdict:
        far = abs(backbone.capabilities.level(self.level) - self.level) > _FARTHEST
        if measured.worded and not far:
            return self._seen(self._verdict(measured, strength), measured.opacity)
        return self._wordless(measured.residual, measured.distance, far=far)

    @staticmethod
    def _still(strength: float) -> Verdict:
        """The verdict on an image that stayed as it is."""
        reason = "the two captions mean the same to the model" if strength else "strength 0 is the image itself"
        remedy = "name what should change" if strength else ""
        return Verdict(word="not done", share=0.0, reason=reason, remedy=remedy, residual=1.0)

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

    def _wordless(self, residual: float, distance: float, *, far: bool) -> Verdict:
        if residual > self.damage:
            return _damaged(residual)
        reason = _MOVED.format(distance)
        if far:
            reason += f"; the model has no level near {self.level:g}, where it could tell how much of a change was made"
        if distance >= _LEAST_MOVE:
            return Verdict(word="changed", reason=reason, residual=residual)
        return Verdict(
            word="not done", reason=f"{reason}, too little to see", remedy="more strength", residual=residual
        )

    def _verdict(self, measured: _Measured, strength: float) -> Verdict:
        margin, share, distance = measured.margin, measured.share, measured.distance
        if measured.residual > self.damage:
            return _damaged(measured.residual)
        verdict = functools.partial(Verdict, residual=measured.residual)
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


def _damaged(residual: float) -> Verdict:
    reason = f"off-manifold residual {residual:.1f} x the source's"
    return Verdict(word="damaged", reason=reason, remedy="less strength", residual=residual)


def _seeing(text: Condition, z: Float[Tensor, "b *latent"]) -> Condition:
    """The text of an instruction-tuned model with these latents as the first reference image."""
    return dataclasses.replace(text, reference=(z, *(text.reference or ())[1:]))


# Margins of less than this share of the loss, of either sign, are noise: the model hardly distinguishes the texts.
_FAINT = 0.01
# Share from which a change is partly done: images that are only encoded and decoded have shares from -.05 to .05.
_PARTLY = 0.05
# Share from which a change is done: that of 44 of 48 rendered right answers on the calibration split.
_DONE = 0.75
# Opacity from which what is drawn counts as opaque: that of all of 24 right answers of both domains.
_OPAQUE = 0.8
# Distance of a share or an opacity from those above, and relative distance of a residual from the limit, within which
# one pair of noises may give another word than two: 11 of 200 words differed, and with these distances none did.
_NEAR_SHARE = 0.1
_NEAR_DAMAGE = 0.2
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
