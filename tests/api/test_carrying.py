"""A direction carried to another picture on a linear model: fitted, named and calibrated there."""

import dataclasses

import pytest
import torch

from latentedit.api.carrying import transport_to
from latentedit.core.errors import ConfigError
from latentedit.directions.base import Direction
from latentedit.directions.local_basis import LocalBasis, local_basis
from latentedit.directions.transport import DAMPING
from latentedit.editors.walks.step_length import CLOSE, EFFECT
from latentedit.latents.encode import encode
from latentedit.latents.joint import JointLatent
from tests.api.discoveries import gain, halves
from tests.editors.edits import grey


@pytest.fixture
def direction(basis: LocalBasis) -> Direction:
    return basis.direction(0, step=5.0)


@pytest.fixture
def other(basis: LocalBasis) -> JointLatent:
    return encode(basis.latent.backbone, grey(seed=7), caption="grey").under("")


def test_it_makes_the_same_change_there(
    basis: LocalBasis, direction: Direction, other: JointLatent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is linear, so the true direction is the same at every picture: all of it, where the basis has it."""
    basis = dataclasses.replace(basis, latent=other)
    asked: dict[str, object] = {}

    def known(latent: JointLatent, **wanted: object) -> object:
        asked.update(wanted)
        trace = local_basis(latent, site="clean", rank=1, level=0.5, steps=10).trace
        return dataclasses.replace(basis, trace=trace, v=halves(), u=halves())

    monkeypatch.setattr("latentedit.api.carrying.local_basis", known)
    arrived = transport_to(direction, other, rank=2, seed=4)
    assert (asked["site"], asked["level"], asked["steps"]) == ("clean", 0.5, 10)
    assert (asked["rank"], asked["seed"], asked["prompt"]) == (2, 4, None)
    assert arrived.carried.captured == pytest.approx(1)
    walked, found = arrived.found.probe, arrived.found.direction
    assert walked.meaning.name == found.settings["name"] == "top: light (+), dark (-)"
    assert walked.effect == pytest.approx(EFFECT, rel=CLOSE)
    assert walked.effect == pytest.approx(walked.length * gain(basis) / 192**0.5, rel=1e-4)
    assert found.settings["step"] == pytest.approx(walked.length)
    assert float(found.length) * 0.5 == pytest.approx(walked.length, rel=1e-5)
    cosine = torch.nn.functional.cosine_similarity(found.z.flatten(), direction.z.flatten(), dim=0)
    assert float(cosine) == pytest.approx(1, abs=1e-5)
    assert found.calibration is not None
    assert found.calibration.scales == (-2.0, -1.0, 0.0, 1.0, 2.0)
    assert found.preview.startswith(b"\x89PNG")
    assert (found.method, found.settings["from"]) == ("transport", direction.fingerprint)
    assert (found.settings["inverse"], found.settings["damping"]) == (True, DAMPING)


def test_what_the_search_finds_is_used(direction: Direction, other: JointLatent) -> None:
    """Here J is a multiple of the identity, so any basis is right, and a random one of 6 has little of the change."""
    told: list[str] = []
    arrived = transport_to(direction, other, rank=6, inverse=False, progress=lambda what, *_: told.append(what))
    assert len(arrived.basis) == 6
    assert arrived.basis.level == direction.level
    assert 0 < arrived.carried.captured < 0.5
    assert arrived.carried.chance == pytest.approx(6 / 192)
    assert arrived.found.direction.settings["damping"] is None
    assert {"integrate", "basis", "step lengths", "edits"} <= set(told)


def test_a_prompt_of_its_own_goes_with_the_direction(direction: Direction, other: JointLatent) -> None:
    prompted = dataclasses.replace(direction, settings={**direction.settings, "prompt": "red"})
    assert transport_to(prompted, other, rank=2).basis.prompt == "red"
    captioned = dataclasses.replace(prompted, source_captions=("red",))
    assert transport_to(captioned, other.under("green"), rank=2).basis.prompt == "green"


def test_bad_requests_are_refused(direction: Direction, other: JointLatent) -> None:
    with pytest.raises(ConfigError, match="know its change"):
        transport_to(dataclasses.replace(direction, feature=None), other)
    with pytest.raises(ConfigError, match="found in another model"):
        transport_to(dataclasses.replace(direction, model_fingerprint="other"), other)
    for steps in (None, "ten", 0):
        with pytest.raises(ConfigError, match="steps must be"):
            transport_to(dataclasses.replace(direction, settings={**direction.settings, "steps": steps}), other)
    with pytest.raises(ConfigError, match="did you mean 'clean'"):
        transport_to(dataclasses.replace(direction, settings={**direction.settings, "site": "claen"}), other)
    with pytest.raises(ConfigError, match="bare latents"):
        transport_to(direction, dataclasses.replace(other, frames=()), rank=2)
