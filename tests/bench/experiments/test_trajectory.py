import itertools
import math
from pathlib import Path

import pandas as pd
import pytest
import torch

from latentedit.core.errors import ConfigError
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit_bench.experiments.trajectory import Trajectory
from tests.bench.experiments.gaussians import drawn, legend, measured, study_of

LEVELS = (0.9, 0.5, 0.1)


def test_a_mixture_has_other_tangent_spaces_at_other_levels() -> None:
    """Distances against an SVD of the dense posterior covariance, of which the Jacobian of x_hat is a multiple."""
    backbone = example_mixture(dimension=8, components=3)
    study, analysis = study_of(backbone, 2, levels=LEVELS, rank=2), Trajectory()
    assert analysis.items(study) == [(0,), (1,)]
    table = measured(analysis, study)
    assert len(table) == 2 * 2 * (3 + 2)  # pictures, spaces, pairs of levels and of searches
    rows = table[table["picture"] == 1]
    spaces = []
    for level in LEVELS:
        basis = study.basis(1, level)
        s = torch.tensor([level], dtype=torch.float64)
        covariance = backbone.at(basis.trace.top, s, basis.condition).covariance[0]
        spaces.append(torch.linalg.eigh(covariance).eigenvectors[:, -2:])
    for first, second in itertools.combinations(range(3), 2):
        cosines = torch.linalg.svdvals(spaces[first].T @ spaces[second]).clamp(max=1)
        expected = float(cosines.acos().norm()) / (math.pi / 2 * math.sqrt(2))
        same = (rows["what"] == "levels") & (rows["level"] == LEVELS[first]) & (rows["other"] == LEVELS[second])
        # Two bases, each within 0.25 degrees of the truth.
        assert rows.loc[same, "distance"].tolist() == pytest.approx([expected] * 2, abs=2 * 0.25 / 90)
    assert rows.loc[rows["what"] == "levels", "distance"].min() > 0.02
    search = rows[rows["what"] == "search"]
    assert 0 < search["distance"].min() <= search["distance"].max() < 2 * 0.25 / 90  # another search, the same space
    assert sorted(search["level"]) == [0.1, 0.1, 0.9, 0.9]
    assert (search["level"] == search["other"]).all()
    assert ((rows["null_low"] < rows["null"]) & (rows["null"] < rows["null_high"]) & (rows["null_high"] <= 1)).all()


def test_a_single_level_is_refused() -> None:
    study = study_of(example_mixture(dimension=5), 2, levels=(0.5,), rank=1)
    with pytest.raises(ConfigError, match="Name two or more"):
        Trajectory().items(study)


def table_of(base: float, slope: float, pictures: int = 7) -> pd.DataFrame:
    """Distances ``base + slope |s - s'|``, a little more in some pictures; searches differ by 0.05 and 0.08."""
    rows: list[dict[str, object]] = []
    for picture, space in itertools.product(range(pictures), "hx"):
        about = {"model": "one", "picture": picture, "space": space, "null": 0.95, "null_low": 0.94, "null_high": 0.96}
        for level, other in itertools.combinations(LEVELS, 2):
            distance = base + slope * (level - other) + 0.001 * (picture - 3)
            rows.append({**about, "what": "levels", "level": level, "other": other, "distance": distance})
        for level, distance in ((0.9, 0.05), (0.1, 0.08)):
            rows.append({**about, "what": "search", "level": level, "other": level, "distance": distance})
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("base", "slope", "differ", "further"),
    [(0.1, 0.5, "holds", "holds"), (0.5, -0.5, "holds", "does not hold"), (0.0, 0.1, "does not hold", "holds")],
)
def test_claims_follow_neighbours_and_order(base: float, slope: float, differ: str, further: str) -> None:
    """Neighbouring levels are 0.4 apart; the larger search distance, 0.08, is taken off."""
    found = Trajectory().conclude(table_of(base, slope))
    assert len(found.claims) == 4
    for one, two in (found.claims[:2], found.claims[2:]):
        assert (one.verdict, two.verdict) == (differ, further)
        assert one.estimate == pytest.approx(base + 0.4 * slope - 0.08)
        assert two.estimate == pytest.approx(math.copysign(0.8, slope), abs=0.2)
    assert "h-space" in found.claims[0].measure
    assert "x-space" in found.claims[2].measure
    ends = found.summary[(found.summary["level"] == 0.9) & (found.summary["other"] == 0.1)]
    assert ends["mean"].tolist() == pytest.approx([base + 0.8 * slope] * 2)
    assert (found.summary["shuffled_low"] < 0).all()
    assert (found.summary["shuffled_high"] > 0).all()


def test_the_map_is_symmetric_with_searches_on_its_diagonal(tmp_path: Path) -> None:
    figure = drawn(Trajectory(), table_of(0.1, 0.5), tmp_path)
    cells = figure.axes[0].images[0].get_array()
    shown = [[0.05, 0.3, 0.5], [0.3, math.nan, 0.3], [0.5, 0.3, 0.08]]
    assert cells.filled(math.nan).tolist() == [pytest.approx(row, nan_ok=True) for row in shown]
    assert len(figure.axes[0].texts) == 8
    assert "random subspaces: 0.95" in figure.axes[0].get_title()
    assert any("largest possible" in axis.get_ylabel() for axis in figure.axes[2:])  # the colour bar
    assert "random subspaces" in legend(figure, 1)
    assert figure.axes[1].get_title().count("shuffled") == 2
