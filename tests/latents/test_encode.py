"""Images and captions to a joint latent, on a model whose latents are the images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, final

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from latentedit.core.errors import ConfigError, ImageError
from latentedit.editing.request import EditRequest
from latentedit.latents.captions.base import Captioner
from latentedit.latents.encode import broadcast_texts, encode, open_image
from latentedit.latents.images import SourceImage, open_mask
from latentedit.models.base import Backbone
from latentedit.testing.gaussian_mixture import example_mixture
from tests.editors.colors import ColorBackbone

RED, BLUE = (204, 76, 76), (76, 76, 204)


@pytest.fixture
def model() -> Backbone:
    return ColorBackbone(sizes=(4, 8, 12))


@pytest.fixture
def reading(model: Backbone, register: Callable[..., None]) -> Backbone:
    """The same model with its captioner."""
    register("captioners", colors="tests.editors.colors:ColorReader")
    model.defaults = {"captioner": "colors"}
    return model


def plain(color: tuple[int, int, int], size: tuple[int, int] = (8, 8)) -> Image.Image:
    return Image.new("RGB", size, color)


def test_a_latent_is_the_image_with_its_text(model: Backbone) -> None:
    with model.count() as cost:
        latent = encode(model, plain(RED), source_prompt="red")
    expected = torch.tensor(RED)[:, None, None].expand(3, 8, 8) / 127.5 - 1
    assert torch.allclose(latent.z, expected[None], atol=1e-6)
    assert torch.equal(latent.condition.tokens, model.embed(["red"]).tokens)
    assert latent.captions == ("red",)
    assert latent.backbone is model
    assert latent.decoded is not None
    assert torch.equal(latent.decoded, model.decode(latent.z))
    assert cost.evaluations == 0
    assert np.array_equal(np.asarray(latent.frames[0].image.image), np.asarray(plain(RED)))


def test_a_file_a_path_an_image_and_an_open_image_are_one(model: Backbone, tmp_path: Path) -> None:
    path = tmp_path / "red.png"
    plain(RED).save(path)
    content = path.read_bytes()
    images = [str(path), path, plain(RED), SourceImage.open(path), content, bytearray(content), memoryview(content)]
    latent = encode(model, images, source_prompt="red")
    assert all(torch.equal(row, latent.z[0]) for row in latent.z)
    assert open_image(latent.frames[0].image) is latent.frames[0].image
    (alone,) = encode(model, content, source_prompt="red").z
    assert torch.equal(alone, latent.z[0])
    requested = EditRequest.of(instruction="make it blue", references=content)
    assert requested.references == (content,)


def test_numbers_are_never_opened_as_files(model: Backbone, tmp_path: Path) -> None:
    """A file that the caller has open has a number, and bytes are a sequence of numbers."""
    plain(RED).save(tmp_path / "red.png")
    with (tmp_path / "red.png").open("rb") as file:
        number = file.fileno()
        wrong: list[Any] = [
            number,
            [number],
            bytes([number]),
            memoryview(bytes([number])),
            np.zeros((8, 8)),
            True,
            None,
        ]
        for image in wrong:
            with pytest.raises(ImageError):
                encode(model, image, source_prompt="red")
            if not isinstance(image, list):
                with pytest.raises(ImageError):
                    open_mask(image, (8, 8))
        assert file.read() == (tmp_path / "red.png").read_bytes()


def test_captions_are_read_where_none_is_given(reading: Backbone) -> None:
    assert encode(reading, [plain(BLUE), plain(RED)]).captions == ("blue", "red")
    assert encode(reading, plain(BLUE), source_prompt="red").captions == ("red",)
    latent = encode(reading, [plain(RED), plain(BLUE)], source_prompt=["", "red"])
    assert latent.captions == ("", "red")
    assert torch.equal(latent.condition.tokens, reading.embed(["", "red"]).tokens)
    assert encode(reading, [plain(RED), plain(BLUE)], source_prompt="red").captions == ("red", "red")


@final
class Parrot(Captioner):
    """Says what it was told to, however many images there are; keeps what it was shown."""

    def __init__(self, captions: list[str]) -> None:
        self.captions = captions
        self.shown: list[Tensor] = []

    def caption(self, pixels: Tensor) -> list[str]:
        self.shown.append(pixels)
        return self.captions


def test_a_captioner_reads_what_the_model_sees(model: Backbone, reading: Backbone) -> None:
    """One that is given comes before the model's own, and a caption before both."""
    parrot = Parrot(["green", "gray"])
    images = [plain(RED, (30, 20)), plain(BLUE, (30, 20))]
    latent = encode(reading, images, captioner=parrot)
    assert latent.captions == ("green", "gray")
    assert torch.equal(latent.condition.tokens, model.embed(["green", "gray"]).tokens)
    (shown,) = parrot.shown
    assert torch.equal(shown, torch.stack([frame.pixels for frame in latent.frames]))
    assert encode(reading, images, captioner=parrot, source_prompt="red").captions == ("red", "red")
    assert len(parrot.shown) == 1


def test_a_mask_goes_with_every_image(model: Backbone, tmp_path: Path) -> None:
    levels = np.zeros((8, 8), dtype=np.uint8)
    levels[2:5, 1:7] = 255
    Image.fromarray(levels).save(tmp_path / "mask.png")
    images = [plain(RED), plain(BLUE)]
    free = encode(model, images, source_prompt="red")
    assert all(frame.allowed is None for frame in free.frames)
    for mask in (tmp_path / "mask.png", Image.fromarray(levels), (tmp_path / "mask.png").read_bytes()):
        latent = encode(model, images, source_prompt="red", mask=mask)
        assert torch.equal(latent.z, free.z)
        assert all(np.array_equal(frame.allowed, levels) for frame in latent.frames)


def test_images_of_a_batch_have_one_shape_after_they_are_fitted(model: Backbone) -> None:
    latent = encode(model, [plain(RED), plain(BLUE, (33, 33))], source_prompt="r" * 10_000)
    assert latent.z.shape == (2, 3, 8, 8)
    assert not latent.z.requires_grad
    assert torch.is_grad_enabled()


def test_bad_input_is_refused(model: Backbone) -> None:
    pair = [plain(RED), plain(BLUE)]
    cases: list[tuple[Any, dict[str, Any], str]] = [
        (plain(RED), {}, "`source_prompt`"),
        ([], {"source_prompt": "red"}, "image"),
        (plain(RED), {"source_prompt": " "}, "caption"),
        (plain(RED), {"source_prompt": "r" * 10_001}, "10001.*10000"),
        (pair, {"captioner": Parrot(["red"])}, "2.*captioner.*1"),
        (pair, {"captioner": Parrot(["red", " "])}, "captioner"),
        (
            [plain(RED), plain(BLUE, (40, 12))],
            {"source_prompt": "red"},
            "shapes",
        ),
    ]
    for images, wanted, words in cases:
        with pytest.raises(ConfigError, match=words):
            encode(model, images, **wanted)
    with pytest.raises(ConfigError):
        encode(example_mixture(dimension=2), plain(RED), source_prompt="a")


def test_texts_are_one_for_all_or_one_each() -> None:
    assert broadcast_texts("a, b", 2, "caption") == ("a, b", "a, b")
    assert broadcast_texts(["a", " b "], 2, "caption") == ("a", " b ")
    for texts in ("", "\n", ["a", ""]):
        with pytest.raises(ConfigError):
            broadcast_texts(texts, 2, "target caption")
    with pytest.raises(ConfigError):
        broadcast_texts(["a", "b"], 1, "label")
