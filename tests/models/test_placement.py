"""What `load` does to a model, and what a person does to a live pipeline, give the same edits."""

from pathlib import Path
from typing import Any

import pytest
import torch

import latentedit as le
from latentedit.core.errors import ConfigError
from latentedit.core.rng import draw
from latentedit.editors.baselines.flowedit import FlowEdit
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone
from latentedit.testing.miniatures.flux import flux
from latentedit.testing.tolerances import relative_error

CAPTION = "a person with red hair"
FP8 = torch.float8_e4m3fn


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("placed") / "flux"
    flux().save_pretrained(place, safe_serialization=True)
    return place


def edited(model: Backbone) -> torch.Tensor:
    z = draw((1, *model.latent_shape(64, 64)), seed=0, purpose="picture")
    latent = JointLatent(backbone=model, z=z, condition=model.embed([CAPTION]), captions=(CAPTION,))
    editor = FlowEdit(level=0.6, steps=3, source_guidance=1.5, target_guidance=5.5)
    return editor.edit(latent, model.embed(["a face"]), [1.0])[0].z


def cast(pipeline: Any) -> None:
    pipeline.transformer.enable_layerwise_casting(storage_dtype=FP8, compute_dtype=torch.float32)


def grouped(pipeline: Any) -> None:
    cpu = torch.device("cpu")
    for name in ("transformer", "vae"):
        getattr(pipeline, name).enable_group_offload(onload_device=cpu, offload_device=cpu, offload_type="leaf_level")


def half(pipeline: Any) -> None:
    pipeline.to(torch.bfloat16)
    pipeline.vae.to(torch.float32)  # as `load` has it


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("options", "change", "is_plain"),
    [
        ({"storage": FP8}, cast, False),
        ({"placement": "groups"}, grouped, True),
        ({"placement": "model", "dtype": "auto"}, lambda _: None, True),
        ({"dtype": "bfloat16"}, half, False),
    ],
    ids=["fp8", "groups", "model", "bfloat16"],
)
def test_edits_of_a_loaded_model_are_those_of_the_live_pipeline(
    folder: Path, options: dict[str, Any], change: Any, is_plain: bool
) -> None:
    pipeline = flux()
    change(pipeline)
    loaded, live = le.load(folder, device="cpu", **options), le.from_pipeline(pipeline)
    assert loaded.network_dtype == live.network_dtype
    moved = edited(loaded)
    assert relative_error(moved, edited(live)) <= 1e-5  # memory is aligned otherwise
    assert (relative_error(moved, edited(le.from_pipeline(flux()))) <= 1e-5) == is_plain


def test_a_placement_that_is_none_is_refused(folder: Path) -> None:
    with pytest.raises((ConfigError, TypeError), match=r"'modell'"):  # jaxtyping, where it is on, sees it first
        le.load(folder, device="cpu", placement="modell")  # type: ignore[arg-type]


@pytest.mark.slow
def test_an_offloaded_denoiser_makes_room_for_the_text_encoders(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Accelerate would leave it on the device beside them, where only the larger of both need fit."""
    model: Any = le.load(folder, device="cpu", placement="model")
    network, sent = model._components["transformer"], list[object]()
    monkeypatch.setattr(network, "to", lambda device: sent.append(device) or network)
    edited(model)
    sent.clear()
    model.embed([CAPTION])
    assert sent == ["cpu"]
