"""Every recipe writes a stock folder with its card, in a few steps of tiny networks."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, SD3Transformer2DModel

from latentedit import load
from latentedit.calibration import GuardCalibration, calibrate_guard, draw_images, verify_drawings
from latentedit.core import read_json
from latentedit.encoding import Guard
from latentedit.models import bundled_folder, read_settings
from latentedit_drawn.domain import PORTRAITS
from latentedit_portraits.domains import AttributeDomain, words_of
from latentedit_portraits.framer import PortraitFramer
from latentedit_scenes.domain import SCENES
from research.training import __main__ as command
from research.training import recipes
from research.training.sd3 import build_text_to_velocity, load_matching_weights
from research.training.texts import IGNORED, CaptionBatches

pytestmark = pytest.mark.nightly


@pytest.mark.parametrize("domain", [PORTRAITS, SCENES], ids=lambda domain: domain.name)
def test_every_word_is_a_token_and_stated_values_are_true(domain: AttributeDomain) -> None:
    scenes = domain.draw("train", 4, 0)
    captions = CaptionBatches(domain, scenes, torch.device("cpu"))
    for scene in scenes:
        caption = domain.grammar.full_caption(scene)
        assert len(captions.tokenizer(caption).input_ids) == len(words_of(caption)) + 2 <= domain.grammar.max_tokens
    ids, stated = captions.draw(range(4), torch.Generator().manual_seed(0), empty=0.0)
    assert ids.shape == (4, domain.grammar.max_tokens)
    for row, scene in zip(stated.tolist(), scenes, strict=True):
        assert all(value in (IGNORED, true) for value, true in zip(row, scene.indices(), strict=True))
        assert set(row) != {IGNORED}


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans with one step, small networks, gray scenes, no measures."""
    for name, plan in recipes.PLANS.items():
        fits = {stage: dataclasses.replace(fit, steps=1, batch_size=4) for stage, fit in plan.fits.items()}
        few = {"images": 3, "recolored": 2, "views": 4, "reconstructed": 2}
        sizes = {size: count for size, count in few.items() if getattr(plan, size)}
        monkeypatch.setitem(recipes.PLANS, name, dataclasses.replace(plan, fits=fits, **sizes))
    small = GuardCalibration(images=2, steps=1, batch=2, harmed=1)
    cheap: dict[str, Any] = {
        "research.training.views.SIZE": 128,
        "latentedit_scenes.domain.render_array": lambda *_: np.full((128, 128, 3), 90, np.uint8),
        "research.training.recipes.measure_quality": lambda *_: {"a measure": {"mean": 0.5}},
        "research.training.recipes.instruction_following": lambda *_: {"one change": 0.25},
        "research.training.recipes.calibrate_no_change": lambda *_, **__: None,
        "research.training.recipes.GuardCalibration": lambda: small,
        "research.training.recipes.calibrate_guard": functools.partial(calibrate_guard, how=small),
        "latentedit.calibration.drawing.draw_images": functools.partial(draw_images, steps=2),
    }
    for name, value in cheap.items():
        monkeypatch.setattr(name, value)


@pytest.mark.parametrize("name", recipes.RECIPES)
@pytest.mark.usefixtures("tiny")
def test_a_recipe_writes_a_stock_folder_with_its_card(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [name, "--out", str(tmp_path), "--device", "cpu"]
    assert command.main(arguments) == 0
    folder = tmp_path / "model"
    assert capsys.readouterr().out.endswith(f"model  {folder}\n")
    pipeline: Any = DiffusionPipeline.from_pretrained(
        folder, **({"text_encoder_3": None, "tokenizer_3": None} if name in ("portraits", "scenes") else {})
    )
    bundled, model, settings = bundled_folder(name), load(folder, device="cpu"), read_settings(folder)
    assert type(pipeline).__name__ == read_json(bundled / "model_index.json")["_class_name"]
    assert settings["fingerprint"] == model.fingerprint
    assert len(verify_drawings(folder)) == 2
    assert f"python -m research.training {name}`" in (folder / "README.md").read_text()
    stored = read_settings(bundled)
    for setting in ("sizes", "vocabulary", "captioner", "framer", "knows", "guidance", "zero_tokens", "window"):
        assert settings.get(setting) == stored.get(setting), setting
    assert settings["training_seconds"].keys() == stored["training_seconds"].keys()
    if "vocabulary" in settings:
        assert Guard.of(model) is not None, "the model has a guard"
    for network in ("reader", "framer"):
        assert (folder / network).is_dir() == (bundled / network).is_dir()
    if (folder / "framer").is_dir():
        PortraitFramer.from_folder(folder)
    assert command.main(["pixels-discs" if name != "pixels-discs" else "scenes", *arguments[1:]]) == 2


def test_initial_weights_are_those_of_portraits_except_for_the_vocabulary() -> None:
    """Token embeddings stay; the transformer predicts the same velocity as that of `portraits`."""
    folder, captions = bundled_folder("portraits"), CaptionBatches(SCENES, [], torch.device("cpu"))
    network = build_text_to_velocity(captions.tokenizer, SCENES)
    words = network.text_encoder.text_model.embeddings.token_embedding.weight.detach().clone()
    load_matching_weights(network, folder)
    assert torch.equal(network.text_encoder.text_model.embeddings.token_embedding.weight, words)
    theirs = SD3Transformer2DModel.from_pretrained(folder / "transformer", torch_dtype=torch.float32)
    draw = torch.Generator().manual_seed(0)
    shapes = {"hidden_states": (1, 8, 16, 16), "encoder_hidden_states": (1, 9, 256), "pooled_projections": (1, 256)}
    inputs = {name: torch.randn(shape, generator=draw) for name, shape in shapes.items()}
    with torch.no_grad():
        ours, same = (net(**inputs, timestep=torch.tensor([500.0])).sample for net in (network.transformer, theirs))
    assert torch.equal(ours, same)
