from typing import Any

import pytest
import torch
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.errors import ConfigError
from latentedit.core.rng import draw
from latentedit.editors.baselines.pullback import Pullback
from latentedit.latents.inversion import InversionTrace, invert, replay
from latentedit.latents.joint import JointLatent
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit.testing.tolerances import relative_error
from tests.directions.mixtures import levels_of, mixture_latent
from tests.directions.networks import NetworkBackbone, network_latent


@pytest.fixture
def latent() -> JointLatent:
    return mixture_latent(example_mixture(dimension=6))


def dense_jacobian(latent: JointLatent, trace: InversionTrace, row: int, target: Condition, *, inside: bool) -> Tensor:
    """Of the middle of the small network, or of the clean estimate, by autograd; ``[feature, latent]``."""
    backbone, s = latent.backbone, trace.levels[-1]
    at = levels_of(trace.top[:1], s)

    def feature(z: Tensor) -> Tensor:
        if inside:
            return backbone.features(z[None], at, target, "mid")[0]
        return z - s * backbone.velocity(z[None], at, target)[0]

    found: Any = torch.autograd.functional.jacobian(feature, trace.top[row])
    return found.flatten(1)


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("strength", [-0.6, 1.2])
def test_the_texts_change_is_projected_on_the_basis_and_guided_along(inside: bool, strength: float) -> None:
    """Everything after the inversion written out, with dense Jacobians and plain powers of ``J^T J``."""
    latent = network_latent(NetworkBackbone()) if inside else mixture_latent(example_mixture(dimension=6))
    backbone, target = latent.backbone, latent.backbone.embed(["c"])
    trace = invert(latent, latent.path(6, 0.65))
    top, at, s = trace.top, levels_of(latent.z, 0.65), 0.65
    change = s * (backbone.velocity(top, at, latent.condition) - backbone.velocity(top, at, target))
    start = draw((2, *latent.z.shape[1:]), seed=5, purpose="pullback").double().flatten(1).T
    v = torch.zeros_like(change)
    for row in range(len(latent)):
        jacobian = dense_jacobian(latent, trace, row, target, inside=inside)
        columns = torch.linalg.matrix_power(jacobian.T @ jacobian, 2) @ start
        part = columns @ torch.linalg.lstsq(columns, change[row].flatten()[:, None]).solution
        v[row] = (part * (0.35 * change[row].norm() / part.norm())).reshape(change[row].shape)
    z, sign = top, 1 if strength > 0 else -1

    def noise(points: Tensor) -> Tensor:
        return points + (1 - s) * backbone.velocity(points, at, target)

    for _ in range(3):
        z = z + 1.5 * abs(strength) / (3 * 0.8) * (noise(z + 0.8 * sign * v) - noise(z))
    expected = replay(latent, trace, latent.condition, offset=z - top)
    editor = Pullback(level=0.65, steps=6, rank=2, iterations=2, scale=1.5, repeats=3, probe=0.8)
    found = editor.edit(latent, target, [strength], seed=5)[0].z
    # the plain powers lose the square of their condition: some 1e-12 of float64
    assert relative_error(found, expected) < 1e-9
    assert relative_error(found, latent.z) > 1e-2


def test_a_basis_of_all_directions_keeps_the_change_as_it_is(latent: JointLatent) -> None:
    """With as many vectors as numbers the projection does nothing, whatever the search."""
    target = latent.backbone.embed(["c"])
    one, two = (
        Pullback(steps=6, rank=6, iterations=steps).edit(latent, target, [1.0], seed=steps)[0].z for steps in (1, 2)
    )
    fewer = Pullback(steps=6, rank=3, iterations=1).edit(latent, target, [1.0], seed=1)[0].z
    assert relative_error(one, two) < 1e-9
    assert relative_error(fewer, one) > 1e-3


def equal_texts() -> list[JointLatent]:
    return [mixture_latent(example_mixture(dimension=6)), network_latent(NetworkBackbone())]


def test_t10_the_sign_flips_the_edit_to_first_order_in_the_probe(latent: JointLatent) -> None:
    """The guidance probes on the side to which it goes, so the even part falls with the probe as the strength does."""
    target = latent.backbone.embed(["c"])

    def even_share(size: float) -> float:
        editor = Pullback(steps=6, rank=3, iterations=1, probe=size)
        forth = editor.edit(latent, target, [size])[0].z - latent.z
        back = editor.edit(latent, target, [-size])[0].z - latent.z
        return float(torch.linalg.vector_norm(forth + back) / torch.linalg.vector_norm(forth - back))

    assert even_share(1e-2) < 0.1
    assert even_share(1e-4) < 2e-2 * even_share(1e-2) + 1e-9


def test_a_rank_beyond_the_latent_is_refused(latent: JointLatent) -> None:
    with latent.backbone.count() as cost, pytest.raises(ConfigError, match="at most 6"):
        Pullback(rank=7).edit(latent, latent.backbone.embed(["c"]), [1.0])
    assert cost.evaluations == 0
