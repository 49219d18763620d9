#!/bin/sh
# PyAV turns 8 bits into float planes by a shift, so white is .9961, and 16-bit RGB by way of YUV.
#
# Asked: what do VideoFrame.to_ndarray(format="gbrpf32le") and "rgb48le" give for the levels of an 8-bit and a 16-bit image?
# Expected: k / 255 and k / 65535, as rgb48le of 8 bits gives k * 257.
# Seen (PyAV 16.0.0, 17.0.0 and 18.1.0 alike; FFmpeg 8): gray 255 is 65280 / 65535 = .9961, all levels up to .99 of 255 too
# dark, RGB alike. The 65,536 grays of 16 bits are exact, but of random 16-bit colors only 4 % of the values are within half a
# level; they are up to 33 of 65535 off. No message.
# Hurt: programs that read images by PyAV into floats, ComfyUI 0.33's Load Image among them: gray PNG and JPEG, 24-bit BMP
# and WebP are darker than the same pixels from RGB PNG, and saved again, truncated, each level is one lower.
# Guess 6.1; 6.3, which did not ask for 16-bit colors, was right. Fails if that changes.
# One run from a bare environment: 6 s of processor time, 75 MB.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
"$folder/venv/bin/python" -m pip install --quiet --no-compile av==18.1.0 numpy
found=$("$folder/venv/bin/python" - <<'PY'
import av
import numpy as np

print("PyAV", av.__version__)


def planes(pixels, kind):
    frame = av.VideoFrame.from_ndarray(pixels, format=kind)
    return frame.to_ndarray(format="gbrpf32le").astype(np.float64)


levels = np.repeat(np.arange(256, dtype=np.uint8)[None], 32, 0)
deep = np.arange(65536, dtype=np.uint16).reshape(256, 256)
colors = np.random.default_rng(0).integers(0, 65536, (64, 64, 3)).astype(np.uint16)
for kind, pixels, top in (
    ("gray", levels, 255),
    ("rgb24", np.repeat(levels[..., None], 3, -1), 255),
    ("gray16le", deep, 65535),
    ("rgb48le", colors, 65535),
):
    exact = pixels if pixels.ndim == 3 else pixels[..., None]
    off = top * planes(pixels, kind) - exact
    same = (np.abs(off) < 0.5).mean()
    print(f"{kind}: off by {abs(off).max():.2f} of {top} at most, {100 * same:.0f} % of the values right")
print("white of gray is", f"{planes(np.full((32, 32), 255, np.uint8), 'gray').max():.4f}")
wider = av.VideoFrame.from_ndarray(levels, format="gray").to_ndarray(format="gray16le")
print("as 16 bits, 255 is", wider.max())
PY
)
echo "$found"
expected="PyAV 18.1.0
gray: off by 0.99 of 255 at most, 50 % of the values right
rgb24: off by 0.98 of 255 at most, 50 % of the values right
gray16le: off by 0.00 of 65535 at most, 100 % of the values right
rgb48le: off by 33.00 of 65535 at most, 4 % of the values right
white of gray is 0.9961
as 16 bits, 255 is 65535"
[ "$found" = "$expected" ]
