"""Networks that are compiled: hooks act on them, and derivatives pass through them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from latentedit.core.linalg.autodiff import Derivative
from latentedit.models.attention import differentiable_attention
from latentedit.models.sites import Site, read, shifted
from latentedit.models.uncompiled import uncompiled

pytestmark = pytest.mark.slow

X, U = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.5, 1.0]])


class Network(nn.Module):
    """Two modules in a row."""

    def __init__(self) -> None:
        super().__init__()
        self.block, self.last = nn.Tanh(), nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.block(x))


def kernels(graph: Any, _inputs: Any) -> Callable[..., Any]:
    """A backend whose code, as that of compiled kernels, reads numbers and no tangents."""
    return lambda *inputs: graph(*(part.detach() for part in inputs))


@pytest.mark.nightly
def test_hooks_and_derivatives_reach_into_a_compiled_network() -> None:
    network = Network()
    build: Any = torch.compile
    compiled = build(network, backend=kernels)
    site, plain = Site(module=network.block), compiled(X)
    moved = network.last(network.block(X) + U)
    with shifted(site, "block", U):
        assert torch.equal(compiled(X), moved), "the shift was left out"
    assert torch.equal(compiled(X), plain)
    assert torch.equal(read(site, "block", lambda: compiled(X)), network.block(X))

    def field(z: Tensor) -> Tensor:
        with differentiable_attention():
            return compiled(z)

    expected = Derivative(network, X, mode="forward").forward(U)
    assert torch.equal(Derivative(field, X, mode="forward").forward(U), expected)


def test_the_last_context_to_close_lets_compiled_code_run_again() -> None:
    ran: list[int] = []

    def counted(graph: Any, _inputs: Any) -> Callable[..., Any]:
        def run(*inputs: Tensor) -> Any:
            ran.append(1)
            return graph(*inputs)

        return run

    build: Any = torch.compile
    compiled = build(Network(), backend=counted)
    outer, inner = uncompiled(), uncompiled()
    with outer:
        inner.__enter__()
        compiled(X)
    compiled(X)
    inner.__exit__(None, None, None)
    assert not ran, "one of the two was still open"
    compiled(X)
    assert ran == [1]
