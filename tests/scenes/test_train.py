"""The recipe of `scenes` trains the networks of portraits on captions of scenes, and its figures are what they say."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import SD3Transformer2DModel

from latentedit.core.errors import ConfigError
from latentedit.models.registry import bundled_folder
from latentedit.models.settings_file import read_settings, write_settings
from latentedit_portraits.attributes import IGNORED
from latentedit_portraits.captions import CaptionStyle
from latentedit_portraits.fitting import FitSettings, Plan
from latentedit_portraits.tokenizer import build_tokenizer
from latentedit_portraits.transformer import CaptionBatches, TextToVelocity, build_text_to_velocity
from latentedit_scenes import dataset
from latentedit_scenes import train as recipe
from latentedit_scenes.attributes import NONE, VALUES, Attributes, draw_split
from latentedit_scenes.captions import full_caption, words_of
from latentedit_scenes.card import card_text
from latentedit_scenes.dataset import render_split
from latentedit_scenes.reader import SceneReader, agreement, build_reader
from latentedit_scenes.train import RECIPES, WORLD, begin_with, train

pytestmark = pytest.mark.nightly


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


def test_the_stages_of_the_recipe_fit_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gray: list[int]
) -> None:
    """Without a step of training, or a picture rendered or sampled; encoding and writing are those of portraits."""
    names = ("autoencoder", "autoencoder_whole", "decoder", "reader", "text", "transformer")
    fits = {name: FitSettings(steps=0, batch=2, learning_rate=1e-3) for name in names}
    assert all(plan.fits.keys() == fits.keys() for plan in RECIPES.values())
    monkeypatch.setitem(RECIPES, "cpu", Plan(pictures=2, fits=fits))
    monkeypatch.setattr(recipe, "_TESTED", 2)
    monkeypatch.setattr(recipe, "encode_renders", lambda *_: np.zeros((2, 8, 16, 16), np.float16))
    monkeypatch.setattr(recipe, "measure_quality", lambda *_: {"a measure": {"mean": 0.5}})
    for name in ("load", "calibrate_guard", "keep_calibration", "write_reference"):
        monkeypatch.setattr(recipe, name, lambda *_, **__: None)

    def write(folder: Path, _: Any, network: TextToVelocity, tokenizer: Any, settings: Any) -> None:
        assert network.text_encoder.config.max_position_embeddings == tokenizer.model_max_length == WORLD.max_tokens
        folder.mkdir()
        write_settings(folder, settings)

    monkeypatch.setattr(recipe, "write_velocity_pipeline", write)
    folder = train(tmp_path, "cpu", device="cpu", log=lambda _: None)
    settings = read_settings(folder)
    assert settings["quality"] == {"a measure": {"mean": 0.5}}
    assert card_text(settings) == (folder / "README.md").read_text("utf-8")
    assert settings["vocabulary"] == list(WORLD.vocabulary)
    assert isinstance(SceneReader.from_folder(folder).attributes(torch.zeros(1, 3, 128, 128))[0], Attributes)
    assert len(gray) == 4
    render_split(tmp_path / "renders", "train", 2, seed=recipe.SEED, workers=1)
    assert len(gray) == 4, "what was rendered is kept"
    with pytest.raises(ConfigError, match="did you mean 'cpu'"):
        train(tmp_path, "cpux")


def test_the_networks_begin_with_those_of_portraits_and_their_words_do_not() -> None:
    """What a network of its own words knows stays; the rest predicts the velocity that `portraits` predicts."""
    folder, tokenizer = bundled_folder("portraits"), build_tokenizer(WORLD.vocabulary, WORLD.max_tokens)
    fresh = build_text_to_velocity(tokenizer, 0, WORLD)
    words = fresh.text_encoder.text_model.embeddings.token_embedding.weight.detach().clone()
    begun = begin_with(fresh, folder)
    assert torch.equal(begun.text_encoder.text_model.embeddings.token_embedding.weight, words)
    theirs = SD3Transformer2DModel.from_pretrained(folder / "transformer", torch_dtype=torch.float32)
    draw = torch.Generator().manual_seed(0)
    shapes = {"hidden_states": (1, 8, 16, 16), "encoder_hidden_states": (1, 9, 256), "pooled_projections": (1, 256)}
    inputs = {name: torch.randn(shape, generator=draw) for name, shape in shapes.items()}
    with torch.no_grad():
        ours, same = (net(**inputs, timestep=torch.tensor([500.0])).sample for net in (begun.transformer, theirs))
    assert torch.equal(ours, same)


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
