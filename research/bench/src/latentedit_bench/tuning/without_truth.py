"""Settings of Encode, Identify, Manipulate for a model without tuned settings, found without ground truth.

`candidates` edit images that the model draws, or the user's own, towards captions with an exchanged phrase
(`TrialEdits`): all of them the first images, the best third of them the others, too (`successive_halving`). They are
ordered by the sum of their ranks (`rank_sums`) by three criteria, where ``loss(z, c)`` is how well the model denoises a
clean latent under a text, x is the image under its own text c0, and z an edit towards c1:

    residual    loss(z, c1) / loss(x, c0)                 high for edits that do too little, and off the manifold
    share       |1 - share of the verdict| (`Judged`)     distance of the visible change from the wanted one
    consensus   |change - median of the changes by other settings| of pixels, relative to the median of all

each a mean over levels, or over pixels; lower is better. Other criteria do not choose settings: edits that do nothing,
or too much, are best by them (``research/results/acceptance/truth-free.json``). The changes of the best settings are
kept local where that brings them nearer to the consensus; their edits calibrate the verdict (`calibrate`).

Derived here.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Float64
from scipy.stats import rankdata
from torch import Tensor
from torch.nn import functional

from latentedit import HSDS, Backbone, Condition, JointLatent
from latentedit.calibration import (
    CalibratedSettings,
    Judged,
    TrialEdits,
    VerdictCalibration,
    calibrate,
    losses_at,
)
from latentedit.core import Count, Progress, settings
from latentedit.editors import EIM
from latentedit.encoding import ImageLike
from latentedit.identification import local_change
from latentedit.numerics import successive_halving

RESIDUAL, SHARE, CONSENSUS = "residual", "share", "consensus"  # the criteria, as a calibration file names them
NOT_LOCAL = "consensus, not local"
"""The consensus of changes that are not restricted to where they are strong, as a calibration file names it."""

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


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Criteria(Judged):
    """Judgments of edits by the model and other edits."""

    consensus: Float64[Tensor, " b"]  # `consensus_distances` of the local changes
    full_consensus: Float64[Tensor, " b"]  # the same of the full changes

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
    size = ((low + high) / 2).double().flatten(1).square().mean(1).sqrt()
    return (changes - others).double().flatten(2).square().mean(2).sqrt() / size.clamp_min(1e-6)


def rank_sums(means: Sequence[Mapping[str, float]]) -> list[float]:
    """The sum of each setting's ranks by the three criteria, from the means of each; the lowest is the best."""
    ranks = [rankdata([row[name] for row in means]) for name in (RESIDUAL, SHARE, CONSENSUS)]
    return [float(sum(row)) for row in zip(*ranks, strict=True)]


@settings
class Search(VerdictCalibration):
    """Sizes of the search."""

    first: Count = 24  # images on which every candidate is tried; the best third continues on all of them


def candidates(model: Backbone) -> dict[str, EIM]:
    """The settings that are compared for a model, by name."""
    guided = model.capabilities.guidance_kind in ("cfg", "renormalized")
    varied = {name: change for name, change in AROUND.items() if guided or "guidance" not in change}
    return {name: EIM(search=HSDS(**{**USUAL, **change})) for name, change in varied.items()} | {DEFAULT: EIM()}


@torch.no_grad()
def search_settings(
    model: Backbone,
    *,
    captions: Sequence[str] = (),
    images: Sequence[ImageLike] = (),
    how: Search | None = None,
    progress: Progress | None = None,
) -> CalibratedSettings:
    """Find settings of edits for a model, without right answers, and calibrate its verdict with them; see the module.

    Args:
        model: with an image codec.
        captions: see `TrialEdits`.
        images: images to edit instead of drawn ones.
        how: sizes and seed; ``images``, where given, say how many.
        progress: called after each batch.

    Raises:
        ConfigError: a model without images or fingerprint, or captions that all say the same.
        ImageError: an image that cannot be read.

    Cost:
        Every candidate edits the first images, a third of them all: by default, 840 edits.
        Then the verdict is calibrated.
    """
    how = Search() if how is None else how
    if images:
        how = dataclasses.replace(how, images=len(images))
    trials = TrialEdits(model=model, captions=captions, images=images, how=how)
    editors = candidates(model)
    costs = {name: editor.search.evaluations() for name, editor in editors.items()}
    results: list[dict[str, Criteria]] = []
    means: dict[str, dict[str, float]] = {}

    def scores(names: Sequence[str], count: int) -> list[tuple[float, int, str]]:
        for positions in how.batches[len(results) : count]:
            latent, target = trials.batch(positions)
            decoded = model.decode(latent.z)
            before = losses_at(latent, (latent.condition, target), latent.z, seed=how.seed)
            tried = {name: editors[name] for name in names}
            results.append(evaluate_settings(latent, target, decoded, before, tried, seed=how.seed))
            if progress is not None:
                progress("settings", len(results), len(how.batches))
        means.update({name: Criteria.joined([batch[name] for batch in results]).means for name in names})
        ranks = rank_sums([means[name] for name in names])
        return [(rank, costs[name], name) for rank, name in zip(ranks, names, strict=True)]

    first, every = math.ceil(how.first / how.batch), len(how.batches)
    order = successive_halving(list(editors), scores, [first, every] if first < every else [every])
    best = order[0]
    calibration = calibrate(
        model,
        editor=editors[best],
        captions=captions,
        images=images,
        parts=["settings"],
        verdict_sizes=how,
        progress=progress,
    )
    found = calibration.settings
    assert found is not None
    local = means[best][CONSENSUS] <= means[best][NOT_LOCAL]
    return dataclasses.replace(found, local=local, tried={name: means[name] for name in order})


def evaluate_settings(
    latent: JointLatent,
    target: Condition,
    decoded: Float[Tensor, "b 3 h w"],
    before: Float64[Tensor, "levels 2 b"],
    tried: Mapping[str, EIM],
    *,
    seed: int,
) -> dict[str, Criteria]:
    """The criteria of a batch's edits by some candidates, two at least; ``before``: `losses_at` of the images."""
    model, texts = latent.backbone, (latent.condition, target)
    judged: dict[str, Judged] = {}
    changes: list[Tensor] = []
    for name, editor in tried.items():
        (edited,) = editor.edit(latent, target, [1.0], seed=seed)
        judged[name] = Judged.of(before, losses_at(latent, texts, edited.z, seed=seed))
        change = model.decode(edited.z) - decoded
        changes += [smaller(local_change(change)).cpu(), smaller(change).cpu()]
    local, full = consensus_distances(torch.stack(changes)).unflatten(0, (-1, 2)).unbind(1)
    return {
        name: Criteria(own=one.own, target=one.target, margin=one.margin, consensus=local[at], full_consensus=full[at])
        for at, (name, one) in enumerate(judged.items())
    }
