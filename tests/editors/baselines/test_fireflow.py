import itertools
import math

import pytest
import torch
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.levels import uniform_grid
from latentedit.core.solvers.integrate import sample
from latentedit.core.solvers.midpoint import MidpointSolver
from latentedit.editors.base import Editor
from latentedit.editors.baselines.fireflow import FireFlow, reuse_midpoints
from latentedit.editors.baselines.inversion import Inversion
from latentedit.latents.joint import JointLatent
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit.testing.tolerances import relative_error
from tests.directions.mixtures import levels_of, mixture_latent


@pytest.fixture
def latent() -> JointLatent:
    return mixture_latent(example_mixture(dimension=6))


@pytest.mark.parametrize("strength", [1.0, -0.6])
def test_is_the_published_walk(latent: JointLatent, strength: float) -> None:
    """Each way begins with a velocity of its own; after that a step's first velocity is the last step's second."""
    target, levels = latent.backbone.embed(["c"]).expand(3), [0.0, 0.2, 0.4, 0.6, 0.8]

    def walk(z: Tensor, text: Condition, nodes: list[float]) -> Tensor:
        kept: Tensor | None = None
        for s, s_next in itertools.pairwise(nodes):
            h = s_next - s
            first = latent.backbone.velocity(z, levels_of(z, s), text) if kept is None else kept
            kept = latent.backbone.velocity(z + h / 2 * first, levels_of(z, s + h / 2), text)
            z = z + h * kept
        return z

    text = (1 - strength) * latent.condition + strength * target
    expected = walk(walk(latent.z, latent.condition, levels), text, levels[::-1])
    found = FireFlow(level=0.8, steps=5).edit(latent, target, [strength])[0].z
    assert relative_error(found, expected) < 1e-12


def test_one_step_is_the_midpoint_rule(latent: JointLatent) -> None:
    def field(z: Tensor, s: Tensor) -> Tensor:
        return latent.backbone.velocity(z, s, latent.condition)

    midpoint = sample(field, latent.z, uniform_grid(1), MidpointSolver()).final
    assert torch.equal(reuse_midpoints(field, latent.z, (1.0, 0.0), name="t"), midpoint)


@pytest.mark.parametrize("uneven", [False, True])
def test_it_is_of_second_order(uneven: bool) -> None:
    """``dz/ds = z cos(s)``, so ``z = exp(sin s)``: half the step, a quarter of the error; Euler's is the half."""

    def field(z: Tensor, s: Tensor) -> Tensor:
        return z * s.cos()[:, None]

    def error(steps: int) -> float:
        nodes = [(index / steps) ** (2 if uneven else 1) for index in range(steps + 1)]
        found = reuse_midpoints(field, torch.ones(1, 1, dtype=torch.float64), nodes, name="t")
        return abs(float(found) - math.exp(math.sin(1.0)))

    assert 3.7 < error(100) / error(200) < 4.3


def test_on_gaussians_it_is_nearer_to_the_flow_up_and_down_than_euler() -> None:
    backbone = example_mixture(dimension=6)
    only, target = mixture_latent(backbone, condition=backbone.only(0)), backbone.only(1)
    truth = backbone.flow_map(backbone.flow_map(only.z, 0.0, 0.6, 0), 0.6, 0.0, 1)

    def error(editor: Editor) -> float:
        return relative_error(editor.edit(only, target, [1.0])[0].z - only.z, truth - only.z)

    coarse, fine = FireFlow(level=0.6, steps=100), FireFlow(level=0.6, steps=200)
    assert error(fine) < error(coarse) / 3.5 < 1e-2
    assert error(coarse) < error(Inversion(level=0.6, steps=200)) / 5
