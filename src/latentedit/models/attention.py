"""The attention kernel that every derivative can pass through."""

from collections.abc import Generator
from contextlib import contextmanager

from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def differentiable_attention() -> Generator[None]:
    """Run attention as plain matrix products inside the context.

    PyTorch's fused kernels (flash, memory-efficient, cuDNN) have no forward-mode derivative and no second one; the
    "math" kernel has both. Values agree with the fused kernels up to rounding.

    Cost:
        Memory quadratic in the number of tokens; no network evaluation.
    """
    with sdpa_kernel(SDPBackend.MATH):
        yield
