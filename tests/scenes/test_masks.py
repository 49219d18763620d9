"""Masks tell what was changed from what the change does to the rest."""

import numpy as np
import pytest

from latentedit_scenes.attributes import NONE, draw_split
from latentedit_scenes.domain import SCENES
from latentedit_scenes.masks import changed_pixels, coverage
from latentedit_scenes.parameters import parameters_of

SIDE = 32
SCENE = next(one for one in draw_split("train", 200, 4) if one.places() == ["middle"]).replace(
    middle_shape="ball", middle_size="large", middle_material="rubber", floor_texture="plain", floor_color="gray",
    wall_texture="plain", lamp_side="left", lamp_softness="hard", time="night", camera="high",
)  # fmt: skip


@pytest.mark.slow
def test_taking_an_object_away_takes_its_shadow() -> None:
    scenes = SCENE, SCENE.replace(middle_shape=NONE)
    before, after = map(parameters_of, scenes)
    change, seen = changed_pixels(before, after, SIDE), coverage(before, {"middle"}, SIDE)
    effects = SCENES.side_effects(*scenes, *(SCENES.render_at(scene, SIDE) for scene in scenes))
    assert np.array_equal(change, seen > 0)
    assert np.array_equal(changed_pixels(after, before, SIDE), seen > 0)
    assert 0.02 < seen.mean() < 0.2
    assert not (change & effects).any()
    assert effects.mean() > 0.01
    columns = np.flatnonzero(effects.any(axis=0))
    assert columns.mean() > np.flatnonzero(change.any(axis=0)).mean() + 1, "the lamp is on the left"


def test_light_has_no_place_of_its_own() -> None:
    for change in ({"time": "day"}, {"lamp_side": "right"}, {"camera": "low"}):
        assert changed_pixels(parameters_of(SCENE), parameters_of(SCENE.replace(**change)), SIDE).all()


def test_floor_and_wall_and_objects_share_the_picture() -> None:
    parts = [coverage(parameters_of(SCENE), {name}, SIDE) for name in ("floor", "wall", "middle")]
    assert np.allclose(sum(parts), 1, atol=1e-5)


def test_nothing_changes_nothing() -> None:
    assert not changed_pixels(parameters_of(SCENE), parameters_of(SCENE), SIDE).any()
