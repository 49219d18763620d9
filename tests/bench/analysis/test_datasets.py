import dataclasses
import itertools
from pathlib import Path

import pandas as pd
import pytest
import torch

from latentedit.core.errors import ConfigError
from latentedit.testing.gaussian_mixture import GaussianMixtureBackbone, example_mixture
from latentedit_bench.analysis.datasets import DataSets, difference
from latentedit_bench.analysis.run import run
from latentedit_bench.analysis.samples import Samples
from latentedit_bench.analysis.study import Study
from latentedit_bench.metrics.statistics import estimate
from tests.bench.analysis.gaussians import drawn, gaussian, legend, study_of

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
            found = analysis.measure(study, item)
            assert found == Samples().measure(study, item)
            rows += [{"model": study.backbone.name, **row} for row in found]
    found = analysis.conclude(pd.DataFrame(rows))
    assert all(claim.estimate > 0.01 for claim in found.claims)
    assert {claim.verdict for claim in found.claims} == {"undecided at this size"}  # of three pictures each


def test_a_model_that_is_not_in_the_order_is_refused() -> None:
    study = named(example_mixture(dimension=4), "pixels-disc")
    with pytest.raises(ConfigError, match="did you mean 'pixels-discs'"):
        DataSets().items(study)
    assert DataSets(order=("pixels-disc", "other")).items(study) == [(0.9,), (0.5,)]


def table_of(
    simple: float, complex_: float, *, pictures: int = 7, levels: tuple[float, ...] = (0.9, 0.1)
) -> pd.DataFrame:
    """Mean distances of both models at level 0.9; at 0.1 both are 0.1 more. Pictures differ a little."""
    rows: list[dict[str, object]] = []
    for model, base in ((COMPLEX, complex_), (SIMPLE, simple)):
        for level, space, (first, second) in itertools.product(
            levels, "hx", itertools.combinations(range(pictures), 2)
        ):
            about = {"model": model, "level": level, "space": space, "first": first, "second": second}
            distance = base + 0.1 * (level < 0.5) + 0.01 * (first + second - pictures + 1) + 0.5 * (space == "x")
            rows.append({**about, "distance": distance, "null": 0.97, "null_low": 0.96, "null_high": 0.98})
    return pd.DataFrame(rows)


@pytest.mark.parametrize(("simple", "complex_", "verdict"), [(0.3, 0.5, "holds"), (0.5, 0.3, "does not hold")])
def test_claims_follow_the_difference_in_feature_space(simple: float, complex_: float, verdict: str) -> None:
    """Whatever order the models come in: the setting says which is simple."""
    found = DataSets().conclude(table_of(simple, complex_))
    assert [claim.verdict for claim in found.claims] == [verdict] * 3
    assert [claim.estimate for claim in found.claims] == pytest.approx([complex_ - simple] * 3)
    assert {claim.model for claim in found.claims} == {"pixels-discs vs pixels-portraits"}
    assert [claim.measure.split(", ")[1] for claim in found.claims] == [
        "averaged over levels",
        "at level 0.90",
        "at level 0.10",
    ]
    assert f"pixels-discs {simple + 0.05:.2f}, pixels-portraits {complex_ + 0.05:.2f}" in found.line
    assert "training noise is not in the interval" in found.line
    assert len(found.summary) == 2 * 2 * 2


def test_one_model_is_refused(tmp_path: Path) -> None:
    study = named(example_mixture(dimension=4), SIMPLE)
    with pytest.raises(ConfigError, match=r"at least 2 models for datasets.*got pixels-discs"):
        run(DataSets(), [study], tmp_path / "out", command="datasets")
    assert not (tmp_path / "out").exists()


def test_no_common_level_is_refused() -> None:
    table = table_of(0.3, 0.5)
    apart = table[(table["model"] == SIMPLE) == (table["level"] == 0.9)]
    with pytest.raises(ConfigError, match="levels that pixels-discs and pixels-portraits share"):
        DataSets().conclude(apart)


def of_one(table: pd.DataFrame, model: str) -> pd.DataFrame:
    return table[(table["model"] == model) & (table["space"] == "h") & (table["level"] == 0.9)]


def test_the_interval_of_a_difference_from_a_constant_is_that_of_the_mean() -> None:
    """The same bootstrap, draw by draw, as the one of pairs in `statistics`, moved by the constant."""
    table = table_of(0.3, 0.5)
    larger, constant = of_one(table, COMPLEX), of_one(table, SIMPLE).assign(distance=0.2)
    found = difference(larger, constant, seed=4)
    members = larger[["first", "second"]].to_numpy().tolist()
    expected = estimate(larger["distance"].tolist(), members, seed=4)
    values = dataclasses.asdict(expected) | {end: getattr(expected, end) - 0.2 for end in ("mean", "low", "high")}
    assert dataclasses.asdict(found) == pytest.approx(values)


def test_pictures_of_the_sets_are_drawn_independently() -> None:
    """The same numbers on both sides: if they were drawn together, nothing would be left. Variances add up instead."""
    one = of_one(table_of(0.3, 0.5), COMPLEX)
    found = difference(one, one)
    alone = estimate(one["distance"].tolist(), one[["first", "second"]].to_numpy().tolist())
    # Standard deviations from 2000 draws are known to 2 %, ends of intervals to some 5 %.
    assert found.high - found.low == pytest.approx(2**0.5 * (alone.high - alone.low), rel=0.15)
    assert found.mean == 0


def test_the_smaller_set_decides_how_many_pictures_there_were() -> None:
    larger, smaller = of_one(table_of(0.3, 0.5, pictures=9), COMPLEX), of_one(table_of(0.3, 0.5, pictures=5), SIMPLE)
    assert difference(larger, smaller).pictures == 5


def test_the_plot_says_what_is_simple_and_what_is_complex(tmp_path: Path) -> None:
    figure = drawn(DataSets(), table_of(0.3, 0.5), tmp_path)
    assert legend(figure, 0) == [
        "pixels-discs (4 numbers a picture), 95 %",
        "pixels-portraits (12 attributes a picture), 95 %",
        "random subspaces",
    ]
    assert figure.axes[0].lines[0].get_ydata().tolist() == pytest.approx([0.3, 0.4])
    assert "h-space" in figure.axes[0].get_title()
    assert "x-space" in figure.axes[1].get_title()
