import math
from pathlib import Path

import pandas as pd
import pytest
import torch

from latentedit.core.errors import ConfigError
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit_bench.experiments.frequency import Frequency
from latentedit_bench.experiments.study import Study
from tests.bench.experiments.gaussians import beside, drawn, gaussian, legend, measured, study_of

LEVELS = (0.9, 0.4)


def waves() -> torch.Tensor:
    """One cycle a picture in the first channel, three in the second: 0.25 and 0.75 of Nyquist at 8 pixels."""
    place = torch.arange(8, dtype=torch.float64)
    v = torch.zeros(2, 2, 8, 8, dtype=torch.float64)
    v[0, 0], v[1, 1] = torch.cos(2 * math.pi * place / 8), torch.cos(2 * math.pi * 3 * place / 8)[:, None]
    return v / v.flatten(1).norm(dim=1)[:, None, None, None]


def waves_study() -> Study:
    return study_of(gaussian(torch.tensor([4.0, 1.0]), waves(), (2, 8, 8)), 2, levels=LEVELS, rank=2)


@pytest.mark.slow
def test_known_waves_are_found_with_their_frequency() -> None:
    """Against the frequencies of the axes; bases are found to 1 degree, so power to 3e-4, of frequencies <= 1.5."""
    table = measured(Frequency(), waves_study())
    vectors = table[table["what"] == "vector"]
    assert len(vectors) == 2 * 2 * 2
    for rank, frequency in ((1, 0.25), (2, 0.5)):  # the first wave, and the mean of both
        assert vectors.loc[vectors["rank"] == rank, "centroid"].tolist() == pytest.approx([frequency] * 4, abs=1e-3)
    # Bins below a quarter of Nyquist: the first wave lies at exactly 0.25, so neither counts.
    assert vectors["low_share"].max() < 3e-4
    assert vectors["null_low_share"].iloc[0] == pytest.approx(1 / 64)  # the constant alone
    rows = [math.hypot(y, x) / 4 for y in (0, 1, 2, 3, 4, 3, 2, 1) for x in (0, 1, 2, 3, 4, 3, 2, 1)]
    assert vectors["null_centroid"].tolist() == pytest.approx([sum(rows) / 64] * 8)


@pytest.mark.slow
def test_density_is_power_a_coefficient_in_that_of_white_noise() -> None:
    """Half of the power lies in bin 1 and half in bin 3; rings are counted here one by one."""
    table = measured(Frequency(), waves_study())
    bins = table[(table["what"] == "bin") & (table["level"] == 0.9) & (table["picture"] == 0)]
    sides = [0, 1, 2, 3, 4, -3, -2, -1]
    counts = [0] * 5
    for y in sides:
        for x in sides:
            counts[min(4, round(math.hypot(y, x)))] += 1
    assert bins["frequency"].tolist() == [0, 0.25, 0.5, 0.75, 1]
    expected = [0, 0.5 * 64 / counts[1], 0, 0.5 * 64 / counts[3], 0]
    assert bins["density"].tolist() == pytest.approx(expected, abs=1e-2)
    weighted = (bins["latent_density"] * torch.tensor(counts).numpy()).sum() / 64
    assert weighted == pytest.approx(1)


def test_latents_without_space_are_refused() -> None:
    study = study_of(example_mixture(dimension=5), 2, levels=LEVELS, rank=1)
    with pytest.raises(ConfigError, match=r"have the shape \[5\]"):
        Frequency().items(study)


def table_of(growth: float, pictures: int = 8) -> pd.DataFrame:
    """Vectors whose frequency grows from level 0.9 to 0.1 by so much, a little more in some pictures; and spectra."""
    rows: list[dict[str, object]] = []
    for level in (0.9, 0.5, 0.1):
        for picture in range(pictures):
            about = {"model": "one", "picture": picture, "level": level}
            middle = 0.4 + growth * (0.9 - level) / 0.8 * (1 + 0.02 * picture)
            references = {"null_centroid": 0.7, "null_low_share": 0.1, "latent_centroid": level * 0.7}
            for rank, gap in ((1, 0.3), (2, 0.1)):
                vector = {"rank": rank, "gap": gap, "centroid": middle + 0.01 * rank, "low_share": 0.2}
                vector |= {"latent_low_share": 0.3}
                rows.append({"what": "vector", **about, **vector, **references})
            for frequency in (0.0, 0.5, 1.0):
                spectrum = {"frequency": frequency, "density": 0.5 + level, "latent_density": 1.0}
                rows.append({"what": "bin", **about, **spectrum})
    return pd.DataFrame(rows)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("growth", "of_twin", "verdict"),
    [(0.2, 0.1, "holds"), (-0.2, 0.0, "does not hold"), (0.2, 0.3, "does not hold")],
)
def test_the_claim_follows_the_growth_beyond_that_of_the_twin(growth: float, of_twin: float, verdict: str) -> None:
    found = Frequency().conclude(beside(table_of(growth), table_of(of_twin)))
    first, second = found.claims[0], found.claims[3]
    assert first.verdict == verdict
    assert "rank 1 (fitted), trained less untrained" in first.measure
    assert "rank 2, trained less untrained" in second.measure
    mean = 1.07  # of 1 + 0.02 p over 8 pictures
    assert [claim.estimate for claim in found.claims] == pytest.approx(
        [mean * (growth - of_twin), mean * growth, mean * of_twin, mean * (growth - of_twin)]
    )
    assert first.low < first.estimate < first.high
    assert first.samples == 8
    centroids = found.summary[(found.summary["measure"] == "centroid") & (found.summary["network"] == "trained")]
    assert centroids["level"].tolist() == [0.9, 0.5, 0.1]
    assert centroids["mean"].iloc[0] == pytest.approx(0.41)
    assert centroids["null"].tolist() == pytest.approx([0.7] * 3)
    assert centroids["latent"].tolist() == pytest.approx([0.63, 0.35, 0.07])


@pytest.mark.nightly
def test_the_plot_has_a_line_a_level_and_all_references(tmp_path: Path) -> None:
    figure = drawn(Frequency(), beside(table_of(0.2), table_of(0.1)), tmp_path)
    levels = ["level 0.90", "level 0.50", "level 0.10"]
    assert legend(figure, 0) == [*levels, "the latent itself, at each level", "white noise"]
    networks = ["trained, 95 %", "untrained twin, 95 %"]
    assert legend(figure, 1) == [*networks, "the latent itself: mean, 95 %", "white noise"]
    assert figure.axes[0].lines[0].get_ydata().tolist() == pytest.approx([1.4] * 3)
    assert "Nyquist" in figure.axes[0].get_xlabel()
    assert "Nyquist" in figure.axes[1].get_ylabel()
