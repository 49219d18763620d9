"""Batches of images as units of a run: the same results as the verbs, in any process; failures are left out."""

import dataclasses
import functools
import json
import pickle
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentedit.batch.edits import KIND, EditJob, EditWork, bisect_failures, images_in, stems_of, unique_names
from latentedit.batch.executors import run_work
from latentedit.batch.folder import RunFolder, UnitResult
from latentedit.core.errors import ConfigError, LatentEditWarning, ModelError
from latentedit.editing import verbs
from latentedit.editing.request import EditRequest
from latentedit.encoding.encode import encode
from latentedit.encoding.images import SourceImage
from latentedit.models.base import Backbone
from latentedit.models.registry import load as load_model
from latentedit.testing.miniature import miniature_sd3
from tests.commands import FROM, TO
from tests.editors.edits import noise


@pytest.fixture(scope="module")
def model(miniature: Path) -> Backbone:
    return load_model(miniature, device="cpu")


@pytest.fixture
def images(tmp_path: Path) -> list[EditJob]:
    """Two sizes; the last image is partly transparent."""
    found: list[EditJob] = []
    for name, size, mode in (("a", (56, 40), "RGB"), ("b", (64, 64), "RGB"), ("c", (56, 40), "RGBA")):
        path = tmp_path / f"{name}.png"
        noise(size, mode, len(found)).save(path)
        found.append(EditJob(id=path.name, path=path, name=name, caption=FROM, target=TO))
    return found


def cut(
    model: Backbone, images: list[EditJob], wanted: EditRequest | None = None, *, batch: int = 2, **more: Any
) -> EditWork:
    return dataclasses.replace(EditWork.of(model, images, wanted or EditRequest(), batch=batch), **more)


def elsewhere(folder: Path) -> functools.partial[Backbone]:
    """A function that loads the model in a worker."""
    return functools.partial(load_model, folder, device="cpu")


def done(work: EditWork, place: int) -> UnitResult:
    return work.start()(work.task(work.units[place]))


def imaged(made: UnitResult) -> dict[str, bytes]:
    """The files without JSON, which contains seconds."""
    return {name: content for name, content in made.files.items() if name.endswith(".png")}


@pytest.mark.nightly
def test_units_are_batches_in_the_order_of_the_images(model: Backbone, images: list[EditJob]) -> None:
    work = cut(model, images)
    assert [unit.rpartition("-")[0] for unit in work.units] == ["a", "c"]
    assert [[one.id for one in work.task(unit)] for unit in work.units] == [["a.png", "b.png"], ["c.png"]]
    again = cut(model, list(images))
    before = work.units
    assert (again.spec, again.units) == (work.spec, before)
    images[2].path.write_bytes(images[1].path.read_bytes())
    after = cut(model, images).units
    assert after[0] == before[0]
    assert after[1] != before[1]
    assert cut(model, images[:2]).units == before[:1]


def test_the_plan_contains_everything_that_determines_the_rows(model: Backbone, images: list[EditJob]) -> None:
    spec = cut(model, images).spec
    direction = verbs.identify(encode(model, images[0].path, source_prompt=FROM), prompt=TO)
    values: dict[str, Any] = {
        "change": ("=> a smile",),
        "direction": (direction,),
        "references": (images[0].path,),
        "strength": (0.5,),
        "seed": 1,
        "auto_mask": False,
        "combine": "inverse",
        "refine": True,
        "complete": False,
        "force": False,
        "captioner": "a captioner",
        "prompt": "a man",
    }
    others = {name: cut(model, images, EditRequest(**{name: value})).spec for name, value in values.items()}
    others["batch"] = cut(model, images, batch=3).spec
    for name, other in others.items():
        assert [key for key in spec if spec[key] != other[key]] == [name]
    images.append(dataclasses.replace(images[0], caption=None))
    with pytest.raises(ConfigError):
        cut(model, images)
    assert len(cut(model, images, EditRequest(captioner="of the request")).units) == 2


@pytest.mark.nightly
def test_a_unit_has_the_results_of_the_verbs(model: Backbone, images: list[EditJob], tmp_path: Path) -> None:
    made = done(cut(model, images), 0)
    results = verbs.edit(model, [one.path for one in images[:2]], prompt=TO, source_prompt=FROM)
    place = tmp_path / "other name.png"
    for one, result, row in zip(images, results, made.rows, strict=False):
        result.save(place)
        assert made.files[f"images/{one.name}.edited.png"] == place.read_bytes()
        temporary = json.loads(made.files[f"images/{one.name}.edited.json"])
        assert temporary["record"] == json.loads(result.record.to_json())
        assert [row[name] for name in ("id", "image", "target_caption")] == [one.id, one.path.name, TO]
        assert [row[name] for name in ("verdict", "evaluations")] == [result.verdict.word, result.cost.evaluations]
        assert row["rest_psnr_db"] == result.effect.rest_psnr_db
    assert (made.about["items"], len(made.failures)) == (2, 0)
    assert made.about["edit_seconds"] > 0
    assert made.about["evaluations"] >= sum(row["evaluations"] for row in made.rows)


@pytest.mark.nightly
@pytest.mark.parametrize("what", ["to", "change", "direction"])
def test_a_worker_in_another_process_makes_the_same_results(
    model: Backbone, miniature: Path, images: list[EditJob], what: str
) -> None:
    """The worker has its own model and no access to the image files."""
    wanted = EditRequest(change=("no glasses => glasses", "=> a smile")) if what == "change" else EditRequest()
    if what == "direction":
        wanted = EditRequest(direction=(verbs.identify(encode(model, images[2].path, source_prompt=FROM), prompt=TO),))
    images = images if what == "to" else [dataclasses.replace(one, target=None) for one in images]
    work: EditWork = pickle.loads(pickle.dumps(cut(model, images, wanted, load=elsewhere(miniature))))
    carried = work.task(work.units[0])
    here = done(cut(model, images, wanted), 0)
    for one in images:
        one.path.unlink()
    there = work.start()(pickle.loads(pickle.dumps(carried)))
    assert (there.rows, imaged(there), there.failures) == (here.rows, imaged(here), here.failures)
    assert len(there.failures) == (what == "direction"), "the direction fits images of its shape only"
    assert there.rows[0]["target_caption"] == (TO if what != "change" else f"{TO}, a smile")


@pytest.mark.nightly
def test_one_failure_does_not_affect_the_rest_of_the_batch(model: Backbone, images: list[EditJob]) -> None:
    """A damaged file and a caption without the change's words, in one batch with others."""
    wanted = EditRequest(change=("no glasses => glasses",))
    captions = (FROM, "a person with a beard", FROM)
    images = [dataclasses.replace(p, caption=c, target=None) for p, c in zip(images, captions, strict=True)]
    damaged = dataclasses.replace(images[0], id="d.png", path=images[0].path.with_name("d.png"), name="d")
    damaged.path.write_bytes(images[0].path.read_bytes()[:200])
    made = done(cut(model, [damaged, *images], wanted, batch=4), 0)
    assert [row["id"] for row in made.rows] == ["a.png", "c.png"]
    assert sorted(imaged(made)) == ["images/a.edited.png", "images/c.edited.png"]
    assert [(one.item, one.what) for one in made.failures] == [("d.png", "eim"), ("b.png", "eim")]
    assert "damaged or cut short" in made.failures[0].why
    assert "'no glasses', the OLD of `change`" in made.failures[1].why
    alone = done(cut(model, images[:1], wanted), 0)
    pd.testing.assert_frame_equal(pd.DataFrame(made.rows[:1]), pd.DataFrame(alone.rows), rtol=1e-3)  # rounding


def test_unknown_images_raise_no_warning(
    model: Backbone, images: list[EditJob], unknown_images: Callable[..., object]
) -> None:
    """Their rows state it."""
    unknown_images()
    work = cut(model, images[:1], EditRequest(method="sdedit", strength=(0.1,), force=True))
    with warnings.catch_warnings():
        warnings.simplefilter("error", LatentEditWarning)
        made = done(work, 0)
    assert ([row["knowledge"] for row in made.rows], made.failures) == (["unknown"], [])


@pytest.mark.slow
def test_a_run_has_its_rows_in_order(model: Backbone, images: list[EditJob], tmp_path: Path) -> None:
    work = cut(model, images, EditRequest(method="sdedit", strength=(0.0,)), batch=1)
    run = RunFolder.start(tmp_path / "run", work.spec, kind=KIND, units=work.units, command="edit", request={})
    run_work(run, work)
    rows = run.write_table()
    assert [row["id"] for row in rows] == ["a.png", "b.png", "c.png"]
    assert {(row["verdict"], row["share"]) for row in rows} == {("not done", 0.0)}
    assert {row["rest_psnr_db"] for row in rows} == {None}, "infinite where nothing changed"
    for one, row in zip(images, rows, strict=True):
        assert SourceImage.open(run.path / row["output"]).fingerprint == SourceImage.open(one.path).fingerprint


@pytest.mark.nightly
def test_directions_and_workers_of_another_model_are_rejected(
    model: Backbone, miniature: Path, images: list[EditJob], tmp_path: Path
) -> None:
    other = load_model(miniature_sd3(tmp_path / "other", t5=False, seed=1), device="cpu")
    direction = verbs.identify(encode(other, images[0].path, source_prompt=FROM), prompt=TO)
    with pytest.raises(ConfigError):
        cut(model, images, EditRequest(direction=(direction,)))
    with pytest.raises(ModelError):
        cut(other, images, load=elsewhere(miniature)).start()


def test_images_are_found_by_their_extensions(tmp_path: Path) -> None:
    """Any content, and also broken links: opening them reports the error."""
    for name in ("b.PNG", "a.jpg", "c.webp", "d.txt", ".e.png", "f", "g.ppm", "h.eps"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "z.tiff").symlink_to(tmp_path / "nowhere.tiff")
    with pytest.warns(UserWarning, match=r": d\.txt, f, h\.eps$"):
        found = images_in(tmp_path)
    assert [path.name for path in found] == ["a.jpg", "b.PNG", "c.webp", "g.ppm", "z.tiff"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError):
        images_in(tmp_path / "empty")
    for name in ("i.AVIF", "j.dng", ".k.avif"):
        (tmp_path / name).write_bytes(b"")
    with pytest.warns(UserWarning, match=r": d\.txt, f, h\.eps, j\.dng$") as report:
        assert len(images_in(tmp_path)) == 6
    assert len(report) == 1


def test_edited_images_are_named_after_their_sources() -> None:
    def named(*names: str) -> list[str]:
        return stems_of([Path(name) for name in names])

    assert named("x/me.png", "x/you.JPG", "x/M\u00fcller 2.webp") == ["me", "you", "M\u00fcller 2"]
    assert named("a.jpg", "a.png", "b.png") == ["a.jpg", "a.png", "b"]
    assert named("a.jpg", "A.png") == ["a.jpg", "A.png"], "equal on a case-insensitive file system"
    assert named("a.png.jpg", "a.png", "a.gif") == ["a.png", "a.png (2)", "a.gif"], (
        "equal to another's full name by chance"
    )
    assert unique_names(["1", "a/b", "a", "A", "a"]) == ["1", "a%2Fb", "a", "A (2)", "a (3)"]
    assert unique_names(["a\u0308", "\u00e4"]) == ["a\u0308", "\u00e4 (2)"], "two encodings of an accent"


@given(st.lists(st.text(min_size=1, max_size=60).filter(lambda name: "/" not in name and "\0" not in name), max_size=4))
def test_names_are_unique_and_short_enough(texts: list[str]) -> None:
    for names in (stems_of([Path(text) for text in texts if Path(text).name]), unique_names(texts)):
        assert len({name.casefold() for name in names}) == len(names)
        for name in names:
            assert len(f"{name}.edited.json".encode()) <= 255


def test_a_job_carries_the_bytes_of_its_file(model: Backbone, images: list[EditJob]) -> None:
    """Including transparency; an unreadable file fails when it is edited."""
    work = cut(model, [*images, dataclasses.replace(images[0], path=Path("no.png"), name="no")], batch=4)
    *whole, missing = work.task(work.units[0])
    assert [job.content for job in whole] == [job.path.read_bytes() for job in images]
    assert missing.content is None


def test_failures_are_isolated_by_bisection() -> None:
    """All others are computed in batches as large as possible, in order."""
    parts: list[tuple[int, ...]] = []

    def together(some: Sequence[int]) -> list[int]:
        if 5 in some:
            raise ConfigError("no five")
        parts.append(tuple(some))
        return list(some)

    found = bisect_failures(range(8), together, lambda number, error: [-number])
    assert found == [[0, 1, 2, 3], [4], [-5], [6, 7]]
    assert parts == [(0, 1, 2, 3), (4,), (6, 7)]
    with pytest.raises(ZeroDivisionError):
        bisect_failures([1, 0], lambda some: [1 / number for number in some], lambda number, error: [0.0])
