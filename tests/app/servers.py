"""Visits with the color model, whose edits take no time, and the page's server in this process."""

import contextlib
import io
import re
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gradio.routes import App
from PIL import Image
from torch import Tensor

from latentedit.app.models import Models
from latentedit.app.serve import serving
from latentedit.app.visitor import PageChange, VisitorSession
from tests.editors.colors import ColorBackbone
from tests.editors.edits import gray
from tests.installed import COLORS, installed

USER, PASSWORD = "anna", "correct horse"
SCENE = "gray room, a hat, a wall"  # the color model reads only the first word; changes can name the rest

RED = PageChange(text="gray => red")
EIM = {"model": "colors", "method": "eim", "caption": SCENE}


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def opened(model: ColorBackbone) -> VisitorSession:
    """A visit with a gray image."""
    visit = VisitorSession(Models(model))
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
def served(model: ColorBackbone, **options: Any) -> Iterator[tuple[str, Path]]:
    """The address of the page, and the folder of its uploads."""
    with tempfile.TemporaryDirectory() as home, installed(Path(home), COLORS):
        uploads = Path(home, "uploads")
        with serving(Models(model), uploads, port=options.pop("port", None) or free_port(), **options) as address:
            yield address, uploads
            uploads.mkdir(exist_ok=True)
        assert not uploads.exists(), "all uploads are removed"


@contextlib.contextmanager
def locked_page() -> Iterator[tuple[str, Path, App]]:
    """The address of a page with a log-in, the folder of its uploads, and Gradio's application."""
    made, create = list[App](), App.create_app
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(App, "create_app", lambda *some, **more: made.append(create(*some, **more)) or made[-1])
        with served(PausedBackbone(), user=USER, password=PASSWORD) as (address, uploads):
            yield address, uploads, made[-1]


def routes(app: App) -> set[tuple[str, str]]:
    """Method and path of every route, with 1 for its parameters."""
    found = set[tuple[str, str]]()

    def collect(some: Any, prefix: str = "") -> None:
        for route in some:
            path = prefix + getattr(route, "path", "")
            found.update((method, re.sub(r"{.*?}", "1", path)) for method in getattr(route, "methods", None) or ())
            collect(
                getattr(getattr(route, "original_router", route), "routes", None) or (), path
            )  # as FastAPI nests it

    collect(app.routes)
    return found


def free_port() -> int:
    """A free port."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
