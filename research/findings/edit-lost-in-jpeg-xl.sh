#!/bin/sh
# A JPEG that is opened, painted on and saved as JPEG XL by Pillow's plug-in comes out without the painting.
#
# Asked: a JPEG is opened with Pillow, painted on or made a thumbnail in place, and saved as JPEG XL: does the file show it?
# Expected: yes, as in every other format; with a few levels of loss.
# Seen (pillow-jxl-plugin 1.3.8, Pillow 12.3.0): the file has the pixels of the JPEG before the change, in its full size. As long as
# the image still is of the format "JPEG" with a file name, the plug-in packs the file of that name and ignores the image, also with
# lossless=False and a quality. It warns that it uses "JPEG reconstruction". Right with lossless_jpeg=False, or after copy().
# Hurt: whoever blacks out a name, draws a mark, or makes thumbnails, and saves as JPEG XL: the original is published.
# That it ignores the quality is known (pillow-jpegxl-plugin's issue 58).
# Met while the answer to guess 8.7 was checked, which took that packing for granted. Fails if that changes.
# One run from a bare environment: 4 s of processor time, 77 MB.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
"$folder/venv/bin/python" -m pip install --quiet --no-compile pillow==12.3.0 pillow-jxl-plugin==1.3.8
found=$("$folder/venv/bin/python" -W ignore - <<'PY'
import pillow_jxl  # noqa: F401, it registers itself
from PIL import Image

Image.new("RGB", (64, 64), (200, 200, 200)).save("photo.jpg", quality=95)
for name, options in (
    ("a.webp", {}),
    ("a.jxl", {}),
    ("a.jxl", {"lossless": False, "quality": 90}),
    ("a.jxl", {"lossless_jpeg": False}),
):
    image = Image.open("photo.jpg")
    image.paste((0, 0, 0), (0, 0, 64, 64))
    image.save(name, **options)
    with Image.open(name) as saved:
        black = max(saved.convert("RGB").getpixel((32, 32))) < 10
    image = Image.open("photo.jpg")
    image.thumbnail((16, 16))
    image.save(name, **options)
    with Image.open(name) as saved:
        print(name, options, "painted black:", black, "thumbnail:", *saved.size)
PY
)
echo "$found"
expected=$(cat <<'END'
a.webp {} painted black: True thumbnail: 16 16
a.jxl {} painted black: False thumbnail: 64 64
a.jxl {'lossless': False, 'quality': 90} painted black: False thumbnail: 64 64
a.jxl {'lossless_jpeg': False} painted black: True thumbnail: 16 16
END
)
[ "$found" = "$expected" ]
