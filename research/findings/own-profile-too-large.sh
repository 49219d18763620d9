#!/bin/sh
# Pillow writes PNGs that Pillow cannot open: a color profile or a compressed text of more than 1 MiB is written without a
# word, and refused when the file is opened. JPEG, WebP and TIFF with the same profile are opened.
#
# Asked: a printer's profile of 1.2 MB is saved with an image as PNG, JPEG, WebP and TIFF, and a text of 1.5 MB with a PNG,
# compressed and not. Which of the files does the same library open again?
# Expected: all of them.
# Seen (Pillow 12.3.0): neither the PNG with the profile nor the one with the compressed text (ValueError, "Decompressed data
# too large"); the four others are opened, with profile and text whole.
# Hurt: programs that take this error for damage, and those whose users keep a workflow of nodes in their images.
# Fails if that changes.
# One run from a bare environment: 8 s of processor time, 75 MB.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
"$folder/venv/bin/python" -m pip install --quiet --no-compile pillow==12.3.0
found=$("$folder/venv/bin/python" - <<'PY'
import io
import struct

from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

# A valid profile of sRGB, with a private tag of zeros at its end: tables of printers have this size.
plain = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
count = struct.unpack(">I", plain[128:132])[0]
entries = [struct.unpack(">4sII", plain[132 + 12 * at : 144 + 12 * at]) for at in range(count)]
entries = [(name, start + 12, size) for name, start, size in entries]
private = b"data" + bytes(1_200_000)
end = len(plain) + 12
entries.append((b"priv", end, len(private)))
table = struct.pack(">I", count + 1) + b"".join(struct.pack(">4sII", *entry) for entry in entries)
profile = plain[:128] + table + plain[132 + 12 * count :] + private
profile = struct.pack(">I", len(profile)) + profile[4:]
ImageCms.ImageCmsProfile(io.BytesIO(profile))  # raises unless LittleCMS takes it

workflow = '{"nodes": "' + "0123456789" * 150_000 + '"}'
plain_text, compressed = PngInfo(), PngInfo()
plain_text.add_text("workflow", workflow)
compressed.add_text("workflow", workflow, zip=True)
ways = [(kind, {"icc_profile": profile}) for kind in ("PNG", "JPEG", "WEBP", "TIFF")]
ways += [("PNG", {"pnginfo": plain_text}), ("PNG", {"pnginfo": compressed})]
for kind, options in ways:
    file = io.BytesIO()
    Image.new("RGB", (32, 16)).save(file, kind, **options)
    try:
        with Image.open(io.BytesIO(file.getvalue())) as image:
            whole = profile == image.info.get("icc_profile") or workflow == getattr(image, "text", {}).get("workflow")
            print(kind, "whole" if whole else "lost")
    except ValueError as error:
        print(kind, "refused:", str(error).partition(" for ")[0])
PY
)
echo "$found"
expected=$(printf 'PNG refused: Decompressed data too large\nJPEG whole\nWEBP whole\nTIFF whole\nPNG whole\nPNG refused: Decompressed data too large')
[ "$found" = "$expected" ]
