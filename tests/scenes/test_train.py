"""The recipe of `scenes` makes a stock folder by the networks of portraits, and its figures are what they say."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline

from latentedit.core.errors import ConfigError
from latentedit.models.settings_file import read_settings
from latentedit_portraits.attributes import IGNORED
from latentedit_portraits.captions import CaptionStyle
from latentedit_portraits.fitting import FitSettings, Plan
from latentedit_portraits.tokenizer import build_tokenizer
from latentedit_portraits.transformer import CaptionBatches
from latentedit_scenes import dataset
from latentedit_scenes import train as recipe
from latentedit_scenes.attributes import NONE, VALUES, draw_split
from latentedit_scenes.captions import full_caption, words_of
from latentedit_scenes.reader import SceneReader, agreement, build_reader
from latentedit_scenes.train import RECIPES, WORLD, train


@pytest.fixture
def gray(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rendering is left out; gives how many pictures were asked for, as a list's length."""
    asked: list[int] = []

    def render(_: Any) -> np.ndarray:
        asked.append(1)
        return np.full((128, 128, 3), 90, np.uint8)

    monkeypatch.setattr(dataset, "render_array", render)
    return asked


def test_every_word_is_a_token_and_captions_tell_what_they_state() -> None:
    tokenizer, scenes = build_tokenizer(WORLD.vocabulary, WORLD.max_tokens), draw_split("train", 4, 0)
    for scene in scenes:
        caption = full_caption(scene)
        assert len(tokenizer(caption).input_ids) == len(words_of(caption)) + 2 <= WORLD.max_tokens
    captions = CaptionBatches(tokenizer, scenes, torch.device("cpu"), WORLD)
    ids, stated = captions.draw(range(4), torch.Generator().manual_seed(0), CaptionStyle(empty=0.0))
    assert ids.shape == (4, WORLD.max_tokens)
    for row, scene in zip(stated.tolist(), scenes, strict=True):
        assert all(said in (IGNORED, true) for said, true in zip(row, scene.indices(), strict=True))
        assert set(row) != {IGNORED}


def test_the_recipe_makes_a_stock_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gray: list[int]) -> None:
    """Without a step of training, a picture rendered, or one sampled: that the stages fit together."""
    names = ("autoencoder", "autoencoder_whole", "decoder", "reader", "text", "transformer")
    fits = {name: FitSettings(steps=0, batch=2, learning_rate=1e-3) for name in names}
    assert all(plan.fits.keys() == fits.keys() for plan in RECIPES.values())
    monkeypatch.setitem(RECIPES, "cpu", Plan(pictures=2, fits=fits))
    monkeypatch.setattr(recipe, "_TESTED", 2)
    for name, made in (("measure_quality", {"a measure": {"mean": 0.5}}), ("calibrate_guard", None)):
        monkeypatch.setattr(recipe, name, lambda *_, made=made, **__: made)
    monkeypatch.setattr(recipe, "keep_guard", lambda *_, **__: None)
    latents = np.zeros((2, 8, 16, 16), np.float16)  # encoding is that of portraits, and slow in half precision
    monkeypatch.setattr(recipe, "encode_renders", lambda *_: latents)
    folder = train(tmp_path, "cpu", device="cpu", log=lambda _: None)
    pipeline: Any = DiffusionPipeline.from_pretrained(folder, text_encoder_3=None, tokenizer_3=None)
    assert type(pipeline.transformer).__name__ == "SD3Transformer2DModel"
    assert pipeline.tokenizer.model_max_length == WORLD.max_tokens
    assert read_settings(folder)["quality"] == {"a measure": {"mean": 0.5}}
    pixels = torch.zeros(1, 3, 128, 128)
    assert set(SceneReader.from_folder(folder).attributes(pixels)[0].indices()) >= {0}
    assert len(gray) == 4
    train(tmp_path, "cpu", device="cpu", log=lambda _: None)
    assert len(gray) == 4, "what was rendered is kept"
    with pytest.raises(ConfigError, match="did you mean 'cpu'"):
        train(tmp_path, "cpux")


def test_counting_places_and_bindings_are_told_apart() -> None:
    wanted = [next(one for one in draw_split("train", 60, 0) if one.places() == ["left", "right"])] * 4
    wanted[0] = wanted[0].replace(left_color="red", right_color="blue")
    exchanged = wanted[0].replace(left_color="blue", right_color="red")
    moved = wanted[1].moved("right", "middle")
    fewer = wanted[2].replace(left_shape=NONE)
    found = agreement([exchanged, moved, fewer, wanted[3]], wanted)
    assert found["counting"] == 3 / 4
    assert found["places"] == 2 / 4
    assert found["binding"] == (0 + 1 + 1 + 2) / 8
    assert found["left_color"] == 2 / 4
    assert found["camera"] == 1
    assert build_reader(0).head.out_features == sum(map(len, VALUES.values()))
