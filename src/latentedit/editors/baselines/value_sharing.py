"""Round trips whose way down attends to the values of the way up, in the steps nearest the noise."""

import abc

from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.settings import Natural, Share, settings
from latentedit.core.solvers import Field
from latentedit.editors.baselines.mutual_attention import layers_from
from latentedit.editors.baselines.round_trip import RoundTrip
from latentedit.latents.joint import JointLatent
from latentedit.models.guidance import GuidedField
from latentedit.models.sites import AttentionFeatures

Evaluation = tuple[int, int]
"""One of a walk: its step, and whether it is at the step's beginning (0) or in its middle (1)."""


@settings
class ValueSharing(RoundTrip):
    """A round trip whose way down may have the picture's attention values of the way up in place of its own.

    They come from the same step, from its beginning to its beginning and from its middle to its middle, although the
    two ways begin a step at different ends, as the published code has them. With guidance both branches get them.

    Subclasses write `_evaluations` too.

    Args:
        share: how many steps of the way down, the first ones, have the values of the way up; 0 are none.
        first_layer: where in the network that begins, as a share of its attention layers.

    Raises:
        ConfigError: from ``edit``, with ``share``: a network whose attention cannot be reached.

    Cost:
        Sharing takes no evaluation, and the memory of the values: of each layer, evaluation and picture its tokens.
    """

    share: Natural = 0
    first_layer: Share = 0.5

    def _fields(self, latent: JointLatent, text: Condition, steps: int) -> tuple[Field, Field]:
        backbone = latent.backbone
        source = GuidedField(backbone=backbone, condition=latent.condition)
        target = GuidedField(backbone=backbone, condition=text, guidance=self.guidance)
        names = [f"{layer}.value" for layer in layers_from(backbone, self.first_layer)] if self.share else []
        low, high = backbone.capabilities.s_min, backbone.capabilities.s_max
        rising = iter([(steps - 1 - step, place) for step, place in self._evaluations(steps)])
        falling = iter(self._evaluations(steps))
        kept: dict[Evaluation, AttentionFeatures] = {}

        def up(z: Tensor, s: Tensor) -> Tensor:
            evaluation, s = next(rising), s.clamp(low, high)
            if evaluation[0] >= self.share:
                return source(z, s)
            v, kept[evaluation] = backbone.velocity_keeping(z, s, source.condition, names)
            return v

        def down(z: Tensor, s: Tensor) -> Tensor:
            return target(z, s.clamp(low, high), given=kept.pop(next(falling), None))

        return up, down

    @abc.abstractmethod
    def _evaluations(self, steps: int) -> list[Evaluation]:
        """The evaluations of a walk of so many steps, in their order."""
