"""CPU seconds and memory of `keep` and its alternatives: the summary in closed form, and that each was really run."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from latentedit.core import ConfigError
from latentedit_bench.known_pairs import speed
from latentedit_bench.known_pairs.speed import METHODS, median, speed_summary, speed_work

SMALL = {"1 megapixel": (200, 150, 160)}


def test_an_interval_of_a_median_has_the_coverage_that_it_states() -> None:
    """It spans six to eight values, and nine without the ends: (1 + 9) / 256 is below .05, (1 + 8) / 128 is not."""
    assert median([3, 1, 2, 6, 5, 4, 7]) == {"value": 4, "low": 1, "high": 7}
    assert median([*range(1, 10)]) == {"value": 5, "low": 2, "high": 8}
    few = median([1, 2, 3, 4, 5])
    assert few["value"] == 3
    assert np.isnan([few["low"], few["high"]]).all()


def test_ratios_are_of_the_same_pair() -> None:
    """Photographs differ by a factor of ten, and `keep` takes twice as long on each."""
    rows = [
        {
            "size": "12 megapixels",
            "repeat": index,
            "method": name,
            "seconds": seconds * 10**index,
            "mb": index,
            "found": "",
        }
        for index in range(7)
        for name, seconds in (("keep", 2.0), ("decode", 1.0))
    ]
    kept, decoded = speed_summary(pd.DataFrame(rows))["speed"]
    assert (kept["seconds"], kept["mb"], kept["keep over it"]) == (2000, 3, None)
    assert decoded["method"] == METHODS["decode"]
    assert decoded["keep over it"] == {"value": 2, "low": 2, "high": 2}


@pytest.mark.slow
def test_every_method_is_run_and_keep_finds_the_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "SIZES", SMALL)
    work = speed_work(1, None)
    rows = pd.DataFrame(work.start()(work.task("1-megapixel-00")).rows).set_index("method")
    assert set(rows.index) == {"keep", "homography", "threshold", "decode"}
    assert rows.loc["keep", "found"] == "local change"
    assert (rows["seconds"] > 0).all()
    assert rows.loc["keep", "mb"] > rows.loc["decode", "mb"]


def test_another_version_is_that_of_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "SIZES", SMALL)
    with pytest.raises(ConfigError, match="latentedit"):
        speed_work(1, tmp_path)
    (tmp_path / "latentedit" / "keeping").mkdir(parents=True)
    (tmp_path / "latentedit" / "__init__.py").write_text("raise ImportError('of another version')")
    (tmp_path / "latentedit" / "keeping" / "api.py").touch()
    work = speed_work(1, tmp_path)
    monkeypatch.setattr(speed, "METHODS", {"against": ""})
    with pytest.raises(ConfigError, match="of another version"):
        work.start()(work.task("1-megapixel-00"))
