"""Row 9: both modes of the Jacobian-vector product against the closed form, and what they cost."""

import dataclasses

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from latentedit.backbones.derivatives import JvpMode, velocity_jvp
from latentedit.errors import ConfigError, ShapeError, UnsupportedDerivativeError
from latentedit.noise.rng import draw
from latentedit.testing.gaussian_mixture import GaussianMixtureBackbone, example_mixture
from latentedit.testing.tolerances import relative_error, tolerance
from latentedit.types import Condition

MODES: list[JvpMode] = ["forward", "finite_difference"]


def question(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    z, u = draw((2, 3, 5), seed=0, purpose="derivatives").to(dtype)
    return z, torch.tensor([0.02, 0.5, 0.98], dtype=dtype), u


def without_forward_mode(backbone: GaussianMixtureBackbone) -> GaussianMixtureBackbone:
    backbone.capabilities = dataclasses.replace(backbone.capabilities, derivatives=frozenset[str]())
    return backbone


@pytest.mark.parametrize(("mode", "quantity"), [("forward", "derivative"), ("finite_difference", "difference")])
def test_row_9_products_are_those_of_the_closed_jacobian(mode: JvpMode, quantity: str) -> None:
    backbone = example_mixture()
    z, s, u = question()
    truth = backbone.at(z, s, backbone.embed(["a"]))
    expected = torch.einsum("bij,bj->bi", truth.jacobian, u)
    v, product = velocity_jvp(backbone, z, s, backbone.embed(["a"]), u, mode=mode)
    assert relative_error(v, truth.velocity) <= tolerance("velocity", torch.float64)
    assert relative_error(product, expected) <= tolerance(quantity, torch.float64)
    assert relative_error(-product, expected) > 1


@pytest.mark.parametrize("mode", MODES)
def test_float32_products_are_close_enough(mode: JvpMode) -> None:
    z, s, u = question()
    exact = example_mixture()
    expected = torch.einsum("bij,bj->bi", exact.at(z, s, exact.embed(["a"])).jacobian, u)
    backbone = example_mixture(dtype=torch.float32)
    z, s, u = question(torch.float32)
    product = velocity_jvp(backbone, z, s, backbone.embed(["a"]), u, mode=mode)[1]
    assert product.dtype == torch.float32
    assert relative_error(product, expected) <= tolerance("difference", torch.float32)


@pytest.mark.parametrize("mode", MODES)
def test_products_are_linear_in_the_tangent_and_zero_for_zero(mode: JvpMode) -> None:
    backbone = example_mixture()
    z, s, u = question()
    tangents = torch.stack([u[0], torch.zeros(5, dtype=torch.float64), 1e6 * u[0]])
    product = velocity_jvp(backbone, z[:1].expand(3, 5), s[1].expand(3), backbone.embed(["a"]), tangents, mode=mode)[1]
    assert bool((product[1] == 0).all())
    assert relative_error(product[2], 1e6 * product[0]) <= 1e-12


@pytest.mark.parametrize("mode", [*MODES, None])
def test_three_evaluations_an_element_are_counted(mode: JvpMode | None) -> None:
    backbone = example_mixture()
    z, s, u = question()
    velocity_jvp(backbone, z, s, backbone.embed(["a"]), u, mode=mode)
    assert backbone.evaluations == 9


def test_latents_of_any_shape_and_one_text_each() -> None:
    backbone, flat = example_mixture(dimension=6, latent=(2, 3)), example_mixture(dimension=6)
    z, u = draw((2, 2, 2, 3), seed=0, purpose="shape").double()
    s = torch.tensor([0.3, 0.6], dtype=torch.float64)
    condition = backbone.embed(["a", "b"])
    for mode in MODES:
        product = velocity_jvp(backbone, z, s, condition, u, mode=mode)[1]
        expected = velocity_jvp(flat, z.flatten(1), s, condition, u.flatten(1), mode="forward")[1]
        assert relative_error(product.flatten(1), expected) <= tolerance("difference", torch.float64)


def test_the_default_is_what_the_model_can_do() -> None:
    z, s, u = question()
    able, unable = example_mixture(), without_forward_mode(example_mixture())
    condition = able.embed(["a"])
    forward = velocity_jvp(able, z, s, condition, u, mode="forward")[1]
    differences = velocity_jvp(able, z, s, condition, u, mode="finite_difference")[1]
    assert torch.equal(velocity_jvp(able, z, s, condition, u)[1], forward)
    assert torch.equal(velocity_jvp(unable, z, s, condition, u)[1], differences)
    with pytest.raises(UnsupportedDerivativeError, match="finite_difference"):
        velocity_jvp(unable, z, s, condition, u, mode="forward")


def test_forward_mode_works_without_gradients_and_leaves_no_graph() -> None:
    backbone = example_mixture()
    z, s, u = question()
    with torch.no_grad():
        quiet = velocity_jvp(backbone, z, s, backbone.embed(["a"]), u, mode="forward")[1]
    assert relative_error(quiet, velocity_jvp(backbone, z, s, backbone.embed(["a"]), u, mode="forward")[1]) == 0
    assert not quiet.requires_grad


def test_attention_is_differentiated_through_the_math_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = example_mixture(dimension=32, latent=(1, 4, 8))
    z, u = draw((2, 2, 1, 4, 8), seed=0, purpose="attention")
    s = torch.tensor([0.3, 0.6])

    def attend(z: Tensor, s: Tensor, condition: Condition) -> Tensor:
        return functional.scaled_dot_product_attention(z, 2 * z, z.sin())

    monkeypatch.setattr(backbone, "_velocity", attend)
    product = velocity_jvp(backbone, z, s, backbone.embed(["a"]), u, mode="forward")[1]
    z64, s64, u64 = z.double(), s.double(), u.double()
    differences = velocity_jvp(backbone, z64, s64, backbone.embed(["a"]), u64, mode="finite_difference")[1]
    assert relative_error(product, differences) <= 1e-5
    with pytest.raises(NotImplementedError):
        torch.func.jvp(lambda latent: attend(latent, s, backbone.embed(["a"])), (z,), (u,))


def test_an_operation_without_forward_mode_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = example_mixture()
    z, s, u = question()

    def impossible(z: Tensor, s: Tensor, condition: Condition) -> Tensor:
        raise NotImplementedError("forward AD of frobnicate")

    monkeypatch.setattr(backbone, "_velocity", impossible)
    with pytest.raises(UnsupportedDerivativeError, match="frobnicate"):
        velocity_jvp(backbone, z, s, backbone.embed(["a"]), u, mode="forward")


def test_what_makes_no_sense_is_refused() -> None:
    backbone = example_mixture()
    z, s, u = question()
    condition = backbone.embed(["a"])
    # Run-time checks of shape annotations, where they are on, are first to notice.
    with pytest.raises((ShapeError, TypeError)):
        velocity_jvp(backbone, z, s, condition, u[:, :3])
    with pytest.raises(ConfigError):
        velocity_jvp(backbone, z, s, condition, u, mode="finite_difference", step=0.0)
