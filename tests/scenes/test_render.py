"""Renders are reproducible, unaffected pixels are equal, and masks separate a change from its side effects."""

import dataclasses

import drjit
import numpy as np
import pytest

from latentedit_scenes.attributes import NONE, draw_split
from latentedit_scenes.domain import SCENES
from latentedit_scenes.masks import changed_pixels, coverage
from latentedit_scenes.parameters import NUMBERS, linear_color, parameters_of
from latentedit_scenes.render import render_array, scene, to_bytes

SIDE = 32
BALL = next(one for one in draw_split("train", 200, 4) if one.places() == ["middle"]).replace(
    middle_shape="ball", middle_size="large", middle_material="rubber", floor_texture="plain", floor_color="gray",
    wall_texture="plain", lamp_side="left", lamp_softness="hard", time="night", camera="high",
)  # fmt: skip
SCENE = next(one for one in draw_split("train", 60, 3) if one.left_shape == "ball" and one.places() == ["left"])


@pytest.mark.slow
def test_the_number_of_threads_does_not_change_the_image() -> None:
    first = render_array(parameters_of(SCENE), SIDE)
    threads = drjit.thread_count()
    drjit.set_thread_count(1 if threads > 1 else 2)
    try:
        assert np.array_equal(render_array(parameters_of(SCENE), SIDE), first)
    finally:
        drjit.set_thread_count(threads)
    assert first.shape == (SIDE, SIDE, 3)
    assert first.dtype == np.uint8


@pytest.mark.slow
def test_most_unaffected_pixels_are_equal() -> None:
    """Only single paths carry light of a ball on the left, which changes color, to the far right.

    With random numbers that are drawn in sequence the share would be that of two seeds, about a third.
    """
    one = SCENE.replace(lamp_side="right", lamp_softness="hard", left_material="rubber", left_size="small")
    before, after = (render_array(parameters_of(one.replace(left_color=color)), SIDE) for color in ("red", "blue"))
    same = (before == after).all(axis=2)[:, 3 * SIDE // 4 :]
    assert same.mean() > 0.75
    assert np.abs(before.astype(int) - after)[:, 3 * SIDE // 4 :].max() <= 6


def test_the_coverage_of_a_ball_is_that_of_its_cone_of_view() -> None:
    """A sphere at distance d covers the cone of half angle asin(r / d); its distance from the axis changes little."""
    one = parameters_of(SCENE.replace(left_size="large", camera="level"))
    ball = dataclasses.replace(one.solids["left"], x=0.0, y=0.0)
    centered = dataclasses.replace(one, solids={"middle": ball})
    room, height = NUMBERS["room"], NUMBERS["camera"]["level"]
    distance = np.hypot(np.sqrt(room["camera_distance"] ** 2 - height**2), height - ball.radius)
    half = np.tan(np.arcsin(ball.radius / distance)) / np.tan(np.radians(room["camera_field_of_view"] / 2))
    assert coverage(centered, {"middle"}, SIDE).mean() == pytest.approx(np.pi * half**2 / 4, rel=0.02)


@pytest.mark.parametrize("softness", ["hard", "soft", "diffuse"])
def test_the_light_of_a_lamp_does_not_depend_on_its_size(softness: str) -> None:
    """A ball of radiance L and radius r gives ``pi L r^2 / d^2`` at distance d."""
    parameters = parameters_of(SCENE.replace(lamp_softness=softness))
    lamp = scene(parameters, SIDE, 1)["lamp"]
    light = np.pi * np.array(lamp["emitter"]["radiance"]["value"]) * lamp["radius"] ** 2
    room = NUMBERS["room"]
    assert light / room["lamp_distance"] ** 2 == pytest.approx(room["lamp_power"] * np.array(parameters.lamp_color))


def test_a_cylinder_has_a_lid() -> None:
    description = scene(parameters_of(SCENE.replace(left_shape="cylinder")), SIDE, 1)
    side, lid = description["left_side"], np.array(description["left_lid"]["to_world"].matrix)
    assert lid[:, 3] == pytest.approx(np.array(side["to_world"].matrix) @ [*side["p1"], 1])
    assert np.abs(np.diag(lid)[:2]) == pytest.approx(side["radius"])


def test_bytes_are_srgb_without_clipping() -> None:
    """The middle of sRGB's range is 0.2159 of the light; highlights are not clipped, and the curve is monotone."""
    light = np.array([0.0, 0.2159, 0.5, 1.0, 4.0], dtype=np.float32)
    shown = to_bytes(light).tolist()
    assert shown[:2] == [0, 128]
    assert shown == sorted(shown)
    assert shown[3] < 255
    assert linear_color("#ff00bc") == pytest.approx((1, 0, 0.503), abs=0.001), "0xbc is about half of the light"


@pytest.mark.slow
def test_removing_an_object_removes_its_shadow() -> None:
    scenes = BALL, BALL.replace(middle_shape=NONE)
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


def test_light_changes_every_pixel_and_equal_scenes_none() -> None:
    """Floor, wall and object cover the image."""
    for change in ({"time": "day"}, {"lamp_side": "right"}, {"camera": "low"}):
        assert changed_pixels(parameters_of(BALL), parameters_of(BALL.replace(**change)), SIDE).all()
    assert not changed_pixels(parameters_of(BALL), parameters_of(BALL), SIDE).any()
    parts = [coverage(parameters_of(BALL), {name}, SIDE) for name in ("floor", "wall", "middle")]
    assert np.allclose(sum(parts), 1, atol=1e-5)
