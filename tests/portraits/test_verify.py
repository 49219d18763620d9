import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from latentedit.backbones.registry import bundled_folder
from latentedit.errors import ModelError
from latentedit.portraits.verify import verify


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundled_folder("portraits"), tmp_path / "portraits"))


def test_the_bundled_model_verifies() -> None:
    lines = verify(bundled_folder("portraits"))
    assert any("fingerprint" in line for line in lines)


def test_another_fingerprint_is_found(copy: Path) -> None:
    settings = json.loads((copy / "latentedit.json").read_text())
    (copy / "latentedit.json").write_text(json.dumps(settings | {"fingerprint": "0" * 16}))
    with pytest.raises(ModelError, match="expected the fingerprint 0000"):
        verify(copy)


def test_another_picture_is_found(copy: Path) -> None:
    Image.new("RGB", (128, 128), "red").save(copy / "reference.png")
    with pytest.raises(ModelError, match="differs by"):
        verify(copy)
    (copy / "reference.png").unlink()
    with pytest.raises(ModelError, match="is missing"):
        verify(copy)
