"""Row 9: the Jacobian of a velocity in every mode against the closed form, and what its products cost."""

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.functional import scaled_dot_product_attention

from latentedit.core.condition import Condition
from latentedit.core.errors import ConfigError, ShapeError, UnsupportedDerivativeError
from latentedit.core.linalg.algebra import Mean
from latentedit.core.linalg.autodiff import Mode
from latentedit.core.linalg.conjugate_gradient import conjugate_gradient
from latentedit.core.linalg.operator import LinearOperator
from latentedit.core.rng import draw
from latentedit.models import derivatives
from latentedit.models.attention import differentiable_attention
from latentedit.models.derivatives import VelocityJacobian, curvature, denoiser_jacobian
from latentedit.models.sd3 import StableDiffusion3Backbone
from latentedit.testing.contracts.operator import OperatorContract
from latentedit.testing.gaussian_mixture import GaussianMixtureBackbone, example_mixture
from latentedit.testing.tolerances import relative_error, tolerance

pytestmark = pytest.mark.slow

MODES: list[Mode] = ["forward", "double_backward", "finite_difference"]
QUANTITY = {"forward": "derivative", "double_backward": "derivative", "finite_difference": "difference"}
CAPTION = "a person with red hair and glasses"


def question(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    z, u = draw((2, 3, 5), seed=0, purpose="derivatives").to(dtype)
    return z, torch.tensor([0.02, 0.5, 0.98], dtype=dtype), u


def mixture_jacobian(mode: Mode | None, dtype: torch.dtype = torch.float64) -> VelocityJacobian:
    backbone = example_mixture(dtype=dtype)
    z, s, _ = question(dtype)
    return VelocityJacobian(backbone, z, s, backbone.embed(["a"]), mode=mode)


def closed_jacobian() -> Tensor:
    backbone = example_mixture()
    z, s, _ = question()
    return backbone.at(z, s, backbone.embed(["a"])).jacobian


def apply(matrices: Tensor, u: Tensor) -> Tensor:
    return torch.einsum("bij,bj->bi", matrices, u)


def able_to(backbone: GaussianMixtureBackbone, *able: str) -> GaussianMixtureBackbone:
    backbone.capabilities = dataclasses.replace(backbone.capabilities, derivatives=frozenset(able))
    return backbone


class TestExact(OperatorContract):
    @pytest.fixture(params=["forward", "double_backward"])
    def operator(self, request: pytest.FixtureRequest) -> LinearOperator:
        return mixture_jacobian(request.param)


class TestFiniteDifference(OperatorContract):
    quantity = "difference"

    @pytest.fixture(params=[torch.float64, torch.float32])
    def operator(self, request: pytest.FixtureRequest) -> LinearOperator:
        return mixture_jacobian("finite_difference", request.param)


class TestMiniature(OperatorContract):
    @pytest.fixture
    def operator(self, with_t5: StableDiffusion3Backbone) -> LinearOperator:
        z = draw((2, *with_t5.latent_shape(64, 64)), seed=0, purpose="miniature")
        return VelocityJacobian(with_t5, z, torch.tensor([0.3, 0.8]), with_t5.embed([CAPTION]))


@pytest.mark.parametrize("mode", MODES)
def test_row_9_products_are_those_of_the_closed_jacobian(mode: Mode) -> None:
    u = question()[2]
    jacobian, operator = closed_jacobian(), mixture_jacobian(mode)
    with torch.no_grad():
        assert not mixture_jacobian(mode).matvec(u).requires_grad
        assert not mixture_jacobian(mode).rmatvec(u).requires_grad
    assert relative_error(operator.matvec(u), apply(jacobian, u)) <= tolerance(QUANTITY[mode], torch.float64)
    assert relative_error(operator.rmatvec(u), apply(jacobian.mT, u)) <= tolerance("derivative", torch.float64)
    assert (operator.mode, operator.note) == (mode, "")
    narrow = mixture_jacobian(mode, torch.float32).matvec(question(torch.float32)[2])
    assert narrow.dtype == torch.float32
    assert relative_error(narrow, apply(jacobian, u)) <= tolerance("difference", torch.float32)


@pytest.mark.parametrize("mode", MODES)
def test_many_rows_are_asked_in_several_calls(
    mode: Mode, monkeypatch: pytest.MonkeyPatch, rows_asked: Callable[..., list[int]]
) -> None:
    backbone = example_mixture(dimension=6, latent=(2, 3))
    z, u = draw((2, 5, 2, 3), seed=0, purpose="rows").double()
    s = torch.linspace(0.1, 0.9, 5, dtype=torch.float64)
    condition = Condition.cat([backbone.embed([text]) for text in ("a", "b", "c", "a b", "")])
    whole = VelocityJacobian(backbone, z, s, condition, mode=mode)
    monkeypatch.setattr(derivatives, "ROWS", 2)
    parts = VelocityJacobian(backbone, z, s, condition, mode=mode)
    sizes = rows_asked(backbone)
    with backbone.count() as cost:
        got = parts.matvec(u), parts.rmatvec(u)
    assert sizes == ([4, 4, 2, 2, 2, 1] if mode == "finite_difference" else [2, 2, 1, 2, 2, 1])
    assert cost.evaluations == 20
    monkeypatch.setattr(derivatives, "ROWS", 64)
    for part, expected in zip(got, (whole.matvec(u), whole.rmatvec(u)), strict=True):
        assert relative_error(part, expected) <= tolerance("derivative", torch.float64)
    dense = example_mixture(dimension=6).at(z.flatten(1), s, condition).jacobian
    assert relative_error(got[0].flatten(1), apply(dense, u.flatten(1))) <= tolerance("difference", torch.float64)


def test_modes_are_those_that_the_model_declares() -> None:
    z, s, u = question()
    for able, mode in ((("jvp", "vjp"), "forward"), (("vjp",), "finite_difference"), ((), "finite_difference")):
        backbone = able_to(example_mixture(), *able)
        default = VelocityJacobian(backbone, z, s, backbone.embed(["a"]))
        assert (default.mode, default.note) == (mode, "")
        assert torch.equal(default.matvec(u), mixture_jacobian(mode).matvec(u))
    with pytest.raises(UnsupportedDerivativeError, match="transpose"):
        default.rmatvec(u)
    for mode in ("forward", "double_backward"):
        with pytest.raises(UnsupportedDerivativeError, match=r"gaussian-mixture.*finite_difference"):
            VelocityJacobian(backbone, z, s, backbone.embed(["a"]), mode=mode)


def attention_backbone(monkeypatch: pytest.MonkeyPatch, *, own_kernel: bool) -> GaussianMixtureBackbone:
    """A velocity made of attention; with a kernel of its own choice, a fused one, that no context can change."""
    backbone = example_mixture(dimension=32, latent=(1, 4, 8))

    def attend(z: Tensor, s: Tensor, condition: Condition) -> Tensor:
        if not own_kernel:
            return functional.scaled_dot_product_attention(z, 2 * z, z.sin())
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(z, 2 * z, z.sin())[0]

    monkeypatch.setattr(backbone, "_velocity", attend)
    return backbone


def attention_question(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    z, u = draw((2, 2, 1, 4, 8), seed=0, purpose="attention").to(dtype)
    return z, torch.tensor([0.3, 0.6], dtype=dtype), u


@pytest.mark.parametrize("mode", ["forward", "double_backward"])
def test_attention_is_differentiated_through_the_math_kernel(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = attention_backbone(monkeypatch, own_kernel=False)
    z, s, u = attention_question()
    condition = backbone.embed(["a"])
    product = VelocityJacobian(backbone, z, s, condition, mode=mode).matvec(u)
    z64, s64, u64 = attention_question(torch.float64)
    differences = VelocityJacobian(backbone, z64, s64, condition, mode="finite_difference").matvec(u64)
    assert relative_error(product, differences) <= 1e-5
    with pytest.raises(NotImplementedError):
        torch.func.jvp(lambda latent: backbone.velocity(latent, s, condition), (z,), (u,))
    fused = attention_backbone(monkeypatch, own_kernel=True)
    operator = VelocityJacobian(fused, z, s, condition, mode=mode)
    with pytest.raises(UnsupportedDerivativeError, match=r"gaussian-mixture.*flash_attention.*finite_difference"):
        operator.matvec(u)
    assert operator.note == "", "a mode that was asked for does not fall back"


def test_it_falls_back_to_differences_where_forward_mode_turns_out_impossible(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = attention_backbone(monkeypatch, own_kernel=True)
    z, s, u = attention_question()
    operator = VelocityJacobian(backbone, z, s, backbone.embed(["a"]))
    assert (operator.mode, operator.note) == ("forward", "")
    with backbone.count() as cost:
        product = operator.matvec(u)
    assert operator.mode == "finite_difference"
    assert "flash_attention" in operator.note
    assert operator.note.endswith("; used central differences")
    assert cost.evaluations == 4, "the attempt is not counted"
    asked = VelocityJacobian(backbone, z, s, backbone.embed(["a"]), mode="finite_difference")
    assert torch.equal(product, asked.matvec(u))
    assert torch.equal(product, operator.matvec(u))
    close = tolerance("difference", torch.float32) * float(u.norm() * product.norm())
    assert float((operator.rmatvec(u) * u).sum()) == pytest.approx(float((product * u).sum()), abs=close)


@pytest.mark.parametrize("level", ["one", "each"])
def test_denoiser_and_curvature_are_those_of_the_mixture(level: str) -> None:
    backbone = example_mixture()
    z, levels, u = question()
    s = torch.full_like(levels, 0.4) if level == "one" else levels
    truth = backbone.at(z, s, backbone.embed(["a"]))
    jacobian = VelocityJacobian(backbone, z, s, backbone.embed(["a"]))
    number = 0.4 if level == "one" else s
    close = tolerance("derivative", torch.float64)
    # two other closed forms: D = (1 - s) / s^2 * covariance, and the Hessian of -log p by its own formula
    denoised = apply(truth.covariance, u) * ((1 - s) / s**2)[:, None]
    assert relative_error(denoiser_jacobian(jacobian, number).matvec(u), denoised) <= close
    curved = apply(-truth.hessian, u) * (s**2)[:, None]
    assert relative_error(curvature(jacobian, number).matvec(u), curved) <= close
    assert relative_error(curvature(jacobian, number).rmatvec(u), curved) <= close, "the mixture's is symmetric"


def test_a_mean_over_noises_is_inverted_by_conjugate_gradients() -> None:
    """The chain that a filtered direction is made of, against matrices."""
    backbone = example_mixture()
    x, noise, u = draw((3, 2, 5), seed=0, purpose="chain").double()
    z = (0.4 * x + 0.6 * noise[:, None]).flatten(0, 1)
    s, condition = torch.full((4,), 0.6, dtype=torch.float64), backbone.embed(["a", "b"]).repeat(2)
    hessian = Mean(curvature(VelocityJacobian(backbone, z, s, condition), 0.6), 2)
    solution = conjugate_gradient(hessian, u, iterations=10, tolerance=1e-12)
    matrices = -0.36 * backbone.at(z, s, condition).hessian.reshape(2, 2, 5, 5).mean(0)
    spectrum = torch.linalg.eigvalsh(matrices)
    assert bool((spectrum > 0.02).all()), "the example is meant to be definite"
    assert relative_error(solution.value, torch.linalg.solve(matrices, u)) <= 1e-9


def test_what_makes_no_sense_is_refused() -> None:
    backbone = example_mixture()
    z, s, _ = question()
    condition = backbone.embed(["a"])
    # Run-time checks of shape annotations, where they are on, are first to notice.
    with pytest.raises((ShapeError, TypeError)):
        VelocityJacobian(backbone, z, s[:2], condition)
    with pytest.raises(ShapeError):
        VelocityJacobian(backbone, z, s, backbone.embed(["a", "b"]))
    with pytest.raises((ConfigError, TypeError)):
        VelocityJacobian(backbone, z, s, condition, mode="backward")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="step"):
        VelocityJacobian(backbone, z, s, condition, step=0.0)


def test_forward_mode_passes_through_attention() -> None:
    x, u = (draw((1, 2, 5, 8), seed=seed, purpose="attention").double() for seed in (0, 1))

    def attend(x: torch.Tensor) -> torch.Tensor:
        return scaled_dot_product_attention(x, 2 * x, x)

    with differentiable_attention():
        value, product = torch.func.jvp(attend, (x,), (u,))
        difference = (attend(x + 1e-6 * u) - attend(x - 1e-6 * u)) / 2e-6
    assert torch.allclose(product, difference, atol=1e-8)
    assert torch.allclose(value, torch.softmax(2 * x @ x.mT / 8**0.5, dim=-1) @ x, atol=1e-12)
