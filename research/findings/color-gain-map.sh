#!/bin/sh
# libvips decodes a gain map of three channels as sRGB before it applies it, so the highlights of an HDR photograph are too dark.
#
# Asked: two patches of 1 and 4 times white are written as Ultra HDR JPEG; what does uhdr2scRGB() make of them?
# Expected: 1 and 4, as libultrahdr decodes them, and as the gain map's formula gives them: base * boost ** (value / 255),
# where boost is the range that the file states (gamma 1, offsets 0).
# Seen (pyvips 3.2.0 with libvips 8.18.7, imagecodecs 2026.3.6): with one channel, which libvips writes, 1.00 and 3.98. With
# three, libultrahdr's usual form, .56 and 1.39, without a warning: that is base * boost ** linear(value / 255).
# Hurt: whoever turns photographs into HDR pixels with libvips: white is half as bright, highlights a third.
# Guess 1.5 was right (the question did not reach this far). Fails if that changes.
# One run from a bare environment: 7 s of processor time, 75 MB.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
"$folder/venv/bin/python" -m pip install --quiet --no-compile numpy==2.4.6 pillow==12.3.0 pyvips==3.2.0 pyvips-binary==8.18.7 imagecodecs==2026.3.6
found=$("$folder/venv/bin/python" - <<'PY'
import io

import imagecodecs
import numpy as np
import pyvips
from PIL import Image

scene = np.ones((64, 128, 4), np.float16)
scene[:, 64:, :3] = 4
places = [10, 117]
flat = scene[..., :3].astype(np.float32)
vips = pyvips.Image.new_from_memory(flat.tobytes(), 128, 64, 3, "float").copy(interpretation="scrgb")
print("libvips", ".".join(str(pyvips.version(part)) for part in range(3)))
for name, content in (("by libultrahdr", bytes(imagecodecs.ultrahdr_encode(scene))), ("by libvips", vips.uhdrsave_buffer())):
    gain = Image.open(io.BytesIO(content[content.index(b"\xff\xd9\xff\xd8\xff") + 2 :]))
    image = pyvips.Image.new_from_buffer(content, "")
    boost = image.get("gainmap-max-content-boost")[0]
    values = np.asarray(gain.resize((128, 64), Image.Resampling.NEAREST)).reshape(64, 128, -1)[32, places, 0] / 255
    base = image.colourspace("scrgb").numpy()[32, places, 0]
    linear = np.where(values > 0.04045, ((values + 0.055) / 1.055) ** 2.4, values / 12.92)
    rows = {
        "libultrahdr": imagecodecs.ultrahdr_decode(content)[32, places, 0],
        "formula": base * boost**values,
        "libvips": image.uhdr2scRGB().numpy()[32, places, 0],
    }
    rows |= {"formula, value as sRGB": base * boost**linear} if gain.mode == "RGB" else {}
    print(f"{name}: {gain.mode}")
    for who, found in rows.items():
        print(f"  {who}: {found[0]:.1f} {found[1]:.1f}")
PY
)
echo "$found"
right='1.0 4.0' dark='0.6 1.4'
expected=$(printf 'libvips 8.18.7\nby libultrahdr: RGB\n  libultrahdr: %s\n  formula: %s\n  libvips: %s\n  formula, value as sRGB: %s' "$right" "$right" "$dark" "$dark")
expected=$(printf '%s\nby libvips: L\n  libultrahdr: %s\n  formula: %s\n  libvips: %s' "$expected" "$right" "$right" "$right")
[ "$found" = "$expected" ]
