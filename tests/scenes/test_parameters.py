"""What lies between two scenes is theirs at the ends, and halfway in the middle."""

import pytest

from latentedit.core.errors import ConfigError
from latentedit_scenes.attributes import draw_split
from latentedit_scenes.parameters import NUMBERS, between, linear_color, parameters_of

SCENE = next(one for one in draw_split("train", 60, 2) if len(one.places()) == 3).replace(
    left_size="small", left_material="rubber", lamp_side="left", lamp_softness="hard"
)
OTHER = SCENE.replace(left_size="large", left_material="metal", lamp_side="right", lamp_softness="diffuse")


def test_ends_are_the_scenes() -> None:
    assert between(SCENE, OTHER, 0) == parameters_of(SCENE)
    assert between(SCENE, OTHER, 1) == parameters_of(OTHER)


def test_every_number_goes_its_way() -> None:
    half = between(SCENE, OTHER, 0.5)
    assert half.lamp_azimuth == 0
    assert half.lamp_radius == pytest.approx(
        (NUMBERS["lamp_softness"]["hard"] + NUMBERS["lamp_softness"]["diffuse"]) / 2
    )
    assert half.things["left"].radius == pytest.approx((NUMBERS["size"]["small"] + NUMBERS["size"]["large"]) / 2)
    assert half.things["left"].metallic == 0.5
    assert half.things["right"] == parameters_of(SCENE).things["right"]
    assert between(SCENE, OTHER, 0.25).lamp_azimuth == pytest.approx(NUMBERS["lamp_side"]["left"] / 2)


@pytest.mark.parametrize("change", [{"left_shape": "none"}, {"wall_texture": "striped"}, {"left_color": "white"}])
def test_there_is_no_half_of_a_whole_change(change: dict[str, str]) -> None:
    scene = SCENE.replace(wall_texture="plain", left_color="red")
    with pytest.raises(ConfigError, match="there is nothing between two values of"):
        between(scene, scene.replace(**change), 0.5)


def test_colors_are_linear() -> None:
    """The middle level of sRGB, 0xbc, is about half of the light."""
    assert linear_color("#ff00bc") == pytest.approx((1, 0, 0.503), abs=0.001)
