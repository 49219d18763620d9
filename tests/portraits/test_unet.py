from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPTextModelWithProjection

from latentedit.core.flow import add_noise, model_from_canonical, velocity_from_prediction
from latentedit.core.schedule import DiscreteSchedule
from latentedit_portraits.attributes import draw_split
from latentedit_portraits.captions import CaptionStyle
from latentedit_portraits.fitting import FitSettings
from latentedit_portraits.tokenizer import build_tokenizer
from latentedit_portraits.transformer import CaptionBatches, build_text_to_velocity
from latentedit_portraits.unet import TextToNoise, build_text_to_noise, fit_unet, noise_scheduler, velocity_loss
from tests.portraits.runs import run_in


@pytest.fixture(scope="module")
def beginning() -> CLIPTextModelWithProjection:
    return build_text_to_velocity(build_tokenizer(), 0).text_encoder_2


@pytest.fixture
def network(beginning: CLIPTextModelWithProjection) -> TextToNoise:
    return build_text_to_noise(beginning, 0)


@pytest.fixture
def captions() -> CaptionBatches:
    return CaptionBatches(build_tokenizer(), draw_split("train", 8, 0), torch.device("cpu"))


def test_the_schedule_has_the_range_that_is_stated() -> None:
    schedule = DiscreteSchedule.from_alphas_cumprod(noise_scheduler().alphas_cumprod)
    assert schedule.s_min == pytest.approx(0.028, abs=5e-4)
    assert schedule.s_max == pytest.approx(0.985, abs=5e-4)


def test_the_text_encoder_begins_as_the_one_given(
    network: TextToNoise, beginning: CLIPTextModelWithProjection, captions: CaptionBatches
) -> None:
    ids, _ = captions.draw([0, 1], torch.Generator().manual_seed(0), CaptionStyle())
    with torch.no_grad():
        assert torch.equal(network.embed(ids), beginning(ids).last_hidden_state)


def test_the_loss_is_the_square_error_of_the_velocity_until_the_factor_is_cut() -> None:
    generator = torch.Generator().manual_seed(0)
    clean, noise, output = torch.randn(3, 4, 2, 6, 6, generator=generator, dtype=torch.float64)
    schedule = DiscreteSchedule.from_alphas_cumprod(noise_scheduler().alphas_cumprod)
    s = schedule.level(torch.tensor([10.0, 300.0, 500.0, 640.0], dtype=torch.float64))
    assert s.max() < 0.917
    alpha, sigma = schedule.alpha_sigma(s)
    x_t = model_from_canonical(add_noise(clean, noise, s), alpha, sigma)
    velocity = velocity_from_prediction("epsilon", output, x_t, alpha, sigma)
    expected = (velocity - (noise - clean)).square().mean()
    # the same algebra in float64, but for one cancellation of 1 / alpha, below 100
    assert velocity_loss(output - noise, s).item() == pytest.approx(expected.item(), rel=1e-9)
    cut = velocity_loss(output - noise, torch.full((4,), 0.98, dtype=torch.float64))
    assert cut.item() == pytest.approx(144 * (output - noise).square().mean().item(), rel=1e-12)


def test_training_changes_both_networks(
    network: TextToNoise, beginning: CLIPTextModelWithProjection, captions: CaptionBatches, tmp_path: Path
) -> None:
    latents = np.random.default_rng(0).standard_normal((8, 8, 16, 16)).astype(np.float16)
    settings = FitSettings(steps=2, batch=2, learning_rate=1e-3, warm_up=1)
    fit_unet(network, captions, latents, settings, run_in(tmp_path))
    fresh = build_text_to_noise(beginning, 0)
    for part in ("unet", "text_encoder"):
        pairs = zip(getattr(network, part).parameters(), getattr(fresh, part).parameters(), strict=True)
        assert any(not torch.equal(one, other) for one, other in pairs)
