"""The SD3 adapter against the stock pipeline, part by part and as a whole, on miniatures with random weights."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, StableDiffusion3Pipeline

import latentedit as le
from latentedit.core.errors import CoordinateError, DeviceError, ShapeError
from latentedit.core.solvers.euler import EulerSolver
from latentedit.core.solvers.integrate import sample
from latentedit.models.base import Backbone
from latentedit.models.guidance import GuidedField
from latentedit.models.loading import open_folder
from latentedit.models.placement import Placement
from latentedit.models.registry import load
from latentedit.models.sd3 import StableDiffusion3Backbone
from latentedit.testing.miniature import miniature_sd3
from latentedit.testing.tolerances import relative_error
from tests.models.folders import folder_with
from tests.models.stock import CAPTION, PARITY, start, stock

pytestmark = pytest.mark.slow

CPU = Placement(device=torch.device("cpu"), dtype=torch.float32)


@pytest.fixture(scope="module")
def pipelines(folder_with_t5: Path, folder_without_t5: Path) -> dict[bool, Any]:
    without = StableDiffusion3Pipeline.from_pretrained(folder_without_t5, text_encoder_3=None, tokenizer_3=None)
    pipelines = {True: StableDiffusion3Pipeline.from_pretrained(folder_with_t5), False: without}
    for pipeline in pipelines.values():
        pipeline.set_progress_bar_config(disable=True)
    return pipelines


def ours(backbone: Backbone, guidance: float, steps: int, height_px: int = 64, width_px: int = 64) -> torch.Tensor:
    field = GuidedField(backbone=backbone, condition=backbone.embed([CAPTION]), guidance=guidance)
    grid = backbone.grid(steps, height_px=height_px, width_px=width_px)
    return sample(field, start(backbone, height_px, width_px), grid, EulerSolver()).final


@pytest.mark.nightly
@pytest.mark.parametrize("length", [1, 256])
@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_sampling_equals_the_stock_pipeline_without_t5(pipelines, folder_without_t5, guidance, length) -> None:
    """With one zero token, our own number, and with as many as the pipeline takes by default."""
    folder = open_folder(folder_without_t5)
    backbone = StableDiffusion3Backbone.from_folder(folder, name="some", placement=CPU, max_sequence_length=length)
    lengths = (length, 257 - length)
    expected, other = (stock(pipelines[False], backbone, guidance, 28, max_sequence_length=n) for n in lengths)
    assert (ours(backbone, guidance, 28) - expected).abs().max() <= PARITY
    assert (other - expected).abs().max() > 10 * PARITY, "zero tokens do not matter, so the comparison could not fail"


@pytest.mark.nightly
def test_dynamic_shifting_equals_the_stock_pipeline(folder_without_t5, tmp_path) -> None:
    scheduler = "scheduler/scheduler_config.json"
    settings = {"use_dynamic_shifting": True, "base_image_seq_len": 4, "max_image_seq_len": 64}
    place = folder_with(folder_without_t5, tmp_path / "dynamic", scheduler, **settings)
    backbone = load(place, device="cpu")
    pipeline: Any = StableDiffusion3Pipeline.from_pretrained(place, text_encoder_3=None, tokenizer_3=None)
    pipeline.set_progress_bar_config(disable=True)
    for height, width in ((64, 64), (48, 96)):
        expected = stock(pipeline, backbone, 4.0, 5, height=height, width=width, max_sequence_length=1)
        levels = backbone.grid(5, height_px=height, width_px=width).levels
        assert levels == tuple(pipeline.scheduler.sigmas.tolist())
        assert (ours(backbone, 4.0, 5, height, width) - expected).abs().max() <= PARITY
    assert backbone.grid(5).levels == backbone.grid(5, height_px=64, width_px=64).levels
    assert backbone.grid(5).levels != backbone.grid(5, height_px=48, width_px=96).levels


def test_time_is_not_rounded_to_the_networks_half_precision(without_t5, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bfloat16 has 600 and 604, and nothing between."""
    times: list[torch.Tensor] = []

    def ask(z: torch.Tensor, time: torch.Tensor, _: object) -> torch.Tensor:
        times.append(time)
        return z

    monkeypatch.setattr(without_t5, "_network_dtype", torch.bfloat16)
    monkeypatch.setattr(without_t5, "_ask", ask)
    without_t5.velocity(start(without_t5), torch.tensor([0.601]), without_t5.embed([CAPTION]))
    assert times[0].tolist() == pytest.approx([601])


@pytest.mark.parametrize("steps", [1, 2, 28, 1000])
def test_grid_is_the_schedulers_and_calls_leave_no_trace(with_t5, folder_with_t5, steps) -> None:
    scheduler: Any = FlowMatchEulerDiscreteScheduler.from_pretrained(folder_with_t5 / "scheduler")
    scheduler.set_timesteps(steps)
    assert with_t5.grid(steps).levels == tuple(scheduler.sigmas.tolist())
    assert with_t5.grid(steps).levels == with_t5.grid(steps).levels
    if steps == 28:  # shift 3 applied to 1/1000 twice, by hand: the trap that a formula of one shift falls into
        once = 3e-3 / (1 + 2e-3)
        assert with_t5.grid(steps).levels[-2] == pytest.approx(3 * once / (1 + 2 * once), rel=1e-5)


def test_prompt_embeddings_equal_the_pipelines(pipelines, with_t5, without_t5) -> None:
    texts = [CAPTION, "", "zebra, a very long and unknown text that no tokenizer of twenty tokens takes as a whole"]
    for t5, backbone in ((True, with_t5), (False, without_t5)):
        length = 256 if t5 else 1
        with torch.no_grad():  # the kernels that PyTorch chooses with and without gradients round differently
            tokens, _, pooled, _ = pipelines[t5].encode_prompt(
                texts, None, None, do_classifier_free_guidance=False, max_sequence_length=length
            )
            condition = backbone.embed(texts)
        assert condition.tokens.shape == (3, 20 + length, 32)
        assert relative_error(condition.tokens, tokens) <= 1e-6
        assert relative_error(condition.pooled, pooled) <= 1e-6


def test_time_argument_is_a_thousand_times_the_level(with_t5, monkeypatch) -> None:
    seen: list[torch.Tensor] = []
    transformer = with_t5._network
    forward = transformer.forward

    def record(*args: Any, **arguments: Any) -> Any:
        seen.append(arguments["timestep"])
        return forward(*args, **arguments)

    monkeypatch.setattr(transformer, "forward", record)
    with_t5.velocity(start(with_t5), torch.tensor([0.25]), with_t5.embed([""]))
    assert seen[0].tolist() == [250.0]


def test_capabilities_without_settings(with_t5, tmp_path, folder_with_t5) -> None:
    assert with_t5.capabilities.size_multiple == 16
    assert with_t5.capabilities.sizes == (16, 64, 192)
    assert with_t5.capabilities.guidance == 4.5
    assert with_t5.defaults == {}


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("sd3.5-large-turbo", {}, (1.0, "none")),
        ("sd3.5-large-turbo", {"guidance": 2.0}, (2.0, "cfg")),
        ("turbocharged", {}, (4.5, "cfg")),
        ("turbo/sd3.5", {}, (4.5, "cfg")),
        ("renamed", {"guidance": 1.0}, (1.0, "cfg")),
    ],
)
def test_turbo_is_known_by_its_settings_or_its_name(folder_with_t5, tmp_path, name, settings, expected) -> None:
    folder = shutil.copytree(folder_with_t5, tmp_path / name)
    if settings:
        (folder / "latentedit.json").write_text(json.dumps(settings))
    pipeline: Any = StableDiffusion3Pipeline.from_pretrained(folder)
    for backbone in (load(folder, device="cpu"), le.from_pipeline(pipeline, settings=settings)):
        assert (backbone.capabilities.guidance, backbone.capabilities.guidance_kind) == expected


def test_left_out_t5_is_replaced_by_the_stock_number_of_zero_tokens(folder_with_t5, with_t5) -> None:
    backbone = load(folder_with_t5, device="cpu", text_encoders="required")
    tokens = backbone.embed([CAPTION]).tokens
    assert tokens.shape[1] == 20 + 256
    assert bool((tokens[:, 20:] == 0).all())
    assert torch.equal(tokens[:, :20], with_t5.embed([CAPTION]).tokens[:, :20])


def test_pictures_beyond_the_largest_and_grids_without_steps_are_refused(with_t5) -> None:
    with pytest.raises(ShapeError, match="at most 24 x 24"):
        with_t5.velocity(torch.zeros(1, 16, 26, 8), torch.tensor([0.5]), with_t5.embed([CAPTION]))
    with pytest.raises(CoordinateError):
        with_t5.grid(0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_agrees_with_the_cpu(folder_with_t5, with_t5) -> None:
    backbone = load(folder_with_t5, device="cuda")
    z, s = start(backbone), torch.tensor([0.5])
    v = backbone.velocity(z.cuda(), s.cuda(), backbone.embed([CAPTION]))
    assert math.isclose(
        float((v.cpu() - with_t5.velocity(z, s, with_t5.embed([CAPTION]))).abs().max()), 0, abs_tol=1e-3
    )
    with pytest.raises(DeviceError):
        backbone.velocity(z, s, backbone.embed([CAPTION]))


def test_loading_leaves_the_global_random_state(folder_with_t5, tmp_path) -> None:
    before = torch.random.get_rng_state()
    load(folder_with_t5, device="cpu")
    miniature_sd3(tmp_path / "another", t5=False)
    assert torch.equal(before, torch.random.get_rng_state())
