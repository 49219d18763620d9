"""A scene in numbers."""

import pytest

from latentedit_scenes.parameters import linear_color


def test_colors_are_linear() -> None:
    """The middle level of sRGB, 0xbc, is about half of the light."""
    assert linear_color("#ff00bc") == pytest.approx((1, 0, 0.503), abs=0.001)
