"""Images are fitted to a model's size and changes applied to the original; zero changes restore it bit for bit."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from latentedit.core.errors import ShapeError
from latentedit.encoding import images
from latentedit.encoding.images import SourceImage
from latentedit.models.capabilities import Capabilities
from tests.editors.edits import noise

FIXED = Capabilities(size_multiple=16, sizes=(128, 128, 128))
RANGE = Capabilities(size_multiple=16, sizes=(64, 256, 512))

side = st.integers(2, 300)


@given(width=side, height=side, mode=st.sampled_from(["RGB", "RGBA"]), capabilities=st.sampled_from([FIXED, RANGE]))
@example(width=2, height=2, mode="RGB", capabilities=FIXED)
@example(width=2, height=3000, mode="RGB", capabilities=FIXED)
@example(width=2, height=3000, mode="RGB", capabilities=RANGE)
def test_zero_changes_restore_the_image(width: int, height: int, mode: str, capabilities: Capabilities) -> None:
    image = noise((width, height), mode)
    original = image.copy()
    frame = SourceImage.from_image(image).fit(capabilities)
    restored = frame.restore(torch.zeros_like(frame.pixels))
    assert restored.mode == mode
    assert np.array_equal(restored, original)
    frame.restore(torch.ones_like(frame.pixels))
    assert np.array_equal(image, original)


@given(width=side, height=side)
def test_fixed_sizes_keep_the_aspect_ratio(width: int, height: int) -> None:
    frame = SourceImage.from_image(noise((width, height))).fit(FIXED)
    left, top, inner_width, inner_height = frame.box
    assert frame.pixels.shape == (3, 128, 128)
    assert max(inner_width, inner_height) == 128
    assert abs(inner_width - max(1, 128 * width / max(width, height))) <= 0.5
    assert left + inner_width <= 128
    assert top + inner_height <= 128
    assert abs(2 * left + inner_width - 128) <= 1
    assert abs(2 * top + inner_height - 128) <= 1


@given(width=st.integers(2, 1200), height=st.integers(2, 1200))
def test_variable_sizes_are_multiples_near_the_preferred_area(width: int, height: int) -> None:
    frame = SourceImage.from_image(Image.new("RGB", (width, height))).fit(RANGE)
    h, w = frame.pixels.shape[1:]
    assert h % 16 == 0 == w % 16
    assert 64 <= min(h, w) <= max(h, w) <= 512
    if 1 / 3 < width / height < 3:  # the range limits neither side
        assert 0.9 < h * w / 256**2 < 1.1
        assert abs(np.log((w / h) / (width / height))) < 0.12


@pytest.mark.slow_except("150-capabilities1-None")
@pytest.mark.parametrize(
    ("side", "capabilities", "seen"),
    [(128, FIXED, None), (150, FIXED, None), (512, FIXED, "128 x 128 px, 4.0"), (2000, RANGE, "256 x 256 px, 7.8")],
)
def test_images_with_finer_detail_than_the_model_sees_have_a_note(
    side: int, capabilities: Capabilities, seen: str | None
) -> None:
    """A large image was edited small without a word."""
    notes = SourceImage.from_image(noise((side, side))).fit(capabilities).notes
    assert [*notes] == [] if seen is None else seen in notes[0]
    region = SourceImage.from_image(noise((2000, 2000))).fit(FIXED, region=(0, 0, side, side)).notes
    assert bool(region) == (side >= 512), "the part that the model is shown counts"


def test_processing_in_strips_gives_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    image = SourceImage(image=noise((50, 40), "RGBA"))
    mask = Image.fromarray(np.tile(np.arange(0, 250, 5, dtype=np.uint8), (40, 1)))
    change = torch.rand(3, 128, 128, generator=torch.Generator().manual_seed(1)) - 0.5
    expected, expected_on_white = image.fit(FIXED, mask=mask).restore(change), image.on_white()
    monkeypatch.setattr(images, "_STRIP_PIXELS", 50 * 7)
    assert image.on_white() == expected_on_white
    assert image.fit(FIXED, mask=mask).restore(change) == expected


def test_pixels_are_padded_and_on_white() -> None:
    """Edges are repeated, transparent pixels are white, and a mask has no effect."""
    image = SourceImage.from_image(noise((128, 64)))
    frame = image.fit(FIXED)
    assert frame.box == (0, 32, 128, 64)
    expected = np.asarray(image.image).transpose(2, 0, 1) / 127.5 - 1
    assert np.abs(frame.pixels[:, 32:96].numpy() - expected).max() < 1e-6
    assert (frame.pixels[:, :32] == frame.pixels[:, 32:33]).all()
    assert (frame.pixels[:, 96:] == frame.pixels[:, 95:96]).all()
    assert frame.allowed is None
    masked = image.fit(FIXED, mask=Image.fromarray(half_white(128, 64)))
    assert torch.equal(frame.pixels, masked.pixels)
    assert frame.box == masked.box
    transparent = SourceImage.from_image(Image.new("RGBA", (128, 128), (0, 0, 0, 0)))
    assert (transparent.fit(FIXED).pixels == 1).all()


def test_changes_keep_their_position() -> None:
    frame = SourceImage.from_image(Image.new("RGB", (512, 256), (50, 50, 50))).fit(FIXED)
    change = torch.zeros(3, 128, 128)
    change[0, 48:64, 96:112] = 1.0  # 16 px at a quarter of the image's size, below the 32 px of padding
    difference = np.asarray(frame.restore(change))[..., 0].astype(int) - 50
    rows, columns = np.nonzero(difference > 64)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (64, 127, 384, 447)
    assert abs(difference[80:112, 400:432] - 127.5).max() <= 1
    assert not difference[160:].any()


def test_changes_are_rounded_and_clipped() -> None:
    levels = np.arange(-255, 257, 2).reshape(16, 16)
    gray = np.full((16, 16, 3), 100, dtype=np.uint8)
    frame = SourceImage.from_image(Image.fromarray(gray)).fit(Capabilities(sizes=(16, 16, 16)))
    for shift in (-0.45, 0.0, 0.45):
        change = torch.from_numpy((levels + shift).astype(np.float32)) / 127.5
        restored = np.asarray(frame.restore(change.expand(3, -1, -1)))
        assert np.array_equal(restored, (gray + levels[..., None]).clip(0, 255))


def test_nan_changes_are_rejected() -> None:
    frame = SourceImage.from_image(noise((20, 20))).fit(FIXED)
    with pytest.raises(ShapeError):
        frame.restore(torch.full((3, 128, 128), torch.nan))


def half_white(width: int, height: int) -> np.ndarray:
    """A mask whose right half is white."""
    levels = np.zeros((height, width), dtype=np.uint8)
    levels[:, width // 2 :] = 255
    return levels


@settings(max_examples=15)
@given(
    width=st.integers(2, 220),
    height=st.integers(2, 220),
    mode=st.sampled_from(["RGB", "RGBA"]),
    capabilities=st.sampled_from([FIXED, RANGE]),
    seed=st.integers(0, 2**32),
)
def test_masks_keep_black_pixels_bit_for_bit_and_fully_change_white_ones(
    width: int, height: int, mode: str, capabilities: Capabilities, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    levels = np.zeros((height, width), dtype=np.uint8)
    levels[generator.integers(height) :, : generator.integers(1, width + 1)] = 255
    assume(levels.min() == 0 and min(levels.any(1).sum(), levels.any(0).sum()) > 4)
    image = SourceImage.from_image(noise((width, height), mode))
    frame = image.fit(capabilities, mask=Image.fromarray(levels))
    assert frame.allowed is not None
    change = torch.from_numpy(generator.uniform(-1, 1, frame.pixels.shape)).to(torch.float32)
    restored = np.asarray(frame.restore(change))
    unmasked = np.asarray(image.fit(capabilities).restore(change))
    assert np.array_equal(restored[levels == 0], np.asarray(image.image)[levels == 0])
    assert np.array_equal(restored[frame.allowed == 255], unmasked[frame.allowed == 255])
    assert not np.array_equal(restored, image.image)
    assert np.array_equal(frame.restore(torch.zeros_like(change)), image.image)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_gray_masks_scale_the_change(mode: str) -> None:
    """51 / 255 of a change by 25 levels is 5; the white third is far enough from the gray one."""
    image = SourceImage.from_image(Image.new(mode, (60, 60), (100, 100, 100, 255)[: len(mode)]))
    mask = Image.new("L", (60, 60), 51)
    mask.paste(255, (0, 0, 20, 60))
    restored = np.asarray(image.fit(FIXED, mask=mask).restore(torch.full_like(image.fit(FIXED).pixels, 25 / 127.5)))
    assert set(np.unique(restored[:, 30:, :3])) == {105}


def test_masks_and_transparency_protect_pixels() -> None:
    pixels = np.full((60, 60, 4), 100, dtype=np.uint8)
    pixels[:30, :, 3], pixels[30:, :, 3] = 0, 128
    frame = SourceImage.from_image(Image.fromarray(pixels)).fit(FIXED, mask=Image.fromarray(half_white(60, 60)))
    restored = np.asarray(frame.restore(torch.full_like(frame.pixels, 0.5)))
    changed = (restored != pixels).any(2)
    assert changed[30:, 31:].all()
    assert not changed[:30].any()
    assert not changed[:, :30].any()
    assert np.array_equal(restored[..., 3], pixels[..., 3])


def test_fingerprints_depend_only_on_the_pixels(tmp_path: Path) -> None:
    image = noise((12, 8))
    fingerprint = SourceImage.from_image(image).fingerprint
    assert len(fingerprint) == 16
    assert int(fingerprint, 16) >= 0
    for name in ("a.png", "b.webp", "c.bmp"):
        image.save(tmp_path / name, **({"lossless": True} if name.endswith("webp") else {}))
        read = SourceImage.open(tmp_path / name)
        assert (read.fingerprint, read.path, read.size) == (fingerprint, tmp_path / name, (12, 8))
    image.info["icc_profile"] = b"profile"
    assert SourceImage.from_image(image).fingerprint == fingerprint
    one_bit_changed = image.copy()
    red, green, blue = np.asarray(image)[7, 11]
    one_bit_changed.putpixel((11, 7), (int(red) ^ 1, int(green), int(blue)))
    same_bytes = Image.frombytes("RGB", (8, 12), image.tobytes())
    as_rgba = Image.frombytes("RGBA", (9, 8), image.tobytes())
    images = [image, one_bit_changed, same_bytes, as_rgba, image.convert("RGBA")]
    assert len({SourceImage.from_image(item).fingerprint for item in images}) == 5
