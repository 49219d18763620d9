import dataclasses
import itertools
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.linalg import subspace_angles

from latentedit.core.errors import ConfigError
from latentedit.testing.gaussian_mixture import GaussianMixtureBackbone, example_mixture
from latentedit_bench.experiments.samples import DataSets, Samples, compared, difference
from latentedit_bench.experiments.study import Study
from latentedit_bench.metrics.statistics import estimate
from tests.bench.experiments.gaussians import drawn, gaussian, legend, measured, study_of

LEVELS = (0.9, 0.5, 0.1)


def test_distances_are_those_of_scipy() -> None:
    study = study_of(example_mixture(dimension=8), 3, levels=(0.5,), rank=2)
    bases = [study.basis(picture, 0.5) for picture in range(3)]
    rows = measured(Samples(), study).to_dict("records")
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
    # Quantiles at 2.5 % of 200 and of 400 draws: some 6 % off each other, of numbers drawn independently.
    assert [found["null_low"], found["null_high"]] == pytest.approx(ends.tolist(), rel=0.15)


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
    assert found.summary["null"].tolist() == pytest.approx([0.9] * 6)


def test_the_plot_shows_both_spaces_and_the_null_level(tmp_path: Path) -> None:
    figure = drawn(Samples(), table_of(0.2), tmp_path)
    names = ["feature tangent spaces (u), 95 %", "latent tangent spaces (v), 95 %", "random subspaces"]
    assert legend(figure, 0) == names
    assert figure.axes[0].lines[0].get_ydata().tolist() == pytest.approx([0.3, 0.4, 0.5])
    assert figure.axes[0].lines[2].get_ydata()[0] == pytest.approx(0.9)


SIMPLE, COMPLEX = "pixels-discs", "pixels-portraits"


def named(backbone: GaussianMixtureBackbone, name: str, count: int = 3) -> Study:
    backbone.name = name
    return study_of(backbone, count, levels=(0.9, 0.5), rank=2)


def test_rows_are_those_of_samples() -> None:
    """A Gaussian, whose tangent spaces are all the same, is simpler than a mixture."""
    simple = named(gaussian(torch.tensor([4.0, 1.0]), torch.eye(8)[:2], (8,)), SIMPLE)
    mixed, analysis = named(example_mixture(dimension=8), COMPLEX), DataSets()
    rows: list[dict[str, object]] = []
    for study in (simple, mixed):
        for item in analysis.items(study):
            found = analysis.look_at(study, item)
            assert found == Samples().look_at(study, item)
            rows += [{"model": study.backbone.name, **row} for row in found]
    found = analysis.conclude(pd.DataFrame(rows))
    assert all(claim.estimate > 0.01 for claim in found.claims)
    assert {claim.verdict for claim in found.claims} == {"undecided at this size"}  # of three pictures each


def test_a_model_that_is_not_in_the_order_is_refused() -> None:
    study = named(example_mixture(dimension=4), "pixels-disc")
    with pytest.raises(ConfigError, match="did you mean 'pixels-discs'"):
        DataSets().items(study)
    assert DataSets(order=("pixels-disc", "other")).items(study) == [(0.9,), (0.5,)]


def table_of_two(simple: float, complex_: float, *, pictures: int = 7) -> pd.DataFrame:
    """Mean distances of both models at level 0.9; at 0.1 both are 0.1 more. Pictures differ a little."""
    rows, pairs = list[dict[str, object]](), list(itertools.combinations(range(pictures), 2))
    for model, base in ((COMPLEX, complex_), (SIMPLE, simple)):
        for level, space, (first, second) in itertools.product((0.9, 0.1), "hx", pairs):
            about = {"model": model, "level": level, "space": space, "first": first, "second": second}
            distance = base + 0.1 * (level < 0.5) + 0.01 * (first + second - pictures + 1) + 0.5 * (space == "x")
            rows.append({**about, "distance": distance, "null": 0.97, "null_low": 0.96, "null_high": 0.98})
    return pd.DataFrame(rows)


@pytest.mark.parametrize(("simple", "complex_", "verdict"), [(0.3, 0.5, "holds"), (0.5, 0.3, "does not hold")])
def test_claims_follow_the_difference_in_feature_space(simple: float, complex_: float, verdict: str) -> None:
    """Whatever order the models come in: the setting says which is simple."""
    found = DataSets().conclude(table_of_two(simple, complex_))
    assert [claim.verdict for claim in found.claims] == [verdict] * 3
    assert [claim.estimate for claim in found.claims] == pytest.approx([complex_ - simple] * 3)
    assert {claim.model for claim in found.claims} == {"pixels-discs vs pixels-portraits"}
    where = ["averaged over levels", "at level 0.90", "at level 0.10"]
    assert [claim.measure.split(", ")[1] for claim in found.claims] == where
    assert f"pixels-discs {simple + 0.05:.2f}, pixels-portraits {complex_ + 0.05:.2f}" in found.line
    assert "training noise is not in the interval" in found.line
    assert len(found.summary) == 2 * 2 * 2


def test_no_common_level_is_refused() -> None:
    table = table_of_two(0.3, 0.5)
    apart = table[(table["model"] == SIMPLE) == (table["level"] == 0.9)]
    with pytest.raises(ConfigError, match="pixels-discs and pixels-portraits have no level in common"):
        DataSets().conclude(apart)


def of_one(table: pd.DataFrame, model: str) -> pd.DataFrame:
    return table[(table["model"] == model) & (table["space"] == "h") & (table["level"] == 0.9)]


def test_the_interval_of_a_difference_from_a_constant_is_that_of_the_mean() -> None:
    """The same bootstrap, draw by draw, as the one of pairs in `statistics`, moved by the constant."""
    table = table_of_two(0.3, 0.5)
    larger, constant = of_one(table, COMPLEX), of_one(table, SIMPLE).assign(distance=0.2)
    found = difference(larger, constant, seed=4)
    members = larger[["first", "second"]].to_numpy().tolist()
    expected = estimate(larger["distance"].tolist(), members, seed=4)
    values = dataclasses.asdict(expected) | {end: getattr(expected, end) - 0.2 for end in ("mean", "low", "high")}
    assert dataclasses.asdict(found) == pytest.approx(values)


def test_pictures_of_the_sets_are_drawn_independently(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same numbers on both sides: if they were drawn together, nothing would be left. Variances add up instead."""
    monkeypatch.setattr("latentedit_bench.metrics.statistics._DRAWS", 2000)
    one = of_one(table_of_two(0.3, 0.5), COMPLEX)
    found = difference(one, one)
    alone = estimate(one["distance"].tolist(), one[["first", "second"]].to_numpy().tolist())
    # Standard deviations from 2000 draws are known to 2 %, ends of intervals to some 5 %.
    assert found.high - found.low == pytest.approx(2**0.5 * (alone.high - alone.low), rel=0.15)
    assert found.mean == 0


def test_the_smaller_set_decides_how_many_pictures_there_were() -> None:
    found = [of_one(table_of_two(0.3, 0.5, pictures=n), model) for n, model in ((9, COMPLEX), (5, SIMPLE))]
    assert difference(*found).pictures == 5


def test_the_plot_says_what_is_simple_and_what_is_complex(tmp_path: Path) -> None:
    figure = drawn(DataSets(), table_of_two(0.3, 0.5), tmp_path)
    names = ["pixels-discs (4 numbers a picture), 95 %", "pixels-portraits (12 attributes a picture), 95 %"]
    assert legend(figure, 0) == [*names, "random subspaces"]
    assert figure.axes[0].lines[0].get_ydata().tolist() == pytest.approx([0.3, 0.4])
    assert "h-space" in figure.axes[0].get_title()
    assert "x-space" in figure.axes[1].get_title()
