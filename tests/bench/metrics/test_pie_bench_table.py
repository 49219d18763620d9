import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from jaxtyping import TypeCheckError
from torch import Tensor

from latentedit.core.errors import ConfigError, ModelError, RegistryError
from latentedit_bench.metrics import pie_bench
from latentedit_bench.metrics.pie_bench_table import SCALE, Batch, Networks, names, scores, skipped, summary
from latentedit_bench.metrics.pie_bench_weights import NEEDED
from latentedit_bench.metrics.statistics import estimate

PLAIN = ["background_psnr_db", "background_mse", "background_ssim"]


def batch(size: tuple[int, int] = (10, 10)) -> Batch:
    generator = torch.Generator().manual_seed(0)
    edited, source = (torch.rand(2, 3, *size, generator=generator) * 2 - 1 for _ in range(2))
    mask = torch.zeros(2, 1, *size, dtype=torch.bool)
    mask[..., 2:5, 2:5] = True
    return Batch(edited=edited, source=source, mask=mask, captions=["a", "b"])


def halves(a: Tensor, b: Tensor) -> Tensor:
    return torch.full((len(a),), 0.5)


def cosines(pictures: Tensor, captions: Sequence[str]) -> Tensor:
    return torch.full((len(pictures),), 0.25)


def keys(pictures: Tensor) -> Tensor:
    return pictures.flatten(2)[:, None, :, ::97]


ALL = Networks(lpips=halves, lpips_alexnet=halves, clip=cosines, keys=keys)


def test_seven_numbers_and_one_beside() -> None:
    assert len(names("legacy")) == 7
    assert names("corrected") == (*names("legacy"), "background_lpips_alexnet")
    assert list(SCALE) == list(NEEDED)
    with pytest.raises((ConfigError, TypeCheckError), match="mode"):
        names("old")  # type: ignore[arg-type]


def test_without_networks_the_rest_is_skipped_by_name() -> None:
    assert list(scores(batch(), mode="legacy")) == PLAIN
    left_out = skipped("legacy", Networks())
    assert set(left_out) == set(names("legacy")) - set(PLAIN)
    assert all(left_out.values())
    assert skipped("corrected", ALL) == {}


def test_a_number_that_was_asked_for_is_never_skipped() -> None:
    with pytest.raises(ModelError, match=r"the network of clip_whole; none was given"):
        scores(batch(), mode="legacy", wanted=["background_mse", "clip_whole"])
    with pytest.raises(RegistryError, match=r"background_lpips_alexnet.*did you mean 'background_lpips'"):
        scores(batch(), mode="legacy", networks=ALL, wanted=["background_lpips_alexnet"])
    assert list(scores(batch(), mode="legacy", networks=ALL, wanted=["background_ssim"])) == ["background_ssim"]


def test_numbers_are_in_the_units_of_the_tables() -> None:
    given = batch()
    found = scores(given, mode="legacy", networks=ALL)
    assert list(found) == list(names("legacy"))
    mse = pie_bench.background_mse(given.edited, given.source, given.mask, mode="legacy")
    assert torch.allclose(found["background_mse"], 1e4 * mse)
    assert found["background_lpips"].tolist() == [500, 500]
    assert found["clip_whole"].tolist() == found["clip_edited"].tolist() == [25, 25]
    assert (found["structure_distance"] > 0).all()
    corrected = scores(given, mode="corrected", networks=ALL)
    assert torch.allclose(corrected["background_lpips_alexnet"], torch.full((2,), 500 / 0.91).double())


def test_rows_of_pictures_are_cut_in_legacy_mode() -> None:
    square = batch((512, 512))
    row = torch.cat([torch.zeros_like(square.edited), square.edited], dim=3)
    wide = Batch(edited=row, source=square.source, mask=square.mask, captions=["a", "b"])
    cut, whole = (scores(given, mode="legacy", wanted=["background_mse"]) for given in (wide, square))
    assert torch.equal(cut["background_mse"], whole["background_mse"])


@pytest.fixture
def rows() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "category": ["change style"] * 10 + ["add object"] * 8,
            "group": [f"picture {index // 2}" for index in range(18)],
            "psnr": generator.normal(20, 2, 18),
            "mse": generator.random(18),
        }
    )
    table.loc[[0, 12, 13], "psnr"] = float("nan")
    return table


def test_every_category_and_all_of_them_have_a_row_of_each_metric(rows: pd.DataFrame) -> None:
    table = summary(rows, metrics=["psnr", "mse"])
    assert table["category"].tolist() == ["add object"] * 2 + ["change style"] * 2 + ["all"] * 2
    told = table.set_index(["category", "metric"])
    assert told["rows"].unstack().loc["all"].tolist() == [18, 18]
    assert told["nan"].to_dict() == {
        ("add object", "psnr"): 2,
        ("add object", "mse"): 0,
        ("change style", "psnr"): 1,
        ("change style", "mse"): 0,
        ("all", "psnr"): 3,
        ("all", "mse"): 0,
    }
    # two rows a picture; the picture whose rows are both nan is behind no number
    assert told["pictures"].to_dict()["add object", "psnr"] == 3
    assert told["pictures"].to_dict()["change style", "psnr"] == 5


def test_means_leave_out_nan_and_intervals_draw_groups(rows: pd.DataFrame) -> None:
    table = summary(rows, metrics=["psnr"], seed=3)
    for category, row in table.set_index("category").iterrows():
        part: Any = rows if category == "all" else rows[rows["category"] == category]
        assert math.isclose(row["mean"], np.nanmean(part["psnr"]), rel_tol=1e-12)
        assert row["low"] < row["mean"] < row["high"]
    groups = pd.factorize(rows["group"])[0].tolist()
    expected = estimate(rows["psnr"].tolist(), [(group,) for group in groups], seed=3)
    overall = table[table["category"] == "all"].iloc[0]
    assert (overall["low"], overall["high"]) == (expected.low, expected.high)
    alone = estimate(rows["psnr"].tolist(), [(index,) for index in range(18)], seed=3)
    assert (overall["low"], overall["high"]) != (alone.low, alone.high)


def test_a_metric_without_any_number_is_nan_and_counted(rows: pd.DataFrame) -> None:
    rows["psnr"] = float("nan")
    table = summary(rows, metrics=["psnr"])
    assert table["mean"].isna().all()
    assert table["nan"].tolist() == [8, 10, 18]


def test_columns_are_checked(rows: pd.DataFrame) -> None:
    with pytest.raises(ConfigError, match="'ssim'"):
        summary(rows, metrics=["ssim"])
    with pytest.raises(ConfigError, match="'all'"):
        summary(rows.assign(category="all"), metrics=["psnr"])
