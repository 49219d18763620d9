import json
from pathlib import Path
from typing import Any

import pytest
from diffusers import DDIMPipeline

from latentedit.models.registry import load
from latentedit_portraits.fitting import FitSettings
from latentedit_portraits.train_pixels import RECIPES, train_discs, train_portraits
from latentedit_portraits.verify import verify


@pytest.mark.parametrize(("train", "name"), [(train_discs, "pixels-discs"), (train_portraits, "pixels-portraits")])
def test_the_recipe_makes_a_stock_folder(train: Any, name: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(RECIPES, "cpu", (4, FitSettings(steps=1, batch=2, learning_rate=1e-3)))
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
