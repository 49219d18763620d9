"""Editors that move at one level, with Jacobians in closed form or by autograd."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from latentedit.core.errors import ConfigError
from latentedit.editors import LOCO, AsymmetricEdit, Pullback
from latentedit.editors.base import Editor
from latentedit.editors.baselines.masks import difference_mask
from latentedit.editors.baselines.subspaces import leading_span, of_length, projected
from latentedit.encoding.inversion import InversionTrace, invert, retrace
from latentedit.encoding.joint import JointLatent
from latentedit.geometry.subspaces import principal_angles
from latentedit.numerics.condition import Condition
from latentedit.numerics.rng import stream
from tests.editors.baselines.cases import edit_of
from tests.identification.mixtures import levels_of, mixture_latent
from tests.identification.networks import NetworkBackbone, network_latent
from tests.numerics.dense import DenseBlock, batch_matvec, matrix_with_spectrum
from tests.testing.gaussian_mixture import GaussianMixtureBackbone, example_mixture
from tests.testing.tolerances import relative_error


def random_tensor(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=stream(4, "tests"), dtype=torch.float64)


def projector(rows: Tensor) -> Tensor:
    """``Q Q^T`` of each image, by the pseudo-inverse."""
    columns = rows.flatten(2).mT
    return columns @ torch.linalg.pinv(columns)


def test_forty_products_find_the_space_of_a_slow_spectrum(latent: JointLatent) -> None:
    """Within 4 degrees of LAPACK's; power iteration with as many products is off by more than 40 degrees."""
    matrix, _, right = matrix_with_spectrum(torch.arange(1, 101, dtype=torch.float64) ** -0.5, 120, 110)
    for row in (0, 1):
        operator = DenseBlock(matrix, in_shape=(11, 10))
        seeded = dataclasses.replace(edit_of(latent), seed=(1, 2, 3))
        found = leading_span(seeded, operator, 5, row, products=40)
        assert operator.products == 40
        assert math.degrees(float(principal_angles(found.flatten(1), right[:5]).max())) < 4
        power = torch.linalg.matrix_power(matrix.T @ matrix, 4) @ random_tensor(110, 5)
        assert math.degrees(float(principal_angles(power.T, right[:5]).max())) > 40
        alone = dataclasses.replace(seeded, seed=(1, 2, 3)[row])
        assert torch.equal(leading_span(alone, operator, 5, row, products=40), found), "only its own seed matters"


def test_vectors_that_are_mapped_to_zero_are_left_out(latent: JointLatent) -> None:
    matrix = torch.zeros(4, 6, dtype=torch.float64)
    matrix[0, 2] = 3
    found = leading_span(edit_of(latent), DenseBlock(matrix), 3, 0, products=8)
    expected = torch.zeros(3, 6, dtype=torch.float64)
    expected[0, 2] = 1
    assert torch.allclose(found, expected, atol=1e-12)


def test_projections_and_rescaled_lengths() -> None:
    rows, v = torch.linalg.qr(random_tensor(2, 8, 3))[0].mT.reshape(2, 3, 2, 4), random_tensor(2, 2, 4)
    part = projected(rows, v)
    assert torch.allclose(part.flatten(1)[:, :, None], projector(rows) @ v.flatten(1)[:, :, None], atol=1e-12)
    assert torch.allclose(projected(rows, part), part, atol=1e-12)
    v = torch.stack([random_tensor(2, 4), torch.zeros(2, 4, dtype=torch.float64)])
    found = of_length(v, torch.tensor([3.0, 3.0], dtype=torch.float64))
    assert float(found[0].norm()) == pytest.approx(3.0)
    assert torch.equal(found[1], v[1])
    assert torch.allclose(found[0] * v[0].norm(), 3 * v[0])


def dense_jacobian(latent: JointLatent, trace: InversionTrace, row: int, target: Condition, *, inside: bool) -> Tensor:
    """The Jacobian of the network's feature or of the clean estimate, by autograd, ``[feature, latent]``."""
    backbone, s = latent.backbone, trace.levels[-1]
    s_batch = levels_of(trace.top[:1], s)

    def feature(z: Tensor) -> Tensor:
        if inside:
            return backbone.features(z[None], s_batch, target, "mid")[0]
        return z - s * backbone.velocity(z[None], s_batch, target)[0]

    found: Any = torch.autograd.functional.jacobian(feature, trace.top[row])
    return found.flatten(1)


@pytest.mark.slow_except("-0.6-True")
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("strength", [-0.6, 1.2])
def test_pullback_projects_the_change_of_the_text_and_guides_along_it(inside: bool, strength: float) -> None:
    """Everything after the inversion written out, with the singular vectors of dense Jacobians."""
    latent = network_latent(NetworkBackbone()) if inside else mixture_latent(example_mixture(dimension=6))
    backbone, target = latent.backbone, latent.backbone.embed(["c"])
    trace = invert(latent, latent.path(6, 0.65))
    top, s_batch, s = trace.top, levels_of(latent.z, 0.65), 0.65
    change = s * (backbone.velocity(top, s_batch, latent.condition) - backbone.velocity(top, s_batch, target))
    v = torch.zeros_like(change)
    for row in range(len(latent)):
        jacobian = dense_jacobian(latent, trace, row, target, inside=inside)
        leading = torch.linalg.svd(jacobian)[2][:2]
        part = leading.T @ (leading @ change[row].flatten())
        v[row] = (part * (0.35 * change[row].norm() / part.norm())).reshape(change[row].shape)
    z, sign = top, 1 if strength > 0 else -1

    def noise(points: Tensor) -> Tensor:
        return points + (1 - s) * backbone.velocity(points, s_batch, target)

    for _ in range(3):
        z = z + 1.5 * abs(strength) / (3 * 0.8) * (noise(z + 0.8 * sign * v) - noise(z))
    expected = retrace(latent, trace, latent.condition, offset=z - top)
    editor = Pullback(level=0.65, steps=6, rank=2, scale=1.5, repeats=3, probe=0.8)
    found = editor.edit(latent, target, [strength], seed=5)[0].z
    assert relative_error(found, expected) < 1e-9
    assert relative_error(found, latent.z) > 1e-2


def denoisers(backbone: GaussianMixtureBackbone, z: Tensor, s: float, text: Condition) -> Tensor:
    """``I - s J_v`` of each image, in closed form."""
    return torch.eye(6, dtype=z.dtype) - s * backbone.at(z, levels_of(z, s), text).jacobian


@pytest.mark.slow_except("-0.6-0", "1.2-0")
@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("strength", [-0.6, 1.2])
def test_loco_projects_the_masked_change_onto_the_null_space(latent: JointLatent, rank: int, strength: float) -> None:
    """Everything after the inversion written out, with the singular vectors of closed-form Jacobians."""
    backbone = latent.backbone
    target, s = backbone.embed(["c"]), 0.65
    trace = invert(latent, latent.path(6, s))
    top, s_batch = trace.top, levels_of(latent.z, s)
    mask = difference_mask(edit_of(latent, seed=5), level=0.4, maps=2, ratio=2.0)
    assert bool(mask.any(1).all())
    assert bool((~mask).any(1).all())
    edited, original = (backbone.at(top, s_batch, text) for text in (target, latent.condition))
    wanted = mask * (edited.clean - original.clean)
    v = batch_matvec(denoisers(backbone, top, s, target).mT, wanted)
    if rank:
        rest = ~mask[:, :, None] * denoisers(backbone, top, s, latent.condition)
        leading = torch.linalg.svd(rest)[2][:, :rank]
        v = v - batch_matvec(leading.mT @ leading, v)
    offset = strength * 1.5 * 0.35 * v * (wanted.norm(dim=1) / v.norm(dim=1))[:, None]
    expected = retrace(latent, trace, latent.condition, offset=offset)
    editor = LOCO(level=s, steps=6, scale=1.5, rank=rank, mask_level=0.4, maps=2, ratio=2.0)
    found = editor.edit(latent, target, [strength], seed=5)[0].z
    assert relative_error(found, expected) < 1e-9
    assert relative_error(found, latent.z) > 1e-2


@pytest.mark.parametrize(
    "editor",
    [
        AsymmetricEdit(site="velocity"),
        Pullback(rank=7),  # the latent has 6 numbers
        LOCO(rank=6),  # leaves no direction to move along
    ],
)
def test_unknown_sites_and_too_large_ranks_are_rejected(latent: JointLatent, editor: Editor) -> None:
    with latent.backbone.count() as cost, pytest.raises(ConfigError):
        editor.edit(latent, latent.backbone.embed(["c"]), [1.0])
    assert cost.evaluations == 0 or editor.name == "asyrp"  # inverts first
