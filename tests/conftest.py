"""What several tests need."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from PIL import Image


@pytest.fixture
def read_only_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that the system refuses to write to; for the superuser, whom no mode stops, one of the kernel's."""
    if os.geteuid() == 0:
        yield Path("/proc/self")
        return
    folder = tmp_path / "read-only"
    folder.mkdir()
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow gets some bytes of a picture written, and then the disk is full."""

    def write(image: Image.Image, file: BinaryIO, **_: object) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", write)


@pytest.fixture
def rows_asked(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], list[int]]:
    """Given a model, a list that grows by the number of rows of each call of its network from then on."""

    def watch(backbone: Any) -> list[int]:
        rows: list[int] = []
        network = backbone._velocity

        def watched(z: Any, s: Any, condition: Any) -> Any:
            rows.append(len(z))
            return network(z, s, condition)

        monkeypatch.setattr(backbone, "_velocity", watched)
        return rows

    return watch
