"""Edit-friendly inversion, and the editors that follow its noise maps.

The states are ``x_k = (1 - s_k) x + s_k e_k`` with independent noises e_k, so no state follows from the one before;
what an ancestral step (eta 1) down from x_k misses,

    r_k = x_{k+1} - mu_k(x_k, v(x_k, c0)),        mu_k(z, v) = (1 - s_{k+1}) x_hat + kept_k e_hat,

takes the place of its fresh noise. An edit makes the same steps with the same r_k from other velocities:
``y_{k+1} = mu_k(y_k, v_edit) + r_k``. Because mu_k is linear, the displacement ``d = y - x`` obeys

    d_{k+1} = mu_k(d_k, v_edit - v(x_k, c0)),     d_0 = 0,

in which r_k has dropped out. This form is used: where the two velocities are equal it leaves exactly the image,
which ``mu + r`` would miss by its rounding. The last step goes to the image itself, at level 0, where a step has no
fresh noise; so r is kept as a displacement and never divided by the share of it.
"""

import dataclasses
import math
from typing import Annotated, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from latentedit.core.setting import Count, Guidance, Natural, Share, Start, settings
from latentedit.editors.baselines.aligned_returns import Reference, strongest_places
from latentedit.editors.baselines.walks import PairedRuns
from latentedit.editors.edit import Edit, Latents, LevelBatch
from latentedit.numerics.flow import LevelGrid, level_batch, per_element
from latentedit.numerics.solvers import Field as VelocityField
from latentedit.numerics.solvers import stochastic_step


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NoiseMaps:
    """The states of an edit-friendly inversion."""

    levels: tuple[float, ...]  # falling; the last is 0
    states: tuple[Latents, ...]  # one per level; the last is the image

    def mean(self, index: int, z: Latents, v: Latents) -> Tensor:
        """``mu_k(z, v)``: where step k leads without its noise. Linear in both, so displacements may be given."""
        still = torch.zeros_like(z[:1])
        return stochastic_step(z, v, self.levels[index], self.levels[index + 1], eta=1.0, noise=still)

    def missed(self, index: int, v: Latents) -> Tensor:
        """``r_k``: from where step k leads under the velocity v to the next state.

        Divided by `fresh_share` of the two levels, above level 0, it is the noise map z_k of the literature.
        """
        return self.states[index + 1] - self.mean(index, self.states[index], v)


def noise_maps(edit: Edit, grid: LevelGrid, *, shift: int = 0) -> NoiseMaps:
    """Noise images independently at every level of a grid.

    The grid's last level becomes 0, where the image is, also on a model whose own grid ends just above.

    With a shift, the state of level s_k has only the noise of ``t = s_{k + shift}`` (none past the end) and is scaled
    to the size that level s_k promises, ``h(s_k) / h(t)`` with ``h(s) = sqrt((1 - s)^2 + s^2)``, the deviation at level
    s of data with unit variance. On a variance-preserving model that is the model's own ``x_t`` of the cleaner time,
    given to it as one of the noisier. Huberman-Spiegelglas et al. 2024 (arXiv 2304.06140), in flow coordinates; the
    shift is that of TurboEdit (arXiv 2408.00735).
    """
    levels = (*grid.levels[:-1], 0.0)
    states = list[Tensor]()
    for index, s in enumerate(levels[:-1]):
        noise, t = edit.noise("noise maps", index=index), levels[min(index + shift, len(levels) - 1)]
        noised = (1 - t) * edit.x + t * noise
        states.append(noised * (math.hypot(1 - s, s) / math.hypot(1 - t, t)) if shift else noised)
    return NoiseMaps(levels=levels, states=(*states, edit.x))


def follow_maps(edit: Edit, maps: NoiseMaps, source: VelocityField, edited: VelocityField) -> Latents:
    """``d <- mu_k(d, edited(x_k + d, s_k) - source(x_k, s_k))`` from d = 0, and ``x + d`` at the end.

    Velocities that are equal at d = 0 leave exactly x.
    """
    delta, lowest = torch.zeros_like(edit.x), edit.backbone.capabilities.s_min
    for index, s, _ in edit.steps(maps.levels):
        a = maps.states[index]
        at = level_batch(s, a).clamp_min(lowest)
        dv = edited(a + delta, at) - edit.at_image(index, source, a, at)
        delta = maps.mean(index, delta, dv)
    return edit.x + delta


@settings
class EditFriendlyDDPM(PairedRuns):
    """Edit-friendly DDPM: the noise that ancestral steps miss under the source text, put back under the target text.

    ``y_{k+1} = mu(y_k, c0) + strength (mu(y_k, c1) - mu(y_k, c0)) + r_k``, ``r_k = x_{k+1} - mu(x_k, c0)``. The states
    x_k and the ancestral step mu are those of `noise_maps`. Strength 1 is the published method; other strengths, also
    negative ones, scale what the target text adds to each step and take the source branch at y as well. It is delta
    denoising whose levels fall, with a learning rate of ``(r^2 - r'^2) / r`` and one noise a level.

    Source:
        Huberman-Spiegelglas et al. 2024, arXiv 2304.06140; the strength and the real-valued start are ours. Deutch et
        al. 2024, arXiv 2408.00735, showed that it is annealed delta denoising. The published code sets the last
        residual to zero; here it is kept, and with it more of the image.
    """

    name: ClassVar[str] = "edit-friendly-ddpm"

    level: Start = 0.8
    source_guidance: Guidance = 1.0
    target_guidance: Guidance = 2.0

    @property
    def keeps_equal_texts(self) -> bool:
        """Equal weights make the branches the same call."""
        return self.source_guidance == self.target_guidance

    def run(self, edit: Edit) -> Latents:
        source_field, target_field = edit.two_fields(self.source_guidance, self.target_guidance)

        def edited(b: Latents, levels: LevelBatch) -> Latents:
            ahead = target_field(b, levels)
            # At strength 1 the source branch at the edit cancels, and its evaluation is saved.
            if edit.strength == 1:
                return ahead
            held = source_field(b, levels)
            return held + edit.strength * (ahead - held)

        return follow_maps(edit, noise_maps(edit, edit.path(self.steps, self.level, self.shift)), source_field, edited)


@settings
class LEDITS(PairedRuns):
    """LEDITS++ without M1: edit-friendly inversion, and the concept's guidance where its noise mask is.

    ``v(y, reference) + M2 psi`` on edit-friendly maps, ``psi = strength * scale * (v(y, c1) - v(y, reference))``. The
    inversion and the way back have the reference for their text; M2 keeps the pixels where the sum of ``|psi|`` over
    the channels reaches its quantile. A negative strength is the reversed concept; any real one is allowed.

    What differs from the published system: its first mask M1, of the concept's cross-attention, is left out, so that
    edits are about twice as long; steps are the ancestral ones of DDIM, its other mode besides a second-order solver;
    there is no warm-up, because until the guidance begins the image is retraced, and a lower ``level`` does the same
    for nothing. With reference "source", which is ours, full captions can be compared.

    Args:
        scale: of psi at strength 1.
        threshold: quantile below which psi is dropped, in [0, 1].
        reference: "null" as published, or "source".

    Source:
        Brack et al. 2024, arXiv 2311.16711, with the defaults of its public code, which skips 4 steps of 34
        (level .862 of SD).
    """

    name: ClassVar[str] = "ledits"

    level: Start = 0.9
    scale: Guidance = 5.0
    threshold: Share = 0.9
    reference: Reference = "null"

    @property
    def keeps_equal_texts(self) -> bool:
        """Where psi is measured from the source text."""
        return self.reference == "source"

    def run(self, edit: Edit) -> Latents:
        backbone, (source, target) = edit.backbone, edit.texts
        text, velocity = source if self.reference == "source" else backbone.null(source), backbone.velocity
        maps = noise_maps(edit, edit.path(self.steps, self.level, self.shift))

        def reference(z: Latents, levels: LevelBatch) -> Latents:
            return velocity(z, levels, text)

        def edited(b: Latents, levels: LevelBatch) -> Latents:
            base = reference(b, levels)
            psi = edit.strength * self.scale * (velocity(b, levels, target) - base)
            return base + strongest_places(psi, self.threshold)

        return follow_maps(edit, maps, reference, edited)


@settings
class TurboEdit(PairedRuns):
    """TurboEdit: edit-friendly inversion for few steps, with shifted noise, a clipped last residual and
    pseudo-guidance.

    ``y' = c x' + (mu(y, c0) - c mu(x, c0)) + w (mu(y, c1) - mu(y, c0))``, ``w = strength * weight``. States x and the
    step mu are those of `noise_maps`, x with the noise of the level ``noise_shift`` steps further down.
    ``c = min(1, clip / rms(x' - mu(x, c0)))`` in the last step, an image at a time, and 1 before it. Any real strength
    is allowed. Without the clip, ``w = 0`` leaves exactly the image; with it, a small strength tends to an image
    whose last residual, detail that the model did not expect, is clipped as well.

    The three branches are three calls of one shape, as in `FlowSlider`.

    Args:
        weight: pseudo-guidance of strength 1.
        noise_shift: number of steps by which the noise of a state is below its level.
        clip: largest root mean square of the last residual, in the units of the latents; None does not clip. The
            published bound is a norm of 15.5 for latents of 4 x 64 x 64, so 0.121.

    Source:
        Deutch et al. 2024, arXiv 2408.00735, with the constants of its code, where the model takes four steps and one
        image at a time; the bound as a root mean square, for latents of other sizes, is ours.
    """

    name: ClassVar[str] = "turboedit"

    level: Start = 0.9
    steps: Count = 10
    weight: Guidance = 1.5
    noise_shift: Natural = 1
    clip: Annotated[float, Field(ge=0, le=1e6)] | None = 0.121

    @property
    def keeps_equal_texts(self) -> bool:
        """Without the clip; it takes detail from every image."""
        return self.clip is None

    def run(self, edit: Edit) -> Latents:
        backbone, (source_text, target_text) = edit.backbone, edit.texts
        maps = noise_maps(edit, edit.path(self.steps, self.level, self.shift), shift=self.noise_shift)
        delta = torch.zeros_like(edit.x)
        for index, s, _ in edit.steps(maps.levels):
            a = maps.states[index]
            b, levels = a + delta, level_batch(s, a).clamp_min(backbone.capabilities.s_min)
            source = edit.at_image(index, backbone.velocity, a, levels, source_text)
            held = backbone.velocity(b, levels, source_text)
            dv = (held - source) + edit.strength * self.weight * (backbone.velocity(b, levels, target_text) - held)
            delta = maps.mean(index, delta, dv)
            # Only the last step is clipped: what it misses goes into the image as it is, earlier ones are denoised.
            if self.clip is not None and index == len(maps.levels) - 2:
                missed = maps.missed(index, source)
                delta = delta - per_element(1 - clip_factor(missed, self.clip), missed) * missed
        return edit.x + delta


def clip_factor(missed: Latents, bound: float) -> Float[Tensor, " b"]:
    """The factor that brings each element's root mean square down to the bound; 1 where it is below."""
    size = missed.flatten(1).square().mean(1).sqrt()
    return (bound / size.clamp_min(torch.finfo(size.dtype).tiny)).clamp_max(1.0)
