"""The bars of the guard: which rows meet them, how many pictures of each kind, and what is drawn."""

import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from latentedit.latents.guard import Guard
from latentedit.latents.harms import HARMS
from latentedit_bench.experiments import unknown_pictures
from latentedit_bench.experiments.base import Context
from latentedit_bench.experiments.plotting import new_figure
from latentedit_bench.experiments.unknown_pictures import (
    NEARLY,
    ODD,
    OTHER,
    PARAPHRASED,
    RENDERS,
    SCRAMBLED,
    UPSIDE_DOWN,
    WRONG,
    UnknownPictures,
)
from latentedit_bench.metrics.statistics import Table

EXPERIMENT = UnknownPictures(models=("portraits",), renders=100, strangers=50, others=20, captions=20)


def rows(**changed: list[dict[str, Any]]) -> Table:
    """Every picture as it should be said to be, but for those of a kind that are changed."""
    states = {
        RENDERS: "known",
        OTHER: "doubtful",
        ODD: "doubtful",
        WRONG: "known",
        NEARLY: "known",
        PARAPHRASED: "known",
    }
    about = {"model": "portraits", "number": 1.0, "reason": "", "caption_read": True, "evaluations": 6}
    found: list[dict[str, Any]] = []
    for kind, count in EXPERIMENT.sizes.items():
        fits = kind not in (WRONG, NEARLY)
        right = {**about, "kind": kind, "state": states.get(kind, "unknown"), "caption_fits": fits}
        own = [{**right, "picture": index} for index in range(count)]
        for index, change in enumerate(changed.get(kind.replace(" ", "_"), [])):
            own[index] |= change
        found += own
    return pd.DataFrame(found)


def verdicts(table: Table) -> dict[str, str]:
    return {claim.measure: claim.verdict for claim in EXPERIMENT.conclude(table).claims}


@pytest.mark.slow
def test_all_bars_hold_where_everything_is_said_rightly() -> None:
    outcome = EXPERIMENT.conclude(rows())
    assert {claim.verdict for claim in outcome.claims} == {"holds"}
    first = outcome.claims[0]
    assert first.measure == f"{RENDERS} known, less 0.98"
    assert first.estimate == pytest.approx(0.02)
    assert first.low == pytest.approx(0.025 ** (1 / 100) - 0.98)  # Clopper and Pearson with no failure
    assert outcome.summary["pictures"].sum() == sum(EXPERIMENT.sizes.values())
    EXPERIMENT.draw(outcome, new_figure())


@pytest.mark.parametrize(
    ("kind", "count", "change", "broken"),
    [
        ("test_renders", 3, {"state": "doubtful"}, "test renders known, less 0.98"),
        ("test_renders", 2, {"state": "doubtful"}, None),
        ("photographs", 1, {"state": "known"}, "no portraits not known, less 1"),
        ("photographs", 3, {"state": "doubtful"}, "no portraits unknown, less 0.95"),
        ("photographs", 2, {"state": "doubtful"}, None),
        ("another_portrait's_caption", 2, {"caption_fits": True}, "another portrait's caption told, less 0.95"),
        ("noise", 1, {"evaluations": 9}, "evaluations a picture, 8 less the most"),
    ],
)
def test_each_bar_is_broken_by_what_it_is_about(kind: str, count: int, change: Any, broken: str | None) -> None:
    table = rows(**{kind: [change] * count})
    assert [name for name, verdict in verdicts(table).items() if verdict != "holds"] == ([broken] if broken else [])


def test_every_model_looks_at_as_many_pictures_as_the_bars_are_about() -> None:
    full = UnknownPictures()
    strange = set(full.sizes) - {RENDERS, OTHER, ODD, WRONG, NEARLY, PARAPHRASED}
    assert (full.sizes[RENDERS], sum(full.sizes[kind] for kind in strange)) == (1000, 500)
    assert {UPSIDE_DOWN, SCRAMBLED} <= strange
    units = full.units(Context(folder=Path(), command=""))
    assert sum(int(unit[3]) for unit in units) == len(full.models) * sum(full.sizes.values())
    assert full.quick().sizes[RENDERS] == 100


@pytest.mark.nightly
def test_a_picture_of_every_kind_is_looked_at_as_its_kind_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    """Captions are given for those kinds that are about them, and read for the others; scenes of the test split."""
    small = dataclasses.replace(EXPERIMENT, renders=2, strangers=9, others=1, captions=4)
    made = {kind: small._pictures(kind) for kind in small.sizes}
    assert {kind for kind, (_, captions) in made.items() if captions is not None} == {WRONG, NEARLY, PARAPHRASED}
    assert all(isinstance(one, Image.Image) for pictures, _ in made.values() for one in pictures)
    pictures, wrong = made[WRONG]
    assert pictures[0].tobytes() == made[RENDERS][0][0].tobytes()
    assert len(set(wrong or ())) == 4
    harmed = {name: [1.0, 1.0, 1.0] for name in HARMS}
    guard = Guard(pictures=1, usual=1.0, known=9.0, ratio=9.0, empty=9.0, far=9.0, harmed=harmed)
    monkeypatch.setattr(unknown_pictures, "_guard", lambda _: guard)
    (row,) = small.measure(("portraits", RENDERS, 0, 1), Context(folder=Path(), command=""))
    assert (row["model"], row["kind"], row["picture"], row["state"]) == ("portraits", RENDERS, 0, "known")
    assert row["evaluations"] == 6
