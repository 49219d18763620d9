"""Networks that every derivative can pass through: attention as plain products, and nothing compiled."""

import functools
import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import group_norm, scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from latentedit.core.process import SharedContext


@contextmanager
def differentiable_attention() -> Generator[None]:
    """Compute attention as plain matrix products inside the context, in this thread, so that every derivative passes.

    PyTorch's fused kernels (flash, memory-efficient, cuDNN) have neither a forward-mode derivative nor a second one;
    the "math" kernel has both, with memory quadratic in the number of tokens. ``torch.nn.attention.sdpa_kernel`` would
    choose it for every thread of the process. Compiled kernels know no tangents, so compiled networks run eagerly.
    """
    with _Differentiable(), uncompiled():
        yield


class _Differentiable(TorchFunctionMode):
    """Computes attention by PyTorch's "math" kernel, and group norms of contiguous tensors; local to a thread."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is group_norm:  # PyTorch has no forward mode of group norms of other tensors
            args = (args[0].contiguous(), *args[1:])
        called = _math if func is scaled_dot_product_attention else func
        return called(*args, **(kwargs or {}))


def _math(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """`scaled_dot_product_attention`: casts under autocast, and masks of truth values, as all of its kernels have."""
    device = query.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    if attn_mask is not None:
        added = attn_mask.to(query.dtype)
        is_bool = attn_mask.dtype == torch.bool
        attn_mask = torch.zeros_like(added).masked_fill(~attn_mask, -torch.inf) if is_bool else added
    kernel = torch.ops.aten._scaled_dot_product_attention_math
    with torch.autocast(device, enabled=False):
        return kernel(query, key, value, attn_mask, dropout_p, is_causal, None, scale=scale, enable_gqa=enable_gqa)[0]


@contextmanager
def uncompiled() -> Generator[None]:
    """Run compiled networks eagerly inside the context, in every thread, so that hooks of their modules act.

    Compiled code silently omits hooks registered after compilation. PyTorch before 2.6 cannot be stopped from running
    it; `latentedit.models.sites` then finds that a hook was not reached.
    """
    if _set_stance() is None:  # nothing has been compiled, or PyTorch is older
        yield
        return
    with _EAGER.open():
        yield


def _set_stance() -> Any:
    return getattr(sys.modules.get("torch._dynamo"), "set_stance", None)


# PyTorch's stance, which is process-wide.
_EAGER = SharedContext(lambda: functools.partial(_set_stance()("force_eager").__exit__, None, None, None))
