import pytest
import torch
from torch import Tensor, nn

from latentedit.core.errors import ModelError, ShapeError
from latentedit.models.sites import Site, read, shifted


class Pair(nn.Module):
    """Two outputs."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x + 1, 3 * x


class Network(nn.Module):
    """Three modules in a row; the third is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.pair, self.last, self.unused = Pair(), nn.ReLU(), nn.ReLU()
        self.after = 0

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.pair(x)
        self.after += 1
        return self.last(first - second)


X = torch.tensor([[1.0, -2.0]])


def hooks(network: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in network.modules())


def test_the_pass_stops_at_the_site_and_leaves_no_hook() -> None:
    network = Network()
    for item, expected in ((0, X + 1), (1, 3 * X)):
        assert torch.equal(read(Site(module=network.pair, item=item), "pair", lambda: network(X)), expected)
    assert network.after == 0
    assert torch.equal(read(Site(module=network.last), "last", lambda: network(X)), (1 - 2 * X).relu())
    assert hooks(network) == 0


def test_a_shift_moves_one_output_and_leaves_no_hook() -> None:
    network = Network()
    plain, shift = network(X), torch.tensor([[0.5, 2.0]])
    with shifted(Site(module=network.pair, item=1), "pair", shift):
        assert torch.equal(network(X), (1 - 2 * X - shift).relu())
    with shifted(Site(module=network.last), "last", shift.double()):
        moved = network(X)
    assert torch.equal(moved, plain + shift)
    assert moved.dtype == plain.dtype
    assert hooks(network) == 0
    assert torch.equal(network(X), plain)


def test_errors_pass_and_leave_no_hook() -> None:
    network = Network()

    def fails() -> None:
        raise KeyError("inside")

    with pytest.raises(KeyError):
        read(Site(module=network.pair), "pair", fails)
    with pytest.raises(ModelError, match=r"'unused'.*another site"):
        read(Site(module=network.unused), "unused", lambda: network(X))
    with (
        pytest.raises((ShapeError, TypeError)),
        shifted(Site(module=network.last), "last", torch.zeros(1, 3)),
    ):
        network(X)
    assert hooks(network) == 0
