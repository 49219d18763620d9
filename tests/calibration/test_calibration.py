"""`calibrate` calibrates the requested parts of a model, which share the level of the verdict."""

from typing import Any

import pytest

from latentedit.calibration.calibration import calibrate
from latentedit.calibration.guard import GuardCalibration
from latentedit.calibration.verdict import VerdictCalibration
from latentedit.core.errors import ConfigError
from latentedit.editors.judge import Judge
from tests.editors.colors import ColorBackbone

SIZES: dict[str, Any] = {
    "captions": ["red", "blue"],
    "guard_sizes": GuardCalibration(images=2, steps=2, batch=2, harmed=1),
    "verdict_sizes": VerdictCalibration(images=2, steps=2, batch=2),
}
MAKER = Judge(level=0.35)


@pytest.fixture
def colors() -> ColorBackbone:
    return ColorBackbone()


def test_all_parts_that_the_model_has_are_calibrated(colors: ColorBackbone) -> None:
    calibration = calibrate(colors, **SIZES)
    assert set(calibration.parts) == {"guard", "settings"}, "the model takes no instructions"
    assert calibration.fingerprint == colors.fingerprint


@pytest.mark.parametrize("part", ["guard", "settings"])
def test_one_part_is_calibrated_alone(colors: ColorBackbone, part: Any) -> None:
    assert set(calibrate(colors, parts=[part], **SIZES).parts) == {part}


@pytest.mark.parametrize("preferred", [False, True])
def test_the_guard_has_the_level_of_the_verdict_that_edits_will_have(colors: ColorBackbone, preferred: bool) -> None:
    calibration = calibrate(colors, **SIZES)
    assert calibration.guard is not None
    assert calibration.settings is not None
    assert calibration.guard.level == calibration.settings.judge.level
    colors.defaults = {"judge": {"level": MAKER.level}}
    calibration = calibrate(colors, preferred=preferred, **SIZES)
    assert calibration.guard is not None
    assert calibration.settings is not None
    assert calibration.settings.preferred is preferred
    assert (calibration.guard.level == MAKER.level) is not preferred
    assert (calibration.guard.level == calibration.settings.judge.level) is preferred


def test_an_unknown_part_is_refused(colors: ColorBackbone) -> None:
    parts: Any = ["colors"]
    with colors.count() as cost, pytest.raises(ConfigError, match=r"no part 'colors'.*no_change"):
        calibrate(colors, parts=parts, **SIZES)
    assert cost.evaluations == 0
