import pytest

from latentedit_bench.analysis import attribute_areas as module
from latentedit_bench.analysis.attribute_areas import attribute_areas
from latentedit_portraits.attributes import NONE, VALUES, draw_split


def test_areas_are_those_of_the_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one portrait: the background is most of the picture's edge, hair is large, what moves in a face is small."""
    monkeypatch.setattr(module, "_PORTRAITS", 1)
    monkeypatch.setattr(module, "_SIDE", 64)
    areas = attribute_areas.__wrapped__()
    assert set(areas) == set(VALUES)
    assert all(0 < area < 1 for area in areas.values())
    assert min(areas[name] for name in ("background", "hair", "skin")) > 0.1
    assert max(areas[name] for name in ("eyes", "eyebrows", "mouth")) < 0.06


def test_every_change_changes_the_attribute() -> None:
    """And no attribute that belongs to another part: a part takes its colour along."""
    portrait = next(
        one for one in draw_split("calibration", 20, 5) if NONE not in (one.hair_color, one.facial_hair_color)
    )
    found = list(module._changed(portrait))
    values = {name: sum(one == name for one, _ in found) for name in VALUES}
    assert values == {name: len([v for v in VALUES[name] if v != NONE or "color" not in name]) - 1 for name in VALUES}
    for name, other in found:
        assert name in portrait.differences(other)
        assert {one.removesuffix("_color") for one in portrait.differences(other)} == {name.removesuffix("_color")}
