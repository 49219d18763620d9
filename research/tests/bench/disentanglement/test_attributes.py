"""Files of attributes, and the images and captions that are made from them."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from latentedit.core import ConfigError
from latentedit_bench.disentanglement.attributes import make_swaps, read_attributes
from research.tests.bench.rendered_network import RenderedNetwork

CONTENT: dict[str, Any] = {
    "caption": "a person with {glasses}, {beard}",
    "values": {"glasses": ["glasses", "no glasses", "sunglasses"], "beard": ["no beard", "a full beard"]},
}


def written(folder: Path, **changes: Any) -> Path:
    path = folder / "attributes.json"
    path.write_text(json.dumps({**CONTENT, **changes}))
    return path


def test_images_of_the_file_are_used_with_one_other_value_of_each_attribute(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (200, 10, 30)).save(tmp_path / "me.png")
    own = {"glasses": "round glasses", "beard": "no beard"}  # a value of an image may be one of no list
    content = read_attributes(written(tmp_path, images=[{"image": "me.png", "values": own}] * 12))
    swaps = make_swaps(content, RenderedNetwork(), seed=3)
    assert [image.getpixel((0, 0)) for image in swaps.images] == [(200, 10, 30)] * 12
    assert set(swaps.captions) == {"a person with round glasses, no beard"}
    assert set(swaps.targets["beard"]) == {"a person with round glasses, a full beard"}
    others = {f"a person with {one}, no beard" for one in CONTENT["values"]["glasses"]}
    assert set(swaps.targets["glasses"]) == others, "each is drawn sometimes"
    assert len(make_swaps(content, RenderedNetwork(), items=2).images) == 2
    part = swaps.chosen([11, 0])
    assert [*part.targets["glasses"]] == [swaps.targets["glasses"][place] for place in (11, 0)]
    assert [len(part.images), len(part.captions)] == [2, 2]


def test_without_images_the_model_draws_them_from_captions_of_drawn_values(tmp_path: Path) -> None:
    """An image depends on the seed and its number, not on how many there are."""
    content = read_attributes(written(tmp_path))
    more, few, other = (
        make_swaps(content, RenderedNetwork(), items=n, seed=seed) for n, seed in ((9, 0), (2, 0), (9, 1))
    )
    assert len(more.images) == 9
    assert list(more.captions[:2]) == list(few.captions)
    assert [one.tobytes() for one in more.images[:2]] == [one.tobytes() for one in few.images]
    assert list(more.captions) != list(other.captions)
    for caption, *targets in zip(more.captions, *more.targets.values(), strict=True):
        assert all(target != caption for target in targets)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"caption": "a person with {glasses}"}, "the slot {beard} once, not 0 times"),
        ({"caption": "{glasses}, {beard}, {beard}"}, "the slot {beard} once, not 2 times"),
        ({"caption": "{glasses}, {beard}, {hat}"}, "{hat} of the caption has no values"),
        ({"values": {"glasses": ["glasses", "no glasses"]}, "caption": "{glasses}"}, "two attributes or more"),
        ({"values": {**CONTENT["values"], "beard": ["no beard"]}}, "values: beard"),
        ({"values": {**CONTENT["values"], "beard": ["no beard", "no beard"]}}, "a value is there twice"),
        ({"values": {**CONTENT["values"], "beard": ["no beard", False]}}, "values: beard"),
        ({"images": [{"image": "me.png", "values": {"glasses": "glasses"}}]}, "image 1 has no value of 'beard'"),
        (
            {"images": [{"image": "me.png", "values": {"glasses": "a", "beard": "b", "hat": "c"}}]},
            "image 1 has a value of the unknown attribute 'hat'",
        ),
        ({"images": [{"image": "you.png", "values": {}}]}, "you.png"),
        ({"more": 1}, "more"),
    ],
)
def test_wrong_files_are_refused_with_the_fault(tmp_path: Path, changes: dict[str, Any], fault: str) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "me.png")
    with pytest.raises(ConfigError) as refused:
        read_attributes(written(tmp_path, **changes))
    assert fault in str(refused.value)
