"""Steering by velocities: what a multiple of their difference changes in a sample, added to the picture."""

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.flow import per_element
from latentedit.core.progress import Progress
from latentedit.core.rng import Seed, noise_like
from latentedit.core.settings import Guidance, Level, Natural, settings
from latentedit.core.solvers import each_step, level_batch
from latentedit.editors.base import StrengthResult
from latentedit.editors.baselines.path_editor import PathEditor
from latentedit.editors.strength import EffectCurve, measure_effect
from latentedit.latents.joint import JointLatent

Change = Callable[[Float[Tensor, " b"]], Float[Tensor, "b *latent"]]
"""From scales, one a picture, to what the picture is changed by."""


@settings
class VelocitySteering(PathEditor):
    """``y = x + R(a) - R(0)``, R(a) the sample of ``v0 + a (v1 - v0)`` from ``(1 - s) x + s e``, s = level.

    v0 is the velocity under the picture's own text, v1 that under the target: for a model that sees the picture, with
    the instruction to change nothing and with the one to be followed. Both samples start from one noise, so what the
    model repaints without being asked is in both, and goes out: only the change is added.

    The strength is calibrated: a is such that the change makes that share of the whole change u, the one at ``scale``,
    along u. It is read from a monotone curve through the effects at ``probes`` scales between 0 and the whole, and at
    as many out to where a strength below 0 or above 1 lies; strengths go no further than what that one does. With no
    probes, ``a = strength * scale``.

    Made for models that see the picture beside their latents. Those that read captions alone have only the start to
    know the picture by, and want a lower ``level``.

    Args:
        scale: a at strength 1: on models with classifier-free guidance the guidance weight, with the picture's own text
            as the negative one; 1 where the weight is an input.
        probes: scales between 0 and the whole at which the effect is measured.

    Source:
        Derived here; the difference of two samples is that of `TextSteering`, the curve that of `EIM`'s strength.
    """

    name: ClassVar[str] = "velocity-steering"

    level: Level = 1.0
    scale: Guidance = 1.0
    probes: Natural = 3

    def evaluations(self, latent: JointLatent, *, strength: float = 1.0) -> int:
        """``k`` without the text and ``2 k`` for each sample with it: one, and those of the curve."""
        samples = 1 + sum(scale != 0 for scale in self._scales(strength))
        return 0 if strength == 0 else self._path(latent).steps * (1 + 2 * samples)

    def _cost(self, k: int) -> int:
        """Of strength 1, ``3 k``."""
        return 3 * k

    def _scales(self, strength: float) -> tuple[float, ...]:
        """Where the effect is measured for a strength, as shares of ``scale``; nowhere where it needs no curve."""
        if self.probes == 0 or strength in (0, 1):
            return ()
        shares = torch.linspace(0, 1, self.probes + 2, dtype=torch.float64).tolist()
        below = [strength * share for share in shares[:0:-1]] if strength < 0 else []
        beyond = [1 + (strength - 1) * share for share in shares[1:]] if strength > 1 else []
        return (*below, *shares, *beyond)

    def _edit_all(
        self,
        latent: JointLatent,
        target: Condition,
        strengths: Sequence[float],
        *,
        seed: Seed,
        progress: Progress | None,
    ) -> list[StrengthResult]:
        change = self._change(latent, target, seed=seed, progress=progress)
        same = torch.ones(len(latent), dtype=torch.float64)
        known = {0.0: torch.zeros_like(latent.z)}
        results: list[StrengthResult] = []
        for strength in strengths:
            scales, share = self._scales(strength), strength * same
            for scale in scales:
                if scale not in known:
                    known[scale] = change(scale * same)
            if scales:
                effects = measure_effect(torch.stack([known[scale] for scale in scales]), known[1.0])
                share = EffectCurve(scales=scales, effects=effects).scale(strength)
            results.append(StrengthResult(z=latent.z + change(share), strength=strength))
        return results

    def _change(self, latent: JointLatent, target: Condition, *, seed: Seed, progress: Progress | None) -> Change:
        """What the pictures change by at shares of ``scale``, one each; the sample without the text is drawn once."""
        backbone, levels = latent.backbone, self._path(latent).levels
        low, high = backbone.capabilities.s_min, backbone.capabilities.s_max
        noise = noise_like(latent.z, seed=seed, purpose=self.name)
        start = (1 - levels[0]) * latent.z + levels[0] * noise

        def sampled(share: Float[Tensor, " b"] | None) -> Float[Tensor, "b *latent"]:
            z = start
            for _, s, s_next in each_step(levels, name=self.name, progress=progress):
                at = level_batch(min(max(s, low), high), z)
                velocity = backbone.velocity(z, at, latent.condition)
                if share is not None:
                    factor = per_element((self.scale * share).to(z), z)
                    velocity = velocity + factor * (backbone.velocity(z, at, target) - velocity)
                z = z + (s_next - s) * velocity
            return z

        plain = sampled(None)
        return lambda share: sampled(share) - plain
