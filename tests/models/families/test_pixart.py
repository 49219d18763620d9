"""PixArt-alpha and Sigma against their stock pipelines."""

import functools
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

import latentedit as le
from latentedit.models.derivatives import VelocityJacobian
from tests.miniatures.noise import pixart
from tests.models.families.family import CAPTION, OTHER_CHANNELS, SETTINGS, VPContract
from tests.models.folders import change_json
from tests.testing.tolerances import relative_error


class TestAlpha(VPContract):
    make = pixart
    arguments: ClassVar[dict[str, Any]] = {"use_resolution_binning": False}
    guidance = (4.5, "cfg")
    invalid_changes = (OTHER_CHANNELS,)


class TestSigma(TestAlpha):
    make = functools.partial(pixart, sigma=True)


def test_float64_networks_compute_in_float64_throughout() -> None:
    """Differences agree with forward mode far better than a norm in float32 would allow."""
    backbone = le.from_pipeline(pixart(sigma=True).to(torch.float64), settings=SETTINGS)
    assert backbone.compute_dtype == torch.float64
    z, s = TestSigma().start(backbone, (64, 64)).double(), torch.tensor([0.5], dtype=torch.float64)
    text = backbone.embed([CAPTION])
    forward, differences = (
        VelocityJacobian(backbone, z, s, text, mode=mode).matvec(z.sin()) for mode in ("forward", "finite_difference")
    )
    assert relative_error(differences, forward) <= 1e-8


@pytest.mark.slow
def test_folders_with_the_old_class_name_of_the_transformer_load(tmp_path: Path) -> None:
    pipeline = pixart()
    pipeline.save_pretrained(tmp_path, safe_serialization=True)
    for file, key, value in (
        ("model_index.json", "transformer", ["diffusers", "Transformer2DModel"]),
        ("transformer/config.json", "_class_name", "Transformer2DModel"),
    ):
        change_json(tmp_path / file, **{key: value})
    loaded, live = le.load(tmp_path, device="cpu"), le.from_pipeline(pipeline)
    z, s = torch.ones(1, 4, 8, 8), torch.tensor([0.5])
    v, expected = (model.velocity(z, s, model.embed([CAPTION])) for model in (loaded, live))
    assert relative_error(v, expected) <= 1e-5
    assert live.capabilities.sizes[2] == 2 * live.capabilities.sizes[1], "twice what it was trained on"
