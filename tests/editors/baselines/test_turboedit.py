import itertools
import math

import pytest
import torch
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.rng import draw
from latentedit.editors.baselines.edit_friendly_ddpm import EditFriendlyDDPM
from latentedit.editors.baselines.turboedit import TurboEdit, clip_factor
from latentedit.latents.joint import JointLatent
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit.testing.tolerances import relative_error
from tests.directions.mixtures import levels_of, mixture_latent


@pytest.fixture
def latent() -> JointLatent:
    return mixture_latent(example_mixture(dimension=6))


@pytest.mark.parametrize("strength", [-0.6, 1.0, 2.0])
def test_is_the_published_rule(latent: JointLatent, strength: float) -> None:
    """The rule written out, with the norm clip of the last residual and the shifted states; each picture alone."""
    backbone, target = latent.backbone, latent.backbone.embed(["c"])
    levels, w, clipped = (0.77, 0.75, 0.5, 0.25, 0.0), 1.5 * strength, list[bool]()
    for row in range(3):
        picture, source = latent.z[row : row + 1], latent.condition[row : row + 1]
        noises = [draw((6,), seed=2, purpose="noise maps", index=index).double() for index in range(4)]
        states = [
            ((1 - t) * picture + t * e) * math.hypot(1 - s, s) / math.hypot(1 - t, t)
            for (s, t), e in zip(itertools.pairwise(levels), noises, strict=True)
        ] + [picture]
        y, c = states[0], 1.0
        for index, (s, s_next) in enumerate(itertools.pairwise(levels)):
            kept = s_next**2 * (1 - s) / ((1 - s_next) * s)

            def mean(z: Tensor, text: Condition, s: float = s, s_next: float = s_next, kept: float = kept) -> Tensor:
                v = backbone.velocity(z, levels_of(z, s), text)
                return (1 - s_next) * (z - s * v) + kept * (z + (1 - s) * v)

            x, x_next = states[index], states[index + 1]
            norm = float(torch.linalg.vector_norm(x_next - mean(x, source)))
            c = min(1.0, 0.16 * math.sqrt(6) / norm) if index == 3 else 1.0
            y = c * x_next + (mean(y, source) - c * mean(x, source)) + w * (mean(y, target) - mean(y, source))
        clipped.append(c < 1)
        found = TurboEdit(level=0.77, steps=4, clip=0.16).edit(latent, target, [strength], seed=2)[0].z
        assert relative_error(found[row : row + 1], y) < 1e-11
    assert set(clipped) == {False, True}, "the clip should reach some pictures only"


@pytest.mark.parametrize("strength", [-1.0, 0.4, 1.0])
def test_without_shift_and_clip_it_is_edit_friendly_ddpm(latent: JointLatent, strength: float) -> None:
    """The two differ by the rounding of their sums."""
    target = latent.backbone.embed(["c"])
    plain = EditFriendlyDDPM(level=0.9, steps=8, target_guidance=1.0)
    turbo = TurboEdit(level=0.9, steps=8, weight=1.0, shift=0, clip=None)
    expected = plain.edit(latent, target, [strength], seed=3)[0].z
    assert relative_error(turbo.edit(latent, target, [strength], seed=3)[0].z, expected) < 1e-13
    shifted = TurboEdit(level=0.9, steps=8, weight=1.0, clip=None)
    assert relative_error(shifted.edit(latent, target, [strength], seed=3)[0].z, expected) > 1e-3


def test_without_weight_the_picture_stays_exactly(latent: JointLatent) -> None:
    editor = TurboEdit(weight=0.0, clip=None)
    assert torch.equal(editor.edit(latent, latent.backbone.embed(["c"]), [1.0])[0].z, latent.z)


def test_the_clip_keeps_small_residuals_and_shortens_large_ones_one_by_one() -> None:
    missed = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    found = clip_factor(missed, 0.5)
    assert found.tolist() == pytest.approx([0.5 / (5 / math.sqrt(2)), 1.0, 1.0])
    assert clip_factor(missed, 0.0).tolist() == [0.0, 0.0, 0.0]


def test_where_the_field_is_linear_the_weight_is_proportional_to_the_displacement() -> None:
    """One covariance: held minus source is linear in the displacement and steering is constant, whatever the states."""
    backbone = example_mixture(dimension=6, shared_covariance=True)
    latent, target = mixture_latent(backbone, condition=backbone.only(0)), backbone.only(1)
    one = TurboEdit(weight=1.0, clip=None).edit(latent, target, [1.0])[0].z - latent.z
    for shift, weight in ((1, -2.0), (0, 0.3), (2, 1.5)):
        found = TurboEdit(weight=weight, clip=None, shift=shift).edit(latent, target, [1.0], seed=5)[0].z - latent.z
        assert relative_error(found, weight * one) < 1e-10
