"""DiffEdit against the pipeline of diffusers, on the bundled U-Net: mask, inversion and way down.

Two things differ by design, and each is taken away here, so that the rest can be compared closely:

- Its inversion asks the network at the time of the level where a step ends; ours at the one where it starts.
- It blends each step with the inverted latent of the level before the step; ours with that where the step ends.

Its first step up has no counterpart: the network is asked at the clean end, where it has no time. It takes time 0 and
latents as they are; ours takes the lowest level it knows, and scales latents to it.
"""

from typing import Any

import pytest
import torch
from diffusers import DDIMInverseScheduler, DDIMScheduler, StableDiffusionPipeline
from diffusers.pipelines.deprecated.stable_diffusion_diffedit import pipeline_stable_diffusion_diffedit as published
from torch import Tensor

from latentedit.core.rng import draw
from latentedit.core.solvers.base import level_batch
from latentedit.editors.baselines.diffedit import DiffEdit
from latentedit.editors.baselines.difference_mask import difference_mask
from latentedit.latents.inversion import invert
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone
from latentedit.models.libraries import quiet_libraries
from latentedit.models.registry import bundled_folder, load
from latentedit.testing.tolerances import relative_error

STEPS, LEVELS_UP, MAPS, SEED = 5, 4, 3, 1
SOURCE, TARGET = "a person with red hair", "a person with black hair and glasses"
FLOAT32 = 2e-5
"""Some 5 evaluations of a float32 network, in other coordinates and batches, agree to a few 1e-6."""


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load("portraits-unet", device="cpu")


@pytest.fixture(scope="module")
def pipeline() -> Any:
    """From the folder's parts; its schedulers end at the clean picture, as our grids do."""
    with quiet_libraries():
        stock: Any = StableDiffusionPipeline.from_pretrained(bundled_folder("portraits-unet"), local_files_only=True)
        parts = {name: stock.components[name] for name in ("vae", "text_encoder", "tokenizer", "unet")}
        none: Any = None
        build: Any = published.StableDiffusionDiffEditPipeline
        built = build(
            **parts,
            scheduler=DDIMScheduler.from_config(stock.scheduler.config, set_alpha_to_one=True),
            inverse_scheduler=DDIMInverseScheduler.from_config(stock.scheduler.config, set_alpha_to_one=True),
            safety_checker=none,
            feature_extractor=none,
            requires_safety_checker=False,
        )
    built.set_progress_bar_config(disable=True)
    return built


@pytest.fixture(scope="module")
def latent(backbone: Backbone) -> JointLatent:
    """Smooth noise: no picture, but nothing here asks for one."""
    shape = backbone.latent_shape(128, 128)
    coarse = torch.nn.functional.avg_pool2d(draw((1, *shape), seed=0, purpose="parity"), 4)
    z = 2 * torch.nn.functional.interpolate(coarse, size=shape[-2:], mode="bilinear")
    return JointLatent(backbone=backbone, z=z, condition=backbone.embed([SOURCE]), captions=(SOURCE,))


@pytest.fixture
def grid_levels(latent: JointLatent) -> tuple[float, ...]:
    return latent.path(STEPS).levels[STEPS - LEVELS_UP :]


def own_scale(z: Tensor, level: float) -> Tensor:
    """Latents of a level in the network's own coordinates, ``z / sqrt((1 - s)^2 + s^2)``."""
    return z / ((1 - level) ** 2 + level**2) ** 0.5


@pytest.mark.nightly
def test_the_mask_is_the_pipelines(pipeline: Any, latent: JointLatent, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the same noises. Its guidance changes nothing, and without guidance it fails (diffusers 0.42)."""
    noise = draw((MAPS, *latent.z.shape[1:]), seed=SEED, purpose="difference mask")
    monkeypatch.setattr(published, "randn_tensor", lambda *_args, **_settings: noise)
    monkeypatch.setattr(pipeline, "prepare_image_latents", lambda image, *_args: latent.z.repeat(len(image), 1, 1, 1))
    expected = torch.from_numpy(
        pipeline.generate_mask(
            image=torch.zeros(1, 3, 128, 128),
            source_prompt=SOURCE,
            target_prompt=TARGET,
            num_maps_per_mask=MAPS,
            mask_encode_strength=0.6,
            num_inference_steps=STEPS,
            guidance_scale=7.5,
        )
    ).bool()
    level = latent.path(STEPS).levels[STEPS - 3]  # the pipeline's strength counts steps from the clean end
    target = latent.backbone.embed([TARGET])
    found = difference_mask(latent, target, level=level, maps=MAPS, ratio=3.0, seed=SEED)
    assert found.shape == (1, 1, *latent.z.shape[2:])
    assert 0.02 < float(expected.float().mean()) < 0.5
    assert torch.equal(found[:, 0], expected)


def inverted(pipeline: Any, latent: JointLatent, monkeypatch: pytest.MonkeyPatch, *, relabel: bool) -> list[Tensor]:
    """The pipeline's inverted latents in its own coordinates, from the cleanest up; perhaps with our labels."""
    unet, stride = pipeline.unet, pipeline.scheduler.config.num_train_timesteps // STEPS

    def earlier(sample: Tensor, time: Tensor, **settings: Any) -> Any:
        return unet(sample, (time - stride).clamp_min(0), **settings)

    monkeypatch.setattr(pipeline, "prepare_image_latents", lambda *_args: latent.z)
    with monkeypatch.context() as patch:
        if relabel:
            patch.setattr(pipeline, "unet", earlier)
        found = pipeline.invert(
            prompt="",
            image=torch.zeros(1, 3, 128, 128),
            num_inference_steps=STEPS,
            inpaint_strength=LEVELS_UP / STEPS,
            guidance_scale=1.0,
        ).latents
    return list(found[0].flip(0)[:, None])


@pytest.mark.nightly
@pytest.mark.parametrize("relabel", [True, False])
def test_steps_up_are_the_pipelines_but_for_the_label_of_the_level(
    pipeline: Any, latent: JointLatent, grid_levels: tuple[float, ...], monkeypatch: pytest.MonkeyPatch, relabel: bool
) -> None:
    backbone, rising = latent.backbone, grid_levels[::-1]
    passed = inverted(pipeline, latent, monkeypatch, relabel=relabel)
    states = [x_t * ((1 - s) ** 2 + s**2) ** 0.5 for x_t, s in zip(passed, rising[1:], strict=True)]
    text = backbone.embed([""])
    for index in range(1, LEVELS_UP):
        s, s_next = rising[index], rising[index + 1]
        with torch.no_grad():
            step = (s_next - s) * backbone.velocity(states[index - 1], level_batch(s, latent.z), text)
        error = relative_error(states[index] - states[index - 1], step)
        assert error < FLOAT32 if relabel else error > 1e-2


@pytest.mark.nightly
def test_the_way_down_is_the_pipelines_but_for_the_level_of_the_blend(
    pipeline: Any, latent: JointLatent, grid_levels: tuple[float, ...]
) -> None:
    """From the same inverted latents and mask, under guidance."""
    editor = DiffEdit(level=grid_levels[0], steps=STEPS, guidance=3.0, maps=MAPS)
    target = latent.backbone.embed([TARGET])
    with torch.no_grad():
        found = editor.edit(latent, target, [1.0], seed=SEED)[0].z
        mask = difference_mask(latent, target, level=0.5, maps=MAPS, ratio=3.0, seed=SEED)
        trace = invert(latent.under(""), latent.path(STEPS, grid_levels[0]))
    falling = [own_scale(z, s) for z, s in zip(trace.states, trace.levels, strict=True)][::-1]

    def walked(callback: Any) -> Tensor:
        return pipeline(
            prompt=TARGET,
            mask_image=mask.float(),
            image_latents=torch.stack(falling[:-1], 1),
            inpaint_strength=LEVELS_UP / STEPS,
            num_inference_steps=STEPS,
            guidance_scale=3.0,
            output_type="latent",
            callback=callback,
        ).images

    def blended_where_the_step_ends(index: int, _time: Tensor, z: Tensor) -> None:
        z.copy_(torch.where(mask, z, falling[index + 1]))

    assert relative_error(walked(blended_where_the_step_ends), found) < FLOAT32
    assert relative_error(walked(None), found) > 1e-2
    outside = ~mask.expand_as(found)
    assert torch.equal(found[outside], latent.z[outside])
    assert relative_error(found, latent.z) > 1e-2
