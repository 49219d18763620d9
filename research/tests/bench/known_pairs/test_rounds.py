"""Eight edits in a row: what each way of using `keep` compares with what, where things lie, and both decisions."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from latentedit_bench.known_pairs import rounds
from latentedit_bench.known_pairs.cases import PHOTOGRAPHS, load_photograph
from latentedit_bench.known_pairs.measured import psnr
from latentedit_bench.known_pairs.opencv import cv2
from latentedit_bench.known_pairs.rounds import EDITORS, METHODS, ROUNDS, damaged, rounds_summary, rounds_work

pytestmark = pytest.mark.usefixtures("few_draws")

BAD = {"db": 15.0, "identical": 0.1, "error": 20.0, "moved": 18.0, "taken": 0.9}
GOOD = {"db": 50.0, "identical": 0.9, "error": 10.0, "moved": 9.0, "taken": 0.95}


def photograph() -> NDArray[np.uint8]:
    return cv2.resize(load_photograph(PHOTOGRAPHS["test"][0]), (160, 128), interpolation=cv2.INTER_AREA)


def rows(**neighbors: float) -> pd.DataFrame:
    """First and last rounds: the editor alone is bad, and neighbors differ as given."""
    values = dict.fromkeys(METHODS, GOOD) | {"editor": BAD, "neighbors": GOOD | neighbors}
    return pd.DataFrame([
        {"group": f"photograph {group}", "editor": editor, "round": number, "method": method}
        | {name: value + group / 100 for name, value in values[method].items()}
        for group in range(6) for editor in EDITORS for number in (1, ROUNDS) for method in METHODS
    ])  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("neighbors", "wins"),
    [
        ({}, False),
        ({"moved": 7.9}, True),
        ({"moved": 8.1}, False),
        ({"moved": 7.9, "db": 49.4}, False),
        ({"moved": 7.9, "error": 10.6}, False),
        ({"db": 53.1}, True),
        ({"db": 53.1, "moved": 9.4}, True),
        ({"db": 53.1, "taken": 0.92}, False),
    ],
)
def test_a_chain_wins_clearly_if_one_measure_is_much_better_and_none_worse(
    neighbors: dict[str, float], wins: bool
) -> None:
    found = rounds_summary(rows(**neighbors))
    assert found["chain wins clearly"] is wins
    assert found["photographs"] == 6
    assert found["claim holds"]
    assert found["first and last better by"]["editor"]["mean"] == pytest.approx(35)
    assert len(found["after"]) == (len(EDITORS) + 1) * len(METHODS) * 2


@pytest.mark.slow
def test_a_claim_that_the_rows_contradict_does_not_hold() -> None:
    table = rows()
    table.loc[table["method"] == "first and last", "db"] -= 16
    assert not rounds_summary(table)["claim holds"]


@pytest.mark.parametrize("editor", EDITORS)
def test_places_say_where_in_the_photograph_each_pixel_of_an_edit_comes_from(editor: str) -> None:
    image, places = photograph(), None
    edit = image
    for seed in range(3):
        start = np.dstack(rounds._grid(image)) if places is None else places
        edit, places = damaged(editor, edit.astype(np.float32), start, seed)
    assert places is not None
    there = cv2.remap(image, places, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    soft = [cv2.GaussianBlur(cv2.cvtColor(one, cv2.COLOR_RGB2GRAY), (0, 0), 1.5) for one in (edit, there, image)]
    alike = [float(np.corrcoef(soft[0].ravel(), one.ravel())[0, 1]) for one in soft[1:]]
    assert alike[0] > 0.98
    assert alike[0] > alike[1]


def test_a_thing_lies_where_the_pixels_of_the_photograph_are() -> None:
    image, generator = photograph(), np.random.default_rng(3)
    layer, truth, mask = rounds._requested(image, image[::-1], generator)
    assert mask.mean() > 0.003
    np.testing.assert_allclose(rounds._put(layer, image), truth, atol=0.51)
    columns, lines = rounds._grid(image)
    moved = rounds._put(layer, np.roll(image, 5, axis=1), np.dstack([columns - 5, lines]))
    np.testing.assert_allclose(moved[:, 5:], np.roll(truth, 5, axis=1)[:, 5:], atol=0.51)


def test_an_error_is_measured_where_a_change_fits_best() -> None:
    image, area = photograph(), np.zeros((128, 160), dtype=bool)
    area[40:80, 50:90] = True
    assert rounds._moved_error(np.roll(image, (2, -3), axis=(0, 1)), image, area) == 0
    assert rounds._moved_error(np.roll(image, 4, axis=1), image, area) > 1


@pytest.mark.slow
def test_each_way_compares_the_images_that_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "_SIDE_PX", 160)
    monkeypatch.setattr(rounds, "ROUNDS", 2)
    calls, keep = list[tuple[Any, Any, Any]](), rounds.keep

    def recorded(*images: Any, **options: Any) -> Any:
        result = keep(*images, **options)
        original, edited = (np.asarray(getattr(one, "pixels", one)) for one in images)
        calls.append((original, edited, np.asarray(result.image)))
        return result

    places, put = list[NDArray[np.float32]](), rounds._put

    def recorded_put(layer: Any, image: Any, given: NDArray[np.float32] | None = None) -> Any:
        places.extend([] if given is None else [given])
        return put(layer, image, given)

    monkeypatch.setattr(rounds, "keep", recorded)
    monkeypatch.setattr(rounds, "_put", recorded_put)
    work = rounds_work()
    assert len(work.units) == 20 * len(EDITORS)
    name, editor = work.task(work.units[1])
    assert (name, editor) == (PHOTOGRAPHS["test"][0], "wearing")
    found = pd.DataFrame(work.start()((name, editor)).rows)
    assert found["round"].tolist() == [1] * 5 + [2] * 5
    assert found["method"].tolist() == list(METHODS) * 2
    assert len(calls) == 8
    assert len(places) == 2, "things are drawn on the editor's own image where the photograph's pixels are"
    assert 0.1 < np.abs(places[1] - places[0]).max() < 3
    (between, masked, given, last), (between_2, masked_2, given_2, last_2) = calls[:4], calls[4:]
    first, edit, edit_2 = last[0], last[1], last_2[1]
    assert all(np.array_equal(one[0], first) for one in (given, between, masked, last_2)), "all begin with the first"
    assert all(np.array_equal(one[1], edit) for one in (given, between, masked)), "and with one edit"
    np.testing.assert_array_equal(given_2[0], given[2], "the kept result is given back")
    assert psnr(given_2[1], edit_2, np.ones(edit.shape[:2], dtype=bool)) < 40, "and edited itself"
    np.testing.assert_array_equal(between_2[0], edit, "neighbors")
    np.testing.assert_array_equal(between_2[1], edit_2)
    np.testing.assert_array_equal(masked_2[0], masked[2], "put on the result of the round before")
    np.testing.assert_array_equal(masked_2[1], edit_2)
    table = found.pivot_table(index="method", columns="round", values="db")
    assert table.loc["editor", 2] < table.loc["editor", 1], "damage adds up"
    assert (table.drop(index="editor") > table.loc["editor"] + 8).all(axis=None)
    taken = found.pivot_table(index="method", columns="round", values="taken")
    assert (taken > 0.8).all(axis=None)
    errors = found.pivot_table(index="method", columns="round", values=["error", "moved"])
    assert (errors["moved"] <= errors["error"] + 1).all(axis=None)
