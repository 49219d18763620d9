"""What is tried on a loaded model, and that each check fails on a model that lacks what it looks at."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import latentedit as le
from latentedit.core.condition import Condition
from latentedit.editing.checkup import Check, check_model
from latentedit.testing.miniatures.flow import flux
from latentedit.testing.miniatures.noise import miniature_ddpm

pytestmark = pytest.mark.slow

SIZES = {"sizes": [64, 64, 96]}
Velocity = Callable[[Tensor, Tensor, Condition], Tensor]


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


@pytest.mark.nightly
def test_what_works_is_said_and_what_it_took(model: Any) -> None:
    """A codec of random weights gives no picture back; all else holds with any weights."""
    steps: list[str] = []
    found = checked(model, progress=lambda what, done, total: steps.append(what))
    assert list(found) == ["drawing", "codec", "inversion", "guidance", "derivative", "edit"]
    assert [name for name, check in found.items() if not check.ok] == ["codec"]
    assert "float32" in found["codec"].cure
    assert all(check.cure == "" for check in found.values() if check.ok)
    assert found["guidance"].text.startswith("embedded; ")
    assert found["derivative"].text.startswith("forward mode, ")
    assert "flowedit changes" in found["edit"].text
    assert all(check.seconds > 0 and check.peak_bytes > 2**20 for check in found.values())
    assert set(steps) == {"integrate", "flowedit"}
    distilled = le.from_pipeline(flux(guidance_embeds=False), settings=SIZES)
    assert checked(distilled, last="guidance")["guidance"].text == "needs none: distilled"


def test_the_codecs_loss_in_decibels(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pixel off by 0.02 of a range of 2 is 40 dB; a picture that comes back whole is infinitely good."""
    monkeypatch.setattr(model, "decode", lambda z: z[:, :3] / 10)
    monkeypatch.setattr(model, "encode", lambda pixels: torch.cat([10 * pixels + 0.2, 0 * pixels[:, :1]], dim=1))
    assert checked(model, last="codec")["codec"].text == "40.0 dB there and back"
    monkeypatch.setattr(model, "encode", lambda pixels: torch.cat([10 * pixels, 0 * pixels[:, :1]], dim=1))
    assert checked(model, last="codec")["codec"].ok


def test_a_model_without_text_lacks_nothing_for_it(tmp_path: Path) -> None:
    found = checked(le.load(miniature_ddpm(tmp_path / "ddpm"), device="cpu"), last="derivative")
    assert found["guidance"].ok
    assert found["guidance"].text == "none: the model reads no text"
    assert found["derivative"].ok


def deaf(own: Velocity, model: Any) -> Velocity:
    """No text changes anything."""
    fixed = model.embed(["a face"])
    return lambda z, s, _: own(z, s, fixed.expand(len(z)))


def flat(own: Velocity, _: Any) -> Velocity:
    """A network that cuts the tangents off has the derivative 0."""
    return lambda z, s, c: own(z.detach(), s, c) + 0 * z


def restless(own: Velocity, _: Any) -> Velocity:
    """Noise that is new at each call cannot be walked back."""
    generator = torch.Generator().manual_seed(0)
    return lambda z, s, c: own(z, s, c) + 9 * torch.randn(z.shape, generator=generator)


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("change", "check", "found"),
    [
        (deaf, "guidance", ""),
        (deaf, "edit", "flowedit changes 0% of the pixels"),
        (flat, "derivative", "forward mode, 1 from central differences"),
        (restless, "inversion", ""),
    ],
)
def test_what_a_model_lacks_is_found(
    model: Any, change: Callable[[Velocity, Any], Velocity], check: str, found: str
) -> None:
    model._velocity = change(model._velocity, model)
    failed = checked(model, last=check)[check]
    assert not failed.ok
    assert found in failed.text


@pytest.mark.parametrize(
    ("raised", "found"), [(torch.cuda.OutOfMemoryError("CUDA out of memory"), "too little memory"), (None, "finite")]
)
def test_where_drawing_fails_nothing_else_is_tried(model: Any, raised: Exception | None, found: str) -> None:
    def broken(z: Tensor, s: Tensor, condition: Condition) -> Tensor:
        if raised is not None:
            raise raised
        return z * math.nan

    model._velocity = broken
    (check,) = check_model(model)
    assert not check.ok
    assert found in check.text
    assert "dtype" in check.cure
