"""Carried directions of models whose Jacobians are known, and what counts as the same edit."""

import pytest
import torch

from latentedit.directions.local_basis import LocalBasis
from latentedit.models.feature_jacobian import FeatureMap
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit_bench.experiments.study import Study
from latentedit_bench.experiments.transport import cosine, pulled_back, transport
from tests.api.discoveries import halves, known_basis, read_surely, widen
from tests.bench.experiments.gaussians import study_of
from tests.editors.colours import ColourBackbone
from tests.editors.edits import grey


def known_study(monkeypatch: pytest.MonkeyPatch, model: ColourBackbone) -> Study:
    """The basis of halves at one picture; at the other one the first vector leans by 0.3 rad."""
    extra = torch.zeros(1, 3, 8, 8)
    extra[0, 1] = 1 / 8
    top, bottom = halves().split(1)
    lean = torch.cos(torch.tensor(0.3)) * top + torch.sin(torch.tensor(0.3)) * extra

    def basis(self: Study, picture: int, level: float) -> LocalBasis:
        return known_basis(model, torch.cat([lean, bottom]) if picture else None)

    monkeypatch.setattr(Study, "basis", basis)
    return Study.of(model, [grey(), grey()], levels=(0.5,), rank=2, site="clean", steps=10)


@pytest.mark.parametrize("reads", [True, False])
def test_where_all_is_alike_the_edit_is_the_same(monkeypatch: pytest.MonkeyPatch, reads: bool) -> None:
    """Of a linear model there is nothing between the pictures; the target's own basis does not matter."""
    model = ColourBackbone()
    if reads:
        read_surely(monkeypatch, model)
    else:
        widen(monkeypatch)
    rows = {row["kind"]: row for row in transport.look(known_study(monkeypatch, model), 0.5, 0)}
    assert list(rows) == ["carried", "random", "unchanged"]
    assert {row["target"] for row in rows.values()} == {1}
    for kind in ("carried", "unchanged"):
        assert [rows[kind][name] for name in ("pixels", "agreement")] == pytest.approx([1, 1], abs=1e-4)
    assert abs(rows["random"]["pixels"]) < 0.5


def test_what_cannot_be_seen_at_the_source_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of some thousandths of the range, from the last picture to the first one of the ring."""
    widen(monkeypatch)
    rows = list(transport.look(known_study(monkeypatch, ColourBackbone()), 0.5, 1, effect=0.004))
    assert [(row["target"], row["pixels"]) for row in rows] == [(0, None)] * 3


def test_features_are_pulled_back_by_the_whole_jacobian() -> None:
    """Against autograd; the basis there has one vector, and does not decide."""
    study = study_of(example_mixture(dimension=6), 2, levels=(0.5,), rank=1)
    here, there = (study.basis(picture, 0.5) for picture in range(2))
    feature = FeatureMap(backbone=study.backbone, site="clean", level=there.level, condition=there.condition)
    jacobian = torch.autograd.functional.jacobian(lambda z: feature(z[None])[0], there.trace.top[0])
    assert isinstance(jacobian, torch.Tensor)
    expected = jacobian.T @ here.u[0]
    torch.testing.assert_close(pulled_back(there, here.u)[0], expected / expected.norm(), atol=1e-9, rtol=0)


def test_a_cosine_is_that_of_the_angle() -> None:
    first, second = torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([[-3.0, 0.0], [0.0, 4.0]])
    assert cosine(first, second) == pytest.approx(-0.6)
    assert cosine(first, 0 * second) is None
