"""Calibrating a guard on what a model draws: the cost, and what it then says."""

import json
from pathlib import Path

import pytest

from latentedit.core.errors import ConfigError, OutputError
from latentedit.guard.calibration import GuardCalibration, calibrate_guard, default_captions, keep_calibration
from latentedit.guard.guard import CORRUPTIONS, Guard, guard_losses
from latentedit.latents.drawing import draw_images, in_8_bits
from latentedit.models.model_settings import VARIABLE
from latentedit.models.registry import load
from tests.editors.colors import VARIANCE, ColorBackbone

HOW = GuardCalibration(images=5, steps=3, batch=2, harmed=1)


@pytest.fixture
def colors() -> ColorBackbone:
    return ColorBackbone()


def test_it_costs_what_it_states_and_is_kept_by_the_fingerprint_of_the_model(
    colors: ColorBackbone, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    report: list[tuple[str, int, int]] = []
    with colors.count() as cost:
        found = calibrate_guard(colors, captions=["red"], how=HOW, progress=lambda *step: report.append(step))
    assert cost.evaluations == 5 * (3 + 6) + 3 * len(CORRUPTIONS) * 6
    assert report == [("guard", 1, 3), ("guard", 2, 3), ("guard", 3, 3)]
    assert found.images == 5
    keep_calibration(colors, guard=found)
    assert Guard.of(colors) == found
    monkeypatch.setenv(VARIABLE, str(tmp_path / "elsewhere"))
    assert Guard.of(colors) is None


@pytest.mark.slow
def test_the_usual_loss_is_the_closed_form_of_what_it_draws(colors: ColorBackbone) -> None:
    """Drawn images have about the model's variance; at level .5 a share of k = var / (var + 1) of it is seen."""
    found = calibrate_guard(colors, captions=["red"], how=GuardCalibration(images=40, steps=40, batch=20, harmed=1))
    k = VARIANCE / (VARIANCE + 1)
    expected = (1 - k) ** 2 * VARIANCE + k**2  # of white noise of unit power; halves of level .5 cancel
    assert found.usual == pytest.approx(expected, rel=0.15)  # 192 pixels, one noise, 8 bits that clip
    assert found.ratio == 1
    assert found.usual < found.known < 1.5 * found.usual


def test_losses_are_those_of_corrupted_images(colors: ColorBackbone) -> None:
    captions = 3 * ["red"]
    found = calibrate_guard(colors, captions=captions, how=GuardCalibration(images=3, steps=3, batch=3, harmed=3))
    drawn = in_8_bits(draw_images(colors, captions, steps=3, seed=0))
    for name, corruption in CORRUPTIONS.items():
        seen = guard_losses(colors, colors.encode(corruption.apply(drawn)), colors.embed(captions))
        assert found.harmed[name] == pytest.approx(seen.median(1).values.tolist(), rel=1e-5)


def test_without_a_captioner_captions_are_general(colors: ColorBackbone) -> None:
    assert len(default_captions(colors, 3)) == len(set(default_captions(colors, 3))) == 40


@pytest.mark.nightly
def test_captions_are_the_readers() -> None:
    captions = default_captions(load("portraits"), 3)
    assert len(set(captions)) == 3
    assert all(caption.startswith("a person with ") for caption in captions)


@pytest.mark.slow
def test_a_guard_may_come_with_the_model(colors: ColorBackbone, tmp_path: Path) -> None:
    """What was found on other weights, as in a folder that was copied to be trained on, is not kept."""
    file = tmp_path / "latentedit.json"
    found = calibrate_guard(colors, captions=["red"], how=HOW)
    for fingerprint, stays in (("another", False), (colors.fingerprint, True)):
        known = {"fingerprint": fingerprint, "no_change": {"as it is": 0.5}}
        file.write_text(json.dumps({"captioner": "portraits", "calibration": known}))
        stored = json.loads(keep_calibration(colors, guard=found, folder=tmp_path).read_text())
        assert stored["captioner"] == "portraits"
        assert stored["calibration"]["fingerprint"] == colors.fingerprint
        assert ("no_change" in stored["calibration"]) == stays
    assert Guard.of(colors) is None, "nothing is kept for the user"
    colors.defaults = stored
    assert Guard.of(colors) == found


def test_a_model_without_fingerprint_and_a_home_that_is_read_only_are_reported(
    colors: ColorBackbone, monkeypatch: pytest.MonkeyPatch, read_only_folder: Path
) -> None:
    monkeypatch.setenv(VARIABLE, str(read_only_folder / "data"))
    with pytest.raises(OutputError):
        keep_calibration(colors, guard=calibrate_guard(colors, captions=["red"], how=HOW))
    colors.fingerprint = ""
    with pytest.raises(ConfigError):
        calibrate_guard(colors, captions=["red"], how=HOW)
