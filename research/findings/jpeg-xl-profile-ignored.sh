#!/bin/sh
# The JPEG XL plug-in of Pillow takes icc_profile= and writes sRGB, so a wide-gamut image comes back with other colors.
#
# Asked: which profile does a lossless JPEG XL have that was saved with the profile of another color space?
# Expected: the one that was given, as in PNG, WebP, AVIF and TIFF.
# Seen (pillow-jxl-plugin 1.3.8, Pillow 12.3.0): libjxl's own profile of sRGB, whatever is given, without a warning; the
# pixel values are those that were saved. PNG, WebP, AVIF and TIFF give the profile back.
# Fails if that changes.
# One run from a bare environment: 5 s of processor time, 75 MB.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
"$folder/venv/bin/python" -m pip install --quiet --no-compile pillow==12.3.0 pillow-jxl-plugin==1.3.8
found=$("$folder/venv/bin/python" - <<'PY'
import io

import pillow_jxl
from PIL import Image, ImageCms

# A valid profile of another space: sRGB with red and green exchanged.
profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
profile = profile.replace(b"rXYZ", b"?XYZ", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"?XYZ", b"gXYZ", 1)
color = (200, 30, 60)
for kind, options in (("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("AVIF", {}), ("JXL", {"lossless": True})):
    file = io.BytesIO()
    Image.new("RGB", (64, 64), color).save(file, kind, icc_profile=profile, **options)
    with Image.open(io.BytesIO(file.getvalue())) as image:
        image.load()
        same = image.info.get("icc_profile") == profile
        exact = image.convert("RGB").getpixel((9, 9)) == color
    print(kind, "given" if same else "another", *(["exact"] if exact and kind == "JXL" else []))
PY
)
echo "$found"
[ "$found" = "$(printf 'PNG given\nWEBP given\nTIFF given\nAVIF given\nJXL another exact')" ]
