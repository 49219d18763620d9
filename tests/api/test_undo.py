"""The way back, on a model whose codec is the identity, so that what an edit did is known to the level."""

import contextlib
import dataclasses
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

from latentedit.api import undo
from latentedit.api.result import EditResult
from latentedit.api.undo import METHOD, Undone, stored_latent, undo_again, undo_direction, undo_stored
from latentedit.api.verbs import edit, identify, manipulate
from latentedit.core.errors import ConfigError, FileFormatError, LatentEditError, ShapeError
from latentedit.core.files.tensors import pack, unpack
from latentedit.directions.base import Direction
from latentedit.editors.strength import measure_effect
from latentedit.latents.encode import encode
from latentedit.latents.joint import JointLatent
from latentedit.latents.pictures import Picture
from latentedit.latents.record import RunRecord
from latentedit.models.base import Backbone
from tests.editors.colours import ColourBackbone
from tests.editors.edits import grey, levels, noisy

PARTS = ("start", "moved", "allowed", "missed")
SIZES = [(8, 8), (37, 21), (5, 30)]
MODES = ["RGB", "RGBA"]


def half_mask(size: tuple[int, int]) -> Image.Image:
    """The left half may change."""
    mask = np.zeros(size[::-1], dtype=np.uint8)
    mask[:, : size[0] // 2] = 255
    return Image.fromarray(mask)


def payload_of(result: EditResult) -> bytes:
    return stored_latent(result.latent, result.image, local=result.record.local)


def undone(model: Backbone, result: EditResult, payload: bytes | None = None) -> Undone:
    return undo_stored(model, Picture.from_image(result.image), payload_of(result) if payload is None else payload)


def refusal(error: type[LatentEditError], model: Backbone, result: EditResult, payload: bytes) -> str:
    with pytest.raises(error) as caught:
        undone(model, result, payload)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 400
    return str(caught.value)


def changed(result: EditResult, tensors: dict[str, Tensor] | None = None, *, without: str = "", **about: str) -> bytes:
    """The payload with other tensors, with one fewer, or with other things said about them."""
    old, told = unpack(payload_of(result), "a payload", allowed=PARTS)
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


@given(
    seed=st.integers(0, 1000),
    size=st.sampled_from(SIZES),
    mode=st.sampled_from(MODES),
    strength=st.sampled_from([1.0, 0.3, -0.6, 0.0]),
    local=st.booleans(),
    masked=st.booleans(),
    pale=st.booleans(),
)
def test_a_stored_latent_gives_back_the_picture(
    seed: int, size: tuple[int, int], mode: str, strength: float, local: bool, masked: bool, pale: bool
) -> None:
    """Bit for bit; half precision alone falls one level off at most, where nothing was clipped."""
    model = ColourBackbone()
    source = grey(seed, size, mode) if not pale else noisy(seed, size, mode)
    latent = encode(model, source, caption="grey", mask=half_mask(size) if masked else None)
    direction = identify(latent, to="red" if not pale else "green", seed=seed)
    result = manipulate(latent, direction, strength=strength, local=local)
    found = undone(model, result)
    assert found.how == "stored latent"
    assert (found.image.mode, found.image.size) == (source.mode, source.size)
    assert np.array_equal(levels(found.image), levels(source))
    rough = undone(model, result, changed(result, without="missed"))
    error = np.abs(levels(rough.image) - levels(source))
    assert error[unclipped(result.image)].max(initial=0) <= 1
    if strength == 0:
        assert error.max() == 0
    if masked:
        assert error[:, size[0] // 2 :].max() == 0


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", MODES)
def test_the_error_is_that_of_half_precision(colours: ColourBackbone, size: tuple[int, int], mode: str) -> None:
    """In single precision the same latents give back every pixel that was not clipped."""
    result = edit(colours, grey(3, size, mode), to="red", caption="grey")
    assert unclipped(result.image.convert("RGB")).all()
    assert (levels(result.image) != levels(result.source)).mean() > 0.5
    start, moved = result.latent.start, result.latent.z
    assert start is not None
    single = changed(result, {"start": start, "moved": moved}, without="missed")
    found = undone(colours, result, single)
    assert np.array_equal(levels(found.image), levels(result.source))
    assert np.array_equal(levels(undone(colours, result).image), levels(result.source))


def test_what_was_clipped_is_known_from_what_is_missed_alone(colours: ColourBackbone) -> None:
    """A picture that is red and full goes no further; what comes back is lower by what was cut off."""
    source = noisy(1, mean=(250, 128, 128), deviation=2)
    result = manipulate(encode(colours, source, caption="grey"), _red(colours, 0.4), local=False)
    assert levels(result.image)[..., 0].min() == 255
    assert np.array_equal(levels(undone(colours, result).image), levels(source))
    rough = undone(colours, result, changed(result, without="missed"))
    error = levels(rough.image) - levels(source)
    assert error[..., 0] == pytest.approx(255 - 51 - levels(source)[..., 0], abs=1)
    assert np.abs(error[..., 1:]).max() <= 1


def _red(model: Backbone, amount: float) -> Direction:
    return shift(model, torch.tensor([amount, 0.0, 0.0])[None, :, None, None].expand(1, 3, 8, 8).clone())


def test_only_what_was_allowed_to_change_is_changed_back(colours: ColourBackbone) -> None:
    source = grey(5, (60, 40))
    result = edit(colours, source, to="red", caption="grey", mask=half_mask((60, 40)), local=True)
    payload = payload_of(result)
    assert len(payload) < 8_000  # two latents of 192 numbers, and a mask that is flat
    with_mask = undone(colours, result, payload)
    assert np.abs(levels(with_mask.image) - levels(source)).max() <= 1
    tensors, about = unpack(payload, "it", allowed=PARTS)
    del tensors["allowed"]
    without = undone(colours, result, pack(tensors, about))
    assert np.abs(levels(without.image) - levels(source))[:, 30:].max() > 30


@pytest.mark.parametrize("method", ["flowedit", "sdedit"])
def test_edits_of_any_editor_are_taken_back(colours: ColourBackbone, method: str) -> None:
    source = grey(2)
    result = edit(colours, source, to="red", caption="grey", method=method, strength=0.5)
    assert not result.record.local
    error = np.abs(levels(undone(colours, result).image) - levels(source))
    assert error[unclipped(result.image)].max() <= 1


@pytest.fixture
def result(colours: ColourBackbone) -> EditResult:
    return edit(colours, grey(), to="red", caption="grey", mask=half_mask((8, 8)))


def test_a_picture_whose_pixels_were_changed_since_is_refused(colours: ColourBackbone, result: EditResult) -> None:
    payload = payload_of(result)
    pixels = np.array(result.image)
    pixels[0, 0, 0] ^= 1
    with pytest.raises(FileFormatError, match="changed since"):
        undo_stored(colours, Picture.from_image(Image.fromarray(pixels)), payload)
    refusal(FileFormatError, colours, result, changed(result, picture="0" * 16))


def test_a_picture_of_another_model_is_refused_by_both_fingerprints(
    colours: ColourBackbone, result: EditResult
) -> None:
    found = refusal(ConfigError, colours, result, changed(result, model="another-2"))
    assert "colours-1" in found
    assert "'another-2'" in found
    refusal(ConfigError, colours, result, changed(result, model="a\n\x1b[31m" * 1000))


def test_a_damaged_payload_is_refused(colours: ColourBackbone, result: EditResult) -> None:
    payload = payload_of(result)
    for damaged in (b"", b"\0" * 8, payload[:-1], payload + b"\0", payload[: len(payload) // 2], b"x" * len(payload)):
        refusal(FileFormatError, colours, result, damaged)


@given(place=st.integers(0, 10_000), value=st.integers(1, 255))
def test_any_byte_may_be_wrong(place: int, value: int) -> None:
    model = ColourBackbone()
    result = edit(model, grey(), to="red", caption="grey", strength=0.0, mask=half_mask((8, 8)))
    payload = bytearray(payload_of(result))
    payload[place % len(payload)] ^= value
    with contextlib.suppress(LatentEditError):
        found = undone(model, result, bytes(payload))
        assert found.image.size == (8, 8)


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
    _, about = unpack(payload_of(result), "it", allowed=PARTS)
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
    assert found.how == "direction"
    expected = levels(edited)
    moved = 127.5 * np.float32(strength) * amount[0].permute(1, 2, 0).numpy()
    exact = expected[..., :3] - moved
    sure = np.abs(exact - np.floor(exact) - 0.5) > 1e-3  # of two levels that are equally near, either
    assert np.array_equal(levels(found.image)[..., :3][sure], exact.round().clip(0, 255)[sure])
    if mode == "RGBA":
        assert np.array_equal(levels(found.image)[..., 3], expected[..., 3])


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
    assert np.abs(levels(found.image) - levels(source)).max() <= 1
    assert (levels(found.image) == levels(source)).mean() > 0.99


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
        monkeypatch.setattr(undo, "ROUNDS", rounds)
        found = undo_direction(colours, Picture.from_image(result.image), direction, local=local)
        return int(np.abs(levels(found.image) - levels(source)).max())

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
    error = np.abs(levels(undone(colours, framed).image) - levels(framed.source))
    moved = np.abs(levels(framed.image) - levels(framed.source))
    assert moved[10:26, 18:34, 0].min() > 30
    assert error[10:26, 18:34].max() <= 1
    assert error[:, :2].max() == error[:, 50:].max() == 0
    whole = changed(framed, region="0 0 60 40")
    other = undone(colours, framed, whole)
    assert np.abs(levels(other.image) - levels(framed.source))[:, 50:].max() > 30


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
    assert undone(colours, framed, payload).image.size == (60, 40)


def test_an_undone_picture_says_how_it_was_undone(colours: ColourBackbone, result: EditResult) -> None:
    picture = Picture(image=result.image, path=Path("folder/me.edited.png"))
    stored = undo_stored(colours, picture, payload_of(result)).record
    assert (stored.method, stored.directions, stored.before) == (METHOD, (), None)
    assert (stored.picture.name, stored.picture.fingerprint) == ("me.edited.png", picture.fingerprint)
    assert stored.evaluations == 0
    assert (stored.model, stored.versions) == (result.record.model, result.record.versions)
    direction = _red(colours, 0.2)
    (applied,) = undo_direction(colours, picture, direction, strength=0.5, local=False).record.directions
    assert (applied.fingerprint, applied.strength, applied.given) == (direction.fingerprint, 0.5, True)


def test_what_was_undone_is_undone_again(colours: ColourBackbone, result: EditResult) -> None:
    picture, payload = Picture.from_image(result.image), payload_of(result)
    direction = _red(colours, 0.2)
    for first in (
        undo_stored(colours, picture, payload),
        undo_direction(colours, picture, direction, strength=-0.5, local=False),
        undo_direction(colours, picture, direction, strength=0.7, local=True),
    ):
        record = RunRecord.from_json(first.record.to_json(), "a file")
        again = undo_again(record, colours, picture, payload, [_red(colours, 0.3), direction])
        assert again.record == record
        assert again.how == first.how
        assert np.array_equal(levels(again.image), levels(first.image))


def test_what_is_missing_for_undoing_again_is_named(colours: ColourBackbone, result: EditResult) -> None:
    picture, payload = Picture.from_image(result.image), payload_of(result)
    stored = undo_stored(colours, picture, payload).record
    by_direction = undo_direction(colours, picture, _red(colours, 0.2)).record
    for record, source, found, words in (
        (stored, Picture.from_image(grey(1)), payload, "--picture"),
        (stored, picture, None, "carry the latent"),
        (by_direction, picture, payload, "--direction"),
    ):
        with pytest.raises(ConfigError, match=words) as caught:
            undo_again(record, colours, source, found, [])
        assert len(str(caught.value).splitlines()) == 1
