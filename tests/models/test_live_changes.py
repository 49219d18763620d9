"""Fingerprints of models, and what was made by a model that is changed or gone."""

import copy
import functools
import gc
import json
import pickle
import weakref
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from diffusers import StableDiffusionPipeline
from peft import LoraConfig
from PIL import Image

import latentedit as le
from latentedit.core.errors import ConfigError, ModelError
from latentedit.editors import FlowEdit
from latentedit.models.model_settings import read_settings
from latentedit.models.network import NetworkBackbone
from latentedit.models.registry import bundled_folder, bundled_names
from latentedit.numerics.block_lanczos import truncated_svd
from latentedit.numerics.rng import seeded
from latentedit.testing.miniature import saved
from tests.miniatures.noise import sd_pipeline
from tests.models.families.family import noise_image
from tests.models.own_code import Change, live_model, sd3


@pytest.mark.slow
def test_the_fingerprint_depends_on_stored_configurations(tmp_path: Path) -> None:
    """A loaded model has the fingerprint of its files; directions of the old model are rejected."""
    folder = saved(sd_pipeline(), tmp_path)
    first = le.load(folder, device="cpu")
    latent = le.encode(first, noise_image(64, 64), source_prompt="a")
    direction = le.identify(latent, prompt="a face", method=le.HSDS(steps=1))
    stock: Any = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    assert first.fingerprint == live_model(stock).fingerprint
    found = [first.fingerprint]
    for file, key, value in (
        ("vae/config.json", "scaling_factor", 0.5),
        ("scheduler/scheduler_config.json", "prediction_type", "v_prediction"),
    ):
        config = folder / file
        config.write_text(json.dumps({**json.loads(config.read_text()), key: value}))
        found.append(le.load(folder, device="cpu").fingerprint)
    last = le.load(folder, device="cpu")
    assert last.fingerprint == found[-1]
    assert len(set(found)) == 3
    with pytest.raises(ConfigError):
        direction.check_model(last.name, last.fingerprint)


@pytest.mark.slow_except("pixels-discs")
@pytest.mark.parametrize("name", bundled_names())
def test_bundled_models_keep_their_fingerprints(name: str) -> None:
    """Stored directions, records and results refer to them."""
    folder = bundled_folder(name)
    assert le.load(name, device="cpu").fingerprint == read_settings(folder)["fingerprint"]


def with_lora(pipeline: Any, *names: str) -> None:
    for name in names:
        with seeded(0):
            config = LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_v"], init_lora_weights=False)
            pipeline.unet.add_adapter(config, adapter_name=name)


def active(pipeline: Any, **scales: float) -> None:
    pipeline.set_adapters(list(scales), list(scales.values()))


@pytest.mark.slow
def test_fused_projections_and_active_adapters_change_the_fingerprint() -> None:
    """A disabled adapter does not, even if the model was made with it."""
    pipeline, plain = sd_pipeline(), live_model(sd_pipeline())
    with_lora(pipeline, "x", "y")
    active(pipeline, x=1.0)
    live = live_model(pipeline)
    found = [live.fingerprint]
    active(pipeline, y=1.0)
    found.append(live.fingerprint)
    active(pipeline, x=1.0, y=0.5)
    found.append(live.fingerprint)
    pipeline.disable_lora()
    assert live.fingerprint == plain.fingerprint
    pipeline.delete_adapters(["x", "y"])
    with seeded(0):
        pipeline.fuse_qkv_projections()
    fused = next(module.to_qkv for module in pipeline.unet.modules() if hasattr(module, "to_qkv"))
    assert live.fingerprint == plain.fingerprint
    fused.weight.data[0] += 1
    found += [live.fingerprint, plain.fingerprint]
    assert len(set(found)) == 5


METHOD = FlowEdit(level=0.6, steps=2, source_guidance=1.0, target_guidance=2.0)


@pytest.mark.slow_except("text")
@pytest.mark.parametrize(
    "change",
    [
        lambda pipeline: pipeline.vae.to(torch.bfloat16),
        lambda pipeline: pipeline.vae.register_to_config(scaling_factor=0.5),
        lambda pipeline: next(pipeline.text_encoder.parameters()).mul_(2),
    ],
    ids=["vae cast", "scale", "text"],
)
def test_latents_from_before_a_change_of_encoders_are_rejected(change: Change) -> None:
    """Their edits would mix the old encoders with the new ones."""
    pipeline, image = sd_pipeline(), noise_image(64, 64)
    session = le.Session(le.encode(live_model(pipeline), image, source_prompt="a"))
    pipeline.unet.conv_out.bias.data[0] += 1
    session.latent.check_encoders()
    with torch.no_grad():
        change(pipeline)
    for use in (
        lambda: session.sweep(strengths=[1.0], prompt="b", method=METHOD),
        lambda: session.identify(prompt="b"),
    ):
        with pytest.raises(ModelError):
            use()


def test_a_detached_result_frees_the_network_and_can_be_copied() -> None:
    """So can a result with a model: a pickle has no model, a copy shares it."""
    pipeline, image = sd_pipeline(), noise_image(64, 64)
    model = live_model(pipeline)
    result = le.edit(model, image, source_prompt="a", prompt="b", method=METHOD, force=True)
    copied, packed = copy.deepcopy(result), pickle.dumps(result)
    assert copied.latent.backbone is model
    assert copied.image is not result.image
    assert b"conv_in" not in packed, "the pickle contains networks"
    detached, alive = result.detach(), weakref.ref(pipeline.unet)
    del model, pipeline, result, copied
    gc.collect()
    assert alive() is None
    copies: list[Any] = [detached, copy.deepcopy(detached), pickle.loads(pickle.dumps(detached)), pickle.loads(packed)]
    for one in copies:
        assert one.image.tobytes() == detached.image.tobytes() != one.undo().tobytes()
        assert one.record == detached.record
        assert torch.equal(one.latent.z, detached.latent.z)
        with pytest.raises(ConfigError):
            le.Session(one.latent).sweep(strengths=[1.0], prompt="b", method=METHOD)
    assert isinstance(copies[2].undo(), Image.Image)


@pytest.mark.slow
def test_an_edit_looks_at_the_pipeline_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It compares parts, configurations and modules when an edit begins; outside of an edit, every use does."""
    model, image = live_model(sd_pipeline()), noise_image(64, 64)
    looks, kind = list[str](), cast("Any", NetworkBackbone)
    own = kind._look
    monkeypatch.setattr(NetworkBackbone, "_look", lambda self: looks.append("") or own(self))
    le.edit(model, image, source_prompt="a", prompt="b", method=METHOD, force=True)
    assert len(looks) == 1
    assert model.dtype == model.network_dtype
    assert len(looks) == 3


@pytest.mark.slow
@pytest.mark.parametrize("build", [sd3, sd_pipeline])
def test_a_default_device_of_torch_changes_nothing(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On "meta" nothing is computed: not in text encoders, schedules, searches, edits and bases."""
    short = functools.partial(truncated_svd, most_products=4)
    monkeypatch.setattr("latentedit.geometry.pullback.truncated_svd", short)

    def computed() -> tuple[object, ...]:
        model = live_model(pipeline)
        described: Any = {"source_prompt": "a wall", "progress": False}
        edited = le.edit(model, image, "a man", method="eim", search={"steps": 1}, steps=1, **described)
        latent = le.encode(model, image, source_prompt="a wall")
        found = le.identify(latent, "a man", steps=1, progress=False)
        basis = le.local_basis(latent, rank=1, steps=2)
        return model.fingerprint, edited.image.tobytes(), found.fingerprint, basis.v.tolist()

    pipeline, image = build(), Image.new("RGB", (32, 32), "red")
    before = computed()
    try:
        torch.set_default_device("meta")
        assert computed() == before
    finally:
        torch.set_default_device(None)
