"""The pairs that first_edit.py edits: portraits, one changed attribute each, and the rendered truth."""

import dataclasses
import random
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.types import Condition
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone
from latentedit_portraits.attributes import NONE, VALUES, Attributes, Split, draw_split
from latentedit_portraits.captions import full_caption
from latentedit_portraits.dataset import to_pixels
from latentedit_portraits.render import counterfactual, render_array

CHANGES = ("glasses", "beard", "mouth", "hair color", "clothes color", "background")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One edit with its right answer.

    Args:
        change: which of ``CHANGES``.
        source: the portrait as it is.
        truth: the portrait as it should become.
    """

    change: str
    source: Attributes
    truth: Attributes

    @property
    def target(self) -> str:
        """The attribute that was asked for."""
        names = {"glasses": "accessory", "beard": "facial_hair"}
        return names.get(self.change, self.change.replace(" ", "_"))


def draw_pairs(split: Split, portraits: int, seed: int) -> list[Pair]:
    """``portraits`` portraits of a split to which all six changes apply, six pairs each."""
    generator = random.Random(f"first_edit/{split}/{seed}")
    pool = draw_split(split, 40 * portraits, seed)
    fit = [item for item in pool if item.accessory == NONE and item.facial_hair == NONE and item.hair != "bald"]
    pairs: list[Pair] = []
    for source in fit[:portraits]:
        for change in CHANGES:
            wanted = {"glasses": {"accessory": "glasses"}, "beard": {"facial_hair": "beard"}}.get(change)
            if wanted is None:
                field = change.replace(" ", "_")
                others = [value for value in VALUES[field] if value not in (NONE, getattr(source, field))]
                wanted = {field: generator.choice(others)}
            pairs.append(Pair(change=change, source=source, truth=counterfactual(source, wanted)))
    return pairs


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Encoded pairs.

    Args:
        pairs: what they are.
        latent: the sources with their full captions.
        target: embedded full captions of the truths.
        truth_z: encoded truths.
        source_pixels: in [-1, 1].
        truth_pixels: likewise.
    """

    pairs: list[Pair]
    latent: JointLatent
    target: Condition
    truth_z: Float[Tensor, "b *latent"]
    source_pixels: Float[Tensor, "b 3 h w"]
    truth_pixels: Float[Tensor, "b 3 h w"]


@torch.no_grad()
def encode_pairs(model: Backbone, pairs: list[Pair]) -> Batch:
    """Render and encode pairs."""

    def pictures(attributes: list[Attributes]) -> Tensor:
        return to_pixels(np.stack([render_array(item) for item in attributes]), model.device)

    source, truth = pictures([pair.source for pair in pairs]), pictures([pair.truth for pair in pairs])
    captions = tuple(full_caption(pair.source) for pair in pairs)
    z = model.encode(source)
    latent = JointLatent(
        backbone=model, z=z, condition=model.embed(captions), captions=captions, frames=(), decoded=model.decode(z)
    )
    return Batch(
        pairs=pairs,
        latent=latent,
        target=model.embed([full_caption(pair.truth) for pair in pairs]),
        truth_z=model.encode(truth),
        source_pixels=source,
        truth_pixels=truth,
    )


def bootstrap(values: list[float], *, draws: int = 2000, seed: int = 0) -> tuple[float, float, float]:
    """Mean and its 95 % percentile bootstrap interval."""
    array = np.asarray(values, dtype=np.float64)
    chosen = np.random.default_rng(seed).integers(0, len(array), (draws, len(array)))
    low, high = np.percentile(array[chosen].mean(axis=1), [2.5, 97.5])
    return float(array.mean()), float(low), float(high)


Settings = dict[str, Any]


def encode_all(model: Backbone, pairs: list[Pair], size: int = 24) -> Batch:
    """All pairs as one batch, encoded in parts."""
    parts = [encode_pairs(model, pairs[start : start + size]) for start in range(0, len(pairs), size)]
    latents = [part.latent for part in parts]
    return Batch(
        pairs=pairs,
        latent=JointLatent(
            backbone=model,
            z=torch.cat([latent.z for latent in latents]),
            condition=Condition.cat([latent.condition for latent in latents]),
            captions=tuple(caption for latent in latents for caption in latent.captions),
            decoded=torch.cat([latent.decoded for latent in latents if latent.decoded is not None]),
        ),
        target=Condition.cat([part.target for part in parts]),
        truth_z=torch.cat([part.truth_z for part in parts]),
        source_pixels=torch.cat([part.source_pixels for part in parts]),
        truth_pixels=torch.cat([part.truth_pixels for part in parts]),
    )


def partial_captions(pair: Pair, seed: str, share: float = 0.5) -> tuple[str, str]:
    """Source and target caption that name what changes; every other phrase is in both or, by chance, in neither.

    Args:
        pair: the edit.
        seed: of the choice.
        share: probability that a phrase is missing.
    """
    generator = random.Random(f"partial/{seed}")
    lead = "a person with "
    source, target = (full_caption(item).removeprefix(lead).split(", ") for item in (pair.source, pair.truth))
    kept = [i for i, phrases in enumerate(zip(source, target, strict=True)) if len(set(phrases)) == 2]
    kept += [i for i in range(len(source)) if i not in kept and generator.random() >= share]
    return (lead + ", ".join(source[i] for i in sorted(kept)), lead + ", ".join(target[i] for i in sorted(kept)))
