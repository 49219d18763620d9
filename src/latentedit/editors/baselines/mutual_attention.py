"""Walks down under another text that attend to the keys and values of the picture's own path."""

import abc
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.errors import ConfigError
from latentedit.core.progress import Progress
from latentedit.core.rng import Seed
from latentedit.core.settings import Guidance, Level, settings
from latentedit.core.solvers import each_step, level_batch
from latentedit.editors.baselines.path_editor import PathEditor, branches, towards
from latentedit.latents.inversion import InversionTrace, invert
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone
from latentedit.models.guidance import GuidedField


@settings
class MutualAttention(PathEditor):
    """Invert under c0, then sample down under ``c0 + strength (c1 - c0)`` with the picture's own keys and values.

    At each level the network runs twice: at the picture's state of the inversion under c0, where keys and values of
    some attention layers are kept, and at the edit, which has them in place of its own, in both branches of guidance.
    Its queries, and the text's keys and values, are its own. Strength by the text is ours.

    Subclasses write `_layers`, `_trace` and `_first`.

    Args:
        level: how far up, in (0, 1]; 1 is the whole path.
        guidance: classifier-free guidance weight of the way down.

    Raises:
        ConfigError: from ``edit``: a network whose attention cannot be reached.
    """

    level: Level = 1.0
    guidance: Guidance = 1.0

    @property
    def keeps_equal_texts(self) -> bool:
        """The way down misses the picture by the solver's error."""
        return False

    def _cost(self, k: int) -> int:
        """``k (1 up + 1 down, or 2 down if guided)``, and one of the picture in each step that attends to it."""
        return k * (1 + branches(self.guidance)) + k - self._first(k)

    def _edit(
        self, latent: JointLatent, target: Condition, *, strength: float, seed: Seed, progress: Progress | None
    ) -> Float[Tensor, "b *latent"]:
        del seed  # nothing is drawn
        backbone = latent.backbone
        names = [f"{layer}.{what}" for layer in self._layers(backbone) for what in ("key", "value")]
        trace = self._trace(latent, progress)
        source = GuidedField(backbone=backbone, condition=latent.condition)
        field = GuidedField(backbone=backbone, condition=towards(latent, target, strength), guidance=self.guidance)
        z, first = trace.top, self._first(len(trace.velocities))
        for index, s, s_next in each_step(trace.levels[::-1], name=self.name, progress=progress):
            levels, given = level_batch(s, z), None
            if index >= first:
                _, given = backbone.velocity_keeping(trace.states[-1 - index], levels, source.condition, names)
            z = z + (s_next - s) * field(z, levels, given=given)
        return z

    @abc.abstractmethod
    def _layers(self, backbone: Backbone) -> Sequence[str]:
        """The layers whose keys and values the edit takes from the picture."""

    @abc.abstractmethod
    def _first(self, steps: int) -> int:
        """The first of so many steps down that attends to the picture."""

    def _trace(self, latent: JointLatent, progress: Progress | None) -> InversionTrace:
        """The picture's own path."""
        return invert(latent, self._path(latent), progress=progress)


def reached_layers(backbone: Backbone) -> tuple[str, ...]:
    """`Backbone.attention_layers`.

    Raises:
        ConfigError: there are none.
    """
    if not backbone.attention_layers:
        raise ConfigError(
            f"{backbone.name} has no attention whose keys and values can be reached, so none can be shared. Use an "
            "editor that shares none, such as flowedit"
        )
    return backbone.attention_layers


def layers_from(backbone: Backbone, first: float) -> tuple[str, ...]:
    """The attention layers of a network from a share of them on, at least one.

    Raises:
        ConfigError: a network whose attention cannot be reached.
    """
    layers = reached_layers(backbone)
    return layers[min(round(first * len(layers)), len(layers) - 1) :]
