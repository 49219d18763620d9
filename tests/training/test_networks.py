import dataclasses
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from training.loop import FitSettings
from training.sd3 import TextToVelocity, build_text_to_velocity, draw_levels, fit_text, fit_transformer
from training.texts import CaptionBatches, attribute_loss
from training.unet import (
    TextToNoise,
    build_text_to_noise,
    detail_weights,
    fit_unet,
    noise_scheduler,
    velocity_loss,
)
from transformers import CLIPTextModelWithProjection, CLIPTokenizer

from latentedit.core.flow import add_noise, model_from_canonical, velocity_from_prediction
from latentedit.core.schedule import DiscreteSchedule
from latentedit.latents.classifier import to_pixels
from latentedit.models.registry import load
from latentedit_portraits.attributes import VALUES, Attributes, draw_split
from latentedit_portraits.captions import MAX_TOKENS, vocabulary
from latentedit_portraits.domain import PORTRAITS
from latentedit_portraits.render import render_array
from tests.training.runs import run_in
from training import pixels

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
CHANCE = float(np.mean([math.log(len(values)) for values in VALUES.values()]))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of few layers, and narrow."""
    monkeypatch.setattr("training.sd3._LAYERS", 2)
    monkeypatch.setattr("training.sd3._HEADS", 2)
    monkeypatch.setattr("training.unet._WIDTHS", (32, 32, 64))


@pytest.fixture
def network(captions: CaptionBatches) -> TextToVelocity:
    return build_text_to_velocity(captions.tokenizer, PORTRAITS)


@pytest.fixture(scope="module")
def captions() -> CaptionBatches:
    return CaptionBatches(PORTRAITS, draw_split("train", 32, 0), CPU)


def test_levels_are_stratified_and_lean_to_the_noise() -> None:
    levels = draw_levels(1000, torch.Generator().manual_seed(0))
    assert levels.min() > 0
    assert levels.max() < 1
    # median of the logit-normal is sigmoid(0.7) = 0.668; stratified, so within one stratum of it
    assert levels.sort().values[500] == pytest.approx(0.668, abs=0.005)


def test_attribute_loss_of_ignorance_is_the_logarithm_of_the_choices() -> None:
    stated = torch.tensor([item.indices() for item in draw_split("train", 8, 0)])
    logits = torch.zeros(8, sum(map(len, VALUES.values())))
    assert attribute_loss(logits, stated, Attributes).item() == pytest.approx(CHANCE, rel=1e-6)
    silent = torch.full_like(stated, -100)
    assert attribute_loss(logits, silent, Attributes).item() == 0


def test_the_untrained_velocity_is_zero(network: TextToVelocity, captions: CaptionBatches) -> None:
    ids, _ = captions.draw([0], torch.Generator().manual_seed(0))
    tokens, pooled = network.embed(ids)
    v = network.transformer(torch.ones(1, 8, 16, 16), tokens, pooled, torch.tensor([500.0])).sample
    assert v.abs().max() == 0


@pytest.mark.nightly
def test_text_training_beats_chance(network: TextToVelocity, captions: CaptionBatches, tmp_path: Path) -> None:
    settings = FitSettings(steps=25, batch=16, learning_rate=2e-3, warm_up=1, average=0.0)
    fit_text(network, captions, settings, run_in(tmp_path))
    ids, stated = captions.draw(range(32), torch.Generator().manual_seed(1), empty=0.0)
    with torch.no_grad():
        assert attribute_loss(network.attribute_head(network.embed(ids)[1]), stated, Attributes).item() < 0.9 * CHANCE


@pytest.mark.nightly
def test_joint_training_moves_text_and_transformer(
    small: None, network: TextToVelocity, captions: CaptionBatches, tmp_path: Path
) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    latents = np.random.default_rng(0).standard_normal((32, 8, 16, 16)).astype(np.float16)
    settings = FitSettings(steps=1, batch=2, learning_rate=1e-3, warm_up=1, average=0.0)
    fit_transformer(network, captions, latents, settings, run_in(tmp_path))
    after = network.state_dict()
    for part in ("transformer.proj_out.weight", "text_encoder.text_projection.weight"):
        assert not torch.equal(before[part], after[part])
    assert all(value.isfinite().all() for value in after.values() if value.is_floating_point())


@pytest.fixture(scope="module")
def beginning(captions: CaptionBatches) -> CLIPTextModelWithProjection:
    return build_text_to_velocity(captions.tokenizer, PORTRAITS).text_encoder_2


@pytest.fixture
def text_to_noise(small: None, beginning: CLIPTextModelWithProjection) -> TextToNoise:
    return build_text_to_noise(beginning)


@pytest.mark.parametrize(
    ("scheduler", "lowest", "highest"), [(noise_scheduler, 0.028, 0.985), (pixels.noise_scheduler, 0.010, 0.994)]
)
def test_the_schedules_have_the_ranges_that_are_stated(scheduler: Any, lowest: float, highest: float) -> None:
    schedule = DiscreteSchedule.from_alphas_cumprod(scheduler().alphas_cumprod)
    assert (schedule.s_min, schedule.s_max) == pytest.approx((lowest, highest), abs=5e-4)


def test_the_text_encoder_begins_as_the_one_given(
    text_to_noise: TextToNoise, beginning: CLIPTextModelWithProjection, captions: CaptionBatches
) -> None:
    ids, _ = captions.draw([0, 1], torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(text_to_noise.embed(ids), beginning(ids).last_hidden_state)


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


@pytest.mark.nightly
def test_eyebrows_count_more_in_the_loss_of_the_unet() -> None:
    """Where latents of raised and of angry eyebrows differ most; the mean weight is 1."""
    portraits = [dataclasses.replace(one, eyebrows="angry") for one in draw_split("train", 4, 0)]
    model = load("portraits", device="cpu")
    with torch.no_grad():
        angry, raised = (
            model.encode(to_pixels(np.stack([render_array(one) for one in some]), model.device))
            for some in (portraits, [dataclasses.replace(one, eyebrows="raised") for one in portraits])
        )
    energy, weights = (angry - raised).square().mean((0, 1)), detail_weights()
    assert weights.mean().item() == pytest.approx(1)
    assert (energy * (weights > 1)).sum() > 0.95 * energy.sum()


@pytest.mark.nightly
def test_training_changes_both_networks(
    text_to_noise: TextToNoise, beginning: CLIPTextModelWithProjection, captions: CaptionBatches, tmp_path: Path
) -> None:
    latents = np.random.default_rng(0).standard_normal((32, 8, 16, 16)).astype(np.float16)
    settings = FitSettings(steps=2, batch=2, learning_rate=1e-3, warm_up=1)
    fit_unet(text_to_noise, captions, latents, settings, run_in(tmp_path), noise_scheduler())
    fresh = build_text_to_noise(beginning)
    for part in ("unet", "text_encoder"):
        pairs = zip(getattr(text_to_noise, part).parameters(), getattr(fresh, part).parameters(), strict=True)
        assert any(not torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_a_unet_that_knows_the_answer_has_no_loss(
    text_to_noise: TextToNoise, captions: CaptionBatches, kind: str
) -> None:
    """Of pictures that are all zero, ``x_t = sigma e``, and diffusers' v is ``alpha e``."""
    scheduler = noise_scheduler()
    scheduler.register_to_config(prediction_type=kind)
    schedule = DiscreteSchedule.from_alphas_cumprod(scheduler.alphas_cumprod)

    class Knows(torch.nn.Module):
        def forward(self, x_t: Tensor, times: Tensor, *_: Any, **__: Any) -> tuple[Tensor]:
            alpha, sigma = (
                one.float()[:, None, None, None] for one in schedule.alpha_sigma(schedule.level(times.double()))
            )
            noise = x_t / sigma
            return (noise if kind == "epsilon" else alpha * noise,)

    losses: list[float] = []

    def fit(name: str, network: Any, loss: Any, settings: Any, **_: Any) -> float:
        losses.append(float(loss(0, torch.Generator().manual_seed(0))))
        return 0.0

    text_to_noise.unet = Knows()
    run: Any = SimpleNamespace(fit=fit)
    latents, settings = np.zeros((32, 8, 16, 16), dtype=np.float16), FitSettings(steps=1, batch=4, learning_rate=1e-3)
    fit_unet(text_to_noise, captions, latents, settings, run, scheduler)
    assert losses == [pytest.approx(0, abs=1e-6)]


@pytest.fixture(scope="module")
def tokenizer(captions: CaptionBatches) -> CLIPTokenizer:
    return captions.tokenizer


def test_every_word_is_one_token(tokenizer: CLIPTokenizer) -> None:
    for word in vocabulary():
        assert len(tokenizer(word).input_ids) == 3, word  # start, word, end
    ids = tokenizer("a xylophone é 5").input_ids
    assert tokenizer.unk_token_id not in ids[1:-1]
    assert "".join(tokenizer.convert_ids_to_tokens(ids)[1:-1]).replace("</w>", " ").startswith("a xylophone ")
    ids = tokenizer(" ".join(["glasses"] * 90), padding="max_length", truncation=True).input_ids
    assert len(ids) == MAX_TOKENS
    assert len(tokenizer("a", padding="max_length").input_ids) == MAX_TOKENS


def test_saving_and_loading_keeps_the_tokens(tokenizer: CLIPTokenizer, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    loaded = CLIPTokenizer.from_pretrained(tmp_path)
    text = ", ".join(vocabulary())
    assert loaded(text).input_ids == tokenizer(text).input_ids
    assert loaded.model_max_length == MAX_TOKENS


class Answer(torch.nn.Module):
    """Says the same of all pictures, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.value = torch.nn.Parameter(torch.zeros(()))
        self.asked: list[tuple[torch.Tensor, torch.Tensor]] = []

    def forward(self, x_t: torch.Tensor, times: torch.Tensor, return_dict: bool) -> tuple[torch.Tensor]:
        assert not return_dict
        self.asked.append((x_t, times))
        return (self.value.expand_as(x_t),)


def test_it_learns_v_at_all_times(tmp_path: Path) -> None:
    network: Any = Answer()
    white = np.full((4, pixels.SIDE, pixels.SIDE, 3), 255, np.uint8)
    settings = FitSettings(steps=1, batch=8, learning_rate=1e-3)
    told: list[str] = []
    pixels.fit_pixels(network, white, settings, run_in(tmp_path, log=told.append))
    x_t, times = network.asked[0]
    assert times.sort().values.div(125, rounding_mode="floor").tolist() == list(range(8)), "one an eighth of the range"
    alphas = pixels.noise_scheduler().alphas_cumprod[times.long()]
    alpha, sigma = alphas.sqrt()[:, None, None, None], (1 - alphas).sqrt()[:, None, None, None]
    noise = (x_t - alpha) / sigma
    loss = float(told[0].split("loss ")[1].split()[0])
    # diffusers' own target for v, with a picture of ones; five digits are printed
    target = pixels.noise_scheduler().get_velocity(torch.ones_like(noise), noise, times.long())
    assert loss == pytest.approx(float(target.square().mean()), abs=2e-4)
