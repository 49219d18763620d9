"""The page's server in this process, and what it serves."""

import contextlib
import io
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from latentedit.page.models import Models
from latentedit.page.serve import serving


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@contextlib.contextmanager
def served(models: Models | None = None) -> Iterator[tuple[str, Path]]:
    """The address of the page, with the tab *Edit* for models, and the folder of its uploads."""
    with tempfile.TemporaryDirectory() as home:
        uploads = Path(home, "uploads")
        with serving(uploads, models, port=free_port()) as address:
            yield address, uploads
        files = [path for path in uploads.rglob("*") if path.is_file()]
        assert files == [], "all uploads are removed"


def free_port() -> int:
    """A free port."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
