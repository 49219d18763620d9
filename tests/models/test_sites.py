"""Features that are read or changed inside a network, also if it is compiled or shared by threads."""

import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from latentedit.core.errors import ModelError, ShapeError
from latentedit.models.attention import differentiable_attention, uncompiled
from latentedit.models.sites import Site, giving, keeping, projections, read
from latentedit.numerics.autodiff import Derivative
from latentedit.numerics.rng import draw, seeded


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
    with giving({"pair": Site(module=network.pair, item=1)}, {"pair": shift}, added=True):
        assert torch.equal(network(X), (1 - 2 * X - shift).relu())
    with giving({"last": Site(module=network.last)}, {"last": shift.double()}, added=True):
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
    with pytest.raises(ModelError):
        read(Site(module=network.unused), "unused", lambda: network(X))
    for name, value in (("unused", X), ("last", torch.zeros(1, 3))):
        site = {name: Site(module=getattr(network, name))}
        with pytest.raises((ModelError, ShapeError, TypeError)), giving(site, {name: value}, added=True):
            network(X)
    assert hooks(network) == 0


class Attention(nn.Module):
    """Single-head attention with diffusers' names; its inputs are two text tokens and three image tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.to_q, self.to_k, self.to_v = (nn.Linear(4, 4) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        weights = (self.to_q(x) @ self.to_k(x).mT).softmax(-1)
        return weights @ self.to_v(x)


def test_values_of_the_image_are_replaced_and_those_of_the_text_are_kept() -> None:
    with seeded(0):
        attention, other = Attention(), torch.ones(1, 3, 4)
    x = torch.arange(20.0).reshape(1, 5, 4).sin()
    sites = projections({"block.0": Site(module=attention, image="last")})
    assert list(sites) == ["block.0.query", "block.0.key", "block.0.value"]
    only = {"block.0.value": sites["block.0.value"]}
    with keeping(only, tokens=3) as kept:
        plain = attention(x)
    assert torch.equal(kept["block.0.value"], attention.to_v(x)[:, 2:])
    with giving(only, {"block.0.value": other}, tokens=3):
        given = attention(x)
    weights = (attention.to_q(x) @ attention.to_k(x).mT).softmax(-1)
    assert torch.allclose(given, weights @ torch.cat([attention.to_v(x)[:, :2], other], 1))
    assert not torch.allclose(given, plain)
    assert torch.equal(attention(x), plain)
    assert hooks(attention) == 0


def test_modules_that_run_never_or_twice_are_rejected() -> None:
    network = Network()
    sites = {"last": Site(module=network.last), "unused": Site(module=network.unused)}
    with pytest.raises(ModelError), keeping(sites):
        network(X)
    with pytest.raises(ModelError), keeping({"last": sites["last"]}):
        network(network(X))
    with pytest.raises(KeyError), keeping(sites):
        raise KeyError("inside")
    assert hooks(network) == 0


U = torch.tensor([[0.5, 1.0]])


def two_modules() -> Any:
    return nn.Sequential(OrderedDict(block=nn.Tanh(), last=nn.Sigmoid()))


def backend_without_tangents(graph: Any, _inputs: Any) -> Callable[..., Any]:
    """A backend that, like compiled kernels, ignores tangents."""
    return lambda *inputs: graph(*(part.detach() for part in inputs))


@pytest.mark.nightly
def test_hooks_and_derivatives_reach_into_a_compiled_network() -> None:
    network = two_modules()
    build: Any = torch.compile
    compiled = build(network, backend=backend_without_tangents)
    site, plain = Site(module=network.block), compiled(X)
    moved = network.last(network.block(X) + U)
    with giving({"block": site}, {"block": U}, added=True):
        assert torch.equal(compiled(X), moved), "the shift was ignored"
    assert torch.equal(compiled(X), plain)
    assert torch.equal(read(site, "block", lambda: compiled(X)), network.block(X))

    def field(z: Tensor) -> Tensor:
        with differentiable_attention():
            return compiled(z)

    expected = Derivative(network, X, mode="forward").forward(U)
    assert torch.equal(Derivative(field, X, mode="forward").forward(U), expected)


def test_compiled_code_runs_again_after_the_last_context_closes() -> None:
    ran: list[int] = []

    def counted(graph: Any, _inputs: Any) -> Callable[..., Any]:
        def run(*inputs: Tensor) -> Any:
            ran.append(1)
            return graph(*inputs)

        return run

    build: Any = torch.compile
    compiled = build(two_modules(), backend=counted)
    outer, inner = uncompiled(), uncompiled()
    with outer:
        inner.__enter__()
        compiled(X)
    compiled(X)
    inner.__exit__(None, None, None)
    assert not ran, "one of the two was still open"
    compiled(X)
    assert ran == [1]


def in_another_thread(work: Callable[[], Tensor]) -> Tensor:
    """The result in another thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def test_hooks_affect_only_their_own_thread() -> None:
    network = nn.Sequential(nn.ReLU(), nn.ReLU())
    site, shift = Site(module=network[0]), torch.tensor([[3.0, 5.0]])
    plain, seen = network(X), list[Tensor]()

    def forward() -> None:
        seen.append(in_another_thread(lambda: network(X)))
        network(X)

    assert torch.equal(read(site, "first", forward), X.relu())
    with giving({"first": site}, {"first": shift}, added=True):
        seen.append(in_another_thread(lambda: network(X)))
        assert torch.equal(network(X), X.relu() + shift)
    with giving({"first": site}, {"first": shift}):
        seen.append(in_another_thread(lambda: network(X)))
        assert torch.equal(network(X), shift)
    with keeping({"first": site}) as found:
        seen.append(in_another_thread(lambda: network(X + shift)))
        network(X)
    assert torch.equal(found["first"], X.relu())
    assert torch.equal(seen.pop(), (X + shift).relu())
    assert all(torch.equal(one, plain) for one in seen)


QUERY, KEY, VALUE = draw((3, 2, 4, 30, 16), seed=0, purpose="attention in threads")
HIDDEN = draw((2, 1, 30, 30), seed=1, purpose="attention in threads") > 0


@pytest.mark.parametrize(
    "more", [{}, {"attn_mask": HIDDEN}, {"attn_mask": HIDDEN.float()}, {"is_causal": True}, {"scale": 0.3}]
)
@pytest.mark.parametrize("half", [False, True])
def test_differentiable_attention_uses_the_math_kernel(more: dict[str, Any], half: bool) -> None:
    """Both kinds of masks and bfloat16 under autocast are covered; other threads keep the fused kernel."""
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        with sdpa_kernel(SDPBackend.MATH):
            expected = scaled_dot_product_attention(QUERY, KEY, VALUE, **more)
        with differentiable_attention():
            found = scaled_dot_product_attention(QUERY, KEY, VALUE, **more)
            if not half and not more:
                fused = in_another_thread(lambda: scaled_dot_product_attention(QUERY, KEY, VALUE))
                assert not torch.equal(fused, expected), "the fused kernel rounds differently"
    assert found.dtype == expected.dtype == (torch.bfloat16 if half else torch.float32)
    assert torch.equal(found, expected)


def test_threads_use_the_tokenizers_one_at_a_time(without_t5: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fast tokenizer stores the padding of a call in itself."""
    working, together = list[int](), list[int]()

    def watched(name: str) -> None:
        real = getattr(without_t5, name)

        def work(*text: str) -> Any:
            working.append(1)
            together.append(len(working))
            time.sleep(0.01)
            try:
                return real(*text)
            finally:
                working.pop()

        monkeypatch.setattr(without_t5, name, work)

    watched("_encode_prompt")
    watched("_tokenizers")
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(without_t5.embed, ["a person"]) for _ in range(2)]
        jobs += [pool.submit(without_t5.dropped_notes, "red hair") for _ in range(2)]
        for job in jobs:
            job.result()
    assert together == [1] * 6
