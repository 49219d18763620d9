"""An image goes into a model's size and its change comes back; without a change it is the image, bit for bit."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from latentedit.core.errors import ShapeError
from latentedit.latents import images
from latentedit.latents.images import SourceImage
from latentedit.models.base import Capabilities

pytestmark = pytest.mark.slow

FIXED = Capabilities(size_multiple=16, sizes=(128, 128, 128))
RANGE = Capabilities(size_multiple=16, sizes=(64, 256, 512))

side = st.integers(2, 300)


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    values = np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, len(mode)))
    return Image.fromarray(values.astype(np.uint8))


@given(width=side, height=side, mode=st.sampled_from(["RGB", "RGBA"]), capabilities=st.sampled_from([FIXED, RANGE]))
@example(width=2, height=2, mode="RGB", capabilities=FIXED)
@example(width=2, height=3000, mode="RGB", capabilities=FIXED)
@example(width=2, height=3000, mode="RGB", capabilities=RANGE)
def test_no_change_gives_back_the_image(width: int, height: int, mode: str, capabilities: Capabilities) -> None:
    image = noise(width, height, mode)
    before = image.copy()
    frame = SourceImage.from_image(image).fit(capabilities)
    restored = frame.restore(torch.zeros_like(frame.pixels))
    assert restored.mode == mode
    assert np.array_equal(restored, before)
    frame.restore(torch.ones_like(frame.pixels))
    assert np.array_equal(image, before)


@given(width=side, height=side)
def test_frame_has_the_one_size_and_the_image_keeps_its_proportions(width: int, height: int) -> None:
    frame = SourceImage.from_image(noise(width, height)).fit(FIXED)
    left, top, inner_width, inner_height = frame.box
    assert frame.pixels.shape == (3, 128, 128)
    assert max(inner_width, inner_height) == 128
    assert abs(inner_width - max(1, 128 * width / max(width, height))) <= 0.5
    assert left + inner_width <= 128
    assert top + inner_height <= 128
    assert abs(2 * left + inner_width - 128) <= 1
    assert abs(2 * top + inner_height - 128) <= 1


@given(width=st.integers(2, 1200), height=st.integers(2, 1200))
def test_canvas_is_a_multiple_in_range_near_the_preferred_area(width: int, height: int) -> None:
    frame = SourceImage.from_image(Image.new("RGB", (width, height))).fit(RANGE)
    h, w = frame.pixels.shape[1:]
    assert h % 16 == 0 == w % 16
    assert 64 <= min(h, w) <= max(h, w) <= 512
    if 1 / 3 < width / height < 3:  # no side is cut by the range
        assert 0.9 < h * w / 256**2 < 1.1
        assert abs(np.log((w / h) / (width / height))) < 0.12


def test_large_images_go_strip_by_strip_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    image = SourceImage(image=noise(50, 40, "RGBA"))
    mask = Image.fromarray(np.tile(np.arange(0, 250, 5, dtype=np.uint8), (40, 1)))
    change = torch.rand(3, 128, 128, generator=torch.Generator().manual_seed(1)) - 0.5
    whole, white = image.fit(FIXED, mask=mask).restore(change), image.on_white()
    monkeypatch.setattr(images, "_STRIP_PIXELS", 50 * 7)
    assert image.on_white() == white
    assert image.fit(FIXED, mask=mask).restore(change) == whole


def test_what_the_model_sees() -> None:
    """Edges are repeated, the image is taken as it is, what is transparent is white; a mask changes none of it."""
    image = SourceImage.from_image(noise(128, 64))
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
    clear = SourceImage.from_image(Image.new("RGBA", (128, 128), (0, 0, 0, 0)))
    assert (clear.fit(FIXED).pixels == 1).all()


@pytest.mark.parametrize("size", [(40, 40), (300, 200), (90, 250)])
def test_a_uniform_change_shifts_every_pixel_alike(size: tuple[int, int]) -> None:
    image = SourceImage.from_image(Image.new("RGB", size, (100, 100, 100)))
    frame = image.fit(FIXED)
    restored = np.asarray(frame.restore(torch.full_like(frame.pixels, 20 / 127.5)))
    assert set(np.unique(restored)) == {120}


def test_a_change_lands_where_it_was_made() -> None:
    frame = SourceImage.from_image(Image.new("RGB", (512, 256), (50, 50, 50))).fit(FIXED)
    change = torch.zeros(3, 128, 128)
    change[0, 48:64, 96:112] = 1.0  # 16 px at a quarter of the image's size, below the 32 px of padding
    moved = np.asarray(frame.restore(change))[..., 0].astype(int) - 50
    rows, columns = np.nonzero(moved > 64)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (64, 127, 384, 447)
    assert abs(moved[80:112, 400:432] - 127.5).max() <= 1
    assert not moved[160:].any()


def test_levels_of_change_are_levels_rounded_and_clipped() -> None:
    levels = np.arange(-255, 257, 2).reshape(16, 16)
    gray = np.full((16, 16, 3), 100, dtype=np.uint8)
    frame = SourceImage.from_image(Image.fromarray(gray)).fit(Capabilities(sizes=(16, 16, 16)))
    for shift in (-0.45, 0.0, 0.45):
        change = torch.from_numpy((levels + shift).astype(np.float32)) / 127.5
        restored = np.asarray(frame.restore(change.expand(3, -1, -1)))
        assert np.array_equal(restored, (gray + levels[..., None]).clip(0, 255))


def test_changes_that_do_not_fit_are_refused() -> None:
    frame = SourceImage.from_image(noise(20, 20)).fit(FIXED)
    with pytest.raises(ShapeError):
        frame.restore(torch.full((3, 128, 128), torch.nan))


def half_white(width: int, height: int) -> np.ndarray:
    """A mask, white from the middle column on."""
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
def test_a_mask_keeps_what_is_black_bit_for_bit_and_gives_all_of_the_change_inside(
    width: int, height: int, mode: str, capabilities: Capabilities, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    levels = np.zeros((height, width), dtype=np.uint8)
    levels[generator.integers(height) :, : generator.integers(1, width + 1)] = 255
    assume(levels.min() == 0 and min(levels.any(1).sum(), levels.any(0).sum()) > 4)
    image = SourceImage.from_image(noise(width, height, mode))
    frame = image.fit(capabilities, mask=Image.fromarray(levels))
    assert frame.allowed is not None
    change = torch.from_numpy(generator.uniform(-1, 1, frame.pixels.shape)).to(torch.float32)
    restored = np.asarray(frame.restore(change))
    free = np.asarray(image.fit(capabilities).restore(change))
    assert np.array_equal(restored[levels == 0], np.asarray(image.image)[levels == 0])
    assert np.array_equal(restored[frame.allowed == 255], free[frame.allowed == 255])
    assert not np.array_equal(restored, image.image)
    assert np.array_equal(frame.restore(torch.zeros_like(change)), image.image)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_gray_mask_gives_that_share_of_the_change(mode: str) -> None:
    """25 levels at a gray of 51 / 255 are 5."""
    image = SourceImage.from_image(Image.new(mode, (60, 60), (100, 100, 100, 255)[: len(mode)]))
    frame = image.fit(FIXED, mask=Image.new("L", (60, 60), 51))
    restored = np.asarray(frame.restore(torch.full_like(frame.pixels, 25 / 127.5)))
    assert set(np.unique(restored[..., :3])) == {105}


def test_a_mask_and_transparency_both_protect() -> None:
    pixels = np.full((60, 60, 4), 100, dtype=np.uint8)
    pixels[:30, :, 3], pixels[30:, :, 3] = 0, 128
    frame = SourceImage.from_image(Image.fromarray(pixels)).fit(FIXED, mask=Image.fromarray(half_white(60, 60)))
    restored = np.asarray(frame.restore(torch.full_like(frame.pixels, 0.5)))
    changed = (restored != pixels).any(2)
    assert changed[30:, 31:].all()
    assert not changed[:30].any()
    assert not changed[:, :30].any()
    assert np.array_equal(restored[..., 3], pixels[..., 3])


def test_a_mask_has_the_size_of_the_upright_image(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    noise(30, 20).save(tmp_path / "phone.png", exif=exif)
    Image.fromarray(half_white(20, 30)).save(tmp_path / "mask.png")
    image = SourceImage.open(tmp_path / "phone.png")
    assert (image.path, image.size) == (tmp_path / "phone.png", (20, 30))
    frame = image.fit(FIXED, mask=tmp_path / "mask.png")
    assert np.array_equal(frame.allowed, half_white(20, 30))


def test_the_fingerprint_is_that_of_the_pixels(tmp_path: Path) -> None:
    image = noise(12, 8)
    known = SourceImage.from_image(image).fingerprint
    assert len(known) == 16
    assert int(known, 16) >= 0
    for name in ("a.png", "b.webp", "c.bmp"):
        image.save(tmp_path / name, **({"lossless": True} if name.endswith("webp") else {}))
        assert SourceImage.open(tmp_path / name).fingerprint == known
    image.info["icc_profile"] = b"profile"
    assert SourceImage.from_image(image).fingerprint == known
    nudged = image.copy()
    red, green, blue = np.asarray(image)[7, 11]
    nudged.putpixel((11, 7), (int(red) ^ 1, int(green), int(blue)))
    same_bytes = Image.frombytes("RGB", (8, 12), image.tobytes())
    as_four = Image.frombytes("RGBA", (9, 8), image.tobytes())
    images = [image, nudged, same_bytes, as_four, image.convert("RGBA")]
    assert len({SourceImage.from_image(item).fingerprint for item in images}) == 5
