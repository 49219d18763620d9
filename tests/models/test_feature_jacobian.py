"""Jacobians of features with respect to the latent."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

from latentedit.core.errors import ModelError, ShapeError, UnsupportedDerivativeError
from latentedit.models.base import Backbone
from latentedit.models.derivatives import FeatureJacobian, FeatureMap
from latentedit.models.families.sd3 import StableDiffusion3Backbone
from latentedit.models.registry import load
from latentedit.numerics.rng import draw
from tests.testing.gaussian_mixture import example_mixture
from tests.testing.tolerances import relative_error, tolerance

LEVEL = 0.6
SITE = "block.0.image"


def latent_of(backbone: Backbone) -> Tensor:
    shape = backbone.latent_shape(backbone.capabilities.sizes[0], backbone.capabilities.sizes[0])
    return draw((1, *shape), seed=0, purpose="tests").to(backbone.dtype)


def map_of(backbone: Backbone, site: str = SITE, **settings: Any) -> FeatureMap:
    return FeatureMap(
        backbone=backbone, site=site, level=LEVEL, condition=backbone.embed(["face with beard"]), **settings
    )


def jacobian_of(backbone: Backbone, site: str = SITE, *, mode: Any = None, rows: int = 8, **settings: Any) -> Any:
    return FeatureJacobian(map_of(backbone, site, **settings), latent_of(backbone), mode=mode, rows=rows)


def directions(backbone: Backbone, count: int) -> Tensor:
    return draw((count, *latent_of(backbone).shape[1:]), seed=1, purpose="tests").to(backbone.dtype)


@pytest.mark.slow_except("block.0.text")
@pytest.mark.parametrize("site", ["block.0.text", SITE, "clean", "image"])
def test_all_derivative_back_ends_agree(without_t5: StableDiffusion3Backbone, site: str) -> None:
    """Forward mode, two reverse passes, differences, and the transpose."""
    v, forward = directions(without_t5, 3), jacobian_of(without_t5, site)
    product = forward.matmat(v)
    assert forward.mode == "forward"
    assert float(product.norm()) > 0
    double, differences = (
        jacobian_of(without_t5, site, mode=mode).matmat(v) for mode in ("double_backward", "finite_difference")
    )
    assert relative_error(double, product) <= tolerance("derivative", torch.float32)
    # The text stream hardly depends on z, so its rounding weighs more in a difference.
    assert relative_error(differences, product) <= 4 * tolerance("difference", torch.float32)
    u = draw(product.shape, seed=2, purpose="tests")
    left, right = (u * product).flatten(1).sum(1), (forward.rmatmat(u) * v).flatten(1).sum(1)
    scale = float(u[0].norm() * product[0].norm())
    assert torch.allclose(left, right, atol=tolerance("derivative", torch.float32) * scale)


def test_rows_per_call_do_not_matter_and_cost_is_counted(without_t5: StableDiffusion3Backbone) -> None:
    v = directions(without_t5, 5)
    with without_t5.count() as cost:
        whole = jacobian_of(without_t5)
        assert cost.evaluations == 1
        product = whole.matmat(v)
    assert cost.evaluations == 11
    parts = jacobian_of(without_t5, rows=2)
    assert relative_error(parts.matmat(v), product) <= tolerance("batch", torch.float32)
    assert relative_error(parts.rmatmat(product), whole.rmatmat(product)) <= tolerance("batch", torch.float32)
    assert whole.products == parts.products == 10
    assert whole.matmat(v[:0]).shape == (0, *product.shape[1:])


@pytest.mark.slow
def test_pooling_sums_over_space(without_t5: StableDiffusion3Backbone) -> None:
    v = directions(without_t5, 2)
    for site, dims in ((SITE, (1,)), ("block.0.text", (1,)), ("clean", (2, 3))):
        whole, pooled = jacobian_of(without_t5, site), jacobian_of(without_t5, site, pooling="space")
        assert torch.allclose(pooled.matmat(v), whole.matmat(v).sum(dims), atol=1e-4)
    mixture = example_mixture()
    flat = FeatureMap(backbone=mixture, site="clean", level=LEVEL, condition=mixture.embed(["a"]), pooling="space")
    with pytest.raises(ShapeError):
        flat(torch.zeros(1, 5, dtype=torch.float64))


def test_nan_weights_raise_a_model_error(folder_without_t5: Any) -> None:
    broken = load(folder_without_t5, device="cpu")
    assert isinstance(broken, StableDiffusion3Backbone)
    with torch.no_grad():
        next(iter(broken._network.transformer_blocks.parameters())).fill_(torch.nan)
    with pytest.raises(ModelError):
        jacobian_of(broken)


def test_forward_mode_that_fails_falls_back_to_two_reverse_passes(
    without_t5: StableDiffusion3Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise NotImplementedError("no forward mode here")

    v = directions(without_t5, 2)
    expected = jacobian_of(without_t5).matmat(v)
    monkeypatch.setattr(forward_ad, "make_dual", fail)
    jacobian = jacobian_of(without_t5)
    assert relative_error(jacobian.matmat(v), expected) <= tolerance("derivative", torch.float32)
    assert jacobian.mode == "double_backward"
    assert jacobian.note.endswith("has no forward-mode derivatives (no forward mode here); used two reverse passes")
    with pytest.raises(UnsupportedDerivativeError):
        jacobian_of(without_t5, mode="forward").matmat(v)
