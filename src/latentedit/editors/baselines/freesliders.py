"""FreeSliders: a way down from a level that a multiple of the difference of two texts steers at every step."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.progress import Progress
from latentedit.core.rng import Seed
from latentedit.core.settings import Guidance, Level, Natural, settings
from latentedit.editors.baselines.path_editor import PathEditor
from latentedit.editors.strength import EffectCurve
from latentedit.latents.inversion import InversionTrace, aligned_steps, invert
from latentedit.latents.joint import JointLatent
from latentedit.models.guidance import unguided


@settings
class FreeSliders(PathEditor):
    """Down from ``level`` along ``v(z, s, c0) + a (v(z, s, c1) - v(z, s, c0))`` with ``a = strength * scale``.

    The published slider samples from noise: plainly at first, then with this field, whose last difference is that of
    two opposite texts. A picture has the level to itself: it is inverted under c0 up to there, and the way back is
    aligned with the way up, so that a scale or a difference of 0 retraces it bit for bit. That, and the source text as
    the opposite one, are ours.

    With ``probes`` the range is re-parameterised: strengths between 0 and 1, or -1, are shares of the length of the
    change at the end of the range, and a is read from a monotone curve through so many scales between. The paper walks
    evenly in a perceptual score; the length in latents stands for it here. Its search for the end of the range needs
    CLIP and is left out: ``scale`` is the end.

    Args:
        level: how far up, in (0, 1].
        scale: a at strength 1.
        probes: scales between 0 and the end of the range at which the change is measured; 0 leaves the range as it is.

    Source:
        Ezra et al. 2025, arXiv 2511.00103, with the code's split after 15 of 50 steps and without its guidance.
    """

    name: ClassVar[str] = "freesliders"

    level: Level = 0.7
    scale: Guidance = 2.0
    probes: Natural = 0

    def evaluations(self, latent: JointLatent, *, strength: float = 1.0) -> int:
        """``k (1 up + 2 down)``; between the ends of a re-parameterised range ``2 (probes + 1)`` ways down more."""
        once = PathEditor.evaluations(self, latent, strength=strength)
        return once * (3 + 2 * (self.probes + 1)) // 3 if self._within(strength) else once

    def _cost(self, k: int) -> int:
        """``3 k``."""
        return 3 * k

    def _within(self, strength: float) -> bool:
        return self.probes > 0 and 0 < abs(strength) < 1

    def _edit(
        self, latent: JointLatent, target: Condition, *, strength: float, seed: Seed, progress: Progress | None
    ) -> Float[Tensor, "b *latent"]:
        del seed  # nothing is drawn
        trace = invert(latent, self._path(latent), progress=progress)
        share = torch.full((len(latent),), strength, dtype=torch.float64)
        if self._within(strength):
            sign, nodes = (1 if strength > 0 else -1), torch.linspace(0, 1, self.probes + 2, dtype=torch.float64)
            lengths = [
                self._change(latent, target, trace, sign * node, progress).flatten(1).norm(dim=1) for node in nodes[1:]
            ]
            effects = torch.stack([torch.zeros_like(lengths[0]), *lengths]) / lengths[-1].clamp_min(1e-30)
            share = sign * EffectCurve(scales=tuple(nodes.tolist()), effects=effects).scale(abs(strength))
        return latent.z + self._change(latent, target, trace, share, progress)

    def _change(
        self,
        latent: JointLatent,
        target: Condition,
        trace: InversionTrace,
        share: Float[Tensor, "..."],
        progress: Progress | None,
    ) -> Float[Tensor, "b *latent"]:
        """What the picture has moved by at the end of the way down, at a share of the scale, one a picture or one."""
        velocity, moved = latent.backbone.velocity, torch.zeros_like(latent.z)
        source, wanted = (unguided(latent.backbone, text) for text in (latent.condition, target))
        factor = (self.scale * share).to(moved).expand(len(moved)).reshape(-1, *[1] * (moved.ndim - 1))
        for index, s, s_next, at in aligned_steps(latent, trace, name=self.name, progress=progress):
            z = trace.states[index] + moved
            plain = velocity(z, at, source)
            steered = factor * (velocity(z, at, wanted) - plain)
            moved = moved + (s_next - s) * (plain - trace.velocities[index] + steered)
        return moved
