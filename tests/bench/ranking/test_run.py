"""A plan says everything that decides its rows; a run gives every row, and never mixes with another plan's."""

import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from latentedit.api.runs.folder import TABLE
from latentedit.core.errors import ConfigError
from latentedit.editors.baselines.flowslider import FlowSlider
from latentedit_bench.ranking import run as run_module
from latentedit_bench.ranking.evaluate import CODEC
from latentedit_bench.ranking.plan import Plan
from latentedit_bench.ranking.run import run
from tests.bench.ranking.small_plan import DATA, NOISY, SLIDER, small_plan


@pytest.fixture
def plan() -> Plan:
    """Six items in three batches, by two methods."""
    return small_plan()


@pytest.mark.nightly
def test_every_item_method_and_strength_has_a_row(plan: Plan, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    table = run(plan, tmp_path / "new" / "run", command="it", progress=lambda *step: told.append(step))
    keys = [(row["item"], row["method"], row["strength"]) for row in table.to_dict("records")]
    names = [item.id for item in DATA.items]
    asked = {(name, method, strength) for name in names for method in ("slide", "noisy") for strength in (0.5, 1.0)}
    assert len(keys) == len(set(keys))
    assert set(keys) == asked | {(name, CODEC, 1.0) for name in names}
    assert told[:9] == [("bench", done, 9) for done in range(1, 10)]
    assert not (tmp_path / "new" / "run" / "pictures").exists()
    written = pd.read_csv(tmp_path / "new" / "run" / TABLE, float_precision="round_trip")
    pd.testing.assert_frame_equal(written, table, check_dtype=False)


@pytest.mark.slow
def test_every_seed_has_rows_of_its_own(tmp_path: Path) -> None:
    """One that draws noise differs from seed to seed, and the codec is measured once."""
    plan = small_plan(dataset=DATA.head(2), methods=(NOISY,), strengths=(1.0,), seeds=(1, 2))
    table = run(plan, tmp_path / "both", command="it")
    keys = [(row["method"], row["item"], row["seed"]) for row in table.to_dict("records")]
    names = [item.id for item in DATA.items[:2]]
    assert set(keys) == {("noisy", name, seed) for name in names for seed in (1, 2)} | {(CODEC, n, 0) for n in names}
    assert len(keys) == len(set(keys))
    noisy = table[table["method"] == "noisy"].set_index(["seed", "item"])["error"]
    assert (noisy[1] != noisy[2]).all()
    alone = run(dataclasses.replace(plan, seeds=(2,)), tmp_path / "one", command="it")
    assert alone[alone["method"] == "noisy"]["error"].tolist() == noisy[2].tolist()


@pytest.mark.nightly
def test_rows_do_not_depend_on_the_batches(plan: Plan, tmp_path: Path) -> None:
    """Noise is drawn for one latent. A latent that rounds otherwise may tip one of 49152 numbers by one of 255 levels:
    some 1e-5 of a change of tens of levels in hundreds of pixels."""
    small = run(plan, tmp_path / "small", command="it")
    large = run(dataclasses.replace(plan, batch=6), tmp_path / "large", command="it")
    pd.testing.assert_frame_equal(small, large, check_exact=False, rtol=1e-3, atol=1e-4)


def test_another_plan_or_pictures_of_a_run_without_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "run_work", lambda *_, **__: ())
    run(small_plan(), tmp_path, command="it")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    slower = dataclasses.replace(SLIDER, editor=FlowSlider(steps=4))
    changes: list[dict[str, Any]] = [
        {"seeds": (1,)},
        {"strengths": (1.0, 2.0)},
        {"dataset": DATA.head(4)},
        {"batch": 3},
    ]
    changes += [{"methods": (one, NOISY)} for one in (dataclasses.replace(SLIDER, local=False), slower)]
    for change in changes:
        named = {"dataset": "data"}.get(*change, *change)
        with pytest.raises(ConfigError, match=f"with other {named}. Name another folder"):
            run(small_plan(**change), tmp_path, command="other")
    with pytest.raises(ConfigError, match="begun without pictures, so its finished parts have none"):
        run(small_plan(), tmp_path, command="it", pictures=True)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_the_plan_says_everything() -> None:
    told = small_plan().spec
    assert (told["model"], told["model_fingerprint"]) == ("rendered-network", "rendered-network-1")
    assert told["network_dtype"] == "float32"
    assert told["data"] == {"name": "some", "version": "1", "items": 6, "fingerprint": DATA.fingerprint}
    methods = [(one["name"], one["editor"], one["local"]) for one in told["methods"]]
    assert methods == [("slide", "flowslider", True), ("noisy", "sdedit", False)]
    assert told["methods"][1]["settings"] == NOISY.editor.to_dict()
    assert (told["strengths"], told["seeds"], told["batch"]) == ([0.5, 1.0], [0], 2)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"methods": ()}, "methods are none"),
        ({"methods": (SLIDER, SLIDER)}, "'slide', 'slide'. Name one or more, each once"),
        ({"strengths": (0.5, 2.0)}, "with 1 among them"),
        ({"strengths": (0.0, 1.0)}, "without 0"),
        ({"batch": 0}, "batch of 0 items"),
        ({"seeds": ()}, "seeds are none"),
        ({"seeds": (1, 2, 1)}, "seeds are 1, 2, 1. Give one or more, each once"),
    ],
)
def test_wrong_plans_are_refused(change: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        small_plan(**change)
