"""Calibration of a guard on images drawn by the model: its cost, its thresholds, its storage."""

import json
from pathlib import Path

import pytest

from latentedit.calibration.calibration import Calibration
from latentedit.calibration.drawing import draw_images, in_8_bits
from latentedit.calibration.guard import GuardCalibration, calibrate_guard, default_captions
from latentedit.core.errors import ConfigError, OutputError
from latentedit.editors.judge import Judge
from latentedit.encoding.familiarity import CORRUPTIONS, Guard, guard_losses
from latentedit.models.model_settings import VARIABLE
from latentedit.models.registry import load
from tests.editors.colors import VARIANCE, ColorBackbone

SETTINGS = GuardCalibration(images=5, steps=3, batch=2, harmed=1)


@pytest.fixture
def colors() -> ColorBackbone:
    return ColorBackbone()


def test_calibration_reports_its_cost_and_is_stored_by_fingerprint(
    colors: ColorBackbone, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    reports: list[tuple[str, int, int]] = []
    with colors.count() as cost:
        calibrated = calibrate_guard(
            colors, captions=["red"], how=SETTINGS, progress=lambda *step: reports.append(step)
        )
    assert cost.evaluations == 5 * (3 + 6) + 3 * len(CORRUPTIONS) * 6
    assert reports == [("guard", 1, 3), ("guard", 2, 3), ("guard", 3, 3)]
    assert calibrated.images == 5
    Calibration(fingerprint=colors.fingerprint, guard=calibrated).save()
    assert Guard.of(colors) == calibrated
    monkeypatch.setenv(VARIABLE, str(tmp_path / "elsewhere"))
    assert Guard.of(colors) is None


def test_the_usual_loss_matches_its_closed_form(colors: ColorBackbone) -> None:
    """Drawn images have about the model's variance; the clean estimate at level 0.5 keeps k = var / (var + 1) of it."""
    calibrated = calibrate_guard(
        colors, captions=["red"], how=GuardCalibration(images=40, steps=40, batch=20, harmed=1)
    )
    k = VARIANCE / (VARIANCE + 1)
    expected = (1 - k) ** 2 * VARIANCE + k**2  # for unit white noise; the factors 0.5 of the level cancel
    assert calibrated.usual == pytest.approx(expected, rel=0.15)  # 192 values, one noise sample, clipped to 8 bits
    assert calibrated.ratio == 1
    assert calibrated.usual < calibrated.known < 1.5 * calibrated.usual


def test_harmed_losses_are_those_of_corrupted_images(colors: ColorBackbone) -> None:
    captions = 3 * ["red"]
    calibrated = calibrate_guard(colors, captions=captions, how=GuardCalibration(images=3, steps=3, batch=3, harmed=3))
    drawn = in_8_bits(draw_images(colors, captions, steps=3, seed=0))
    for name, corruption in CORRUPTIONS.items():
        z, level = colors.encode(corruption.apply(drawn)), Judge.of(colors).level
        losses = guard_losses(colors, z, colors.embed(captions), level=level)
        assert calibrated.harmed[name] == pytest.approx(losses.median(1).values.tolist(), rel=1e-5)


def test_without_a_captioner_captions_are_generic(colors: ColorBackbone) -> None:
    assert len(default_captions(colors, 3)) == len(set(default_captions(colors, 3))) == 40


@pytest.mark.nightly
def test_captions_come_from_the_reader() -> None:
    captions = default_captions(load("portraits"), 3)
    assert len(set(captions)) == 3
    assert all(caption.startswith("a person with ") for caption in captions)


def test_a_model_folder_may_contain_its_guard(colors: ColorBackbone, tmp_path: Path) -> None:
    """Results for other weights, as in a folder copied for training, are dropped."""
    file = tmp_path / "latentedit.json"
    calibrated = calibrate_guard(colors, captions=["red"], how=SETTINGS)
    for fingerprint, kept in (("another", False), (colors.fingerprint, True)):
        calibration = {"fingerprint": fingerprint, "no_change": {"as it is": 0.5}}
        file.write_text(json.dumps({"captioner": "portraits", "calibration": calibration}))
        stored = json.loads(Calibration(fingerprint=colors.fingerprint, guard=calibrated).save(tmp_path).read_text())
        assert stored["captioner"] == "portraits"
        assert stored["calibration"]["fingerprint"] == colors.fingerprint
        assert ("no_change" in stored["calibration"]) == kept
    assert Guard.of(colors) is None, "nothing is stored in the user's data folder"
    colors.defaults = stored
    assert Guard.of(colors) == calibrated


def test_models_without_fingerprint_and_read_only_folders_are_rejected(
    colors: ColorBackbone, monkeypatch: pytest.MonkeyPatch, read_only_folder: Path
) -> None:
    monkeypatch.setenv(VARIABLE, str(read_only_folder / "data"))
    with pytest.raises(OutputError):
        Calibration(
            fingerprint=colors.fingerprint,
            guard=calibrate_guard(colors, captions=["red"], how=SETTINGS),
        ).save()
    colors.fingerprint = ""
    with pytest.raises(ConfigError):
        calibrate_guard(colors, captions=["red"], how=SETTINGS)
