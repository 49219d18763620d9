"""Inversion of an image up to a level, and the aligned way back that retraces it bit for bit.

An inversion walks rising levels ``0 = s_0 < ... < s_N`` with explicit Euler and stores every velocity:
``Z_{i+1} = Z_i + (s_{i+1} - s_i) v(Z_i, s_i, c0)``. The way back aligns each step with the one that it undoes: it
evaluates the network at ``z + (Z_i - Z_{i+1})`` and at the level ``s_i``. Written with the displacement ``u = z - Z``

    u_i = u_{i+1} - (s_{i+1} - s_i) (v(Z_i + u_{i+1}, s_i, c) - v(Z_i, s_i, c0)),

it is the same step, and with ``u = 0`` and an unchanged condition the bracket is zero to the last bit.

Public codes of DDIM inversion evaluate a step at the state where it begins and the *time* where it ends. Plain ways
back come nearer to the image after that with few steps of a network that predicts noise, where it is the default.
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.console import Progress
from latentedit.core.errors import ConfigError, explaining
from latentedit.encoding.joint import JointLatent
from latentedit.models.guidance import GuidedField
from latentedit.numerics.condition import Condition
from latentedit.numerics.flow import LevelGrid, level_batch
from latentedit.numerics.solvers import each_step

_STEPS = 28  # steps without a grid
_LOWEST = 0.5  # levels from which an image at level 0 is nothing that a network saw
End = Literal["start", "end"]  # end of a step at which the network's time is taken


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InversionTrace:
    """The states and velocities of an inversion.

    Laws:
        1. ``states[i + 1] == states[i] + (levels[i + 1] - levels[i]) * velocities[i]``.
        2. `replay` of an untouched trace under its own condition returns ``states[0]`` bit for bit, if the times of its
           velocities are those of the start of a step.
    """

    levels: tuple[float, ...]  # rising, from the clean end
    states: tuple[Float[Tensor, "b *latent"], ...]  # the latents at each level; the first is the image
    velocities: tuple[Float[Tensor, "b *latent"], ...]  # at each level but the last

    @property
    def top(self) -> Float[Tensor, "b *latent"]:
        """The latents at the highest level."""
        return self.states[-1]

    def repeat(self, times: int) -> "InversionTrace":
        """The trace of the batch repeated ``times`` times, as `JointLatent.repeat`."""
        ones = [1] * (self.top.ndim - 1)
        return InversionTrace(
            levels=self.levels,
            states=tuple(state.repeat(times, *ones) for state in self.states),
            velocities=tuple(velocity.repeat(times, *ones) for velocity in self.velocities),
        )


@explaining
def invert(
    latent: JointLatent, grid: LevelGrid | None = None, *, time: End = "start", progress: Progress | None = None
) -> InversionTrace:
    """Carry images up to the top of a grid of falling levels, under their own captions, without guidance.

    Without a grid it is the model's own, of 28 steps.

    DDIM inversion in flow coordinates, at one evaluation per step; the stored velocities follow DirectEdit. ``time`` is
    that of the network in a step from s to s': "end" is ``v(z, s')`` or, if the network predicts noise,
    ``(e_hat - z) / (1 - s)`` with the noise estimate at the latents of s and the time of s'.

    Raises:
        ConfigError: a model without levels near the image.
    """
    given: Any = latent  # a caller without types may pass a model
    if not isinstance(given, JointLatent):
        raise ConfigError("an inversion takes a latent. Give that of `latentedit.encode(model, image)`")
    capabilities = latent.backbone.capabilities
    if capabilities.s_min > _LOWEST:
        raise ConfigError(
            f"{latent.backbone.name} has no level below {capabilities.s_min:.4g}, so no image is carried up from 0. "
            "Use `edit_latent` or `identify`, which add noise instead"
        )
    levels = (latent.path(_STEPS) if grid is None else grid).levels[::-1]
    field = GuidedField(backbone=latent.backbone, condition=latent.condition)
    states, velocities = [latent.z], list[Tensor]()
    for _, s, s_next in each_step(levels, name="integrate", progress=progress):
        # Variance-preserving models know no level 0.
        z, at = states[-1], max(s if time == "start" else s_next, capabilities.s_min)
        if time == "end" and capabilities.predicts_noise:  # the same latents in the network's coordinates, at `at`
            there = math.hypot(1 - at, at) / math.hypot(1 - s, s) * z
            velocities.append((there + (1 - at) * field(there, level_batch(at, z)) - z) / (1 - s))
        else:
            velocities.append(field(z, level_batch(at, z), s_next))
        states.append(z + (s_next - s) * velocities[-1])
    return InversionTrace(levels=levels, states=tuple(states), velocities=tuple(velocities))


def aligned_steps(
    latent: JointLatent, trace: InversionTrace, *, name: str = "return", progress: Progress | None = None
) -> Iterator[tuple[int, float, float, Float[Tensor, " b"]]]:
    """The steps of an aligned way back from the top of a trace, ``(i, s_{i+1}, s_i, levels)``.

    In step i the network is evaluated at ``trace.states[i] + u_{i+1}`` and at ``levels``, which is ``s_i`` for every
    image, but not below the model's lowest level; ``trace.velocities[i]`` is its answer on the way up.
    """
    lowest = latent.backbone.capabilities.s_min
    for done, s, s_next in each_step(trace.levels[::-1], name=name, progress=progress):
        yield len(trace.velocities) - 1 - done, s, s_next, level_batch(s_next, latent.z).clamp_min(lowest)


@explaining
def retrace(
    latent: JointLatent,
    trace: InversionTrace,
    condition: Condition,
    *,
    offset: Float[Tensor, "#b *latent"] | None = None,
    guidance: float = 1.0,
    progress: Progress | None = None,
) -> Float[Tensor, "b *latent"]:
    """The aligned way back from the top of a trace, under another condition or from a moved start.

    ``u_i = u_{i+1} - (s_{i+1} - s_i) (v_w(Z_i + u_{i+1}, s_i, c) - v(Z_i, s_i, c0))``, returned as ``Z_0 + u_0``, with
    ``u_N`` the offset from ``trace.top``. It costs an evaluation per step, two with guidance. The alignment is that of
    DirectEdit, rewritten in displacements so that rounding cannot break the retrace.
    """
    assert trace.states[0] is latent.z or torch.equal(trace.states[0], latent.z), "the trace is of other latents"
    field = GuidedField(backbone=latent.backbone, condition=condition, guidance=guidance)
    delta = torch.zeros_like(latent.z) if offset is None else offset.expand_as(latent.z)
    for index, s, s_next, levels in aligned_steps(latent, trace, progress=progress):
        again = field(trace.states[index] + delta, levels, s)  # the way up ended at s, too
        delta = delta + (s_next - s) * (again - trace.velocities[index])
    return trace.states[0] + delta
