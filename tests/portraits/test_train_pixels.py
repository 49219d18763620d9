import json
from pathlib import Path
from typing import Any

import pytest
from diffusers import DDIMPipeline

from latentedit.core.errors import ConfigError
from latentedit.models.registry import load
from latentedit_portraits import train_pixels as recipe
from latentedit_portraits.fitting import FitSettings
from latentedit_portraits.train_pixels import train_discs, train_portraits
from latentedit_portraits.verify import verify


def test_an_unknown_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'cpu'"):
        train_discs(tmp_path, "cpux")


@pytest.mark.parametrize(("train", "name"), [(train_discs, "pixels-discs"), (train_portraits, "pixels-portraits")])
def test_the_recipe_makes_a_stock_folder(train: Any, name: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(recipe, "RECIPES", {"cpu": (4, FitSettings(steps=1, batch=2, learning_rate=1e-3))})
    folder = train(tmp_path, "cpu", device="cpu", log=lambda _: None)
    pipeline: Any = DDIMPipeline.from_pretrained(folder)
    assert type(pipeline.unet).__name__ == "UNet2DModel"
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    model = load(folder, device="cpu")
    assert model.capabilities.sizes == (64, 64, 64)
    assert json.loads((folder / "latentedit.json").read_text())["fingerprint"] == model.fingerprint
    assert len(verify(folder)) == 2
    card = (folder / "README.md").read_text()
    assert f"models train {name} --recipe cpu" in card
    assert "4 pictures, 1 steps of 2" in card
