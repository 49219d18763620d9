import dataclasses
import itertools
from pathlib import Path

import pandas as pd
import pytest
import torch

from latentedit.core.geometry.transport import transported
from latentedit.directions.local_basis import LocalBasis
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit_bench.experiments.signed_edits import SignedEdit
from latentedit_bench.experiments.study import Study
from latentedit_bench.experiments.transport import MEASURES, Transport, agreement, kept_of
from tests.api.discoveries import halves, known_basis, read_surely, widen
from tests.bench.experiments.gaussians import drawn, legend, study_of
from tests.editors.colours import ColourBackbone
from tests.editors.edits import grey

LEVELS = (0.9, 0.5, 0.1)


@pytest.mark.parametrize(
    "ends", [["01", "10"], ["01", "12", "20"], ["01", "12", "23", "34", "40", "03", "14", "20", "31", "42"]]
)
def test_pairs_are_a_ring_at_three_levels(ends: list[str]) -> None:
    pairs = [(int(one), int(other)) for one, other in ends]
    study = study_of(example_mixture(dimension=4), 1 + max(pairs)[0], levels=(0.9, 0.8, 0.6, 0.4, 0.2), rank=2)
    assert Transport().items(study) == [(level, *pair) for level in (0.9, 0.6, 0.2) for pair in pairs]
    alone = dataclasses.replace(study, levels=(0.5,))
    assert Transport().items(alone) == [(0.5, *pair) for pair in pairs]


def known_study(monkeypatch: pytest.MonkeyPatch, model: ColourBackbone, others: torch.Tensor | None = None) -> Study:
    """The basis of halves at both pictures, or another one at the second."""

    def basis(self: Study, picture: int, level: float) -> LocalBasis:
        return known_basis(model, others if picture else None)

    monkeypatch.setattr(Study, "basis", basis)
    return Study.of(model, [grey(), grey()], levels=(0.5,), rank=2, site="clean", steps=10)


def test_where_all_is_alike_the_edit_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each half of a linear model by itself, read by halves: the carried edit agrees, the other one has no part."""
    model = ColourBackbone()
    read_surely(monkeypatch, model)
    study = known_study(monkeypatch, model)
    rows = Transport().look_at(study, (0.5, 0, 1))
    assert rows == Transport().look_at(study, (0.5, 0, 1))
    assert [(row["source"], row["target"], row["index"]) for row in rows] == [(0, 1, 1), (0, 1, 2)]
    for row in rows:
        assert row["distance"] == pytest.approx(0, abs=1e-6)
        assert [row[name] for name in ("captured", "kept", "kept_plain")] == pytest.approx([1, 1, 1])
        assert row["agreement"] == pytest.approx(1, abs=1e-4)
        assert row["agreement_wrong"] == pytest.approx(0, abs=1e-4)
        assert abs(float(row["agreement_random"] or 0)) < 0.9


def test_without_a_reader_pixels_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """The target's basis is turned by 0.5 rad within the same plane, and one of it by 0.3 rad out of it."""
    widen(monkeypatch)
    extra = torch.zeros(1, 3, 8, 8)
    extra[0, 1] = 1 / 8
    top, bottom = halves().split(1)
    lean = torch.cos(torch.tensor(0.3)) * bottom + torch.sin(torch.tensor(0.3)) * extra
    study = known_study(monkeypatch, ColourBackbone(), torch.cat([top, lean]))
    first, second = Transport().look_at(study, (0.5, 0, 1))
    assert first["agreement"] == pytest.approx(1, abs=1e-4)
    assert [row["pixels"] for row in (first, second)] == [row["agreement"] for row in (first, second)]
    cosine = float(torch.cos(torch.tensor(0.3)))
    assert second["captured"] == pytest.approx(cosine**2, rel=1e-5)
    assert second["agreement"] == pytest.approx(cosine, rel=1e-4)
    assert second["kept"] == pytest.approx(cosine, rel=1e-5)
    assert second["distance"] == pytest.approx(0.3 / (torch.pi / 2 * 2**0.5), rel=1e-4)


def test_what_is_not_seen_does_not_agree() -> None:
    """Total variation of 0.1 is seen, of 0.05 not, however alike the shifts are."""

    def edit(size: float) -> SignedEdit:
        shift = torch.tensor([[size, -size], [-size, size]], dtype=torch.float64)
        return SignedEdit(effect=0.4, change=torch.ones(2, 3, 4, 4), shifts={"a": shift})

    assert agreement(edit(0.3), edit(0.11)) == pytest.approx(1)
    assert agreement(edit(0.3), edit(-0.11)) == pytest.approx(-1)
    assert agreement(edit(0.3), edit(0.05)) == 0
    assert agreement(edit(0.05), edit(0.3)) is None


def test_the_inverse_keeps_the_change_of_the_feature(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the whole matrix: with it ``cos(J v, u)`` is the root of the captured share, without it is less."""
    basis = known_basis(ColourBackbone())
    flat_u, flat_v = basis.u.flatten(1).double(), basis.v.flatten(1).double()
    jacobian = flat_u.T @ torch.diag(basis.singular_values.double()) @ flat_v
    u = (0.6 * flat_u[:1] - 0.5 * flat_u[1:]).reshape(1, 3, 8, 8)
    u[0, 2, 0, 0] = 0.39**0.5
    found = [transported(u, basis.u, basis.singular_values, basis.v, inverse=inverse) for inverse in (True, False)]
    pushed = [torch.cosine_similarity(jacobian @ one.v.flatten(), u.flatten(), dim=0) for one in found]
    kept = [kept_of(u, basis, one.v)[0] for one in found]
    assert kept == pytest.approx([float(one) for one in pushed], rel=1e-6)
    assert kept[0] == pytest.approx(float(found[0].captured[0]) ** 0.5, rel=1e-6)
    assert kept[1] < kept[0] - 0.01


def table_of(slope: float, above: float, *, pictures: int = 8) -> pd.DataFrame:
    """Agreement that falls with the distance by a slope and lies so much above that of random directions."""
    rows: list[dict[str, object]] = []
    for level, source, stride in itertools.product(LEVELS, range(pictures), (1, 3)):
        distance = 0.2 + 0.5 * (0.9 - level) + 0.03 * stride + 0.01 * source
        agreement = 0.6 - slope * (distance - 0.5)
        row = {"model": "one", "level": level, "source": source, "target": (source + stride) % pictures, "index": 1}
        row |= {"distance": distance, "captured": 0.8, "kept": 0.9, "kept_plain": 0.7, "agreement": agreement}
        wiggle = 0.01 * ((source + stride) % 3 - 1)
        row |= {"agreement_wrong": 0.1, "agreement_random": agreement - above + wiggle, "effect": 0.4}
        row |= {"pixels": 0.5, "pixels_random": 0.25}
        rows.append(row)
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("slope", "above", "agrees", "falls"),
    [(0.8, 0.5, "holds", "holds"), (-0.8, 0.5, "holds", "does not hold"), (0.8, -0.5, "does not hold", "holds")],
)
@pytest.mark.parametrize("column", ["agreement", "pixels"])
def test_claims_follow_agreement_and_its_fall(column: str, slope: float, above: float, agrees: str, falls: str) -> None:
    table = table_of(slope, above)
    if column == "pixels":
        table[["pixels", "pixels_random"]] = table[["agreement", "agreement_random"]]
    found = Transport().conclude(table)
    claims = found.claims[:4] if column == "agreement" else found.claims[4:]
    assert [claim.verdict for claim in claims] == [agrees] * 3 + [falls]
    assert [claim.estimate for claim in claims[:3]] == pytest.approx([above] * 3, abs=0.01)
    assert claims[3].estimate == pytest.approx(1 if slope > 0 else -1, abs=1e-3)  # ties, by rounding
    assert [claim.measure[-4:] for claim in claims[:3]] == ["0.90", "0.50", "0.10"]
    assert all(("pixels" in claim.measure) == (column == "pixels") for claim in claims)
    seen = found.summary[found.summary["measure"] == column].iloc[0]
    assert [seen["shuffled_low"], seen["shuffled_high"]] == pytest.approx([-0.28, 0.28], abs=0.06)  # 2 / sqrt(48)


def test_what_agrees_with_nothing_is_left_out(tmp_path: Path) -> None:
    table = table_of(0.8, 0.5).astype({"agreement_wrong": object})
    table["agreement_wrong"] = None
    assert len(legend(drawn(Transport(), table, tmp_path), 2)) == len(MEASURES) - 1, "no second direction"
    table.loc[table["level"] == 0.1, "agreement"] = None
    claims = Transport().conclude(table).claims[:4]
    assert [claim.verdict for claim in claims] == ["holds", "holds", "undecided at this size", "holds"]


def test_the_plot_shows_points_means_and_controls(tmp_path: Path) -> None:
    figure = drawn(Transport(), table_of(0.8, 0.5), tmp_path)
    assert legend(figure, 0) == ["level 0.90", "level 0.50", "level 0.10", "random directions, 95 %"]
    assert legend(figure, 1) == legend(figure, 0)
    assert legend(figure, 2) == [f"{label}, 95 %" for label in MEASURES.values()]
    upper, middle, lower = figure.axes
    assert len(upper.collections[0].get_offsets()) == 16
    assert middle.collections[0].get_offsets()[:, 1].tolist() == [0.5] * 16, "the pixels"
    means = table_of(0.8, 0.5).groupby("level")["agreement"].mean()
    assert lower.lines[0].get_ydata().tolist() == pytest.approx([means[level] for level in LEVELS])
