import itertools
import math

import pytest
import torch

from latentedit.core.rng import draw
from latentedit.editors.baselines.edit_friendly_ddpm import EditFriendlyDDPM
from latentedit.latents.joint import JointLatent
from latentedit.models.guidance import GuidedField
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit.testing.tolerances import relative_error
from tests.directions.mixtures import levels_of, mixture_latent
from tests.editors.baselines.vp_models import vp_model


@pytest.fixture
def latent() -> JointLatent:
    return mixture_latent(example_mixture(dimension=6))


@pytest.mark.parametrize("guidance", [(1.0, 1.0), (1.5, 4.0)])
def test_t5_is_annealed_delta_denoising_on_a_variance_preserving_model(guidance: tuple[float, float]) -> None:
    """Written in x_t, alpha and sigma with the network's own noise estimates; the last step goes to alpha = 1.

    Both are chains of ten steps in float64. Some 1e-13 of rounding in the map between levels and times is amplified by
    1 / alpha = 15 at the noisy end.
    """
    backbone = vp_model(latent=None)
    latent, target = mixture_latent(backbone), backbone.embed(["c"])
    x, y = latent.z, latent.z.clone()
    levels = latent.path(10).levels
    pairs = [tuple(backbone.schedule.alpha_sigma(torch.tensor([s], dtype=torch.float64))) for s in levels[:-1]]

    def noise_of(x_t: torch.Tensor, time: torch.Tensor, *, source: bool) -> torch.Tensor:
        null = backbone.predict(x_t, time, backbone.embed([""]).expand(3))
        given = backbone.predict(x_t, time, latent.condition if source else target.expand(3))
        return null + guidance[0 if source else 1] * (given - null)

    for index, (alpha, sigma) in enumerate(pairs):
        noise = draw((6,), seed=2, purpose="noise maps", index=index).double()
        time = backbone.schedule.time(levels_of(x, levels[index]))
        gap = noise_of(alpha * y + sigma * noise, time, source=False)
        gap = gap - noise_of(alpha * x + sigma * noise, time, source=True)
        previous = float(pairs[index + 1][0]) ** 2 if index + 1 < len(pairs) else 1.0
        rate = (1 - float(alpha) ** 2 / previous) / (float(alpha) * math.sqrt(1 - float(alpha) ** 2))
        y = y - rate * gap
    editor = EditFriendlyDDPM(level=1.0, steps=10, source_guidance=guidance[0], target_guidance=guidance[1])
    assert relative_error(editor.edit(latent, target, [1.0], seed=2)[0].z, y) < 1e-10
    assert relative_error(y, x) > 0.1


@pytest.mark.parametrize("strength", [-1.3, 0.4, 1.0, 2.0])
def test_is_the_published_walk_with_the_target_scaled(latent: JointLatent, strength: float) -> None:
    """``x' = mu(x, c0) + tau z`` solved for z, then ``y' = mu + tau z``, in flow coordinates with their variances."""
    backbone, target = latent.backbone, latent.backbone.embed(["c"])
    fields = [
        GuidedField(backbone=backbone, condition=text, guidance=weight)
        for text, weight in ((latent.condition, 1.5), (target, 3.0))
    ]
    levels = (0.7, 0.6, 0.4, 0.2, 0.0)
    noises = [draw((6,), seed=4, purpose="noise maps", index=index).double() for index in range(4)]
    states = [(1 - s) * latent.z + s * e for s, e in zip(levels, noises, strict=False)] + [latent.z]
    y = states[0]
    for index, s in enumerate(levels[:-1]):
        s_next, at = levels[index + 1], levels_of(y, s)
        kept = s_next**2 * (1 - s) / ((1 - s_next) * s)  # s' r' / r, what DDIM keeps of the noise with eta 1

        def mean(z: torch.Tensor, v: torch.Tensor, s: float = s, s_next: float = s_next, kept: float = kept):
            return (1 - s_next) * (z - s * v) + kept * (z + (1 - s) * v)

        x = states[index]
        missed = states[index + 1] - mean(x, fields[0](x, at))
        held, wanted = mean(y, fields[0](y, at)), mean(y, fields[1](y, at))
        y = held + strength * (wanted - held) + missed
    editor = EditFriendlyDDPM(level=0.7, steps=5, source_guidance=1.5, target_guidance=3.0)
    assert relative_error(editor.edit(latent, target, [strength], seed=4)[0].z, y) < 1e-11


@pytest.mark.parametrize("strength", [-1.0, 0.5, 1.0])
def test_where_the_field_is_linear_it_relaxes_to_the_counterfactual(strength: float) -> None:
    """Two Gaussians of one covariance with mean difference m.

    The clean displacement u obeys ``u' - m = (1 - g s / ((1-s)^2 c + s^2)) (u - m)`` along an axis of variance c, with
    ``g = s (1 - (r'/r)^2)``, whatever the noise. The strength multiplies m.
    """
    backbone = example_mixture(dimension=6, shared_covariance=True)
    latent = mixture_latent(backbone, condition=backbone.only(0))
    variances, axes = torch.linalg.eigh(backbone.mixture.covariances[0])
    left = torch.ones(6, dtype=torch.float64)
    levels = latent.path(12, 0.95).levels
    for s, s_next in itertools.pairwise(levels):
        rate = s - s_next**2 * (1 - s) ** 2 / ((1 - s_next) ** 2 * s)
        left = left * (1 - rate * s / ((1 - s) ** 2 * variances + s**2))
    shift = backbone.mixture.means[1] - backbone.mixture.means[0]
    expected = strength * ((1 - left) * (shift @ axes)) @ axes.mT
    editor = EditFriendlyDDPM(level=0.95, steps=12, target_guidance=1.0)
    found = editor.edit(latent, backbone.only(1), [strength], seed=1)[0].z - latent.z
    assert relative_error(found, expected.expand(3, -1)) < 1e-10
