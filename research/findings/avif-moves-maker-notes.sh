#!/bin/sh
# Pillow writes the EXIF bytes it is given to JPEG, PNG and WebP as they are, but to AVIF anew if they have an orientation.
#
# Asked: where do the maker's notes of one EXIF block lie after saving it by exif=bytes in each format? Their makers count
# offsets from the beginning of EXIF, so a block that moves points elsewhere.
# Expected: at the same place in all four.
# Seen (Pillow 12.3.0): at 200 in JPEG, PNG, WebP, and in AVIF without an orientation; with one, even 1, at another place
# in AVIF, and the orientation is gone from EXIF (it becomes irot and imir).
# Fails if that changes.
# One run from a bare environment: 5 s of processor time, 75 MB.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
"$folder/venv/bin/python" -m pip install --quiet --no-compile pillow==12.3.0
found=$("$folder/venv/bin/python" - <<'PY'
import io
import struct

from PIL import Image


def exif(orientation):
    first = [(0x0112, 3, 1, orientation)] if orientation else []
    first += [(0x8769, 4, 1, 60)]
    data = b"II*\0" + struct.pack("<IH", 8, len(first))
    data += b"".join(struct.pack("<HHII", *entry) for entry in first) + bytes(4)
    data = data.ljust(60, b"\0") + struct.pack("<HHHII", 1, 0x927C, 7, 40, 200) + bytes(4)
    return b"Exif\0\0" + data.ljust(200, b"\0") + b"the notes of a maker".ljust(40, b".")


for orientation in (0, 1, 6):
    places = []
    for kind in ("JPEG", "PNG", "WEBP", "AVIF"):
        file = io.BytesIO()
        Image.new("RGB", (32, 16)).save(file, kind, exif=exif(orientation))
        with Image.open(io.BytesIO(file.getvalue())) as image:
            raw = image.info["exif"].removeprefix(b"Exif\0\0")
            places.append(f"{kind} {'200' if raw.find(b'the notes') == 200 else 'moved'}")
    print(orientation or "none", *places)
PY
)
echo "$found"
expected=$(printf 'none JPEG 200 PNG 200 WEBP 200 AVIF 200\n1 JPEG 200 PNG 200 WEBP 200 AVIF moved\n6 JPEG 200 PNG 200 WEBP 200 AVIF moved')
[ "$found" = "$expected" ]
