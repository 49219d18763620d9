"""The Stable Diffusion adapter against the stock pipeline with DDIM, on miniatures with random weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, EulerDiscreteScheduler, PNDMScheduler, StableDiffusionPipeline
from torch import Tensor

from latentedit.core.errors import ConfigError, DeviceError, ModelError, ShapeError
from latentedit.core.flow import clean_estimate, noise_estimate
from latentedit.core.rng import draw
from latentedit.core.solvers.euler import EulerSolver
from latentedit.core.solvers.integrate import sample
from latentedit.models.base import Backbone
from latentedit.models.guidance import GuidedField
from latentedit.models.registry import bundled_folder, load
from latentedit.models.sd import StableDiffusionBackbone
from latentedit.testing.contracts.backbone import BackboneContract
from latentedit.testing.tolerances import relative_error
from tests.models.folders import folder_with

CAPTION = "a person with red hair and glasses"
PARITY = 1e-4  # the bar; what is left is float32 rounding over the steps, about 1e-6
SCHEDULER = "scheduler/scheduler_config.json"


class TestNoise(BackboneContract):
    texts = (CAPTION, "a face on a black wall")

    @pytest.fixture
    def backbone(self, sd: StableDiffusionBackbone) -> Backbone:
        return sd


class TestV(BackboneContract):
    texts = (CAPTION, "a face on a black wall")

    @pytest.fixture
    def backbone(self, sd_v: StableDiffusionBackbone) -> Backbone:
        return sd_v


@pytest.fixture(scope="module")
def pipelines(folder_sd: Path, folder_sd_v: Path) -> dict[str, Any]:
    return {"epsilon": opened(folder_sd), "v_prediction": opened(folder_sd_v)}


def opened(folder: Path, **settings: Any) -> Any:
    """The stock pipeline of a folder, with changes to its DDIM."""
    pipeline: Any = StableDiffusionPipeline.from_pretrained(folder)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, **settings)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def noise(backbone: Backbone, height_px: int = 64, width_px: int = 64) -> Tensor:
    return draw((1, *backbone.latent_shape(height_px, width_px)), seed=3, purpose="start")


def ours(
    backbone: StableDiffusionBackbone, guidance: float, steps: int, *, whole: bool, side: Any = (64, 64)
) -> Tensor:
    """Where DDIM ends, in the model's own coordinates: the clean estimate, or (not whole) noised back to time 0."""
    field = GuidedField(backbone=backbone, condition=backbone.embed([CAPTION]), guidance=guidance)
    grid = backbone.grid(steps)
    first, last = grid.levels[0], torch.tensor([grid.levels[-2]])
    start = noise(backbone, *side) * ((1 - first) ** 2 + first**2) ** 0.5
    walk = sample(field, start, grid, EulerSolver())
    if whole:
        return walk.final
    before = walk.states[-2]
    v = field(before, last)
    alpha, sigma = backbone.schedule.table.alpha_sigma(torch.tensor([backbone.capabilities.s_min]))
    return alpha * clean_estimate(before, last, v) + sigma * noise_estimate(before, last, v)


def stock(pipeline: Any, backbone: Backbone, guidance: float, steps: int, **settings: Any) -> Tensor:
    latents = noise(backbone, settings.get("height", 64), settings.get("width", 64))
    return pipeline(
        prompt=CAPTION,
        num_inference_steps=steps,
        guidance_scale=guidance,
        latents=latents,
        output_type="latent",
        **settings,
    ).images


@pytest.mark.parametrize("guidance", [1.0, 7.5])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_sampling_equals_the_stock_pipeline(pipelines, sd, sd_v, prediction: str, guidance: float) -> None:
    """With the folder's own settings, those of Stable Diffusion: DDIM stops at the level of time 0."""
    backbone = {"epsilon": sd, "v_prediction": sd_v}[prediction]
    expected = stock(pipelines[prediction], backbone, guidance, 10)
    assert relative_error(ours(backbone, guidance, 10, whole=False), expected) <= PARITY
    assert relative_error(ours(backbone, guidance, 10, whole=True), expected) > 3 * PARITY
    assert relative_error(stock(pipelines[prediction], backbone, guidance + 1, 10), expected) > 10 * PARITY


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_last_step_to_the_clean_estimate_is_set_alpha_to_one(folder_sd, folder_sd_v, prediction: str) -> None:
    folder = {"epsilon": folder_sd, "v_prediction": folder_sd_v}[prediction]
    backbone: Any = load(folder, device="cpu")
    expected = stock(opened(folder, set_alpha_to_one=True), backbone, 7.5, 10)
    assert relative_error(ours(backbone, 7.5, 10, whole=True), expected) <= PARITY


def test_sampling_of_a_wide_picture_equals_the_stock_pipeline(pipelines, sd) -> None:
    expected = stock(pipelines["epsilon"], sd, 4.0, 5, height=48, width=96)
    got = ours(sd, 4.0, 5, whole=False, side=(48, 96))
    assert got.shape == (1, 4, 6, 12)
    assert relative_error(got, expected) <= PARITY


@pytest.mark.parametrize(
    "settings",
    [
        {"timestep_spacing": "trailing"},
        {"timestep_spacing": "trailing", "rescale_betas_zero_snr": True},
        {"beta_schedule": "squaredcos_cap_v2"},
        {"num_train_timesteps": 200, "beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.05},
    ],
    ids=["trailing", "zero terminal SNR", "cosine", "200 times"],
)
def test_schedules_equal_the_stock_pipelines(folder_sd_v, tmp_path, settings: dict[str, Any]) -> None:
    folder = folder_with(folder_sd_v, tmp_path / "model", SCHEDULER, **settings)
    backbone: Any = load(folder, device="cpu")
    expected = stock(opened(folder, set_alpha_to_one=True), backbone, 2.0, 10)
    assert relative_error(ours(backbone, 2.0, 10, whole=True), expected) <= PARITY


@pytest.mark.parametrize("guidance", [1.0, 7.5])
def test_the_bundled_model_equals_the_stock_pipeline(guidance: float) -> None:
    backbone: Any = load("portraits-unet", device="cpu")
    side = backbone.capabilities.sizes[1]
    expected = stock(opened(bundled_folder("portraits-unet")), backbone, guidance, 10, height=side, width=side)
    got = ours(backbone, guidance, 10, whole=False, side=(side, side))
    assert relative_error(got, expected) <= PARITY


@pytest.mark.parametrize("scheduler", [PNDMScheduler, EulerDiscreteScheduler], ids=["PNDM", "Euler"])
def test_whatever_the_scheduler_its_betas_are_walked_with_ddim(folder_sd, sd, tmp_path, scheduler: Any) -> None:
    """Stable Diffusion 1.5 ships PNDM, others Euler: same betas, same network, same velocity."""
    folder = folder_with(folder_sd, tmp_path / "model", "model_index.json", scheduler=["diffusers", scheduler.__name__])
    made = scheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, timestep_spacing="leading")
    made.save_pretrained(folder / "scheduler")
    backbone = load(folder, device="cpu")
    assert backbone.grid(20) == sd.grid(20)
    assert backbone.capabilities == sd.capabilities


def test_prompt_embeddings_equal_the_pipelines(pipelines, sd) -> None:
    texts = [CAPTION, "", "zebra, a very long and unknown text that no tokenizer of twenty tokens takes as a whole"]
    with torch.no_grad():  # the kernels that PyTorch chooses with and without gradients round differently
        tokens, _ = pipelines["epsilon"].encode_prompt(texts, "cpu", 1, False)
        condition = sd.embed(texts)
    assert torch.equal(condition.tokens, tokens)
    assert condition.pooled.shape == (3, 0)


def test_codec_is_the_vaes_own_with_scale(sd, folder_sd) -> None:
    vae: Any = AutoencoderKL.from_pretrained(folder_sd / "vae")
    pixels = draw((2, 3, 48, 64), seed=0, purpose="pixels").clamp(-1, 1)
    with torch.no_grad():
        mode = vae.encode(pixels).latent_dist.mode()
        z = sd.encode(pixels)
        assert torch.allclose(z, mode * 0.18215, atol=1e-6)
        assert torch.allclose(sd.decode(z), vae.decode(mode).sample, atol=1e-5)
    assert z.shape[1:] == sd.latent_shape(48, 64)


def test_the_network_is_asked_at_whole_trained_times_on_its_grid(sd, monkeypatch) -> None:
    seen: list[Tensor] = []
    forward = sd._unet.forward

    def record(x_t: Tensor, time: Tensor, *args: Any, **arguments: Any) -> Any:
        seen.append(time)
        return forward(x_t, time, *args, **arguments)

    monkeypatch.setattr(sd._unet, "forward", record)
    levels = torch.tensor(sd.grid(50).levels[:-1])
    sd.velocity(noise(sd).expand(50, -1, -1, -1), levels, sd.embed([""]))
    assert seen[0].tolist() == list(range(981, 0, -20))
    sd.velocity(noise(sd), torch.tensor([0.5]), sd.embed([""]))
    assert not float(seen[1]).is_integer()


def test_bfloat16_network_keeps_float32_coordinates(folder_sd, sd) -> None:
    half = load(folder_sd, device="cpu", dtype=torch.bfloat16)
    condition = half.embed([CAPTION])
    assert (half.dtype, half.network_dtype) == (torch.float32, torch.bfloat16)
    assert (condition.tokens.dtype, condition.pooled.dtype) == (torch.float32, torch.float32)
    z, s = noise(half), torch.tensor([0.6])
    v, exact = half.velocity(z, s, condition), sd.velocity(z, s, sd.embed([CAPTION]))
    assert v.dtype == torch.float32
    assert 0 < relative_error(v, exact) < 0.1  # eight bits of mantissa through some twenty layers, times 1 / (1 - s)
    assert half.encode(torch.zeros(1, 3, 64, 64)).dtype == torch.float32


def test_settings_of_the_folder_are_read(folder_sd, tmp_path) -> None:
    settings = {"guidance": 2.5, "sizes": [32, 64, 96], "vocabulary": ["a", "red"]}
    backbone = load(folder_with(folder_sd, tmp_path / "set", "latentedit.json", **settings), device="cpu")
    assert backbone.capabilities.guidance == 2.5
    assert backbone.capabilities.sizes == (32, 64, 96)
    assert backbone.caption_notes(["a red, green"]) == ["the word 'green' was never seen by the model in training"]
    assert backbone.defaults == settings
    wrong = folder_with(folder_sd, tmp_path / "wrong", "latentedit.json", sizes=[64, 32, 96])
    with pytest.raises(ModelError, match="three rising sides of at least 16 px"):
        load(wrong, device="cpu")


def test_the_safety_checker_is_never_looked_at(folder_sd, sd, tmp_path) -> None:
    folder = folder_with(
        folder_sd,
        tmp_path / "model",
        "model_index.json",
        safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"],
        feature_extractor=["transformers", "CLIPImageProcessor"],
    )
    assert load(folder, device="cpu").fingerprint == sd.fingerprint


def test_refusals_name_what_does_not_fit(sd) -> None:
    z, s, condition = noise(sd), torch.tensor([0.5]), sd.embed([CAPTION])
    with pytest.raises(ShapeError, match="multiples of 2"):
        sd.velocity(z[..., :7], s, condition)
    with pytest.raises(ShapeError, match=r"widths 16 \(tokens\) and 0"):
        sd.velocity(z, s, type(condition)(tokens=condition.tokens[..., :-1], pooled=condition.pooled))
    with pytest.raises(ShapeError, match="multiples of 16 px"):
        sd.encode(torch.zeros(1, 3, 56, 64))
    with pytest.raises(DeviceError):
        sd.encode(torch.zeros(1, 3, 64, 64, device="meta"))
    with pytest.raises(ConfigError, match="at least one text"):
        sd.embed([])
