"""Criteria of edits that need no right answer and that others rely on, beside those that the library chooses by.

Lower is said to be better by each. Those by which the library chooses are in `latentedit.editors.criteria`.
"""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.rng import draw
from latentedit.core.solvers.base import level_batch
from latentedit.directions.locality import change_share
from latentedit.editors.criteria import Look
from latentedit.editors.eim import EIM
from latentedit.latents.joint import JointLatent
from latentedit_bench.data.prepared import Prepared
from latentedit_bench.metrics.leakage_matrix import attribute_change

OTHERS: Mapping[str, str] = {
    "seeds": "distance of the edit by another seed, in the size of the change",
    "there and back": "what is left of the change after it was undone, in its size",
    "paraphrase": "distance of the edit under other words, in the size of the change",
    "reader": "attributes that the reader sees differ from those that were asked for",
    "outside": "share of the change outside of where the texts differ, by the model's velocities",
    "size": "root mean square of the change",
    "- share of the change": "the more of the change the model sees",
    "- margin": "the more the model prefers the target's text",
    "- gain per change": "the more likely the picture becomes under the target's text, per change",
}
"""By name: what each is. Those with a minus are said to be better where they are more."""

_SHOWN = 0.8
"""Level at which the texts' velocities are compared."""

_FLOOR = 0.1
"""Energy of their difference, in its strongest, from which half of a place counts as inside."""


@torch.no_grad()
def other_criteria(
    editor: EIM,
    batch: Prepared,
    z: Float[Tensor, "b *latent"],
    look: Look,
    change: Float[Tensor, "b 3 h w"],
    *,
    reworded: Prepared,
    seed: int,
) -> dict[str, list[float]]:
    """`OTHERS` of each edit of a batch; nan where nothing can be told.

    Args:
        editor: that edited.
        batch: the items.
        z: the edits.
        look: at them.
        change: of the model's pixels.
        reworded: the same items with captions in other words.
        seed: of the edits.

    Cost:
        Three edits.
    """
    latent = batch.latent
    moved = z - latent.z
    size = rms(moved)
    another = _edited(editor, latent, batch.target, seed=seed + 1)
    other_words = _edited(editor, reworded.latent, reworded.target, seed=seed)
    there = JointLatent(backbone=latent.backbone, z=z, condition=batch.target, captions=latent.captions)
    back = _edited(editor, there, latent.condition, seed=seed)
    gained = 1 - look.margin.mean(0) - look.target.mean(0)
    read, wanted = batch.read(change), batch.answer
    unread = torch.full((len(z),), math.nan)
    found = {
        "seeds": rms(another - z) / size,
        "there and back": rms(back - latent.z) / size,
        "paraphrase": rms(other_words - z) / size,
        "reader": unread if read is None or wanted is None else attribute_change(wanted, read).mean(1),
        "outside": _outside(latent, batch.target, moved, seed=seed),
        "size": rms(change),
        "- share of the change": -look.share.nanmean(0),
        "- margin": (look.target - look.own).mean(0),
        "- gain per change": -gained / size.cpu().double(),
    }
    return {name: value.cpu().double().tolist() for name, value in found.items()}


def rms(values: Float[Tensor, "b ..."]) -> Float[Tensor, " b"]:
    """Root mean square of each element of a batch; never 0."""
    return values.flatten(1).square().mean(1).sqrt().clamp_min(1e-12)


def _edited(editor: EIM, latent: JointLatent, target: Condition, *, seed: int) -> Float[Tensor, "b *latent"]:
    return editor.edit(latent, target, [1.0], seed=seed)[0].z


def _outside(latent: JointLatent, target: Condition, moved: Tensor, *, seed: int) -> Float[Tensor, " b"]:
    """Of the squared change of latents."""
    noise = draw(latent.z.shape[1:], seed=seed, purpose="outside").to(latent.z)
    noised = (1 - _SHOWN) * latent.z + _SHOWN * noise
    s = level_batch(_SHOWN, noised)
    difference = latent.backbone.velocity(noised, s, target) - latent.backbone.velocity(noised, s, latent.condition)
    inside = change_share(difference, _FLOOR)
    energy = moved.square()
    return ((1 - inside) * energy).flatten(1).sum(1) / energy.flatten(1).sum(1).clamp_min(1e-24)
