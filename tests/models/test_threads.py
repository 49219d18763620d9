"""Threads that share a model do not get into each other's passes, kernels and tokenizers."""

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from latentedit.core.rng import draw
from latentedit.models.attention import differentiable_attention
from latentedit.models.sites import Site, giving, keeping, read, shifted

T = TypeVar("T")

X = torch.tensor([[1.0, -2.0]])
SHIFT = torch.tensor([[3.0, 5.0]])


def elsewhere(work: Callable[[], T]) -> T:
    """What another thread gets."""
    found: list[T] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


def test_a_pass_that_is_read_or_changed_is_this_threads_alone() -> None:
    network = nn.Sequential(nn.ReLU(), nn.ReLU())
    site = Site(module=network[0])
    plain, seen = network(X), list[Tensor]()

    def forward() -> None:
        seen.append(elsewhere(lambda: network(X)))
        network(X)

    assert torch.equal(read(site, "first", forward), X.relu())
    with shifted(site, "first", SHIFT):
        seen.append(elsewhere(lambda: network(X)))
        assert torch.equal(network(X), X.relu() + SHIFT)
    with giving({"first": site}, {"first": SHIFT}):
        seen.append(elsewhere(lambda: network(X)))
        assert torch.equal(network(X), SHIFT)
    with keeping({"first": site}) as found:
        seen.append(elsewhere(lambda: network(X + SHIFT)))
        network(X)
    assert torch.equal(found["first"], X.relu())
    assert torch.equal(seen.pop(), (X + SHIFT).relu())
    assert all(torch.equal(one, plain) for one in seen)


QUERY, KEY, VALUE = draw((3, 2, 4, 30, 16), seed=0, purpose="attention in threads")
HIDDEN = draw((2, 1, 30, 30), seed=1, purpose="attention in threads") > 0


@pytest.mark.parametrize(
    "more", [{}, {"attn_mask": HIDDEN}, {"attn_mask": HIDDEN.float()}, {"is_causal": True}, {"scale": 0.3}]
)
@pytest.mark.parametrize("low", [False, True])
def test_attention_is_that_of_the_math_kernel(more: dict[str, Any], low: bool) -> None:
    """With masks of both kinds, and where autocast makes all of it bfloat16; in another thread it is the fused one."""
    with torch.autocast("cpu", torch.bfloat16, enabled=low):
        with sdpa_kernel(SDPBackend.MATH):
            expected = scaled_dot_product_attention(QUERY, KEY, VALUE, **more)
        with differentiable_attention():
            found = scaled_dot_product_attention(QUERY, KEY, VALUE, **more)
            if not low:
                there = elsewhere(lambda: scaled_dot_product_attention(QUERY, KEY, VALUE, **more))
                assert not torch.equal(there, expected) or more, "rounded otherwise"
    assert found.dtype == expected.dtype == (torch.bfloat16 if low else torch.float32)
    assert torch.equal(found, expected)


def test_threads_take_turns_at_the_tokenizers(without_t5: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """How a fast tokenizer pads is set for each call in the tokenizer itself."""
    working, together = list[int](), list[int]()

    def watched(name: str) -> None:
        real = getattr(without_t5, name)

        def work(text: str) -> Any:
            working.append(1)
            together.append(len(working))
            time.sleep(0.01)
            try:
                return real(text)
            finally:
                working.pop()

        monkeypatch.setattr(without_t5, name, work)

    watched("_encode_prompt")
    watched("_dropped_notes")
    threads = [threading.Thread(target=without_t5.embed, args=(["a person"],)) for _ in range(2)]
    threads += [threading.Thread(target=without_t5.caption_notes, args=(["red hair"],)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == [1, 1, 1, 1]
