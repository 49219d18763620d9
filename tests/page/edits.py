"""States of a page with the color model, whose edits take no time, and the page that is served."""

import contextlib
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from latentedit.page.edit_visit import EditVisit, PageChange
from latentedit.page.models import Models
from tests.editors.colors import ColorBackbone
from tests.editors.edits import gray
from tests.installed import COLORS, installed
from tests.page import servers
from tests.page.servers import png

SCENE = "gray room, a hat, a wall"  # the color model reads only the first word; changes can name the rest

RED = PageChange(text="gray => red")
EIM = {"model": "colors", "method": "eim", "caption": SCENE}


def visit_of(models: Models, working: "threading.Lock | None" = None) -> EditVisit:
    """A new visit of a page with these models."""
    return EditVisit(working or threading.Lock(), models)


def opened(model: ColorBackbone) -> EditVisit:
    """A visit with a gray image."""
    visit = visit_of(Models(model))
    visit.open(png(gray()), "a gray <one>.png", model="colors")
    return visit


class PausedBackbone(ColorBackbone):
    """The color model, whose network waits when a test requests it."""

    def __init__(self) -> None:
        super().__init__()
        self.defaults = {"captioner": "colors", "editors": {"eim": {"search": {"steps": 4}}, "sdedit": {"level": 0.5}}}
        self.waits = threading.Event()  # set when the network waits
        self.goes_on = threading.Event()  # set to let it return
        self.goes_on.set()
        self._answers = 0

    def _velocity(self, z: Tensor, s: Tensor, condition: Any) -> Tensor:
        if not self.goes_on.is_set():
            self._answers -= 1
            if self._answers < 0:
                self.waits.set()
                assert self.goes_on.wait(60)
        return super()._velocity(z, s, condition)

    def pause(self, *, after: int = 0) -> None:
        """Let the network wait after this number of evaluations."""
        self._answers = after
        self.waits.clear()
        self.goes_on.clear()


@contextlib.contextmanager
def served(model: ColorBackbone) -> Iterator[tuple[str, Path]]:
    """The address of the page with the tab *Edit*, and the folder of its uploads."""
    with (
        tempfile.TemporaryDirectory() as home,
        installed(Path(home), COLORS),
        servers.served(Models(model)) as found,
    ):
        yield found
