"""The velocity under a text, for walks that may ask for it just outside the levels that a model knows."""

from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.solvers import Field
from latentedit.latents.joint import JointLatent
from latentedit.models.guidance import GuidedField


def text_field(latent: JointLatent, condition: Condition, *, guidance: float = 1.0) -> Field:
    """``(z, s) -> v_w(z, s, c)`` with s cut to ``[s_min, s_max]`` of the model.

    Walks of variance-preserving models end, as `latentedit.latents.inversion.invert` starts, at the model's clean end,
    which may lie below the lowest level that the network knows.

    Args:
        latent: whose backbone is asked.
        condition: c, one text or one a picture.
        guidance: classifier-free guidance weight; 1 is the conditional velocity.

    Cost:
        A call of the field takes one evaluation an element, two with guidance.
    """
    field = GuidedField(backbone=latent.backbone, condition=condition, guidance=guidance)
    known = latent.backbone.capabilities

    def velocity(z: Float[Tensor, "b *latent"], s: Float[Tensor, " b"]) -> Float[Tensor, "b *latent"]:
        return field(z, s.clamp(known.s_min, known.s_max))

    return velocity
