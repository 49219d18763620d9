"""Draws docs/pictures/keep.webp: a photograph, an edit of it, what `keep` makes of the two, and the differences."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageEnhance

from latentedit_keep import keep

PLACE = Path(__file__).parents[1] / "docs" / "pictures" / "keep.webp"
SAMPLE = Path(mpl.get_data_path(), "sample_data", "grace_hopper.jpg")  # by the US Navy, in the public domain


def main() -> None:
    """Sunglasses, and what nobody asked for: paler colours, a shift and a zoom."""
    photo = Image.open(SAMPLE).convert("RGB")
    edited = photo.copy()
    draw = ImageDraw.Draw(edited)
    for left in (166, 262):
        draw.rounded_rectangle((left, 172, left + 82, 224), 22, fill=(24, 24, 30))
    draw.line((248, 190, 262, 190), fill=(24, 24, 30), width=8)
    edited = (
        ImageEnhance.Color(edited)
        .enhance(0.8)
        .transform(edited.size, Image.Transform.AFFINE, (0.985, 0, 3.4, 0, 0.985, 6.2), Image.Resampling.BICUBIC)
    )
    result = keep(photo, edited).image
    shown = [photo, edited, result]
    differences = [np.abs(np.asarray(one, np.int16) - np.asarray(photo)).clip(0, 85) * 3 for one in shown[1:]]
    shown += [Image.fromarray(255 - one.astype(np.uint8)) for one in differences]
    cells = [one.resize((240, 283), Image.Resampling.LANCZOS) for one in shown]
    sheet = Image.new("RGB", (5 * 246 - 6, 283), "white")
    for at, cell in enumerate(cells):
        sheet.paste(cell, (246 * at, 0))
    sheet.save(PLACE, quality=88, method=6)


if __name__ == "__main__":
    main()
