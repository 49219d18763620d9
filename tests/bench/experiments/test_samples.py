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
from latentedit_bench.experiments.samples import DataSets, Samples, difference
from latentedit_bench.experiments.study import Study
from latentedit_bench.experiments.subspaces import compared
from latentedit_bench.metrics.statistics import estimate
from tests.bench.experiments.gaussians import beside, drawn, gaussian, legend, measured, study_of

LEVELS = (0.9, 0.5, 0.1)


@pytest.mark.nightly
def test_distances_are_those_of_scipy() -> None:
    study = study_of(example_mixture(dimension=8), 3, levels=(0.5,), rank=2)
    bases = [study.basis(picture, 0.5) for picture in range(3)]
    rows = measured(Samples(), study).to_dict("records")
    assert [(row["space"], row["rank"], row["first"], row["second"]) for row in rows] == [
        (space, rank, *pair) for space in "hx" for rank in (1, 2) for pair in itertools.combinations(range(3), 2)
    ]
    for row in rows:
        sets = [bases[int(row[name])] for name in ("first", "second")]
        rank = int(row["rank"])
        columns = [(one.u if row["space"] == "h" else one.v)[:rank].numpy().T for one in sets]
        # sqrt(eps) is what an arc cosine near 1 can lose.
        expected = np.linalg.norm(subspace_angles(*columns)) / (math.pi / 2 * math.sqrt(rank))
        assert row["distance"] == pytest.approx(expected, abs=1e-7)
    assert max(float(row["distance"]) for row in rows) > 0.05


@pytest.mark.slow
def test_the_null_level_is_that_of_random_subspaces() -> None:
    """Of the plane in eight dimensions, against scipy on drawn matrices; 400 draws tell the mean to 1 %."""
    study = study_of(example_mixture(dimension=8), 2, levels=(0.5,), rank=2)
    bases = [study.basis(picture, 0.5) for picture in range(2)]
    (_, (_, _, found)) = compared(bases, "h", seed=0)
    assert found["rank"] == 2
    generator = np.random.default_rng(0)
    lengths = [np.linalg.norm(subspace_angles(*generator.normal(size=(2, 8, 2)))) for _ in range(400)]
    largest = math.pi / 2 * math.sqrt(2)
    assert found["null"] == pytest.approx(np.mean(lengths) / largest, rel=0.03)
    ends = np.percentile(lengths, (2.5, 97.5)) / largest
    # Quantiles at 2.5 % of 200 and of 400 draws: some 6 % off each other, of numbers drawn independently.
    assert [found["null_low"], found["null_high"]] == pytest.approx(ends.tolist(), rel=0.15)


def table_of(growth: float, pictures: int = 7) -> pd.DataFrame:
    """Distances of 0.3 at level 0.9 that grow by so much until 0.1, a little more for pictures with a high number; at
    rank 2, after which the spectrum falls less, twice as much."""
    rows: list[dict[str, object]] = []
    pairs = itertools.combinations(range(pictures), 2)
    for level, space, (first, second), rank in itertools.product(LEVELS, "hx", pairs, (1, 2)):
        grown = rank * growth * (0.9 - level) / 0.8 * (1 + 0.01 * (first + second - pictures + 1))
        about = {"model": "one", "level": level, "space": space, "first": first, "second": second}
        about |= {"rank": rank, "gap": 0.5 / rank}
        rows.append({**about, "distance": 0.3 + grown, "null": 0.9, "null_low": 0.88, "null_high": 0.92})
    return pd.DataFrame(rows)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("growth", "of_twin", "verdict"), [(0.2, 0.1, "holds"), (-0.2, 0.0, "does not hold"), (0.1, 0.2, "does not hold")]
)
def test_the_claim_follows_the_growth_beyond_that_of_the_twin(growth: float, of_twin: float, verdict: str) -> None:
    found = Samples().conclude(beside(table_of(growth), table_of(of_twin)))
    assert len(found.claims) == 8
    first, at_two = found.claims[0], found.claims[3]
    assert [first.verdict, at_two.verdict] == [verdict] * 2
    assert ("rank 1 (fitted)" in first.measure, "rank 2," in at_two.measure) == (True, True)
    assert [claim.estimate for claim in found.claims[:4]] == pytest.approx(
        [growth - of_twin, growth, of_twin, 2 * (growth - of_twin)]
    )  # pairs of 7 pictures have the mean of first + second at 6
    assert first.samples == 7
    assert "x-space" in found.claims[4].measure
    assert found.summary["null"].tolist() == pytest.approx([0.9] * 12)


@pytest.mark.nightly
def test_the_plot_shows_both_networks_and_the_null_level(tmp_path: Path) -> None:
    figure = drawn(Samples(), beside(table_of(0.2), table_of(0.1)), tmp_path)
    assert legend(figure, 0) == ["trained, 95 %", "untrained twin, 95 %", "random subspaces"]
    assert figure.axes[0].lines[0].get_ydata().tolist() == pytest.approx([0.3, 0.4, 0.5])
    assert figure.axes[0].lines[1].get_ydata().tolist() == pytest.approx([0.3, 0.35, 0.4])
    assert figure.axes[0].lines[2].get_ydata()[0] == pytest.approx(0.9)


SIMPLE, COMPLEX = "pixels-discs", "pixels-portraits"


def named(backbone: GaussianMixtureBackbone, name: str, count: int = 3) -> Study:
    backbone.name = name
    return study_of(backbone, count, levels=(0.9, 0.5), rank=2)


@pytest.mark.nightly
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
    table = pd.DataFrame(rows)
    found = analysis.conclude(beside(table, table.assign(distance=0.5)))
    assert found.claims[0].estimate > 0.01


def test_a_model_that_is_not_in_the_order_is_refused() -> None:
    study = named(example_mixture(dimension=4), "pixels-disc")
    with pytest.raises(ConfigError, match="did you mean 'pixels-discs'"):
        DataSets().items(study)
    assert DataSets(order=("pixels-disc", "other")).items(study) == [(0.9,), (0.5,)]


def table_of_two(simple: float, complex_: float, *, pictures: int = 7) -> pd.DataFrame:
    """Mean distances of both models at level 0.9; at 0.1 both are 0.1 more. Pictures differ a little."""
    rows, pairs = list[dict[str, object]](), list(itertools.combinations(range(pictures), 2))
    for model, base in ((COMPLEX, complex_), (SIMPLE, simple)):
        for level, space, (first, second), rank in itertools.product((0.9, 0.1), "hx", pairs, (2, 4)):
            about = {"model": model, "level": level, "space": space, "first": first, "second": second, "rank": rank}
            distance = base + 0.1 * (level < 0.5) + 0.01 * (first + second - pictures + 1) + 0.5 * (space == "x")
            distance += 0.2 * (rank == 2) * (model == COMPLEX)
            rows.append({**about, "distance": distance, "null": 0.97, "null_low": 0.96, "null_high": 0.98})
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("simple", "complex_", "of_twins", "verdict"),
    [(0.3, 0.5, 0.1, "holds"), (0.5, 0.3, 0.0, "does not hold"), (0.3, 0.5, 0.3, "does not hold")],
)
def test_claims_follow_the_difference_beyond_that_of_the_twins(
    simple: float, complex_: float, of_twins: float, verdict: str
) -> None:
    """Whatever order the models come in: the setting says which is simple. Rank 4 decides, and not rank 2."""
    twins = table_of_two(0.6, 0.6 + of_twins)
    twins["distance"] += 0.001 * (twins["first"] - twins["second"])  # else nothing varies in the difference
    found = DataSets().conclude(beside(table_of_two(simple, complex_), twins))
    apart = complex_ - simple - of_twins
    assert found.claims[0].verdict == verdict
    expected = [apart, complex_ - simple, of_twins, apart, apart, apart]
    assert [claim.estimate for claim in found.claims] == pytest.approx([*expected[:5], expected[5]])
    assert {claim.model for claim in found.claims} == {"pixels-discs vs pixels-portraits"}
    where = ["trained less untrained, rank 4", "trained, rank 4", "untrained, rank 4"]
    assert [claim.measure.split(f"{SIMPLE}, ")[1].rsplit(", ", 1)[0] for claim in found.claims[:3]] == where
    assert "rank 2" in found.claims[-1].measure
    assert "pixels-portraits less pixels-discs" in found.line
    assert len(found.summary) == 2 * 2 * 2 * 2


def test_no_common_level_is_refused() -> None:
    table = beside(table_of_two(0.3, 0.5), table_of_two(0.3, 0.3))
    apart = table[(table["model"] == SIMPLE) == (table["level"] == 0.9)]
    with pytest.raises(ConfigError, match="pixels-discs and pixels-portraits have no level in common"):
        DataSets().conclude(apart)


def of_one(table: pd.DataFrame, model: str) -> pd.DataFrame:
    own = table[(table["model"] == model) & (table["space"] == "h") & (table["level"] == 0.9)]
    return own[own["rank"] == 4]


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


@pytest.mark.nightly
def test_the_plot_says_what_is_simple_and_what_is_complex(tmp_path: Path) -> None:
    figure = drawn(DataSets(), beside(table_of_two(0.3, 0.5), table_of_two(0.6, 0.6)), tmp_path)
    names = ["pixels-discs (4 numbers a picture), 95 %", "pixels-portraits (12 attributes a picture), 95 %"]
    assert legend(figure, 0) == [*names, "random subspaces"]
    assert figure.axes[0].lines[0].get_ydata().tolist() == pytest.approx([0.3, 0.4])
    assert figure.axes[1].lines[0].get_ydata().tolist() == pytest.approx([0.6, 0.7])
    assert [axis.get_title() for axis in figure.axes] == ["trained", "untrained"]
