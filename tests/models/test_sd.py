"""The Stable Diffusion adapter against the stock pipeline with DDIM, on miniatures with random weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler, PNDMScheduler, StableDiffusionPipeline
from torch import Tensor

from latentedit.core.flow import clean_estimate, noise_estimate
from latentedit.core.solvers.euler import EulerSolver
from latentedit.core.solvers.integrate import sample
from latentedit.models.guidance import GuidedField
from latentedit.models.registry import bundled_folder, load
from latentedit.models.sd import StableDiffusionBackbone
from latentedit.testing.tolerances import relative_error
from tests.models.folders import folder_with
from tests.models.stock import CAPTION, PARITY, start, stock

pytestmark = pytest.mark.slow

SCHEDULER = "scheduler/scheduler_config.json"


@pytest.fixture(scope="module")
def pipelines(folder_sd: Path, folder_sd_v: Path) -> dict[str, Any]:
    return {"epsilon": opened(folder_sd), "v_prediction": opened(folder_sd_v)}


def opened(folder: Path, **settings: Any) -> Any:
    """The stock pipeline of a folder, with changes to its DDIM."""
    pipeline: Any = StableDiffusionPipeline.from_pretrained(folder)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, **settings)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def ours(
    backbone: StableDiffusionBackbone, guidance: float, steps: int, *, whole: bool, side: Any = (64, 64)
) -> Tensor:
    """Where DDIM ends, in the model's own coordinates: the clean estimate, or (not whole) noised back to time 0."""
    field = GuidedField(backbone=backbone, condition=backbone.embed([CAPTION]), guidance=guidance)
    grid = backbone.grid(steps)
    first, last = grid.levels[0], torch.tensor([grid.levels[-2]])
    first_z = start(backbone, *side) * ((1 - first) ** 2 + first**2) ** 0.5
    walk = sample(field, first_z, grid, EulerSolver())
    if whole:
        return walk.final
    before = walk.states[-2]
    v = field(before, last)
    alpha, sigma = backbone.schedule.table.alpha_sigma(torch.tensor([backbone.capabilities.s_min]))
    return alpha * clean_estimate(before, last, v) + sigma * noise_estimate(before, last, v)


@pytest.mark.nightly
@pytest.mark.parametrize("guidance", [1.0, 7.5])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_sampling_equals_the_stock_pipeline(pipelines, sd, sd_v, prediction: str, guidance: float) -> None:
    """With the folder's own settings, those of Stable Diffusion: DDIM stops at the level of time 0."""
    backbone = {"epsilon": sd, "v_prediction": sd_v}[prediction]
    expected = stock(pipelines[prediction], backbone, guidance, 10)
    assert relative_error(ours(backbone, guidance, 10, whole=False), expected) <= PARITY
    assert relative_error(ours(backbone, guidance, 10, whole=True), expected) > 3 * PARITY
    assert relative_error(stock(pipelines[prediction], backbone, guidance + 1, 10), expected) > 10 * PARITY


@pytest.mark.nightly
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"timestep_spacing": "trailing"},
        {"timestep_spacing": "trailing", "rescale_betas_zero_snr": True},
        {"beta_schedule": "squaredcos_cap_v2"},
        {"num_train_timesteps": 200, "beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.05},
    ],
    ids=["as they are", "trailing", "zero terminal SNR", "cosine", "200 times"],
)
def test_schedules_equal_the_stock_pipelines(folder_sd_v, tmp_path, settings: dict[str, Any]) -> None:
    folder = folder_with(folder_sd_v, tmp_path / "model", SCHEDULER, **settings)
    backbone: Any = load(folder, device="cpu")
    expected = stock(opened(folder, set_alpha_to_one=True), backbone, 2.0, 10)
    assert relative_error(ours(backbone, 2.0, 10, whole=True), expected) <= PARITY


@pytest.mark.nightly
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
    assert relative_error(condition.tokens, tokens) <= 1e-6
    assert condition.pooled.shape == (3, 0)


def test_the_network_is_asked_at_whole_trained_times_on_its_grid(sd, monkeypatch) -> None:
    seen: list[Tensor] = []
    forward = sd._network.forward

    def record(x_t: Tensor, time: Tensor, *args: Any, **arguments: Any) -> Any:
        seen.append(time)
        return forward(x_t, time, *args, **arguments)

    monkeypatch.setattr(sd._network, "forward", record)
    levels = torch.tensor(sd.grid(50).levels[:-1])
    sd.velocity(start(sd).expand(50, -1, -1, -1), levels, sd.embed([""]))
    assert seen[0].tolist() == list(range(981, 0, -20))
    sd.velocity(start(sd), torch.tensor([0.5]), sd.embed([""]))
    assert not float(seen[1]).is_integer()


def test_the_safety_checker_is_never_looked_at(folder_sd, sd, tmp_path) -> None:
    folder = folder_with(
        folder_sd,
        tmp_path / "model",
        "model_index.json",
        safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"],
        feature_extractor=["transformers", "CLIPImageProcessor"],
    )
    assert load(folder, device="cpu").fingerprint == sd.fingerprint


@pytest.mark.nightly
def test_folders_from_before_diffusers_0_9_are_of_512_px(folder_sd, tmp_path) -> None:
    """Their configurations say 32 latents a side, or none that is right, and the stock pipeline takes 64."""
    for version, preferred in (("0.8.1", 512), ("0.9.0", 64)):
        place = folder_with(folder_sd, tmp_path / version, "unet/config.json", _diffusers_version=version)
        assert load(place, device="cpu").capabilities.sizes[1] == preferred
        assert StableDiffusionPipeline.from_pretrained(place).unet.config.sample_size * 8 == preferred
