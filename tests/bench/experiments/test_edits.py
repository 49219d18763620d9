import itertools
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from latentedit.editors.walks.step_length import CLOSE, EFFECT
from latentedit_bench.domains.areas import CHANGED
from latentedit_bench.experiments.edits import Edits, coarseness, edit_row
from latentedit_bench.experiments.radial_power import white_centroid
from latentedit_bench.experiments.signed_edits import SignedEdit
from latentedit_bench.experiments.study import Study
from tests.api.discoveries import read_surely, widen
from tests.bench.experiments.gaussians import drawn, legend
from tests.editors.colours import ColourBackbone
from tests.editors.edits import grey

LEVELS = (0.9, 0.5, 0.1)
AREAS = {"background": 0.5, "hair": 0.3, "mouth": 0.02}


@pytest.fixture(autouse=True)
def areas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latentedit_bench.experiments.edits.attribute_areas", lambda _: AREAS)


def study(model: ColourBackbone) -> Study:
    return Study.of(model, [grey(0), grey(1)], levels=(0.7, 0.4), rank=2, site="clean", steps=10)


def test_rows_of_a_model_without_a_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    widen(monkeypatch)
    one, analysis = study(ColourBackbone()), Edits(directions=1, controls=2)
    assert analysis.items(one) == [(0, 0.7), (1, 0.7), (0, 0.4), (1, 0.4)]
    rows = analysis.look_at(one, (1, 0.4))
    assert rows == analysis.look_at(one, (1, 0.4))
    assert [(row["kind"], row["index"]) for row in rows] == [("basis", 1), ("random", 1), ("random", 2)]
    for row in rows:
        assert (row["picture"], row["level"], row["coarseness"]) == (1, 0.4, None)
        assert row["effect"] == pytest.approx(EFFECT, rel=CLOSE)
    # the latents are the pictures and the model is linear, so white noise stays white: 64 x 3 numbers tell it to 10 %
    assert rows[1]["centroid"] == pytest.approx(white_centroid(8, 8), rel=0.1)
    assert analysis.look_at(one, (0, 0.4))[1]["centroid"] != rows[1]["centroid"]


def test_rows_of_a_reader_of_other_attributes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes are told; areas are known of portraits only."""
    model = ColourBackbone()
    read_surely(monkeypatch, model)
    (row, _) = Edits(directions=1, controls=1).look_at(study(model), (0, 0.7))
    assert row["coarseness"] is None
    assert {name for name in row if name.startswith("change ")} == {"change top", "change bottom"}


def waves(cycles: int, height: float) -> torch.Tensor:
    """Stripes, with + and - as two signs of an edit."""
    stripes = torch.tensor([1.0, -1.0]).repeat_interleave(8 // cycles).repeat(cycles)
    return height * torch.stack([stripes, -stripes])[:, None, None].expand(2, 3, 16, 16)


def test_a_row_says_what_changed() -> None:
    """A change of every second column has the frequency 1, whatever its sign; 10 levels or fewer count as none."""
    shifts = {"hair": torch.tensor([[-0.6, 0.6], [0.2, -0.2]]), "mouth": torch.tensor([[0.0, 0.0], [-0.2, 0.2]])}
    row = edit_row(SignedEdit(effect=0.4, change=waves(8, (CHANGED + 1) / 127.5), shifts=shifts))
    assert row["centroid"] == pytest.approx(1)
    assert row["changed"] == 1
    assert row["white"] == pytest.approx(white_centroid(16, 16))
    assert (row["change hair"], row["change mouth"]) == pytest.approx((0.4, 0.1))
    assert row["coarseness"] == pytest.approx((0.4 * 0.3 + 0.1 * 0.02) / 0.5)
    faint = edit_row(SignedEdit(effect=0.4, change=waves(8, (CHANGED - 1) / 127.5), shifts={}))
    assert faint["changed"] == 0
    still = edit_row(SignedEdit(effect=0.0, change=torch.zeros(2, 3, 16, 16), shifts={}))
    assert (still["centroid"], still["coarseness"]) == (None, None)


def test_coarseness_is_of_portraits_that_change() -> None:
    assert coarseness({"mouth": 0.3}) == pytest.approx(0.02)
    assert coarseness({"background": 0.3, "mouth": 0.3}) == pytest.approx(0.26)
    assert coarseness({"background": 0.04, "mouth": 0.05}) is None
    assert coarseness({"top": 0.5}) is None
    assert coarseness({}) is None


def table_of(coarse: float, fine: float, *, pictures: int = 7, read: bool = True) -> pd.DataFrame:
    """Area and centroid of 0.4 in the middle that differ by so much between 0.9 and 0.1; random ones do not."""
    rows: list[dict[str, object]] = []
    for level, picture, kind, index in itertools.product(LEVELS, range(pictures), ("basis", "random"), (1, 2)):
        share = (level - 0.5) / 0.8 * (kind == "basis") * (1 + 0.02 * (picture - (pictures - 1) / 2))
        row = {"model": "one", "picture": picture, "level": level, "kind": kind, "index": index, "effect": 0.4}
        row |= {"centroid": 0.4 - fine * share, "white": 0.77, "changed": 0.2}
        row |= {"coarseness": 0.4 + coarse * share if read else None}
        rows.append(row | ({"change hair": level, "change mouth": 0.5 - level / 2} if read else {}))
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("coarse", "fine", "verdicts"),
    [(0.2, 0.1, ["holds"] * 2), (-0.2, 0.1, ["does not hold", "holds"]), (0.2, -0.1, ["holds", "does not hold"])],
)
def test_claims_follow_area_and_frequency(coarse: float, fine: float, verdicts: list[str]) -> None:
    found = Edits().conclude(table_of(coarse, fine))
    first, _, of_random, second, _, _ = found.claims
    assert [first.verdict, second.verdict] == verdicts
    assert [claim.estimate for claim in (first, second)] == pytest.approx([coarse, fine])
    assert of_random.estimate == pytest.approx(0)
    rows = found.summary[(found.summary["measure"] == "centroid") & (found.summary["kind"] == "basis")]
    assert rows["mean"].tolist() == pytest.approx([0.4 - fine / 2, 0.4, 0.4 + fine / 2])


def test_what_random_directions_do_as_well_is_no_finding() -> None:
    table = table_of(0.2, 0.1)
    own = table[table["kind"] == "basis"]
    found = Edits().conclude(pd.concat([own, own.assign(kind="random")], ignore_index=True))
    assert [found.claims[index].verdict for index in (0, 3)] == ["undecided at this size"] * 2
    assert [found.claims[index].verdict for index in (1, 4)] == ["holds"] * 2


@pytest.mark.nightly
def test_without_a_reader_the_frequency_is_left(tmp_path: Path) -> None:
    found = Edits().conclude(table_of(0.2, 0.1, read=False))
    assert [found.claims[index].verdict for index in (0, 3)] == ["undecided at this size", "holds"]
    assert found.claims[0].samples == 0
    assert "coarseness" not in found.line
    assert "coarseness" not in set(found.summary["measure"])
    figure = drawn(Edits(), table_of(0.2, 0.1, read=False), tmp_path)
    assert figure.axes[0].texts[0].get_text() == "no reader of this model's attributes"


@pytest.mark.parametrize(
    ("read_from", "measure", "expected"),
    [
        (0.5, "at level 0.90 minus at 0.50", pytest.approx((0.1, 7))),
        (0.9, "", pytest.approx((math.nan, 0), nan_ok=True)),
    ],
)
def test_areas_are_compared_down_to_where_they_are_read(read_from: float, measure: str, expected: Any) -> None:
    table = table_of(0.2, 0.1)
    table.loc[(table["level"] < read_from) & (table["picture"] > 0), "coarseness"] = None
    claims = Edits().conclude(table).claims
    areas, frequency = claims[0], claims[3]
    assert measure in areas.measure
    assert (areas.estimate, areas.samples) == expected
    assert areas.verdict == ("holds" if areas.samples else "undecided at this size")
    assert frequency.verdict == "holds"


@pytest.mark.nightly
def test_the_plot_shows_both_measures_and_the_attributes(tmp_path: Path) -> None:
    figure = drawn(Edits(), table_of(0.2, 0.1), tmp_path)
    names = ["local basis, 95 %", "random, equal effect, 95 %"]
    assert legend(figure, 0) == names
    assert legend(figure, 1) == [*names, "white noise"]
    assert figure.axes[1].get_ylim()[1] > 0.77
    assert figure.axes[0].lines[0].get_ydata().tolist() == pytest.approx([0.5, 0.4, 0.3])
    attributes = figure.axes[2]
    assert [text.get_text() for text in attributes.get_yticklabels()] == ["hair (30%)", "mouth (2%)"]
    hair, mouth = attributes.images[0].get_array().tolist()
    assert (hair, mouth) == (pytest.approx([0.9, 0.5, 0.1]), pytest.approx([0.05, 0.25, 0.45]))
