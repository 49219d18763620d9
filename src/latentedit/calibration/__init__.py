"""Calibration of a model: its guard, the thresholds of its verdict, its checkup, its reference drawings."""

from typing import TYPE_CHECKING

from latentedit.core.names import exports

if TYPE_CHECKING:
    from latentedit.calibration.drawing import draw_images as draw_images
    from latentedit.calibration.drawing import verify_drawings as verify_drawings
    from latentedit.calibration.drawing import write_reference as write_reference
    from latentedit.calibration.guard import CalibratedSettings as CalibratedSettings
    from latentedit.calibration.guard import GuardCalibration as GuardCalibration
    from latentedit.calibration.guard import calibrate_guard as calibrate_guard
    from latentedit.calibration.guard import calibrate_no_change as calibrate_no_change
    from latentedit.calibration.guard import keep_calibration as keep_calibration
    from latentedit.calibration.verdict import Judged as Judged
    from latentedit.calibration.verdict import TrialEdits as TrialEdits
    from latentedit.calibration.verdict import VerdictCalibration as VerdictCalibration
    from latentedit.calibration.verdict import calibrate_verdict as calibrate_verdict
    from latentedit.calibration.verdict import losses_at as losses_at

__getattr__, __dir__, __all__ = exports(__name__)
