#!/bin/sh
# How far from an edit an exported image changes is set by the encoder's speed: hardly anywhere when fast, everywhere when slow.
#
# Asked: a disk is painted into a photograph, and both are saved by the same call. Which share of the pixels more than 64 px away
# from it differs between the two files, as AVIF of speed 0, 6, 10, and as JPEG XL of effort 3, 7?
# Expected: AVIF about 60, 45, 40 %, since its filters and contexts are of the whole image; JPEG XL 0 and 80 %.
# Seen (Pillow 12.3.0, pillow-jxl-plugin 1.3.8): AVIF 98, 79 and 4 % (in the guess's photograph 74, 34 and .6 %); JPEG XL 0 and 25 % (0 and 42 %).
# Hurt: whoever masks or caches by "unchanged outside of the edit": it holds in a fast preview, and not in the slow final export.
# Guesses 8.2 and 8.4. Fails if that changes.
# One run from a bare environment: 51 s of processor time, 113 MB.
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


def share(kind, **options):
    """The share of far pixels that differ."""
    before, opened = natural(0), []
    after = before.copy()
    ImageDraw.Draw(after).ellipse((216, 216, 296, 296), fill=(20, 160, 220))
    for image in (before, after):
        image.save(file := io.BytesIO(), kind, **options)
        opened.append(np.asarray(Image.open(file).convert("RGB")))
    rows, columns = np.ogrid[:512, :512]
    far = np.hypot(rows - 256, columns - 256) > 40 + 64
    return np.mean((opened[0] != opened[1]).any(axis=-1)[far])


slow, middle, fast = (share("AVIF", quality=75, speed=speed, max_threads=1) for speed in (0, 6, 10))
low, high = (share("JXL", quality=90, effort=effort, lossless=False) for effort in (3, 7))
print(*[f"{one:.1%}" for one in (slow, middle, fast, low, high)], file=sys.stderr)
print(f"AVIF: speed 0 above 25 %: {slow > 0.25}, speed 10 above 5 %: {fast > 0.05}")
print(f"JPEG XL: effort 3 any: {low > 0}, effort 7 above 10 %: {high > 0.1}")
PY
)
echo "$found"
expected=$(cat <<'END'
AVIF: speed 0 above 25 %: True, speed 10 above 5 %: False
JPEG XL: effort 3 any: False, effort 7 above 10 %: True
END
)
[ "$found" = "$expected" ]
