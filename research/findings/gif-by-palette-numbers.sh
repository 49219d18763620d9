#!/bin/sh
# A GIF reaches a Gradio function as the numbers of its palette, not as colors, although the component promises RGB.
#
# Asked: one image as PNG, WebP, and GIF is sent to gr.Image(), whose image_mode is "RGB"; what does the function get as "numpy"
# and as "pil"? The same as the background of gr.ImageEditor, and in gr.ImageSlider and gr.Gallery.
# Expected: three channels of the same colors, up to the GIF's palette of 256; of an animation one frame.
# Seen (gradio 6.31.0, Pillow 12.3.0): of a GIF gr.Image and gr.ImageSlider give an array of two dimensions with numbers of the palette, and
# a Pillow image of mode "P", without a message: the conversion to image_mode leaves GIF out, to keep animations. So does
# gr.Gallery, which has no image_mode. gr.ImageEditor converts.
# Hurt: whoever writes a function for arrays of colors: it fails on GIF, or takes the numbers for gray and shows noise.
# That animations need "pil" or "filepath" is documented (gradio's pull request 8589). Guess 14.9 expected one converted frame.
# Fails if that changes.
# One run from a bare environment: 34 s of processor time, 211 MB.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
"$folder/venv/bin/python" -m pip install --quiet --no-compile gradio==6.31.0 gradio-client==2.7.2 pillow==12.3.0 numpy==2.4.6
found=$(GRADIO_ANALYTICS_ENABLED=False "$folder/venv/bin/python" -W ignore - <<'PY'
import gradio as gr
import numpy as np
from gradio_client import Client, handle_file
from PIL import Image

steps = np.linspace(40, 250, 64).astype(np.uint8)
colors = np.dstack([np.tile(steps, (48, 1)), np.full((48, 64), 90, np.uint8), np.full((48, 64), 200, np.uint8)])
for kind in ("png", "webp", "gif"):
    Image.fromarray(colors).save(f"image.{kind}", **({"lossless": True} if kind == "webp" else {}))


def what(got):
    """Shape or mode, and whether these are the image's colors."""
    array = np.asarray(got)
    right = array.ndim == 3 and np.abs(array[..., :3].astype(int) - colors).max() < 8
    return f"{got.mode if isinstance(got, Image.Image) else array.shape}, its colors: {right}"


def first(got):
    """The image of a component's value."""
    while isinstance(got, (list, tuple, dict)):
        got = got["background"] if isinstance(got, dict) else got[0]
    return what(got)


def seen(component, value):
    page = gr.Interface(first, component, "text", api_name="see")
    page.launch(prevent_thread_lock=True, quiet=True)
    try:
        return Client(page.local_url, verbose=False).predict(value, api_name="/see")
    finally:
        page.close(verbose=False)


for kind in ("png", "webp", "gif"):
    file = handle_file(f"image.{kind}")
    print(f"{kind}: Image, numpy:", seen(gr.Image(), file))
    print(f"{kind}: Image, pil:", seen(gr.Image(type="pil"), file))
    print(f"{kind}: ImageSlider:", seen(gr.ImageSlider(type="numpy"), [file, file]))
    print(f"{kind}: Gallery:", seen(gr.Gallery(type="numpy"), [{"image": file, "caption": None}]))
    print(f"{kind}: ImageEditor:", seen(gr.ImageEditor(), {"background": file, "layers": [], "composite": None}))
PY
)
echo "$found"
expected=$(cat <<'END'
png: Image, numpy: (48, 64, 3), its colors: True
png: Image, pil: RGB, its colors: True
png: ImageSlider: (48, 64, 3), its colors: True
png: Gallery: (48, 64, 3), its colors: True
png: ImageEditor: (48, 64, 4), its colors: True
webp: Image, numpy: (48, 64, 3), its colors: True
webp: Image, pil: RGB, its colors: True
webp: ImageSlider: (48, 64, 3), its colors: True
webp: Gallery: (48, 64, 3), its colors: True
webp: ImageEditor: (48, 64, 4), its colors: True
gif: Image, numpy: (48, 64), its colors: False
gif: Image, pil: P, its colors: False
gif: ImageSlider: (48, 64), its colors: False
gif: Gallery: (48, 64), its colors: False
gif: ImageEditor: (48, 64, 4), its colors: True
END
)
[ "$found" = "$expected" ]
