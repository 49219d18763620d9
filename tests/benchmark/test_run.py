"""A run that was stopped goes on, gives what it would have given, and never mixes with another."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from latentedit.backbones.base import Backbone
from latentedit.benchmark import run as run_module
from latentedit.benchmark.evaluate import CODEC
from latentedit.benchmark.items import Dataset
from latentedit.benchmark.methods import Method
from latentedit.benchmark.run import PLAN_FILE, ROWS_FILE, Plan, read_plan, run, shown
from latentedit.editing.baselines.flowslider import FlowSlider
from latentedit.editing.baselines.sdedit import SDEdit
from latentedit.errors import ConfigError, ModelError, OutputError
from tests.benchmark.rendered_network import RenderedNetwork, some_items

SLIDER = Method(name="slide", editor=FlowSlider(steps=3), local=True)
NOISY = Method(name="noisy", editor=SDEdit(level=0.5, steps=4, guidance=1.0))
DATA = Dataset(name="some", version="1", items=some_items()[:6])


@pytest.fixture
def model() -> Backbone:
    return RenderedNetwork(reads=False)


@pytest.fixture
def plan(model: Backbone) -> Plan:
    """Six items by two methods."""
    return Plan(model=model, dataset=DATA, methods=(SLIDER, NOISY), strengths=(0.5, 1.0))


def started(plan: Plan, folder: Path, *, command: str = "it", batch: int = 2, **more: Any) -> Any:
    """Three batches of two items, unless others are wanted."""
    return run(plan, folder, command=command, batch=batch, **more)


def measured(table: Any) -> pd.DataFrame:
    """All but the time that it took."""
    return table.drop(columns="seconds")


def test_every_item_method_and_strength_has_a_row(plan: Plan, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    table = started(plan, tmp_path / "new" / "run", progress=lambda *step: told.append(step))
    keys = [(row["item"], row["method"], row["strength"]) for row in table.to_dict("records")]
    names = [item.id for item in DATA.items]
    asked = {(name, method, strength) for name in names for method in ("slide", "noisy") for strength in (0.5, 1.0)}
    assert len(keys) == len(set(keys))
    assert set(keys) == asked | {(name, CODEC, 1.0) for name in names}
    assert told == [("bench", done, 9) for done in range(1, 10)]
    assert not (tmp_path / "new" / "run" / "pictures").exists()


def test_the_second_run_measures_nothing(plan: Plan, tmp_path: Path, rows_asked: Callable[[Any], list[int]]) -> None:
    first = started(plan, tmp_path)
    before = (tmp_path / ROWS_FILE).read_bytes()
    rows = rows_asked(plan.model)
    second = started(plan, tmp_path, command="it again")
    assert sum(rows) == 0
    pd.testing.assert_frame_equal(first, second, check_exact=True)
    assert (tmp_path / ROWS_FILE).read_bytes() == before
    assert read_plan(tmp_path)["command"] == "it again"


def test_a_run_that_was_stopped_goes_on(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After three of six edits, and in the middle of the line of the third."""
    whole = started(plan, tmp_path / "whole")
    evaluate, done = run_module.evaluate, list[str]()

    def stopping(method: Method, *rest: Any, **more: Any) -> Any:
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(method.name)
        return evaluate(method, *rest, **more)

    monkeypatch.setattr(run_module, "evaluate", stopping)
    with pytest.raises(KeyboardInterrupt):
        started(plan, tmp_path / "stopped")
    rows = tmp_path / "stopped" / ROWS_FILE
    rows.write_bytes(rows.read_bytes()[:-7])
    again: list[str] = []

    def counting(method: Method, *rest: Any, **more: Any) -> Any:
        again.append(method.name)
        return evaluate(method, *rest, **more)

    monkeypatch.setattr(run_module, "evaluate", counting)
    found = started(plan, tmp_path / "stopped")
    assert again == ["slide", "noisy", "slide", "noisy"], "the line that was cut off, and what was not begun"
    pd.testing.assert_frame_equal(measured(found), measured(whole), check_exact=True)


def test_rows_do_not_depend_on_the_batches(plan: Plan, tmp_path: Path) -> None:
    """Noise is drawn for one latent. A latent that rounds otherwise may tip one of 49152 numbers by one of 255 levels:
    some 1e-5 of a change of tens of levels in hundreds of pixels."""
    small = started(plan, tmp_path / "small")
    large = started(plan, tmp_path / "large", batch=6)
    keys = ["item", "method", "strength"]
    first, second = (measured(table).sort_values(keys).reset_index(drop=True) for table in (small, large))
    pd.testing.assert_frame_equal(first, second, check_exact=False, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 1}, "seed"),
        ({"strengths": (1.0, 2.0)}, "strengths"),
        ({"methods": (SLIDER,)}, "methods"),
        ({"methods": (dataclasses.replace(SLIDER, local=False), NOISY)}, "methods"),
        ({"methods": (dataclasses.replace(SLIDER, editor=FlowSlider(steps=4)), NOISY)}, "methods"),
        ({"dataset": DATA.head(4)}, "data"),
    ],
)
def test_another_plan_in_the_same_folder_is_refused(
    plan: Plan, tmp_path: Path, change: dict[str, Any], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "_measure", lambda *_, **__: [])
    started(plan, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match=f"with other {named}. Name another folder"):
        started(dataclasses.replace(plan, **change), tmp_path, command="other")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_plan_of_which_nothing_was_measured_gives_way(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / PLAN_FILE).write_text(json.dumps({"seed": 7}))
    other = dataclasses.replace(plan, dataset=DATA.head(1), methods=(NOISY,), strengths=(1.0,))
    started(other, tmp_path)
    assert read_plan(tmp_path)["seed"] == 0


def test_the_plan_says_everything(plan: Plan, tmp_path: Path) -> None:
    started(dataclasses.replace(plan, dataset=DATA.head(1)), tmp_path, command="latentedit bench run")
    told = read_plan(tmp_path)
    assert told["command"] == "latentedit bench run"
    assert (told["model"], told["model_fingerprint"]) == ("rendered-network", "rendered-network-1")
    assert told["network_dtype"] == "float32"
    assert told["data"] == {"name": "some", "version": "1", "items": 1, "fingerprint": DATA.head(1).fingerprint}
    assert [(one["name"], one["editor"], one["local"]) for one in told["methods"]] == [
        ("slide", "flowslider", True),
        ("noisy", "sdedit", False),
    ]
    assert told["methods"][1]["settings"] == NOISY.editor.to_dict()
    assert (told["strengths"], told["seed"]) == ([0.5, 1.0], 0)


def test_pictures_are_written_where_they_are_looked_for(plan: Plan, tmp_path: Path) -> None:
    small = dataclasses.replace(plan, dataset=DATA.head(2))
    table = started(small, tmp_path, pictures=True)
    files = sorted(str(path.relative_to(tmp_path / "pictures")) for path in (tmp_path / "pictures").rglob("*.png"))
    names = [item.id for item in small.dataset.items]
    assert files == sorted(f"{m}/{s}/{n}.png" for m in ("slide", "noisy") for s in ("0.5", "1") for n in names)
    row = next(
        row
        for row in table.to_dict("records")
        if (row["item"], row["method"], row["strength"]) == (names[0], "slide", 1)
    )
    with Image.open(tmp_path / "pictures" / "slide" / "1" / f"{names[0]}.png") as image:
        edited = np.asarray(image).astype(float)
    change = (edited - np.asarray(small.dataset.items[0].picture()).astype(float)) / 255
    assert row["changed_rms"] == pytest.approx(np.sqrt((change**2).mean()), rel=1e-5)


def test_pictures_of_the_first_items_are_kept_for_the_sheet(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At strength 1, whether all pictures are written or not; also those of a run that was stopped."""
    monkeypatch.setattr(run_module, "SHOWN_ITEMS", 1)
    small = dataclasses.replace(plan, dataset=DATA.head(2), methods=(SLIDER,))
    started(small, tmp_path, pictures=True)
    found = shown(small, tmp_path)
    assert list(found) == ["slide"]
    assert len(found["slide"]) == 1
    kept = found["slide"][0]
    assert kept is not None
    with Image.open(tmp_path / "pictures" / "slide" / "1" / f"{DATA.items[0].id}.png") as image:
        assert np.array_equal(np.asarray(kept), np.asarray(image))
    assert shown(small, tmp_path / "nowhere") == {"slide": [None]}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"methods": ()}, "got none"),
        ({"methods": (SLIDER, SLIDER)}, "each once; got slide, slide"),
        ({"strengths": (0.5, 2.0)}, "strengths with 1"),
        ({"strengths": (0.0, 1.0)}, "without 0"),
    ],
)
def test_wrong_plans_are_refused(plan: Plan, change: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        dataclasses.replace(plan, **change)


def test_a_folder_that_cannot_be_made(plan: Plan, read_only_folder: Path) -> None:
    with pytest.raises(OutputError, match="expected to be able to make the folder"):
        started(plan, read_only_folder / "run")


def test_a_folder_without_a_plan(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is none"):
        read_plan(tmp_path)
