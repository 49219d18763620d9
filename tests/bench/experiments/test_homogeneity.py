import itertools
from pathlib import Path

import pandas as pd
import pytest
import torch

from latentedit.directions.global_directions import mean_directions
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit_bench.experiments.homogeneity import Homogeneity, _left_out, _random_sets
from tests.bench.experiments.gaussians import beside, drawn, gaussian, legend, measured, study_of

LEVELS = (0.9, 0.5, 0.1)


@pytest.mark.nightly
def test_pictures_of_one_gaussian_share_all_directions() -> None:
    """Its Jacobian is the same everywhere; bases are found to 1 degree, whose cosine is 1 - 2e-4."""
    backbone = gaussian(torch.tensor([4.0, 1.0]), torch.eye(8)[:2], (8,))
    table = measured(Homogeneity(), study_of(backbone, 3, levels=(0.5,), rank=2))
    assert table[["rank", "picture"]].to_numpy().tolist() == [list(p) for p in itertools.product((1, 2), range(3))]
    assert table["captured"].min() > 1 - 2e-3
    assert table["matched"].min() > 1 - 2e-3


@pytest.mark.nightly
def test_the_mean_leaves_the_picture_out() -> None:
    """Against the means of the others in the whole space: rows are computed in the span of all vectors."""
    backbone = example_mixture(dimension=8)
    study = study_of(backbone, 3, levels=(0.5,), rank=2)
    table = measured(Homogeneity(), study)
    sets = [study.basis(picture, 0.5).u for picture in range(3)]
    for picture in range(3):
        others = [one for index, one in enumerate(sets) if index != picture]
        u = mean_directions(others, mean="chordal").u
        captured = float((u @ sets[picture].T).square().sum(1).mean())
        rows = table[(table["picture"] == picture) & (table["rank"] == 2)]
        assert rows["captured"].tolist() == pytest.approx([captured], abs=1e-6)
    within = mean_directions(sets, mean="chordal").captured.mean()
    assert (
        table.loc[table["rank"] == 2, "captured"].mean() < float(within) - 1e-3
    )  # a mean that knows the picture has more of it


@pytest.mark.nightly
def test_random_subspaces_have_their_share_of_the_dimensions() -> None:
    """Two of 16 dimensions hold 1 / 8 of any direction, with a deviation of .11; left out in turn, 12 are not quite
    independent of one another, but 5 are: .11 / sqrt(5) is .05."""
    sets = _random_sets(12, torch.zeros(2, 4, 4), seed=1)
    rows = torch.cat([one.flatten(1) for one in sets[:2]])
    assert torch.allclose(rows[:2] @ rows[:2].T, torch.eye(2, dtype=torch.float64), atol=1e-12)
    assert float((rows[:2] @ rows[2:].T).abs().max()) > 1e-3
    found = [_left_out(sets, index, "chordal") for index in range(12)]
    captured, matched = ([one[name] or 0.0 for one in found] for name in ("captured", "matched"))
    assert sum(captured) / 12 == pytest.approx(1 / 8, abs=0.05)
    # no |cos| with one vector is more than the root of the energy in the span of both; matched, so more than half of it
    assert 0.1 < sum(matched) / 12 < (2 / 16) ** 0.5 + 0.05


@pytest.mark.nightly
def test_rows_know_the_random_level() -> None:
    table = measured(Homogeneity(), study_of(example_mixture(dimension=8), 4, levels=(0.5,), rank=2))
    assert table["null_captured"].between(0, 1).all()
    assert table["null_captured"].mean() < table["captured"].mean()
    assert table["null_matched"].mean() < table["matched"].mean()


def test_spaces_without_a_mean_are_not_measured_and_left_out() -> None:
    """Orthogonal ones."""
    eye = torch.eye(6, dtype=torch.float64)
    found = _left_out([eye[:2], eye[2:4], eye[4:]], 0, "frechet")
    assert found == {"captured": None, "matched": 0}
    table = beside(table_of(0.3), table_of(0.1))
    table["captured"] = [None] * len(table)
    claim = Homogeneity().conclude(table).claims[0]
    assert (claim.verdict, claim.samples) == ("undecided at this size", 0)


def table_of(fall: float, pictures: int = 7) -> pd.DataFrame:
    """Captured energy of 0.6 at level 0.9 that falls by so much until 0.1, a little more in pictures of high number."""
    rows: list[dict[str, object]] = []
    for level, picture, rank in itertools.product(LEVELS, range(pictures), (1, 2)):
        fallen = fall * (0.9 - level) / 0.8 * (1 + 0.02 * (picture - (pictures - 1) / 2))
        captured = 0.6 - fallen - 0.1 * (rank - 1)
        row = {"model": "one", "level": level, "picture": picture, "rank": rank, "gap": rank / 10, "captured": captured}
        rows.append({**row, "matched": 0.4, "null_captured": 0.01 * rank, "null_matched": 0.02})
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("fall", "of_twin", "verdict"), [(0.3, 0.1, "holds"), (-0.3, 0.0, "does not hold"), (0.1, 0.3, "does not hold")]
)
def test_the_claim_follows_the_fall_beyond_that_of_the_twin(fall: float, of_twin: float, verdict: str) -> None:
    found = Homogeneity().conclude(beside(table_of(fall), table_of(of_twin)))
    first = found.claims[0]
    assert first.verdict == verdict
    assert "rank 2 (fitted)" in first.measure
    assert [claim.estimate for claim in found.claims] == pytest.approx([fall - of_twin, fall, of_twin, fall - of_twin])
    assert first.samples == 7
    captured = found.summary[(found.summary["measure"] == "captured") & (found.summary["network"] == "trained")]
    assert captured["mean"].tolist() == pytest.approx([0.5, 0.5 - fall / 2, 0.5 - fall])
    assert captured["null"].tolist() == pytest.approx([0.02] * 3)


@pytest.mark.nightly
def test_the_plot_shows_both_measures_and_the_null_level(tmp_path: Path) -> None:
    figure = drawn(Homogeneity(), beside(table_of(0.3), table_of(0.1)), tmp_path)
    assert legend(figure, 0) == ["trained, 95 %", "untrained twin, 95 %", "random subspaces"]
    upper, lower = figure.axes
    assert upper.lines[0].get_ydata().tolist() == pytest.approx([0.5, 0.35, 0.2])
    assert upper.lines[1].get_ydata().tolist() == pytest.approx([0.5, 0.45, 0.4])
    assert lower.lines[0].get_ydata().tolist() == pytest.approx([0.4] * 3)
    assert lower.lines[2].get_ydata()[0] == pytest.approx(0.02)
