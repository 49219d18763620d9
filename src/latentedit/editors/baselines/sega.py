"""SEGA: semantic guidance towards a text, on the way back from an inversion."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.errors import ConfigError
from latentedit.core.progress import Progress
from latentedit.core.rng import Seed
from latentedit.core.settings import Guidance, Level, Share, settings
from latentedit.editors.baselines.concept_guidance import Reference, SemanticGuidance
from latentedit.editors.baselines.path_editor import PathEditor
from latentedit.latents.inversion import InversionTrace, aligned_steps, invert
from latentedit.latents.joint import JointLatent
from latentedit.models.guidance import unguided


@settings
class SEGA(PathEditor):
    """``e_hat(y, c0) + G`` on the way back, G from ``psi = strength * scale * (e_hat(y, c1) - e_hat(y, reference))``.

    The picture is inverted under its own text c0, which is also the base prompt, without further guidance, and comes
    back aligned (`latentedit.latents.inversion`): where psi is zero it stays as it is, bit for bit. Psi keeps its
    strongest places of each channel and has momentum, see `SemanticGuidance`. A negative strength is the reversed
    concept; any real one is allowed.

    In the publication the concept is a few words, the reference the empty text and the picture a generated one. With
    reference "source", which is ours, the concept is a full caption and psi what it changes in the source caption.

    Args:
        level: how far up, in (0, 1]; 1 is the whole path.
        scale: of psi at strength 1.
        threshold: quantile below which psi is dropped, in [0, 1].
        warm_up: share of the way back after which the guidance begins (published: step 10 of 50).
        cool_down: share of the way back after which psi is zero; 1 is never.
        momentum: share of the momentum that is added.
        decay: what is left of the momentum after a step.
        reference: "null" as published, or "source".

    Source:
        Brack et al. 2023, arXiv 2301.12247, with the defaults of its public code.
    """

    name: ClassVar[str] = "sega"

    level: Level = 1.0
    scale: Guidance = 5.0
    threshold: float = 0.9
    warm_up: Share = 0.2
    cool_down: Share = 1.0
    momentum: float = 0.1
    decay: float = 0.4
    reference: Reference = "null"

    def __post_init__(self) -> None:
        if self.cool_down < self.warm_up:
            raise ConfigError(f"cool_down must not come before warm_up ({self.warm_up:g}); got {self.cool_down:g}")
        self.guidance(1)

    @property
    def keeps_equal_texts(self) -> bool:
        """Where psi is measured from the source text."""
        return self.reference == "source"

    def guidance(self, steps: int) -> SemanticGuidance:
        """The guidance of a way back of so many steps, its shares rounded to steps."""
        return SemanticGuidance(
            threshold=self.threshold,
            warm_up=round(self.warm_up * steps),
            cool_down=None if self.cool_down == 1 else round(self.cool_down * steps),
            momentum=self.momentum,
            decay=self.decay,
        )

    def _cost(self, k: int) -> int:
        """``3 k`` with reference "source" (1 up, 2 back), ``4 k`` with "null"."""
        return k * (3 if self.reference == "source" else 4)

    def _edit(
        self, latent: JointLatent, target: Condition, *, strength: float, seed: Seed, progress: Progress | None
    ) -> Float[Tensor, "b *latent"]:
        del seed  # nothing is drawn
        trace = invert(latent, self._path(latent), progress=progress)
        empty = latent.backbone.null(latent.condition) if self.reference == "null" else None
        return guided_return(
            latent,
            trace,
            target,
            self.guidance(len(trace.velocities)),
            scale=strength * self.scale,
            reference=empty,
            progress=progress,
        )


def guided_return(
    latent: JointLatent,
    trace: InversionTrace,
    target: Condition,
    guidance: SemanticGuidance,
    *,
    scale: float,
    reference: Condition | None,
    progress: Progress | None = None,
) -> Float[Tensor, "b *latent"]:
    """The aligned way back under the source text, with the guidance of a concept.

    ``u_i = u_{i+1} - (s_{i+1} - s_i) (v(y, c0) - v(Z_i, c0) + G / (1 - s_i))`` at ``y = Z_i + u_{i+1}``, for a change
    of the noise estimate by G changes the velocity by ``G / (1 - s)``.

    Args:
        trace: of their inversion.
        target: the concept.
        guidance: its masks, times and momentum.
        scale: of psi.
        reference: text that the concept is measured from; None is the pictures' own.

    Returns:
        The pictures, edited.

    Cost:
        Two evaluations a step, three with a reference.
    """
    velocity, steps = latent.backbone.velocity, len(trace.velocities)
    source, concept = (unguided(latent.backbone, text) for text in (latent.condition, target))
    other = None if reference is None else unguided(latent.backbone, reference)
    moved, carried = torch.zeros_like(latent.z), torch.zeros_like(latent.z)
    for index, upper, lower, levels in aligned_steps(latent, trace, progress=progress):
        y = trace.states[index] + moved
        base = velocity(y, levels, source)
        away = base if other is None else velocity(y, levels, other)
        psi = scale * (1 - lower) * (velocity(y, levels, concept) - away)
        added, carried = guidance.step(steps - 1 - index, psi, carried)
        moved = moved - (upper - lower) * (base - trace.velocities[index] + added / (1 - lower))
    return trace.states[0] + moved
