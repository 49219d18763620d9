"""The bundled models: equality with diffusers' pipeline, edits, and guards."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusion3Pipeline
from PIL import Image, ImageOps

import latentedit
from latentedit.calibration.drawing import draw_images
from latentedit.editors.base import make_editor
from latentedit.encoding.encode import encode
from latentedit.encoding.familiarity import check_familiarity
from latentedit.models.base import Backbone
from latentedit.models.families.sd3 import StableDiffusion3Backbone
from latentedit.models.guidance import GuidedField
from latentedit.models.loading import open_folder
from latentedit.models.registry import bundled_folder, load
from latentedit.numerics.solvers import EulerSolver, integrate
from latentedit_drawn.domain import PORTRAITS
from latentedit_drawn.render import render
from latentedit_portraits.attributes import draw_split
from latentedit_portraits.captions import full_caption
from latentedit_portraits.domains import AttributeDomain
from latentedit_portraits.reader import PortraitReader
from latentedit_scenes.domain import SCENES

pytestmark = pytest.mark.nightly

FOREIGN = Path(__file__).parents[1] / "data" / "foreign"
PORTRAIT = next(item for item in draw_split("test", 50, 3) if item.accessory == "none")
SAMPLES = {"portraits": ((2, 9), (2, 10)), "scenes": ((4, 9), (4, 10))}  # count and seed: of samples, of the control
TARGET = full_caption(PORTRAIT.replace(accessory="glasses"))


@pytest.fixture(scope="module")
def portraits() -> Backbone:
    return load("portraits", device="cpu")


@pytest.fixture(scope="module")
def pipeline() -> Any:
    folder = bundled_folder("portraits")
    pipe = StableDiffusion3Pipeline.from_pretrained(folder, text_encoder_3=None, tokenizer_3=None)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.mark.parametrize(("zero_tokens", "guidance", "steps"), [(1, 4.0, 4), (256, 1.0, 2)])
def test_our_sampler_equals_the_stock_pipeline(pipeline: Any, zero_tokens: int, guidance: float, steps: int) -> None:
    model = StableDiffusion3Backbone(
        open_folder(bundled_folder("portraits")).load(), name="portraits", settings={"zero_tokens": zero_tokens}
    )
    noise = torch.randn(1, 8, 16, 16, generator=torch.Generator().manual_seed(0))
    length = {} if zero_tokens == 256 else {"max_sequence_length": zero_tokens}
    theirs = pipeline(
        prompt=TARGET,
        num_inference_steps=steps,
        guidance_scale=guidance,
        latents=noise.clone(),
        output_type="latent",
        **length,
    ).images
    with torch.no_grad():
        field = GuidedField(backbone=model, condition=model.embed([TARGET]), guidance=guidance)
        ours = integrate(field, noise, model.grid(steps).levels, EulerSolver())
    assert (ours - theirs).abs().max() < 1e-4


def test_an_edit_adds_glasses_and_nothing_else(portraits: Backbone) -> None:
    result = latentedit.edit(portraits, render(PORTRAIT), prompt=TARGET)
    before, after = result.effect.read_before, result.effect.read_after
    assert before is not None
    assert after is not None
    assert {name for name in before if before[name] != after[name]} == {"accessory"}
    assert after["accessory"] == "glasses"
    assert result.caption == full_caption(PORTRAIT)  # read from the image


@pytest.mark.parametrize("domain", [PORTRAITS, SCENES], ids=lambda domain: domain.name)
def test_samples_show_what_their_captions_state(domain: AttributeDomain) -> None:
    """A coarse check of 24 and 84 attributes, with other scenes as the control; the stored figures are more precise."""
    expected, others = (domain.draw("test", count, seed) for count, seed in SAMPLES[domain.name])
    images = draw_images(load(domain.name, device="cpu"), [domain.grammar.full_caption(one) for one in expected])
    found, total = domain.read(images), len(expected) * len(domain.values)
    wrong, control = (
        sum(len(one.differences(other)) for one, other in zip(found, scenes, strict=True)) / total
        for scenes in (expected, others)
    )
    assert wrong < 0.15
    assert control > 0.4


def test_instructions_change_only_what_they_name() -> None:
    """Control: an instruction to remove glasses changes nothing if there are none."""
    model, reader = load("portraits-kontext", device="cpu"), PortraitReader.bundled()
    sources = [one.replace(accessory="none") for one in draw_split("test", 3, 13)]
    latent = encode(model, [render(one) for one in sources], instructed=True)
    editor = make_editor("eim", model)
    read: list[object] = []
    for text in ("no beard", "remove the glasses"):
        edited = editor.edit(latent, latent.embed_with_references([text] * 3), [1.0])[0]
        read.append(reader.attributes(model.decode(edited.z).clamp(-1, 1)))
    assert read == [[one.replace(facial_hair="none", facial_hair_color="none") for one in sources], sources]


@pytest.mark.parametrize("name", [*PORTRAITS.models, *SCENES.models])
def test_the_guard_separates_renders_from_other_images(name: str) -> None:
    """Renders are known, portraits by other programs doubtful to models of portraits, other images unknown."""
    model, scenes = load(name, dtype="float32"), name in SCENES.models
    own = [Image.fromarray(SCENES.render(one)) for one in SCENES.draw("test", 4, 12)[::2]]
    own = own if scenes else [render(item) for item in draw_split("test", 2, 12)]
    foreign = [] if scenes else [Image.open(file) for file in sorted(FOREIGN.glob("*.png"))[::4]]
    strange = [Image.new("RGB", (90, 120), "teal"), Image.effect_noise((128, 128), 90)]
    strange += [] if scenes else [ImageOps.flip(own[0])]
    states = [
        [check_familiarity(encode(model, one)).knowledge[0].state for one in images]
        for images in (own, foreign, strange)
    ]
    assert states == [["known"] * 2, ["doubtful"] * len(foreign), ["unknown"] * len(strange)]
