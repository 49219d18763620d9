"""The context in which attention has forward-mode and second derivatives."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from latentedit.core.rng import draw
from latentedit.models.attention import differentiable_attention


def test_forward_mode_passes_through_attention() -> None:
    x, u = (draw((1, 2, 5, 8), seed=seed, purpose="attention").double() for seed in (0, 1))

    def attend(x: torch.Tensor) -> torch.Tensor:
        return scaled_dot_product_attention(x, 2 * x, x)

    with differentiable_attention():
        value, product = torch.func.jvp(attend, (x,), (u,))
        difference = (attend(x + 1e-6 * u) - attend(x - 1e-6 * u)) / 2e-6
    assert torch.allclose(product, difference, atol=1e-8)
    assert torch.allclose(value, torch.softmax(2 * x @ x.mT / 8**0.5, dim=-1) @ x, atol=1e-12)


def test_the_fused_kernel_has_none_so_the_context_is_needed() -> None:
    x = draw((1, 2, 5, 8), seed=0, purpose="attention")
    with pytest.raises((NotImplementedError, RuntimeError)):
        torch.func.jvp(lambda x: scaled_dot_product_attention(x, x, x), (x,), (x,))
