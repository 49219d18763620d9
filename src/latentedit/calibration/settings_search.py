"""Settings of Encode, Identify, Manipulate for a model without tuned settings, found without ground truth.

The model draws images from captions, or gets the user's own. In the caption of each, a phrase or two are exchanged for
those of another caption, and `candidates` edit the image towards that: all of them the first images, the best third of
them the others, too (`halving`). Settings are ordered by the sum of their ranks (`rank_sums`) by three criteria,
where ``loss(z, c)`` is how well the model denoises a clean latent under a text (`encoding.joint`), x is the image under
its own text c0, and z an edit towards c1:

    residual    loss(z, c1) / loss(x, c0)                 high for edits that do too little, and off the manifold
    share       |1 - share of the verdict| (`judge`)      distance of the visible change from the wanted one
    consensus   |change - median of the changes by other settings| of pixels, relative to the median of all

each a mean over `LEVELS`, or over pixels; lower is better. Other criteria do not choose settings: edits that do
nothing, or too much, are best by them (``research/results/acceptance/truth-free.json``). The edits by the best settings
decide

    local       whether changes restricted to where they are strong are nearer to the consensus
    level       of verdicts: where the shares of the change that the model sees differ least
    least share half of the median share there
    damage      half way, in logarithms, from the 98 % quantile of the residuals to that of corrupted images
    strengths   how far the first images can be taken before that

Derived here.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from jaxtyping import Float, Float64
from PIL import ImageOps
from scipy.stats import rankdata
from torch import Tensor
from torch.nn import functional

from latentedit.calibration.drawing import draw_images, in_8_bits
from latentedit.calibration.guard import Batches, CalibratedSettings, check_calibrable, default_captions
from latentedit.core.errors import ConfigError
from latentedit.core.progress import Progress
from latentedit.core.setting import Count, Natural, settings
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
from latentedit.identification.hsds import HSDS
from latentedit.identification.locality import local_change
from latentedit.models.base import Backbone
from latentedit.models.model_settings import SETTINGS
from latentedit.numerics.condition import Condition
from latentedit.numerics.halving import successive_halving
from latentedit.numerics.precision import to_float64
from latentedit.numerics.rng import Seed

Losses = Float64[Tensor, "levels 2 b"]
LEVELS = (0.5, 0.65, 0.8, 0.9)  # noise levels of the criteria
RESIDUAL, SHARE, CONSENSUS = "residual", "share", "consensus"  # the criteria, as a calibration file names them
NOT_LOCAL = "consensus, not local"
"""The consensus of changes that are not restricted to where they are strong, as a calibration file names it."""

_FAINT = 0.01  # margins of less than this share of the loss say that the model hardly tells the texts apart
_SIDE = 128  # longest side in pixels at which changes are compared

_PARTS = {"noises": 2, "antithetic": True, "keep_source": 0.002, "drop_residual": 0.3}
USUAL: Mapping[str, Any] = {"levels": (0.99, 0.0), "shift": 2.5, "steps": 7, "step_size": None, **_PARTS}
"""The search that the others vary. It was found on the bundled portraits, with right answers."""

AROUND: Mapping[str, Mapping[str, Any]] = {
    "usual": {},
    "gain 1.06": {"gain": 1.06},
    "from level 0.9": {"levels": (0.9, 0.0)},
    "from level 0.8": {"levels": (0.8, 0.0)},
    "from level 0.6": {"levels": (0.6, 0.0)},
    "even levels": {"shift": 1.0},
    "even levels from 0.8": {"levels": (0.8, 0.0), "shift": 1.0},
    "shift 4": {"shift": 4.0},
    "3 steps": {"steps": 3},
    "3 even steps, contrast": {"steps": 3, "shift": 1.28, "keep_source": 0.004, "contrast": 1.25},
    "14 steps, one noise": {"steps": 14, "noises": 1, "antithetic": False},
    "no masks": {"keep_source": 0.0, "drop_residual": 0.0},
    "keep_source 0": {"keep_source": 0.0},
    "keep_source 0.01": {"keep_source": 0.01},
    "keep_source 0.03": {"keep_source": 0.03},
    "drop_residual 0": {"drop_residual": 0.0},
    "guidance 1.5, 3 steps": {"guidance": 1.5, "steps": 3},
}
"""Candidates, as they differ from `USUAL`; none takes more evaluations than it."""

DEFAULT = "the library's default"  # name of the candidate with the library's defaults
_EDITS = 0.98  # share of the edits by the best settings that must not count as damaged
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
class Criteria:
    """Judgments of edits by the model and other edits; losses are relative to that of each image under its own text."""

    own: Float64[Tensor, "levels b"]  # loss of the edit under the image's own text
    target: Float64[Tensor, "levels b"]  # loss of the edit under the target text
    margin: Float64[Tensor, "levels b"]  # 1 less the loss of the image under the target text; often negative
    consensus: Float64[Tensor, " b"]  # `consensus_distances` of the local changes
    full_consensus: Float64[Tensor, " b"]  # the same of the full changes

    @classmethod
    def of(
        cls,
        before: Losses,
        after: Losses,
        *,
        consensus: Float64[Tensor, " b"],
        full_consensus: Float64[Tensor, " b"],
    ) -> Self:
        """From `losses_at` of the images and of their edits, each under the own and under the target text."""
        scale = before[:, 0].clamp_min(1e-30)
        own, target, margin = after[:, 0] / scale, after[:, 1] / scale, 1 - before[:, 1] / scale
        return cls(own=own, target=target, margin=margin, consensus=consensus, full_consensus=full_consensus)

    @classmethod
    def joined(cls, batches: Sequence["Criteria"]) -> Self:
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

    @property
    def means(self) -> dict[str, float]:
        """Mean of each criterion; the share's distance is at most 1, and 1 where there is no share."""
        share = (1 - self.share).abs().clamp(max=1).nanmean(0).nan_to_num(1.0)
        means = {RESIDUAL: self.target, SHARE: share, CONSENSUS: self.consensus, NOT_LOCAL: self.full_consensus}
        return {name: float(values.mean()) for name, values in means.items()}


def smaller(change: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
    """Changes of pixels as they are compared: averaged to sides of at most 128 pixels."""
    height, width = change.shape[-2:]
    if max(height, width) <= _SIDE:
        return change
    scale = _SIDE / max(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return functional.interpolate(change, size=size, mode="area")


def consensus_distances(changes: Float[Tensor, "k b 3 h w"]) -> Float64[Tensor, "k b"]:
    """Root mean square distance of each change from the median of the others, relative to that of the median of all.

    The number of changes is even and at least four.
    """
    half = len(changes) // 2
    ordered = changes.sort(dim=0).values
    low, high = ordered[half - 1], ordered[half]  # without one of the lower half, the median is the high one
    others = torch.where(changes <= low, high, low)
    size = to_float64((low + high) / 2).flatten(1).square().mean(1).sqrt()
    return to_float64(changes - others).flatten(2).square().mean(2).sqrt() / size.clamp_min(1e-6)


def rank_sums(means: Sequence[Mapping[str, float]]) -> list[float]:
    """The sum of each setting's ranks by the three criteria, from the means of each; the lowest is the best."""
    ranks = [rankdata([row[name] for row in means]) for name in (RESIDUAL, SHARE, CONSENSUS)]
    return [float(sum(row)) for row in zip(*ranks, strict=True)]


@settings
class Search(Batches):
    """Sizes of the search."""

    images: Count = 96
    batch: Count = 4
    first: Count = 24  # images on which every candidate is tried; the best third continues on all of them
    harmed: Natural = 1
    seed: int = 1


def candidates(model: Backbone) -> dict[str, EIM]:
    """The settings that are compared for a model, by name."""
    guided = model.capabilities.guidance_kind in ("cfg", "renormalized")
    varied = {name: change for name, change in AROUND.items() if guided or "guidance" not in change}
    return {name: EIM(search=HSDS(**{**USUAL, **change})) for name, change in varied.items()} | {DEFAULT: EIM()}


@torch.no_grad()
def calibrate_settings(
    model: Backbone,
    *,
    captions: Sequence[str] = (),
    images: Sequence[ImageLike] = (),
    how: Search | None = None,
    progress: Progress | None = None,
) -> CalibratedSettings:
    """Find settings of edits and verdicts for a model, without right answers; see the module.

    Args:
        model: with an image codec.
        captions: to draw from, and to take other phrases from; by default examples by the model's captioner, or general
            captions. With ``images`` they describe these, one each; by default the captioner does.
        images: images to edit instead of drawn ones, as many as there are.
        how: sizes and seed.
        progress: called after each batch.

    Raises:
        ConfigError: a model without images or fingerprint, or captions that all say the same.
        ImageError: an image that cannot be read.

    Cost:
        Every candidate edits the first images, a third of them all: by default, 840 edits.
    """
    check_calibrable(model)
    how = Search() if how is None else how
    if images:
        how = dataclasses.replace(how, images=len(images))
    texts = list(captions) or default_captions(model, how.images)
    given: dict[str, Any] = {"model": model, "texts": texts, "images": images, "labeled": bool(captions)}
    batch = functools.partial(_batch, how=how, **given)
    total = len(how.batches) + 1
    editors = candidates(model)
    costs = {name: editor.search.evaluations() for name, editor in editors.items()}
    results: list[dict[str, Criteria]] = []
    corrupted: list[Tensor] = []

    means: dict[str, dict[str, float]] = {}

    def criteria(name: str) -> Criteria:
        return Criteria.joined([batch[name] for batch in results])

    def scores(names: Sequence[str], count: int) -> list[tuple[float, int, str]]:
        for positions in how.batches[len(results) : count]:
            latent, target = batch(positions)
            decoded = model.decode(latent.z)
            before = losses_at(latent, (latent.condition, target), latent.z, seed=how.seed)
            tried = {name: editors[name] for name in names}
            results.append(evaluate_settings(latent, target, decoded, before, tried, seed=how.seed))
            corrupted.append(_corrupted_losses(latent, decoded[: how.harmed], before, seed=how.seed))
            if progress is not None:
                progress(SETTINGS, len(results), total)
        means.update({name: criteria(name).means for name in names})
        ranks = rank_sums([means[name] for name in names])
        return [(rank, costs[name], name) for rank, name in zip(ranks, names, strict=True)]

    first, every = math.ceil(how.first / how.batch), len(how.batches)
    order = successive_halving(list(editors), scores, [first, every] if first < every else [every])
    best, editor = order[0], editors[order[0]]
    judge = suitable_judge(levels_of(model), criteria(best), torch.cat(corrupted, dim=-1))
    latent, target = batch(how.batches[0])
    slider = editor.slider(latent, editor.direction(latent, target, seed=how.seed), seed=how.seed)
    slider.judge = judge
    reached = slider.calibration()
    if progress is not None:
        progress(SETTINGS, total, total)
    return CalibratedSettings(
        eim=editor,
        local=means[best][CONSENSUS] <= means[best][NOT_LOCAL],
        judge=judge,
        strengths=(reached.lowest, reached.highest),
        images=how.images,
        evaluations=costs[best],
        tried={name: means[name] for name in order},
    )


def _batch(
    positions: range, *, model: Backbone, texts: list[str], images: Sequence[ImageLike], labeled: bool, how: Search
) -> tuple[JointLatent, Condition]:
    """Images, drawn from the texts or given and then perhaps described by them, and their embedded target texts."""
    rows = [position % len(texts) for position in positions]
    chosen = [texts[row] for row in rows]
    if images:
        squares = [open_image(images[position]).on_white() for position in positions]
        smallest, side, largest = model.capabilities.sizes
        if smallest != largest:  # the middle of each, so that all share a batch
            squares = [ImageOps.fit(square, (side, side)) for square in squares]
        latent = encode_frames(model, fit_all(model, squares), source_prompt=chosen if labeled else None)
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


def evaluate_settings(
    latent: JointLatent,
    target: Condition,
    decoded: Float[Tensor, "b 3 h w"],
    before: Losses,
    tried: Mapping[str, EIM],
    *,
    seed: int,
) -> dict[str, Criteria]:
    """The criteria of a batch's edits by some candidates, two at least; ``before``: `losses_at` of the images."""
    model, texts = latent.backbone, (latent.condition, target)
    after: dict[str, Tensor] = {}
    changes: list[Tensor] = []
    for name, editor in tried.items():
        (edited,) = editor.edit(latent, target, [1.0], seed=seed)
        after[name] = losses_at(latent, texts, edited.z, seed=seed)
        change = model.decode(edited.z) - decoded
        changes += [smaller(local_change(change)), smaller(change)]
    distances = consensus_distances(torch.stack(changes))
    return {
        name: Criteria.of(before, losses, consensus=distances[2 * index], full_consensus=distances[2 * index + 1])
        for index, (name, losses) in enumerate(after.items())
    }


def _corrupted_losses(
    latent: JointLatent, decoded: Float[Tensor, "n 3 h w"], before: Losses, *, seed: int
) -> Float64[Tensor, "levels m"]:
    """Losses of the first images after each corruption under their own text, relative to those of the images."""
    some, results = slice(0, len(decoded)), list[Tensor]()
    for corruption in CORRUPTIONS.values():
        z = latent.backbone.encode(corruption.apply(decoded))
        results.append(losses_at(latent, [latent.condition[some]], z, seed=seed)[:, 0] / before[:, 0, some])
    return torch.cat(results, dim=1)


def suitable_judge(levels: Sequence[float], criteria: Criteria, corrupted: Float[Tensor, "levels m"]) -> Judge:
    """The level at which verdicts are made, and their thresholds; see the module.

    Without relative losses of corrupted images the threshold of damage is the default.
    """
    share = criteria.share
    middle = share.nanmedian(1).values
    spread = (share - middle[:, None]).abs().nanmedian(1).values.nan_to_num(math.inf)
    at = int(spread.argmin())
    if not bool(torch.isfinite(spread[at])):  # the model hardly tells any of the texts apart
        return Judge()
    damage = Judge().damage
    if corrupted.shape[1]:
        edits, bad = float(criteria.residual[at].quantile(_EDITS)), float(corrupted[at].median())
        # Half way in logarithms, as both are ratios.
        damage = min(max(math.sqrt(edits * bad), _DAMAGE[0]), _DAMAGE[1])
    least = min(max(float(middle[at]) / 2, _LEAST_SHARE[0]), _LEAST_SHARE[1])
    return Judge(level=levels[at], least_share=least, damage=damage)
