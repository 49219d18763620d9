#!/bin/sh
# How much of an exported image changes far from an edit is set by the encoder's speed, and the distance does not matter.
#
# Asked: a disk is painted into a photograph, and both are saved by the same call. Which share of the pixels more than 64 px away
# from it differs between the two files, as AVIF of speed 0, 6, 10, and as JPEG XL of effort 3, 7? And of those more than 1,000 px away in
# an image of 2,048 x 2,048 px, as JPEG XL?
# Expected: AVIF about 60, 45, 40 %, since its filters and contexts are of the whole image; JPEG XL 0 and 80 %, but of the large one hardly
# any, as groups of 256 x 256 px are coded apart.
# Seen (Pillow 12.3.0, pillow-jxl-plugin 1.3.8): AVIF 98, 79 and 4 % (in the guess's photograph 74, 34 and .6 %); JPEG XL 0 and 25 % (0 and 42 %).
# More than 1,000 px away it is half of the pixels.
# Hurt: whoever masks or caches by "unchanged outside of the edit": it holds in a fast preview, and not in the slow final export.
# Guesses 8.2, 8.4, and 8.24. Fails if that changes.
# One run from a bare environment: 58 s of processor time, 675 MB.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
"$folder/venv/bin/python" -m pip install --quiet --no-compile pillow==12.3.0 numpy==2.4.6 pillow-jxl-plugin==1.3.8
found=$("$folder/venv/bin/python" -W ignore - <<'PY'
import io
import sys

import numpy as np
import pillow_jxl  # noqa: F401, it registers itself
from PIL import Image, ImageDraw


def natural(seed, side=512):
    """Random luma and chroma with the spectrum of photographs."""
    draw = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    frequency[0, 0] = 1
    planes = [np.fft.ifft2(np.fft.fft2(draw.normal(size=(side, side))) / frequency**1.2).real for _ in range(3)]
    luma, blue, red = ((one - one.mean()) / one.std() for one in planes)
    luma = 128 + 45 * luma
    pixels = np.stack([luma + 35 * red, luma - 12 * red - 14 * blue, luma + 40 * blue], axis=-1)
    return Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))


def share(kind, side=512, distance=64, **options):
    """The share of far pixels that differ."""
    before, opened = natural(0, side), []
    after = before.copy()
    ImageDraw.Draw(after).ellipse((216, 216, 296, 296), fill=(20, 160, 220))
    for image in (before, after):
        image.save(file := io.BytesIO(), kind, **options)
        opened.append(np.asarray(Image.open(file).convert("RGB")))
    rows, columns = np.ogrid[:side, :side]
    far = np.hypot(rows - 256, columns - 256) > 40 + distance
    return np.mean((opened[0] != opened[1]).any(axis=-1)[far])


slow, middle, fast = (share("AVIF", quality=75, speed=speed, max_threads=1) for speed in (0, 6, 10))
low, high = (share("JXL", quality=90, effort=effort, lossless=False) for effort in (3, 7))
large = share("JXL", quality=90, effort=7, lossless=False, side=2048, distance=1000)
print(*[f"{one:.1%}" for one in (slow, middle, fast, low, high, large)], file=sys.stderr)
print(f"AVIF: speed 0 above 25 %: {slow > 0.25}, speed 10 above 5 %: {fast > 0.05}")
print(f"JPEG XL: effort 3 any: {low > 0}, effort 7 above 10 %: {high > 0.1}, 1,000 px away above 25 %: {large > 0.25}")
PY
)
echo "$found"
expected=$(cat <<'END'
AVIF: speed 0 above 25 %: True, speed 10 above 5 %: False
JPEG XL: effort 3 any: False, effort 7 above 10 %: True, 1,000 px away above 25 %: True
END
)
[ "$found" = "$expected" ]
