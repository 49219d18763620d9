import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from latentedit_drawn.domain import PORTRAITS
from latentedit_portraits.attributes import VALUES, Attributes, draw_split
from latentedit_portraits.captions import MAX_TOKENS, vocabulary
from research.tests.training.runs import trainer_in
from research.training import pixels
from research.training.loop import FitSettings
from research.training.sd3 import TextToVelocity, build_text_to_velocity, draw_levels, fit_transformer
from research.training.texts import CaptionBatches, attribute_loss

CPU = torch.device("cpu")
CHANCE = float(np.mean([math.log(len(values)) for values in VALUES.values()]))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small networks."""
    for name in ("_LAYERS", "_HEADS"):
        monkeypatch.setattr(f"research.training.sd3.{name}", 2)


@pytest.fixture
def network(captions: CaptionBatches) -> TextToVelocity:
    return build_text_to_velocity(captions.tokenizer, PORTRAITS)


@pytest.fixture(scope="module")
def captions() -> CaptionBatches:
    return CaptionBatches(PORTRAITS, draw_split("train", 32, 0), CPU)


def test_levels_are_stratified_with_a_median_above_one_half() -> None:
    levels = draw_levels(1000, torch.Generator().manual_seed(0))
    assert levels.min() > 0
    assert levels.max() < 1
    # median of the logit-normal is sigmoid(0.7) = 0.668; stratified, so within one stratum of it
    assert levels.sort().values[500] == pytest.approx(0.668, abs=0.005)


def test_attribute_loss_of_uniform_logits_is_the_log_of_the_number_of_values() -> None:
    stated = torch.tensor([item.indices() for item in draw_split("train", 8, 0)])
    logits = torch.zeros(8, sum(map(len, VALUES.values())))
    assert attribute_loss(logits, stated, Attributes).item() == pytest.approx(CHANCE, rel=1e-6)
    silent = torch.full_like(stated, -100)
    assert attribute_loss(logits, silent, Attributes).item() == 0


@pytest.mark.nightly
def test_joint_training_changes_text_encoder_and_transformer(
    small: None, network: TextToVelocity, captions: CaptionBatches, tmp_path: Path
) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    latents = np.random.default_rng(0).standard_normal((32, 8, 16, 16)).astype(np.float16)
    settings = FitSettings(steps=1, batch_size=2, learning_rate=1e-3, warmup_steps=1, ema_decay=0.0)
    fit_transformer(network, captions, latents, settings, trainer_in(tmp_path))
    after = network.state_dict()
    for part in ("transformer.proj_out.weight", "text_encoder.text_projection.weight"):
        assert not torch.equal(before[part], after[part])
    assert all(value.isfinite().all() for value in after.values() if value.is_floating_point())


def test_every_word_is_one_token(captions: CaptionBatches) -> None:
    tokenizer = captions.tokenizer
    for word in vocabulary():
        assert len(tokenizer(word).input_ids) == 3, word  # start, word, end
    ids = tokenizer("a xylophone é 5").input_ids
    assert tokenizer.unk_token_id not in ids[1:-1]
    assert "".join(tokenizer.convert_ids_to_tokens(ids)[1:-1]).replace("</w>", " ").startswith("a xylophone ")
    ids = tokenizer(" ".join(["glasses"] * 90), padding="max_length", truncation=True).input_ids
    assert len(ids) == MAX_TOKENS
    assert len(tokenizer("a", padding="max_length").input_ids) == MAX_TOKENS


class ConstantNetwork(torch.nn.Module):
    """Returns the same value for all images, and records its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.value = torch.nn.Parameter(torch.zeros(()))
        self.inputs: list[tuple[torch.Tensor, torch.Tensor]] = []

    def forward(self, x_t: torch.Tensor, times: torch.Tensor, return_dict: bool) -> tuple[torch.Tensor]:
        assert not return_dict
        self.inputs.append((x_t, times))
        return (self.value.expand_as(x_t),)


def test_pixel_models_learn_v_at_all_times(tmp_path: Path) -> None:
    network: Any = ConstantNetwork()
    white = np.full((4, pixels.SIDE, pixels.SIDE, 3), 255, np.uint8)
    settings = FitSettings(steps=1, batch_size=8, learning_rate=1e-3)
    lines: list[str] = []
    pixels.fit_pixels(network, white, settings, trainer_in(tmp_path, log=lines.append))
    x_t, times = network.inputs[0]
    assert times.sort().values.div(125, rounding_mode="floor").tolist() == list(range(8)), "one per eighth of the range"
    alphas = pixels.noise_scheduler().alphas_cumprod[times.long()]
    alpha, sigma = alphas.sqrt()[:, None, None, None], (1 - alphas).sqrt()[:, None, None, None]
    noise = (x_t - alpha) / sigma
    loss = float(lines[0].split("loss ")[1].split()[0])
    # diffusers' own target for v, with an image of ones; five digits are printed
    target = pixels.noise_scheduler().get_velocity(torch.ones_like(noise), noise, times.long())
    assert loss == pytest.approx(float(target.square().mean()), abs=2e-4)
