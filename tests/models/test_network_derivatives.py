"""Derivatives of networks as people run them: in half precision, with weights stored in eight bits, or offloaded."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from latentedit.core.linalg.autodiff import Mode
from latentedit.core.rng import draw
from latentedit.models.attention import differentiable_attention
from latentedit.models.base import Backbone
from latentedit.models.derivatives import VelocityJacobian
from latentedit.models.feature_jacobian import FeatureJacobian, FeatureMap
from latentedit.models.registry import load
from latentedit.testing.tolerances import relative_error, tolerance
from tests.models.families.family import change

pytestmark = pytest.mark.slow

CAPTION = "a person with red hair and glasses"
SIDE_PX = 64
NAMES = ["sd", "without_t5"]


def jacobian(backbone: Backbone, mode: Mode | None = None, *, rms: float | None = None) -> VelocityJacobian:
    """At a latent and level for each element; ``rms`` is the step a number."""
    z = draw((2, *backbone.latent_shape(SIDE_PX, SIDE_PX)), seed=0, purpose="networks").to(backbone.dtype)
    s = torch.tensor([0.5, 0.7], dtype=backbone.dtype)
    step = None if rms is None else rms * math.sqrt(z[0].numel())
    return VelocityJacobian(backbone, z, s, backbone.embed([CAPTION]), mode=mode, step=step)


def tangent(backbone: Backbone) -> Tensor:
    shape = backbone.latent_shape(SIDE_PX, SIDE_PX)
    return draw((2, *shape), seed=1, purpose="networks").to(backbone.dtype)


def feature_jacobian(backbone: Backbone, mode: Mode) -> FeatureJacobian:
    z = draw((1, *backbone.latent_shape(SIDE_PX, SIDE_PX)), seed=0, purpose="networks").to(backbone.dtype)
    feature = FeatureMap(backbone=backbone, site=backbone.default_site, level=0.6, condition=backbone.embed([CAPTION]))
    return FeatureJacobian(feature, z, mode=mode)


@pytest.mark.parametrize("name", NAMES)
def test_dual_numbers_give_what_functorch_gives(name: str, request: pytest.FixtureRequest) -> None:
    """Another implementation, which works where no hook casts or moves parameters."""
    backbone: Backbone = request.getfixturevalue(name)
    z = draw((2, *backbone.latent_shape(SIDE_PX, SIDE_PX)), seed=0, purpose="networks")
    u, s, condition = tangent(backbone), torch.tensor([0.5, 0.7]), backbone.embed([CAPTION]).repeat(2)
    with differentiable_attention(), torch.no_grad():
        expected = torch.func.jvp(lambda z: backbone.velocity(z, s, condition), (z,), (u,))[1]
    assert relative_error(jacobian(backbone, "forward").matvec(u), expected) <= 1e-6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", NAMES)
def test_differences_of_half_precision_step_further(
    name: str, dtype: torch.dtype, request: pytest.FixtureRequest
) -> None:
    """The step goes by the network's dtype, not by that of the latent, which is float32."""
    exact: Backbone = request.getfixturevalue(name)
    half, u = load(request.getfixturevalue(f"folder_{name}"), device="cpu", dtype=dtype), tangent(exact)
    truth = jacobian(exact, "forward").matvec(u)
    # SD predicts noise: its velocity, and so the rounding, is magnified by 1 / (1 - s)
    assert (
        relative_error(jacobian(half, "finite_difference").matvec(u), truth) <= {"sd": 0.08, "without_t5": 0.06}[name]
    )
    by_latent = jacobian(half, "finite_difference", rms=2.2e-4).matvec(u)
    assert relative_error(by_latent, truth) > 1, "the step of float32 drowns in rounding"
    features = feature_jacobian(half, "finite_difference").matmat(u)
    assert relative_error(features, feature_jacobian(exact, "forward").matmat(u)) <= 0.08


@pytest.mark.parametrize(("name", "throughout"), [("sd", True), ("without_t5", False)])
def test_differences_of_float64_step_as_the_network_computes(
    name: str, throughout: bool, request: pytest.FixtureRequest
) -> None:
    """SD3 rounds to float32 inside; the U-Nets of Stable Diffusion round nowhere."""
    wide = load(request.getfixturevalue(f"folder_{name}"), device="cpu", dtype=torch.float64)
    u = tangent(wide)
    truth = jacobian(wide, "forward").matvec(u)
    default = relative_error(jacobian(wide, "finite_difference").matvec(u), truth)
    short, long = (
        relative_error(jacobian(wide, "finite_difference", rms=rms).matvec(u), truth) for rms in (1e-5, 2.2e-4)
    )
    assert default == (short if throughout else long)
    assert default <= (tolerance("difference", torch.float64) if throughout else 5e-5)
    assert (long if throughout else short) > 2 * default


@pytest.fixture(params=["fp8", "groups"])
def hooked(request: pytest.FixtureRequest, folder_without_t5: Path) -> tuple[Backbone, Backbone]:
    """A model under hooks that cast or move its parameters, and the same without them, its parameters rounded alike."""
    model, plain = (load(folder_without_t5, device="cpu") for _ in range(2))
    networks: Any = model, plain
    change(None, networks[0]._network, request.param)
    stored = dict(networks[0]._network.named_parameters())
    with torch.no_grad():
        for name, parameter in networks[1]._network.named_parameters():
            parameter.copy_(parameter.to(stored[name].dtype))
    return model, plain


@pytest.mark.nightly
@pytest.mark.parametrize("mode", ["forward", "double_backward"])
def test_derivatives_pass_hooks_that_cast_or_move_parameters(hooked: tuple[Backbone, Backbone], mode: Mode) -> None:
    """Products one after the other, the transpose, and features, whose pass ends early, are those without hooks."""
    model, plain = hooked
    u = tangent(model)
    first, other = jacobian(model, mode), jacobian(plain, mode)
    for w in (u, u.flip(0)):
        assert relative_error(first.matvec(w), other.matvec(w)) <= 1e-6
        assert relative_error(first.rmatvec(w), other.rmatvec(w)) <= 1e-6
    assert first.note == ""
    features, others = (feature_jacobian(backbone, mode) for backbone in hooked)
    product = features.matmat(u)
    assert relative_error(product, others.matmat(u)) <= 1e-6
    assert relative_error(features.rmatmat(product), others.rmatmat(product)) <= 1e-6
    assert relative_error(jacobian(model, mode).matvec(u), other.matvec(u)) <= 1e-6, "hooks are as they were"
