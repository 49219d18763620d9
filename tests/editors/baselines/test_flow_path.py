"""The path against closed forms: differences that depend on the level, on the edit, or on nothing."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from latentedit.core.levels import LevelGrid
from latentedit.core.rng import draw
from latentedit.editors.baselines.flow_path import follow_difference
from latentedit.latents.joint import JointLatent
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit.testing.tolerances import relative_error
from tests.directions.mixtures import mixture_latent

GRID = LevelGrid(levels=(0.8, 0.5, 0.45, 0.1, 0.0))
EXACT = 1e-12


@pytest.fixture
def latent() -> JointLatent:
    return mixture_latent(example_mixture(dimension=6, latent=(2, 3)))


@pytest.mark.parametrize("weight", [1.0, -0.7])
def test_a_constant_difference_is_multiplied_by_the_length_of_the_path(latent: JointLatent, weight: float) -> None:
    pull = torch.arange(6, dtype=torch.float64).reshape(2, 3)
    found = follow_difference(
        latent, GRID, lambda a, b, s: pull.expand_as(a), noises=2, seed=0, name="t", weight=weight
    )
    assert relative_error(found - latent.z, -0.8 * weight * pull.expand_as(latent.z)) < EXACT


def test_it_is_a_left_riemann_sum_over_the_levels(latent: JointLatent) -> None:
    found = follow_difference(
        latent, GRID, lambda a, b, s: s[:, None, None] ** 2 * torch.ones_like(a), noises=1, seed=0, name="t"
    )
    total = sum((s_next - s) * s**2 for s, s_next in itertools.pairwise(GRID.levels))
    assert relative_error(found - latent.z, torch.full_like(latent.z, total)) < EXACT


def test_what_was_moved_is_what_the_second_branch_has_more(latent: JointLatent) -> None:
    """``d = c - k (b - a)``: m = y - x follows ``m' = m + h (c - k m)``, by induction ``(1 - prod(1 - kh)) c/k``."""
    c, k = 1.5, 2.0
    found = follow_difference(latent, GRID, lambda a, b, s: c - k * (b - a), noises=3, seed=0, name="t")
    factor = math.prod(1 - k * (s_next - s) for s, s_next in itertools.pairwise(GRID.levels))
    assert relative_error(found - latent.z, torch.full_like(latent.z, (1 - factor) * c / k)) < EXACT


def test_noised_pictures_come_noise_by_noise_and_are_averaged(latent: JointLatent) -> None:
    """Each picture gets the mean over its own rows: ``(1 - s) x + s mean(e)``, with the noises of the step."""
    seen: list[tuple[Tensor, Tensor]] = []

    def difference(a: Tensor, b: Tensor, s: Tensor) -> Tensor:
        seen.append((a, s))
        return a

    found = follow_difference(latent, GRID, difference, noises=4, seed=3, name="t")
    expected = latent.z.clone()
    for index, (s, s_next) in enumerate(itertools.pairwise(GRID.levels)):
        e = draw((4, 2, 3), seed=3, purpose="flowedit", index=index).double()
        a, levels = seen[index]
        assert levels.tolist() == [s] * 12
        assert relative_error(a.reshape(4, 3, 2, 3), (1 - s) * latent.z + s * e[:, None]) < EXACT
        expected += (s_next - s) * ((1 - s) * latent.z + s * e.mean(0))
    assert relative_error(found, expected) < EXACT


def test_nothing_moves_where_the_branches_agree(latent: JointLatent) -> None:
    found = follow_difference(latent, GRID, lambda a, b, s: 7 * (b - a), noises=2, seed=0, name="t", weight=3.0)
    assert torch.equal(found, latent.z)


def test_progress_is_told_after_each_step(latent: JointLatent) -> None:
    told: list[tuple[str, int, int]] = []
    follow_difference(
        latent, GRID, lambda a, b, s: a, noises=1, seed=0, name="path", progress=lambda *step: told.append(step)
    )
    assert told == [("path", done, 4) for done in (1, 2, 3, 4)]


def test_a_pull_draws_the_edits_clean_estimate_to_the_pictures(latent: JointLatent) -> None:
    """With two fields written out: ``(a - s v(a)) - (b - s v(b))``; each picture's mean over its own noises."""

    def first(a: Tensor, s: Tensor) -> Tensor:
        return s[:, None, None] * a

    def second(b: Tensor, s: Tensor) -> Tensor:
        return torch.tanh(b) + s[:, None, None]

    found = follow_difference(
        latent, GRID, lambda a, b, s: second(b, s) - first(a, s), noises=2, seed=1, name="t", pull=0.3
    )
    y = latent.z.clone()
    for index, (s, s_next) in enumerate(itertools.pairwise(GRID.levels)):
        step = torch.zeros_like(y)
        for e in draw((2, 2, 3), seed=1, purpose="flowedit", index=index).double():
            a, at = (1 - s) * latent.z + s * e, torch.full((3,), s, dtype=torch.float64)
            b = y + a - latent.z
            p, q = second(b, at), first(a, at)
            step += ((s_next - s) * (p - q) + 0.3 * ((a - s * q) - (b - s * p))) / 2
        y = y + step
    assert relative_error(found, y) < EXACT


def test_a_whole_pull_with_a_constant_difference_forgets_the_way(latent: JointLatent) -> None:
    """``m' = m + h c + (s c - m) = s' c``: after the last step nothing, before it s' c."""
    found = follow_difference(latent, GRID, lambda a, b, s: torch.ones_like(a), noises=1, seed=0, name="t", pull=1.0)
    assert relative_error(found, latent.z) < EXACT
    part = LevelGrid(levels=GRID.levels[:-1])
    found = follow_difference(
        latent, part, lambda a, b, s: torch.ones_like(a), noises=1, seed=0, name="t", weight=-2.0, pull=1.0
    )
    assert relative_error(found - latent.z, torch.full_like(latent.z, -2 * 0.1)) < EXACT
