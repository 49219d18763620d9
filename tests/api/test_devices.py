"""Edits of a model that is not on the CPU: no part of them mixes its device with the CPU."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import latentedit as le
from latentedit.api.calibrate import Calibration, calibrate_guard
from latentedit.api.session import Session
from latentedit.core.plugins import EDITORS
from latentedit.latents.joint import JointLatent
from latentedit.testing.miniature import sd3_pipeline
from tests.editors.edits import noisy
from tests.editors.few_steps import few_steps
from tests.pretended import DEVICE, Away, pretended

CAPTION, TARGET = "a person with black hair", "a person with glasses"


@pytest.fixture(scope="module")
def latent() -> JointLatent:
    """A picture, encoded on the device."""
    pipeline: Any = sd3_pipeline(t5=False)
    with pretended():
        for part in pipeline.components.values():
            if isinstance(part, nn.Module):
                part.eval().requires_grad_(False).to(DEVICE)
        model = le.from_pipeline(pipeline, settings={"sizes": [64, 64, 64], "zero_tokens": 1})
        return le.encode(model, noisy(size=(64, 64)), caption=CAPTION)


@pytest.fixture(autouse=True)
def device() -> Generator[None]:
    with pretended():
        yield


def test_what_a_gpu_refuses_is_refused() -> None:
    there, here = torch.ones(2, device=DEVICE), torch.ones(2)
    assert (there + 1).tolist() == [2.0, 2.0]
    assert there[[1]].cpu().numpy() == [1.0]
    with pytest.raises(RuntimeError, match="two devices"):
        torch.cat([there, here])
    with pytest.raises(RuntimeError, match="generator"):
        torch.randn(2, generator=torch.Generator(), device=DEVICE)
    with pytest.raises(TypeError, match="cpu"):
        there.numpy()


@pytest.mark.parametrize("name", EDITORS.names())
def test_editors_stay_on_the_device(latent: JointLatent, name: str) -> None:
    target = latent.backbone.embed([TARGET])
    (moved,) = few_steps(name).edit(latent, target, [0.5])
    assert isinstance(moved.z, Away)


def test_a_guard_is_calibrated_and_looks(latent: JointLatent) -> None:
    """Of its losses one was on the CPU and one on the device: on a GPU every edit by a calibrated model failed."""
    how = Calibration(pictures=2, steps=2, batch=2, harmed=1)
    guard = calibrate_guard(latent.backbone, captions=[CAPTION, TARGET], how=how)
    (known,) = guard.look(latent)
    assert known.number > 0


def test_a_session_takes_a_direction_from_a_file(latent: JointLatent, tmp_path: Path) -> None:
    """Without a model it is read on the CPU."""
    session = Session(latent)
    found = session.identify(to=TARGET, method=le.HSDS(steps=1))
    found.save(tmp_path / "found.safetensors")
    read = le.Direction.load(tmp_path / "found.safetensors")
    assert read.z.device.type == "cpu"
    z = session.slider(found, arm="image").move(torch.ones(1, 1))
    assert torch.equal(session.slider(read, arm="image").move(torch.ones(1, 1)).cpu(), z.cpu())
    (both,) = session.manipulate([found, read], strength=[0.5, 0.5], arm="image", local=False)
    assert isinstance(both.latent.z, Away)
