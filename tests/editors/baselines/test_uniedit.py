import itertools

import pytest
import torch
from torch import Tensor

from latentedit.core.rng import draw
from latentedit.core.solvers.euler import EulerSolver
from latentedit.core.solvers.integrate import integrate
from latentedit.editors.baselines.inversion import Inversion
from latentedit.editors.baselines.uniedit import UniEdit, region_mask, uni_inv
from latentedit.latents.joint import JointLatent
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit.testing.tolerances import relative_error
from tests.directions.mixtures import levels_of, mixture_latent


@pytest.fixture
def latent() -> JointLatent:
    return mixture_latent(example_mixture(dimension=6, latent=(2, 3)))


def test_is_the_published_method(latent: JointLatent) -> None:
    """Uni-Inv with its backward-looking guess, then correction and mixed velocity as two moves; one picture a time."""
    target, levels, weight, v = latent.backbone.embed(["c"]), [0.0, 0.2, 0.4, 0.6, 0.8], 3.0, latent.backbone.velocity
    for index in range(3):
        z, source = latent.z[index : index + 1], latent.condition[index : index + 1]
        before = v(z, levels_of(z, 0.0), source)
        for s, s_next in itertools.pairwise(levels):
            before = v(z + (s_next - s) * before, levels_of(z, s_next), source)
            z = z + (s_next - s) * before
        for s, s_next in itertools.pairwise(levels[::-1]):
            wanted, held = v(z, levels_of(z, s), target), v(z, levels_of(z, s), source)
            size = (wanted - held).abs().mean(dim=1)
            mask = ((size - size.min()) / (size.max() - size.min()))[:, None]
            z = z + weight * (s_next - s) * (1 + mask) * (wanted - held)
            z = z + (s_next - s) * (mask * wanted + (1 - mask) * held)
        found = UniEdit(level=0.8, steps=5, weight=weight).edit(latent, target, [1.0])[0].z[index : index + 1]
        assert relative_error(found, z) < 1e-11


def test_the_mask_is_stretched_for_each_picture_and_shared_by_its_channels() -> None:
    d = draw((2, 4, 3, 5), seed=0, purpose="tests").double()
    mask = region_mask(d)
    assert mask.shape == (2, 1, 3, 5)
    assert mask.amin((1, 2, 3)).tolist() == [0, 0]
    assert mask.amax((1, 2, 3)).tolist() == [1, 1]
    assert relative_error(region_mask(-7 * d), mask) < 1e-12
    order = d.abs().mean(1).flatten(1).argsort(1)
    assert torch.equal(mask.flatten(1).argsort(1), order)
    assert torch.equal(region_mask(torch.full((1, 2, 3), -2.0)), torch.zeros(1, 1, 3))
    assert region_mask(torch.tensor([[1.0, -2.0, 3.0]])).tolist() == [[0.0, 0.5, 1.0]]


def test_eulers_way_back_undoes_uni_inv_to_third_order_a_step(latent: JointLatent) -> None:
    """Half the step, an eighth of the error of one step and back; after Euler's own way up only a quarter."""

    def field(z: Tensor, s: Tensor) -> Tensor:
        return latent.backbone.velocity(z, s, latent.condition)

    def missed(h: float, *, euler: bool) -> float:
        levels = (0.5 - h, 0.5, 0.5 + h)  # the first step makes the guess
        if euler:
            up = integrate(field, latent.z, levels, EulerSolver()).states
            return relative_error(EulerSolver().step(field, up[2], 0.5 + h, 0.5), up[1])
        half, whole = uni_inv(field, latent.z, levels[:2]), uni_inv(field, latent.z, levels)
        return relative_error(EulerSolver().step(field, whole, 0.5 + h, 0.5), half)

    assert missed(0.01, euler=False) / missed(0.005, euler=False) > 6
    assert 3 < missed(0.01, euler=True) / missed(0.005, euler=True) < 5


def test_equal_texts_return_nearer_to_the_picture_than_eulers_inversion(latent: JointLatent) -> None:
    found = UniEdit(level=0.8, steps=20).edit(latent, latent.condition, [1.0])[0].z
    euler = Inversion(level=0.8, steps=20).edit(latent, latent.condition, [1.0])[0].z
    assert relative_error(found, latent.z) < relative_error(euler, latent.z) / 3
