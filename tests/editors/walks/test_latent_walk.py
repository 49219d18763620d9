"""Many pictures along many directions: each way rebuilt by hand, round trips, contrast, noise and cost."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from latentedit.core.errors import ConfigError, ModelError, ShapeError
from latentedit.core.rng import stream
from latentedit.directions.at_level import direction_at
from latentedit.editors.judge import Judge
from latentedit.editors.slider import Slider
from latentedit.editors.walks import latent_walk
from latentedit.editors.walks.latent_walk import LatentWalk
from latentedit.editors.walks.xspace import clean_and_noise, noise_guided, with_contrast_of
from latentedit.latents.inversion import InversionTrace, invert, replay
from latentedit.latents.joint import JointLatent
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit.testing.tolerances import relative_error, tolerance
from tests.directions.mixtures import mixture_latent

BATCH = tolerance("batch", torch.float64)
SCALES = torch.tensor([[0.6, 0.0], [-0.4, 0.9], [0.0, -1.1]], dtype=torch.float64)
WALKS = [
    LatentWalk(),
    LatentWalk(move="guidance", repeats=3, probe=0.5),
    LatentWalk(keep_contrast=True),
    LatentWalk(move="guidance", repeats=2, keep_contrast=True),
]


@pytest.fixture
def trace(latent: JointLatent) -> InversionTrace:
    """Seven steps up to 0.7."""
    return invert(latent, latent.path(10, 0.7))


@pytest.fixture
def v() -> Tensor:
    return torch.linalg.qr(torch.randn(6, 2, generator=stream(6, "tests")).double())[0].T


def test_an_aligned_addition_is_the_joint_arm_of_a_slider(
    latent: JointLatent, trace: InversionTrace, v: Tensor
) -> None:
    found = LatentWalk().edit(latent, trace, v, SCALES)
    assert found.shape == (3, 2, *latent.z.shape)
    for index in range(2):
        direction = direction_at(latent, v[index : index + 1], level=0.7, method="by hand", settings={"steps": 28})
        slider = Slider(latent=latent, direction=direction, arm="joint", level=0.7, steps=10, judge=Judge())
        expected = slider.move(SCALES[:, index : index + 1].expand(-1, 3))
        assert relative_error(found[:, index], expected) < BATCH


@pytest.mark.parametrize("walk", WALKS)
def test_every_way_is_as_it_would_be_alone(
    latent: JointLatent, trace: InversionTrace, v: Tensor, walk: LatentWalk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever moves beside it, in batches of whatever size; and each costs what is said."""
    with latent.backbone.count() as cost:
        found = walk.edit(latent, trace, v, SCALES)
    assert cost.evaluations == len(latent) * walk.evaluations(trace, SCALES.numel())
    monkeypatch.setattr(latent_walk, "ROWS", 12)  # two ways of three pictures and two calls each
    assert relative_error(walk.edit(latent, trace, v, SCALES), found) < BATCH
    alone = walk.edit(latent, trace, v[1:], SCALES[1:2, 1:])
    assert relative_error(alone[0, 0], found[1, 1]) < BATCH


def test_costs_and_progress(trace: InversionTrace, latent: JointLatent, v: Tensor) -> None:
    counts = [walk.evaluations(trace, 6) for walk in WALKS]
    assert counts == [6 * 7, 6 * (7 + 6), 6 * 7 + 7, 6 * (7 + 4) + 7]
    for walk, name in ((LatentWalk(move="guidance"), "guide"), (LatentWalk(), "return")):
        heard = list[tuple[str, int, int]]()
        walk.edit(latent, trace, v[:1], SCALES[:1, :1], progress=lambda *told, heard=heard: heard.append(told))
        assert [done for what, done, _ in heard if what == name] == list(range(1, 17 if name == "guide" else 8))


@pytest.mark.parametrize("walk", WALKS)
def test_a_scale_of_nothing_is_the_picture_bit_for_bit(
    latent: JointLatent, trace: InversionTrace, v: Tensor, walk: LatentWalk
) -> None:
    found = walk.edit(latent, trace, v, SCALES)
    assert torch.equal(found[0, 1], latent.z)
    assert torch.equal(found[2, 0], latent.z)


def test_guidance_and_contrast_written_out(latent: JointLatent, trace: InversionTrace, v: Tensor) -> None:
    """Under a text of one's own at the level, and under the pictures' own on the way back."""
    walk, text, backbone = LatentWalk(move="guidance", repeats=3, keep_contrast=True), None, latent.backbone
    for text in (None, backbone.embed(["b"])):
        said = latent.condition if text is None else text.expand(3)
        along, scales = v[:1].expand(3, -1), torch.full((3,), 0.6, dtype=torch.float64)
        z = noise_guided(backbone, trace.top, 0.7, said, along, scales, repeats=3, probe=1.0)
        clean, noise = clean_and_noise(backbone, z, 0.7, said)
        steady = with_contrast_of(clean, clean_and_noise(backbone, trace.top, 0.7, said)[0])
        z = (1 - 0.7) * steady + 0.7 * noise
        expected = replay(latent, trace, latent.condition, offset=z - trace.top)
        found = walk.edit(latent, trace, v[:1], SCALES[:1, :1], condition=text)[0, 0]
        assert relative_error(found, expected) < BATCH
        plain = dataclasses.replace(walk, keep_contrast=False).edit(latent, trace, v[:1], SCALES[:1, :1])[0, 0]
        assert relative_error(plain, expected) > 1e-3


@pytest.mark.parametrize("settings", [{"move": "jump"}, {"repeats": 0}, {"probe": 0.0}])
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        LatentWalk(**settings)


def test_what_does_not_fit_is_refused(latent: JointLatent, trace: InversionTrace, v: Tensor) -> None:
    with pytest.raises(ShapeError, match="rows of one number for each of 2 directions"):
        LatentWalk().edit(latent, trace, v, SCALES[:, :1])
    with pytest.raises(ShapeError, match=r"the directions do not fit latents of shape \[6\]; got \[5\]"):
        LatentWalk().edit(latent, trace, v[:, :5], SCALES)
    with pytest.raises(ShapeError, match=r"the trace does not fit latents of shape \[2, 6\]; got \[3, 6\]"):
        LatentWalk().edit(mixture_latent(example_mixture(dimension=6), 2), trace, v, SCALES)


def test_a_damaged_network_is_named(
    latent: JointLatent, trace: InversionTrace, v: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latent.backbone, "_velocity", lambda z, s, condition: torch.full_like(z, torch.nan))
    with pytest.raises(ModelError, match="not finite"):
        LatentWalk().edit(latent, trace, v, SCALES)
