"""Unwanted changes that editors make to a whole image: frame, size, colors, sharpness, codec noise."""

import dataclasses
import functools
import io
import itertools
import math

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from latentedit import load
from latentedit.photo import Array, Matrix, scaling
from latentedit_bench.known_pairs.opencv import cv2

Pixels = NDArray[np.uint8]  # ``[height, width, 3]``

CODECS = (
    "none", "jpeg", "strong jpeg", "blur", "blur and jpeg", "down and up", "texture", "texture and jpeg", "autoencoder",
    "redrawn",
)  # fmt: skip
"""Kinds of loss; "texture" is another one of the same strength, "autoencoder" a round trip through that of a bundled
model; "redrawn", as by instruction editors: things drift by 1 to 8 pixels, texture is made up, regions have casts."""

_AUTOENCODERS = ("portraits", "portraits-unet")
_TILE_PX = 256
_MARGIN_PX = 16  # not used at each side of a tile: the edge of an image is decoded less well


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Damage:
    """One editor's damage, drawn once and then fixed."""

    matrix: Matrix  # from the original's pixels to the edited image's
    size: tuple[int, int]  # width and height of the edited image
    gamma: NDArray[np.float64]  # one value for each channel
    gain: NDArray[np.float64]  # one value for each channel
    contrast: float  # around middle gray
    saturation: float
    codec: str  # one of `CODECS`
    amount: float  # the codec's loss, in [0, 1]
    seed: int  # seed of its noise
    light: str = "none"  # one of `LIGHTS`
    shade: float = 0.0  # share of the light that is lost, or won if below 0, where it changes most
    grain: float = 0.0  # levels of the editor's own grain
    fill: int | None = None  # level of what is beyond the original; None if it is mirrored

    def apply(self, image: Array) -> Pixels:
        """The editor's output for a true edit; the outside of the original is mirrored."""
        shrinks = 1 / math.sqrt(abs(float(np.linalg.det(self.matrix[:2, :2]))))
        if shrinks > 1.02:
            image = blurred(image, 0.5 * math.sqrt(shrinks**2 - 1))
        frame = {"flags": cv2.INTER_LANCZOS4, "borderMode": cv2.BORDER_REFLECT}
        if self.fill is not None:
            frame |= {"borderMode": cv2.BORDER_CONSTANT, "borderValue": [self.fill] * 3}
        image = image * lit(image.shape[:2], self.light, self.shade, np.random.default_rng([self.seed, 1]))[..., None]
        if self.grain:
            image = image + grain(image, self.grain, np.random.default_rng([self.seed, 2])).astype(np.float32)
        moved = cv2.warpAffine(image.astype(np.float32), self.matrix[:2], self.size, **frame)
        toned = 255 * self.gain * (np.clip(moved, 0, 255) / 255) ** self.gamma
        toned = (toned - 128) * self.contrast + 128
        gray = (toned @ np.array([0.299, 0.587, 0.114]))[..., None]
        return self._coded((gray + (toned - gray) * self.saturation).astype(np.float32))

    def _coded(self, image: Array) -> Pixels:
        codec, amount, generator = self.codec, self.amount, np.random.default_rng(self.seed)
        if "blur" in codec:
            image = blurred(image, 0.5 + 0.9 * amount)
        if codec == "down and up":
            height, width = image.shape[:2]
            factor = 0.8 - 0.3 * amount
            small = (max(8, round(width * factor)), max(8, round(height * factor)))
            down = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
            image = cv2.resize(down, (width, height), interpolation=cv2.INTER_CUBIC)
        if codec == "redrawn":
            image = _redrawn(image, amount, generator)
        if "texture" in codec:
            image = _with_other_texture(image, 0.25 + 0.45 * amount, generator)
        pixels = as_pixels(image)
        if "jpeg" in codec:
            file = io.BytesIO()
            quality = round(60 - 20 * amount) if codec == "strong jpeg" else round(95 - 30 * amount)
            Image.fromarray(pixels).save(file, format="JPEG", quality=quality)
            pixels = np.asarray(Image.open(file).convert("RGB"))
        if codec == "autoencoder":
            pixels = _through_autoencoder(pixels, _AUTOENCODERS[int(amount * len(_AUTOENCODERS))])
        return pixels


LIGHTS = ("above", "side", "corners", "spot")


def lit(shape: tuple[int, int], light: str, shade: float, generator: np.random.Generator) -> NDArray[np.float64]:
    """The factor of other light, ``[height, width]``."""
    y, x = (np.linspace(0, 1, side) for side in shape)
    x, y = np.meshgrid(x, y)
    left, top = generator.uniform(0.2, 0.8, 2)
    fall = {
        "none": np.zeros(shape), "above": (1 - y) ** 2, "side": x**2, "corners": 2 * ((x - 0.5) ** 2 + (y - 0.5) ** 2),
        "spot": np.exp(-((x - left) ** 2 + (y - top) ** 2) / 0.06),
    }  # fmt: skip
    return 1 - shade * fall[light]


def draw_more(damage: Damage, generator: np.random.Generator) -> Damage:
    """The damage with other light in a fifth of all cases, own grain in a fifth, and a filled border in a third."""
    light = str(generator.choice(["none", *LIGHTS], p=[0.8, 0.05, 0.05, 0.05, 0.05]))
    shade = 0.0 if light == "none" else float(generator.choice([1, -0.8]) * generator.uniform(0.1, 0.4))
    levels = float(generator.choice([0, generator.uniform(5, 24)], p=[0.8, 0.2]))
    fill = int(generator.choice([0, 128, 255])) if generator.uniform() < 1 / 3 else None
    return dataclasses.replace(damage, light=light, shade=shade, grain=levels, fill=fill)


def draw_damage(size: tuple[int, int], generator: np.random.Generator, *, reframed: bool = False) -> Damage:
    """Frame, size, colors and codec of one editor, for an original of this width and height."""
    edited = _edited_size(size, generator)
    cast = generator.choice(["none", "light", "strong"], p=[0.35, 0.4, 0.25])
    spread = {"none": 0.0, "light": 0.05, "strong": 0.125}[cast]
    return Damage(
        matrix=_frame(size, edited, generator, reframed=reframed),
        size=edited,
        gamma=np.exp(generator.normal(0, spread, 3) * 0.6 + generator.normal(0, spread) * 0.8),
        gain=1 + generator.normal(0, 0.4 * spread, 3),
        contrast=1 + float(generator.normal(0, 0.5 * spread)),
        saturation=1 + float(generator.normal(0, 1.2 * spread)),
        codec=str(generator.choice(CODECS)),
        amount=float(generator.uniform()),
        seed=int(generator.integers(2**31)),
    )


def _edited_size(size: tuple[int, int], generator: np.random.Generator) -> tuple[int, int]:
    """A size that editors choose: the same, multiples of 16, or about the model's own number of pixels."""
    kind = generator.integers(4)
    if kind == 0:
        return size
    factor = 1.0 if kind == 1 else float(generator.uniform(0.7, 1.5))
    multiple = 16 if kind < 3 else 32
    if min(size) * factor < 4 * multiple:
        multiple = 8
    width, height = (max(64, multiple * round(side * factor / multiple)) for side in size)
    return width, height


def _frame(size: tuple[int, int], edited: tuple[int, int], generator: np.random.Generator, *, reframed: bool) -> Matrix:
    """Resizing, and on it a shift, a zoom and a turn about the middle."""
    zoom, turn, shift = 1.0, 0.0, np.zeros(2)
    if reframed:
        zoom = float(generator.choice([generator.uniform(0.78, 0.88), generator.uniform(1.15, 1.3)]))
        shift = generator.uniform(-0.06, 0.06, 2) * min(size)
    elif generator.uniform() < 0.85:
        furthest = min(30.0, 0.08 * min(size))
        shift = generator.uniform(-1, 1, 2) * furthest * generator.uniform() ** 2
        zoom = float(generator.choice([1.0, generator.uniform(0.95, 1.05)]))
        turn = math.radians(float(generator.choice([0.0, 0.0, generator.uniform(-1, 1)])))
    cos, sin = zoom * math.cos(turn), zoom * math.sin(turn)
    middle = (np.array(size) - 1) / 2
    moved = np.eye(3)
    moved[:2, :2] = [[cos, -sin], [sin, cos]]
    moved[:2, 2] = middle + shift - moved[:2, :2] @ middle
    return scaling(size, edited) @ moved


def _redrawn(image: Array, amount: float, generator: np.random.Generator) -> Array:
    height, width = image.shape[:2]
    drift = (1 + 7 * amount) * min(1.0, min(height, width) / 512)
    x, y = (drift * smooth_field((height, width), 1 / 8, generator) for _ in range(2))
    places = np.arange(width, dtype=np.float32)[None] + x, np.arange(height, dtype=np.float32)[:, None] + y
    moved = cv2.remap(image, *places, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    casts = [(3 + 6 * amount) * smooth_field((height, width), 1 / 4, generator) for _ in range(3)]
    return _with_other_texture(moved, 0.6 + 0.4 * amount, generator) + np.stack(casts, axis=-1)


def smooth_field(shape: tuple[int, int], sigma: float, generator: np.random.Generator) -> NDArray[np.float32]:
    """Smooth noise from -1 to 1; its sigma is a share of the shorter side."""
    noise = blurred(generator.normal(0, 1, (48, 48)).astype(np.float32), 48 * sigma)
    return cv2.resize(noise / np.abs(noise).max(), shape[::-1], interpolation=cv2.INTER_CUBIC)


def _with_other_texture(image: Array, share: float, generator: np.random.Generator) -> Array:
    """Replaces the finest two bands by noise of the same local strength, as latent codecs invent texture."""
    result = image.copy()
    for low, high in ((0.0, 1.0), (1.0, 2.0)):
        band = (image if low == 0 else blurred(image, low)) - blurred(image, high)
        strength = np.sqrt(blurred((band**2).mean(axis=2), 4.0))
        noise = generator.normal(0, 1, image.shape[:2]).astype(np.float32)
        noise = (noise if low == 0 else blurred(noise, low)) - blurred(noise, high)
        noise *= strength / max(float(noise.std()), 1e-6)
        result += share * (0.8 * noise[..., None] - band)
    return result


def grain(image: Array, sigma: float, generator: np.random.Generator) -> Array:
    """Noise as of film and sensors: nearly gray, single pixels or clumps, and unequal: weaker in highlights."""
    clump = float(generator.choice([0.0, 0.6, 1.0]))  # px
    noise = generator.normal(0, 1, (*image.shape[:2], 1)) + 0.3 * generator.normal(0, 1, image.shape)
    noise = blurred(noise.astype(np.float32), clump)
    level = blurred(image.mean(axis=2).astype(np.float32), 4.0)[..., None]
    weighted = noise / float(noise.std()) * (1.3 - 0.6 * level / 255)
    return sigma * weighted


def as_pixels(image: Array) -> Pixels:
    """Rounded to whole levels."""
    return np.rint(image).clip(0, 255).astype(np.uint8)


def blurred(plane: Array, sigma: float) -> Array:
    """Under a Gaussian of this many pixels."""
    return cv2.GaussianBlur(plane, (0, 0), max(sigma, 0.01))


_model = functools.cache(functools.partial(load, device="cpu"))


def _through_autoencoder(pixels: Pixels, name: str) -> Pixels:
    """Encoded and decoded by a bundled model, in tiles that overlap: a larger image than it takes."""
    core = _TILE_PX - 2 * _MARGIN_PX
    counts = [-(-side // core) for side in pixels.shape[:2]]
    pads = [(_MARGIN_PX, n * core - side + _MARGIN_PX) for n, side in zip(counts, pixels.shape[:2], strict=True)]
    padded = np.pad(pixels, [*pads, (0, 0)], mode="symmetric")
    result = np.empty((counts[0] * core, counts[1] * core, 3), dtype=np.uint8)
    for top, left in itertools.product(*(range(0, count * core, core) for count in counts)):
        tile = padded[top : top + _TILE_PX, left : left + _TILE_PX]
        x = torch.from_numpy(tile.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
        with torch.no_grad():
            y = _model(name).decode(_model(name).encode(x))
        decoded = as_pixels((y[0].permute(1, 2, 0).numpy() + 1) * 127.5)
        result[top : top + core, left : left + core] = decoded[_MARGIN_PX:-_MARGIN_PX, _MARGIN_PX:-_MARGIN_PX]
    return result[: pixels.shape[0], : pixels.shape[1]]
