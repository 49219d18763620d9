"""Checks of a loaded model, each of which fails on a model with the corresponding defect."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import latentedit as le
from latentedit.calibration.checkup import Check, check_live_model
from latentedit.numerics.condition import Condition
from tests.miniatures.flow import flux
from tests.miniatures.noise import miniature_ddpm

SIZES = {"sizes": [64, 64, 96]}
Velocity = Callable[[Tensor, Tensor, Condition], Tensor]


@pytest.fixture
def model() -> Any:
    return le.from_pipeline(flux(), settings=SIZES)


def checked(model: Any, *, last: str = "edit", **options: Any) -> dict[str, Check]:
    """The checks by name, up to the one of this name."""
    found: dict[str, Check] = {}
    for check in check_live_model(model, **options):
        found[check.name] = check
        if check.name == last:
            break
    return found


@pytest.mark.nightly
def test_passed_checks_are_reported_with_time_and_memory(model: Any) -> None:
    """A codec with random weights does not reconstruct images; all other checks pass with any weights."""
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


@pytest.mark.slow_except("0.4-14.0-False")
@pytest.mark.parametrize(
    ("by", "found", "ok"), [(0, "inf", True), (0.02, "40.0", True), (0.317, "16.0", True), (0.4, "14.0", False)]
)
def test_the_loss_of_the_codec_is_measured_in_decibels(model: Any, by: float, found: str, ok: bool) -> None:
    """An error of 0.02 in a range of 2 is 40 dB; no error is infinitely many."""
    model.decode = lambda z: z[:, :3] / 10
    model.encode = lambda pixels: torch.cat([10 * (pixels + by), 0 * pixels[:, :1]], dim=1)
    codec = checked(model, last="codec")["codec"]
    assert (codec.text, codec.ok) == (f"{found} dB there and back", ok)


@pytest.mark.slow_except("0.26-False")
@pytest.mark.parametrize(("error", "ok"), [(0.24, True), (0.26, False)])
def test_relative_errors_of_up_to_a_quarter_pass(
    model: Any, monkeypatch: pytest.MonkeyPatch, error: float, ok: bool
) -> None:
    """Measured at level 0.5."""
    drawn, seen, own = list[Tensor](), list[tuple[Tensor, Tensor]](), model._velocity
    for name, function in {"_relative": lambda *_: error, "draw": lambda shape, **_: torch.ones(shape)}.items():
        monkeypatch.setattr(f"latentedit.calibration.checkup.{name}", function)
    model.decode = lambda z: drawn.append(z) or z[:, :3]
    model._velocity = lambda z, s, c: seen.append((z, s)) or own(z, s, c)
    model.encode = lambda pixels: drawn[0]
    found = checked(model, last="derivative")
    assert (found["inversion"].ok, found["derivative"].ok) == (ok, ok)
    halfway = [z for z, s in seen if torch.equal(z, 0.5 * drawn[0] + 0.5) and s.tolist() == [0.5]]
    assert len(halfway) >= 2


def test_a_model_without_text_passes_the_guidance_check(tmp_path: Path) -> None:
    found = checked(le.load(miniature_ddpm(tmp_path / "ddpm"), device="cpu"), last="derivative")
    assert found["guidance"].ok
    assert found["guidance"].text == "none: the model reads no text"
    assert found["derivative"].ok


def deaf(own: Velocity, model: Any) -> Velocity:
    """A network that ignores the text."""
    fixed = model.embed(["a face"])
    return lambda z, s, _: own(z, s, fixed.expand(len(z)))


def flat(own: Velocity, _: Any) -> Velocity:
    """A network without tangents, whose derivative is 0."""
    return lambda z, s, c: own(z.detach(), s, c) + 0 * z


def restless(own: Velocity, _: Any) -> Velocity:
    """A network with new noise at each call, which cannot be inverted."""
    generator = torch.Generator().manual_seed(0)
    return lambda z, s, c: own(z, s, c) + 9 * torch.randn(z.shape, generator=generator)


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("change", "check", "text"),
    [
        (deaf, "guidance", ""),
        (deaf, "edit", "flowedit changes 0% of the pixels"),
        (restless, "inversion", ""),
        (flat, "derivative", "central differences"),
    ],
)
def test_defects_of_a_model_are_found(
    model: Any, change: Callable[[Velocity, Any], Velocity], check: str, text: str
) -> None:
    """A wrong derivative is replaced."""
    model._velocity = change(model._velocity, model)
    found = checked(model, last=check)[check]
    assert found.ok == (change is flat)
    assert text in found.text


@pytest.mark.parametrize(
    ("raised", "found"), [(torch.cuda.OutOfMemoryError("CUDA out of memory"), "too little memory"), (None, "finite")]
)
def test_no_check_follows_a_failed_drawing(model: Any, raised: Exception | None, found: str) -> None:
    def broken(z: Tensor, s: Tensor, condition: Condition) -> Tensor:
        if raised is not None:
            raise raised
        return z * math.nan

    model._velocity = broken
    (check,) = check_live_model(model)
    assert not check.ok
    assert found in check.text
    assert "dtype" in check.cure
