"""The contract must fail for editors that break a law."""

import dataclasses
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.cost import spend
from latentedit.core.progress import Progress
from latentedit.editors.base import Editor
from latentedit.latents.joint import JointLatent
from latentedit.testing.contracts.editor import EditorContract
from latentedit.testing.gaussian_mixture import example_mixture
from tests.directions.mixtures import mixture_latent


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Broken(Editor):
    name: ClassVar[str] = "broken"

    fault: str = "none"

    @property
    def keeps_equal_texts(self) -> bool:
        return True

    def evaluations(self, latent: JointLatent, *, strength: float = 1.0) -> int:
        return 0 if strength == 0 and self.fault != "costs at zero" else 1

    def _edit(
        self, latent: JointLatent, target: Condition, *, strength: float, seed: int, progress: Progress | None
    ) -> Tensor:
        s = torch.full((len(latent),), 0.5, dtype=latent.z.dtype)
        v = latent.backbone.velocity(latent.z, s, target) - latent.backbone.velocity(latent.z, s, latent.condition)
        if self.fault == "none":
            spend(latent.backbone, -len(latent))
        if self.fault == "global noise":
            v = v + torch.rand_like(v)  # noqa: TID251  # the fault
        if self.fault == "neighbours":
            v = v - v.mean(0)
        return latent.z + strength * v + (0.01 if self.fault == "drift" else 0.0)


CHECKS = {
    "costs at zero": "test_law_1_strength_zero_is_the_identity",
    "global noise": "test_law_2_same_seed_same_result",
    "neighbours": "test_law_3_neighbours_do_not_matter",
    "cost": "test_law_4_costs_what_it_says",
    "drift": "test_law_5_equal_texts",
}


@pytest.mark.parametrize("fault", CHECKS)
def test_a_broken_law_fails_its_test(fault: str) -> None:
    backbone = example_mixture(dimension=4)
    latent, target = mixture_latent(backbone), backbone.embed(["c"])
    check = getattr(EditorContract(), CHECKS[fault])
    arguments = (latent,) if fault == "drift" else (latent, target)
    check(Broken(), *arguments)
    with pytest.raises(AssertionError):
        check(Broken(fault=fault), *arguments)
