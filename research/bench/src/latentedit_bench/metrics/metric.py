"""A metric of edited images: one number for each, and how it is reported."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core import ShapeError
from latentedit_bench.metrics.disentanglement import all_scores
from latentedit_bench.metrics.images import Images, Mask

Readings = Mapping[str, Float[Tensor, "b _"]]  # attribute to the probabilities of its values, one row an image
Need = Literal["truth", "mask", "consequences", "after", "answer"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class EditedBatch:
    """Edited images of one size, with what is known of each.

    Args:
        edited: the images to measure, ``[b, 3, h, w]`` in [-1, 1].
        source: the images before, like ``edited``.
        captions: the target captions.
        truth: the right answers, like ``edited``.
        mask: ``[b, 1, h, w]``, True where a change belongs, such as where the right answers differ from the sources.
        consequences: the same shape, True where they differ only as a consequence, such as a shadow.
        before: attribute to probabilities of its values, ``[b, values]``, as the model's classifier sees the sources.
        after: the same for the edited images.
        answer: the same for the right answers.
    """

    edited: Images
    source: Images
    captions: Sequence[str]
    truth: Images | None = None
    mask: Mask | None = None
    consequences: Mask | None = None
    before: Readings | None = None
    after: Readings | None = None
    answer: Readings | None = None

    @functools.cached_property
    def scores(self) -> Mapping[str, Float[Tensor, " b"]]:
        """Scores of `disentanglement.all_scores`."""
        assert self.truth is not None
        return all_scores(self.edited, self.source, self.truth)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A column of ``rows.csv``; one with a title is also a column of rankings and is explained on their pages.

    Args:
        name: of the column.
        title: for readers; empty for numbers that are not ranked.
        better: "higher", "lower" or "one", the value that is best; empty if none is.
        needs: fields of `EditedBatch` without which it is not measured.
        why: what it shows, and which value is best, in one line.
        function: from a batch to one number for each image, nan where it has none.
    """

    name: str
    title: str = ""
    better: Literal["higher", "lower", "one", ""]
    needs: tuple[Need, ...] = ()
    why: str = ""
    function: Callable[[EditedBatch], Tensor]

    def of(self, batch: EditedBatch) -> Float[Tensor, " b"]:
        """The numbers of a batch."""
        values = torch.as_tensor(self.function(batch))
        if list(values.shape) != [len(batch.edited)]:
            raise ShapeError(
                f"the metric {self.name!r} must give one number for each of {len(batch.edited)} images; its shape is "
                f"{list(values.shape)}. Return a tensor of shape [{len(batch.edited)}]"
            )
        return values.double().cpu()
