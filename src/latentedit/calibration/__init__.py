"""Calibration of a model: its guard, and the thresholds of its verdict."""

from typing import TYPE_CHECKING

from latentedit.core.names import exports

if TYPE_CHECKING:
    from latentedit.calibration.calibration import Calibration as Calibration
    from latentedit.calibration.calibration import CalibrationPart as CalibrationPart
    from latentedit.calibration.calibration import calibrate as calibrate
    from latentedit.calibration.drawing import draw_images as draw_images
    from latentedit.calibration.drawing import verify_drawings as verify_drawings
    from latentedit.calibration.drawing import write_reference as write_reference
    from latentedit.calibration.guard import CalibratedSettings as CalibratedSettings
    from latentedit.calibration.guard import GuardCalibration as GuardCalibration
    from latentedit.calibration.verdict import Judged as Judged
    from latentedit.calibration.verdict import TrialEdits as TrialEdits
    from latentedit.calibration.verdict import VerdictCalibration as VerdictCalibration
    from latentedit.calibration.verdict import losses_at as losses_at

__getattr__, __dir__, __all__ = exports(__name__)
