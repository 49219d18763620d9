"""Encoding of images and captions, with a model whose latents are the images."""

import io
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
def captioned_model(model: Backbone, register: Callable[..., None]) -> Backbone:
    """The same model with its captioner."""
    register("captioners", colors="tests.editors.colors:ColorReader")
    model.defaults = {"captioner": "colors"}
    return model


def solid_image(color: tuple[int, int, int], size: tuple[int, int] = (8, 8)) -> Image.Image:
    return Image.new("RGB", size, color)


def test_a_latent_contains_the_image_and_its_caption(model: Backbone) -> None:
    with model.count() as cost:
        latent = encode(model, solid_image(RED), source_prompt="red")
    expected = torch.tensor(RED)[:, None, None].expand(3, 8, 8) / 127.5 - 1
    assert torch.allclose(latent.z, expected[None], atol=1e-6)
    assert torch.equal(latent.condition.tokens, model.embed(["red"]).tokens)
    assert latent.captions == ("red",)
    assert latent.backbone is model
    assert latent.decoded is not None
    assert torch.equal(latent.decoded, model.decode(latent.z))
    assert cost.evaluations == 0
    assert np.array_equal(np.asarray(latent.frames[0].image.image), np.asarray(solid_image(RED)))


def test_images_of_every_type_are_equivalent(model: Backbone, tmp_path: Path) -> None:
    path = tmp_path / "red.png"
    solid_image(RED).save(path)
    content, pixels = path.read_bytes(), np.array(solid_image(RED))
    images = [
        str(path),
        path,
        solid_image(RED),
        SourceImage.open(path),
        content,
        bytearray(content),
        memoryview(content),
        io.BytesIO(content),
        pixels,
        pixels / 255,
        torch.from_numpy(pixels / 255).permute(2, 0, 1),
        torch.from_numpy(pixels).permute(2, 0, 1)[None],
    ]
    latent = encode(model, images, source_prompt="red")
    assert all(torch.equal(row, latent.z[0]) for row in latent.z)
    assert open_image(latent.frames[0].image) is latent.frames[0].image
    (single,) = encode(model, content, source_prompt="red").z
    assert torch.equal(single, latent.z[0])
    assert (
        len(encode(model, torch.from_numpy(np.stack([pixels, pixels])).permute(0, 3, 1, 2), source_prompt="red")) == 2
    )
    request = EditRequest.of(instruction="make it blue", references=content)
    assert request.references == (content,)


def test_numbers_are_never_opened_as_files(model: Backbone, tmp_path: Path) -> None:
    """Descriptors of open files are numbers, and bytes are sequences of numbers."""
    solid_image(RED).save(tmp_path / "red.png")
    with (tmp_path / "red.png").open("rb") as file:
        descriptor = file.fileno()
        invalid: list[Any] = [
            descriptor,
            [descriptor],
            bytes([descriptor]),
            memoryview(bytes([descriptor])),
            np.zeros((8, 8, 5)),
            True,
            None,
        ]
        for image in invalid:
            with pytest.raises(ImageError):
                encode(model, image, source_prompt="red")
            if not isinstance(image, list):
                with pytest.raises(ImageError):
                    open_mask(image, (8, 8))
        assert file.read() == (tmp_path / "red.png").read_bytes()


def test_missing_captions_are_read(captioned_model: Backbone) -> None:
    assert encode(captioned_model, [solid_image(BLUE), solid_image(RED)]).captions == ("blue", "red")
    assert encode(captioned_model, solid_image(BLUE), source_prompt="red").captions == ("red",)
    latent = encode(captioned_model, [solid_image(RED), solid_image(BLUE)], source_prompt=["", "red"])
    assert latent.captions == ("", "red")
    assert torch.equal(latent.condition.tokens, captioned_model.embed(["", "red"]).tokens)
    assert encode(captioned_model, [solid_image(RED), solid_image(BLUE)], source_prompt="red").captions == (
        "red",
        "red",
    )


@final
class FixedCaptioner(Captioner):
    """Returns fixed captions, for any number of images, and records the pixels."""

    def __init__(self, captions: list[str]) -> None:
        self.captions = captions
        self.seen: list[Tensor] = []

    def caption(self, pixels: Tensor) -> list[str]:
        self.seen.append(pixels)
        return self.captions


def test_a_captioner_reads_what_the_model_sees(model: Backbone, captioned_model: Backbone) -> None:
    """A given captioner takes precedence over the model's, and a caption over both."""
    captioner = FixedCaptioner(["green", "gray"])
    images = [solid_image(RED, (30, 20)), solid_image(BLUE, (30, 20))]
    latent = encode(captioned_model, images, captioner=captioner)
    assert latent.captions == ("green", "gray")
    assert torch.equal(latent.condition.tokens, model.embed(["green", "gray"]).tokens)
    (pixels,) = captioner.seen
    assert torch.equal(pixels, torch.stack([frame.pixels for frame in latent.frames]))
    assert encode(captioned_model, images, captioner=captioner, source_prompt="red").captions == ("red", "red")
    assert len(captioner.seen) == 1


def test_a_mask_applies_to_every_image(model: Backbone, tmp_path: Path) -> None:
    levels = np.zeros((8, 8), dtype=np.uint8)
    levels[2:5, 1:7] = 255
    Image.fromarray(levels).save(tmp_path / "mask.png")
    images = [solid_image(RED), solid_image(BLUE)]
    unmasked = encode(model, images, source_prompt="red")
    assert all(frame.allowed is None for frame in unmasked.frames)
    for mask in (tmp_path / "mask.png", Image.fromarray(levels), (tmp_path / "mask.png").read_bytes()):
        latent = encode(model, images, source_prompt="red", mask=mask)
        assert torch.equal(latent.z, unmasked.z)
        assert all(np.array_equal(frame.allowed, levels) for frame in latent.frames)


def test_images_of_a_batch_are_fitted_to_one_shape(model: Backbone) -> None:
    latent = encode(model, [solid_image(RED), solid_image(BLUE, (33, 33))], source_prompt="r" * 10_000)
    assert latent.z.shape == (2, 3, 8, 8)
    assert not latent.z.requires_grad
    assert torch.is_grad_enabled()


def test_invalid_inputs_are_rejected(model: Backbone) -> None:
    pair = [solid_image(RED), solid_image(BLUE)]
    cases: list[tuple[Any, dict[str, Any], str]] = [
        (solid_image(RED), {}, "`source_prompt`"),
        ([], {"source_prompt": "red"}, "image"),
        (solid_image(RED), {"source_prompt": " "}, "caption"),
        (solid_image(RED), {"source_prompt": "r" * 10_001}, "10001.*10000"),
        (pair, {"captioner": FixedCaptioner(["red"])}, "2.*captioner.*1"),
        (pair, {"captioner": FixedCaptioner(["red", " "])}, "captioner"),
        (
            [solid_image(RED), solid_image(BLUE, (40, 12))],
            {"source_prompt": "red"},
            "shapes",
        ),
    ]
    for images, options, message in cases:
        with pytest.raises(ConfigError, match=message):
            encode(model, images, **options)
    with pytest.raises(ConfigError):
        encode(example_mixture(dimension=2), solid_image(RED), source_prompt="a")


def test_texts_are_broadcast() -> None:
    assert broadcast_texts("a, b", 2, "caption") == ("a, b", "a, b")
    assert broadcast_texts(["a", " b "], 2, "caption") == ("a", " b ")
    for texts in ("", "\n", ["a", ""]):
        with pytest.raises(ConfigError):
            broadcast_texts(texts, 2, "target caption")
    with pytest.raises(ConfigError):
        broadcast_texts(["a", "b"], 1, "label")
