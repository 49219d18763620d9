import math
from pathlib import Path

import pandas as pd
import pytest
import torch

from latentedit.core.rng import stream
from latentedit_bench.experiments.spectrum import Spectrum
from tests.bench.experiments.gaussians import beside, drawn, gaussian, legend, measured, study_of
from tests.bench.experiments.portrait_network import portrait_study

LEVELS = (0.9, 0.5, 0.1)
VARIANCES = (4.0, 1.0, 0.5)


def truth(level: float) -> list[float]:
    """Singular values of the Jacobian of x_hat: ``(1 - s) c / ((1 - s)^2 c + s^2)``, with ten variances c."""
    rest = [0.01] * 7
    return [(1 - level) * c / ((1 - level) ** 2 * c + level**2) for c in (*VARIANCES, *rest)]


@pytest.mark.nightly
def test_singular_values_and_the_whole_norm_are_those_of_the_gaussian() -> None:
    study = study_of(gaussian(torch.tensor(VARIANCES), torch.eye(10)[:3], (10,)), 1, levels=LEVELS[:2], rank=3)
    table = measured(Spectrum(rank=3, probes=300), study)
    assert len(table) == 1 * 2 * 3
    for (level, _), part in table.groupby(["level", "picture"]):
        s = truth(level)
        # Ritz values are right to the square of the angle, 0.25 degrees: 2e-5.
        assert part["value"].tolist() == pytest.approx(s[:3], rel=1e-4)
        assert part["share"].tolist() == pytest.approx([value / s[0] for value in s[:3]], rel=1e-4)
        squares = sum(value**2 for value in s)
        # |J g|^2 has the variance 2 sum s^4, at most 2 squares^2; five standard deviations of the mean of 300, halved
        # by the root: 5 sqrt(2 / 300) / 2 = 0.21.
        assert part["frobenius"].tolist() == pytest.approx([math.sqrt(squares)] * 3, rel=0.21)
        assert part["stable_rank"].tolist() == pytest.approx([squares / s[0] ** 2] * 3, rel=0.42)
        assert part["energy"].tolist() == pytest.approx([sum(value**2 for value in s[:3]) / squares] * 3, rel=0.42)


def test_the_control_is_the_stable_rank_of_a_random_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the mean of drawn matrices with the sides of that feature and latent, 24 and 192.

    The formula is that of large matrices; by Tracy and Widom the largest square is some 4 % smaller at this size.
    """
    rows = Spectrum(probes=2).look_at(portrait_study(monkeypatch, count=1), (0, 0.9))
    matrices = torch.randn(200, 24, 192, generator=stream(0, "tests"), dtype=torch.float64)
    squares = torch.linalg.svdvals(matrices).square()
    drawn_mean = float((squares.sum(1) / squares[:, 0]).mean())
    assert rows[0]["random_stable_rank"] == pytest.approx(drawn_mean, rel=0.08)


def table_of(growth: float, pictures: int = 7, rank: int = 3) -> pd.DataFrame:
    """Stable ranks of 3 at level 0.9 that grow by so many powers of ten until 0.1, a little more in some pictures."""
    rows: list[dict[str, object]] = []
    for level in LEVELS:
        for picture in range(pictures):
            log = math.log10(3) + growth * (0.9 - level) / 0.8 * (1 + 0.01 * (picture - 3))
            about = {"model": "one", "picture": picture, "level": level, "frobenius": 2.0}
            about |= {"stable_rank": 10**log, "log_stable_rank": log}
            for index in range(1, rank + 1):
                value = {"index": index, "value": 2 / index, "share": 1 / index}
                rows.append({**about, **value, "random_stable_rank": 50.0, "energy": 0.5})
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("growth", "of_twin", "verdict"),
    [(0.5, 0.1, "holds"), (-0.5, 0.0, "does not hold"), (0.5, 0.8, "does not hold"), (0.2, 0.2, "undecided")],
)
def test_the_claim_follows_the_growth_beyond_that_of_the_twin(growth: float, of_twin: float, verdict: str) -> None:
    found = Spectrum(rank=3).conclude(beside(table_of(growth), table_of(of_twin)))
    first, *alone = found.claims
    assert first.verdict.startswith(verdict)
    assert first.estimate == pytest.approx(growth - of_twin)
    assert [claim.estimate for claim in alone] == pytest.approx([growth, of_twin])
    assert [claim.measure.rsplit(", ", 1)[1] for claim in found.claims] == [
        "trained less untrained",
        "trained",
        "untrained",
    ]
    assert first.samples == 7
    ranks = found.summary[found.summary["measure"] == "stable rank"]
    assert ranks["null"].tolist() == [50.0] * 6
    assert ranks["mean"].iloc[0] == pytest.approx(3)
    shares = found.summary[found.summary["measure"] == "s_3 / s_1"]
    assert shares["mean"].tolist() == pytest.approx([1 / 3] * 6)


@pytest.mark.slow
def test_the_logarithm_is_that_of_the_stable_rank() -> None:
    table = measured(
        Spectrum(rank=3, probes=4),
        study_of(gaussian(torch.tensor(VARIANCES), torch.eye(10)[:3], (10,)), 2, levels=LEVELS[:2], rank=3),
    )
    assert table["log_stable_rank"].tolist() == pytest.approx([math.log10(one) for one in table["stable_rank"]])


@pytest.mark.nightly
def test_the_plot_has_a_line_a_level_and_the_controls(tmp_path: Path) -> None:
    figure = drawn(Spectrum(rank=3), beside(table_of(0.5), table_of(0.1)), tmp_path)
    assert legend(figure, 0) == ["level 0.90", "level 0.50", "level 0.10", "random matrix (nearly)"]
    assert legend(figure, 1) == ["trained, 95 %", "untrained twin, 95 %", "random matrix"]
    assert figure.axes[0].lines[0].get_ydata().tolist() == pytest.approx([1, 1 / 2, 1 / 3])
    assert figure.axes[1].lines[0].get_ydata()[0] == pytest.approx(3)
