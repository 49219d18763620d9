"""The scenes keep the laws of a domain, and are a data set and an open task through it."""

import dataclasses
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentedit.api.manifests.items import Item
from latentedit_bench.data.counterfactual import SIZES, Rendered, side_effects
from latentedit_bench.data.loading import load_dataset
from latentedit_bench.domains.base import Domain, differences, domain, full_caption, scalable, with_value
from latentedit_bench.open_task.scoring import score_item
from latentedit_bench.open_task.task import TaskItem, TaskSpec, task_items, write_task
from latentedit_scenes.attributes import NONE, PART_OF
from latentedit_scenes.captions import MAX_TOKENS, parse
from latentedit_scenes.domain import SCENES
from latentedit_scenes.masks import changed_pixels
from latentedit_scenes.parameters import parameters_of

pytestmark = pytest.mark.slow

WORLD = domain("scenes")


def test_it_is_found_by_its_name() -> None:
    assert WORLD is SCENES
    assert scalable("scenes") is SCENES
    assert isinstance(WORLD, Domain)


def test_changes_are_what_was_asked_for() -> None:
    for scene in SCENES.draw("test", 20, 1):
        for name, values in SCENES.alternatives(scene).items():
            for value in values:
                changed = SCENES.change(scene, {name: value})
                assert SCENES.attributes(changed)[name] == value
                own = {other for other, part in PART_OF.items() if part == name}
                beside = own if NONE in (value, getattr(scene, name)) else set[str]()
                assert {name} <= set(differences(WORLD, scene, changed)) <= {name} | beside
                old, new = (SCENES.phrases(one) for one in (scene, changed))
                assert sum(a != b for a, b in zip(old, new, strict=True)) == 1


def test_plain_changes_take_equally_many_words() -> None:
    scene = SCENES.draw("test", 1, 2)[0]
    for name, pair in SCENES.plain_changes.items():
        said = [SCENES.words(full_caption(WORLD, with_value(WORLD, scene, name, value))) for value in pair]
        assert len(said[0]) == len(said[1])
        assert sum(a != b for a, b in zip(*said, strict=True)) == 1


@pytest.mark.nightly
@pytest.mark.parametrize("captions", ["full", "wrong"])
def test_scenes_are_a_data_set(captions: str) -> None:
    data = load_dataset("counterfactual-scenes", split="calibration", captions=captions)
    assert len(data.items) == SIZES["calibration"]
    assert {item.kind for item in data.items} == {"single", "pair", "triple", "graded", "nothing", "contradiction"}
    for item in data.items:
        assert len(SCENES.words(item.target_caption)) + 2 <= MAX_TOKENS
        stated = parse(item.target_caption).attributes()
        asked = set(filter(None, item.about["asked"].split(",")))
        assert asked <= stated.keys()


@pytest.mark.nightly
def test_strangers_can_enter(tmp_path: Path) -> None:
    """At the smallest size; the answer to the first item is another picture, and its mask lies where they differ."""
    spec = TaskSpec.of("scenes", size=64, items=1)
    items = task_items(spec)
    assert items[0].instruction.endswith("Keep everything else exactly as it is.")
    write_task(spec, items, tmp_path)
    picture, answer = items[0].whole.picture(), items[0].answers[1.0]()
    assert picture.size == answer.size == (64, 64)
    assert not np.array_equal(np.asarray(picture), np.asarray(answer))
    card = (tmp_path / "README.md").read_text("utf-8")
    assert "pip install ./packages/keep . ./packages/bench ./packages/scenes" in card
    assert "Mitsuba 3 (BSD-3-Clause" in card


@pytest.mark.nightly
def test_a_shadow_that_stays_behind_is_told(tmp_path: Path) -> None:
    """The right answer, the same where only the shadow is left as it was, and no edit."""
    scene = next(one for one in SCENES.draw("test", 30, 4) if "left" in one.places() and one.lamp_softness == "hard")
    scene = scene.replace(left_size="large", floor_texture="plain", lamp_side="left", time="day")
    source, truth = (Rendered(one, "scenes", 64) for one in (scene, scene.replace(left_shape=NONE)))
    whole = Item(id="0", picture=source, truth=truth, source_caption="a", target_caption="b")
    where = side_effects(whole)
    assert where is not None
    before, after = (np.asarray(one()) for one in (source, truth))
    itself = changed_pixels(parameters_of(source.scene), parameters_of(truth.scene), 64)
    assert where.sum() > 30
    assert not (where & itself).any()
    item = TaskItem(whole=whole, instruction="", answers={1.0: truth})
    for folder in ("images", "outputs"):
        (tmp_path / folder).mkdir()
    source().save(tmp_path / item.picture_file)
    found = list[float]()
    for made in (after, np.where(where[..., None], before, after), before):
        Image.fromarray(made).save(tmp_path / item.output_file(1.0))
        found.append(score_item(item, tmp_path, keep=False)[0]["side_effect"])
    assert found == [1, 0, 0]
    nobody = dataclasses.replace(whole, truth=Rendered(scene.replace(time="night"), "scenes", 64))
    assert not side_effects(nobody).any(), "a change of light is everywhere, and has no other place"


def test_only_its_own_model_is_given_its_pictures() -> None:
    assert SCENES.pictures("portraits", 1, 0) is None
    assert SCENES.paraphrase(SCENES.draw("test", 1, 0)[0], random.Random(0)).count(",") == 7
