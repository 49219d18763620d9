"""Moving pictures along directions at one level, many at once: up, a move at the level, and a way back."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.errors import ShapeError
from latentedit.core.flow import per_element
from latentedit.core.progress import Progress
from latentedit.core.settings import Count, Probe, settings
from latentedit.directions.distillation import check_finite
from latentedit.editors.slider import ROWS
from latentedit.editors.walks.xspace import clean_and_noise, noise_guided, with_contrast_of
from latentedit.latents.inversion import InversionTrace, replay
from latentedit.latents.joint import JointLatent

Move = Literal["addition", "guidance"]


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

    Source:
        Park et al. 2023: the moves (arXiv 2307.12868), the contrast (arXiv 2302.12469, section 3.4; mapped back to Z
        through the noise estimate, which is ours). The aligned way back is `latents.inversion.replay`.
    """

    move: Move = "addition"
    repeats: Count = 16
    probe: Probe = 1.0
    keep_contrast: bool = False

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
            trace: of their inversion, whose top is where they move (`LocalBasis.trace`).
            v: directions at that level, each for all pictures; scales count in their lengths.
            scales: k scales of each direction, n = m columns.
            condition: text of the guidance and of the contrast, one for all or one a picture; the pictures' own by
                default. The way back is under their own in any case.

        Raises:
            ShapeError: scales, directions or a trace that do not fit.
            ModelError: the network gave values that are not finite.

        Cost:
            ``evaluations(trace, k * m)`` a picture.
        """
        if scales.ndim != 2 or scales.shape[1] != len(v):
            raise ShapeError(f"scales are rows of one number for each of {len(v)} directions; got {list(scales.shape)}")
        if trace.top.shape != latent.z.shape:
            raise ShapeError(
                f"the trace does not fit latents of shape {list(latent.z.shape)}; got {list(trace.top.shape)}"
            )
        if v.shape[1:] != latent.z.shape[1:]:
            raise ShapeError(
                f"the directions do not fit latents of shape {list(latent.z.shape[1:])}; got {list(v.shape[1:])}"
            )
        text = latent.condition if condition is None else condition.expand(len(latent))
        backbone, level, batch = latent.backbone, trace.levels[-1], len(latent)
        reference = clean_and_noise(backbone, trace.top, level, text)[0] if self.keep_contrast else None
        factors = scales.to(latent.z.device, latent.z.dtype).flatten()
        parts: list[Tensor] = []
        for some in torch.arange(len(factors)).split(max(1, ROWS // (2 * batch))):
            along = v[some % len(v)].repeat_interleave(batch, 0).to(latent.z.device, latent.z.dtype)
            rows, walk, texts = latent.repeat(len(some)), trace.repeat(len(some)), text.repeat(len(some))
            amount, z = factors[some].repeat_interleave(batch), walk.top
            if self.move == "addition":
                z = z + per_element(amount, z) * along
            else:
                z = noise_guided(
                    backbone,
                    z,
                    level,
                    texts,
                    along,
                    amount,
                    repeats=self.repeats,
                    probe=self.probe,
                    progress=progress,
                )
            if reference is not None:
                clean, noise = clean_and_noise(backbone, z, level, texts)
                spread = reference.repeat(len(some), *[1] * (z.ndim - 1))
                z = (1 - level) * with_contrast_of(clean, spread) + level * noise
            back = replay(rows, walk, rows.condition, offset=z - walk.top, progress=progress)
            # A scale of 0 is the picture, bit for bit: equal rows of a batch of another size may round otherwise.
            parts.append(torch.where(per_element(amount == 0, z), rows.z, back))
            check_finite(parts[-1], "way back", backbone.name, level)
        return torch.cat(parts).unflatten(0, (*scales.shape, batch))
