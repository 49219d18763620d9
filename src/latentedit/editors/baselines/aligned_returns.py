"""Editors that invert an image and steer the aligned way back (`encoding.inversion`), which retraces it otherwise."""

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ConfigError
from latentedit.core.setting import Guidance, Natural, Scale, Share, Start, Until, Weight, settings
from latentedit.editors.baselines.walks import Walk
from latentedit.editors.edit import Edit, Latents
from latentedit.editors.strength import EffectCurve
from latentedit.encoding.inversion import InversionTrace, aligned_steps
from latentedit.models.guidance import arriving

Reference = Literal["null", "source"]  # the text from which a concept is measured: the empty one, or the image's own


@settings
class FreeSliders(Walk):
    """FreeSliders: a way down from a level that a multiple of the difference of two texts steers at every step.

    Down from ``level`` along ``v(z, s, c0) + a (v(z, s, c1) - v(z, s, c0))`` with ``a = strength * scale``. The
    published slider samples from noise: plainly at first, then with this field, whose last difference is that of two
    opposite texts. An image has the level to itself: it is inverted under c0 up to there, and the way back is aligned
    with the way up, so that a scale or a difference of 0 retraces it bit for bit. That, and the source text as the
    opposite one, are ours.

    With ``probes`` the range is re-parameterised: strengths between 0 and 1, or -1, are shares of the length of the
    change at the end of the range, and a is read from a monotone curve through ``probes`` scales between. The paper
    walks evenly in a perceptual score, we in the length in latents. Its search for the end of the range needs CLIP and
    is left out: ``scale`` is the end.

    Args:
        scale: a at strength 1.
        probes: scales between 0 and the end of the range at which the change is measured; 0 leaves the range as it is.

    Source:
        Ezra et al. 2025, arXiv 2511.00103, with the code's split after 15 of 50 steps and without its guidance.
    """

    name: ClassVar[str] = "freesliders"

    level: Start = 0.7
    scale: Guidance = 2.0
    probes: Natural = 0

    def move(self, edit: Edit) -> Latents:
        trace = edit.invert(edit.path(self.steps, self.level))
        share = torch.full((len(edit.latent),), edit.strength, dtype=torch.float64)
        if self.probes > 0 and 0 < abs(edit.strength) < 1:
            sign, nodes = (1 if edit.strength > 0 else -1), torch.linspace(0, 1, self.probes + 2, dtype=torch.float64)
            lengths = [self._change(edit, trace, sign * node).flatten(1).norm(dim=1) for node in nodes[1:]]
            effects = torch.stack([torch.zeros_like(lengths[0]), *lengths]) / lengths[-1].clamp_min(1e-30)
            share = sign * EffectCurve(scales=tuple(nodes.tolist()), effects=effects).scale(abs(edit.strength))
        return edit.x + self._change(edit, trace, share)

    def _change(self, edit: Edit, trace: InversionTrace, share: Float[Tensor, "..."]) -> Latents:
        """The displacement at the end of the way down, at a share of the scale: one for all, or one per image."""
        backbone, delta = edit.backbone, torch.zeros_like(edit.x)
        factor = (self.scale * share).to(delta).expand(len(delta)).reshape(-1, *[1] * (delta.ndim - 1))
        for index, s, s_next, at in aligned_steps(edit.latent, trace, name=self.name, progress=edit.progress):
            z, (source, target) = trace.states[index] + delta, edit.texts_towards(s)
            plain = backbone.velocity(z, at, source)
            steered = factor * (backbone.velocity(z, at, target) - plain)
            delta = delta + (s_next - s) * (plain - trace.velocities[index] + steered)
        return delta


@settings
class AsymmetricEdit(Walk):
    """Asyrp with a shift from text: the feature's change between two texts, in the clean estimate only, step by step.

    ``z' = (1 - s') (z - s v') + s' (z + (1 - s) v)``, v under c0, v' of the network whose feature is shifted. The shift
    is ``strength scale (f(z, s, c1) - f(z, s, c0))``, f the feature at a site inside the network, while the text that
    the rest of the network sees stays c0. At the site "clean", the default of a network without inner sites, the clean
    estimate itself is shifted: ``v' = v + strength scale (v(z, s, c1) - v)``. Each step adds the kick
    ``-(1 - s') s (v' - v)``, so more steps change more: halve the scale where steps double.

    The walk down is aligned with the inversion, and takes velocity and features where that passed: at the level where
    a step ends. Both texts are calls of one shape, so equal ones leave exactly zero.

    Args:
        scale: of the shift at strength 1.
        until: steps that start at this level or below are plain.
        site: where the feature is, one inside the network or "clean"; None is `Backbone.default_site`.

    Source:
        Kwon et al. 2023, arXiv 2210.10960, eq. 4 and 6, in flow coordinates. There the
        shifts are learnt with CLIP; shifts from the network's own answer to two texts, and the alignment, are ours.
    """

    name: ClassVar[str] = "asyrp"

    level: Start = 0.9
    scale: Scale = 0.3
    until: Until = 0.3
    site: str | None = None

    def cost(self, edit: Edit) -> int:
        """``2 k + 3 n`` inside the network, ``2 k + n`` at "clean": k steps below ``level``, of which n are shifted."""
        levels, until = edit.path(self.steps, self.level).levels, edit.latent.level(self.steps, self.until)
        shifted = sum(level > until for level in levels[:-1])
        return 2 * (len(levels) - 1) + (1 if self._site(edit) == "clean" else 3) * shifted

    def _site(self, edit: Edit) -> str:
        return edit.backbone.default_site if self.site is None else self.site

    def move(self, edit: Edit) -> Latents:
        trace, until = edit.invert(edit.path(self.steps, self.level)), edit.latent.level(self.steps, self.until)
        backbone, site, amount = edit.backbone, self._site(edit), edit.strength * self.scale
        delta = torch.zeros_like(edit.x)
        for index, s, s_next, at in aligned_steps(edit.latent, trace, name=self.name, progress=edit.progress):
            z, (source, target) = trace.states[index] + delta, edit.texts_towards(s)
            v = backbone.velocity(z, at, source)
            delta = delta + (s_next - s) * (v - trace.velocities[index])
            if s <= until:
                continue
            if site == "clean":
                change = amount * (backbone.velocity(z, at, target) - v)
            else:
                shift = backbone.features(z, at, target, site) - backbone.features(z, at, source, site)
                change = backbone.velocity_with(z, at, source, site, amount * shift) - v
            delta = delta - (1 - s_next) * s * change
        return edit.x + delta


@settings
class SEGA(Walk):
    """SEGA: semantic guidance towards a text, on the way back from an inversion.

    ``e_hat(y, c0) + G`` on the way back, G from ``psi = strength * scale * (e_hat(y, c1) - e_hat(y, reference))``. The
    image is inverted under its own text c0, which is also the base prompt, without further guidance, and comes back
    aligned: where psi is zero it stays as it is, bit for bit. Psi keeps its strongest values of each channel and has
    momentum, see `guided`. A negative strength is the reversed concept; any real one is allowed.

    In the publication the concept is a few words, the reference the empty text and the image a generated one. With
    reference "source", which is ours, the concept is a full caption and psi what it changes in the source caption.

    Args:
        scale: of psi at strength 1.
        threshold: quantile below which psi is dropped, in [0, 1].
        warm_up: share of the way back after which the guidance begins (published: step 10 of 50).
        cool_down: share of the way back after which psi is zero; 1 is never.
        momentum: share of the momentum that is added.
        decay: what is left of the momentum after a step.
        reference: "null" as published, or "source".

    Source:
        Brack et al. 2023, arXiv 2301.12247, with the defaults of its public code.
    """

    name: ClassVar[str] = "sega"

    scale: Guidance = 5.0
    threshold: Share = 0.9
    warm_up: Share = 0.2
    cool_down: Share = 1.0
    momentum: Weight = 0.1
    decay: Share = 0.4
    reference: Reference = "null"

    def __post_init__(self) -> None:
        if self.cool_down < self.warm_up:
            raise ConfigError(f"cool_down must not come before warm_up ({self.warm_up:g}); got {self.cool_down:g}")

    @property
    def keeps_equal_texts(self) -> bool:
        """Where psi is measured from the source text."""
        return self.reference == "source"

    def guided(self, index: int, steps: int, psi: Latents, momentum: Latents) -> tuple[Latents, Latents]:
        """The addition to the noise estimate in one of so many steps, from the noisy end, and the next one's momentum.

        ``G = mask(psi) + momentum nu``, ``nu <- decay nu + (1 - decay) G``. Momentum is gathered from the first step
        on. G is added from ``warm_up`` on; from ``cool_down`` on psi counts as zero, so that only the momentum that is
        left fades out. The order of the operations is that of SEGA's public code.
        """
        cooled = index >= round(self.cool_down * steps)
        now = torch.zeros_like(psi) if cooled else strongest_per_channel(psi, self.threshold)
        added = now + self.momentum * momentum
        momentum = self.decay * momentum + (1 - self.decay) * added
        return (added if index >= round(self.warm_up * steps) else torch.zeros_like(psi)), momentum

    def move(self, edit: Edit) -> Latents:
        trace, backbone = edit.invert(edit.path(self.steps, self.level)), edit.backbone
        scale, steps = edit.strength * self.scale, len(trace.velocities)
        null = backbone.null(edit.texts[0]) if self.reference == "null" else None
        delta = momentum = torch.zeros_like(edit.x)
        for index, s, s_next, at in aligned_steps(edit.latent, trace, progress=edit.progress):
            y, (source, concept) = trace.states[index] + delta, edit.texts_towards(s)
            base = backbone.velocity(y, at, source)
            reference = base if null is None else backbone.velocity(y, at, arriving(backbone, null, s))
            psi = scale * (1 - s_next) * (backbone.velocity(y, at, concept) - reference)
            added, momentum = self.guided(steps - 1 - index, steps, psi, momentum)
            # a change of the noise estimate by G changes the velocity by G / (1 - s)
            delta = delta - (s - s_next) * (base - trace.velocities[index] + added / (1 - s_next))
        return trace.states[0] + delta


def strongest_per_channel(psi: Latents, threshold: float) -> Latents:
    """``psi 1[|psi| >= q]``, q the quantile of ``|psi|`` over the pixels of each channel of each element.

    Latents without further axes, ``[b, d]``, count as one channel of d pixels. From SEGA (arXiv 2301.12247), with the
    quantile as its public code takes it.
    """
    return psi * _at_least_quantile(_channels(psi).abs(), threshold).reshape(psi.shape)


def strongest_places(psi: Latents, threshold: float) -> Latents:
    """``psi 1[p >= q]``, p the sum of ``|psi|`` over the channels and q its quantile over the pixels of each element.

    The mask M2 of LEDITS++ (arXiv 2311.16711), as its public code has it.
    """
    channels = _channels(psi)
    mask = _at_least_quantile(channels.abs().sum(1, keepdim=True), threshold)
    return psi * mask.expand_as(channels).reshape(psi.shape)


def _channels(psi: Tensor) -> Tensor:
    return psi.flatten(2) if psi.ndim > 2 else psi[:, None]


def _at_least_quantile(size: Float[Tensor, "b c n"], threshold: float) -> Tensor:
    return (size >= torch.quantile(size, threshold, dim=2, keepdim=True)).to(size.dtype)
