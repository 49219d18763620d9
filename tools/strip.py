"""The pictures of README.md: a moving strip of four portraits, and what half of a change looks like.

    python tools/strip.py  # writes docs/pictures/strip.gif and half.webp; a minute on two cores

The strip shows a change each, and the strength that goes up and down. Its portraits are the first of the test split,
drawn with seed 20, that have hair, nothing before the eyes, and not yet what is asked for.
"""

from pathlib import Path

import latentedit as le
from latentedit.api.sheets.animation import save_animation
from latentedit.api.sheets.drawing import draw_grid
from latentedit_portraits.attributes import draw_split
from latentedit_portraits.captions import full_caption
from latentedit_portraits.render import render

CHANGES = ("=> glasses", "=> pink hair", "=> a smile", "=> a green background")
STRENGTHS = [step / 8 for step in range(9)]
PANEL_PX = 192
FRAME_SECONDS = 0.25
PLACE = Path("docs/pictures/strip.gif")

HALVES = ("=> a beard", "=> glasses")
HALF_OF = Path("docs/pictures/you.png")
HALF_PLACE = Path("docs/pictures/half.webp")


def main() -> None:
    """Write both pictures."""
    model = le.load("portraits")
    draw_half(model)
    draw_strip(model)


def draw_half(model: le.Backbone) -> None:
    """A change that comes in degrees, and one that does not, at three strengths each."""
    latent = le.encode(model, HALF_OF)
    rows = [le.sweep(latent, le.identify(latent, change=change), strengths=[0, 0.5, 1]) for change in HALVES]
    results = [result for row in rows for result in row]
    labels = [f"strength {result.strength:g}" for result in results]
    draw_grid([result.image for result in results], labels, columns=3, panel_px=PANEL_PX).save(HALF_PLACE, quality=90)
    print(f"wrote {HALF_PLACE}, {HALF_PLACE.stat().st_size / 1e3:.0f} kB")


def draw_strip(model: le.Backbone) -> None:
    """Edit the portraits at all strengths, and write the animation."""
    portraits = [one for one in draw_split("test", 40, seed=20) if one.hair != "bald" and one.accessory == "none"]
    columns: list[list[le.EditResult]] = []
    for change in CHANGES:
        shown = next(one for one in portraits if change.replace("=> ", ", ") not in full_caption(one))
        portraits.remove(shown)
        latent = le.encode(model, render(shown), caption=full_caption(shown))
        columns.append(le.sweep(latent, le.identify(latent, change=change), strengths=STRENGTHS))
        print(f"{change}: {columns[-1][-1].verdict.text}")
    frames = [
        draw_grid(
            [result.image for result in row],
            [f"{change.removeprefix('=> ')}\n{row[0].strength:.2f}" for change in CHANGES],
            columns=len(CHANGES),
            panel_px=PANEL_PX,
        )
        for row in zip(*columns, strict=True)
    ]
    PLACE.parent.mkdir(parents=True, exist_ok=True)
    save_animation(frames, PLACE, seconds=FRAME_SECONDS)
    print(f"wrote {PLACE}, {PLACE.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
