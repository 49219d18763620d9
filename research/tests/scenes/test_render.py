"""Renders are reproducible, unaffected pixels are equal, and masks separate a change from its side effects."""

import dataclasses

import drjit
import numpy as np
import pytest
from scipy.spatial import ConvexHull

from latentedit_scenes.attributes import NONE, draw_split
from latentedit_scenes.domain import SCENES
from latentedit_scenes.masks import changed_pixels, coverage
from latentedit_scenes.parameters import NUMBERS, linear_color, parameters_of
from latentedit_scenes.render import _despeckled, render_array, scene, to_bytes, tracer

SIDE = 32
BALL = next(one for one in draw_split("train", 200, 4) if one.places() == ["middle"]).replace(
    middle_shape="ball", middle_size="large", middle_material="rubber", floor_texture="plain", floor_color="gray",
    wall_texture="plain", lamp_side="left", lamp_softness="hard", time="night", camera="high",
)  # fmt: skip
SCENE = next(one for one in draw_split("train", 60, 3) if one.left_shape == "ball" and one.places() == ["left"])


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


def test_the_wall_stands_on_the_floor_and_both_are_40_wide() -> None:
    described, back = scene(parameters_of(SCENE), SIDE, 1), NUMBERS["room"]["wall_y"]
    corners = np.array([[-1, -1, 0, 1], [1, -1, 0, 1], [1, 1, 0, 1], [-1, 1, 0, 1]]).T
    for name, ends in (("floor", ((back - 40, 0), (back, 0))), ("wall", ((back, 0), (back, 40)))):
        found = (np.array(described[name]["to_world"].matrix) @ corners)[:3].T
        (front, low), (far, high) = ends
        expected = [(-20, front, low), (20, front, low), (20, far, high), (-20, far, high)]
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_facets_of_a_cone_are_equal() -> None:
    cone = scene(parameters_of(SCENE.replace(left_shape="cone")), SIDE, 1)["left_cone"]
    foot = np.array(drjit.ravel(tracer().traverse(cone)["vertex_positions"])).reshape(-1, 3)[: cone.vertex_count() // 2]
    widths = np.linalg.norm(foot - np.roll(foot, 1, axis=0), axis=1)
    np.testing.assert_allclose(widths, widths[0], rtol=1e-4)


def test_bytes_are_srgb_without_clipping() -> None:
    """The middle of sRGB's range is 0.2159 of the light; highlights are not clipped, and the curve is monotone."""
    light = np.array([0.0, 0.2159, 0.5, 1.0, 4.0], dtype=np.float32)
    shown = to_bytes(light).tolist()
    assert shown[:2] == [0, 128]
    assert shown == sorted(shown)
    assert shown[3] < 255
    assert linear_color("#ff00bc") == pytest.approx((1, 0, 0.503), abs=0.001), "0xbc is about half of the light"


def test_single_bright_pixels_are_clipped_to_the_third_highest_of_their_neighbors() -> None:
    light = np.random.default_rng(0).uniform(0, 1, (5, 6, 3)).astype(np.float32)
    light[2, 3] = 50
    found = _despeckled(light)
    for row in range(5):
        for column in range(6):
            around = [
                light[np.clip(row + down, 0, 4), np.clip(column + across, 0, 5)]
                for down in (-1, 0, 1)
                for across in (-1, 0, 1)
                if (down, across) != (0, 0)
            ]
            np.testing.assert_array_equal(found[row, column], np.minimum(light[row, column], np.sort(around, 0)[-3]))


def seen_by_camera(camera: str, points: np.ndarray, side: int) -> np.ndarray:
    """Columns and rows where a pinhole camera shows points ``[n, 3]``; it looks at the center of the room."""
    room, height = NUMBERS["room"], NUMBERS["camera"][camera]
    origin = np.array([0, -np.sqrt(room["camera_distance"] ** 2 - height**2), height])
    forward = np.array([0, 0, room["camera_target_z"]]) - origin
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    seen = (points - origin) @ np.stack([right, np.cross(forward, right), forward], axis=1)
    half = np.tan(np.radians(room["camera_field_of_view"] / 2))
    return (seen[:, :2] / seen[:, 2:] / half + 1) * side / 2


@pytest.mark.parametrize("shape", ["cube", "cylinder", "cone"])
def test_solids_are_seen_where_a_pinhole_camera_shows_their_corners(shape: str) -> None:
    """The bounds of the outline to a pixel, and its area."""
    side = 64
    parameters = parameters_of(SCENE.replace(left_shape=shape, left_size="large", camera="level"))
    solid = parameters.solids["left"]
    turns = np.linspace(0, 2 * np.pi, 200)
    ring = np.stack([np.cos(turns), np.sin(turns), 0 * turns], axis=1)
    up = np.array([0, 0, 1.0])
    if shape == "cube":
        half, turn = NUMBERS["room"]["cube"] * solid.radius, np.radians(NUMBERS["room"]["cube_turn"])
        corners = np.array([[np.cos(turn + at), np.sin(turn + at), 0] for at in np.pi * np.array([1, 3, 5, 7]) / 4])
        points = np.concatenate([np.sqrt(2) * half * corners, np.sqrt(2) * half * corners + 2 * half * up])
    elif shape == "cylinder":
        points = np.concatenate([0.85 * solid.radius * ring, 0.85 * solid.radius * ring + 1.9 * solid.radius * up])
    else:
        points = np.concatenate([solid.radius * ring, 2.1 * solid.radius * up[None]])
    expected = seen_by_camera("level", points + np.array([solid.x, solid.y, 0]), side)
    shown = coverage(parameters, {"left"}, side)
    for axis, ends in enumerate(expected.T):
        line = np.flatnonzero(shown.max(axis=axis) > 0)
        np.testing.assert_allclose([line[0], line[-1] + 1], [ends.min(), ends.max()], atol=1.0)
    assert shown.sum() == pytest.approx(ConvexHull(expected).volume, rel=0.03), "the area; an outline is convex"


def test_lamps_stand_at_their_distance_and_angles() -> None:
    room = NUMBERS["room"]
    for side in ("left", "front", "right"):
        lamp = scene(parameters_of(SCENE.replace(lamp_side=side)), SIDE, 1)["lamp"]
        x, y, z = lamp["center"]
        assert np.linalg.norm(lamp["center"]) == pytest.approx(room["lamp_distance"])
        assert np.degrees(np.arcsin(z / room["lamp_distance"])) == pytest.approx(room["lamp_elevation"])
        assert np.degrees(np.arctan2(x, -y)) == pytest.approx(NUMBERS["lamp_side"][side])


@pytest.mark.parametrize("texture", ["checkered", "striped"])
def test_fields_of_textures_have_their_width(texture: str) -> None:
    """The floor is 40 wide, and its texture covers it once; stripes have one field from front to back."""
    described = scene(parameters_of(SCENE.replace(floor_texture=texture)), SIDE, 1)["floor"]
    place, pattern = np.array(described["to_world"].matrix), described["bsdf"]["reflectance"]
    fields = 2 * np.array(pattern["to_uv"].matrix)
    assert 2 * place[0, 0] / fields[0, 0] == pytest.approx(NUMBERS["room"]["checker"])
    assert (fields[1, 1] == pytest.approx(fields[0, 0])) if texture == "checkered" else (fields[1, 1] < 0.01)
    light, dark = (np.array(pattern[name]["value"]) for name in ("color0", "color1"))
    np.testing.assert_allclose(dark, NUMBERS["room"]["dark"] * light)


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
    patterned = parameters_of(BALL.replace(floor_texture="checkered", wall_texture="striped"))
    parts = [coverage(patterned, {name}, SIDE) for name in ("floor", "wall", "middle")]
    assert np.allclose(sum(parts), 1, atol=1e-5)
