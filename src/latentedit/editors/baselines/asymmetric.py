"""Asyrp with a shift from text: the feature's change between two texts, in the clean estimate only, step by step."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.progress import Progress
from latentedit.core.rng import Seed
from latentedit.core.settings import Count, Level, Scale, Share, settings
from latentedit.editors.base import Editor
from latentedit.latents.inversion import aligned_steps, invert
from latentedit.latents.joint import JointLatent
from latentedit.models.guidance import unguided


@settings
class AsymmetricEdit(Editor):
    """``z' = (1 - s') (z - s v') + s' (z + (1 - s) v)``, v under c0, v' of the network whose feature is shifted.

    The shift is ``strength scale (f(z, s, c1) - f(z, s, c0))``, f the feature at a site inside the network, while the
    text that the rest of the network sees stays c0. At the site "clean", where a network without insides has its
    default, the clean estimate itself is shifted: ``v' = v + strength scale (v(z, s, c1) - v)``. Each step adds the
    kick ``-(1 - s') s (v' - v)``, so more steps change more: halve the scale where steps double.

    The walk down is aligned with the inversion, and takes velocity and features where that passed: at the level where
    a step ends. Both texts are calls of one shape, so equal ones leave exactly zero.

    Args:
        level: how far up the inversion goes, in (0, 1].
        steps: of the model's whole grid; an edit walks the part below ``level``.
        scale: of the shift at strength 1.
        until: steps that start at this level or below are plain.
        site: where the feature is, one inside the network or "clean"; None is `Backbone.default_site`.

    Source:
        Kwon et al. 2023, arXiv 2210.10960, eq. 4 and 6, in flow coordinates. There the
        shifts are learnt with CLIP; shifts from the network's own answer to two texts, and the alignment, are ours.
    """

    name: ClassVar[str] = "asyrp"

    level: Level = 0.9
    steps: Count = 28
    scale: Scale = 0.3
    until: Share = 0.3
    site: str | None = None

    def evaluations(self, latent: JointLatent, *, strength: float = 1.0) -> int:
        """``2 k + 3 n`` inside the network, ``2 k + n`` at "clean": k steps below ``level``, of which n are shifted."""
        if strength == 0:
            return 0
        levels = latent.path(self.steps, self.level).levels
        shifted = sum(level > self.until for level in levels[:-1])
        return 2 * (len(levels) - 1) + (1 if self._site(latent) == "clean" else 3) * shifted

    def _site(self, latent: JointLatent) -> str:
        return latent.backbone.default_site if self.site is None else self.site

    def _edit(
        self, latent: JointLatent, target: Condition, *, strength: float, seed: Seed, progress: Progress | None
    ) -> Float[Tensor, "b *latent"]:
        del seed  # nothing is drawn
        trace = invert(latent, latent.path(self.steps, self.level), progress=progress)
        backbone, site, amount = latent.backbone, self._site(latent), strength * self.scale
        text, target = (unguided(backbone, one) for one in (latent.condition, target))
        moved = torch.zeros_like(latent.z)
        for index, s, s_next, levels in aligned_steps(latent, trace, name=self.name, progress=progress):
            z = trace.states[index] + moved
            v = backbone.velocity(z, levels, text)
            moved = moved + (s_next - s) * (v - trace.velocities[index])
            if s <= self.until:
                continue
            if site == "clean":
                change = amount * (backbone.velocity(z, levels, target) - v)
            else:
                shift = backbone.features(z, levels, target, site) - backbone.features(z, levels, text, site)
                change = backbone.velocity_with(z, levels, text, site, amount * shift) - v
            moved = moved - (1 - s_next) * s * change
        return latent.z + moved
