import itertools
import math
from pathlib import Path

import pandas as pd
import pytest
import torch

from latentedit.core.errors import ConfigError
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit_bench.experiments.trajectory import Trajectory
from tests.bench.experiments.gaussians import beside, drawn, legend, measured, study_of

LEVELS = (0.9, 0.5, 0.1)


@pytest.mark.nightly
def test_a_mixture_has_other_tangent_spaces_at_other_levels() -> None:
    """Distances against an SVD of the dense posterior covariance, of which the Jacobian of x_hat is a multiple."""
    backbone = example_mixture(dimension=8, components=3)
    study, analysis = study_of(backbone, 2, levels=LEVELS, rank=2), Trajectory()
    assert analysis.items(study) == [(0,), (1,)]
    table = measured(analysis, study)
    assert len(table) == 2 * 2 * 3 * 2  # pictures, spaces, pairs of levels, ranks
    rows = table[(table["picture"] == 1) & (table["rank"] == 2)]
    spaces = []
    for level in LEVELS:
        basis = study.basis(1, level)
        s = torch.tensor([level], dtype=torch.float64)
        covariance = backbone.at(basis.trace.top, s, basis.condition).covariance[0]
        spaces.append(torch.linalg.eigh(covariance).eigenvectors[:, -2:])
    for first, second in itertools.combinations(range(3), 2):
        cosines = torch.linalg.svdvals(spaces[first].T @ spaces[second]).clamp(max=1)
        expected = float(cosines.acos().norm()) / (math.pi / 2 * math.sqrt(2))
        same = (rows["level"] == LEVELS[first]) & (rows["other"] == LEVELS[second])
        # Two bases, each within 1 degree of the truth.
        assert rows.loc[same, "distance"].tolist() == pytest.approx([expected] * 2, abs=2 / 90)
    assert rows["distance"].min() > 0.02
    assert ((rows["null_low"] < rows["null"]) & (rows["null"] < rows["null_high"]) & (rows["null_high"] <= 1)).all()


def test_two_levels_are_refused() -> None:
    study = study_of(example_mixture(dimension=5), 2, levels=(0.5, 0.4), rank=1)
    with pytest.raises(ConfigError, match="Name three"):
        Trajectory().items(study)


def table_of(base: float, slope: float, pictures: int = 7) -> pd.DataFrame:
    """Distances ``base + slope |s - s'|``, a little steeper in some pictures; at rank 2 a tenth more."""
    rows: list[dict[str, object]] = []
    for picture, space, rank in itertools.product(range(pictures), "hx", (1, 2)):
        about = {"model": "one", "picture": picture, "space": space, "null": 0.95, "null_low": 0.94, "null_high": 0.96}
        about |= {"rank": rank, "gap": rank / 10}
        for level, other in itertools.combinations(LEVELS, 2):
            distance = base + slope * (level - other) * (1 + 0.01 * (picture - 3)) * (0.9 + 0.1 * rank)
            rows.append({**about, "level": level, "other": other, "distance": distance})
    return pd.DataFrame(rows)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("slope", "of_twin", "verdict"),
    [(0.5, 0.1, "holds"), (-0.5, 0.0, "does not hold"), (0.3, 0.5, "does not hold")],
)
def test_claims_follow_the_slope_beyond_that_of_the_twin(slope: float, of_twin: float, verdict: str) -> None:
    """By a large distance alone, as of arbitrary subspaces, nothing holds."""
    found = Trajectory().conclude(beside(table_of(0.1, slope), table_of(0.8, of_twin)))
    assert len(found.claims) == 8
    first, other = found.claims[0], found.claims[3]
    assert first.verdict == verdict
    assert ("rank 2 (fitted)" in first.measure, "rank 1" in other.measure) == (True, True)
    assert [claim.estimate for claim in found.claims[:3]] == pytest.approx(
        [1.1 * (slope - of_twin), 1.1 * slope, 1.1 * of_twin], abs=1e-9
    )
    assert other.estimate == pytest.approx(slope - of_twin, abs=1e-9)
    assert "h-space" in first.measure
    assert "x-space" in found.claims[4].measure
    ends = found.summary[(found.summary["level"] == 0.9) & (found.summary["other"] == 0.1)]
    assert ends.loc[ends["network"] == "trained", "mean"].tolist() == pytest.approx([0.1 + 0.88 * slope] * 2)


@pytest.mark.nightly
def test_the_map_is_symmetric_and_both_networks_are_drawn(tmp_path: Path) -> None:
    figure = drawn(Trajectory(), beside(table_of(0.1, 0.5), table_of(0.8, 0.0)), tmp_path)
    cells = figure.axes[0].images[0].get_array()
    near, far = 0.1 + 0.4 * 0.55, 0.1 + 0.8 * 0.55
    shown = [[math.nan, near, far], [near, math.nan, near], [far, near, math.nan]]
    assert cells.filled(math.nan).tolist() == [pytest.approx(row, nan_ok=True) for row in shown]
    assert len(figure.axes[0].texts) == 6
    assert "random subspaces: 0.95" in figure.axes[0].get_title()
    assert any("largest possible" in axis.get_ylabel() for axis in figure.axes[2:])  # the colour bar
    assert legend(figure, 1) == ["random subspaces", "trained, 95 %", "untrained, 95 %"]
