"""Score distillation from a picture: the target's noise estimate against the noise that was added."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.flow import per_element
from latentedit.core.progress import Progress
from latentedit.core.rng import Seed, noise_like
from latentedit.core.settings import Count, Guidance, Levels, Positive, settings
from latentedit.editors.base import Editor
from latentedit.editors.baselines.dds import check_ascent, level_weights, levels_of_each
from latentedit.latents.joint import JointLatent
from latentedit.models.guidance import GuidedField


@settings
class SDS(Editor):
    """``y <- y - strength step_size (e_hat_w(y_s, c1) - e)`` from y = x, ``y_s = (1 - s) y + s e``, fresh e and level.

    The bracket is ``(1 - s) (v_w(y_s, c1) - (e - y))``, the residual of rectified-flow distillation with the weight
    ``1 - s``. Nothing but the start says what the picture is: it drifts to what the target alone finds likely, and
    loses detail on the way. Delta denoising (`DDS`) takes that drift away.

    Args:
        levels: the highest and the lowest level; uniform between them, cut to what the model knows.
        steps: of the descent.
        step_size: of each step.
        guidance: classifier-free guidance weight.

    Source:
        Poole et al. 2022, arXiv 2209.14988, eq. 3 with a constant weight, from the picture as in Hertz et al. 2023
        (arXiv 2304.07090); levels uniform in s and the strength, which scales the steps, are ours.
    """

    name: ClassVar[str] = "sds"

    levels: Levels = (0.95, 0.05)
    steps: Count = 28
    step_size: Positive = 0.1
    guidance: Guidance = 2.0

    @property
    def keeps_equal_texts(self) -> bool:
        """The source text plays no part."""
        return False

    def evaluations(self, latent: JointLatent, *, strength: float = 1.0) -> int:
        """``steps``, twice that if guided."""
        return 0 if strength == 0 else self.steps * latent.backbone.capabilities.branches(self.guidance)

    def _edit(
        self, latent: JointLatent, target: Condition, *, strength: float, seed: Seed, progress: Progress | None
    ) -> Float[Tensor, "b *latent"]:
        check_ascent(self.name, strength)
        y = latent.z
        field = GuidedField(backbone=latent.backbone, condition=target, guidance=self.guidance)
        levels = levels_of_each(latent, self.levels, self.steps, seed=seed, purpose="sds levels")
        for index, level in enumerate(levels):
            at, s, clean = level_weights(level, y)
            noise = noise_like(y, seed=seed, purpose="sds", index=index)
            v = field(clean * y + s * noise, at)
            step = per_element((strength * self.step_size * (1 - level)).to(y), y)
            y = y - step * (v - (noise - y))
            if progress is not None:
                progress(self.name, index + 1, self.steps)
        return y
