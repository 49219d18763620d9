import dataclasses
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from latentedit.core import ConfigError, ImageError
from latentedit_bench.data.items import Dataset, Item, MaskFile, RgbFile, content
from tests.batch.images import write_image


def red() -> Image.Image:
    return Image.new("RGB", (3, 2), "red")


def blue() -> Image.Image:
    return Image.new("RGB", (3, 2), "blue")


def left() -> NDArray[np.bool_]:
    return np.array([[True, False, False]] * 2)


ITEM = Item(id="a", image=red, source_caption="a cat", target_caption="a dog", truth=blue, mask=left)


def dataset(*items: Item) -> Dataset:
    return Dataset(name="some", version="1", items=items)


@pytest.mark.parametrize(
    ("target", "change"),
    [
        ("a man with pale skin, short hair", ""),
        ("a man with short hair, pale skin", ""),
        ("a man with short hair, dark skin", "pale skin => dark skin"),
        ("a man with pale skin, short hair, a hat", "=> a hat"),
        ("a woman with pale skin, long hair", "a man with, short hair => a woman with, long hair"),
    ],
)
def test_a_change_is_described_in_the_words_of_the_captions(target: str, change: str) -> None:
    item = dataclasses.replace(ITEM, source_caption="a man with pale skin, short hair", target_caption=target)
    assert item.change == change


def test_a_dataset_needs_items_with_ids_of_their_own() -> None:
    assert dataclasses.replace(ITEM, group="image 3").group == "image 3"
    assert ITEM.group == "a"
    with pytest.raises(ConfigError):
        dataclasses.replace(ITEM, id="")
    with pytest.raises(ConfigError):
        dataset()
    with pytest.raises(ConfigError):
        dataset(ITEM, ITEM)
    items = [dataclasses.replace(ITEM, id=name) for name in "abc"]
    assert [item.id for item in dataset(*items).head(2).items] == ["a", "b"]
    assert [item.id for item in dataset(*items).head(2, skip=1).items] == ["b", "c"]
    with pytest.raises(ConfigError):
        dataset(*items).head(0)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "b"},
        {"source_caption": "two cats"},
        {"target_caption": "a cat"},
        {"kind": "pair"},
        {"group": "b"},
        {"image": blue},
        {"truth": red},
        {"truth": None},
        {"mask": None},
        {"about": {"instruction": "turn it into a dog"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_fingerprint_sees_every_part(change: dict[str, object]) -> None:
    assert dataset(dataclasses.replace(ITEM, **change)).fingerprint != dataset(ITEM).fingerprint


def test_the_fingerprint_is_of_the_content_only() -> None:
    renamed = Dataset(name="other", version="2", items=(dataclasses.replace(ITEM, image=partial(red)),))
    assert renamed.fingerprint == dataset(ITEM).fingerprint
    assert len(renamed.fingerprint) == 64


def test_a_file_is_known_by_its_bytes_wherever_it_lies(tmp_path: Path) -> None:
    here, there = (RgbFile(write_image(tmp_path / folder / "a.png")) for folder in ("x", "y"))
    other = RgbFile(write_image(tmp_path / "b.png", color=(1, 2, 3)))
    assert content(here) == content(there) != content(other)
    with pytest.raises(ImageError):
        content(RgbFile(tmp_path / "missing.png"))


def test_transparent_parts_are_white_in_images_and_masks_are_true_where_they_are_bright(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png", color=(255, 0, 0, 0), mode="RGBA")
    image = RgbFile(path)()
    assert (image.mode, image.getpixel((0, 0))) == ("RGB", (255, 255, 255))
    assert not MaskFile(path)().any()
    Image.fromarray(np.array([[0, 127, 128], [255, 1, 200]], dtype=np.uint8)).save(tmp_path / "mask.png")
    assert MaskFile(tmp_path / "mask.png")().tolist() == [[False, False, True], [True, False, True]]
