"""What is tried on a loaded model, and that each check fails on a model that lacks what it looks at."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import latentedit as le
from latentedit.api.checkup import Check, check_model
from latentedit.core.condition import Condition
from latentedit.testing.miniatures.flux import flux

pytestmark = pytest.mark.slow

SIZES = {"sizes": [64, 64, 96]}


@pytest.fixture
def model() -> Any:
    return le.from_pipeline(flux(), settings=SIZES)


def checked(model: Any, *, last: str = "edit", **options: Any) -> dict[str, Check]:
    """What is found, until the check of this name."""
    found: dict[str, Check] = {}
    for check in check_model(model, **options):
        found[check.name] = check
        if check.name == last:
            break
    return found


def with_velocity(model: Any, change: Callable[[Tensor, Tensor, Condition], Tensor]) -> Any:
    """The model with another velocity, made of its own."""
    model._velocity = change
    return model


@pytest.mark.nightly
def test_what_works_is_said_and_what_it_took(model: Any) -> None:
    """A codec of random weights gives no picture back; all else holds with any weights."""
    steps: list[str] = []
    found = checked(model, progress=lambda what, done, total: steps.append(what))
    assert list(found) == ["drawing", "codec", "inversion", "guidance", "derivative", "edit"]
    assert [name for name, check in found.items() if not check.ok] == ["codec"]
    assert "float32" in found["codec"].cure
    assert all(check.cure == "" for check in found.values() if check.ok)
    assert found["guidance"].found.startswith("embedded; ")
    assert found["derivative"].found.startswith("forward mode, ")
    assert "flowedit changes" in found["edit"].found
    assert all(check.seconds > 0 and check.peak_bytes > 2**20 for check in found.values())
    assert set(steps) == {"integrate", "flowedit"}


def test_the_codecs_loss_in_decibels(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pixel off by 0.02 of a range of 2 is 40 dB; a picture that comes back whole is infinitely good."""
    monkeypatch.setattr(model, "decode", lambda z: z[:, :3] / 10)
    monkeypatch.setattr(model, "encode", lambda pixels: torch.cat([10 * pixels + 0.2, 0 * pixels[:, :1]], dim=1))
    assert checked(model, last="codec")["codec"].found == "40.0 dB there and back"
    monkeypatch.setattr(model, "encode", lambda pixels: torch.cat([10 * pixels, 0 * pixels[:, :1]], dim=1))
    assert checked(model, last="codec")["codec"].ok


@pytest.mark.nightly
def test_a_model_without_a_weight_needs_none() -> None:
    model = le.from_pipeline(flux(guidance_embeds=False), settings=SIZES)
    assert checked(model, last="guidance")["guidance"].found == "needs none: distilled"


@pytest.mark.nightly
def test_a_model_that_reads_no_text_is_not_edited_by_text(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    same = model.embed(["a person"])
    monkeypatch.setattr(model, "embed", lambda texts: same.expand(len(texts)))
    found = checked(model)
    assert "reads no text" in found["guidance"].found
    assert "reads none" in found["edit"].found
    assert found["guidance"].ok
    assert found["edit"].ok


@pytest.mark.nightly
def test_text_that_changes_nothing_is_found(model: Any) -> None:
    own, fixed = model._velocity, model.embed(["a face"])
    found = checked(with_velocity(model, lambda z, s, _: own(z, s, fixed.expand(len(z)))))
    assert [name for name in ("guidance", "edit") if not found[name].ok] == ["guidance", "edit"]
    assert "text encoders" in found["guidance"].cure
    assert found["edit"].found == "flowedit changes 0% of the pixels"


@pytest.mark.nightly
def test_a_wrong_derivative_is_found(model: Any) -> None:
    """A network that cuts the tangents off has the derivative 0."""
    own = model._velocity
    found = checked(with_velocity(model, lambda z, s, c: own(z.detach(), s, c) + 0 * z), last="derivative")
    assert not found["derivative"].ok
    assert found["derivative"].found == "forward mode, 1 from central differences"


@pytest.mark.nightly
def test_a_field_that_cannot_be_walked_back_is_found(model: Any) -> None:
    """With noise in its velocity that is new at each call."""
    own, generator = model._velocity, torch.Generator().manual_seed(0)
    noisy = with_velocity(model, lambda z, s, c: own(z, s, c) + 9 * torch.randn(z.shape, generator=generator))
    assert not checked(noisy, last="inversion")["inversion"].ok


@pytest.mark.parametrize(
    ("raised", "found"), [(torch.cuda.OutOfMemoryError("CUDA out of memory"), "too little memory"), (None, "finite")]
)
def test_where_drawing_fails_nothing_else_is_tried(model: Any, raised: Exception | None, found: str) -> None:
    def broken(z: Tensor, s: Tensor, condition: Condition) -> Tensor:
        if raised is not None:
            raise raised
        return z * math.nan

    (check,) = check_model(with_velocity(model, broken))
    assert not check.ok
    assert found in check.found
    assert "dtype" in check.cure


@pytest.mark.nightly
def test_the_same_is_found_every_time(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture is drawn from a fixed seed; digits that are told depend on every number of it."""
    monkeypatch.setattr("latentedit.api.checkup.STEPS", 2)
    first, second = checked(model), checked(model)
    assert [check.found for check in first.values()] == [check.found for check in second.values()]
