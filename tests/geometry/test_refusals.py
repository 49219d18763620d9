"""Invalid arguments; those that need the basis of an image are with its tests."""

import inspect
import math
from collections.abc import Callable

import pytest
import torch

import latentedit as le
from latentedit.core.errors import ConfigError, ConvergenceError, ShapeError
from latentedit.geometry.curves import lerp, shortest_curve, slerp
from latentedit.geometry.means import (
    aligned_basis,
    chordal_mean,
    karcher_mean,
    karcher_rotation,
    match,
    matched_mean,
    unit_rows,
)
from latentedit.geometry.pca import feature_pca
from latentedit.geometry.subspaces import log_columns, principal_angles, random_level
from latentedit.geometry.transport import transported
from tests.geometry.examples import random_normal, random_orthogonal, random_svd, sphere
from tests.testing.gaussian_mixture import example_mixture

SHAPE = (ShapeError, TypeError)  # jaxtyping, active in tests, raises first
A = random_normal(8)
PAIR = random_normal(2, 4)
ROWS = random_orthogonal(5)[:3]
AXES = random_orthogonal(6)
U, S, V, JACOBIAN = random_svd(8)
OUTSIDE = torch.linalg.qr(JACOBIAN, mode="complete")[0][:, -1].reshape(1, 2, 4)
HALF_TURN = torch.diag(torch.tensor([-1.0, -1, 1]))

REFUSED: list[tuple[type[Exception] | tuple[type[Exception], ...], Callable[[], object]]] = [
    # vectors without a unique arc
    (ConfigError, lambda: slerp(A, -2 * A, 0.5)),
    (ConfigError, lambda: slerp(A.float(), -0.3 * A.float(), 0.5)),
    (ConfigError, lambda: slerp(A, torch.zeros(8).double(), 0.5)),
    (ConfigError, lambda: slerp(A, torch.full((8,), math.nan).double(), 0.5)),
    (ConfigError, lambda: slerp(A, A, math.nan)),
    (ConfigError, lambda: lerp(A, A, math.nan)),
    (SHAPE, lambda: lerp(A, random_normal(7), 0.5)),
    # curves
    (ShapeError, lambda: shortest_curve(sphere, torch.zeros(1, 2))),
    (ConfigError, lambda: shortest_curve(sphere, torch.zeros(3, 2), steps=0)),
    (ConvergenceError, lambda: shortest_curve(lambda z: z / 0, torch.ones(3, 2))),
    # sets of vectors
    (ConfigError, lambda: unit_rows(torch.zeros(3, 5))),
    (ConfigError, lambda: unit_rows(torch.full((3, 5), torch.nan))),
    (ConfigError, lambda: unit_rows(torch.zeros(0, 5))),
    (ConfigError, lambda: match(ROWS, torch.cat([ROWS[:2], torch.zeros(1, 5, dtype=torch.float64)]))),
    (ShapeError, lambda: matched_mean([])),
    (SHAPE, lambda: matched_mean([ROWS, AXES[:3]])),
    # sets without a mean; three lines, one of them orthogonal to the others
    (ConfigError, lambda: chordal_mean([AXES[:2], AXES[2:4]])),
    (ConfigError, lambda: karcher_mean([AXES[:2], AXES[2:4]])),
    (ShapeError, lambda: chordal_mean([])),
    (ShapeError, lambda: karcher_mean([])),
    (ShapeError, lambda: chordal_mean([AXES[:2], AXES[:3]])),
    (ShapeError, lambda: karcher_mean([AXES[:2], AXES[:3]])),
    (ConfigError, lambda: karcher_mean([AXES[:1], AXES[:1], AXES[1:2]])),
    (ConfigError, lambda: aligned_basis(AXES[:2], [AXES[:2], AXES[1:3]])),
    (ShapeError, lambda: aligned_basis(AXES[:2], [])),
    (ShapeError, lambda: aligned_basis(AXES[:2], [AXES[:3]])),
    (ConfigError, lambda: karcher_rotation(torch.stack([torch.eye(3), torch.eye(3), HALF_TURN]).double())),
    # ranks that three samples do not support: they have two directions about their mean
    (ConfigError, lambda: feature_pca(random_normal(3, 8), 0)),
    (ConfigError, lambda: feature_pca(random_normal(3, 8), 3)),
    # subspaces
    (SHAPE, lambda: principal_angles(PAIR, random_normal(2, 5))),
    (ConfigError, lambda: principal_angles(random_normal(0, 4), PAIR)),
    (ConfigError, lambda: principal_angles(random_normal(5, 4), PAIR)),
    (ConfigError, lambda: principal_angles(torch.zeros(1, 4), PAIR)),
    (ConfigError, lambda: principal_angles(torch.stack([PAIR[0], 2 * PAIR[0]]), PAIR)),
    (ConfigError, lambda: log_columns(AXES[:, :2], AXES[:, [0, 3]])),
    (ConfigError, lambda: random_level(4, 5)),
    (ConfigError, lambda: random_level(4, 0)),
    (ConfigError, lambda: random_level(4, 2, draws=0)),
    # transported vectors
    (ConfigError, lambda: transported(torch.cat([U[:1], OUTSIDE]), U, S, V)),
    (ConfigError, lambda: transported(torch.zeros(1, 2, 4, dtype=torch.float64), U, S, V)),
    (ConfigError, lambda: transported(U, U, torch.zeros(3), V)),
    (ConfigError, lambda: transported(U, U, S, V, damping=-1.0)),
    (ConfigError, lambda: transported(U, U, S, V, damping=math.nan)),
    (SHAPE, lambda: transported(U[:, :1], U, S, V)),
    (SHAPE, lambda: transported(U, U, S[:2], V)),
]


@pytest.mark.parametrize(("error", "call"), REFUSED)
def test_invalid_arguments_are_rejected(
    error: type[Exception] | tuple[type[Exception], ...], call: Callable[[], object]
) -> None:
    with pytest.raises(error):
        call()


@pytest.mark.parametrize(
    "function",
    [
        le.edit_latent,
        le.encoding.invert,
        le.encoding.retrace,
        le.geometry.feature_pca,
        le.geometry.global_directions,
        le.geometry.paper_guidance,
        le.geometry.paths_between,
        le.geometry.shortest_curve,
        le.geometry.transport_direction,
    ],
)
def test_misspelled_and_missing_arguments_are_refused_as_those_of_verbs_are(function: Callable[..., object]) -> None:
    """They were a TypeError that lists nothing."""
    with pytest.raises(ConfigError, match=r"needs|takes|missing"):
        function()
    # A function that takes a latent looks at it first.
    with pytest.raises(ConfigError, match=r"no_such|takes a latent"):
        function(*[None] * sum(_is_needed(one) for one in inspect.signature(function).parameters.values()), no_such=1)


def _is_needed(parameter: inspect.Parameter) -> bool:
    return parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD


def test_an_inversion_of_a_model_names_what_it_takes() -> None:
    with pytest.raises(ConfigError, match="encode"):
        le.encoding.invert(example_mixture())  # type: ignore[arg-type]
