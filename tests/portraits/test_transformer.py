import math
from pathlib import Path

import numpy as np
import pytest
import torch

from latentedit_portraits.attributes import VALUES, draw_split
from latentedit_portraits.captions import CaptionStyle
from latentedit_portraits.fitting import FitSettings
from latentedit_portraits.tokenizer import build_tokenizer
from latentedit_portraits.transformer import (
    CaptionBatches,
    TextToVelocity,
    attribute_loss,
    build_text_to_velocity,
    draw_levels,
    fit_text,
    fit_transformer,
)
from tests.portraits.runs import run_in

CPU = torch.device("cpu")
CHANCE = float(np.mean([math.log(len(values)) for values in VALUES.values()]))


@pytest.fixture
def network() -> TextToVelocity:
    return build_text_to_velocity(build_tokenizer(), 0)


@pytest.fixture
def captions() -> CaptionBatches:
    return CaptionBatches(build_tokenizer(), draw_split("train", 32, 0), CPU)


def test_levels_are_stratified_and_lean_to_the_noise() -> None:
    levels = draw_levels(1000, torch.Generator().manual_seed(0))
    assert levels.min() > 0
    assert levels.max() < 1
    # median of the logit-normal is sigmoid(0.7) = 0.668; stratified, so within one stratum of it
    assert levels.sort().values[500] == pytest.approx(0.668, abs=0.005)


def test_attribute_loss_of_ignorance_is_the_logarithm_of_the_choices() -> None:
    stated = torch.tensor([item.indices() for item in draw_split("train", 8, 0)])
    logits = torch.zeros(8, sum(map(len, VALUES.values())))
    assert attribute_loss(logits, stated).item() == pytest.approx(CHANCE, rel=1e-6)
    silent = torch.full_like(stated, -100)
    assert attribute_loss(logits, silent).item() == 0


def test_captions_and_what_they_state_belong_together(captions: CaptionBatches) -> None:
    ids, stated = captions.draw([0, 1], torch.Generator().manual_seed(0), CaptionStyle(empty=0.0, full=1.0))
    assert stated.tolist() == [captions.attributes[0].indices(), captions.attributes[1].indices()]
    assert ids.shape == (2, captions.tokenizer.model_max_length)


def test_the_untrained_velocity_is_zero(network: TextToVelocity, captions: CaptionBatches) -> None:
    ids, _ = captions.draw([0], torch.Generator().manual_seed(0), CaptionStyle())
    tokens, pooled = network.embed(ids)
    v = network.transformer(torch.ones(1, 8, 16, 16), tokens, pooled, torch.tensor([500.0])).sample
    assert v.abs().max() == 0


def test_text_training_beats_chance(network: TextToVelocity, captions: CaptionBatches, tmp_path: Path) -> None:
    settings = FitSettings(steps=25, batch=16, learning_rate=2e-3, warm_up=1, average=0.0)
    fit_text(network, captions, settings, run_in(tmp_path))
    ids, stated = captions.draw(range(32), torch.Generator().manual_seed(1), CaptionStyle(empty=0.0))
    with torch.no_grad():
        assert attribute_loss(network.attribute_head(network.embed(ids)[1]), stated).item() < 0.9 * CHANCE


def test_joint_training_moves_text_and_transformer(
    network: TextToVelocity, captions: CaptionBatches, tmp_path: Path
) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    latents = np.random.default_rng(0).standard_normal((32, 8, 16, 16)).astype(np.float16)
    settings = FitSettings(steps=3, batch=2, learning_rate=1e-3, warm_up=1, average=0.0)
    fit_transformer(network, captions, latents, settings, run_in(tmp_path))
    after = network.state_dict()
    for part in ("transformer.proj_out.weight", "text_encoder.text_projection.weight"):
        assert not torch.equal(before[part], after[part])
    assert all(value.isfinite().all() for value in after.values() if value.is_floating_point())
