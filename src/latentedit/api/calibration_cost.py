"""What a calibration will take on this machine, from a few evaluations of the model itself."""

import dataclasses
import time
from collections.abc import Callable

import torch

from latentedit.api.measure import peak_bytes, reset_peak
from latentedit.models.base import Backbone


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a calibration does most of.

    Args:
        evaluations: of the network.
        pictures: that are encoded or decoded.
    """

    evaluations: int
    pictures: int

    def __add__(self, other: "Work") -> "Work":
        return Work(evaluations=self.evaluations + other.evaluations, pictures=self.pictures + other.pictures)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast a model is here, and what it needs.

    Args:
        evaluation_seconds: of one evaluation, in a batch.
        picture_seconds: to encode or to decode a picture, in a batch.
        peak_bytes: of memory on the way; 0 where the system does not tell.
    """

    evaluation_seconds: float
    picture_seconds: float
    peak_bytes: int

    def seconds(self, work: Work) -> float:
        """How long work takes at this pace."""
        return self.evaluation_seconds * work.evaluations + self.picture_seconds * work.pictures


@torch.no_grad()
def measured_pace(model: Backbone, *, rows: int, batch: int, clock: Callable[[], float] = time.perf_counter) -> Pace:
    """The pace of a model, from a batch of evaluations at one level and one of pictures, each made twice.

    Args:
        model: with a picture codec.
        rows: latents of a batch of evaluations.
        batch: pictures of a batch.
        clock: seconds.

    Cost:
        ``2 rows`` evaluations; ``2 batch`` pictures are decoded, and encoded.
    """
    reset_peak(model.device)
    side, level = model.capabilities.sizes[1], (model.capabilities.s_min + model.capabilities.s_max) / 2
    z = torch.zeros(rows, *model.latent_shape(side, side), device=model.device, dtype=model.dtype)
    condition, s = model.embed([""]).expand(rows), torch.full((rows,), level).to(z)

    def evaluate() -> None:
        float(model.velocity(z, s, condition).sum())  # reading a number waits for devices that run on their own

    def code() -> None:
        float(model.encode(model.decode(z[:batch])).sum())

    return Pace(
        evaluation_seconds=_second_time(evaluate, clock) / rows,
        picture_seconds=_second_time(code, clock) / (2 * min(batch, rows)),
        peak_bytes=peak_bytes(model.device),
    )


def _second_time(work: Callable[[], None], clock: Callable[[], float]) -> float:
    """Seconds of the second time: the first is slower."""
    work()
    begun = clock()
    work()
    return clock() - begun
