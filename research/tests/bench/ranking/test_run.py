"""A plan stores all that decides its rows, units do not depend on one another, and a folder takes one plan."""

import dataclasses
import pickle
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from latentedit.batch import TABLE
from latentedit.core import ConfigError, ModelError
from latentedit.editors import FlowSlider, SDEdit
from latentedit_bench.data.counterfactual import counterfactual
from latentedit_bench.data.items import Dataset, Item, RgbFile
from latentedit_bench.ranking.evaluate import ANSWERS, Method
from latentedit_bench.ranking.plan import Plan
from latentedit_bench.ranking.run import SOURCE, TRUTH, BenchWork, preview_name, run_ranking
from research.tests.bench.rendered_network import RenderedNetwork, some_items

SLIDER = Method(name="slide", editor=FlowSlider(steps=3), local=True)
NOISY = Method(name="noisy", editor=SDEdit(level=0.5, steps=4, guidance=1.0))
DATA = Dataset(name="some", version="1", items=some_items()[:6])
ITEMS = some_items()[:3]


def small_plan(**more: Any) -> Plan:
    """Six items in three batches, by two methods at two strengths, on a model of its own."""
    plan: dict[str, Any] = {"dataset": DATA, "methods": (SLIDER, NOISY), "strengths": (0.5, 1.0), "batch": 2}
    return Plan(model=RenderedNetwork(reads=False), **plan | more)


def small_work(items: tuple[Item, ...] = ITEMS, *, images: bool = False, **more: Any) -> BenchWork:
    plan = small_plan(dataset=Dataset(name="some", version="1", items=items), **more)
    return BenchWork.of(plan, images=images)


@pytest.mark.slow
def test_every_item_method_strength_and_seed_has_one_row(tmp_path: Path) -> None:
    """Noise differs from seed to seed, and the codec is measured once."""
    plan = small_plan(dataset=DATA.head(2), strengths=(0.5, 1.0), seeds=(1, 2))
    steps: list[tuple[str, int, int]] = []
    table = run_ranking(plan, tmp_path / "new" / "run", command="it", progress=lambda *step: steps.append(step))
    rows = [(row["method"], row["item"], row["strength"], row["seed"]) for row in table.to_dict("records")]
    names = [item.id for item in DATA.items[:2]]
    assert sorted(rows) == sorted(
        [(m, name, s, seed) for m in ("slide", "noisy") for name in names for s in (0.5, 1.0) for seed in (1, 2)]
        + [(answer, name, 1.0, 0) for answer in ANSWERS for name in names]
    )
    assert steps[:5] == [("bench", done, 5) for done in range(1, 6)]
    assert not (tmp_path / "new" / "run" / "images").exists()
    written = pd.read_csv(tmp_path / "new" / "run" / TABLE, float_precision="round_trip")
    pd.testing.assert_frame_equal(written, table, check_dtype=False)
    noisy = table[table["method"] == "noisy"].set_index(["seed", "item", "strength"])["error"]
    assert (noisy[1] != noisy[2]).all()
    alone = run_ranking(dataclasses.replace(plan, seeds=(2,)), tmp_path / "one", command="it")
    assert alone[alone["method"] == "noisy"]["error"].tolist() == noisy[2].tolist()


@pytest.mark.nightly
def test_rows_do_not_depend_on_the_batches(tmp_path: Path) -> None:
    """Noise is drawn for one latent. A latent that rounds otherwise may tip one of 49152 numbers by one of 255 levels:
    some 1e-5 of a change of tens of levels in hundreds of pixels."""
    small, large = (run_ranking(small_plan(batch=batch), tmp_path / str(batch), command="it") for batch in (2, 6))
    pd.testing.assert_frame_equal(small, large, check_exact=False, rtol=1e-3, atol=1e-4)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    run_ranking(small_plan(), folder, command="it")
    return folder


@pytest.mark.slow_cases("change0-seeds", "change1-strengths")
@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seeds": (1,)}, "seeds"),
        ({"strengths": (1.0, 2.0)}, "strengths"),
        ({"dataset": DATA.head(4)}, "data"),
        ({"batch": 3}, "batch"),
        ({"methods": (dataclasses.replace(SLIDER, local=False), NOISY)}, "methods"),
        ({"methods": (dataclasses.replace(SLIDER, editor=FlowSlider(steps=4)), NOISY)}, "methods"),
    ],
)
def test_a_folder_takes_one_plan(finished: Path, change: dict[str, Any], named: str) -> None:
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match=named):
        run_ranking(small_plan(**change), finished, command="other")
    with pytest.raises(ConfigError):
        run_ranking(small_plan(), finished, command="it", images=True)
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"methods": ()}, "none"),
        ({"methods": (SLIDER, SLIDER)}, "'slide', 'slide'"),
        ({"strengths": (0.5, 2.0)}, r"0\.5, 2\.0"),
        ({"strengths": (0.0, 1.0)}, r"0\.0, 1\.0"),
        ({"seeds": ()}, "none"),
        ({"seeds": (1, 2, 1)}, "1, 2, 1"),
    ],
)
def test_wrong_plans_are_refused(change: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        small_plan(**change)


def test_units_go_by_batch_method_and_seed_and_sort_by_method() -> None:
    work, kinds = small_work(), ("000-{}-codec alone", "001-{}-slide", "002-{}-noisy")
    assert work.units == [kind.format(batch) for batch in ("000000", "000001") for kind in kinds]
    tasks = [work.task(unit) for unit in work.units]
    assert [(items, [one.name for one in methods]) for items, methods, _ in tasks] == [
        (items, names) for items in (ITEMS[:2], ITEMS[2:]) for names in ([], ["slide"], ["noisy"])
    ]
    names = [[one.name for one in work.task(unit)[1]] for unit in sorted(work.units)]
    assert names == [[], [], ["slide"], ["slide"], ["noisy"], ["noisy"]]
    work = small_work(ITEMS[:1], seeds=(3, 5))
    tasks = [work.task(unit) for unit in work.units]
    assert [([one.name for one in methods], seed) for _, methods, seed in tasks] == [
        ([], 0), (["slide"], 3), (["slide"], 5), (["noisy"], 3), (["noisy"], 5)
    ]  # fmt: skip


@pytest.mark.nightly
def test_methods_that_differ_in_locality_share_their_edits() -> None:
    """Each has the rows that it has alone, at the cost of one of them."""
    twin = dataclasses.replace(NOISY, name="noisy, local", local=True)
    both = small_work(methods=(NOISY, SLIDER, twin), batch=3)
    assert [unit.split("-", 2)[2] for unit in both.units] == ["codec alone", "noisy", "slide"]
    done = both.start()(both.task(both.units[1]))
    assert done.about["method"] == "noisy / noisy, local"
    alone = [small_work(methods=(one,), batch=3) for one in (NOISY, twin)]
    found = [work.start()(work.task(work.units[1])) for work in alone]
    assert done.rows == [row for one in found for row in one.rows]
    assert done.rows[0]["changed_rms"] != done.rows[6]["changed_rms"], "one of them is kept local"
    assert done.about["evaluations"] == found[0].about["evaluations"] == found[1].about["evaluations"]
    assert set(done.files) == {name for one in found for name in one.files}


@pytest.mark.nightly
def test_a_unit_gives_the_same_alone_as_among_others() -> None:
    """Latents cache results, which must not depend on the method that ran before."""
    work = small_work()
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


def test_previews_and_wanted_images_are_files_of_their_unit() -> None:
    work = small_work(images=True)
    measure, names = work.start(), [item.id for item in ITEMS[:2]]
    codec, slide = (measure(work.task(unit)) for unit in work.units[:2])
    assert list(codec.files) == [preview_name(kind, name) for kind in (SOURCE, TRUTH) for name in names]
    images = {f"images/slide/{strength}/{name}.png" for strength in ("0.5", "1") for name in names}
    assert set(slide.files) == images | {preview_name("slide", name) for name in names}
    source = np.asarray(ITEMS[0].image()).astype(float)
    preview, edited = (
        np.asarray(Image.open(BytesIO(content)).convert("RGB")).astype(float)
        for content in (codec.files[preview_name(SOURCE, names[0])], slide.files[f"images/slide/1/{names[0]}.png"])
    )
    assert np.sqrt(((preview - source) ** 2).mean()) < 12, "a lossy copy of this image"
    row = next(row for row in slide.rows if (row["item"], row["strength"]) == (names[0], 1))
    assert row["changed_rms"] == pytest.approx(np.sqrt(((edited - source) ** 2).mean()) / 255, rel=1e-5)


def test_an_item_whose_image_is_deleted_during_the_run_fails_alone(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    ITEMS[1].image().save(path)
    items = (ITEMS[0], dataclasses.replace(ITEMS[1], image=RgbFile(path)))
    work = small_work(items)
    path.unlink()
    for unit in work.units:
        done = work.start()(work.task(unit))
        assert {row["item"] for row in done.rows} == {ITEMS[0].id}, "of a batch of two"
        assert [(one.item, one.what) for one in done.failures] == [(ITEMS[1].id, unit.split("-")[2])]
        assert "there is no such file" in done.failures[0].why


@pytest.mark.nightly
def test_carried_tasks_need_no_disk(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    ITEMS[0].image().save(path)
    rendered = counterfactual("portraits", "test").items[1]
    work = small_work((dataclasses.replace(rendered, image=RgbFile(path)),))
    unit = "001-000000-slide"
    before = work.start()(work.task(unit))
    packed = pickle.dumps(work.task(unit))
    path.unlink()
    done = work.start()(pickle.loads(packed))
    assert (done.rows, done.failures) == (before.rows, [])


def test_failed_parts_are_repeated_on_request_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ConfigError("closed. Wait")

    plan = small_plan(dataset=DATA.head(1), methods=(SLIDER,), strengths=(1.0,))
    with monkeypatch.context() as patched:
        patched.setattr(FlowSlider, "edit", refuse)
        first = run_ranking(plan, tmp_path, command="it")
    tables = [first, *(run_ranking(plan, tmp_path, command="it", **more) for more in ({}, {"retry": True}))]
    assert ["slide" in set(table["method"]) for table in tables] == [False, False, True]


def test_another_model_is_refused() -> None:
    work = dataclasses.replace(small_work(), spec={**small_work().spec, "model_fingerprint": "other"})
    with pytest.raises(ModelError):
        work.start()
