"""Principal components of a feature whose distribution is known, pulled back to an image."""

import dataclasses

import pytest
import torch

from latentedit.numerics import draw, stream
from latentedit_bench.experiments import ganspace as module
from latentedit_bench.experiments.ganspace import ganspace
from latentedit_bench.experiments.signed_edits import SignedEdit
from research.tests.bench.experiments.gaussians import gaussian, study_of


def test_all_kinds_find_the_axis_of_a_gaussian_and_the_control_is_random(monkeypatch: pytest.MonkeyPatch) -> None:
    """The feature is ``A z`` with eigenvalues ``(1 - s) c / ((1 - s)^2 c + s^2)``: 1.8 along the axis, else .02."""
    axis = torch.nn.functional.normalize(torch.tensor([[1.0, 2, -1, 0, 0, 0]], dtype=torch.float64))
    study = study_of(gaussian(torch.tensor([8.0]), axis, (6,)), 4, levels=(0.5,), rank=1)
    slopes = [0.5 * c / (0.25 * c + 0.25) for c in (8.0, 0.01)]
    a = slopes[1] * torch.eye(6, dtype=torch.float64) + (slopes[0] - slopes[1]) * axis.T @ axis
    drawn = torch.randn(1, 6, generator=stream(study.seed, "ganspace control", 3))
    control = torch.nn.functional.normalize(drawn.double() @ a)
    given, sought = list[torch.Tensor](), list[float]()

    def known(_: object, units: torch.Tensor, *, effect: float) -> list[SignedEdit]:
        given.append(units)
        sought.append(effect)
        sizes = [(0.4, 0.4, 0.0), (0.4, 0.0, 0.0), (0.09, 0.0, 0.0)][: len(units)]
        shifts = [
            {str(k): torch.tensor([[one, -one]] * 2, dtype=torch.float64) for k, one in enumerate(some)}
            for some in sizes
        ]
        return [SignedEdit(effect=0.3, change=torch.zeros(2, 3, 4, 4), shifts=one) for one in shifts]

    monkeypatch.setattr(module, "signed_edits", known)
    assert list(ganspace.function(study, 0.5, 1, samples=2, noises=40)) == []
    rows = list(ganspace.function(study, 0.5, 3, samples=2, noises=40, effect=0.7))
    assert sought == [0.7, 0.3]
    first, others = given
    assert torch.allclose(first, control, atol=1e-6)
    assert (others @ axis.T).abs().flatten().tolist() == pytest.approx([1] * 3, abs=1e-2)
    kinds = ["local basis", "global direction", "principal component", "random change of the feature"]
    assert [row["kind"] for row in rows] == kinds
    assert [row["effective"] for row in rows] == [pytest.approx(2), pytest.approx(1), None, pytest.approx(2)]
    assert [row["seen"] for row in rows] == [1, 1, 0, 1]


def test_components_come_from_many_noises_of_the_sample_alone() -> None:
    """One shared direction, one component, the same for every image that is edited."""
    study = study_of(gaussian(torch.tensor([3.0, 1.0]), torch.eye(6)[:2], (6,)), 3, levels=(0.5,), rank=1)
    first = module.of_sample(study, 0.5, 2, 8)
    assert [one.shape for one in first] == [(1, 6), (1, 6)]
    fewer = dataclasses.replace(study, latents=study.latents[:2])
    assert torch.equal(first[1], module.of_sample(fewer, 0.5, 2, 8)[1])
    other = dataclasses.replace(study, latents=study.latents[1:])
    assert not torch.allclose(first[1], module.of_sample(other, 0.5, 2, 8)[1], atol=1e-3)
    points = [
        (one.z + draw((6,), seed=study.seed, purpose=f"ganspace {image}", index=k)) / 2
        for image, one in enumerate(fewer.latents)
        for k in range(8)
    ]
    slopes = torch.tensor([0.5 * c / (0.25 * c + 0.25) for c in (3.0, 1.0, *[0.01] * 4)], dtype=torch.float64)
    component = torch.linalg.eigh(torch.cov((torch.cat(points) * slopes).T))[1][:, -1]
    assert float((first[1] @ component).abs()) == pytest.approx(1, abs=1e-9)
