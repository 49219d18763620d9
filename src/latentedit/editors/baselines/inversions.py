"""Editors that invert: up to a noise level under the source text, and down again under another."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from latentedit.core.errors import ConfigError
from latentedit.core.setting import Count, Guidance, Level, Share, Start, Weight, settings
from latentedit.editors.baselines.walks import PairedRuns, Walk
from latentedit.editors.edit import Edit, Latents, Under
from latentedit.encoding.inversion import End, retrace
from latentedit.numerics.condition import Condition
from latentedit.numerics.flow import level_batch, per_element
from latentedit.numerics.solvers import EulerSolver, integrate


@settings
class Inversion(Walk):
    """Edits by inversion: up under the source text, down under the target.

    Invert under c0 up to ``level``, then sample down under ``c0 + strength (c1 - c0)``. The way down evaluates at other
    points than the way up, so even an unchanged text returns only near the image.

    Args:
        time: of the network in a step of the inversion, see `invert`; None is "end" where networks predict noise.

    Source:
        DDIM inversion and its dual use (Su et al. 2022, arXiv 2203.08382) in flow coordinates; strength by
        interpolating the text is ours. Public codes take the time of a step's end on every network.
    """

    name: ClassVar[str] = "inversion"
    loses_equal_texts: ClassVar[bool] = True  # the way down misses the image by the solver's error

    guidance: Guidance = 1.0
    time: End | None = None

    def move(self, edit: Edit) -> Latents:
        trace = edit.ddim_inversion(edit.path(self.steps, self.level), self.time)
        field = edit.field(edit.text, self.guidance)
        return integrate(field, trace.top, trace.levels[::-1], EulerSolver(), progress=edit.progress)


@settings
class AlignedInversion(Walk):
    """Edits by aligned inversion: up under the source text, down under the target, aligned with the inversion.

    Invert under c0 up to ``level``, then return aligned under ``c0 + strength (c1 - c0)``.

    Args:
        guidance: classifier-free guidance weight of the way back; 1 keeps the retrace exact.

    Source:
        DirectEdit's alignment; strength by interpolating the text is ours.
    """

    name: ClassVar[str] = "aligned-inversion"

    guidance: Guidance = 1.0

    @property
    def keeps_equal_texts(self) -> bool:
        """Without guidance the way back retraces the way up."""
        return self.guidance == 1

    def move(self, edit: Edit) -> Latents:
        trace = edit.invert(edit.path(self.steps, self.level))
        return retrace(edit.latent, trace, edit.text, guidance=self.guidance, progress=edit.progress)


@settings
class RFInversion(PairedRuns):
    """RF-Inversion: a controlled way up to a given noise, and a controlled way down, pulled toward the image.

    Up: ``dY/ds = (1 - gamma) v(Y, s, "") + gamma (e - Y) / (1 - s)``, down: ``dX/ds = (1 - k) r + k v(X, s, c1)``.
    ``r = (X - x) / s`` leads straight to the image and ``k = strength (1 - eta_i)``, where ``eta_i`` is ``eta`` on
    the steps from ``start`` to ``stop`` and 0 on the others. Strength 1 is the published method; that strength scales
    what is not the straight way is ours: towards strength 0 the edit goes to the image continuously. The level in r
    counts from the clean end of the grid, which is 0 for rectified flow.

    Args:
        gamma: share of the straight way to the noise on the way up, in [0, 1].
        eta: share of the straight way to the image on the way down, in [0, 1].
        start: first step on which eta acts, as a share of the steps of the way down.
        stop: first step on which it no longer acts, likewise.
        up_guidance: weight of the way up, for networks that take it as an input; the empty text has no other.
        legacy: the way up as diffusers' pipeline has it: its i-th step of N has the length of the i-th step of the way
            *down*, and the network and the control get the level ``i / (N + 1)`` of the way.

    Raises:
        ConfigError: a setting outside its range, or a stop that is not after the start.

    Source:
        Rout et al. 2024, arXiv 2410.10792, equations of the controlled ODEs in levels; the code: diffusers' community
        pipeline for FLUX, whose way up has guidance weight 0. Its stochastic way down is not here.
    """

    name: ClassVar[str] = "rf-inversion"

    gamma: Share = 0.5
    eta: Share = 0.9
    start: Share = 0.0
    stop: Share = 0.25
    guidance: Guidance = 1.0
    up_guidance: Guidance = 1.0
    legacy: bool = False

    def __post_init__(self) -> None:
        if self.stop < self.start:
            raise ConfigError(f"stop must not come before start ({self.start:g}); got {self.stop:g}. Exchange them")

    @property
    def keeps_equal_texts(self) -> bool:
        """Only the straight way ends at the image."""
        return self.eta == 1 and self.start == 0 and self.stop == 1

    def run(self, edit: Edit) -> Latents:
        levels = edit.path(self.steps, self.level, self.shift).levels
        clean, steps = levels[-1], len(levels) - 1
        delta = self._up(edit, levels) - edit.x
        field = edit.field(edit.target, self.guidance)
        held = range(int(self.start * steps), int(self.stop * steps))  # rounded down, as published
        for index, s, s_next in edit.steps(levels):
            free = edit.strength * (1 - self.eta) if index in held else edit.strength
            z = edit.x + delta
            straight = delta / (s - clean)
            velocity = field(z, level_batch(s, z))
            delta = (s_next - clean) / (s - clean) * delta + (s_next - s) * free * (velocity - straight)
        return edit.x + delta

    def _up(self, edit: Edit, levels: Sequence[float]) -> Latents:
        backbone, z, noise = edit.backbone, edit.x, edit.noise()
        weight = self.up_guidance if backbone.capabilities.guidance_kind == "embedded" else 1.0
        field = edit.field(backbone.null(edit.latent.condition).expand(len(z)), weight)
        for index, below, above in edit.steps(levels[::-1], name="invert"):
            s, length = below, above - below
            if self.legacy:
                s = levels[-1] + (levels[0] - levels[-1]) * index / len(levels)
                length = levels[index] - levels[index + 1]
            velocity = field(z, level_batch(s, z))
            # 1 - s is never 0: the walk may end at level 1, but no step begins there.
            z = z + length * ((1 - self.gamma) * velocity + self.gamma * (noise - z) / (1 - s))
        return z


@settings
class UniEdit(Walk):
    """Uni-Edit: inversion with a re-used velocity, then steps corrected and masked by the difference of two texts.

    Up by Uni-Inv, ``z <- z + h u'`` with ``u' = v(z + h u, s')``, u the last step's u' and ``v(z, s)`` at the first: it
    evaluates where Euler's way back will, which under one text therefore undoes it up to ``h^3`` a step. Then down by
    ``z <- z + h (v0 + strength (m d + weight (1 + m) d))``, ``d = v(z, s, c1) - v(z, s, c0)``, ``v0 = v(z, s, c0)``;
    ``m`` is the mask `region_mask` of d. At strength 1 this is the published step: a velocity that the mask mixes,
    ``m v(c1) + (1 - m) v(c0)``, and a correction ``weight (1 + m) d``. That strength scales d is ours; the mask does
    not depend on it.

    Args:
        level: how far up, in (0, 1]. Published are 9 of 15 steps: .6 on a uniform grid, .80 on SD3's, .83 on FLUX.1's.
        weight: of the correction.
        under: text of the inversion. The images' own, which is ours, keeps more of the image.
        patch: side, in latents, of the squares over which the mask averages: in the code for FLUX.1 its tokens, 2.

    Source:
        Jiao et al. 2025, UniEdit-Flow, arXiv 2504.13109, algorithms 1 and 2, with the mask of its code for FLUX.
    """

    name: ClassVar[str] = "uni-edit"
    loses_equal_texts: ClassVar[bool] = True  # the way down misses the image by the solver's error
    steps_by_map: ClassVar[bool] = False

    level: Start = 0.6
    steps: Count = 15
    weight: Weight = 5.0
    under: Under = "empty"
    patch: Count = 1

    def move(self, edit: Edit) -> Latents:
        levels, z = edit.path(self.steps, self.level).levels, edit.x
        field = edit.field(edit.under(self.under).condition)
        velocity = field(z, level_batch(levels[-1], z))
        for _, s, s_next in edit.steps(levels[::-1], name="uni-inv"):
            velocity = field(z + (s_next - s) * velocity, level_batch(s_next, z))
            z = z + (s_next - s) * velocity
        both = edit.field(Condition.cat([edit.latent.condition, edit.target]))
        for _, s, s_next in edit.steps(levels):
            pair = torch.cat([z, z])
            source, target = both(pair, level_batch(s, pair)).chunk(2)
            d = target - source
            mask = region_mask(d, self.patch)
            z = z + (s_next - s) * (source + edit.strength * (mask + self.weight * (1 + mask)) * d)
        return z


def region_mask(d: Latents, patch: int = 1) -> Float[Tensor, "b *#latent"]:
    """Where two texts disagree: the mean of ``|d|`` over channels and patches, stretched to [0, 1] for each image.

    The first axis of a latent is its channels; a latent of one axis has none and is not averaged. Patches are squares
    of latents with height and width. The mask is 0 where all differences are alike.
    """
    size = d.abs() if d.ndim < 3 else d.abs().mean(dim=1, keepdim=True)
    if patch > 1 and d.ndim == 4:
        size = interpolate(avg_pool2d(size, patch, ceil_mode=True), size=size.shape[2:])
    low, high = (per_element(bound, d) for bound in (size.flatten(1).amin(1), size.flatten(1).amax(1)))
    return (size - low) / (high - low).clamp_min(torch.finfo(d.dtype).tiny)


@settings
class DNAEdit(PairedRuns):
    """DNAEdit: a noise that is aligned with the image step by step, then a way down towards a reference that moves.

    Align a noise with the image under c0, then come down under ``c1' = c0 + strength (c1 - c0)``.

    Way up, from a random e: ``w = (e - z) / (1 - s)``, ``p = z + (s' - s) w``, ``v = v(p, s', c0)``,
    ``z' = z + (s' - s) v`` and ``e' = e - (1 - s) (w - v)``, so that ``(e' - z') / (1 - s') = v``: z' stays on the line
    to e'. Way down over the same steps, with ``dv = v(z + p - z', s', c1') - v``: the reference
    ``m <- m + (s - s') dv`` starts at the image x, and ``z <- z + (s - s') (eta v(c1') + (1 - eta) (z - m) / s')``.
    Levels in quotients count from the clean end of the grid, which is 0 for rectified flow. Strength by interpolating
    the text is ours.

    Args:
        eta: share of the network's velocity on the way down; the rest leads to the reference.

    Source:
        Xie et al. 2025, arXiv 2506.01430 (direct noise alignment, mobile velocity guidance), in the order of its code.
    """

    name: ClassVar[str] = "dnaedit"

    level: Start = 0.85
    eta: Level = 0.8
    guidance: Guidance = 1.0

    @property
    def keeps_equal_texts(self) -> bool:
        """The way down retraces the way up with the network's velocity alone and no guidance."""
        return self.eta == 1 and self.guidance == 1

    def run(self, edit: Edit) -> Latents:
        levels = edit.path(self.steps, self.level, self.shift).levels
        field, z, e = edit.field(edit.latent.condition), edit.x, edit.noise()
        way_up: list[tuple[Tensor, Tensor, Tensor]] = []
        for _, s, s_next in edit.steps(levels[::-1], name="align"):
            straight = (e - z) / (1 - s)
            point = z + (s_next - s) * straight
            velocity = field(point, level_batch(s_next, z))
            z, e = z + (s_next - s) * velocity, e - (1 - s) * (straight - velocity)
            way_up.append((z, point, velocity))
        field = edit.field(edit.text, self.guidance)
        # Displacements from the way up are walked, not states, so that equal texts leave exactly zero.
        delta = drift = torch.zeros_like(z)  # z less the way up, and m less x
        for _, upper, lower in edit.steps(levels):
            state, point, velocity = way_up.pop()
            dv = field(point + delta, level_batch(upper, state)) - velocity
            drift = drift + (lower - upper) * dv
            back = (state + delta - edit.x - drift) / (upper - levels[-1]) - velocity
            delta = delta + (lower - upper) * (self.eta * dv + (1 - self.eta) * back)
        return edit.x + delta
