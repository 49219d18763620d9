"""Geodesic shooting on a sphere, whose geodesics are great circles, and on a shell."""

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from latentedit.geometry.shooting import geodesic_shooting
from latentedit.numerics.block_lanczos import TruncatedSVD
from tests.geometry.examples import sphere

START = torch.tensor([0.2, -0.3], dtype=torch.float64)


def triplets(u: Tensor, values: Tensor, v: Tensor) -> TruncatedSVD:
    none = torch.zeros(len(values))
    return TruncatedSVD(u=u, singular_values=values, v=v, residuals=none, iterations=0, products=0, converged=True)


def sphere_basis(z: Tensor, _before: TruncatedSVD | None = None) -> TruncatedSVD:
    """From the whole Jacobian of the chart stretched along one axis, so that its singular values differ."""
    jacobian = torch.autograd.functional.jacobian(lambda one: sphere(stretched(one)), z)
    assert isinstance(jacobian, Tensor)
    u, s, vh = torch.linalg.svd(jacobian, full_matrices=False)
    return triplets(u.T, s, vh)


def stretched(z: Tensor) -> Tensor:
    """The first number counts three times."""
    return z * torch.tensor([3.0, 1.0], dtype=z.dtype)


def off_the_circle(points: Tensor, u: Tensor) -> float:
    """Largest sine of an angle between a point on the sphere and the plane of the great circle through start and u."""
    on_sphere = sphere(stretched(points))
    normal = torch.linalg.cross(on_sphere[0], u / u.norm())
    return float((on_sphere @ normal).abs().max())


def shot_of(segments: int, *, length: float = 0.8) -> tuple[Tensor, Tensor]:
    u = sphere_basis(START).u.sum(0)
    return geodesic_shooting(sphere_basis, START, u, step=length / segments, segments=segments)[0], u


def test_it_follows_a_great_circle_to_first_order() -> None:
    """Twice as many steps are half as far off; the curve in the chart is bent, so straight is not enough."""
    errors = [off_the_circle(*shot_of(segments)) for segments in (16, 32, 64)]
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.15)
    assert errors[1] / errors[2] == pytest.approx(2, rel=0.08)
    fine, u = shot_of(64)
    straight = START + torch.linspace(0, 1, 65, dtype=torch.float64)[:, None] * 64 * (fine[1] - fine[0])
    assert errors[2] < off_the_circle(straight, u) / 10


def test_signs_of_the_bases_do_not_matter() -> None:
    """A search for singular vectors may give any; it receives the basis before."""
    before: list[TruncatedSVD | None] = []

    def flipping(z: Tensor, last: TruncatedSVD | None) -> TruncatedSVD:
        before.append(last)
        found, sign = sphere_basis(z, last), (-1) ** len(before)
        return dataclasses.replace(found, u=sign * found.u, v=sign * found.v)

    u = sphere_basis(START).u[0]
    both = [geodesic_shooting(at, START, u, step=0.05, segments=6) for at in (sphere_basis, flipping)]
    (plain, _), (flipped, bases) = both
    assert torch.allclose(plain, flipped, atol=1e-13)
    assert all(one is other for one, other in zip(before, (None, *bases[:-1]), strict=True))


def test_on_the_shell_the_length_stays_and_a_flat_space_is_crossed_on_a_great_circle() -> None:
    """Along one direction of a linear map: the angle from the start is the sum of the steps' own."""
    eye = torch.eye(4, dtype=torch.float64)
    flat = triplets(eye, torch.ones(4, dtype=torch.float64), eye)
    start, step, radius = 2 * eye[0] + eye[2], 0.3, 5**0.5
    points, _ = geodesic_shooting(lambda z, before: flat, start, eye[1], step=step, segments=3, on_shell=True)
    assert points.norm(dim=1).tolist() == pytest.approx([radius] * 4)
    angles = [math.acos(float(point @ start) / radius**2) for point in points]
    assert angles[1] == pytest.approx(math.atan(step / radius))
    assert angles == pytest.approx([count * angles[1] for count in range(4)], abs=1e-7)
    plain, _ = geodesic_shooting(lambda z, before: flat, start, eye[1], step=step, segments=3)
    assert float(plain[-1].norm()) > radius + 0.1, "else the test would see nothing"
