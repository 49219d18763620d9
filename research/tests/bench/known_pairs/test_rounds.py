"""Ten edits in a row: what the summary compares, and that `keep` leaves more than the editor alone."""

import numpy as np
import pandas as pd
import pytest

from latentedit_bench.known_pairs import rounds
from latentedit_bench.known_pairs.cases import PHOTOGRAPHS, load_photograph
from latentedit_bench.known_pairs.opencv import cv2
from latentedit_bench.known_pairs.rounds import ROUNDS, SEEDS, _next, rounds_summary, rounds_work


def test_the_summary_compares_the_methods_after_the_last_round() -> None:
    decibels = {"editor": 20.0, "sift": 30.0, "keep": 50.0}
    rows = [
        {"group": f"photograph {group}", "seed": 1, "round": number, "method": method, "db": level - number + group}
        for group in range(6)
        for number in range(1, ROUNDS + 1)
        for method, level in decibels.items()
    ]
    found = rounds_summary(pd.DataFrame(rows))
    assert found["photographs"] == 6
    assert [one["mean"] for one in found["keep better by"].values()] == pytest.approx([30, 20])
    assert found["last db"]["keep"]["mean"] == pytest.approx(50 - ROUNDS + 2.5)


def test_the_next_image_has_the_size_and_without_an_edit_the_pixels_of_the_last() -> None:
    image = load_photograph(PHOTOGRAPHS["test"][0])[:160, :200]
    edited = cv2.resize(image, (240, 192), interpolation=cv2.INTER_CUBIC)
    np.testing.assert_array_equal(_next("keep", image, edited), image)
    assert _next("editor", image, edited).shape == _next("sift", image, edited).shape == image.shape


@pytest.mark.slow
def test_rounds_go_on_from_the_last_image_of_each_method(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "_SIDE_PX", 128)
    monkeypatch.setattr(rounds, "ROUNDS", 2)
    work = rounds_work()
    assert len(work.units) == len(PHOTOGRAPHS["test"]) * len(SEEDS)
    found = pd.DataFrame(work.start()(work.task(work.units[0])).rows)
    assert found["round"].tolist() == [1] * 3 + [2] * 3
    assert found["method"].tolist() == ["editor", "sift", "keep"] * 2
    assert {*found["group"], *found["seed"]} == {PHOTOGRAPHS["test"][0], SEEDS[0]}
    decibels = found.pivot_table(index="method", columns="round", values="db")
    assert decibels.loc["editor", 2] < decibels.loc["editor", 1], "damage adds up"
    assert (decibels.loc["keep"] > decibels.loc["editor"] + 10).all()
