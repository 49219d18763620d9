"""Draws the portraits that the pages edit into ``docs/pictures``: ``python -m tools.portraits``.

They are the first of the test split with seed 3 that have hair, and neither glasses nor a beard; nothing was trained or
chosen on them.
"""

from latentedit_portraits.attributes import draw_split
from latentedit_portraits.render import render
from tools.pictures import PICTURES

NAMES = ("me", "you", "portraits/anna", "portraits/ben", "portraits/cleo", "portraits/dan")


def main() -> None:
    """Write all of them."""
    (PICTURES / "portraits").mkdir(parents=True, exist_ok=True)
    drawn = draw_split("test", 50, seed=3)
    plain = [one for one in drawn if (one.accessory, one.facial_hair) == ("none", "none") and one.hair != "bald"]
    for name, portrait in zip(NAMES, plain, strict=False):
        render(portrait).save(PICTURES / f"{name}.png")


if __name__ == "__main__":
    main()
