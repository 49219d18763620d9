"""Editors of any model scored without right answers; see `latentedit_bench.metrics.responses`."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from latentedit import Backbone, JointLatent
from latentedit.core import Progress
from latentedit.editors import Editor
from latentedit.encoding import Frame, embed_targets, encode_frames, fit_all, fitted
from latentedit.identification import local_change
from latentedit.numerics import item_seed
from latentedit_bench.disentanglement.attributes import Swaps
from latentedit_bench.disentanglement.responses import attribute_responses
from latentedit_bench.metrics.responses import response_scores
from latentedit_bench.metrics.statistics import Estimate, estimate

SCORES = ("effectiveness", "decomposability", "disentanglement")
Row = dict[str, Any]  # one edit: method, attribute, image, transfer and scores
_BATCH = 8  # images that are edited together


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Disentanglement:
    """The numbers of one method.

    Args:
        method: its name.
        scores: name to the mean over all edits, with its interval over images.
        attributes: attribute to the same of its edits.
        transfer: edited attribute to the mean transfer to each attribute.
    """

    method: str
    scores: Mapping[str, Estimate]
    attributes: Mapping[str, Mapping[str, Estimate]]
    transfer: Mapping[str, Mapping[str, float]]


@torch.no_grad()
def score_methods(
    model: Backbone, swaps: Swaps, editors: Mapping[str, Editor], *, seed: int = 0, progress: Progress | None = None
) -> list[Disentanglement]:
    """Edit every attribute of every image with every editor, and score the changes by the model's responses.

    Each image costs an edit for each editor and attribute, and ``4 (1 + attributes)`` evaluations for the responses.
    """
    rows: list[Row] = []
    frames = fit_all(model, swaps.images)
    batches, done = _of_one_size(frames), itertools.count(1)
    total = len(batches) * len(swaps.targets) * len(editors)
    for places in batches:
        some = swaps.chosen(places)
        latent = encode_frames(model, [frames[place] for place in places], source_prompt=list(some.captions))
        latent = fitted(latent, list(some.targets.values()))
        seeds = [item_seed(seed, str(place)) for place in places]
        targets = {name: embed_targets(latent, texts) for name, texts in some.targets.items()}
        moved = attribute_responses(latent, list(targets.values()), seed=seeds)
        responses = torch.stack([decoded_change(latent, latent.z + one) for one in moved])
        for own, (name, target) in enumerate(targets.items()):
            for method, editor in editors.items():
                suited = editor.for_captions(latent.captions, some.targets[name])
                (result,) = suited.edit(latent, target, [1.0], seed=seeds)
                change = decoded_change(latent, result.z)
                change = local_change(change) if editor.localizes_on(model) else change
                found = response_scores(change, responses, own)
                about = {"method": method, "attribute": name}
                rows += [
                    {**about, "image": place, "transfer": found.transfer[index].tolist()}
                    | {score: float(getattr(found, score)[index]) for score in SCORES}
                    for index, place in enumerate(places)
                ]
                if progress is not None:
                    progress("score", next(done), total)
    return [_summary(method, [row for row in rows if row["method"] == method], swaps) for method in editors]


def _of_one_size(frames: Sequence[Frame]) -> list[tuple[int, ...]]:
    """The places of frames in batches of one size."""
    of: dict[tuple[int, ...], list[int]] = {}
    for place, frame in enumerate(frames):
        of.setdefault(tuple(frame.pixels.shape), []).append(place)
    return [tuple(some[first : first + _BATCH]) for some in of.values() for first in range(0, len(some), _BATCH)]


def decoded_change(latent: JointLatent, z: Float[Tensor, "b *latent"]) -> Float[Tensor, "b 3 h w"]:
    """Changes of the images by other latents, as the model's codec represents them."""
    assert latent.decoded is not None
    return latent.backbone.decode(z) - latent.decoded


def _summary(method: str, rows: Sequence[Row], swaps: Swaps) -> Disentanglement:
    of = {name: [row for row in rows if row["attribute"] == name] for name in swaps.targets}
    means = {name: np.mean([row["transfer"] for row in some], axis=0).tolist() for name, some in of.items()}
    return Disentanglement(
        method=method,
        scores=_estimates(rows),
        attributes={name: _estimates(some) for name, some in of.items()},
        transfer={name: dict(zip(swaps.targets, row, strict=True)) for name, row in means.items()},
    )


def _estimates(rows: Sequence[Row]) -> dict[str, Estimate]:
    images = [(row["image"],) for row in rows]
    return {score: estimate([row[score] for row in rows], images) for score in SCORES}
