import dataclasses
import itertools
from pathlib import Path

import pandas as pd
import pytest
import torch

from latentedit.directions.local_basis import LocalBasis
from latentedit.editors.walks.step_length import CLOSE
from latentedit.models.feature_jacobian import FeatureMap
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit_bench.experiments.signed_edits import SignedEdit
from latentedit_bench.experiments.study import Study
from latentedit_bench.experiments.transport import MEASURES, Transport, agreement, pulled_back
from tests.api.discoveries import halves, known_basis, read_surely, widen
from tests.bench.experiments.gaussians import drawn, legend, study_of
from tests.editors.colours import ColourBackbone
from tests.editors.edits import grey

LEVELS = (0.9, 0.5, 0.1)


def test_pairs_are_a_ring_at_each_level() -> None:
    study = study_of(example_mixture(dimension=4), 3, levels=(0.9, 0.2), rank=2)
    assert Transport().items(study) == [(level, *pair) for level in (0.9, 0.2) for pair in ((0, 1), (1, 2), (2, 0))]


def known_study(monkeypatch: pytest.MonkeyPatch, model: ColourBackbone, others: torch.Tensor | None = None) -> Study:
    """The basis of halves at both pictures, or another one at the second."""

    def basis(self: Study, picture: int, level: float) -> LocalBasis:
        return known_basis(model, others if picture else None)

    monkeypatch.setattr(Study, "basis", basis)
    return Study.of(model, [grey(), grey()], levels=(0.5,), rank=2, site="clean", steps=10)


def test_where_all_is_alike_the_edit_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each half of a linear model by itself, read by halves: the carried edit agrees, and so does the one that is not
    carried, for there is nothing between the pictures."""
    model = ColourBackbone()
    read_surely(monkeypatch, model)
    study = known_study(monkeypatch, model)
    (row,) = Transport().look_at(study, (0.5, 0, 1))
    assert [row] == Transport().look_at(study, (0.5, 0, 1))
    assert (row["source"], row["target"], row["level"]) == (0, 1, 0.5)
    assert row["distance"] == pytest.approx(0, abs=1e-6)
    assert [row[name] for name in ("captured", "kept")] == pytest.approx([1, 1])
    for name in ("agreement", "agreement_unchanged", "pixels", "pixels_unchanged"):
        assert row[name] == pytest.approx(1, abs=1e-4), name
    assert abs(float(row["agreement_random"] or 0)) < 0.9
    assert abs(float(row["pixels_random"] or 0)) < 0.5
    assert row["effect"] == pytest.approx(0.6, rel=CLOSE)
    assert float(row["changed"] or 0) > 0.05


def test_without_a_reader_pixels_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the target's own basis, which leans by 0.3 rad, does not matter: the whole Jacobian carries."""
    widen(monkeypatch)
    extra = torch.zeros(1, 3, 8, 8)
    extra[0, 1] = 1 / 8
    top, bottom = halves().split(1)
    lean = torch.cos(torch.tensor(0.3)) * top + torch.sin(torch.tensor(0.3)) * extra
    study = known_study(monkeypatch, ColourBackbone(), torch.cat([lean, bottom]))
    (row,) = Transport().look_at(study, (0.5, 0, 1))
    assert row["pixels"] == row["agreement"] == pytest.approx(1, abs=1e-4)
    assert row["pixels_unchanged"] == pytest.approx(1, abs=1e-4)
    assert row["kept"] == pytest.approx(1, rel=1e-5)
    cosine = float(torch.cos(torch.tensor(0.3)))
    assert row["captured"] == pytest.approx(cosine**2, rel=1e-5)
    assert row["distance"] == pytest.approx(0.3 / (torch.pi / 2 * 2**0.5), rel=1e-4)


def test_features_are_pulled_back_by_the_whole_jacobian() -> None:
    """Against autograd; through the first vector of the basis alone less would be kept."""
    study = study_of(example_mixture(dimension=6), 2, levels=(0.5,), rank=1)
    here, there = (study.basis(picture, 0.5) for picture in range(2))
    v, kept = pulled_back(there, here.u)
    feature = FeatureMap(backbone=study.backbone, site="clean", level=there.level, condition=there.condition)
    jacobian = torch.autograd.functional.jacobian(lambda z: feature(z[None])[0], there.trace.top[0])
    assert isinstance(jacobian, torch.Tensor)
    expected = jacobian.T @ here.u[0]
    assert torch.allclose(v[0], expected / expected.norm(), atol=1e-9)
    assert kept == pytest.approx(float(torch.cosine_similarity(jacobian @ expected, here.u[0], dim=0)))
    through = float((here.u[0] @ there.u[0]).abs())
    assert through < kept < 1


def test_what_cannot_be_seen_at_the_source_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of some thousandths of the range."""
    widen(monkeypatch)
    study = known_study(monkeypatch, ColourBackbone())
    (row,) = dataclasses.replace(Transport(), effect=0.004).look_at(study, (0.5, 0, 1))
    assert row["changed"] == 0
    assert [row[name] for name in ("pixels", "pixels_random", "pixels_unchanged")] == [None] * 3


def test_what_is_not_seen_does_not_agree() -> None:
    """Total variation of 0.1 is seen, of 0.05 not, however alike the shifts are."""

    def edit(size: float) -> SignedEdit:
        shift = torch.tensor([[size, -size], [-size, size]], dtype=torch.float64)
        return SignedEdit(effect=0.4, change=torch.ones(2, 3, 4, 4), shifts={"a": shift})

    assert agreement(edit(0.3), edit(0.11)) == pytest.approx(1)
    assert agreement(edit(0.3), edit(-0.11)) == pytest.approx(-1)
    assert agreement(edit(0.3), edit(0.05)) == 0
    assert agreement(edit(0.05), edit(0.3)) is None


def table_of(slope: float, above: float, *, pictures: int = 8) -> pd.DataFrame:
    """Agreement that falls with the distance by a slope, and lies so much above that of random directions, and half as
    much above that of directions that were not carried."""
    rows: list[dict[str, object]] = []
    for level, source in itertools.product(LEVELS, range(pictures)):
        distance = 0.2 + 0.5 * (0.9 - level) + 0.01 * source
        agreement = 0.6 - slope * (distance - 0.5)
        row = {
            "model": "one",
            "level": level,
            "source": source,
            "target": (source + 1) % pictures,
            "distance": distance,
        }
        row |= {"captured": 0.8, "kept": 0.9, "changed": 0.3, "effect": 0.6}
        wiggle = 0.01 * (source % 3 - 1)
        for name in ("pixels", "agreement"):
            row |= {name: agreement, f"{name}_random": agreement - above + wiggle}
            row |= {f"{name}_unchanged": agreement - above / 2 + wiggle}
        rows.append(row)
    return pd.DataFrame(rows)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("slope", "above", "agrees", "falls"),
    [(0.8, 0.5, "holds", "holds"), (-0.8, 0.5, "holds", "does not hold"), (0.8, -0.5, "does not hold", "holds")],
)
def test_claims_follow_agreement_and_its_fall(slope: float, above: float, agrees: str, falls: str) -> None:
    found = Transport().conclude(table_of(slope, above))
    for column, claims in (("pixels", found.claims[:7]), ("reader", found.claims[7:])):
        assert all(column in claim.measure for claim in claims)
        assert [claim.verdict for claim in claims] == [agrees] * 6 + [falls]
        assert [claim.estimate for claim in claims[:6]] == pytest.approx([above] * 3 + [above / 2] * 3, abs=0.01)
        assert claims[6].estimate == pytest.approx(1 if slope > 0 else -1, abs=1e-3)  # ties, by rounding
    assert "random one, level 0.90" in found.claims[0].measure
    assert "not carried" in found.claims[3].measure
    seen = found.summary[found.summary["measure"] == "pixels"].iloc[0]
    assert [seen["shuffled_low"], seen["shuffled_high"]] == pytest.approx([-0.4, 0.4], abs=0.08)  # 2 / sqrt(24)


@pytest.mark.slow
def test_what_agrees_with_nothing_is_left_out() -> None:
    table = table_of(0.8, 0.5)
    table.loc[table["level"] == 0.1, ["pixels", "pixels_random", "pixels_unchanged"]] = None
    claims = Transport().conclude(table).claims[:7]
    undecided = "undecided at this size"
    assert [claim.verdict for claim in claims] == ["holds", "holds", undecided, "holds", "holds", undecided, "holds"]


@pytest.mark.nightly
def test_the_plot_shows_points_means_and_controls(tmp_path: Path) -> None:
    table = table_of(0.8, 0.5)
    figure = drawn(Transport(), table, tmp_path)
    assert legend(figure, 0) == ["level 0.90", "level 0.50", "level 0.10", "random directions, 95 %"]
    assert legend(figure, 1) == legend(figure, 0)
    upper, _, lower = figure.axes
    assert len(upper.collections[0].get_offsets()) == 8
    assert sorted(text.get_text() for text in lower.get_yticklabels()) == sorted(MEASURES.values())
