"""Editors inside a mask of where two texts differ: the pixels at which their velocities differ most."""

from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from latentedit.core.setting import Count, Guidance, Positive, Scale, Share, Start, check_pairs, settings
from latentedit.editors.baselines.flow_paths import FlowEdit
from latentedit.editors.baselines.walks import Walk
from latentedit.editors.edit import Edit, Latents, Under
from latentedit.encoding.inversion import End
from latentedit.numerics.flow import level_batch, per_element
from latentedit.numerics.progress import note_estimate
from latentedit.numerics.solvers import EulerSolver


@settings
class DiffEdit(Walk):
    """DiffEdit: a mask from the texts, inversion, and a way down that changes only what is inside the mask.

    ``z <- m (z + (s' - s) v_w(z, s, c)) + (1 - m) Z(s')``, down from the top of the inversion Z. The mask m is where
    the two texts' estimates differ most (`difference_mask`); outside of it the image comes back bit for bit. The text
    of the way down is ``c0 + strength (c1 - c0)``, which is ours: the mask does not depend on the strength, and inside
    it small strengths tend to a reconstruction under the source text, not to the image.

    Args:
        under: text of the inversion; the empty one as published.
        time: of the network in a step of the inversion, see `invert`; None is "end" where networks predict noise.
        mask_level: level of the latents from which the mask is made, clipped to the model's range.
        maps: noises averaged for the mask.
        antithetic: they come in pairs e and -e.
        shift: spacing of the levels as in `HSDS`; None is that of the model's own grid.
        ratio: a pixel is inside where the map is above ``ratio / 2`` times its mean.

    Source:
        Couairon et al. 2022, arXiv 2210.11427. diffusers' pipeline blends each step with the inverted latent of the
        level before the step; here it is that of the level at which the step ends, as published. Of SD, its half of the
        steps is a mask level of .60, and its .8 a level of .82.
    """

    name: ClassVar[str] = "diffedit"

    level: Start = 0.8
    guidance: Guidance = 2.0
    under: Under = "empty"
    time: End | None = None
    mask_level: Share = 0.5
    maps: Count = 10
    antithetic: bool = False
    shift: Positive | None = None
    ratio: Scale = 3.0

    def __post_init__(self) -> None:
        check_pairs(self.maps, antithetic=self.antithetic)

    def move(self, edit: Edit) -> Latents:
        pairs = self.antithetic
        mask = difference_mask(edit, level=self.mask_level, maps=self.maps, ratio=self.ratio, antithetic=pairs)
        trace = edit.ddim_inversion(edit.path(self.steps, self.level, self.shift), self.time, edit.under(self.under))
        field, z = edit.field(edit.text, self.guidance), trace.top
        for index, s, s_next in edit.steps(trace.levels[::-1]):
            z = torch.where(mask, EulerSolver().step(field, z, s, s_next), trace.states[-2 - index])
        return z


def difference_map(edit: Edit, *, level: float, maps: int, antithetic: bool = False) -> Float[Tensor, "b *place"]:
    """``mean |v(x_s, c1) - v(x_s, c0)|`` over noises and channels, ``x_s = (1 - s) x + s e``.

    A guided difference of noise estimates, ``e_hat_w(c1) - e_hat_w(c0)``, is ``w (1 - s)`` times this one: the
    unconditional branch cancels. So guidance would cost twice as much and change no mask that is relative. The two
    texts are calls of one shape, so equal texts give exactly zero. It costs ``2 * maps`` evaluations per image.
    Latents without height and width are not averaged over channels. Couairon et al. 2022, arXiv 2210.11427, step 1.
    """
    x, backbone = edit.x, edit.backbone
    s = backbone.capabilities.level(level)
    noise = edit.noise("difference mask", count=maps, antithetic=antithetic)
    noisy = ((1 - s) * x + s * noise).flatten(0, 1)
    at = level_batch(s, noisy)
    target, source = (backbone.velocity(noisy, at, c.repeat(maps)) for c in edit.texts[::-1])
    difference = (target - source).abs().unflatten(0, (maps, len(x))).mean(0)
    return difference.mean(1, keepdim=True) if x.ndim == 4 else difference


def binarised(difference: Float[Tensor, "b *place"], ratio: float) -> Bool[Tensor, "b *place"]:
    """Where a map is above ``ratio / 2`` times the mean of its image; 3 is the published ratio.

    The published form clamps the map at ``ratio`` times the mean, divides by that and cuts at one half, which is the
    same. Each image has its own mean, where diffusers takes one of the batch.
    """
    return difference > ratio / 2 * per_element(difference.flatten(1).mean(1), difference)


def difference_mask(
    edit: Edit, *, level: float, maps: int, ratio: float, antithetic: bool = False
) -> Bool[Tensor, "b *place"]:
    """`difference_map`, `binarised`: true where the texts differ; it broadcasts against latents."""
    how: dict[str, Any] = {"level": level, "maps": maps, "antithetic": antithetic}
    return binarised(edit.once(f"difference map {how}", lambda: difference_map(edit, **how)), ratio)


# Radii of SAM-Flow's code at the first and the last step; its radii are 6 and 3 of 64 positions.
_QUANTILES, _SHARPNESS, _RADII = (0.6, 0.8), (5.0, 20.0), (6 / 64, 3 / 64)
_THRESHOLDS = (0.1, 0.6)  # limits of the threshold that the quantile gives


@settings
class SAMFlow(FlowEdit):
    """SAM-Flow: FlowEdit's difference of velocities inside a mask that grows over the steps.

    ``f <- f + (s' - s) strength mean[v(a + d, s, c1) - v(a, s, c0)]`` and ``d = W f``, from d = f = 0, with
    ``a = (1 - s) x + s e``; the result is ``x + C W f + (1 - C) R ring H f``. The regions are largest values over the
    steps so far, of a map m in [0, 1], with q from .6 to .8, k from 5 to 20 and the radius r falling to half::

        M = sigmoid(k (m - min(max(quantile(m, q), .1), .6))),   C = [M > core],   M = 1 in C
        R = dilate(C, r) - C,   H = M + ring R (1 - M),   W = slack + (1 - slack) H

    Args:
        core: above this value of M the change is whole.
        ring: weight of the transition around the core, in the mask and in the result.
        slack: share of the change outside that the next steps see; the result has none of it.

    Source:
        Cui et al. 2026, arXiv 2606.06228, in the form of its code for SD3 (FLUX: core .85, ring .35, slack .05). Its m
        is the larger of two token attentions, of the image and of a scout image that FlowEdit makes before, for words
        that a person names. Ours is ``mean |v(a + d, s, c1) - v(a, s, c0)|`` over noises and channels, averaged over
        3 x 3 positions and scaled from 0 to 1 in each image: it needs neither words nor a scout, and costs nothing. q,
        k and r run over the steps of the path, not of the whole grid; latents without height and width have no ring.
    """

    name: ClassVar[str] = "sam-flow"

    core: Share = 0.5
    ring: Share = 0.5
    slack: Share = 0.03

    def move(self, edit: Edit) -> Latents:
        x, grid, (source, target) = edit.x, edit.path(self.steps, self.level, self.shift), self.fields(edit)
        delta = whole = torch.zeros_like(x)
        core = ring = hard = torch.zeros_like(x[:, :1] if x.ndim == 4 else x)
        for index, s, s_next in edit.steps(grid.levels):
            a, b = self.noised(edit, index, s, delta)
            at = level_batch(s, a)
            dv = target(b, at, s_next) - edit.at_image(index, source, a, at, s_next)
            dv = dv.unflatten(0, (self.noises, -1))
            whole = whole + (s_next - s) * edit.strength * dv.mean(0)
            found = self._regions(dv.abs().mean(0), index / grid.steps)
            core, ring, hard = (torch.maximum(old, new) for old, new in zip((core, ring, hard), found, strict=True))
            delta = (self.slack + (1 - self.slack) * hard) * whole
            note_estimate(edit.progress, x, delta)
        return x + torch.where(core > 0, delta, ring * self.ring * hard * whole)

    def _regions(self, size: Latents, progress: float) -> tuple[Tensor, Tensor, Tensor]:
        """C, R and H of one step."""
        q, sharpness, radius = (a + (b - a) * progress for a, b in (_QUANTILES, _SHARPNESS, _RADII))
        spatial = size.ndim == 4
        if spatial:
            size = functional.avg_pool2d(functional.pad(size.mean(1, keepdim=True), (1,) * 4, mode="replicate"), 3, 1)
        flat = size.flatten(1)
        low, high = flat.amin(1), flat.amax(1)
        flat = (flat - low[:, None]) / (high - low).clamp_min(torch.finfo(flat.dtype).tiny)[:, None]
        threshold = torch.quantile(flat, q, dim=1, keepdim=True).clamp(*_THRESHOLDS)
        inside = torch.sigmoid(sharpness * (flat - threshold)).reshape(size.shape)
        core = (inside > self.core).to(size)
        ring = torch.zeros_like(core)
        if spatial:
            wide = max(1, round(radius * min(size.shape[-2:])))
            ring = functional.max_pool2d(core, 2 * wide + 1, 1, wide) - core
        inside = torch.where(core > 0, torch.ones_like(inside), inside)
        return core, ring, inside + self.ring * ring * (1 - inside)
