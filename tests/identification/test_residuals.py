"""Settings of the search: path, noises, cost and validation; every filter against dense linear algebra."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from latentedit.core.errors import ConfigError
from latentedit.identification.filters import Filter, apply_filter, levenberg_marquardt, newton
from latentedit.identification.hsds import HSDS
from latentedit.numerics.rng import draw
from tests.identification.mixtures import dense_solve
from tests.numerics.dense import Dense, batch_matvec, random_vectors, symmetric_matrices
from tests.testing.tolerances import relative_error, tolerance

LEVELS = st.tuples(st.floats(0.02, 1.0), st.floats(0.01, 1.0)).map(lambda pair: (max(pair), min(pair)))


def test_paths_at_the_limits_of_levels_and_steps() -> None:
    assert HSDS(steps=1, levels=(0.7, 0.2)).path() == [(0.7, 1.0)]
    assert HSDS(steps=1, levels=(0.7, 0.2), step_size=None).path() == [(0.7, 1.0)]
    path = HSDS(levels=(1.0, 0.0), steps=4, step_size=None).path()
    assert path == [(1.0, 1.0), (0.75, pytest.approx(2 / 3)), (0.5, pytest.approx(2 / 3)), (0.25, 1.0)]
    assert [level for level, _ in HSDS(levels=(0.5, 0.5), steps=3).path()] == [0.5] * 3
    assert HSDS(levels=(0.5, 0.5), steps=1, step_size=None).path() == [(0.5, 1.0)]
    assert HSDS(levels=(0.5, 0.0), steps=2, step_size=None).path()[0][0] == 0.5


@given(levels=LEVELS, shift=st.floats(0.1, 10.0), steps=st.integers(2, 9))
def test_the_spacing_is_the_sd3_shift(levels: tuple[float, float], shift: float, steps: int) -> None:
    """Esser et al. 2024, eq. 23, ``shift s / (1 + (shift - 1) s)``, between the first level and the last."""
    path = HSDS(levels=levels, shift=shift, steps=steps, step_size=0.3).path()
    shares = [1 - index / (steps - 1) for index in range(steps)]
    expected = [levels[1] + (levels[0] - levels[1]) * shift * s / (1 + (shift - 1) * s) for s in shares]
    assert [level for level, _ in path] == pytest.approx(expected, abs=1e-14)
    assert {step for _, step in path} == {0.3}


@given(levels=LEVELS.filter(lambda pair: pair[0] - pair[1] > 1e-3), shift=st.floats(0.1, 10.0), steps=st.integers(2, 9))
def test_the_steps_of_the_flow_cover_the_whole_path(levels: tuple[float, float], shift: float, steps: int) -> None:
    """``1 - s eta = (1 - s) / (1 - s')``, so the product telescopes to the ends; the last level is not visited."""
    path = HSDS(levels=levels, shift=shift, steps=steps, step_size=None).path()
    assert len(path) == steps
    assert path[0][0] == pytest.approx(levels[0], abs=1e-15)
    assert path[-1][0] > levels[1]
    product = math.prod(1 - level * step for level, step in path)
    assert product == pytest.approx((1 - levels[0]) / (1 - levels[1]), abs=1e-12)


def test_noises_depend_only_on_seed_and_step_and_antithetic_pairs_cancel() -> None:
    for noises in (2, 6):
        config = HSDS(noises=noises, antithetic=True)
        first, second = config.draw(torch.zeros(1, 2, 3), seed=4, index=1)[:, 0].chunk(2)
        assert torch.equal(first, draw((noises // 2, 2, 3), seed=4, purpose="hsds", index=1))
        assert not (first + second).any()
        assert config.evaluations() == HSDS(noises=noises).evaluations()
    config, z = HSDS(noises=3), torch.zeros(1, 5)
    found = config.draw(z, seed=4, index=1)
    assert torch.equal(found[:, 0], draw((3, 5), seed=4, purpose="hsds", index=1))
    assert not torch.equal(found, config.draw(z, seed=4, index=2))
    assert not torch.equal(found, config.draw(z, seed=5, index=1))
    assert bool(found.sum(0).any())


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (HSDS(), 32),
        (HSDS(noises=4, antithetic=True, keep_source=0.1, drop_residual=0.2, shift=3.0, step_size=None), 128),
        (HSDS(noises=2, antithetic=True, steps=4, step_size=None, contrast=1.25), 18),
        (HSDS(steps=1, contrast=1.25), 2),
        (HSDS(residual="sds", steps=3), 3),
        (HSDS(residual="mixed", steps=3), 8),
        (HSDS(filter="newton", iterations=5, steps=2), 24),
        (HSDS(filter="levenberg-marquardt", iterations=5, steps=2), 48),
        (HSDS(gamma=-0.5, one_sided=True, steps=3, noises=2), 18),
        (HSDS(gamma=-0.5, one_sided=True, gamma_levels=(0.9, 0.3), levels=(1.0, 0.2), steps=5), 13),
        (HSDS(gamma=0.5, gamma_levels=(0.3, 0.0), levels=(0.9, 0.3), steps=3), 8),
    ],
)
def test_evaluations_match_hand_counts(config: HSDS, expected: int) -> None:
    """Branches, doubled by guidance, plus two for each product, or one if one-sided; with K = 5: 2 (2 + 2 * 11)."""
    assert config.evaluations() == expected


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        *(({"gamma": value}, "gamma") for value in (1.5, math.nan)),
        *(({"levels": value}, "levels") for value in ((0.3, 0.9), (0.9, 0.0))),
        *(({"shift": value}, "shift") for value in (0.0, math.nan)),
        *(({"keep_source": value}, "keep_source") for value in (1.1, -0.1)),
        *(({"gain": value}, "gain") for value in (0.0, -1.0)),
        *(({"damping": value}, "damping") for value in (-0.1, 1001.0)),
        *(({name: 0}, name) for name in ("steps", "noises", "iterations", "step_size")),
        *(({name: "newtown"}, name) for name in ("residual", "filter")),
        ({"guidance": math.inf}, "guidance"),
        ({"drop_residual": math.nan}, "drop_residual"),
        ({"gamma_levels": (1.2, 0.0)}, "gamma_levels"),
        ({"noises": 3, "antithetic": True}, "antithetic"),
        ({"residual": "sds", "drop_residual": 0.1}, "drop_residual"),
        ({"levels": (0.5, 0.5), "step_size": None}, "levels"),
        ({"filter": "newton", "gamma": 0.5}, "gamma"),
        ({"gamma_levels": (0.2, 0.8)}, "levels"),
        ({"one_sided": True, "filter": "newton"}, "one_sided"),
        ({"one_sided": True, "residual": "sds"}, "one_sided"),
        ({"one_sided": True, "guidance": 2.0}, "one_sided"),
    ],
)
def test_invalid_settings_are_rejected_by_name(settings: dict[str, object], name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        HSDS(**settings)


def test_gamma_applies_between_its_levels_inclusive() -> None:
    config = HSDS(gamma=-0.5, gamma_levels=(0.8, 0.3))
    assert [config.gamma_at(level) for level in (0.81, 0.8, 0.5, 0.3, 0.29)] == [0, -0.5, -0.5, -0.5, 0]
    assert {HSDS(gamma=1.0).gamma_at(level) for level in (0.0, 0.5, 1.0)} == {1.0}


DERIVATIVE = tolerance("derivative", torch.float64)
SOLVED = 1e-9
"""Conjugate gradients stop at rounding, times condition numbers of up to 1e3 or so."""

DEFINITE = torch.linspace(0.1, 1.0, 6, dtype=torch.float64).expand(3, 6)
INDEFINITE = torch.tensor([-2.0, -0.4, 0.1, 0.3, 0.7, 1.0], dtype=torch.float64).expand(3, 6)
EYE = torch.eye(6, dtype=torch.float64)
ITERATIONS = 12
"""Twice the dimension, so that conjugate gradients have converged."""

KINDS: tuple[Filter, ...] = ("gamma", "newton", "levenberg-marquardt")


def residuals(noises: int = 1, *, seed: int = 0) -> Tensor:
    return random_vectors(noises, 3, 6, seed=seed)


@pytest.mark.parametrize("gamma", [-1.0, 0.0, 0.7])
def test_the_gamma_filter_uses_the_hessian_of_each_noise(gamma: float) -> None:
    matrices, r = symmetric_matrices(INDEFINITE.repeat(2, 1)), residuals(2)
    rows = r.flatten(0, 1)
    filtered = apply_filter("gamma", r, Dense(matrices), gamma=gamma, damping=0.0, iterations=1)[0]
    expected = (rows + gamma * (rows - batch_matvec(matrices, rows))).reshape(2, 3, 6).mean(0)
    assert relative_error(filtered, expected) < DERIVATIVE
    averaged = r.mean(0) + gamma * (r.mean(0) - batch_matvec(matrices.reshape(2, 3, 6, 6).mean(0), r.mean(0)))
    assert relative_error(filtered, averaged) > 1e-2 or not gamma


@pytest.mark.parametrize("damping", [0.0, 0.1, 1.0])
def test_newton_solves_the_damped_system(damping: float) -> None:
    matrices, r = symmetric_matrices(DEFINITE), residuals()[0]
    found, fell_back = newton(r, Dense(matrices), damping=damping, iterations=ITERATIONS)
    assert relative_error(found, dense_solve(matrices + damping * EYE, r)) < SOLVED
    assert relative_error(found, dense_solve(matrices + (damping + 0.05) * EYE, r)) > 1e-3
    assert not fell_back.any()


@pytest.mark.parametrize("spectrum", [DEFINITE, INDEFINITE])
@pytest.mark.parametrize("damping", [0.0, 0.3, 1.0])
def test_levenberg_marquardt_solves_its_system_even_if_indefinite(spectrum: Tensor, damping: float) -> None:
    matrices, r = symmetric_matrices(spectrum), residuals()[0]
    found, fell_back = levenberg_marquardt(r, Dense(matrices), damping=damping, iterations=ITERATIONS)
    expected = dense_solve(matrices @ matrices + damping**2 * EYE, batch_matvec(matrices, r))
    assert relative_error(found, expected) < (SOLVED if damping else 1e-6)  # squared condition numbers
    assert not fell_back.any()


@pytest.mark.parametrize("kind", ["newton", "levenberg-marquardt"])
def test_solvers_average_over_noises_before_solving(kind: Filter) -> None:
    matrices, r = symmetric_matrices(DEFINITE.repeat(2, 1)), residuals(2)
    settings: dict[str, Any] = {"gamma": 0.0, "damping": 0.3, "iterations": ITERATIONS}

    def found(residual: Tensor, hessian: Tensor) -> Tensor:
        return apply_filter(kind, residual, Dense(hessian), **settings)[0]

    mean = matrices.reshape(2, 3, 6, 6).mean(0)
    assert relative_error(found(r, matrices), found(r.mean(0, keepdim=True), mean)) < SOLVED
    solved_separately = (found(r[:1], matrices[:3]) + found(r[1:], matrices[3:])) / 2
    assert relative_error(found(r, matrices), solved_separately) > 1e-2


def test_newton_returns_the_residual_at_initial_negative_curvature() -> None:
    """The second element's residual lies along its negative direction; the others are solved."""
    matrices, r = symmetric_matrices(INDEFINITE), residuals()[0]
    matrices[0], matrices[2] = symmetric_matrices(DEFINITE)[0], symmetric_matrices(DEFINITE)[2]
    r[1] = torch.linalg.eigh(matrices[1]).eigenvectors[:, 0]
    found, fell_back = newton(r, Dense(matrices), damping=0.1, iterations=ITERATIONS)
    assert fell_back.tolist() == [False, True, False]
    assert torch.equal(found[1], r[1])
    assert relative_error(found[::2], dense_solve(matrices + 0.1 * EYE, r)[::2]) < SOLVED
    strongly_damped, _ = newton(r, Dense(matrices), damping=2.5, iterations=ITERATIONS)
    assert relative_error(strongly_damped, dense_solve(matrices + 2.5 * EYE, r)) < SOLVED


def test_newton_keeps_the_iterate_at_later_negative_curvature() -> None:
    """Only a later search direction has negative curvature: the iterate before it is returned."""
    spectrum = torch.tensor([[-0.2, 0.5, 0.6, 0.7, 0.8, 1.0]], dtype=torch.float64)
    vector = torch.linalg.eigh(symmetric_matrices(spectrum)[0]).eigenvectors
    r = (vector @ torch.tensor([0.05, 1, 1, 1, 1, 1], dtype=torch.float64))[None]
    found, fell_back = newton(r, Dense(symmetric_matrices(spectrum)), damping=0.0, iterations=ITERATIONS)
    assert not fell_back.any()
    assert bool(torch.isfinite(found).all())
    assert float((found * r).sum()) > 0
    steps = [
        newton(r, Dense(symmetric_matrices(spectrum)), damping=0.0, iterations=count)[0]
        for count in range(1, ITERATIONS)
    ]
    assert any(torch.equal(found, step) for step in steps[:-1])
    assert not torch.equal(found, steps[0])


def test_levenberg_marquardt_falls_back_to_the_residual_and_not_to_its_product() -> None:
    """A rotation by 90 degrees has ``A^2 = -I``, so the damped system has negative curvature everywhere."""
    rotation = torch.tensor([[[0.0, -1.0], [1.0, 0.0]]], dtype=torch.float64)
    r = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    found, fell_back = levenberg_marquardt(r, Dense(rotation), damping=0.5, iterations=2)
    assert fell_back.tolist() == [True]
    assert torch.equal(found, r)


@given(st.sampled_from(KINDS), st.integers(1, 5), st.sampled_from([-1.0, 0.0, 0.5]))
def test_products_are_counted_exactly(kind: Filter, iterations: int, gamma: float) -> None:
    operator = Dense(symmetric_matrices(INDEFINITE.repeat(2, 1)))
    apply_filter(kind, residuals(2), operator, gamma=gamma, damping=0.1, iterations=iterations)
    assert operator.products == HSDS(filter=kind, iterations=iterations).products(gamma)
