"""The contract catches backbones that break its laws."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.cost import spend
from latentedit.core.rng import draw
from latentedit.models.base import Backbone
from latentedit.testing.contracts.backbone import BackboneContract
from latentedit.testing.gaussian_mixture import GaussianMixtureBackbone, example_mixture

Hook = Callable[[Tensor, Tensor, Condition], Tensor]


def broken(change: Callable[[GaussianMixtureBackbone, Hook], Hook]) -> GaussianMixtureBackbone:
    """A good backbone with its hook replaced."""
    backbone = example_mixture()
    backbone._velocity = change(backbone, backbone._velocity)
    return backbone


def mixing(backbone: GaussianMixtureBackbone, hook: Hook) -> Hook:
    return lambda z, s, condition: hook(z - 0.1 * z.mean(0), s, condition)


def remembering(backbone: GaussianMixtureBackbone, hook: Hook) -> Hook:
    calls: list[int] = []

    def velocity(z: Tensor, s: Tensor, condition: Condition) -> Tensor:
        calls.append(1)
        return hook(z, s, condition) * (1 + len(calls) * 1e-6)

    return velocity


def drawing(backbone: GaussianMixtureBackbone, hook: Hook) -> Hook:
    def velocity(z: Tensor, s: Tensor, condition: Condition) -> Tensor:
        torch.rand(1)
        return hook(z, s, condition)

    return velocity


def counting_twice(backbone: GaussianMixtureBackbone, hook: Hook) -> Hook:
    def velocity(z: Tensor, s: Tensor, condition: Condition) -> Tensor:
        spend(backbone, len(z))
        return hook(z, s, condition)

    return velocity


def deaf(backbone: GaussianMixtureBackbone, hook: Hook) -> Hook:
    return lambda z, s, condition: hook(z, s, condition * 0.0)


def detached(backbone: GaussianMixtureBackbone, hook: Hook) -> Hook:
    return lambda z, s, condition: hook(z.detach(), s, condition)


BREAKS = [
    (mixing, "test_law_1_batch_invariance"),
    (remembering, "test_law_2_pure_function"),
    (deaf, "test_law_2_level_and_text_matter"),
    (counting_twice, "test_law_3_evaluations_are_counted"),
    (drawing, "test_law_6_global_random_state_is_untouched"),
    (detached, "test_jvp_agrees_with_differences"),
]


@pytest.mark.parametrize(("change", "law"), BREAKS, ids=[law for _, law in BREAKS])
def test_a_broken_law_is_caught(change: Callable[[GaussianMixtureBackbone, Hook], Hook], law: str) -> None:
    def check(backbone: Backbone) -> None:
        latent = torch.stack([draw((5,), seed=0, purpose="contract", index=index) for index in range(2)]).double()
        levels = torch.tensor([0.7, 0.4], dtype=torch.float64)
        getattr(BackboneContract(), law)(backbone, latent, levels, backbone.embed(["a", "b"]))

    check(example_mixture())
    with pytest.raises(AssertionError):
        check(broken(change))
