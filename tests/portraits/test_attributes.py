import dataclasses
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentedit.core.errors import ConfigError
from latentedit_portraits.attributes import NONE, VALUES, Attributes, draw_split

portraits = st.integers(0, 2**32).map(lambda seed: Attributes.draw(random.Random(seed)))


@given(portraits)
def test_from_indices_inverts_indices(attributes: Attributes) -> None:
    assert Attributes.from_indices(attributes.indices()) == attributes
    assert (attributes.hair_color == NONE) == (attributes.hair == "bald")
    assert (attributes.facial_hair_color == NONE) == (attributes.facial_hair == NONE)


@given(portraits, st.data())
def test_replace_changes_the_requested_attribute_and_at_most_its_color(
    attributes: Attributes, data: st.DataObject
) -> None:
    field = data.draw(st.sampled_from([name for name in VALUES if not name.endswith("hair_color")]))
    value = data.draw(st.sampled_from(VALUES[field]))
    changed = attributes.replace(**{field: value})
    assert getattr(changed, field) == value
    assert set(attributes.differences(changed)) <= {field, f"{field}_color"}


def test_contradictions_and_unknown_values_are_rejected() -> None:
    portrait = draw_split("test", 1, 0)[0].replace(hair="short")
    with pytest.raises(ConfigError):
        portrait.replace(hair="green")
    with pytest.raises(ConfigError):
        portrait.replace(hat="red")
    for change in ({"hair": "bald"}, {"hair_color": NONE}):
        with pytest.raises(ConfigError):
            dataclasses.replace(portrait, **change)
    indices = portrait.indices()
    indices[list(VALUES).index("hair")] = VALUES["hair"].index("bald")
    assert Attributes.from_indices(indices).hair_color == NONE


@pytest.mark.nightly
def test_splits_are_disjoint_and_have_five_percent() -> None:
    splits = {split: draw_split(split, 300, 0) for split in ("train", "calibration", "test")}
    for split, items in splits.items():
        assert {item.split for item in items} == {split}
        assert len(set(items)) == 300
        assert draw_split(split, 20, 0) == items[:20]  # a longer draw starts with the shorter one
    assert not set(splits["train"]) & set(splits["test"])
    generator = random.Random(1)
    found = [Attributes.draw(generator).split for _ in range(4000)]
    # binomial: 200 of 4000 with standard deviation 13.8
    assert abs(found.count("test") - 200) < 4 * 13.8
    assert abs(found.count("calibration") - 200) < 4 * 13.8
