"""A batch of items, ready for every method: encoded, with truths, masks and the reader's probabilities."""

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor

from latentedit import Backbone, Condition, JointLatent
from latentedit.core import ConfigError
from latentedit.encoding import (
    SourceImage,
    captioner_for,
    complete_captions,
    embed_targets,
    encode_frames,
    fit_all,
    fitted,
)
from latentedit.geometry import ProbabilityReader
from latentedit.numerics import item_seed
from latentedit_bench.data.counterfactual import side_effects
from latentedit_bench.data.items import Item
from latentedit_bench.metrics.metric import Readings


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """Items of one size, encoded."""

    items: tuple[Item, ...]  # the items to edit
    latent: JointLatent  # the images under their source captions
    targets: Sequence[str]  # the target captions
    target: Condition  # the target captions, embedded in the order of the source's phrases
    source: Float[Tensor, "b 3 h w"]  # the images in [-1, 1] at their own size
    truth: Float[Tensor, "b 3 h w"] | None  # the right answers at their own size; None if an item has none
    mask: Bool[Tensor, "b 1 h w"] | None  # where a right answer differs from its image; None if an item has none
    consequences: Bool[Tensor, "b 1 h w"] | None  # where right answers differ only as a consequence
    before: Readings | None  # the model's readings of the images; None where there is no reader
    answer: Readings | None  # its readings of the right answers; None without truths
    answer_pixels: Float[Tensor, "b 3 h2 w2"] | None  # right answers as the model is shown them, in [-1, 1]

    def seeds(self, seed: int) -> list[int]:
        """The seed of each item in a run with this seed: the noise of an item does not depend on its batch."""
        return [item_seed(seed, item.id) for item in self.items]

    def changed(self, z: Float[Tensor, "b *latent"]) -> Float[Tensor, "b 3 h2 w2"]:
        """The change of the model's images for new latents."""
        return self.latent.backbone.decode(z) - self.decoded

    @property
    def decoded(self) -> Float[Tensor, "b 3 h2 w2"]:
        """The images as the model's codec represents them."""
        assert self.latent.decoded is not None
        return self.latent.decoded

    @property
    def pixels(self) -> Float[Tensor, "b 3 h2 w2"]:
        """The images as the model is shown them, in [-1, 1]."""
        return self.latent.pixels.to(self.decoded)

    def restored(self, change: Float[Tensor, "b 3 h2 w2"]) -> list[Image.Image]:
        """The images at their own size with a change applied, as an edit is."""
        return [frame.restore(row).convert("RGB") for frame, row in zip(self.latent.frames, change, strict=True)]

    def read(self, change: Float[Tensor, "b 3 h2 w2"]) -> Readings | None:
        """The reader's probabilities after a change of the model's images; None if there is no reader."""
        reader = captioner_for(self.latent.backbone)
        if not isinstance(reader, ProbabilityReader):
            return None
        seen = torch.stack([frame.pixels for frame in self.latent.frames]).to(change.device, change.dtype)
        return reader.probabilities((seen + change).clamp(-1, 1))


@torch.no_grad()
def prepare(model: Backbone, items: Sequence[Item]) -> Prepared:
    """Open and encode items that the model takes at one size."""
    images = [item.image() for item in items]
    frames = fit_all(model, images)
    captions, targets = ([getattr(item, f"{name}_caption") for item in items] for name in ("source", "target"))
    if any(item.complete for item in items):
        done = complete_captions(model, frames, captions, targets, None)
        captions, targets = ([getattr(one, name) for one in done] for name in ("source", "target"))
    latent = fitted(encode_frames(model, frames, source_prompt=captions), [targets])
    if len({image.size for image in images}) > 1:
        raise ConfigError("the images of a batch must have one size. Group them by size")
    truths = [item.truth() for item in items if item.truth is not None]
    masks = [item.mask() for item in items if item.mask is not None]
    effects = [found for item in items if (found := side_effects(item)) is not None]
    answers = truths if len(truths) == len(items) else []
    reader = captioner_for(model)
    reads = isinstance(reader, ProbabilityReader)
    seen = torch.stack([frame.pixels for frame in frames])
    pairs = zip(frames, answers, strict=True) if answers else ()
    framed = [SourceImage.from_image(one).fit(model.capabilities, region=frame.region) for frame, one in pairs]
    wanted = torch.stack([frame.pixels for frame in framed]) if answers else None
    return Prepared(
        items=tuple(items),
        latent=latent,
        targets=targets,
        target=embed_targets(latent, targets),
        source=to_tensor(images),
        truth=to_tensor(answers) if answers else None,
        mask=torch.from_numpy(np.stack(masks))[:, None] if len(masks) == len(items) else None,
        consequences=torch.from_numpy(np.stack(effects))[:, None] if len(effects) == len(items) else None,
        before=reader.probabilities(seen) if reads else None,
        answer=reader.probabilities(wanted) if reads and wanted is not None else None,
        answer_pixels=wanted,
    )


def same_size(items: Sequence[Item], batch: int) -> list[tuple[Item, ...]]:
    """Items in order in even batches of at most `batch`, each with images of one size.

    All items of a batch have a right answer, or none has; the same holds for masks.
    """
    alike = itertools.groupby(items, lambda item: (item.image().size, item.truth is None, item.mask is None))
    return [some for _, run in alike for some in evenly(list(run), batch)]


def evenly(items: Sequence[Item], most: int) -> list[tuple[Item, ...]]:
    """Items in order in as few even batches of at most `most` as possible.

    A small last batch would be slow, and networks round it differently.
    """
    count = math.ceil(len(items) / most)
    ends = [math.ceil(len(items) * batch / count) for batch in range(count + 1)]
    return [tuple(items[start:end]) for start, end in itertools.pairwise(ends)]


def to_tensor(images: Sequence[Image.Image]) -> Float[Tensor, "b 3 h w"]:
    """Images of one size as numbers in [-1, 1]."""
    arrays = np.stack([np.asarray(image.convert("RGB")) for image in images])
    return torch.from_numpy(arrays).permute(0, 3, 1, 2).to(torch.float32) / 127.5 - 1
