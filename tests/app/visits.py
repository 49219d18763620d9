"""A visit on the colour model, whose tasks take no time."""

import io

from PIL import Image

from latentedit.app.models import Models
from latentedit.app.visit import Visit, Wish
from tests.editors.colours import ColourBackbone
from tests.editors.edits import grey

SCENE = "grey room, a hat, a wall"
"""The colour model reads the first word; the rest is for the words of changes."""

RED = Wish(text="grey => red")
EIM = {"model": "colours", "method": "eim", "caption": SCENE}


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def opened(model: ColourBackbone) -> Visit:
    """A visit with a grey picture."""
    visit = Visit(Models(model))
    visit.open(png(grey()), "a grey <one>.png", model="colours")
    return visit
