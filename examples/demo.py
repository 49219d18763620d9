"""``make demo``: save a portrait, add glasses on the command line, classify the result.

Writes source.png, edited.png and sheet.png to out/demo/, and fails if the attribute classifier does not see glasses, or
sees any other attribute changed.
"""

import shutil
import sys
from pathlib import Path

import numpy as np
import torch

from latentedit.cli import run
from latentedit.encoding import SourceImage
from latentedit.models import bundled_folder
from latentedit_portraits.attributes import Attributes
from latentedit_portraits.classifiers import to_pixels
from latentedit_portraits.reader import PortraitReader

FOLDER = Path("out/demo")


def read_file(reader: PortraitReader, path: Path) -> Attributes:
    """The attributes that the classifier sees in an image file of 128 x 128 pixels."""
    pixels = np.asarray(SourceImage.open(path).image.convert("RGB"))
    return reader.attributes(to_pixels(pixels[None], torch.device("cpu")))[0]


def main() -> int:
    """Write the images; return 0 if glasses and nothing else were added."""
    source, edited, sheet = (FOLDER / f"{name}.png" for name in ("source", "edited", "sheet"))
    FOLDER.mkdir(parents=True, exist_ok=True)
    shutil.copy("docs/images/me.png", source)

    reader = PortraitReader.from_folder(bundled_folder("portraits"))
    before = read_file(reader, source)
    wanted = before.replace(accessory="glasses")
    print(f"$ latentedit edit {source} --change '=> glasses' -o {edited} --sheet {sheet}")
    code = run(["edit", str(source), "--change", "=> glasses", "-o", str(edited), "--sheet", str(sheet)])
    if code != 0:
        return code

    after = read_file(reader, edited)
    changed = [f"{name} {getattr(before, name)} -> {getattr(after, name)}" for name in before.differences(after)]
    print(f"\nthe attribute classifier sees {', '.join(changed) or 'no change'}")
    print(f"wrote {source}, {edited}, {sheet}")
    return 0 if after == wanted else 1


if __name__ == "__main__":
    sys.exit(main())
