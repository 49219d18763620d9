"""LEDITS++: edit-friendly inversion, and the concept's guidance where its noise mask is."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.progress import Progress
from latentedit.core.rng import Seed
from latentedit.core.settings import Guidance, Share, settings
from latentedit.editors.baselines.concept_guidance import Reference, strongest_places
from latentedit.editors.baselines.flow_path import Latents, Levels
from latentedit.editors.baselines.noise_maps import follow_maps, noise_maps
from latentedit.editors.baselines.path_editor import PathEditor
from latentedit.latents.joint import JointLatent


@settings
class LEDITS(PathEditor):
    """``v(y, reference) + M2 psi`` on edit-friendly maps, ``psi = strength * scale * (v(y, c1) - v(y, reference))``.

    The inversion and the way back have the reference for their text; M2 keeps the places where the sum of ``|psi|``
    over the channels reaches its quantile. A negative strength is the reversed concept; any real one is allowed.

    What differs from the published system: its second mask M1, of the concept's cross-attention, is not there, since a
    velocity field has no attention to look at; steps are the ancestral ones of DDIM, its other mode besides a
    second-order solver; there is no warm-up, because until the guidance begins the picture is retraced, and a lower
    ``level`` does the same for nothing. With reference "source", which is ours, full captions can be compared.

    Args:
        scale: of psi at strength 1.
        threshold: quantile below which psi is dropped, in [0, 1].
        reference: "null" as published, or "source".

    Source:
        Brack et al. 2024, arXiv 2311.16711, with the defaults of its public code, which skips 4 steps of 34.
    """

    name: ClassVar[str] = "ledits"

    scale: Guidance = 5.0
    threshold: Share = 0.9
    reference: Reference = "null"

    @property
    def keeps_equal_texts(self) -> bool:
        """Where psi is measured from the source text."""
        return self.reference == "source"

    def _cost(self, k: int) -> int:
        """``3 k``: one of the inversion and two of the way back."""
        return 3 * k

    def _edit(
        self, latent: JointLatent, target: Condition, *, strength: float, seed: Seed, progress: Progress | None
    ) -> Float[Tensor, "b *latent"]:
        velocity = latent.backbone.velocity
        text = latent.condition if self.reference == "source" else latent.backbone.null(latent.condition)

        def difference(a: Latents, b: Latents, levels: Levels) -> Latents:
            base = velocity(b, levels, text)
            psi = strength * self.scale * (velocity(b, levels, target) - base)
            return (base - velocity(a, levels, text)) + strongest_places(psi, self.threshold)

        maps = noise_maps(latent, self._path(latent), seed=seed)
        return follow_maps(latent, maps, difference, name=self.name, progress=progress)
