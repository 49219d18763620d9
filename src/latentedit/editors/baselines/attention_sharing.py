"""Editors whose way down shares attention with the image: keys and values of its path, or values of the way up."""

import abc
import dataclasses
from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field as Constraint
from torch import Tensor

from latentedit.core.console import Progress
from latentedit.core.errors import ConfigError
from latentedit.core.setting import Guidance, Natural, Positive, Share, settings
from latentedit.editors.base import rehearsed
from latentedit.editors.baselines.walks import Walk
from latentedit.editors.edit import Edit, Latents, Under
from latentedit.encoding.inversion import End
from latentedit.models.base import Backbone
from latentedit.models.guidance import GuidedField, unguided
from latentedit.models.sites import AttentionFeatures
from latentedit.numerics.flow import level_batch
from latentedit.numerics.solvers import Field, MidpointSolver, each_step, integrate

# An evaluation of a walk: its step, and whether it is at the step's beginning (0) or in its middle (1).
Evaluation = tuple[int, int]


@settings
class ValueSharing(Walk):
    """Up under c0 and down under ``c0 + strength (c1 - c0)``, by one solver; attention values may be shared.

    The way down evaluates at other points than the way up, so even an unchanged text returns only near the image.
    Strength by the text is ours. The values come from the same step, from its beginning to its beginning and from its
    middle to its middle, although the two ways begin a step at different ends, as the published code has them. With
    guidance both branches get them.

    Sharing takes no evaluation, and the memory of the values: of each layer, evaluation and image its tokens. A
    network whose attention cannot be reached is refused. Subclasses write `_evaluations` and `_walk`.
    """

    steps_by_map: ClassVar[bool] = False
    guidance: Guidance = 1.0  # classifier-free guidance weight of the way down
    share: Natural = 0  # how many steps of the way down, the first ones, have the values of the way up
    first_layer: Share = 0.5  # where in the network that begins, as a share of its attention layers
    loses_equal_texts: ClassVar[bool] = True  # the way down misses the image by the solver's error

    def cost(self, edit: Edit) -> int:
        """Evaluations of the same walk without sharing."""
        return rehearsed(dataclasses.replace(self, share=0), edit)

    def move(self, edit: Edit) -> Latents:
        levels = edit.path(self.steps, self.level).levels
        up, down = self._fields(edit, len(levels) - 1)
        return self._walk(down, self._walk(up, edit.x, levels[::-1], edit.progress), levels, edit.progress)

    def _fields(self, edit: Edit, steps: int) -> tuple[Field, Field]:
        """The velocities of the way up and of the way down, each in ``steps`` steps."""
        backbone = edit.backbone
        source = GuidedField(backbone=backbone, condition=edit.latent.condition)
        target = GuidedField(backbone=backbone, condition=edit.text, guidance=self.guidance)
        names = [f"{layer}.value" for layer in layers_from(backbone, self.first_layer)] if self.share else []
        low, high = backbone.capabilities.s_min, backbone.capabilities.s_max
        # The fields are called by solvers, which do not say which evaluation it is; so it is counted.
        rising = iter([(steps - 1 - step, half) for step, half in self._evaluations(steps)])
        falling = iter(self._evaluations(steps))
        values: dict[Evaluation, AttentionFeatures] = {}

        def up(z: Tensor, s: Tensor) -> Tensor:
            evaluation, s = next(rising), s.clamp(low, high)
            if evaluation[0] >= self.share:
                return source(z, s)
            v, values[evaluation] = backbone.velocity_keeping(z, s, source.condition, names)
            return v

        def down(z: Tensor, s: Tensor) -> Tensor:
            return target(z, s.clamp(low, high), given=values.pop(next(falling), None))

        return up, down

    @abc.abstractmethod
    def _walk(self, field: Field, z: Latents, levels: Sequence[float], progress: Progress | None) -> Latents:
        """From latents at the first level to the last, rising or falling."""

    @abc.abstractmethod
    def _evaluations(self, steps: int) -> list[Evaluation]:
        """The evaluations of a walk of ``steps`` steps, in order."""


@settings
class RFSolver(ValueSharing):
    """RF-Solver: inversion and sampling with the explicit midpoint rule; attention values may be shared.

    Up under c0 and down under ``c0 + strength (c1 - c0)``, both ``z <- z + h v + h^2/2 dv/ds``. With
    ``dv/ds = (v(z + h/2 v, s + h/2) - v(z, s)) / (h/2)`` this is the explicit midpoint rule. With ``share``, 2 to
    5 of 25 in the published scripts, the way down has values of the way up; see `ValueSharing`.

    Source:
        Wang et al. 2024, arXiv 2411.04746, equation of the second-order step; sharing from its code for FLUX.1, in the
        last 18 of 57 layers. There the text's values are shared, too; here those of the image only.
    """

    name: ClassVar[str] = "rf-solver"

    first_layer: Share = 0.684

    def _evaluations(self, steps: int) -> list[Evaluation]:
        return [(step, half) for step in range(steps) for half in (0, 1)]

    def _walk(self, field: Field, z: Latents, levels: Sequence[float], progress: Progress | None) -> Latents:
        return integrate(field, z, levels, MidpointSolver(), progress=progress)


@settings
class FireFlow(ValueSharing):
    """FireFlow: the midpoint rule at the cost of Euler's, with the last midpoint's velocity as the next step's first.

    Up under c0 and down under ``c0 + strength (c1 - c0)``, both ``z <- z + h u'``, ``u' = v(z + h/2 u, s + h/2)``, u
    the last step's u', and ``v(z, s)`` at the first. It is of second order: u misses ``v(z, s)`` by an order of h, and
    comes into the step with another h^2. With ``share``, 1 of 8 in the published scripts, the way down has attention
    values of the way up, see `ValueSharing`; its very first velocity has its own.

    Source:
        Deng et al. 2024, arXiv 2412.07517, algorithm 1; sharing from its code for FLUX.1, in the last 38 of 57 layers.
        There the text's values are shared, too; here those of the image only.
    """

    name: ClassVar[str] = "fireflow"

    first_layer: Share = 0.333

    def _evaluations(self, steps: int) -> list[Evaluation]:
        return [(0, 0), *((step, 1) for step in range(steps))]

    def _walk(self, field: Field, z: Latents, levels: Sequence[float], progress: Progress | None) -> Latents:
        velocity = field(z, level_batch(levels[0], z))
        for _, s, s_next in each_step(levels, name=self.name, progress=progress):
            half = (s_next - s) / 2
            velocity = field(z + half * velocity, level_batch(s + half, z))
            z = z + (s_next - s) * velocity
        return z


@settings
class MutualAttention(Walk):
    """Invert under a text, then sample down under ``c0 + strength (c1 - c0)`` with the image's own keys and values.

    At each level the network runs twice: at the image's state of the inversion under that text, where keys and
    values of some attention layers are kept, and at the edit, which has them in place of its own, in both branches of
    guidance. (With a text of the image's own, MasaCtrl's code gives the unconditional branch those of the image
    under the empty text.) Its queries, and the text's keys and values, are its own. Strength by the text is ours. A
    network whose attention cannot be reached is refused. Subclasses write `_layers`.
    """

    guidance: Guidance = 1.0  # classifier-free guidance weight of the way down
    under: Under = "source"  # the image's text, on both ways
    time: End | None = (
        None  # time of the network in a step of the inversion; None is "end" where networks predict noise
    )
    nudge: Positive = 1.0  # factor of the clean latent before it is inverted
    loses_equal_texts: ClassVar[bool] = True  # the way down misses the image by the solver's error

    def cost(self, edit: Edit) -> int:
        """``k (1 up + 1 down, or 2 down if guided)``, and one of the image in each step that attends to it."""
        k = edit.path(self.steps, self.level).steps
        return k * (1 + edit.branches(self.guidance)) + k - self._first(k)

    def move(self, edit: Edit) -> Latents:
        backbone = edit.backbone
        names = [f"{layer}.{part}" for layer in self._layers(backbone) for part in ("key", "value")]
        latent = edit.under(self.under)
        nudged = dataclasses.replace(latent, z=self.nudge * edit.x)
        trace = edit.ddim_inversion(edit.path(self.steps, self.level), self.time, nudged)
        source = unguided(backbone, latent.condition)
        field = GuidedField(backbone=backbone, condition=edit.text, guidance=self.guidance)
        z, first = trace.top, self._first(len(trace.velocities))
        for index, s, s_next in edit.steps(trace.levels[::-1]):
            levels, given = level_batch(s, z), None
            if index >= first:
                _, given = backbone.velocity_keeping(trace.states[-1 - index], levels, source, names)
            z = z + (s_next - s) * field(z, levels, s_next, given=given)
        return z

    @abc.abstractmethod
    def _layers(self, backbone: Backbone) -> Sequence[str]:
        """The layers whose keys and values the edit takes from the image."""

    def _first(self, steps: int) -> int:
        """The first of ``steps`` steps down that attends to the image."""
        return 0


@settings
class MasaCtrl(MutualAttention):
    """MasaCtrl: the way down attends to the image's own path, from some step and layer on.

    Mutual self-attention: the edit's queries meet keys and values of the image, ``softmax(Q K0^T) V0``. Where
    attention is joint, the text's keys and values are those of the edit.

    Args:
        start: share of the steps that go by before, in which the layout is formed.
        first_layer: where in the network it begins, as a share of its attention layers.
        under: the image's text, on both ways: published is none.
        time: of the network in a step of the inversion, see `invert`; None is "end" where networks predict noise.
        nudge: factor of the clean latent before it is inverted; 1 is the published method.

    Source:
        Cao et al. 2023, arXiv 2304.08465, eq. 3, with step 4 of 50 and layer 10 of 16. As its code offers, the image
        passes through the states of the inversion; the paper's other way lets the image walk down by itself, under
        the empty text, from where the inversion ended.
    """

    name: ClassVar[str] = "masactrl"

    start: Share = 0.08
    first_layer: Share = 0.625

    def _layers(self, backbone: Backbone) -> Sequence[str]:
        return layers_from(backbone, self.first_layer)

    def _first(self, steps: int) -> int:
        return round(self.start * steps)


@settings
class StableFlow(MutualAttention):
    """Stable Flow: the image's own keys and values in the few vital layers, after a small shift of the latent.

    Image and edit go side by side from the same noise.

    Args:
        layers: the vital ones by number, negative from the last; those that the network lacks are left out. The
            defaults are where the double blocks of FLUX.1 have theirs: its first and last two.
        nudge: factor of the clean latent before it is inverted, which makes the inversion easier to come back from.
        under: the image's text, on both ways.
        time: of the network in a step of the inversion, see `invert`; None is "end" where networks predict noise.

    Raises:
        ConfigError: from ``edit``: a network that has none of the layers.

    Source:
        Avrahami et al. 2024, arXiv 2411.14430, with its code for FLUX.1: 9 of 57 layers, nudge 1.15, time "end".
    """

    name: ClassVar[str] = "stable-flow"

    layers: Annotated[tuple[int, ...], Constraint(min_length=1)] = (0, 1, -2, -1)
    nudge: Positive = 1.15

    def _layers(self, backbone: Backbone) -> Sequence[str]:
        names = layers_from(backbone, 0)
        vital = {number % len(names) for number in self.layers if -len(names) <= number < len(names)}
        if not vital:
            raise ConfigError(
                f"{backbone.name} has {len(names)} attention layers, numbers 0 to {len(names) - 1}; got layers "
                f"{list(self.layers)}. Name at least one of them"
            )
        return [names[number] for number in sorted(vital)]


def layers_from(backbone: Backbone, first: float) -> tuple[str, ...]:
    """The attention layers of a network from a share of them on, at least one; a network without any is refused."""
    layers = backbone.attention_layers
    if not layers:
        raise ConfigError(
            f"{backbone.name} has no attention whose keys and values can be reached, so none can be shared. Use an "
            "editor that shares none, such as flowedit"
        )
    return layers[min(round(first * len(layers)), len(layers) - 1) :]
