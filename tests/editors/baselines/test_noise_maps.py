"""Noise maps and the editors that follow them, against explicit loops in other coordinates."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from latentedit.editors import EditFriendlyDDPM, TurboEdit
from latentedit.editors.baselines.noise_maps import clip_factor, follow_maps, noise_maps
from latentedit.encoding.joint import JointLatent
from latentedit.models.guidance import GuidedField
from latentedit.numerics.flow import LevelGrid, alpha_sigma_from_level
from latentedit.numerics.rng import draw
from tests.editors.baselines.cases import edit_of, vp_model
from tests.identification.mixtures import levels_of, mixture_latent
from tests.testing.tolerances import relative_error


def mean(z: Tensor, v: Tensor, s: float, s_next: float) -> Tensor:
    """The mean of DDIM's step with eta 1, which keeps ``s' r' / r`` of the noise."""
    kept = s_next**2 * (1 - s) / ((1 - s_next) * s)
    return (1 - s_next) * (z - s * v) + kept * (z + (1 - s) * v)


def test_the_last_step_reaches_the_image_on_grids_that_end_above_zero() -> None:
    """No level below the model's lowest is evaluated."""
    latent, requested = mixture_latent(vp_model(latent=None)), list[Tensor]()
    grid, lowest = latent.path(5), latent.backbone.capabilities.s_min
    maps = noise_maps(edit_of(latent), grid)
    assert maps.levels == (*grid.levels[:-1], 0.0)
    assert grid.levels[-1] > 0
    assert maps.states[-1] is latent.z

    def source(a: Tensor, levels: Tensor) -> Tensor:
        requested.append(levels)
        return a

    edit = edit_of(latent)
    follow_maps(edit, noise_maps(edit, LevelGrid(levels=(0.5, 0.01, 0.0))), source, lambda b, _: b)
    assert [float(levels[0]) for levels in requested] == pytest.approx([0.5, lowest])


@pytest.mark.parametrize("guidance", [(1.0, 1.0), (1.5, 4.0)])
def test_t5_is_annealed_delta_denoising_on_a_variance_preserving_model(guidance: tuple[float, float]) -> None:
    """Written in x_t, alpha and sigma with the network's noise estimates; the last step goes to alpha = 1.

    Both are chains of ten steps in float64. Some 1e-13 of rounding in the map between levels and times is amplified by
    1 / alpha = 15 at the noisy end.
    """
    backbone = vp_model(latent=None)
    latent, target = mixture_latent(backbone), backbone.embed(["c"])
    x, y = latent.z, latent.z.clone()
    levels = latent.path(10).levels
    pairs = [tuple(alpha_sigma_from_level(torch.tensor([s], dtype=torch.float64))) for s in levels[:-1]]

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
def test_edit_friendly_ddpm_matches_the_published_loop_at_any_strength(latent: JointLatent, strength: float) -> None:
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
        at, s_batch, x = (s, levels[index + 1]), levels_of(y, s), states[index]
        missed = states[index + 1] - mean(x, fields[0](x, s_batch), *at)
        source_mean, target_mean = (mean(y, field(y, s_batch), *at) for field in fields)
        y = source_mean + strength * (target_mean - source_mean) + missed
    editor = EditFriendlyDDPM(level=0.7, steps=5, source_guidance=1.5, target_guidance=3.0)
    assert relative_error(editor.edit(latent, target, [strength], seed=4)[0].z, y) < 1e-11


@pytest.mark.parametrize("strength", [-0.6, 1.0, 2.0])
def test_turboedit_matches_the_published_rule(latent: JointLatent, strength: float) -> None:
    """The rule with the norm clip of the last residual and the shifted states, for each image separately."""
    backbone, target = latent.backbone, latent.backbone.embed(["c"])
    levels, w, clipped = (0.77, 0.75, 0.5, 0.25, 0.0), 1.5 * strength, list[bool]()
    for row in range(3):
        image, source = latent.z[row : row + 1], latent.condition[row : row + 1]
        noises = [draw((6,), seed=2, purpose="noise maps", index=index).double() for index in range(4)]
        states = [
            ((1 - t) * image + t * e) * math.hypot(1 - s, s) / math.hypot(1 - t, t)
            for (s, t), e in zip(itertools.pairwise(levels), noises, strict=True)
        ] + [image]
        y, c = states[0], 1.0
        for index, (s, s_next) in enumerate(itertools.pairwise(levels)):
            x, x_next = states[index], states[index + 1]
            of_x, of_y, of_target = (
                mean(z, backbone.velocity(z, levels_of(z, s), text), s, s_next)
                for z, text in ((x, source), (y, source), (y, target))
            )
            norm = float(torch.linalg.vector_norm(x_next - of_x))
            c = min(1.0, 0.16 * math.sqrt(6) / norm) if index == 3 else 1.0
            y = c * x_next + (of_y - c * of_x) + w * (of_target - of_y)
        clipped.append(c < 1)
        found = TurboEdit(level=0.77, steps=4, clip=0.16).edit(latent, target, [strength], seed=2)[0].z
        assert relative_error(found[row : row + 1], y) < 1e-11
    assert set(clipped) == {False, True}, "the clip should reach some images only"


def test_the_clip_shortens_only_large_residuals() -> None:
    missed = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    found = clip_factor(missed, 0.5)
    assert found.tolist() == pytest.approx([0.5 / (5 / math.sqrt(2)), 1.0, 1.0])
    assert clip_factor(missed, 0.0).tolist() == [0.0, 0.0, 0.0]
