"""Stable Diffusion 3 against the stock pipeline, with three text encoders and with two."""

import functools
import json
import shutil
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    StableDiffusion3Pipeline,
    UniPCMultistepScheduler,
)

import latentedit as le
from latentedit.core.errors import ConfigError, DeviceError, ShapeError
from latentedit.models.registry import load
from latentedit.testing.miniature import sd3_pipeline
from tests.models.families.family import CAPTION, PARITY, SETTINGS, FamilyContract, Variants, set_config
from tests.models.folders import folder_with
from tests.testing.tolerances import relative_error


class TestThreeEncoders(Variants):
    guidance = (4.5, "cfg")
    daily_variants = ("bfloat16", "groups")
    make = functools.partial(sd3_pipeline, t5=True)


class TestTwoEncoders(TestThreeEncoders):
    """A folder without T5 gets one zero token by default; here it sets the number of the stock pipeline."""

    make = functools.partial(sd3_pipeline, t5=False)
    invalid_changes = (
        ("has no text_encoder_2", lambda pipeline: setattr(pipeline, "text_encoder_2", None)),
        (r"16.*4", set_config("vae", latent_channels=4)),
        (
            r"32.*48",
            lambda pipeline: setattr(pipeline.text_encoder.config, "hidden_size", 32),
        ),
        (
            "invert_sigmas",
            lambda pipeline: setattr(pipeline, "scheduler", FlowMatchEulerDiscreteScheduler(invert_sigmas=True)),
        ),
    )
    settings: ClassVar[dict[str, Any]] = {**SETTINGS, "zero_tokens": 256}
    difference_tolerance = 0.02  # differences in float32 are off by 0.008 without any change


@pytest.mark.nightly
def test_dynamic_shifting_equals_the_stock_pipeline(folder_without_t5: Path, tmp_path: Path) -> None:
    """One zero token is in place of T5, which is our default."""
    settings = {"use_dynamic_shifting": True, "base_image_seq_len": 4, "max_image_seq_len": 64}
    folder = folder_with(folder_without_t5, tmp_path / "dynamic", "scheduler/scheduler_config.json", **settings)
    backbone, family = load(folder, device="cpu"), TestTwoEncoders()
    pipeline: Any = StableDiffusion3Pipeline.from_pretrained(folder, text_encoder_3=None, tokenizer_3=None)
    pipeline.set_progress_bar_config(disable=True)
    for size in ((64, 64), (48, 96)):
        z = family.start(backbone, size)
        expected = family.stock_image(pipeline, 4.0, size, z, max_sequence_length=1)
        levels = backbone.grid(4, height_px=size[0], width_px=size[1]).levels
        assert levels == tuple(pipeline.scheduler.sigmas.tolist())
        assert relative_error(family.our_sample(backbone, 4.0, size, z), expected) <= PARITY
    assert backbone.grid(5).levels == backbone.grid(5, height_px=64, width_px=64).levels
    assert backbone.grid(5).levels != backbone.grid(5, height_px=48, width_px=96).levels


@pytest.mark.slow
def test_time_is_a_thousand_times_the_level_and_not_rounded(without_t5: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bfloat16 has 600 and 604, and nothing between."""
    times: list[torch.Tensor] = []

    def predict(z: torch.Tensor, time: torch.Tensor, _: object) -> torch.Tensor:
        times.append(time)
        return z

    monkeypatch.setattr(without_t5, "_network_dtype", torch.bfloat16)
    monkeypatch.setattr(without_t5, "_predict", predict)
    without_t5.velocity(torch.zeros(1, 8, 8, 8), torch.tensor([0.601]), without_t5.embed([CAPTION]))
    assert times[0].tolist() == pytest.approx([601])


@pytest.mark.slow_except("2")
@pytest.mark.parametrize("steps", [1, 2, 28, 1000])
def test_the_grid_matches_the_scheduler_at_every_call(with_t5: Any, folder_with_t5: Path, steps: int) -> None:
    scheduler: Any = FlowMatchEulerDiscreteScheduler.from_pretrained(folder_with_t5 / "scheduler")
    scheduler.set_timesteps(steps)
    assert with_t5.grid(steps).levels == tuple(scheduler.sigmas.tolist())
    assert with_t5.grid(steps).levels == with_t5.grid(steps).levels
    if steps == 28:  # computed by hand: shift 3 is applied twice to 1/1000
        once = 3e-3 / (1 + 2e-3)
        assert with_t5.grid(steps).levels[-2] == pytest.approx(3 * once / (1 + 2 * once), rel=1e-5)


SOLVERS: list[Any] = [
    DPMSolverMultistepScheduler,
    UniPCMultistepScheduler,
]


@pytest.mark.slow
@pytest.mark.parametrize("solver", SOLVERS)
def test_solvers_for_flows_have_levels_of_their_own(solver: Any) -> None:
    """They are those of the stock pipeline, and belong to the fingerprint: the model's own end at .0089."""
    pipeline = sd3_pipeline(t5=False)
    model = le.from_pipeline(pipeline, settings=SETTINGS)
    before = model.fingerprint
    assert model.grid(6).levels[-2] == pytest.approx(0.0089, abs=1e-4)
    pipeline.scheduler = solver.from_config(
        pipeline.scheduler.config, use_flow_sigmas=True, flow_shift=3.0, prediction_type="flow_prediction"
    )
    pipeline.scheduler.set_timesteps(6)
    assert model.grid(6).levels == (*pipeline.scheduler.sigmas[:-1].tolist(), 0.0)
    assert model.grid(6).levels == pytest.approx((1, 0.9375, 0.8571, 0.75, 0.6, 0.375, 0), abs=2e-3)
    assert model.grid(6).levels == model.grid(6).levels
    assert model.fingerprint == le.from_pipeline(pipeline, settings=SETTINGS).fingerprint != before


def test_capabilities_without_settings(with_t5: Any) -> None:
    known = with_t5.capabilities
    assert (known.size_multiple, known.sizes, known.guidance) == (16, (16, 64, 192), 4.5)
    assert with_t5.defaults == {}
    with pytest.raises(ShapeError):
        with_t5.velocity(torch.zeros(1, 16, 26, 8), torch.tensor([0.5]), with_t5.embed([CAPTION]))
    with pytest.raises(ConfigError):
        with_t5.grid(0)


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
def test_turbo_is_recognized_by_its_settings_or_its_name(
    folder_with_t5: Path, tmp_path: Path, name: str, settings: dict[str, Any], expected: tuple[float, str]
) -> None:
    folder = shutil.copytree(folder_with_t5, tmp_path / name)
    if settings:
        (folder / "latentedit.json").write_text(json.dumps(settings))
    pipeline: Any = StableDiffusion3Pipeline.from_pretrained(folder)
    for backbone in (load(folder, device="cpu"), le.from_pipeline(pipeline, settings=settings)):
        assert (backbone.capabilities.guidance, backbone.capabilities.guidance_kind) == expected


def test_left_out_t5_is_replaced_by_the_stock_number_of_zero_tokens(folder_with_t5: Path, with_t5: Any) -> None:
    """The pipeline is loaded by diffusers, without T5, which is by far its largest part."""
    pipeline: Any = StableDiffusion3Pipeline.from_pretrained(folder_with_t5, text_encoder_3=None, tokenizer_3=None)
    backbone = le.from_pipeline(pipeline)
    tokens = backbone.embed([CAPTION]).tokens
    assert tokens.shape[1] == 20 + 256
    assert bool((tokens[:, 20:] == 0).all())
    assert torch.equal(tokens[:, :20], with_t5.embed([CAPTION]).tokens[:, :20])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_agrees_with_the_cpu(folder_with_t5: Path, with_t5: Any) -> None:
    backbone, s = load(folder_with_t5, device="cuda"), torch.tensor([0.5])
    z = FamilyContract().start(backbone, (64, 64))
    v = backbone.velocity(z.cuda(), s.cuda(), backbone.embed([CAPTION])).cpu()
    assert float((v - with_t5.velocity(z, s, with_t5.embed([CAPTION]))).abs().max()) < 1e-3
    with pytest.raises(DeviceError):
        backbone.velocity(z, s, backbone.embed([CAPTION]))
