from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from latentedit.core.errors import OutputError
from latentedit_bench.experiments.plotting import draw_levels, draw_null, new_figure, panels, save_figure


@pytest.mark.nightly
def test_a_plot_says_what_it_shows(tmp_path: Path) -> None:
    summary = pd.DataFrame({"level": [0.9, 0.1], "mean": [1.0, 2.0], "low": [0.5, 1.5], "high": [1.5, 2.5]})
    figure = new_figure(1)
    axes = panels(figure, ["one", "two"], rows=2)
    draw_levels(axes[0][0], summary, label="mean", colour="#0072b2")
    draw_null(axes[0][0], 0.2, 0.1, 0.3, label="random")
    axis = axes[0][0]
    assert [len(row) for row in axes] == [2, 2]
    assert [item.get_title() for item in axes[0]] == ["one", "two"]
    assert "1 noise, 0 picture" in axis.get_xlabel()
    assert axis.get_xlim() == (1, 0)
    assert axis.get_legend_handles_labels()[1] == ["mean", "random"]
    save_figure(figure, tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as image:
        assert np.asarray(image.convert("L")).std() > 5, "an empty picture"
    assert [path.name for path in tmp_path.iterdir()] == ["plot.png"]


@pytest.mark.parametrize("count", [1, 2])
def test_an_interval_is_seen_over_one_level_too(count: int) -> None:
    summary = pd.DataFrame({"level": [0.9, 0.1], "mean": [1.0, 2.0], "low": [0.5, 1.5], "high": [1.5, 2.5]})[:count]
    axis = panels(new_figure(1), ["one"])[0][0]
    draw_levels(axis, summary, label="mean", colour="#0072b2")
    (interval,) = axis.collections
    corners = np.concatenate([path.vertices for path in interval.get_paths()])
    assert {0.5, 1.5} <= set(corners[:, 1])


def test_a_place_that_cannot_be_written_to_is_refused(read_only_folder: Path) -> None:
    with pytest.raises(OutputError, match=r"plot\.png"):
        save_figure(new_figure(1), read_only_folder / "plot.png")
