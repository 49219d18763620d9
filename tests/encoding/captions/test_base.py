from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from latentedit.core.errors import ModelError, RegistryError
from latentedit.encoding.captions.base import Captioner, clean_caption, make_captioner, one_line, to_images
from latentedit.encoding.captions.change import Change
from latentedit.encoding.captions.image_text import ImageToText
from latentedit.encoding.encode import captioner_for
from latentedit.models.base import Backbone
from tests.testing.gaussian_mixture import example_mixture


class FixedCaptioner(Captioner):
    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone

    def caption(self, pixels: Tensor) -> list[str]:
        return ["a"] * len(pixels)


@pytest.fixture
def backbone(register: Callable[..., None]) -> Backbone:
    register("captioners", fixed=f"{__name__}:FixedCaptioner", odd="builtins:id")
    return example_mixture(dimension=2)


def test_captioners_are_found_by_name(backbone: Backbone, tmp_path: Path) -> None:
    assert captioner_for(backbone) is None
    backbone.defaults = {"captioner": "fixed"}
    default = captioner_for(backbone)
    assert isinstance(default, Captioner)
    assert default.caption(torch.zeros(2, 3, 4, 4)) == ["a", "a"]
    # The rules for plain text apply.
    assert default.change("a man with no hat", Change.parse("=> a hat")) == "a man with a hat"
    captioner = make_captioner("fixed", backbone)
    assert isinstance(captioner, FixedCaptioner)
    assert captioner.backbone is backbone
    with pytest.raises(RegistryError):
        make_captioner("odd", backbone)
    with pytest.raises(ModelError):
        make_captioner(str(tmp_path), backbone)


def test_folders_and_hub_ids_are_image_to_text_models(
    backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[tuple[str, torch.device]] = []
    expected = FixedCaptioner(backbone)

    def from_name(name: str, *, device: torch.device) -> Captioner:
        loaded.append((name, device))
        return expected

    monkeypatch.setattr(ImageToText, "from_name", from_name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "blip").mkdir()
    names = ["blip", "./blip", str(tmp_path / "blip"), "org/name", "org/name@main", "./nowhere"]
    assert all(make_captioner(name, backbone) is expected for name in names)
    assert loaded == [(name, backbone.device) for name in names]


@pytest.mark.parametrize(("name", "hint"), [("fixde", "'fixed'"), ("", "fixed, odd"), ("xyz", "fixed, odd")])
def test_unknown_captioners_are_rejected_with_suggestions(backbone: Backbone, name: str, hint: str) -> None:
    with pytest.raises(RegistryError, match=hint) as error:
        make_captioner(name, backbone)
    for form in ("openai:MODEL", "folder or hub id (org/name)"):
        assert form in str(error.value)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("a man with a beard", "a man with a beard"),
        (" \tA man\r\nwith  a beard,\u2028a wall. \n", "A man with a beard, a wall"),
        ('"a man."', "a man"),
        ('"a man".', "a man"),
        ("\u201ca man\u201d", "a man"),
        ("\u2018a man.\u2019", "a man"),
        ("\u00ab a man \u00bb", "a man"),
        ("\"'a man'\"", "a man"),
        ("'a man's hat'", "a man's hat"),
        ("'Tom' and 'Jerry'", "'Tom' and 'Jerry'"),
        ('"Tom" and "Jerry".', '"Tom" and "Jerry"'),
        ("a man...", "a man"),
        ("a man with 1.5 beards", "a man with 1.5 beards"),
        ("a man\x1b[31m, red\x00", "a man [31m, red"),
        ('"', '"'),
        ('"".', ""),
        ("", ""),
    ],
)
def test_captions_are_cleaned(text: str, cleaned: str) -> None:
    assert clean_caption(text) == cleaned == clean_caption(cleaned)


@given(st.text())
def test_one_line_is_printable_and_keeps_the_words(text: str) -> None:
    line = one_line(text)
    assert line.isprintable()
    assert "  " not in line
    assert line.split() == "".join(character if character.isprintable() else " " for character in text).split()


def test_pixels_are_converted_to_8_bit_images() -> None:
    levels = torch.arange(2 * 3 * 5 * 7, dtype=torch.uint8).reshape(2, 3, 5, 7)
    images = to_images(levels / 127.5 - 1)
    assert [image.size for image in images] == [(7, 5)] * 2
    assert all(image.mode == "RGB" for image in images)
    assert torch.equal(torch.from_numpy(np.stack([np.array(image) for image in images])).permute(0, 3, 1, 2), levels)
    assert to_images(torch.full((1, 3, 1, 1), 1.3))[0].getpixel((0, 0)) == (255, 255, 255)
    assert to_images(torch.full((1, 3, 1, 1), -1.3, dtype=torch.bfloat16))[0].getpixel((0, 0)) == (0, 0, 0)
