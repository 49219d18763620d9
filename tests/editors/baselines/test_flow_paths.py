"""Editors along FlowEdit's path, and the path itself, against closed forms and the published loops."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from latentedit.core.errors import ConfigError
from latentedit.core.levels import LevelGrid
from latentedit.core.rng import draw
from latentedit.editors.base import Editor
from latentedit.editors.baselines.flow_path import follow_difference
from latentedit.editors.baselines.flowalign import FlowAlign
from latentedit.editors.baselines.flowedit import FlowEdit
from latentedit.editors.baselines.flowslider import FlowSlider
from latentedit.editors.baselines.steering_fields import SteeringFields
from latentedit.latents.joint import JointLatent
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit.testing.tolerances import relative_error
from tests.directions.mixtures import levels_of, mixture_latent

GRID = LevelGrid(levels=(0.8, 0.5, 0.45, 0.1, 0.0))
EXACT = 1e-12


@pytest.mark.parametrize("weight", [1.0, -0.7])
def test_a_constant_difference_is_multiplied_by_the_length_of_the_path(places: JointLatent, weight: float) -> None:
    pull = torch.arange(6, dtype=torch.float64).reshape(2, 3)
    found = follow_difference(
        places, GRID, lambda a, b, s: pull.expand_as(a), noises=2, seed=0, name="t", weight=weight
    )
    assert relative_error(found - places.z, -0.8 * weight * pull.expand_as(places.z)) < EXACT


def test_constant_differences(places: JointLatent) -> None:
    """m = y - x follows ``m' = m + h (c - k m)``, so ``(1 - prod(1 - kh)) c/k``; with a whole pull ``m' = s' c``."""
    c, k = 1.5, 2.0
    found = follow_difference(places, GRID, lambda a, b, s: c - k * (b - a), noises=3, seed=0, name="t")
    factor = math.prod(1 - k * (s_next - s) for s, s_next in itertools.pairwise(GRID.levels))
    assert relative_error(found - places.z, torch.full_like(places.z, (1 - factor) * c / k)) < EXACT
    for grid, left in ((GRID, 0.0), (LevelGrid(levels=GRID.levels[:-1]), 0.1)):
        found = follow_difference(
            places, grid, lambda a, b, s: torch.ones_like(a), noises=1, seed=0, name="t", weight=-2.0, pull=1.0
        )
        assert relative_error(found, places.z - 2 * left) < EXACT


def test_noised_pictures_come_noise_by_noise_and_are_averaged(places: JointLatent) -> None:
    """Each picture gets the mean over its own rows: ``(1 - s) x + s mean(e)``, with the noises of the step."""
    seen: list[tuple[Tensor, Tensor]] = []

    def difference(a: Tensor, b: Tensor, s: Tensor) -> Tensor:
        seen.append((a, s))
        return a

    found = follow_difference(places, GRID, difference, noises=4, seed=3, name="t")
    expected = places.z.clone()
    for index, (s, s_next) in enumerate(itertools.pairwise(GRID.levels)):
        e = draw((4, 2, 3), seed=3, purpose="flowedit", index=index).double()
        a, levels = seen[index]
        assert levels.tolist() == [s] * 12
        assert relative_error(a.reshape(4, 3, 2, 3), (1 - s) * places.z + s * e[:, None]) < EXACT
        expected += (s_next - s) * ((1 - s) * places.z + s * e.mean(0))
    assert relative_error(found, expected) < EXACT


def test_a_pull_draws_the_edits_clean_estimate_to_the_pictures(places: JointLatent) -> None:
    """With two fields written out: ``(a - s v(a)) - (b - s v(b))``; each picture's mean over its own noises."""

    def first(a: Tensor, s: Tensor) -> Tensor:
        return s[:, None, None] * a

    def second(b: Tensor, s: Tensor) -> Tensor:
        return torch.tanh(b) + s[:, None, None]

    found = follow_difference(
        places, GRID, lambda a, b, s: second(b, s) - first(a, s), noises=2, seed=1, name="t", pull=0.3
    )
    y = places.z.clone()
    for index, (s, s_next) in enumerate(itertools.pairwise(GRID.levels)):
        step = torch.zeros_like(y)
        for e in draw((2, 2, 3), seed=1, purpose="flowedit", index=index).double():
            a, at = (1 - s) * places.z + s * e, levels_of(y, s)
            b = y + a - places.z
            p, q = second(b, at), first(a, at)
            step += ((s_next - s) * (p - q) + 0.3 * ((a - s * q) - (b - s * p))) / 2
        y = y + step
    assert relative_error(found, y) < EXACT


Rule = Callable[[Callable[[Tensor, str], Tensor], Tensor, Tensor, float], tuple[Tensor, Tensor]]
"""Of velocities by text, both branches and the strength: the velocities of the edit's branch and the picture's."""


def flowslider(v: Callable[[Tensor, str], Tensor], a: Tensor, b: Tensor, m: float) -> tuple[Tensor, Tensor]:
    """Fidelity and steering."""
    return v(b, "a") + m * (v(b, "c") - v(b, "a")), v(a, "a")


def steered(v: Callable[[Tensor, str], Tensor], a: Tensor, b: Tensor, m: float, repel: float) -> tuple[Tensor, Tensor]:
    m, away = 1.5 * m, repel * m
    return (v(b, "") + m * v(b, "c") - away * v(b, "a")) / (1 + m - away), v(a, "")


@pytest.mark.parametrize(
    ("editor", "strengths", "pull", "rule"),
    [
        (FlowEdit(target_guidance=1.0), [1.0], 0.0, lambda v, a, b, m: (v(b, "c"), v(a, "a"))),
        (FlowSlider(), [-0.7, 0.4, 2.5], 0.0, flowslider),
        (FlowAlign(guidance=4.0, pull=0.15), [1.0, -0.4], 0.15, lambda v, a, b, m: flowslider(v, a, b, 4 * m)),
        *[
            (SteeringFields(attract=1.5, repel=r), [-0.4, 1.0], 0.0, lambda v, a, b, m, r=r: steered(v, a, b, m, r))
            for r in (0.0, 0.6, 1.5)
        ],
    ],
    ids=lambda value: value.name if isinstance(value, Editor) else None,
)
def test_is_the_published_loop(
    latent: JointLatent, editor: Editor, strengths: list[float], pull: float, rule: Rule
) -> None:
    """One noise a step, on a grid that starts at a real level; the pull (T8) is to Tweedie's estimate, written out."""
    z, backbone = latent.z, latent.backbone
    editor = type(editor).from_dict({**editor.to_dict(), "level": 0.77, "steps": 5})
    for strength in strengths:
        y = z.clone()
        for index, (s, s_next) in enumerate(itertools.pairwise([0.77, 0.6, 0.4, 0.2, 0.0])):
            a = (1 - s) * z + s * draw((6,), seed=2, purpose="flowedit", index=index).to(z)
            b, at = y + a - z, levels_of(z, s)
            p, q = rule(lambda x, text, at=at: backbone.velocity(x, at, backbone.embed([text])), a, b, strength)
            y = y + (s_next - s) * (p - q) + pull * ((a - s * q) - (b - s * p))
        found = editor.edit(latent, backbone.embed(["c"]), [strength], seed=2)[0].z
        assert relative_error(found, y) < EXACT


@pytest.mark.slow
@pytest.mark.parametrize(
    "editor", [FlowSlider(level=1.0, steps=20), FlowAlign(steps=20, guidance=2.0, pull=0.05)], ids=lambda one: one.name
)
def test_where_the_field_is_linear_the_strength_is_proportional_to_the_displacement(editor: Editor) -> None:
    """Two Gaussians of one covariance: ``v(z, c) = J (z - (1-s) mu_c) - mu_c``.

    Fidelity is ``J (y - x)`` and steering depends on the level alone, so y - x solves a linear recursion whose only
    source is ``strength * steering``.
    """
    backbone = example_mixture(dimension=6, shared_covariance=True)
    only = mixture_latent(backbone, condition=backbone.only(0))
    one = editor.edit(only, backbone.only(1), [1.0])[0].z - only.z
    for strength in (-2.0, 0.3, 4.0):
        assert relative_error(editor.edit(only, backbone.only(1), [strength])[0].z - only.z, strength * one) < 1e-10


@pytest.mark.parametrize(
    ("editor", "strength", "bound"),
    [(SteeringFields(attract=3.0, repel=1.0), -0.5, "above -0.5"), (SteeringFields(attract=1.0), 1.5, "below 1")],
)
def test_strengths_that_leave_no_weight_for_the_base_are_refused(
    latent: JointLatent, editor: SteeringFields, strength: float, bound: str
) -> None:
    with pytest.raises(ConfigError, match=bound):
        editor.edit(latent, latent.backbone.embed(["c"]), [strength])
    with pytest.raises(ConfigError, match=bound):
        editor.evaluations(latent, strength=strength)
    assert editor.evaluations(latent, strength=-strength) > 0
