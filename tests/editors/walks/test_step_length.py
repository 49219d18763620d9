"""Step lengths against the closed form of a linear model, and against responses that are far from linear."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from latentedit.editors.walks.latent_walk import LatentWalk
from latentedit.editors.walks.step_length import CLOSE, EFFECT, ROUNDS, Walk, effect_of, effects_at, step_lengths
from tests.api.discoveries import gain, halves, known_basis
from tests.editors.colours import ColourBackbone


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Response(LatentWalk):
    """Instead of a way back: the clean latent moves along the direction by ``factor * length^power``, signs kept.

    Of what is asked for, lengths are noted.
    """

    factor: float = 1.0
    power: float = 1.0
    lame_side: float = 1.0
    asked: list[Tensor] = dataclasses.field(default_factory=list[Tensor])

    def edit(self, latent: Any, trace: Any, v: Any, scales: Any, *, condition: Any = None, progress: Any = None) -> Any:
        self.asked.append(scales)
        gone = self.factor * scales.abs() ** self.power * torch.where(scales < 0, -self.lame_side, 1.0)
        return latent.z[None, None] + gone.float()[:, :, None, None, None, None] * v[None, :, None]


@pytest.fixture
def walk() -> Walk:
    basis = known_basis(ColourBackbone())
    return Walk(latent=basis.latent, trace=basis.trace)


def test_effects_of_both_signs(walk: Walk) -> None:
    """A unit direction of n numbers at length a makes ``a * gain / sqrt(n)``; one side alone, ``1 / sqrt(2)`` of it."""
    basis = known_basis(ColourBackbone())
    lengths = torch.tensor([0.5, 3.0], dtype=torch.float64)
    found = effects_at(walk, halves(), lengths, what="test")
    assert torch.allclose(found, lengths * gain(basis) / math.sqrt(3 * 8 * 8), rtol=1e-4)
    x = torch.zeros(1, 3, 2, 2)
    both = torch.zeros(2, 2, 3, 2, 2)
    both[0, 0], both[1, 0] = 0.3, 0.5
    both[0, 1, 0] = 0.6  # one channel of three, on one side
    assert effect_of(both, x).tolist() == pytest.approx([math.sqrt((0.09 + 0.25) / 2), math.sqrt(0.36 / 6)])
    odd = dataclasses.replace(walk, move=Response(factor=4.0, lame_side=0.0))
    found = step_lengths(odd, halves())
    one_side = 4.0 * found.length / math.sqrt(3 * 8 * 8)
    assert torch.allclose(found.effect, one_side / math.sqrt(2), rtol=1e-5)


def test_lengths_of_a_linear_model(walk: Walk) -> None:
    basis = known_basis(ColourBackbone())
    wanted = 0.05
    found = step_lengths(walk, halves(), effect=wanted)
    exact = wanted * math.sqrt(3 * 8 * 8) / gain(basis)
    assert torch.allclose(found.effect, torch.full((2,), wanted, dtype=torch.float64), rtol=CLOSE)
    assert torch.allclose(found.length * wanted / found.effect, torch.full((2,), exact, dtype=torch.float64), rtol=1e-4)


@pytest.mark.parametrize("power", [0.4, 1.0, 2.5])
@pytest.mark.parametrize("factor", [0.05, 1.0, 40.0])
def test_any_rising_response_is_met(walk: Walk, power: float, factor: float) -> None:
    longest = walk.trace.levels[-1] * math.sqrt(3 * 8 * 8)
    if factor * longest**power / math.sqrt(3 * 8 * 8) < EFFECT:
        pytest.skip("out of reach, as another test has it")
    odd = dataclasses.replace(walk, move=Response(factor=factor, power=power))
    found = step_lengths(odd, halves())
    assert torch.allclose(found.effect, torch.full((2,), EFFECT, dtype=torch.float64), rtol=CLOSE)
    reached = factor * found.length**power / math.sqrt(3 * 8 * 8)
    assert torch.allclose(found.effect, reached, rtol=1e-5)


def test_no_length_goes_beyond_the_noise(walk: Walk) -> None:
    weak = Response(factor=1e-3)
    found = step_lengths(dataclasses.replace(walk, move=weak), halves())
    longest = walk.trace.levels[-1] * math.sqrt(3 * 8 * 8)
    assert found.length.tolist() == pytest.approx([longest, longest])
    assert float(found.effect.max()) < EFFECT
    assert max(float(lengths.abs().max()) for lengths in weak.asked) <= longest * (1 + 1e-9)
    assert len(weak.asked) <= 3


def test_what_is_not_tried(walk: Walk) -> None:
    """Two ways back a direction and round, of those that are not met yet."""
    watched = Response(factor=4.0)
    step_lengths(dataclasses.replace(walk, move=watched), halves())
    assert all(lengths.shape == (2, 2) for lengths in watched.asked)
    with walk.latent.backbone.count() as cost:
        effects_at(walk, halves(), torch.ones(2, dtype=torch.float64), what="test")
    assert cost.evaluations == 4 * len(walk.trace.velocities)
    jump = Response(factor=1e3, power=200.0)  # nothing is close, so the nearest is left after the last round
    step_lengths(dataclasses.replace(walk, move=jump), halves())
    assert len(jump.asked) <= ROUNDS
