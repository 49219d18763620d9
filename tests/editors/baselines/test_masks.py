"""DiffEdit: its mask and its blending, written out; the mask also against the diffusers pipeline."""

import itertools
from typing import Any

import pytest
import torch
from diffusers import DDIMInverseScheduler, DDIMScheduler, StableDiffusionPipeline
from diffusers.pipelines.deprecated.stable_diffusion_diffedit import pipeline_stable_diffusion_diffedit as published
from torch import Tensor

from latentedit.editors import DiffEdit, FlowEdit, SAMFlow
from latentedit.editors.baselines.masks import binarised, difference_map, difference_mask
from latentedit.encoding.joint import JointLatent
from latentedit.models.base import Backbone
from latentedit.models.guidance import GuidedField
from latentedit.models.libraries import quiet_libraries
from latentedit.models.registry import bundled_folder, load
from latentedit.numerics.condition import Condition
from latentedit.numerics.rng import draw
from tests.editors.baselines.cases import edit_of, vp_model
from tests.identification.mixtures import levels_of, mixture_latent
from tests.testing.gaussian_mixture import example_mixture
from tests.testing.tolerances import relative_error


def expected_map(latent: JointLatent, s: float, maps: int, guidance: float) -> Tensor:
    """``|e_hat_w(c1) - e_hat_w(c0)|``, noise by noise, in closed form where the guidance is 1."""
    backbone, target, found = latent.backbone, latent.backbone.embed(["c"]), torch.zeros_like(latent.z)
    for noise in draw((maps, *latent.z.shape[1:]), seed=7, purpose="difference mask").to(latent.z):
        z, s_batch = (1 - s) * latent.z + s * noise, levels_of(latent.z, s)
        target_noise, source_noise = (
            z + (1 - s) * GuidedField(backbone=backbone, condition=text, guidance=guidance)(z, s_batch)
            for text in (target, latent.condition)
        )
        found = found + (target_noise - source_noise).abs() / maps
    return found


def test_guidance_scales_the_map_and_keeps_the_mask() -> None:
    latent = mixture_latent(example_mixture(dimension=6))
    found = difference_map(edit_of(latent, seed=7), level=0.4, maps=5)
    for guidance in (1.0, 4.0):
        expected = expected_map(latent, 0.4, 5, guidance)
        assert relative_error(guidance * 0.6 * found, expected) < 1e-12
        assert torch.equal(binarised(found, 2.6), binarised(expected, 2.6))


def test_channels_of_spatial_latents_are_averaged() -> None:
    backbone = example_mixture(dimension=12, latent=(3, 2, 2))
    latent = mixture_latent(backbone)
    found = difference_map(edit_of(latent, seed=7), level=0.5, maps=2)
    assert found.shape == (3, 1, 2, 2)
    assert relative_error(0.5 * found[:, 0], expected_map(latent, 0.5, 2, 1.0).mean(1)) < 1e-12


def test_the_threshold_is_the_published_one() -> None:
    """Clamped at ratio times the mean, divided by that, above one half; the mean is an image's own."""
    found = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)) ** 4
    found[1] *= 100
    for image in found:
        most = 3 * float(image.mean())
        assert torch.equal(binarised(image[None], 3.0)[0], image.clamp(0, most) / most > 0.5)
    inside = binarised(found, 3.0)
    assert 0 < int(inside[0].sum()) < 64
    assert torch.equal(inside, torch.cat([binarised(found[:1], 3.0), binarised(found[1:], 3.0)]))
    assert int(binarised(found, 3.0).sum()) < int(binarised(found, 1.0).sum())


def test_the_level_is_clamped_to_the_range_of_the_model() -> None:
    latent = mixture_latent(vp_model(latent=None))
    known = latent.backbone.capabilities

    def map_at(level: float) -> Tensor:
        return difference_map(edit_of(latent), level=level, maps=2)

    assert torch.equal(map_at(1.0), map_at(known.s_max))
    assert torch.equal(map_at(0.0), map_at(known.s_min))
    assert not torch.equal(map_at(0.0), map_at(1.0))


def mask_of(latent: JointLatent, target: Condition, ratio: float) -> Tensor:
    return difference_mask(edit_of(latent, target, seed=2), level=0.5, maps=4, ratio=ratio)


def test_latents_outside_the_mask_are_bitwise_unchanged(latent: JointLatent, target: Condition) -> None:
    mask = mask_of(latent, target, 2.0)
    found = DiffEdit(steps=8, maps=4, ratio=2.0).edit(latent, target, [1.0], seed=2)[0].z
    assert 0 < int(mask.sum()) < mask.numel()
    assert torch.equal(found[~mask], latent.z[~mask])
    assert float((found - latent.z)[mask].abs().min()) > 1e-4


@pytest.mark.parametrize(("under", "text"), [("empty", ""), ("source", "a")])
@pytest.mark.parametrize("strength", [0.6, -1.2])
def test_diffedit_matches_the_published_loop(
    latent: JointLatent, target: Condition, under: str, text: str, strength: float
) -> None:
    """Up under a text, down under the target, blended at each level with the inverted latent."""
    backbone, mask, levels = latent.backbone, mask_of(latent, target, 2.0), [0.0, 0.2, 0.4, 0.6, 0.7]
    states = [latent.z]
    for s, s_next in itertools.pairwise(levels):
        v = backbone.velocity(states[-1], levels_of(latent.z, s), backbone.embed([text]))
        states.append(states[-1] + (s_next - s) * v)
    source, empty, z = latent.condition, backbone.embed([""]), states[-1]
    edited_text = source + strength * (target.expand(3) - source)
    for index in (3, 2, 1, 0):
        s_batch = levels_of(z, levels[index + 1])
        null = backbone.velocity(z, s_batch, empty)
        v = null + 1.7 * (backbone.velocity(z, s_batch, edited_text) - null)
        z = z + (levels[index] - levels[index + 1]) * v
        z = mask * z + ~mask * states[index]
    editor = DiffEdit.from_dict({"level": 0.7, "steps": 5, "guidance": 1.7, "under": under, "maps": 4, "ratio": 2.0})
    assert relative_error(editor.edit(latent, target, [strength], seed=2)[0].z, z) < 1e-12


STEPS, MAPS, SEED = 5, 3, 1
SOURCE, TARGET = "a person with red hair", "a person with black hair and glasses"


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load("portraits-unet", device="cpu")


@pytest.fixture(scope="module")
def pipeline() -> Any:
    """The diffusers pipeline of the folder; its schedulers end at the clean image, as our grids do."""
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
def smooth(backbone: Backbone) -> JointLatent:
    """Smooth noise instead of an image."""
    shape = backbone.latent_shape(128, 128)
    coarse = torch.nn.functional.avg_pool2d(draw((1, *shape), seed=0, purpose="parity"), 4)
    z = 2 * torch.nn.functional.interpolate(coarse, size=shape[-2:], mode="bilinear")
    return JointLatent(backbone=backbone, z=z, condition=backbone.embed([SOURCE]), captions=(SOURCE,))


@pytest.mark.nightly
def test_the_mask_matches_the_diffusers_pipeline(
    pipeline: Any, smooth: JointLatent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the same noises. Guidance has no effect on the mask, but the pipeline fails without it (diffusers 0.42)."""
    noise = draw((MAPS, *smooth.z.shape[1:]), seed=SEED, purpose="difference mask")
    monkeypatch.setattr(published, "randn_tensor", lambda *_args, **_settings: noise)
    monkeypatch.setattr(pipeline, "prepare_image_latents", lambda image, *_args: smooth.z.repeat(len(image), 1, 1, 1))
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
    level = smooth.path(STEPS).levels[STEPS - 3]  # the pipeline's strength counts steps from the clean end
    target = smooth.backbone.embed([TARGET])
    found = difference_mask(edit_of(smooth, target, seed=SEED), level=level, maps=MAPS, ratio=3.0)
    assert found.shape == (1, 1, *smooth.z.shape[2:])
    assert 0.02 < float(expected.float().mean()) < 0.5
    assert torch.equal(found[:, 0], expected)


def test_sam_flow_matches_the_published_loop() -> None:
    """The regions of its code, on a map that is the size of the difference of velocities."""
    backbone = example_mixture(dimension=48, latent=(3, 4, 4))
    latent = mixture_latent(backbone, 1)
    x, target = latent.z, backbone.embed(["c"])
    whole = model = torch.zeros_like(x)
    core = ring = hard = torch.zeros_like(x[:, :1])
    levels = latent.path(6, 0.9).levels
    for index, (s, s_next) in enumerate(itertools.pairwise(levels)):
        a = (1 - s) * x + s * draw(x.shape[1:], seed=2, purpose="flowedit", index=index).to(x)
        dv = backbone.velocity(a + model, levels_of(a, s), target)
        dv = dv - backbone.velocity(a, levels_of(a, s), latent.condition)
        whole = whole + (s_next - s) * dv
        progress = index / (len(levels) - 1)
        m = torch.nn.functional.pad(dv.abs().mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate").unfold(2, 3, 1)
        m = m.unfold(3, 3, 1).mean((4, 5))
        m = (m - m.min()) / (m.max() - m.min())
        threshold = torch.quantile(m, 0.6 + 0.2 * progress).clamp(0.1, 0.6)
        inside = torch.sigmoid((5 + 15 * progress) * (m - threshold))
        now = (inside > 0.5).to(x)
        inside = torch.where(now > 0, torch.ones_like(m), inside)
        around = torch.nn.functional.max_pool2d(now, 3, 1, 1) - now
        core, ring = torch.maximum(core, now), torch.maximum(ring, around)
        hard = torch.maximum(hard, inside + 0.5 * around * (1 - inside))
        model = (0.03 + 0.97 * hard) * whole
    expected = x + torch.where(core > 0, model, 0.5 * ring * hard * whole)
    editor = SAMFlow(level=0.9, steps=6, target_guidance=1.0)
    found = editor.edit(latent, target, [1.0], seed=2)[0].z
    assert relative_error(found, expected) < 1e-12
    flowedit = FlowEdit(level=0.9, steps=6, target_guidance=1.0).edit(latent, target, [1.0], seed=2)[0].z
    assert relative_error(found, flowedit) > 1e-3
