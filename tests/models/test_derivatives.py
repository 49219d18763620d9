"""Jacobians of velocities in every mode: against closed forms (row 9), and on networks."""

import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from latentedit.core.errors import ConfigError, ShapeError, UnsupportedDerivativeError
from latentedit.models.attention import differentiable_attention
from latentedit.models.base import Backbone
from latentedit.models.derivatives import FeatureJacobian, FeatureMap, VelocityJacobian, curvature, denoiser_jacobian
from latentedit.models.registry import load
from latentedit.numerics.autodiff import Mode
from latentedit.numerics.condition import Condition
from latentedit.numerics.operator import LinearOperator
from latentedit.numerics.rng import draw
from latentedit.testing.contracts.operator import OperatorContract
from tests.testing.gaussian_mixture import GaussianMixtureBackbone, example_mixture
from tests.testing.tolerances import relative_error, tolerance

MODES: list[Mode] = ["forward", "double_backward", "finite_difference"]
QUANTITY = {"forward": "derivative", "double_backward": "derivative", "finite_difference": "difference"}
CAPTION = "a person with red hair and glasses"


def inputs(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    z, u = draw((2, 3, 5), seed=0, purpose="derivatives").to(dtype)
    return z, torch.tensor([0.02, 0.5, 0.98], dtype=dtype), u


def mixture_jacobian(mode: Mode | None, dtype: torch.dtype = torch.float64) -> VelocityJacobian:
    backbone = example_mixture(dtype=dtype)
    z, s, _ = inputs(dtype)
    return VelocityJacobian(backbone, z, s, backbone.embed(["a"]), mode=mode)


def exact_jacobian() -> Tensor:
    backbone = example_mixture()
    z, s, _ = inputs()
    return backbone.at(z, s, backbone.embed(["a"])).jacobian


def batch_matvec(matrices: Tensor, u: Tensor) -> Tensor:
    return torch.einsum("bij,bj->bi", matrices, u)


def with_derivatives(backbone: GaussianMixtureBackbone, *declared: str) -> GaussianMixtureBackbone:
    backbone.capabilities = dataclasses.replace(backbone.capabilities, derivatives=frozenset(declared))
    return backbone


class TestExact(OperatorContract):
    @pytest.fixture(params=["forward", "double_backward"])
    def operator(self, request: pytest.FixtureRequest) -> LinearOperator:
        return mixture_jacobian(request.param)


@pytest.mark.parametrize("mode", MODES)
def test_row_9_products_match_the_exact_jacobian(mode: Mode) -> None:
    u = inputs()[2]
    jacobian, operator = exact_jacobian(), mixture_jacobian(mode)
    with torch.no_grad():
        assert not mixture_jacobian(mode).matvec(u).requires_grad
        assert not mixture_jacobian(mode).rmatvec(u).requires_grad
    assert relative_error(operator.matvec(u), batch_matvec(jacobian, u)) <= tolerance(QUANTITY[mode], torch.float64)
    assert relative_error(operator.rmatvec(u), batch_matvec(jacobian.mT, u)) <= tolerance("derivative", torch.float64)
    assert (operator.mode, operator.note) == (mode, "")
    narrow = mixture_jacobian(mode, torch.float32).matvec(inputs(torch.float32)[2])
    assert narrow.dtype == torch.float32
    assert relative_error(narrow, batch_matvec(jacobian, u)) <= tolerance("difference", torch.float32)


@pytest.mark.parametrize("mode", MODES)
def test_many_rows_are_evaluated_in_several_calls(mode: Mode, requested_rows: Callable[..., list[int]]) -> None:
    backbone = example_mixture(dimension=6, latent=(2, 3))
    z, u = draw((2, 130, 2, 3), seed=0, purpose="rows").double()
    s = torch.linspace(0.1, 0.9, 130, dtype=torch.float64)
    condition = Condition.cat([backbone.embed([text]) for text in ("a", "b", "c", "a b", "")]).repeat(26)
    parts = VelocityJacobian(backbone, z, s, condition, mode=mode)
    parts.rmatvec(parts.matvec(u))  # tests the derivatives of the backbone
    sizes = requested_rows(backbone)
    with backbone.count() as cost:
        got = parts.matvec(u), parts.rmatvec(u)
    assert sizes == ([128, 128, 4, 64, 64, 2] if mode == "finite_difference" else [64, 64, 2, 64, 64, 2])
    assert cost.evaluations == 520
    dense = example_mixture(dimension=6).at(z.flatten(1), s, condition).jacobian
    assert relative_error(got[0].flatten(1), batch_matvec(dense, u.flatten(1))) <= tolerance(
        "difference", torch.float64
    )
    assert relative_error(got[1].flatten(1), batch_matvec(dense.mT, u.flatten(1))) <= tolerance(
        "derivative", torch.float64
    )


def test_the_default_mode_is_one_that_the_model_declares() -> None:
    z, s, u = inputs()
    for declared, mode in ((("jvp", "vjp"), "forward"), (("vjp",), "double_backward"), ((), "finite_difference")):
        backbone = with_derivatives(example_mixture(), *declared)
        default = VelocityJacobian(backbone, z, s, backbone.embed(["a"]))
        assert (default.mode, default.note) == (mode, "")
        assert torch.equal(default.matvec(u), mixture_jacobian(mode).matvec(u))
    with pytest.raises(UnsupportedDerivativeError):
        default.rmatvec(u)
    for missing in ("forward", "double_backward"):
        with pytest.raises(UnsupportedDerivativeError):
            VelocityJacobian(backbone, z, s, backbone.embed(["a"]), mode=missing)


def attention_backbone(monkeypatch: pytest.MonkeyPatch, *, own_kernel: bool) -> GaussianMixtureBackbone:
    """A velocity made of attention; with ``own_kernel``, by a fused kernel that no context can change."""
    backbone = example_mixture(dimension=32, latent=(1, 4, 8))

    def attend(z: Tensor, s: Tensor, condition: Condition) -> Tensor:
        if not own_kernel:
            return functional.scaled_dot_product_attention(z, 2 * z, z.sin())
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(z, 2 * z, z.sin())[0]

    monkeypatch.setattr(backbone, "_velocity", attend)
    return backbone


ATTENDED, ALONG = draw((2, 2, 1, 4, 8), seed=0, purpose="attention")
ATTENDED_AT = torch.tensor([0.3, 0.6])


@pytest.mark.parametrize("mode", ["forward", "double_backward"])
def test_attention_is_differentiated_through_the_math_kernel(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, z, s, u = attention_backbone(monkeypatch, own_kernel=False), ATTENDED, ATTENDED_AT, ALONG
    condition = backbone.embed(["a"])
    product = VelocityJacobian(backbone, z, s, condition, mode=mode).matvec(u)
    wide = VelocityJacobian(backbone, z.double(), s.double(), condition, mode="finite_difference")
    differences = wide.matvec(u.double())
    assert relative_error(product, differences) <= 1e-5
    with pytest.raises(NotImplementedError):
        torch.func.jvp(lambda latent: backbone.velocity(latent, s, condition), (z,), (u,))
    fused = attention_backbone(monkeypatch, own_kernel=True)
    operator = VelocityJacobian(fused, z, s, condition, mode=mode)
    with pytest.raises(UnsupportedDerivativeError):
        operator.matvec(u)
    assert operator.note == "", "an explicit mode does not fall back"


def test_forward_mode_that_fails_falls_back_to_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, z, s, u = attention_backbone(monkeypatch, own_kernel=True), ATTENDED, ATTENDED_AT, ALONG
    operator = VelocityJacobian(backbone, z, s, backbone.embed(["a"]))
    assert (operator.mode, operator.note) == ("forward", "")
    with backbone.count() as cost:
        product = operator.matvec(u)
    assert operator.mode == "finite_difference"
    assert "flash_attention" in operator.note
    assert re.search(r"; used central differences, off by about 0\.\d%$", operator.note)
    assert cost.evaluations == 4, "the attempt is not counted"
    requested = VelocityJacobian(backbone, z, s, backbone.embed(["a"]), mode="finite_difference")
    assert torch.equal(product, requested.matvec(u))
    assert torch.equal(product, operator.matvec(u))
    close = tolerance("difference", torch.float32) * float(u.norm() * product.norm())
    assert float((operator.rmatvec(u) * u).sum()) == pytest.approx(float((product * u).sum()), abs=close)


def test_denoiser_and_curvature_match_the_mixture() -> None:
    backbone, number = example_mixture(), 0.4
    z, levels, u = inputs()
    s = torch.full_like(levels, number)
    truth = backbone.at(z, s, backbone.embed(["a"]))
    jacobian = VelocityJacobian(backbone, z, s, backbone.embed(["a"]))
    close = tolerance("derivative", torch.float64)
    # two other closed forms: D = (1 - s) / s^2 * covariance, and the Hessian of -log p by its own formula
    denoised = batch_matvec(truth.covariance, u) * ((1 - s) / s**2)[:, None]
    assert relative_error(denoiser_jacobian(jacobian, number).matvec(u), denoised) <= close
    curved = batch_matvec(-truth.hessian, u) * (s**2)[:, None]
    assert relative_error(curvature(jacobian, number).matvec(u), curved) <= close
    assert relative_error(curvature(jacobian, number).rmatvec(u), curved) <= close, "the mixture's is symmetric"


def test_invalid_arguments_are_rejected() -> None:
    backbone = example_mixture()
    z, s, _ = inputs()
    valid: dict[str, Any] = {"z": z, "s": s, "condition": backbone.embed(["a"])}
    # If they are enabled, run-time checks of shape annotations raise first.
    invalid: list[tuple[dict[str, Any], Any]] = [
        ({"condition": backbone.embed(["a", "b"])}, ShapeError),
        ({"mode": "backward"}, (ConfigError, TypeError)),
        ({"step": 0.0}, ConfigError),
    ]
    for other, error in invalid:
        with pytest.raises(error):
            VelocityJacobian(backbone, **valid | other)


NAMES = ["sd", "without_t5"]


def latents(backbone: Backbone, count: int, *, seed: int = 0) -> Tensor:
    return draw((count, *backbone.latent_shape(64, 64)), seed=seed, purpose="networks").to(backbone.dtype)


def jacobian(backbone: Backbone, mode: Mode | None = None, *, rms: float | None = None) -> VelocityJacobian:
    """At two latents and levels; ``rms`` is the step per element."""
    z, s = latents(backbone, 2), torch.tensor([0.5, 0.7], dtype=backbone.dtype)
    step = None if rms is None else rms * math.sqrt(z[0].numel())
    return VelocityJacobian(backbone, z, s, backbone.embed([CAPTION]), mode=mode, step=step)


def feature_jacobian(backbone: Backbone, mode: Mode) -> FeatureJacobian:
    feature = FeatureMap(backbone=backbone, site=backbone.default_site, level=0.6, condition=backbone.embed([CAPTION]))
    return FeatureJacobian(feature, latents(backbone, 1), mode=mode)


@pytest.mark.slow_except("without_t5")
@pytest.mark.parametrize("name", NAMES)
def test_dual_numbers_agree_with_functorch(name: str, request: pytest.FixtureRequest) -> None:
    """An independent implementation, which works unless hooks cast or move parameters."""
    backbone: Backbone = request.getfixturevalue(name)
    z, u = latents(backbone, 2), latents(backbone, 2, seed=1)
    s, condition = torch.tensor([0.5, 0.7]), backbone.embed([CAPTION]).repeat(2)
    with differentiable_attention(), torch.no_grad():
        expected = torch.func.jvp(lambda z: backbone.velocity(z, s, condition), (z,), (u,))[1]
    assert relative_error(jacobian(backbone, "forward").matvec(u), expected) <= 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(("name", "dtype"), [("sd", torch.float16), ("without_t5", torch.bfloat16)])
def test_differences_in_half_precision_use_longer_steps(
    name: str, dtype: torch.dtype, request: pytest.FixtureRequest
) -> None:
    """The step depends on the dtype of the network, not on that of the latent, which is float32."""
    exact: Backbone = request.getfixturevalue(name)
    half, u = load(request.getfixturevalue(f"folder_{name}"), device="cpu", dtype=dtype), latents(exact, 2, seed=1)
    truth = jacobian(exact, "forward").matvec(u)
    # SD predicts noise: its velocity, and so the rounding, is magnified by 1 / (1 - s)
    found = jacobian(half, "finite_difference").matvec(u)
    assert relative_error(found, truth) <= {"sd": 0.08, "without_t5": 0.06}[name]
    by_latent = jacobian(half, "finite_difference", rms=2.2e-4).matvec(u)
    assert relative_error(by_latent, truth) > 1, "the step of float32 drowns in rounding"
    features = feature_jacobian(half, "finite_difference").matmat(u)
    assert relative_error(features, feature_jacobian(exact, "forward").matmat(u)) <= 0.08


@pytest.mark.slow
@pytest.mark.parametrize(("name", "throughout"), [("sd", True), ("without_t5", False)])
def test_differences_in_float64_use_the_precision_of_the_network(
    name: str, throughout: bool, request: pytest.FixtureRequest
) -> None:
    """SD3 rounds to float32 inside; the U-Nets of Stable Diffusion round nowhere."""
    wide = load(request.getfixturevalue(f"folder_{name}"), device="cpu", dtype=torch.float64)
    u = latents(wide, 2, seed=1)
    truth = jacobian(wide, "forward").matvec(u)
    default, short, long = (
        relative_error(jacobian(wide, "finite_difference", rms=rms).matvec(u), truth) for rms in (None, 1e-5, 2.2e-4)
    )
    assert default == (short if throughout else long)
    assert default <= (tolerance("difference", torch.float64) if throughout else 5e-5)
    assert (long if throughout else short) > 2 * default
