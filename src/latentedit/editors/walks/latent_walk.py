"""Moving pictures along directions at one level, many at once: up, a move at the level, and a way back."""

import itertools
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.errors import ConfigError, ShapeError
from latentedit.core.progress import Progress
from latentedit.core.settings import Count, Probe, settings
from latentedit.core.solvers.base import level_batch
from latentedit.core.solvers.stochastic import NO_TAIL, NoiseTail
from latentedit.directions.distillation import check_finite
from latentedit.editors.slider import ROWS
from latentedit.editors.walks.xspace import clean_and_noise, noise_guided, with_contrast_of
from latentedit.latents.inversion import InversionTrace, replay
from latentedit.latents.joint import JointLatent

Move = Literal["addition", "guidance"]
Back = Literal["aligned", "sampling"]


def check_back(back: Back, tail: NoiseTail) -> None:
    """Refuse fresh noise on the way back that retraces a path.

    Raises:
        ConfigError: there is such noise.
    """
    if back == "aligned" and tail.below > 0:
        raise ConfigError("fresh noise does not fit the way back 'aligned', which retraces the way up. Use 'sampling'")


def check_ways(latent: JointLatent, trace: InversionTrace, moves: Tensor, scales: Float[Tensor, "k n"]) -> None:
    """Refuse scales that are not one for each move, and a trace of other pictures.

    Raises:
        ShapeError: either.
    """
    if scales.ndim != 2 or scales.shape[1] != len(moves):
        raise ShapeError(f"expected a row of scales for each of {len(moves)} directions; got {list(scales.shape)}")
    if trace.top.shape != latent.z.shape:
        raise ShapeError(f"expected a trace of latents {list(latent.z.shape)}; got {list(trace.top.shape)}")


@settings
class LatentWalk:
    """Move latents at the top of an inversion along directions, and return.

    - addition: ``Z + scale * v``.
    - guidance: x-space guidance, see `noise_guided`; its scale has the unit of addition's.

    Args:
        move: see above.
        repeats: of guidance, each with its share of the scale.
        probe: length, in that of v, at which guidance probes the noise estimate; above 0. A network in half precision
            wants a longer one: on the bundled transformer (2048 numbers, v of unit length) bfloat16 moves a latent by
            5 % otherwise than float32 at 1, and by 0.4 % at 16.
        keep_contrast: after the move, the clean estimate is given the standard deviation of that of the picture (and
            keeps its own mean): ``Z' = (1 - s) x' + s e_hat``.
        back: "aligned" retraces the way up (a scale of 0 is the picture, bit for bit), "sampling" comes down freely.
        tail: fresh noise on the way back, for "sampling".

    Raises:
        ConfigError: a setting outside its range, or a tail on an aligned way back.

    Source:
        Park et al. 2023: the moves (arXiv 2307.12868), the contrast (arXiv 2302.12469, section 3.4; mapped back to Z
        through the noise estimate, which is ours). The aligned way back is `latents.inversion.replay`.
    """

    move: Move = "addition"
    repeats: Count = 16
    probe: Probe = 1.0
    keep_contrast: bool = False
    back: Back = "aligned"
    tail: NoiseTail = NO_TAIL

    def __post_init__(self) -> None:
        check_back(self.back, self.tail)

    def evaluations(self, trace: InversionTrace, ways: int) -> int:
        """Network evaluations a picture of ``edit`` with so many scales times directions; the trace is paid already."""
        a_way = len(trace.velocities) + (2 * self.repeats if self.move == "guidance" else 0)
        return ways * a_way + (ways + 1 if self.keep_contrast else 0)

    def edit(
        self,
        latent: JointLatent,
        trace: InversionTrace,
        v: Float[Tensor, "m *latent"],
        scales: Float[Tensor, "k n"],
        *,
        condition: Condition | None = None,
        progress: Progress | None = None,
    ) -> Float[Tensor, "k m b *latent"]:
        """Clean latents at every scale of every direction, of every picture.

        Args:
            latent: the pictures.
            trace: of their inversion, whose top is where they move (`LocalBasis.trace`).
            v: directions at that level, each for all pictures; scales count in their lengths.
            scales: k scales of each direction, n = m columns.
            condition: text of the guidance and of the contrast, one for all or one a picture; the pictures' own by
                default. The way back is under their own in any case.
            progress: told about each step.

        Raises:
            ShapeError: scales, directions or a trace that do not fit.
            ModelError: the network gave values that are not finite.

        Cost:
            ``evaluations(trace, k * m)`` a picture.
        """
        check_ways(latent, trace, v, scales)
        if v.shape[1:] != latent.z.shape[1:]:
            raise ShapeError(f"expected directions of {list(latent.z.shape[1:])}; got {list(v.shape[1:])}")
        text = latent.condition if condition is None else condition.expand(len(latent))
        level, reference = trace.levels[-1], None
        if self.keep_contrast:
            reference = clean_and_noise(latent.backbone, trace.top, level, text)[0]
        factors = scales.to(latent.z.device, latent.z.dtype).flatten()
        parts: list[Tensor] = []
        for some in torch.arange(len(factors)).split(max(1, ROWS // (2 * len(latent)))):
            along = v[some % len(v)].repeat_interleave(len(latent), 0).to(latent.z.device, latent.z.dtype)
            rows, walk = latent.repeat(len(some)), trace.repeat(len(some))
            amount = factors[some].repeat_interleave(len(latent))
            z = self._moved(rows, walk.top, level, text.repeat(len(some)), along, amount, progress)
            if reference is not None:
                z = _contrasted(rows, z, level, text.repeat(len(some)), reference)
            parts.append(self._back(rows, walk, z, amount, progress))
            check_finite(parts[-1], "way back", latent.backbone.name, level)
        return torch.cat(parts).unflatten(0, (*scales.shape, len(latent)))

    def _moved(
        self,
        rows: JointLatent,
        z: Tensor,
        level: float,
        text: Condition,
        along: Tensor,
        amount: Tensor,
        progress: Progress | None,
    ) -> Tensor:
        if self.move == "addition":
            return z + amount.reshape(-1, *[1] * (z.ndim - 1)) * along
        return noise_guided(
            rows.backbone,
            z,
            level,
            text,
            along,
            amount,
            repeats=self.repeats,
            probe=self.probe,
            progress=progress,
        )

    def _back(
        self, rows: JointLatent, walk: InversionTrace, z: Tensor, amount: Tensor, progress: Progress | None
    ) -> Tensor:
        if self.back == "aligned":
            found = replay(rows, walk, rows.condition, offset=z - walk.top, progress=progress)
            still = (amount == 0).reshape(-1, *[1] * (z.ndim - 1))
            return torch.where(still, rows.z, found)  # a batch of another size may round otherwise
        lowest = rows.backbone.capabilities.s_min
        pairs = list(itertools.pairwise(walk.levels[::-1]))
        for index, (s, s_next) in enumerate(pairs):
            v = rows.backbone.velocity(z, level_batch(s, z).clamp_min(lowest), rows.condition)
            z = self.tail.step(z, v, s, s_next, index=index)
            if progress is not None:
                progress("return", index + 1, len(pairs))
        return z


def _contrasted(rows: JointLatent, z: Tensor, level: float, text: Condition, reference: Tensor) -> Tensor:
    clean, noise = clean_and_noise(rows.backbone, z, level, text)
    spread = reference.repeat(len(rows) // len(reference), *[1] * (z.ndim - 1))
    return (1 - level) * with_contrast_of(clean, spread) + level * noise
