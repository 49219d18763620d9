"""The way back: from the file, from what earlier files had, and by a direction, where the codec is the identity."""

import contextlib
import dataclasses
import io
import math
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from latentedit.api import undo as undoing
from latentedit.api.outputs import same_picture
from latentedit.api.result import EditResult
from latentedit.api.undo import difference, undo, undo_direction, undo_stored
from latentedit.api.verbs import edit, identify, manipulate
from latentedit.core.errors import ConfigError, FileFormatError, LatentEditError, ShapeError
from latentedit.core.files.tensors import pack, unpack
from latentedit.directions.base import Direction
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
SIZES = [(8, 8), (37, 21), (5, 30)]
MODES = ["RGB", "RGBA"]


def half_mask(size: tuple[int, int]) -> Image.Image:
    """The left half may change."""
    mask = np.zeros(size[::-1], dtype=np.uint8)
    mask[:, : size[0] // 2] = 255
    return Image.fromarray(mask)


def squeezed(values: np.ndarray) -> Tensor:
    return torch.frombuffer(bytearray(zlib.compress(values.astype(np.uint8).tobytes())), dtype=torch.uint8)


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
    rough = undone(result.latent.backbone, result, pack(tensors, about))
    return pack(tensors | {"missed": squeezed(levels(result.source) - levels(rough))}, about)


def undone(model: Backbone, result: EditResult, payload: bytes) -> Image.Image:
    return undo_stored(Picture.from_image(result.image), payload, model=model)


def refusal(error: type[LatentEditError], model: Backbone, result: EditResult, payload: bytes) -> str:
    with pytest.raises(error) as caught:
        undone(model, result, payload)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 400
    return str(caught.value)


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


@pytest.mark.nightly
@given(
    seed=st.integers(0, 1000),
    size=st.sampled_from(SIZES),
    mode=st.sampled_from(MODES),
    strength=st.sampled_from([1.0, 0.3, -0.6, 0.0]),
    local=st.booleans(),
    masked=st.booleans(),
    pale=st.booleans(),
)
def test_latents_of_earlier_files_give_back_the_picture(
    seed: int, size: tuple[int, int], mode: str, strength: float, local: bool, masked: bool, pale: bool
) -> None:
    """Bit for bit; half precision alone falls one level off at most, where nothing was clipped."""
    model = ColourBackbone()
    source = grey(seed, size, mode) if not pale else noisy(seed, size, mode)
    latent = encode(model, source, caption="grey", mask=half_mask(size) if masked else None)
    direction = identify(latent, to="red" if not pale else "green", seed=seed)
    result = manipulate(latent, direction, strength=strength, local=local)
    assert same_picture(undone(model, result, old_payload(result)), source)
    rough = undone(model, result, changed(result, without="missed"))
    error = np.abs(levels(rough) - levels(source))
    assert error[unclipped(result.image)].max(initial=0) <= 1
    if strength == 0:
        assert error.max() == 0
    if masked:
        assert error[:, size[0] // 2 :].max() == 0


def _red(model: Backbone, amount: float) -> Direction:
    return shift(model, torch.tensor([amount, 0.0, 0.0])[None, :, None, None].expand(1, 3, 8, 8).clone())


@pytest.fixture
def result(colours: ColourBackbone) -> EditResult:
    return edit(colours, grey(), to="red", caption="grey", mask=half_mask((8, 8)))


@pytest.mark.parametrize("mode", MODES)
def test_the_file_gives_back_the_source_without_a_model(colours: ColourBackbone, tmp_path: Path, mode: str) -> None:
    """Of any editor, clipped or not, with a mask, twice in a row; its colour profile and its alpha too."""
    source = noisy(1, (60, 40), mode, mean=(250, 128, 128), deviation=2)
    source.info["icc_profile"] = b"a profile" * 20
    first = edit(colours, source, to="red", caption="grey", mask=half_mask((60, 40)))
    again = manipulate(first.latent, _red(colours, 0.4), local=False)
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


def test_a_grey_picture_of_16_bits_comes_back_as_it_was_read(colours: ColourBackbone, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (30, 20)).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    edit(colours, tmp_path / "deep.png", to="red", caption="grey").save(tmp_path / "edited.png")
    assert same_picture(undo(tmp_path / "edited.png"), Picture.open(tmp_path / "deep.png").image)


def test_a_file_without_what_undo_needs_is_refused(result: EditResult, tmp_path: Path) -> None:
    result.image.save(tmp_path / "plain.png")
    result.save(tmp_path / "edited.jpg")
    for name in ("plain.png", "edited.jpg"):
        with pytest.raises(FileFormatError, match="does not carry the picture before"):
            undo(tmp_path / name)


def test_a_picture_whose_pixels_were_changed_since_is_refused(
    colours: ColourBackbone, result: EditResult, tmp_path: Path
) -> None:
    pixels = np.array(result.image)
    pixels[0, 0, 0] ^= 1
    for payload in (difference(result.source, result.image), old_payload(result)):
        save_image(Image.fromarray(pixels), tmp_path / "x.png", payload=payload)
        with pytest.raises(FileFormatError, match="changed since"):
            undo(tmp_path / "x.png", model=colours)


def packed(image: Image.Image) -> Tensor:
    file = io.BytesIO()
    image.save(file, "PNG")
    return torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(0, dtype=torch.uint8),
        torch.zeros(8, 8),
        torch.full((64,), 255, dtype=torch.uint8),
        packed(Image.new("RGB", (8, 8)))[:-40],
        packed(Image.new("RGB", (8, 8), (1, 0, 0))),
        packed(Image.new("RGB", (9, 8))),
        packed(Image.new("RGBA", (8, 8))),
        packed(Image.new("L", (8, 8))),
    ],
)
def test_a_difference_that_does_not_lead_to_the_source_is_refused(result: EditResult, tensor: Tensor) -> None:
    _, about = unpack(difference(result.source, result.image), "it", allowed=PARTS)
    with pytest.raises(FileFormatError, match="damaged in the picture"):
        undo_stored(Picture.from_image(result.image), pack({"difference": tensor}, about))


def test_a_file_of_an_earlier_version_needs_its_model(
    colours: ColourBackbone, result: EditResult, tmp_path: Path
) -> None:
    save_image(result.image, tmp_path / "old.png", record=result.record.to_json(), payload=old_payload(result))
    with pytest.raises(ConfigError, match="Give it with `model`"):
        undo(tmp_path / "old.png")
    assert same_picture(undo(tmp_path / "old.png", model=colours), result.source)


def test_a_picture_of_another_model_is_refused_by_both_fingerprints(
    colours: ColourBackbone, result: EditResult
) -> None:
    refusal(FileFormatError, colours, result, changed(result, picture="0" * 16))
    found = refusal(ConfigError, colours, result, changed(result, model="another-2"))
    assert "colours-1" in found
    assert "'another-2'" in found
    refusal(ConfigError, colours, result, changed(result, model="a\n\x1b[31m" * 1000))


def test_a_damaged_payload_is_refused(colours: ColourBackbone, result: EditResult) -> None:
    for payload in (difference(result.source, result.image), old_payload(result)):
        half = payload[: len(payload) // 2]
        for damaged in (b"", b"\0" * 8, payload[:-1], payload + b"\0", half, b"x" * len(payload)):
            refusal(FileFormatError, colours, result, damaged)


@pytest.mark.nightly
@given(place=st.integers(0, 10_000), value=st.integers(1, 255), old=st.booleans())
def test_any_byte_may_be_wrong(place: int, value: int, old: bool) -> None:
    """A difference is refused then, or still leads to the source."""
    model = ColourBackbone()
    result = edit(model, grey(), to="red", caption="grey", strength=0.0, mask=half_mask((8, 8)))
    payload = bytearray(old_payload(result) if old else difference(result.source, result.image))
    payload[place % len(payload)] ^= value
    with contextlib.suppress(LatentEditError):
        found = undone(model, result, bytes(payload))
        assert found.size == (8, 8)
        assert old or same_picture(found, result.source)


@pytest.mark.parametrize(
    "tensors",
    [
        {"start": torch.zeros(1, 3, 8, 4)},
        {"moved": torch.zeros(2, 3, 8, 8)},
        {"moved": torch.zeros(3, 8, 8)},
        {"start": torch.zeros(0)},
        {"missed": torch.full((64,), 255, dtype=torch.uint8)},
        {"missed": torch.frombuffer(bytearray(zlib.compress(bytes(64))), dtype=torch.uint8)},
        {"allowed": torch.full((64,), 255, dtype=torch.uint8)},
        {"allowed": torch.zeros(0, dtype=torch.uint8)},
        {"allowed": torch.zeros(8, 8)},
        {"allowed": torch.zeros(64, dtype=torch.bfloat16)},
        {"allowed": torch.frombuffer(bytearray(zlib.compress(bytes(63))), dtype=torch.uint8)},
        {"allowed": torch.frombuffer(bytearray(zlib.compress(bytes(10**7))), dtype=torch.uint8)},
        {"allowed": torch.frombuffer(bytearray(zlib.compress(bytes(64))[:-8]), dtype=torch.uint8)},
    ],
)
def test_tensors_of_other_shapes_are_refused(
    colours: ColourBackbone, result: EditResult, tensors: dict[str, Tensor]
) -> None:
    assert "Undo with the direction's file" in refusal(FileFormatError, colours, result, changed(result, tensors))


def test_a_payload_without_latents_is_refused(colours: ColourBackbone, result: EditResult) -> None:
    _, about = unpack(old_payload(result), "it", allowed=PARTS)
    assert "not of shape [1, 3, 8, 8]" in refusal(FileFormatError, colours, result, pack({}, about))


def test_latents_beyond_all_pictures_are_refused_or_clipped(colours: ColourBackbone, result: EditResult) -> None:
    far = {"start": torch.full((1, 3, 8, 8), 1e38), "moved": torch.full((1, 3, 8, 8), -3e38)}
    assert "nan or infinity" in refusal(ShapeError, colours, result, changed(result, far))


@given(
    seed=st.integers(0, 1000),
    strength=st.floats(-1.5, 1.5),
    mode=st.sampled_from(MODES),
)
def test_a_direction_is_taken_back_by_the_closed_form(seed: int, strength: float, mode: str) -> None:
    """Where the codec is the identity the change does not depend on the picture: x = y - 127.5 s d."""
    model = ColourBackbone()
    amount = torch.from_numpy(np.random.default_rng(seed).normal(0, 0.2, (1, 3, 8, 8)).astype(np.float32))
    edited = grey(seed, (8, 8), mode)
    found = undo_direction(model, Picture.from_image(edited), shift(model, amount), strength=strength, local=False)
    expected = levels(edited)
    moved = 127.5 * np.float32(strength) * amount[0].permute(1, 2, 0).numpy()
    exact = expected[..., :3] - moved
    sure = np.abs(exact - np.floor(exact) - 0.5) > 1e-3  # of two levels that are equally near, either
    assert np.array_equal(levels(found)[..., :3][sure], exact.round().clip(0, 255)[sure])
    if mode == "RGBA":
        assert np.array_equal(levels(found)[..., 3], expected[..., 3])


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", SIZES)
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


def test_a_direction_of_another_model_is_refused_by_both_fingerprints(colours: ColourBackbone) -> None:
    foreign = dataclasses.replace(_red(colours, 0.1), model_fingerprint="another-2")
    with pytest.raises(ConfigError, match=r"another-2.*colours-1"):
        undo_direction(colours, Picture.from_image(grey()), foreign)


@pytest.mark.parametrize("strength", [math.nan, math.inf, -math.inf])
def test_strengths_that_are_no_numbers_are_refused(colours: ColourBackbone, strength: float) -> None:
    with pytest.raises(ConfigError, match="finite number"):
        undo_direction(colours, Picture.from_image(grey()), _red(colours, 0.1), strength=strength)


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (1, 3, 4, 4), (1, 192)])
def test_directions_of_several_pictures_or_other_shapes_are_refused(
    colours: ColourBackbone, shape: tuple[int, ...]
) -> None:
    with pytest.raises(ShapeError, match=r"does not fit latents of shape \[1, 3, 8, 8\]"):
        undo_direction(colours, Picture.from_image(grey()), shift(colours, torch.zeros(shape)))


REGION = (14, 6, 24, 24)


@pytest.fixture
def framed(colours: ColourBackbone) -> EditResult:
    """Of a picture of which the model saw a region alone."""
    frame = Picture.from_image(grey(6, (60, 40))).fit(colours.capabilities, region=REGION)
    z = frame.pixels[None]
    latent = JointLatent(
        backbone=colours, z=z, condition=colours.embed(["grey"]), captions=("grey",), frames=(frame,), decoded=z
    )
    return manipulate(latent, identify(latent, to="red"), local=False)


def test_a_region_is_stored_with_its_latent(colours: ColourBackbone, framed: EditResult) -> None:
    """Inside, the change is taken back; far outside there was none; between, it is carried on along other colours."""
    error = np.abs(levels(undone(colours, framed, changed(framed, without="missed"))) - levels(framed.source))
    moved = np.abs(levels(framed.image) - levels(framed.source))
    assert moved[10:26, 18:34, 0].min() > 30
    assert error[10:26, 18:34].max() <= 1
    assert error[:, :2].max() == error[:, 50:].max() == 0
    whole = changed(framed, without="missed", region="0 0 60 40")
    other = undone(colours, framed, whole)
    assert np.abs(levels(other) - levels(framed.source))[:, 50:].max() > 30


@pytest.mark.parametrize(
    "region",
    [
        "",
        "1 2 3",
        "1 2 3 4 5",
        "14 6 24 0",
        "14 6 -24 24",
        "14 6 24 24.0",
        "--5 1 1 1",
        "a b c d",
        "1" * 5000,
        "60 6 24 24",
        "-24 6 24 24",
        "14 40 24 24",
        "0 0 999999 999999",
        "0 0 4 999",
        "\u0661 1 4 4",
    ],
)
def test_a_region_that_makes_no_sense_is_refused(colours: ColourBackbone, framed: EditResult, region: str) -> None:
    found = refusal(FileFormatError, colours, framed, changed(framed, region=region))
    assert "is not four numbers" in found


@pytest.mark.parametrize("region", ["-20 -20 24 24", "59 39 3 3", "0 0 1 1", "0 0 240 240", "-100 0 160 1"])
def test_any_region_that_overlaps_is_undone_somehow(colours: ColourBackbone, framed: EditResult, region: str) -> None:
    payload = changed(framed, region=region)
    assert undone(colours, framed, payload).size == (60, 40)
