"""Encoding of images and captions, with a model whose latents are the images."""

import io
from pathlib import Path
from typing import Any, final

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from latentedit.core.errors import ConfigError
from latentedit.editing.request import EditRequest
from latentedit.encoding.captions.base import Captioner
from latentedit.encoding.encode import broadcast_texts, encode, open_image
from latentedit.encoding.images import SourceImage
from tests.editors.colors import ColorBackbone
from tests.testing.gaussian_mixture import example_mixture

RED, BLUE = (Image.new("RGB", (8, 8), color) for color in ((204, 76, 76), (76, 76, 204)))


def test_a_latent_contains_the_image_and_its_caption(colors: ColorBackbone) -> None:
    with colors.count() as cost:
        latent = encode(colors, RED, source_prompt="red")
    assert torch.allclose(latent.z[0], torch.tensor(RED.getpixel((0, 0)))[:, None, None] / 127.5 - 1, atol=1e-6)
    assert torch.equal(latent.condition.tokens, colors.embed(["red"]).tokens)
    assert (latent.captions, latent.backbone, cost.evaluations) == (("red",), colors, 0)
    assert latent.decoded is not None
    assert torch.equal(latent.decoded, colors.decode(latent.z))
    assert np.array_equal(latent.frames[0].image.image, RED)
    assert not latent.z.requires_grad
    assert torch.is_grad_enabled()


def test_images_of_every_type_are_equivalent(colors: ColorBackbone, tmp_path: Path) -> None:
    path = tmp_path / "red.png"
    RED.save(path)
    content, pixels = path.read_bytes(), np.array(RED)
    batch = torch.from_numpy(np.stack([pixels, pixels])).permute(0, 3, 1, 2)
    images = [str(path), path, RED, SourceImage.open(path), content, io.BytesIO(content), pixels, batch[0] / 255]
    latent = encode(colors, images, source_prompt="red")
    assert all(torch.equal(row, latent.z[0]) for row in latent.z)
    assert open_image(latent.frames[0].image) is latent.frames[0].image
    assert torch.equal(encode(colors, content, source_prompt="red").z, latent.z[:1])
    assert len(encode(colors, batch, source_prompt="red")) == 2
    assert EditRequest.of(instruction="make it blue", references=content).references == (content,)


def test_missing_captions_are_read(colors: ColorBackbone) -> None:
    assert encode(colors, [BLUE, RED]).captions == ("blue", "red")
    assert encode(colors, [RED, BLUE], source_prompt="red").captions == ("red", "red")
    latent = encode(colors, [RED, BLUE], source_prompt=["", "red"])
    assert latent.captions == ("", "red")
    assert torch.equal(latent.condition.tokens, colors.embed(["", "red"]).tokens)


@final
class FixedCaptioner(Captioner):
    """Returns fixed captions, for any number of images, and records the pixels."""

    def __init__(self, captions: list[str]) -> None:
        self.captions = captions
        self.seen: list[Tensor] = []

    def caption(self, pixels: Tensor) -> list[str]:
        self.seen.append(pixels)
        return self.captions


def test_a_captioner_reads_what_the_model_sees(colors: ColorBackbone) -> None:
    """A given captioner takes precedence over the model's, and a caption over both."""
    captioner = FixedCaptioner(["green", "gray"])
    images = [RED.resize((30, 20)), BLUE.resize((30, 20))]
    latent = encode(colors, images, captioner=captioner)
    assert latent.captions == ("green", "gray")
    assert torch.equal(latent.condition.tokens, colors.embed(["green", "gray"]).tokens)
    (pixels,) = captioner.seen
    assert torch.equal(pixels, torch.stack([frame.pixels for frame in latent.frames]))
    assert encode(colors, images, captioner=captioner, source_prompt="red").captions == ("red", "red")
    assert len(captioner.seen) == 1


def test_a_mask_applies_to_every_image(colors: ColorBackbone) -> None:
    levels = np.zeros((8, 8), dtype=np.uint8)
    levels[2:5, 1:7] = 255
    latent, unmasked = (encode(colors, [RED, BLUE], source_prompt="red", mask=one) for one in (levels, None))
    assert torch.equal(latent.z, unmasked.z)
    assert all(np.array_equal(frame.allowed, levels) for frame in latent.frames)
    assert all(frame.allowed is None for frame in unmasked.frames)


def test_invalid_inputs_are_rejected() -> None:
    model, pair, red = ColorBackbone(sizes=(4, 8, 12)), [RED, BLUE], {"source_prompt": "red"}
    cases: list[tuple[Any, dict[str, Any], str]] = [
        (RED, {}, "`source_prompt`"),
        ([], red, "image"),
        (RED, {"source_prompt": " "}, "caption"),
        (RED, {"source_prompt": "r" * 10_001}, "10001.*10000"),
        (pair, {"captioner": FixedCaptioner(["red"])}, "2.*captioner.*1"),
        (pair, {"captioner": FixedCaptioner(["red", " "])}, "captioner"),
        ([RED, BLUE.resize((40, 12))], red, "shapes"),
    ]
    for images, options, message in cases:
        with pytest.raises(ConfigError, match=message):
            encode(model, images, **options)
    with pytest.raises(ConfigError):
        encode(example_mixture(dimension=2), RED, source_prompt="a")
    assert encode(model, [RED, BLUE.resize((33, 33))], source_prompt="r" * 10_000).z.shape == (2, 3, 8, 8)


def test_texts_are_broadcast() -> None:
    assert broadcast_texts("a, b", 2, "caption") == ("a, b", "a, b")
    assert broadcast_texts(["a", " b "], 2, "caption") == ("a", " b ")
    for texts in ("", "\n", ["a", ""]):
        with pytest.raises(ConfigError):
            broadcast_texts(texts, 2, "target caption")
    with pytest.raises(ConfigError):
        broadcast_texts(["a", "b"], 1, "label")
