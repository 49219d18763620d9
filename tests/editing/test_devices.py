"""Edits by a model that is not on the CPU: no part mixes the devices or needs float64."""

import dataclasses
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import latentedit as le
from latentedit.calibration.guard import GuardCalibration, calibrate_guard
from latentedit.core.plugins import EDITORS
from latentedit.editing.discovery import discover_basis
from latentedit.editing.session import Session
from latentedit.encoding.inversion import invert
from latentedit.encoding.joint import JointLatent
from latentedit.geometry.global_basis import global_directions
from latentedit.geometry.pullback import LocalBasis
from latentedit.geometry.transport import transport_direction
from latentedit.identification.composition import compose
from latentedit.identification.hsds import find_direction
from latentedit.numerics.block_lanczos import truncated_svd
from latentedit.numerics.rng import draw, stream
from latentedit.testing.miniature import sd3_pipeline
from tests.editors.edits import noisy
from tests.editors.few_steps import few_steps
from tests.miniatures.noise import sd_pipeline
from tests.numerics.dense import DenseBlock
from tests.pretended import DEVICE, Away, pretended

pytestmark = pytest.mark.nightly

CAPTION, TARGET = "a person with black hair", "a person with glasses"


@pytest.fixture(scope="module")
def latent() -> JointLatent:
    """An image, encoded on the device."""
    return _encoded(sd3_pipeline(t5=False), settings={"sizes": [64, 64, 64], "zero_tokens": 1})


def _encoded(pipeline: Any, **options: Any) -> JointLatent:
    """An image in a pipeline's model, on the device."""
    with pretended():
        for part in pipeline.components.values():
            if isinstance(part, nn.Module):
                part.eval().requires_grad_(False).to(DEVICE)
        return le.encode(le.from_pipeline(pipeline, **options), noisy(size=(64, 64)), source_prompt=CAPTION)


@pytest.fixture(autouse=True)
def device() -> Generator[None]:
    with pretended():
        yield


@pytest.mark.parametrize("name", EDITORS.names())
def test_editors_stay_on_the_device(latent: JointLatent, name: str) -> None:
    target = latent.backbone.embed([TARGET])
    (moved,) = few_steps(name).edit(latent, target, [0.5])
    assert isinstance(moved.z, Away)


@pytest.fixture
def basis(latent: JointLatent) -> LocalBasis:
    """The basis of a random matrix in place of the network's Jacobian."""
    shape = tuple(latent.z.shape[1:])
    jacobian = DenseBlock(draw((8, latent.z.numel()), seed=0, purpose="jacobian").to(DEVICE), in_shape=shape)
    found = truncated_svd(jacobian, 2, generator=stream(0, "local basis"))
    with torch.no_grad():
        trace = invert(latent, latent.path(3, 0.7))
    names = ("u", "singular_values", "v", "residuals", "iterations", "products", "converged")
    fields: dict[str, Any] = {name: getattr(found, name) for name in names}
    fields |= {"site": latent.backbone.default_site, "prompt": "", "steps": 3, "seed": 0, "evaluations": 0}
    condition = latent.backbone.embed([""])
    return LocalBasis(latent=latent, trace=trace, level=trace.levels[-1], condition=condition, **fields)


def test_directions_are_discovered_on_the_device(basis: LocalBasis) -> None:
    assert basis.v.device == DEVICE
    found = discover_basis(basis)
    assert len(found.directions) == 2


def test_geometry_stays_on_the_device(basis: LocalBasis) -> None:
    direction = basis.direction(0, step=1.0)
    moved = [
        global_directions([basis, dataclasses.replace(basis, seed=1)]).local(basis, 0),
        transport_direction(direction, basis, full=False).direction,
        compose([direction, basis.direction(1, step=1.0)], [0.5, 0.5], "inverse"),
    ]
    assert {one.z.device for one in moved} == {DEVICE}


def test_searches_schedules_and_criteria_stay_on_the_device(latent: JointLatent) -> None:
    target = latent.backbone.embed([TARGET])
    assert find_direction(latent, target, le.HSDS(steps=1), seed=0).z.device == DEVICE
    unet = _encoded(sd_pipeline())
    assert isinstance(few_steps("flowedit").edit(unet, unet.backbone.embed([TARGET]), [0.5])[0].z, Away)


def test_a_guard_is_calibrated_and_checks_an_image(latent: JointLatent) -> None:
    """One of its losses was on the CPU and one on the device: on a GPU, every edit by a calibrated model failed."""
    how = GuardCalibration(images=2, steps=2, batch=2, harmed=1)
    guard = calibrate_guard(latent.backbone, captions=[CAPTION, TARGET], how=how)
    (known,) = guard.check(latent)
    assert known.number > 0


def test_a_session_applies_a_direction_from_a_file(latent: JointLatent, tmp_path: Path) -> None:
    """Without a model it is read on the CPU."""
    session = Session(latent)
    found = session.identify(prompt=TARGET, method=le.HSDS(steps=1))
    found.save(tmp_path / "found.safetensors")
    read = le.Direction.load(tmp_path / "found.safetensors")
    assert read.z.device.type == "cpu"
    z = session.slider(found, arm="image").move(torch.ones(1, 1))
    assert torch.equal(session.slider(read, arm="image").move(torch.ones(1, 1)).cpu(), z.cpu())
    (both,) = session.manipulate([found, read], strength=[0.5, 0.5], arm="image", auto_mask=False)
    assert isinstance(both.latent.z, Away)
