"""A plan says everything that decides its rows; units give the same alone; a run never mixes with another one."""

import dataclasses
import pickle
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from latentedit.batch.folder import TABLE, UnitResult
from latentedit.core.errors import ConfigError, ModelError
from latentedit.editors import FlowSlider
from latentedit_bench.data.counterfactual import counterfactual
from latentedit_bench.data.items import Dataset, Item, PictureFile
from latentedit_bench.ranking import run as run_module
from latentedit_bench.ranking.evaluate import CODEC, Method
from latentedit_bench.ranking.plan import Plan
from latentedit_bench.ranking.run import SOURCE, TRUTH, BenchWork, preview_name, run
from tests.bench.ranking.small_plan import DATA, NOISY, SLIDER, small_plan
from tests.bench.rendered_network import some_items


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
        ({"batch": 0}, "`batch` must be 1 or more; got 0"),
        ({"seeds": ()}, "seeds are none"),
        ({"seeds": (1, 2, 1)}, "seeds are 1, 2, 1. Give one or more, each once"),
    ],
)
def test_wrong_plans_are_refused(change: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        small_plan(**change)


ITEMS = some_items()[:3]


def cut(items: tuple[Item, ...] = ITEMS, **more: Any) -> BenchWork:
    return BenchWork.of(small_plan(dataset=Dataset(name="some", version="1", items=items)), **more)


def test_work_goes_by_batch_and_the_table_by_method() -> None:
    work, kinds = cut(), ("000-{}-codec alone", "001-{}-slide", "002-{}-noisy")
    assert work.units == [kind.format(batch) for batch in ("000000", "000001") for kind in kinds]
    tasks = [work.task(unit) for unit in work.units]
    assert [(tuple(item.id for item in items), [one.name for one in methods]) for items, methods, _ in tasks] == [
        (tuple(item.id for item in items), names)
        for items in (ITEMS[:2], ITEMS[2:])
        for names in ([], ["slide"], ["noisy"])
    ]
    names = [[one.name for one in work.task(unit)[1]] for unit in sorted(work.units)]
    assert names == [[], [], ["slide"], ["slide"], ["noisy"], ["noisy"]]


def test_units_of_several_seeds() -> None:
    work = BenchWork.of(small_plan(seeds=(3, 5), dataset=Dataset(name="some", version="1", items=ITEMS[:1])))
    told = [([one.name for one in methods], seed) for _, methods, seed in map(work.task, work.units)]
    assert told == [([], 0), (["slide"], 3), (["slide"], 5), (["noisy"], 3), (["noisy"], 5)]
    assert len(set(work.units)) == 5


@pytest.mark.nightly
def test_methods_that_differ_in_locality_share_their_edits() -> None:
    """What each comes to is what it comes to alone, at the cost of one of them."""
    twin = dataclasses.replace(NOISY, name="noisy, local", local=True)
    both = BenchWork.of(small_plan(methods=(NOISY, SLIDER, twin), batch=3, dataset=DATA.head(3)))
    assert [unit.split("-", 2)[2] for unit in both.units] == ["codec alone", "noisy", "slide"]
    done = both.start()(both.task(both.units[1]))
    assert done.about["method"] == "noisy / noisy, local"
    alone = [BenchWork.of(small_plan(methods=(one,), batch=3, dataset=DATA.head(3))) for one in (NOISY, twin)]
    found = [work.start()(work.task(work.units[1])) for work in alone]
    assert done.rows == [row for one in found for row in one.rows]
    assert done.rows[0]["changed_rms"] != done.rows[6]["changed_rms"], "one of them is kept local"
    assert done.about["evaluations"] == found[0].about["evaluations"] == found[1].about["evaluations"]
    assert set(done.files) == {name for one in found for name in one.files}


@pytest.mark.nightly
def test_a_unit_gives_the_same_alone_as_among_others() -> None:
    """Latents remember what was found out about them: a method must not see what another left there."""
    work = cut()
    measure = work.start()
    together = {unit: measure(work.task(unit)) for unit in work.units}
    for unit in ("002-000000-noisy", "001-000001-slide"):
        assert together[unit].rows == work.start()(work.task(unit)).rows
    done = together["001-000000-slide"]
    assert {(row["item"], row["strength"]) for row in done.rows} == {(i.id, s) for i in ITEMS[:2] for s in (0.5, 1.0)}
    assert all("seconds" not in row for row in done.rows)
    assert done.about["edit_seconds"] > 0
    assert done.about["evaluations"] > 0
    assert (done.about["method"], done.about["items"]) == ("slide", 2)


def test_small_pictures_are_kept_of_everything() -> None:
    work = cut()
    measure = work.start()
    codec, slide = (measure(work.task(unit)) for unit in work.units[:2])
    names = [item.id for item in ITEMS[:2]]
    assert list(codec.files) == [preview_name(kind, name) for kind in (SOURCE, TRUTH) for name in names]
    assert list(slide.files) == [preview_name("slide", name) for name in names]
    with Image.open(BytesIO(codec.files[preview_name(SOURCE, names[0])])) as image:
        shown = np.asarray(image.convert("RGB")).astype(float)
    difference = shown - np.asarray(ITEMS[0].picture()).astype(float)
    assert np.sqrt((difference**2).mean()) < 12, "a lossy copy, but of this picture"


def test_wanted_pictures_are_whole() -> None:
    work = cut(pictures=True)
    done = work.start()(work.task("001-000000-slide"))
    place = f"pictures/slide/1/{ITEMS[0].id}.png"
    assert place in done.files
    assert f"pictures/slide/0.5/{ITEMS[1].id}.png" in done.files
    row = next(row for row in done.rows if (row["item"], row["strength"]) == (ITEMS[0].id, 1))
    with Image.open(BytesIO(done.files[place])) as image:
        change = (np.asarray(image).astype(float) - np.asarray(ITEMS[0].picture()).astype(float)) / 255
    assert row["changed_rms"] == pytest.approx(np.sqrt((change**2).mean()), rel=1e-5)


def test_a_picture_that_went_away_fails_alone(tmp_path: Path) -> None:
    """It is there when the plan is cut, and not when it is its turn."""
    path = tmp_path / "picture.png"
    ITEMS[1].picture().save(path)
    items = (ITEMS[0], dataclasses.replace(ITEMS[1], picture=PictureFile(path)))
    work = cut(items)
    path.unlink()
    for unit in work.units:
        done = work.start()(work.task(unit))
        assert {row["item"] for row in done.rows} == {ITEMS[0].id}
        assert [(one.item, one.what) for one in done.failures] == [(ITEMS[1].id, unit.split("-")[2])]
        assert "there is no such file" in done.failures[0].why
        assert "\n" not in done.failures[0].why


@pytest.mark.slow
def test_an_edit_that_the_model_refuses_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    real = run_module.evaluate

    def refusing(method: Method, batch: Any, *rest: Any, **more: Any) -> Any:
        if any(item.id == ITEMS[0].id for item in batch.items):
            raise ModelError("expected finite numbers;\n got others")
        return real(method, batch, *rest, **more)

    work = cut()
    whole = work.start()(work.task("001-000000-slide"))
    monkeypatch.setattr(run_module, "evaluate", refusing)
    done = work.start()(work.task("001-000000-slide"))
    assert [one.why for one in done.failures] == ["expected finite numbers; got others"]
    assert [row["item"] for row in done.rows] == [ITEMS[1].id] * 2
    kept = [row for row in whole.rows if row["item"] == ITEMS[1].id]
    pd.testing.assert_frame_equal(pd.DataFrame(done.rows), pd.DataFrame(kept), rtol=1e-3, atol=1e-4)  # rounding


@pytest.mark.nightly
def test_carried_tasks_need_no_disk(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    ITEMS[0].picture().save(path)
    rendered = counterfactual("portraits", "test").items[1]
    work = cut((dataclasses.replace(rendered, picture=PictureFile(path)),))
    unit = "001-000000-slide"
    before = work.start()(work.task(unit))
    packed = pickle.dumps(work.task(unit))
    path.unlink()
    done: UnitResult = work.start()(pickle.loads(packed))
    assert (done.rows, done.failures) == (before.rows, [])


def test_another_model_is_refused() -> None:
    work = dataclasses.replace(cut(), spec={**cut().spec, "model_fingerprint": "other"})
    with pytest.raises(ModelError, match="the fingerprint rendered-network-1, this run"):
        work.start()
