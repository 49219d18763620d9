"""The way back: from the file, from what earlier files had, and by a direction, where the codec is the identity."""

import dataclasses
import io
import math
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from latentedit.api import undo as undoing
from latentedit.api.outputs import same_picture
from latentedit.api.result import EditResult
from latentedit.api.undo import difference, undo, undo_direction, undo_stored
from latentedit.api.verbs import edit, identify, manipulate
from latentedit.core.errors import ConfigError, FileFormatError, ShapeError
from latentedit.core.files.tensors import pack, unpack
from latentedit.directions.direction import Direction
from latentedit.editors.strength import measure_effect
from latentedit.latents.encode import encode
from latentedit.latents.joint import JointLatent
from latentedit.latents.pictures import Picture
from latentedit.models.base import Backbone
from latentedit_keep.pictures import save_image
from tests.editors.colours import ColourBackbone
from tests.editors.edits import grey, levels, noisy

pytestmark = pytest.mark.slow

PARTS = ("difference", "start", "moved", "allowed", "missed")
MODES = ["RGB", "RGBA"]


def half_mask(size: tuple[int, int]) -> Image.Image:
    """The left half may change."""
    mask = np.zeros(size[::-1], dtype=np.uint8)
    mask[:, : size[0] // 2] = 255
    return Image.fromarray(mask)


def tensor_of(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


def squeezed(values: np.ndarray) -> Tensor:
    return tensor_of(zlib.compress(values.astype(np.uint8).tobytes()))


def old_payload(result: EditResult) -> bytes:
    """What files carried until 2026-11-24: latents in half precision, and what they miss of the source."""
    (frame,) = result.latent.frames
    start = result.latent.z if result.latent.start is None else result.latent.start
    tensors = {"start": start.half(), "moved": result.latent.z.half()}
    if frame.allowed is not None:
        tensors["allowed"] = squeezed(frame.allowed)
    about = {
        "model": result.latent.backbone.fingerprint,
        "picture": Picture(image=result.image).fingerprint,
        "local": str(int(result.record.local)),
    }
    if frame.region is not None:
        about["region"] = " ".join(map(str, frame.region))
    rough = undone(result, pack(tensors, about))
    return pack(tensors | {"missed": squeezed(levels(result.source) - levels(rough))}, about)


def undone(result: EditResult, payload: bytes) -> Image.Image:
    return undo_stored(Picture.from_image(result.image), payload, model=result.latent.backbone)


def changed(result: EditResult, tensors: dict[str, Tensor] | None = None, *, without: str = "", **about: str) -> bytes:
    """The payload with other tensors, with one fewer, or with other things said about them."""
    old, told = unpack(old_payload(result), "a payload", allowed=PARTS)
    return pack({name: part for name, part in old.items() if name != without} | (tensors or {}), told | about)


def unclipped(image: Image.Image) -> np.ndarray:
    values = levels(image)
    return (values > 0) & (values < 255)


def shift(model: Backbone, amount: Tensor, caption: str = "grey") -> Direction:
    """A direction of one picture."""
    source = model.embed([caption])
    return Direction(
        z=amount,
        condition=source - source,
        level=1.0,
        method="by hand",
        settings={},
        model_name=model.name,
        model_fingerprint=model.fingerprint,
    )


def redder(model: Backbone, amount: float) -> Direction:
    return shift(model, torch.tensor([amount, 0.0, 0.0])[None, :, None, None].expand(1, 3, 8, 8).clone())


@pytest.mark.parametrize(
    ("picture", "to", "strength", "local", "masked"),
    [
        (grey(1, (37, 21), "RGBA"), "red", 0.3, False, True),
        (noisy(2, (5, 30)), "green", 1.0, True, False),
        (grey(3), "red", 0.0, True, True),
        (grey(4), "", 1.0, False, False),
    ],
)
def test_latents_of_earlier_files_give_back_the_picture(
    colours: ColourBackbone, picture: Image.Image, to: str, strength: float, local: bool, masked: bool
) -> None:
    """Bit for bit; half precision alone falls one level off at most, where nothing was clipped."""
    latent = encode(colours, picture, caption="grey", mask=half_mask(picture.size) if masked else None)
    ramp = shift(colours, torch.linspace(0, 0.4, 8)[None, None, None].expand(1, 3, 8, 8).clone())
    result = manipulate(latent, identify(latent, to=to) if to else ramp, strength=strength, local=local)
    assert same_picture(undone(result, old_payload(result)), picture)
    rough = undone(result, changed(result, without="missed"))
    error = np.abs(levels(rough) - levels(picture))
    assert error[unclipped(result.image)].max(initial=0) <= 1
    assert error.max() == 0 or strength
    assert error[:, picture.width // 2 :].max() == 0 or not masked


@pytest.fixture
def result(colours: ColourBackbone) -> EditResult:
    return edit(colours, grey(), to="red", caption="grey", mask=half_mask((8, 8)))


@pytest.mark.parametrize("mode", MODES)
def test_the_file_gives_back_the_source_without_a_model(colours: ColourBackbone, tmp_path: Path, mode: str) -> None:
    """Of any editor, clipped or not, with a mask, twice in a row; its colour profile and its alpha too."""
    source = noisy(1, (60, 40), mode, mean=(250, 128, 128), deviation=2)
    source.info["icc_profile"] = b"a profile" * 20
    first = edit(colours, source, to="red", caption="grey", mask=half_mask((60, 40)))
    again = manipulate(first.latent, redder(colours, 0.4), local=False)
    for made in (first, again, edit(colours, source, to="red", caption="grey", method="sdedit", strength=0.5)):
        assert not same_picture(made.image, source)
        made.save(tmp_path / "edited.png")
        found = undo(tmp_path / "edited.png")
        assert same_picture(found, source)
        assert same_picture(made.undo(), source)
        assert found.info == {"icc_profile": source.info["icc_profile"]}


def test_what_the_file_carries_is_small_where_little_changed() -> None:
    """And no second colour profile."""
    source = noisy(1, (256, 256))
    source.info["icc_profile"] = np.random.default_rng(0).bytes(10_000)
    edited = source.copy()
    edited.paste((255, 0, 0), (10, 10, 30, 30))
    assert len(difference(source, edited)) < 4_000


def test_a_file_without_the_difference_or_with_other_pixels_is_refused(
    colours: ColourBackbone, result: EditResult, tmp_path: Path
) -> None:
    result.image.save(tmp_path / "plain.png")
    with pytest.raises(FileFormatError, match="does not carry the picture before"):
        undo(tmp_path / "plain.png")
    pixels = np.array(result.image)
    pixels[0, 0, 0] ^= 1
    for payload in (difference(result.source, result.image), old_payload(result)):
        save_image(Image.fromarray(pixels), tmp_path / "x.png", payload=payload)
        with pytest.raises(FileFormatError, match="changed since"):
            undo(tmp_path / "x.png", model=colours)
    with pytest.raises(ConfigError, match="Give it with `model`"):
        undo_stored(Picture.from_image(result.image), old_payload(result))
    with pytest.raises(ConfigError, match=r"colours-1.*'another-2'"):
        undone(result, changed(result, model="another-2"))


@pytest.mark.parametrize("image", [None, *(Image.new(mode, (8, 8), 1) for mode in ("RGB", "RGBA", "L"))])
def test_a_difference_that_does_not_lead_to_the_source_is_refused(
    result: EditResult, image: Image.Image | None
) -> None:
    _, about = unpack(difference(result.source, result.image), "it", allowed=PARTS)
    file = io.BytesIO(b"no picture")
    if image is not None:
        image.save(file, "PNG")
    with pytest.raises(FileFormatError, match="damaged in the picture"):
        undone(result, pack({"difference": tensor_of(file.getvalue())}, about))


@pytest.mark.parametrize(
    ("tensors", "told"),
    [
        ({"start": torch.zeros(1, 3, 8, 4)}, "latents"),
        ({"missed": squeezed(np.zeros(64))}, "what is missed"),
        ({"allowed": torch.full((64,), 255, dtype=torch.uint8)}, "the mask"),
        ({"allowed": torch.zeros(64, dtype=torch.bfloat16)}, "the mask"),
        ({"allowed": squeezed(np.zeros(65))}, "the mask"),
    ],
)
def test_tensors_of_other_shapes_are_refused(result: EditResult, tensors: dict[str, Tensor], told: str) -> None:
    with pytest.raises(FileFormatError, match=f"{told} in .* Undo with the direction's file"):
        undone(result, changed(result, tensors))
    with pytest.raises(FileFormatError, match=r"not of shape \[1, 3, 8, 8\]"):
        undone(result, changed(result, without="start"))


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize(("size", "mode"), [((8, 8), "RGB"), ((37, 21), "RGBA"), ((5, 30), "RGB")])
@pytest.mark.parametrize("strength", [1.0, 0.4, -0.3])
def test_an_edit_is_taken_back_by_its_direction(
    colours: ColourBackbone, size: tuple[int, int], mode: str, local: bool, strength: float
) -> None:
    source = grey(4, size, mode)
    latent = encode(colours, source, caption="grey")
    direction = identify(latent, to="red")
    result = manipulate(latent, direction, strength=strength, local=local)
    assert unclipped(result.image.convert("RGB")).all()
    made = float(measure_effect(result.latent.z[None] - latent.z, direction.z))  # what was asked for, or the clamp's
    with colours.count() as cost:
        found = undo_direction(colours, Picture.from_image(result.image), direction, strength=made, local=local)
    assert cost.evaluations == 0
    assert np.abs(levels(found) - levels(source)).max() <= 1
    assert (levels(found) == levels(source)).mean() > 0.99


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize("kept", [1.0, 0.6])
def test_a_curved_codec_takes_rounds(
    colours: ColourBackbone, monkeypatch: pytest.MonkeyPatch, local: bool, kept: float
) -> None:
    """With E = sinh and D = asinh the same displacement changes a dark picture more than a bright one.

    A codec that loses nothing is undone by -d; one that keeps a part of the contrast alone needs the fixed point.
    """
    monkeypatch.setattr(colours, "encode", lambda pixels: (3 * pixels).sinh())
    monkeypatch.setattr(colours, "decode", lambda z: kept * z.asinh() / 3)
    source = noisy(4, mean=(120, 110, 150), deviation=12)
    ramp = torch.linspace(-0.9, 0.9, 8)[None, None, None].expand(1, 3, 8, 8).clone()
    direction = shift(colours, ramp)
    result = manipulate(encode(colours, source, caption="grey"), direction, local=local)
    assert unclipped(result.image).all()

    def error(rounds: int) -> int:
        monkeypatch.setattr(undoing, "ROUNDS", rounds)
        found = undo_direction(colours, Picture.from_image(result.image), direction, local=local)
        return int(np.abs(levels(found) - levels(source)).max())

    assert error(5) <= 2
    assert error(0) <= 2 if kept == 1 else error(0) > 3


def test_directions_and_strengths_that_do_not_fit_are_refused(colours: ColourBackbone) -> None:
    picture, red = Picture.from_image(grey()), redder(colours, 0.1)
    with pytest.raises(ConfigError, match=r"another-2.*colours-1"):
        undo_direction(colours, picture, dataclasses.replace(red, model_fingerprint="another-2"))
    with pytest.raises(ConfigError, match="finite number"):
        undo_direction(colours, picture, red, strength=math.nan)
    for shape in ((2, 3, 8, 8), (1, 3, 4, 4)):
        with pytest.raises(ShapeError, match=r"does not fit latents of shape \[1, 3, 8, 8\]"):
            undo_direction(colours, picture, shift(colours, torch.zeros(shape)))


@pytest.fixture
def framed(colours: ColourBackbone) -> EditResult:
    """Of a picture of which the model saw a region alone."""
    frame = Picture.from_image(grey(6, (60, 40))).fit(colours.capabilities, region=(14, 6, 24, 24))
    z = frame.pixels[None]
    latent = JointLatent(
        backbone=colours, z=z, condition=colours.embed(["grey"]), captions=("grey",), frames=(frame,), decoded=z
    )
    return manipulate(latent, identify(latent, to="red"), local=False)


@pytest.mark.parametrize(
    "region",
    ["", "1 2 3 4 5", "14 6 24 0", "60 6 24 24", "-24 6 24 24", "14 40 24 24", "0 0 4 241"],
)
def test_a_region_that_makes_no_sense_is_refused(framed: EditResult, region: str) -> None:
    with pytest.raises(FileFormatError, match="is not four numbers"):
        undone(framed, changed(framed, region=region))
    assert same_picture(undone(framed, old_payload(framed)), framed.source)
    for overlapping in ("-20 -20 24 24", "59 39 3 3", "0 0 240 240"):
        assert undone(framed, changed(framed, region=overlapping)).size == (60, 40)
