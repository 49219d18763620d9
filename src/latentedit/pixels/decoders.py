"""Which decoder an edited image was made with.

Decoders of JPEG agree on luma, but not on the chroma between its samples: there, Pillow and FFmpeg differ by up to 50
levels. Programs that decode by FFmpeg, such as ComfyUI since 2026, start from other pixels than `keep` and `check`.
"""

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from latentedit.photo.decoding import silent_decoder
from latentedit.photo.images import PixelImage, content_of, read_pixels
from latentedit.photo.warp import cv2, turned

_TELLING = 4  # levels by which two decodings differ where an edited image tells them apart
_SAME = 1  # level; programs that truncate lose one
_LEAST_PIXELS = 100


def as_started_from(original: PixelImage, edited: PixelImage) -> PixelImage:
    """The original as FFmpeg decodes its JPEG file, if the edited image was made from that; otherwise as it is.

    It was if most of the pixels where the decodings clearly differ are FFmpeg's. An edit of Pillow's pixels, whatever
    the editor changed, does not have these in all three channels; a second compression blurs them, and leaves the
    question open.
    """
    given, theirs = original.pixels, edited.pixels
    if original.path is None or original.carried.jpeg is None or given.shape != theirs.shape:
        return original
    if given.dtype != theirs.dtype or (given == theirs).all(axis=-1).mean() > 0.5:
        return original
    content = content_of(original.path)
    if content is None or read_pixels(content).fingerprint != original.fingerprint:  # it has been replaced
        return original
    other = _by_ffmpeg(content, original.carried.turn)
    if other is None or other.shape != given.shape:
        return original
    telling = _apart(other, given) >= _TELLING
    if telling.sum() < _LEAST_PIXELS or (_apart(theirs, other)[telling] <= _SAME).mean() <= 0.5:
        return original
    return dataclasses.replace(original, pixels=other)


def _apart(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The largest difference of the channels of each pixel."""
    return cv2.absdiff(first, second).max(axis=-1)


def _by_ffmpeg(content: bytes, turn: tuple[int, bool]) -> NDArray[np.uint8] | None:
    """Upright pixels; None where OpenCV has no FFmpeg, or that cannot read the file."""
    with silent_decoder(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "image.jpg")
        path.write_bytes(content)
        reader = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        reader.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
        found, frame = reader.read()
        reader.release()
    if not found:
        return None
    return turned(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), *turn)
