#!/bin/sh
# A gray image that is saved as WebP comes back in color: at four of its gray levels red is a level off green.
#
# Asked: gray images are saved as WebP, lossy, and opened: are red, green and blue equal at every pixel?
# Expected: the file has colors, but red, green and blue are equal, since the chroma of gray is 128 and stays so. In JPEG they are.
# Seen (Pillow 12.3.0 with libwebp 1.6.0): red and blue are equal, and green is one level below them in flat images of the levels
# 81, 82, 166 and 251, of quality 100. WebP without loss keeps gray, and so does JPEG.
# Hurt: whoever finds gray images by equal channels, sorts scans by saturation, or counts the colors: gray WebP files are in color.
# Guess 8.13. Fails if that changes.
# One run from a bare environment: 5 s of processor time, 77 MB.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
"$folder/venv/bin/python" -m pip install --quiet --no-compile pillow==12.3.0 numpy==2.4.6
found=$("$folder/venv/bin/python" - <<'PY'
import io

import numpy as np
from PIL import Image

for kind, options in (("JPEG", {}), ("WEBP", {}), ("WEBP", {"lossless": True})):
    apart, off = [], set()
    for level in range(256):
        Image.new("L", (32, 32), level).convert("RGB").save(file := io.BytesIO(), kind, quality=100, **options)
        red, green, blue = np.moveaxis(np.asarray(Image.open(file).convert("RGB")).astype(int), -1, 0)
        apart += [level] * bool((red != green).any())
        off |= set(np.unique([green - red, green - blue]).tolist())
        assert (red == blue).all()
    print(kind, *options, f"in color at {apart}, green by {sorted(off)}")
PY
)
echo "$found"
expected=$(cat <<'END'
JPEG in color at [], green by [0]
WEBP in color at [81, 82, 166, 251], green by [-1, 0]
WEBP lossless in color at [], green by [0]
END
)
[ "$found" = "$expected" ]
