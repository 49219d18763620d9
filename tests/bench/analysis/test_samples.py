import itertools
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.linalg import subspace_angles

from latentedit.testing.gaussian_mixture import GaussianMixtureBackbone, example_mixture
from latentedit_bench.analysis.samples import Samples, compared
from tests.bench.analysis.gaussians import drawn, gaussian, legend, study_of

LEVELS = (0.9, 0.5, 0.1)


def measured(backbone: GaussianMixtureBackbone, *, rank: int = 2) -> pd.DataFrame:
    study, analysis = study_of(backbone, 3, levels=LEVELS[:2], rank=rank), Samples()
    assert analysis.items(study) == [(0.9,), (0.5,)]
    rows = [row for item in analysis.items(study) for row in analysis.measure(study, item)]
    return pd.DataFrame([{"model": "one", **row} for row in rows])


def test_pictures_of_one_gaussian_share_their_tangent_spaces() -> None:
    """Its Jacobian is the same everywhere; bases are found to 0.25 degrees of 90."""
    table = measured(gaussian(torch.tensor([4.0, 1.0]), torch.eye(8)[:2], (8,)))
    assert table["distance"].max() < 2 * 0.25 / 90
    assert len(table) == 2 * 2 * 3


def test_distances_are_those_of_scipy() -> None:
    study = study_of(example_mixture(dimension=8), 3, levels=(0.5,), rank=2)
    bases = [study.basis(picture, 0.5) for picture in range(3)]
    rows = Samples().measure(study, (0.5,))
    assert [(row["space"], row["first"], row["second"]) for row in rows] == [
        (space, *pair) for space in "hx" for pair in itertools.combinations(range(3), 2)
    ]
    for row in rows:
        sets = [bases[int(row[name])] for name in ("first", "second")]
        columns = [(one.u if row["space"] == "h" else one.v).numpy().T for one in sets]
        # sqrt(eps) is what an arc cosine near 1 can lose.
        expected = np.linalg.norm(subspace_angles(*columns)) / (math.pi / 2 * math.sqrt(2))
        assert row["distance"] == pytest.approx(expected, abs=1e-7)
    assert max(float(row["distance"]) for row in rows) > 0.05


def test_the_null_level_is_that_of_random_subspaces() -> None:
    """Of the plane in eight dimensions, against scipy on drawn matrices; 400 draws tell the mean to 1 %."""
    study = study_of(example_mixture(dimension=8), 2, levels=(0.5,), rank=2)
    bases = [study.basis(picture, 0.5) for picture in range(2)]
    ((_, _, found),) = compared(bases, "h", seed=0)
    generator = np.random.default_rng(0)
    lengths = [np.linalg.norm(subspace_angles(*generator.normal(size=(2, 8, 2)))) for _ in range(400)]
    largest = math.pi / 2 * math.sqrt(2)
    assert found["null"] == pytest.approx(np.mean(lengths) / largest, rel=0.03)
    ends = np.percentile(lengths, (2.5, 97.5)) / largest
    assert [found["null_low"], found["null_high"]] == pytest.approx(ends.tolist(), rel=0.08)


def test_measuring_again_gives_the_same_rows() -> None:
    backbone = example_mixture(dimension=6)
    pd.testing.assert_frame_equal(measured(backbone), measured(backbone))


def table_of(growth: float, pictures: int = 7) -> pd.DataFrame:
    """Distances of 0.3 at level 0.9 that grow by so much until 0.1, a little more for pictures with a high number."""
    rows: list[dict[str, object]] = []
    for level, space, (first, second) in itertools.product(LEVELS, "hx", itertools.combinations(range(pictures), 2)):
        grown = growth * (0.9 - level) / 0.8 * (1 + 0.01 * (first + second - pictures + 1))
        about = {"model": "one", "level": level, "space": space, "first": first, "second": second}
        rows.append({**about, "distance": 0.3 + grown, "null": 0.9, "null_low": 0.88, "null_high": 0.92})
    return pd.DataFrame(rows)


@pytest.mark.parametrize(("growth", "verdict"), [(0.2, "holds"), (-0.2, "does not hold")])
def test_the_claim_follows_the_growth_of_the_distance(growth: float, verdict: str) -> None:
    found = Samples().conclude(table_of(growth))
    assert [claim.verdict for claim in found.claims] == [verdict] * 2
    for claim in found.claims:
        assert claim.estimate == pytest.approx(growth)  # pairs of 7 pictures have the mean of first + second at 6
        assert claim.samples == 7
    assert "x-space" in found.claims[1].measure
    assert f"0.30 at 0.90, {0.3 + growth:.2f} at 0.10" in found.line
    assert found.summary["null"].tolist() == pytest.approx([0.9] * 6)


def test_the_line_says_where_the_distance_is_largest() -> None:
    table = table_of(0.0)
    table.loc[table["level"] == 0.5, "distance"] += 0.3
    assert "one, h: 0.30 at 0.90, 0.60 at 0.50, 0.30 at 0.10;" in Samples().conclude(table).line


def test_few_pictures_decide_nothing() -> None:
    assert {claim.verdict for claim in Samples().conclude(table_of(0.2, 5)).claims} == {"undecided at this size"}


def test_the_plot_shows_both_spaces_and_the_null_level(tmp_path: Path) -> None:
    figure = drawn(Samples(), table_of(0.2), tmp_path)
    names = ["feature tangent spaces (u)", "latent tangent spaces (v)", "random subspaces"]
    assert legend(figure, 0) == names
    assert figure.axes[0].lines[0].get_ydata().tolist() == pytest.approx([0.3, 0.4, 0.5])
    assert figure.axes[0].lines[2].get_ydata()[0] == pytest.approx(0.9)
