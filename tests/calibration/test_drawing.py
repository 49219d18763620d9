import functools
import shutil
from pathlib import Path

import pytest
from PIL import Image

from latentedit.calibration import drawing
from latentedit.calibration.drawing import draw_images, verify_drawings, write_reference
from latentedit.core.errors import ModelError
from latentedit.models.model_settings import read_settings, write_settings
from latentedit.models.registry import bundled_folder

pytestmark = pytest.mark.slow


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundled_folder("portraits"), tmp_path / "portraits"))


@pytest.mark.nightly
def test_reference_image_and_fingerprint_are_stored_and_verified(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "draw_images", functools.partial(draw_images, steps=2))
    settings = read_settings(copy)
    (copy / "reference.png").unlink()
    write_settings(copy, {"fingerprint": None})
    write_reference(copy, settings["reference_caption"])
    assert read_settings(copy) == settings
    assert len(verify_drawings(copy)) == 2
    Image.new("RGB", (128, 128), "red").save(copy / "reference.png")
    with pytest.raises(ModelError):
        verify_drawings(copy)
    (copy / "reference.png").unlink()
    with pytest.raises(ModelError):
        verify_drawings(copy)
    write_settings(copy, {"fingerprint": "0" * 16})
    with pytest.raises(ModelError):
        verify_drawings(copy)
