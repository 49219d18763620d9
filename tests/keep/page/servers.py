"""The page's server in this process, and what it serves."""

import contextlib
import io
import re
import socket
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from gradio.routes import App
from PIL import Image

from latentedit.page.page import Tab
from latentedit.page.serve import serving

USER, PASSWORD = "anna", "correct horse"


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@contextlib.contextmanager
def served(tabs: Sequence[Tab] = (), **options: Any) -> Iterator[tuple[str, Path]]:
    """The address of the page, and the folder of its uploads."""
    with tempfile.TemporaryDirectory() as home:
        uploads = Path(home, "uploads")
        with serving(uploads, tabs, port=options.pop("port", None) or free_port(), **options) as address:
            yield address, uploads
            uploads.mkdir(exist_ok=True)
        assert not uploads.exists(), "all uploads are removed"


@contextlib.contextmanager
def locked_page(tabs: Sequence[Tab] = ()) -> Iterator[tuple[str, Path, App]]:
    """The address of a page with a log-in, the folder of its uploads, and Gradio's application."""
    made, create = list[App](), App.create_app
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(App, "create_app", lambda *some, **more: made.append(create(*some, **more)) or made[-1])
        with served(tabs, user=USER, password=PASSWORD) as (address, uploads):
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
            )  # FastAPI nests routers like this

    collect(app.routes)
    return found


def free_port() -> int:
    """A free port."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
