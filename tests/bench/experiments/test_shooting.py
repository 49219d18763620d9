"""Curves that are shot along tangent spaces, and lengths of others, against autograd and LAPACK."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from latentedit.core.errors import ConfigError
from latentedit.core.geometry.angles import principal_angles
from latentedit.core.geometry.interpolation import slerp
from latentedit.models.feature_jacobian import FeatureMap
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit_bench.experiments.curvedness import curvedness
from latentedit_bench.experiments.experiment import Row
from latentedit_bench.experiments.shooting import Shot, TangentBasis, shoot
from latentedit_bench.experiments.study import Study
from tests.bench.experiments.gaussians import gaussian, study_of
from tests.core.geometry.drawn import sphere

START = torch.tensor([0.2, -0.3], dtype=torch.float64)


def sphere_basis(z: Tensor, _before: TangentBasis | None = None) -> TangentBasis:
    """From the whole Jacobian of the chart stretched along one axis, so that its singular values differ."""
    jacobian = torch.autograd.functional.jacobian(lambda one: sphere(stretched(one)), z)
    assert isinstance(jacobian, Tensor)
    u, s, vh = torch.linalg.svd(jacobian, full_matrices=False)
    return TangentBasis(u=u.T, singular_values=s, v=vh)


def stretched(z: Tensor) -> Tensor:
    """The first number counts three times."""
    return z * torch.tensor([3.0, 1.0], dtype=z.dtype)


def off_the_circle(shot: Shot, u: Tensor) -> float:
    """Largest sine of an angle between a point on the sphere and the plane of the great circle through start and u."""
    on_sphere = sphere(stretched(shot.points))
    normal = torch.linalg.cross(on_sphere[0], u / u.norm())
    return float((on_sphere @ normal).abs().max())


def shot_of(segments: int, *, length: float = 0.8) -> tuple[Shot, Tensor]:
    u = sphere_basis(START).u.sum(0)
    return shoot(sphere_basis, START, u, step=length / segments, segments=segments), u


@pytest.mark.slow
def test_it_follows_a_great_circle_to_first_order() -> None:
    """Twice as many steps are half as far off; the curve in the chart is bent, so straight is not enough."""
    errors = [off_the_circle(*shot_of(segments)) for segments in (16, 32, 64)]
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.15)
    assert errors[1] / errors[2] == pytest.approx(2, rel=0.08)
    fine, u = shot_of(64)
    straight = START + torch.linspace(0, 1, 65, dtype=torch.float64)[:, None] * 64 * (fine.points[1] - fine.points[0])
    bent = Shot(points=straight, bases=fine.bases, captured=fine.captured)
    assert errors[2] < off_the_circle(bent, u) / 10


def test_signs_of_the_bases_do_not_matter() -> None:
    """As a search for singular vectors may give any."""
    calls, told = 0, list[TangentBasis | None]()

    def flipping(z: Tensor, before: TangentBasis | None) -> TangentBasis:
        nonlocal calls
        calls += 1
        told.append(before)
        found = sphere_basis(z, before)
        sign = (-1) ** calls
        return TangentBasis(u=sign * found.u, singular_values=found.singular_values, v=sign * found.v)

    u = sphere_basis(START).u[0]
    plain, flipped = (shoot(basis_at, START, u, step=0.05, segments=6) for basis_at in (sphere_basis, flipping))
    assert torch.allclose(plain.points, flipped.points, atol=1e-13)
    assert all(one is other for one, other in zip(told, (None, *flipped.bases[:-1]), strict=True)), "the basis before"


def test_on_the_shell_the_length_stays_and_a_flat_space_is_crossed_on_a_great_circle() -> None:
    """Along one direction of a linear map: the angle from the start is the sum of the steps' own."""
    eye = torch.eye(4, dtype=torch.float64)
    flat = TangentBasis(u=eye, singular_values=torch.ones(4, dtype=torch.float64), v=eye)
    start, step, radius = 2 * eye[0] + eye[2], 0.3, 5**0.5
    shot = shoot(lambda z, before: flat, start, eye[1], step=step, segments=3, on_shell=True)
    assert shot.points.norm(dim=1).tolist() == pytest.approx([radius] * 4)
    angles = [math.acos(float(point @ start) / radius**2) for point in shot.points]
    assert angles[1] == pytest.approx(math.atan(step / radius))
    assert angles == pytest.approx([count * angles[1] for count in range(4)], abs=1e-7)
    plain = shoot(lambda z, before: flat, start, eye[1], step=step, segments=3)
    assert float(plain.points[-1].norm()) > radius + 0.1, "else the test would see nothing"


def test_bad_requests_are_refused() -> None:
    u = sphere_basis(START).u[0]
    for step in (0.0, math.nan, math.inf):
        with pytest.raises(ConfigError, match="goes nowhere"):
            shoot(sphere_basis, START, u, step=step, segments=1)
    with pytest.raises(ConfigError, match="no curve"):
        shoot(sphere_basis, START, u, step=1.0, segments=0)
    normal = sphere(stretched(START[None]))[0]
    with pytest.raises(ConfigError, match="nothing"):
        shoot(sphere_basis, START, normal, step=1.0, segments=1)


def looked(study: Study, picture: int = 0) -> dict[tuple[str, str], Row]:
    rows = curvedness.look(study, 0.5, picture, segments=3, tangents=2, descents=15)
    return {(row["ends"], row["method"]): row for row in rows}


def test_ends_have_a_noise_of_their_own() -> None:
    """Of many numbers, near noise: nearly at a right angle, 1 / sqrt(400) of the cosine."""
    study = study_of(gaussian(torch.ones(1), torch.eye(400)[:1], (400,)), 2, levels=(0.95,), rank=1)
    ends = [study.noised(picture, 0.95) for picture in range(2)]
    noises = [(end - 0.05 * study.latents[index].z[0]) / 0.95 for index, end in enumerate(ends)]
    assert float(torch.cosine_similarity(*noises, dim=0).abs()) < 4 / 20
    assert [float(noise.square().mean()) for noise in noises] == pytest.approx([1, 1], abs=5 * (2 / 400) ** 0.5)


@pytest.mark.slow
def test_nothing_turns_in_a_flat_space_and_an_untrained_network_has_lines_and_arcs() -> None:
    """The map of one Gaussian is linear: tangent spaces are one, and nothing beats a line."""
    backbone = gaussian(torch.tensor([4.0, 1.0]), torch.eye(8)[:2], (8,))
    study = study_of(backbone, 3, levels=(0.5,), rank=3)
    rows = looked(study)
    shot = [("shot", method) for method in ("shooting", "lerp", "slerp")]
    assert list(rows) == [*(("pair", method) for method in ("lerp", "slerp", "geodesic")), *shot]
    for key, row in rows.items():
        # bases are within 1 degree of the truth, so two are within 2 of one another, in both of two angles
        assert (row["semantic"] is None) is (key[1] == "geodesic")
        assert (row["semantic"] or 0) <= 3 * 2**0.5 * 2 * 0.0175
        assert row["feature"] >= (1 - 1e-9 if key[1] != "geodesic" else 1 - 1e-3)
    assert [rows[ends, "lerp"]["feature"] for ends in ("pair", "shot")] == [1, 1]
    assert rows["pair", "geodesic"]["feature"] == pytest.approx(1, abs=1e-3)
    assert list(looked(study.untrained(backbone))) == [("pair", "lerp"), ("pair", "slerp")]
    assert looked(study, 1) == looked(study, 2) == {}, "pairs share no picture, and the last one has no other"


def test_lengths_in_a_curved_space_are_those_of_the_whole_jacobian() -> None:
    """Of the arc between two pictures, at its four points."""
    study = study_of(example_mixture(dimension=6), 2, levels=(0.5,), rank=2)
    rows = looked(study)
    feature = FeatureMap(backbone=study.backbone, site="clean", level=0.5, condition=study.backbone.embed([""]))
    ends = [study.noised(picture, 0.5) for picture in range(2)]
    points = slerp(ends[0], ends[1], torch.linspace(0, 1, 4, dtype=torch.float64))
    spaces, values = list[torch.Tensor](), feature(points).detach()
    for point in points:
        jacobian = torch.autograd.functional.jacobian(lambda z: feature(z[None])[0], point)
        assert isinstance(jacobian, torch.Tensor)
        spaces.append(torch.linalg.svd(jacobian)[0].T[:2])
    turns = sum(float(principal_angles(a, b).norm()) for a, b in itertools.pairwise(spaces))
    assert turns > 0.05
    assert rows["pair", "slerp"]["semantic"] == pytest.approx(turns, abs=3 * 2**0.5 * 2 * 0.0175)
    line = feature(torch.lerp(ends[0], ends[1], torch.linspace(0, 1, 4, dtype=torch.float64)[:, None])).detach()
    length, unit = (sum(float((b - a).norm()) for a, b in itertools.pairwise(curve)) for curve in (values, line))
    assert rows["pair", "slerp"]["feature"] == pytest.approx(length / unit, rel=1e-9)
    assert rows["pair", "geodesic"]["feature"] <= min(1, length / unit)
