#!/bin/sh
# PyAV's frame.rotation of a mirrored photograph is that of another orientation: half of all orientations come out wrong.
#
# Asked: does turning the pixels by frame.rotation bring each of the eight EXIF orientations upright? Front cameras and
# scanners write the mirrored ones (2, 4, 5, 7).
# Expected: rotation 0 for 2 (mirrored only), and a way to see that an image is mirrored.
# Seen (PyAV 16.0.0, 17.0.0 and 18.1.0 alike): 2 has the rotation of 3, 4 that of 1, 5 that of 6, 7 that of 8. No message, and
# the frame has nothing else that tells them apart. Pillow's exif_transpose is right for all.
# Hurt: who turns pixels by frame.rotation, as ComfyUI 0.33's Load Image does: such photographs stay mirrored or upside down, and
# do not fit the result of an editor that reads the file itself.
# Guess 6.2. Fails if that changes.
# One run from a bare environment: 7 s of processor time, 75 MB.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
"$folder/venv/bin/python" -m pip install --quiet --no-compile av==18.1.0 pillow==12.3.0 numpy
found=$("$folder/venv/bin/python" - <<'PY'
import io

import av
import numpy as np
import PIL
from PIL import Image, ImageOps

print("PyAV", av.__version__, "Pillow", PIL.__version__)
blocks = np.kron(np.arange(8, dtype=np.uint8).reshape(2, 4) * 30, np.ones((32, 32), np.uint8))
for orientation in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(blocks).convert("RGB").save(file, "JPEG", quality=95, subsampling=0, exif=exif)
    with Image.open(io.BytesIO(file.getvalue())) as image:
        upright = np.asarray(ImageOps.exif_transpose(image)).astype(int)
    with av.open(io.BytesIO(file.getvalue())) as container:
        frame = next(container.decode(video=0))
    turned = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90).astype(int)
    right = turned.shape == upright.shape and abs(turned - upright).max() < 9
    print(orientation, "rotation", frame.rotation, "upright" if right else "wrong")
PY
)
echo "$found"
expected="PyAV 18.1.0 Pillow 12.3.0
1 rotation 0 upright
2 rotation -180 wrong
3 rotation -180 upright
4 rotation 0 wrong
5 rotation -90 wrong
6 rotation -90 upright
7 rotation 90 wrong
8 rotation 90 upright"
[ "$found" = "$expected" ]
